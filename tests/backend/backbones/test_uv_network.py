"""The UV backbone's network: untrained it changes nothing, and at neutral it never does."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_avatar import assets
from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import load_avatar, save_avatar
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.rig import FRAMES_ON_GPU
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.uv import build_avatar, look
from emo_avatar.backbones.uv.grid import SIZE, grid_of, sample, shares_atlas
from emo_avatar.backbones.uv.learned import (
    OTHER_WEIGHTS,
    encode,
    load_network,
    network_of,
    photo_tensor,
    save_network,
    shipped_network,
)
from emo_avatar.backbones.uv.network import FOLDS, OUT, UVNetwork, lines_of, log_gain, residuals
from emo_avatar.devices import PerDevice
from emo_avatar.errors import UserError
from emo_avatar.export.performance import perform
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.portrait import TrackedPortrait, track_portrait

from .. import gsplat_double
from ..devices import GPU, OneDevice

FIELDS = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def head() -> HeadData:
    return open_head()


@pytest.fixture(scope="module")
def portrait(head: HeadData) -> TrackedPortrait:
    return track_portrait(assets.fetch("astronaut.png"), head)


@pytest.fixture(scope="module")
def untrained(head: HeadData) -> UVNetwork:
    torch.manual_seed(0)
    return network_of(head).eval()


@pytest.fixture(scope="module")
def opinionated(untrained: UVNetwork) -> UVNetwork:
    """A network that says something, if nothing sensible."""
    network = UVNetwork().eval()
    network.load_state_dict(untrained.state_dict())
    with torch.no_grad():
        network.head.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture(scope="module")
def analytic(portrait: TrackedPortrait, head: HeadData) -> Avatar:
    return build_avatar(portrait, head, refine=0)


@pytest.fixture
def coloured(portrait, head, opinionated, monkeypatch) -> Avatar:
    monkeypatch.setattr(look, "shipped_network_on", PerDevice(lambda device: deepcopy(opinionated).to(device)).on)
    return build_avatar(portrait, head, refine=0, network=opinionated)


def test_every_texel_finds_itself_on_the_grid(head):
    prepared = prepare_head(head)
    grid, texels = grid_of(prepared), prepared.texels
    rest = torch.from_numpy(texels.rest[grid.texel].transpose(2, 0, 1).copy())
    found = sample(rest, torch.from_numpy(texels.uv)).numpy()
    face = prepared.on_face["face"][texels.face]
    assert np.median(np.linalg.norm(found - texels.rest, axis=1)[face]) < 0.001


def test_untrained_is_analytic(portrait, head, untrained, analytic):
    learned = build_avatar(portrait, head, refine=0, network=untrained)
    for name in FIELDS:
        assert torch.equal(getattr(learned.gaussians, name), getattr(analytic.gaussians, name)), name


def test_untrained_has_no_emotion(portrait, head, untrained, monkeypatch):
    monkeypatch.setattr(look, "shipped_network_on", lambda device: untrained)
    learned = build_avatar(portrait, head, refine=0, network=untrained)
    assert torch.equal(
        *(learned.pose(perform(learned, emotions={"happy": 1.0}, appearance=on)).sh for on in (True, False))
    )


def test_completes_only_what_the_photo_hides(portrait, head, opinionated, analytic):
    learned = build_avatar(portrait, head, refine=0, network=opinionated)
    texels = len(prepare_head(head).texels)
    moved = (learned.gaussians.sh - analytic.gaussians.sh).abs().amax((1, 2))
    assert (moved[:texels] > 1e-3).float().mean() > 0.1
    assert moved[texels:].max() < 1e-6  # the photo's own pixels


def test_neutral_is_exact(coloured):
    weights = np.zeros(len(EMOTIONS), np.float32)
    posed = coloured.pose(perform(coloured))
    assert coloured.look.under(posed, weights) is posed


def test_emotion_colours_skin_and_nothing_else(coloured):
    plain, felt = (coloured.pose(perform(coloured, emotions={"angry": 1.0}, appearance=on)) for on in (False, True))
    change = (felt.sh - plain.sh).abs().amax((1, 2)).numpy()
    assert change[coloured.look.reach == 0].max() == 0
    assert change[coloured.look.reach == 255].mean() > 1e-5
    for name in ("means", "quats", "scales", "opacities"):
        assert torch.equal(getattr(felt, name), getattr(plain, name))


def test_paths_are_switched_off_apart(coloured):
    neutral = perform(coloured)
    moved, stained = (perform(coloured, emotions={"sad": 1.0}, **{path: False}) for path in ("appearance", "geometry"))
    assert moved.emotions is None
    assert np.abs(moved.expression).max() > 0.1
    np.testing.assert_array_equal(stained.expression, neutral.expression)
    assert stained.emotions[0].tolist() == [0, 1, 0, 0, 0, 0]


def test_play_colours_every_frame_as_pose_does(coloured):
    sequence = replace(
        perform(coloured, frames=3, emotions={"happy": 1.0}, geometry=False),
        emotions=np.array([[0] * 6, [0.5, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], np.float32),
    )
    for frame, gaussians in enumerate(coloured.play(sequence)):
        torch.testing.assert_close(gaussians.sh, coloured.pose(sequence, frame).sh)


def test_cuda_and_cpu_paths_agree(coloured):
    """The lookup by PyTorch operations, which a GPU takes, says what the kernel says."""
    posed = coloured.pose(perform(coloured))
    weights = np.array([0, 0, 1, 0, 0, 0], np.float32)
    fast = coloured.look.under(posed, weights)
    slow = coloured.look.by_operations(posed, weights)
    torch.testing.assert_close(fast.sh, slow.sh, rtol=0, atol=1e-4)


def test_a_gpu_asks_the_network_about_many_frames_at_once(coloured, monkeypatch):
    gsplat_double.install(monkeypatch)
    asked = []
    decode = UVNetwork.decode
    monkeypatch.setattr(UVNetwork, "decode", lambda *args: asked.append(len(args[2])) or decode(*args))
    count = FRAMES_ON_GPU + 3
    emotions = np.linspace(0, 1, count, dtype=np.float32)[:, None] * np.array([1, 0.5, 0, 0, 0, 0], np.float32)
    sequence = replace(perform(coloured, frames=count), emotions=emotions)
    there, camera = coloured.to(GPU), coloured.camera(size=32)
    with OneDevice() as mode:
        for gaussians in there.play(sequence):
            assert rasterize(gaussians, camera).rgb.device == GPU
    assert asked == [1, FRAMES_ON_GPU - 1, 3]  # neutral once, and the first frame is neutral
    assert "to the CPU" not in mode.carried
    with OneDevice() as mode:
        list(there.play(sequence))
    assert len(asked) == 3 and mode.carried["to the GPU"] < 1000 * count


def test_emotions_asked_about_together_are_those_asked_about_alone(coloured):
    weights = np.eye(6, dtype=np.float32)[[0, 2, 0, 5]]
    own, cpu = coloured.look, torch.device("cpu")
    other = look.UVLook(own.maps, own.reach, own.rig, own.photo)
    together = own._gain(weights, cpu)
    for k, alone in enumerate(weights):
        torch.testing.assert_close(together[k], other._gain(alone[None], cpu)[0], rtol=0, atol=1e-4)


def test_files_keep_the_look(coloured, tmp_path: Path):
    save_avatar(coloured, tmp_path / "a.emoavatar")
    read = load_avatar(tmp_path / "a.emoavatar")
    sequence = perform(read, emotions={"fear": 1.0})
    difference = (read.pose(sequence).sh - coloured.pose(sequence).sh).abs()
    assert (difference > 2e-3).float().mean() < 2e-3  # places on the atlas are rounded, which shows at its seams


def test_weights_survive_the_file(opinionated, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_network(opinionated, path, {"steps": "0"})
    assert path.stat().st_size < 12e6
    read = load_network(path)
    for name, value in opinionated.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_other_weights_are_named_in_the_environment(opinionated, tmp_path: Path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    save_network(opinionated, path, {"steps": "0"})
    monkeypatch.setenv(OTHER_WEIGHTS, str(path))
    theirs = shipped_network.__wrapped__()
    torch.testing.assert_close(theirs.head.weight, opinionated.head.weight, rtol=1e-3, atol=1e-4)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"mine\.safetensors cannot be read"):
        shipped_network.__wrapped__()


def test_shipped_weights_are_of_this_network():
    network = shipped_network()
    assert network.head.weight.any()
    assert not any(p.isnan().any() for p in network.parameters())


def test_shipped_emotions_differ_and_stay_gentle(portrait, head):
    """Every emotion colours this face in its own way, none by more than skin does."""
    network = shipped_network()
    avatar = build_avatar(portrait, head, refine=0, network=network)
    maps = avatar.look.maps
    with torch.inference_mode():
        encoded = encode(network, maps, photo_tensor(portrait.rgb / np.float32(255), portrait.matte))
        gains = log_gain(network.decode(encoded.expand(7), torch.cat([torch.zeros(1, 6), torch.eye(6)])))
    face = torch.from_numpy(grid_of(prepare_head(head)).fixed[1] > 0)
    changes = (gains[1:] - gains[:1])[:, :, face]  # [6, 3, M]
    assert changes.abs().max() < 0.7
    apart = (changes[:, None] - changes[None]).abs().mean((2, 3)) + torch.eye(6)
    assert apart.min() > 1e-3


def test_missing_weights_are_told(tmp_path: Path):
    with pytest.raises(UserError, match="emo-avatar train uv"):
        load_network(tmp_path / "none.safetensors")


def test_other_atlases_are_told_apart(head):
    assert shares_atlas(head)
    assert not shares_atlas(replace(head, uv=1 - head.uv))


def test_folds_show_where_skin_folds(untrained: UVNetwork):
    """A few numbers for an area draw the lines of the head's own map, and nothing beside them."""
    network = UVNetwork().eval()
    network.load_state_dict(untrained.state_dict())
    with torch.no_grad():
        network.folds.bias.fill_(-0.1)
    maps, places, photo = torch.zeros(1, 7, SIZE, SIZE), torch.zeros(1, SIZE, SIZE, 2), torch.zeros(1, 4, 256, 256)
    with torch.inference_mode():
        weights = torch.tensor([[0.0] * 6, [0, 0, 0.5, 0, 0, 0]])
        neutral, felt = network.decode(network.encode(maps, places, photo).expand(2), weights)
    lines = lines_of(network.fixed[FOLDS])
    torch.testing.assert_close(felt[:3], -0.05 * lines.sum(0).expand(3, -1, -1))
    assert (lines[:3].amax(0) > 0.2).any() and not felt[3:].any() and not neutral.any()


def test_what_an_emotion_does_to_everybody_mixes(untrained: UVNetwork):
    network = UVNetwork().eval()
    network.load_state_dict(untrained.state_dict())
    common = torch.linspace(-0.1, 0.1, 6 * 3 * SIZE * SIZE).view(6, 3, SIZE, SIZE)
    with torch.no_grad():
        network.response.copy_(common)
    maps, places, photo = torch.zeros(1, 7, SIZE, SIZE), torch.zeros(1, SIZE, SIZE, 2), torch.zeros(1, 4, 256, 256)
    weights = torch.tensor([[0.0] * 6, [0.3, 0, 0, 0, 0.5, 0]])
    with torch.inference_mode():
        neutral, felt = network.decode(network.encode(maps, places, photo).expand(2), weights)
    assert not neutral.any()
    torch.testing.assert_close(felt[:3], 0.3 * common[0] + 0.5 * common[4])


def test_nothing_fades():
    """What the network completes may be more opaque than before, never less: no hole is torn."""
    opacity = residuals(3 * torch.randn(100, OUT, generator=torch.Generator().manual_seed(3))).opacity
    assert opacity.min() == 0 and opacity.max() > 0


def test_gradients_reach_every_weight(opinionated):
    """Photographs teach the whole network, the emotion tokens too."""
    network = UVNetwork()
    network.load_state_dict(opinionated.state_dict())
    with torch.no_grad():
        network.response.fill_(0.1)
    generator = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    encoded = network.encode(draw(1, 7, SIZE, SIZE), 2 * draw(1, SIZE, SIZE, 2) - 1, draw(1, 4, 256, 256))
    network.decode(encoded, draw(1, 6)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_gaussians_are_checked(coloured):
    posed: Gaussians = coloured.pose(perform(coloured))
    with pytest.raises(ValueError, match="weights"):
        coloured.look.under(posed, np.zeros(5, np.float32))
