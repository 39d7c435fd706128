"""The network at work on Gaussians: it completes what a photograph hides, and colours skin with emotion.

One decoder does both. What it says at neutral goes into the avatar where the photograph said nothing; by what it says
otherwise under an emotion, colours differ at play, on all skin of the face.
"""

from __future__ import annotations

import copy
import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.backbones.portrait.prepared import PreparedHead, prepare_head
from emo_avatar.backbones.portrait.splats import Splats
from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.backbones.uv.grid import PortraitMaps, atlas_fingerprint, grid_of, observed, sample, shares_atlas
from emo_avatar.backbones.uv.network import IMAGE_SIZE, Encoded, Residuals, UVNetwork, residuals
from emo_avatar.devices import PerDevice
from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.tracking.portrait import TrackedPortrait

WEIGHTS_PATH = Path(__file__).with_name("uv.safetensors")
# Names a file of other weights. They are the program's and not an avatar's: avatar files hold what the network is asked
# with, not what it said, so that building and playing must ask the same one.
OTHER_WEIGHTS = "EMO_AVATAR_UV_WEIGHTS"
LEARNED_BY_DEFAULT = True  # whether avatars are built with it unless asked otherwise
ATLAS = "atlas"  # in the metadata of the weights: `atlas_fingerprint` of their head
BACKGROUND = 0.5  # behind the person in the photograph, as the network sees it
_GREY = 0.5 / SH_C0  # what a degree-0 coefficient of zero stands for, in units of the coefficient


def network_of(head: HeadData) -> UVNetwork:
    """An untrained network for a head's atlas."""
    return UVNetwork(grid_of(prepare_head(head)).fixed)


def save_network(network: UVNetwork, path: Path, metadata: dict[str, str]) -> None:
    """Write weights in half precision; ``metadata`` says where they come from."""
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous() for name, value in network.state_dict().items()
    }
    with whole_file(path) as temporary:
        save_file(weights, temporary, {ATLAS: atlas_fingerprint(open_head())} | metadata)


def load_network(path: Path = WEIGHTS_PATH) -> UVNetwork:
    """The trained network of the open head's atlas, on the CPU.

    Raises:
        UserError: there are no weights, or they were trained on another atlas or for another network.
    """
    head = open_head()
    if not path.exists():
        raise UserError(f"There are no weights {path}; train them with: emo-avatar train uv --emotion.")
    network = UVNetwork()
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            atlas = (file.metadata() or {}).get(ATLAS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The weights {path} cannot be read; train them: emo-avatar train uv --emotion.") from error
    if atlas != atlas_fingerprint(head):
        raise UserError(f"The weights {path} belong to another atlas than the open head's; train them anew.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"The weights {path} are of another network than this program's; train them anew.") from error
    return network.eval()


@functools.cache
def shipped_network() -> UVNetwork:
    """The network that comes with the program, or the one that `OTHER_WEIGHTS` names."""
    named = os.environ.get(OTHER_WEIGHTS)
    return load_network(Path(named) if named else WEIGHTS_PATH)


def _copied_to(device: torch.device) -> UVNetwork:
    return copy.deepcopy(shipped_network()).to(device)


_SHIPPED = PerDevice(_copied_to)


def shipped_network_on(device: torch.device) -> UVNetwork:
    """The same on another device."""
    return shipped_network() if device.type == "cpu" else _SHIPPED.on(device)


def on_device(network: UVNetwork, device: torch.device | str) -> UVNetwork:
    """A network or, elsewhere than it is, a copy; of the shipped one always the same."""
    device = torch.device(device)
    if network.fixed.device.type == device.type:
        return network
    return shipped_network_on(device) if network is shipped_network() else copy.deepcopy(network).to(device)


def default_network(head: HeadData) -> UVNetwork | None:
    """The network that avatars on a head are built with; none on heads of another atlas than it was trained on."""
    return shipped_network() if LEARNED_BY_DEFAULT and shares_atlas(head) else None


def chosen_network(head: HeadData, learned: bool | None) -> UVNetwork | None:
    """The network where it is asked for, none where it is declined, the default where neither.

    Raises:
        UserError: it is asked for on a head of another atlas.
    """
    if learned is None:
        return default_network(head)
    if learned and not shares_atlas(head):
        raise UserError(f"The network knows the open head's atlas, and {head.name} has another; build with --analytic.")
    return shipped_network() if learned else None


def photo_tensor(rgb: np.ndarray, matte: np.ndarray) -> Tensor:  # [H, W, 3] and [H, W], in [0, 1] -> [4, 256, 256]
    """A photograph as the network sees it: small, before grey, with its matte."""
    both = np.concatenate([rgb * matte[..., None] + BACKGROUND * (1 - matte[..., None]), matte[..., None]], axis=2)
    picture = torch.from_numpy(np.ascontiguousarray(both.transpose(2, 0, 1), np.float32))
    return F.interpolate(picture[None], (IMAGE_SIZE, IMAGE_SIZE), mode="area")[0]


def encode(network: UVNetwork, maps: PortraitMaps, photo: Tensor) -> Encoded:
    """One portrait, on the network's device."""
    device = network.fixed.device
    return network.encode(maps.channels()[None].to(device), maps.places()[None].to(device), photo[None].to(device))


@dataclass(frozen=True)
class Places:
    """Where on the atlas N Gaussians lie, and how far the network's word goes there."""

    uv: Tensor  # [N, 2] v up
    outer: Tensor  # [N] 1 on skin and scalp that face the world, else 0
    hidden: Tensor  # [N] in [0, 1], outer surface that the photograph does not show; lids are drawn (`lids.py`)
    reach: Tensor  # [N] in [0, 1], skin that emotions colour


def places_of(prepared: PreparedHead, maps: PortraitMaps, face: np.ndarray, barycentric: np.ndarray) -> Places:
    """Of points ``face [N], barycentric [N, 3]`` of a head under a portrait."""
    head = prepared.head
    uv = torch.from_numpy((head.uv[head.uv_faces[face]] * barycentric[:, :, None]).sum(1).astype(np.float32))
    said = sample(maps.channels()[[4, 6]], uv)  # sharpness, hair
    smooth = (grid_of(prepared).reach[head.faces[face]] * barycentric).sum(1)
    masks = (prepared.outer[face], smooth, ~prepared.on_face["lids"][face])
    outer, reach, learned = (torch.from_numpy(x.astype(np.float32)) for x in masks)
    return Places(uv, outer, outer * learned * (1 - said[:, 0]), outer * reach * (1 - said[:, 1]))


def complete(
    network: UVNetwork,
    splats: Splats,
    seen: Observation,
    portrait: TrackedPortrait,
    prepared: PreparedHead,
    vertices: np.ndarray,  # [V, 3] metres, world
) -> tuple[Splats, PortraitMaps]:
    """What a photograph hides, as the network expects it; and what it was told of the portrait.

    The head's texels come first among ``splats``.
    """
    texels = prepared.texels
    height, width = portrait.matte.shape
    maps = observed(grid_of(prepared), seen, splats.rgb[: len(texels)], (width, height))
    places = places_of(prepared, maps, texels.face, texels.barycentric)
    with torch.inference_mode():
        encoded = encode(network, maps, photo_tensor(portrait.rgb / np.float32(255), portrait.matte))
        neutral = torch.zeros(1, len(EMOTIONS), device=network.fixed.device)
        said = said_of(network.decode(encoded, neutral)[0].cpu(), places)
        frames, _, _ = triangle_frames(
            torch.from_numpy(vertices), torch.from_numpy(prepared.head.faces.astype(np.int64))
        )
        of_texels = splats.first(len(texels)).gaussians()
        done = completed(of_texels, frames[torch.from_numpy(texels.face.astype(np.int64))], said, places.hidden)
    return splats.with_first(of_texels, done), maps


def completed(gaussians: Gaussians, frames: Tensor, said: Residuals, hidden: Tensor) -> Gaussians:
    """Gaussians in the world with the network's residuals where they are ``hidden [N]``; differentiable.

    ``frames [N, 3, 3]`` are the rotations of their triangles. Residuals of zero change nothing, to the last bit.
    """
    odds = torch.expm1(hidden * said.opacity)
    o = gaussians.opacities
    return replace(
        gaussians,
        means=gaussians.means + (frames @ (hidden[:, None] * said.offset)[:, :, None])[:, :, 0],
        scales=gaussians.scales * torch.exp(hidden * said.scale)[:, None],
        opacities=o + o * (1 - o) * odds / (1 + o * odds),
        sh=coloured(gaussians.sh, hidden[:, None] * said.gain),
    )


def coloured(sh: Tensor, gain: Tensor) -> Tensor:  # [N, K, 3], log [N, 3] -> [N, K, 3]
    """Colours times a factor, which is given as its logarithm."""
    more = torch.expm1(gain)[:, None]
    grey = torch.zeros_like(sh)
    grey[:, 0] = _GREY  # the colour, not its offset from grey, is scaled
    return sh + more * (sh + grey)


def said_of(raw: Tensor, places: Places) -> Residuals:  # [OUT, R, R]
    """What the network says of places."""
    return residuals(sample(raw, places.uv))
