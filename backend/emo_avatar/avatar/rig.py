"""What makes an avatar's Gaussians follow a FLAME sequence: the rig protocol, and the rig of heads in FLAME format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from emo_avatar.avatar.appearance import SkinAppearance, SkinModulator
from emo_avatar.avatar.binding import Footing, pose, pose_frames
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.head_arrays import head_from_arrays, head_to_arrays
from emo_avatar.avatar.mouth import Mouth, MouthModulator
from emo_avatar.devices import PerDevice
from emo_avatar.head.data import JOINTS, N_SHAPE, HeadData
from emo_avatar.head.model import HeadModel, HeadOutput
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence

# Frames evaluated at a time: enough to amortise PyTorch's overhead, few enough to start at once and fit any memory.
FRAMES_PER_BATCH = 32
FRAMES_ON_GPU = 16  # there, Gaussians are posed together, too; of 160,000 that takes a gigabyte
NECK = JOINTS.index("neck")


class Rig(Protocol):
    """Deforms canonical Gaussians. A rig is immutable; its arrays and settings are what an avatar file stores of it."""

    kind: ClassVar[str]  # the name under which files know this class

    @property
    def head(self) -> HeadData:
        """The head whose FLAME space driving sequences are in; its identity basis may be zero."""
        ...

    @property
    def faces(self) -> np.ndarray:
        """Triangles ``[F, 3]`` of the rig's own mesh."""
        ...

    def pose(self, canonical: Gaussians, sequence: FlameSequence, frame: int) -> Gaussians:
        """World-space Gaussians of one frame, on the device of ``canonical``. The sequence's identity is ignored."""
        ...

    def play(self, canonical: Gaussians, sequence: FlameSequence) -> Iterator[Gaussians]:
        """`pose` of every frame in order, with the deformation evaluated in batches."""
        ...

    def mesh(self, sequence: FlameSequence) -> np.ndarray:
        """Vertices of the rig's own mesh ``[T, V, 3]`` in the world, with ``faces`` as triangles."""
        ...

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able settings and the arrays from which `unpack` makes this rig again."""
        ...

    @classmethod
    def unpack(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_gaussians: int) -> Rig:
        """The rig that `pack` described. Raises ValueError or KeyError when the pieces do not fit together."""
        ...


@dataclass(frozen=True)
class FlameRig:
    """A person's head in FLAME format, with Gaussians bound to its triangles."""

    kind: ClassVar[str] = "flame"

    head: HeadData  # of this person: v_template is the neutral face, the identity columns of shapedirs are zero
    shape: np.ndarray  # [300] float32 identity code in the generic head's space
    static_offset: np.ndarray  # [V, 3] float32 metres, what the person's neutral face adds to that identity
    binding: np.ndarray  # [N] int32 triangle of each Gaussian
    appearance: SkinAppearance

    @property
    def faces(self) -> np.ndarray:  # [F, 3]
        return self.head.faces

    def pose(self, canonical: Gaussians, sequence: FlameSequence, frame: int) -> Gaussians:
        (gaussians,) = self._posed(canonical, sequence, slice(frame, frame + 1))
        return gaussians

    def play(self, canonical: Gaussians, sequence: FlameSequence) -> Iterator[Gaussians]:
        together = FRAMES_PER_BATCH if canonical.device.type == "cpu" else FRAMES_ON_GPU
        for start in range(0, len(sequence), together):
            yield from self._posed(canonical, sequence, slice(start, start + together))

    def mesh(self, sequence: FlameSequence) -> np.ndarray:  # [T, V, 3]
        return self._evaluate(sequence, slice(None), torch.device("cpu")).vertices.numpy()

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = head_to_arrays(self.head)
        own = {"shape": self.shape, "static_offset": self.static_offset, "binding": self.binding}
        look = {field.name: getattr(self.appearance, field.name) for field in fields(SkinAppearance)}
        own |= {f"appearance.{name}": array for name, array in look.items() if array is not None}
        return {"head": settings}, own | {f"head.{name}": array for name, array in arrays.items()}

    @classmethod
    def unpack(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_gaussians: int) -> FlameRig:
        head_arrays = {k.removeprefix("head."): v for k, v in arrays.items() if k.startswith("head.")}
        head = head_from_arrays(settings["head"], head_arrays)
        shape, static_offset, binding = (arrays[name] for name in ("shape", "static_offset", "binding"))
        if shape.shape != (N_SHAPE,) or static_offset.shape != head.v_template.shape:
            raise ValueError("the identity does not fit the head")
        if binding.shape != (n_gaussians,) or not np.isin(binding, np.arange(len(head.faces))).all():
            raise ValueError("the binding does not fit the head's triangles")
        look = {k.removeprefix("appearance."): v for k, v in arrays.items() if k.startswith("appearance.")}
        unfolding = look.pop("unfolding", None)  # of which older files say nothing
        appearance = SkinAppearance(**{f.name: look[f.name] for f in fields(SkinAppearance) if f.name != "unfolding"})
        appearance = replace(appearance, unfolding=unfolding)
        n, f = n_gaussians, len(head.faces)
        expected = {"neutral": head.v_template.shape, "photo": head.v_template.shape, "shaded": (f,)}
        expected |= {"stretch_limit": (f,), "barycentric": (n, 3), "folds": (n, 3), "detail": (n,)}
        fits = unfolding is None or (unfolding.shape == (n, 4) and unfolding.dtype == np.int8)
        if not fits or any(getattr(appearance, name).shape != expected[name] for name in expected):
            raise ValueError("the appearance does not fit the Gaussians")
        return cls(
            head, shape.astype(np.float32), static_offset.astype(np.float32), binding.astype(np.int32), appearance
        )

    @cached_property
    def _model(self) -> PerDevice[HeadModel]:
        return PerDevice(lambda device: HeadModel(self.head).to(device))

    @cached_property
    def _modulator(self) -> SkinModulator:
        return SkinModulator(self.appearance, self.head.faces, self.binding)

    @cached_property
    def _mouth(self) -> MouthModulator | None:
        """None for a head without one, and for Gaussians whose looks under an emotion a network has learnt."""
        mouth = Mouth.of(self.head) if self.appearance.shaded.any() else None
        return None if mouth is None else MouthModulator(mouth, self.appearance, self.head.faces, self.binding)

    @cached_property
    def _binding(self) -> PerDevice[torch.Tensor]:  # [N] int64
        return PerDevice(torch.from_numpy(self.binding.astype(np.int64)).to)

    @cached_property
    def _footing(self) -> PerDevice[Footing] | None:
        """None for Gaussians that lie about their triangles, not on them."""
        look = self.appearance
        if not look.shaded.any():
            return None
        mesh = (look.photo, self.head.faces, self.binding, look.barycentric)
        return PerDevice(Footing.of(*(torch.from_numpy(a) for a in mesh)).to)

    @torch.no_grad()
    def _evaluate(self, sequence: FlameSequence, frames: slice, device: torch.device) -> HeadOutput:
        arguments = {n: torch.as_tensor(getattr(sequence, n)[frames], device=device) for n in FRAME_FIELDS}
        return self._model.on(device)(**arguments)

    def _posed(self, canonical: Gaussians, sequence: FlameSequence, frames: slice) -> Iterator[Gaussians]:
        device = canonical.device
        output = self._evaluate(sequence, frames, device)
        binding, faces = self._binding.on(device), self._model.on(device).faces
        footing = None if self._footing is None else self._footing.on(device)
        if device.type == "cpu":  # frame by frame, by kernels
            for vertices, transforms in zip(output.vertices, output.joint_transforms, strict=True):
                unturned = _unturned(vertices, transforms[NECK])
                lit = self._modulator(canonical, unturned)
                lit = lit if self._mouth is None else self._mouth(lit, unturned)
                yield pose(lit, binding, vertices, faces, footing)
            return
        unturned = _unturned(output.vertices, output.joint_transforms[:, NECK])
        coloured = self._modulator.frames(canonical, unturned)
        coloured = coloured if self._mouth is None else self._mouth.frames(*coloured, unturned)
        with torch.no_grad():
            posed = pose_frames(canonical, binding, output.vertices, faces, footing)
        for arrays in zip(*posed, *coloured, strict=True):
            yield Gaussians(*arrays)


def _unturned(vertices: torch.Tensor, neck: torch.Tensor) -> torch.Tensor:  # [..., V, 3], [..., 4, 4]
    """Into the frame of the skull, where the light is fixed."""
    return (vertices - neck[..., None, :3, 3]) @ neck[..., :3, :3]
