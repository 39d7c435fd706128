"""The rig of LAM avatars: ARKit targets move the face, neck and head bones turn it, each splat rides on a vertex.

LAM itself moves splats by their vertex and no more, which combs the mouth corners and leaves irises on closed lids.
Here a splat also turns and stretches with the surface (`lam_frames`), as far as it lies near the surface; eyeballs turn
about their centres and sink away under closing lids; the mouth has an inside (`lam_mouth`) and the skin an opaque layer
below it (`lam_backing`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.lam_backing import Backing
from emo_avatar.avatar.lam_frames import SurfaceFrames, surface_frames
from emo_avatar.avatar.lam_kernels import carry, morph
from emo_avatar.avatar.lam_mouth import MouthInterior
from emo_avatar.avatar.shading import NUMBERS
from emo_avatar.head.arkit import ARKitInverse
from emo_avatar.head.data import ARKIT_NAMES, HeadData, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.splat.threads import share_out

# ARKit weights beyond 0 to 1 are how emotions reach a face whose units are weak, and how browOuterUp goes down.
_MIN_UNIT, _MAX_UNIT = -0.5, 2.0
# Targets that the packages' mesh takes less of: a nose balloons, the mouth's corners meet in an open jaw, lids cross.
_LIMITS = {"noseSneerLeft": 1.15, "noseSneerRight": 1.15, "jawOpen": 0.85, "eyeBlinkLeft": 1.1, "eyeBlinkRight": 1.1}
_MOST = np.array([_LIMITS.get(name, _MAX_UNIT) for name in ARKIT_NAMES], np.float32)  # [52]
_NECK_LIMIT = np.radians(25.0)  # the package's skin weights are clean up to here; more turns the whole bust
_HEAD_SHARE = 0.5  # of a head turn that happens at the skull's own joint, as in people; neck bones share the rest
_BLINK_FADE = (0.45, 0.9)  # eyeBlink at which an eyeball begins to fade under the lid, and at which it is gone
_EYE_SINK = 0.004  # metres that a faded eyeball lies deeper
_ARRAYS = ("vertices", "faces", "targets", "follow", "chain_pivots", "chain_weights")
_HALF = ("follow", "chain_weights")  # in files; the targets stay exact, for splats turn with their derivatives


@dataclass(frozen=True)
class Eyeball:
    """The splats that show one eyeball."""

    center: np.ndarray  # [3] float32 metres
    members: np.ndarray  # [K] int32, its mesh vertices and their splats
    share: np.ndarray  # [K] float32, 1 for splats on the eyeball, down to 0 for those that show something else


@dataclass(frozen=True)
class LamRig:
    """A LAM face. Splats 0 to M ride on the moving vertices, in order; the rest follow only bones."""

    kind: ClassVar[str] = "lam"

    head: HeadData  # the open head: driving sequences are in its space
    vertices: np.ndarray  # [V, 3] float32 metres, neutral mesh; the first M of them have deltas
    faces: np.ndarray  # [F, 3] int32
    targets: np.ndarray  # [52, M, 3] float32 metres, Apple's order
    follow: np.ndarray  # [M] float32, how much a splat turns and stretches with the surface below it
    chain_pivots: np.ndarray  # [C, 3] float32 metres: neck bones from the bottom up, the head last
    chain_weights: np.ndarray  # [N, C] float32, of splats; the first V of them are those of the mesh, too
    eyes: tuple[Eyeball, ...]  # left and right; none when the package's eyeballs were not recognised
    mouth: MouthInterior | None  # none when the mesh has no mouth hole
    backing: Backing | None = None  # none in files of before there was one

    def pose(self, canonical: Gaussians, sequence: FlameSequence, frame: int) -> Gaussians:
        return self._posed(canonical, sequence, frame, self._units(sequence)[frame])

    def play(self, canonical: Gaussians, sequence: FlameSequence) -> Iterator[Gaussians]:
        for frame in range(len(sequence)):
            yield self.pose(canonical, sequence, frame)

    def mesh(self, sequence: FlameSequence) -> np.ndarray:  # [T, V, 3]
        nothing = np.zeros((0, 3), np.float32)
        meshes = np.empty((len(sequence), *self.vertices.shape), np.float32)
        for frame, units in enumerate(self._units(sequence)):
            vertices = self._morphed(units)
            for eye, pose in zip(self.eyes, sequence.eyes_pose[frame].reshape(2, 3), strict=False):
                ball = eye.members
                vertices[ball] = eye.center + Rotation.from_rotvec(pose).apply(vertices[ball] - eye.center)
            unused = (np.zeros((len(vertices), width), np.float32) for width in (4, 3, 3))
            self._carry(sequence, frame, vertices, vertices, nothing, *unused)
            meshes[frame] = vertices
        return meshes

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {name: arrays[name].astype(np.float16) for name in _HALF}
        settings: dict[str, Any] = {"eyes": len(self.eyes), "mouth": None}
        for i, eye in enumerate(self.eyes):
            arrays |= {f"eyes.{i}.{f.name}": getattr(eye, f.name) for f in fields(Eyeball)}
        if self.mouth is not None:
            settings["mouth"], mouth_arrays = self.mouth.pack()
            arrays |= {f"mouth.{name}": array for name, array in mouth_arrays.items()}
        if self.backing is not None:
            settings["backing"], backing_arrays = self.backing.pack()
            arrays |= {f"backing.{name}": array for name, array in backing_arrays.items()}
        return settings, arrays

    @classmethod
    def unpack(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_gaussians: int) -> LamRig:
        arrays = {name: a.astype(np.int32 if a.dtype.kind in "iu" else np.float32) for name, a in arrays.items()}
        values = {name: arrays[name] for name in _ARRAYS}
        eyes = tuple(
            Eyeball(*(arrays[f"eyes.{i}.{f.name}"] for f in fields(Eyeball))) for i in range(int(settings["eyes"]))
        )
        mouth = None
        if settings["mouth"] is not None:
            mouth_arrays = {k.removeprefix("mouth."): a for k, a in arrays.items() if k.startswith("mouth.")}
            mouth = MouthInterior.unpack(settings["mouth"], mouth_arrays)
        backing = None
        if settings.get("backing") is not None:
            backing_arrays = {k.removeprefix("backing."): a for k, a in arrays.items() if k.startswith("backing.")}
            backing = Backing.unpack(settings["backing"], backing_arrays)
        rig = cls(head=open_head(), eyes=eyes, mouth=mouth, backing=backing, **values)
        rig.check(n_gaussians)
        return rig

    def check(self, n_gaussians: int) -> None:
        """Raises ValueError when the arrays do not fit together; the kernels index without looking."""
        m, v, c = len(self.follow), len(self.vertices), len(self.chain_pivots)
        expected = {
            "vertices": (v, 3),
            "faces": (len(self.faces), 3),
            "targets": (len(ARKIT_NAMES), m, 3),
            "follow": (m,),
            "chain_pivots": (c, 3),
            "chain_weights": (n_gaussians, c),
        }
        wrong = [name for name, shape in expected.items() if getattr(self, name).shape != shape]
        fitting = all(eye.share.shape == eye.members.shape and eye.center.shape == (3,) for eye in self.eyes)
        if wrong or not fitting or not m <= v <= n_gaussians or c == 0 or self.faces.dtype != np.int32:
            raise ValueError(f"the rig's {', '.join(wrong) or 'parts'} do not fit together")
        indices = [(self.faces, v), *((eye.members, v) for eye in self.eyes)]
        if any(a.size and not 0 <= a.min() <= a.max() < limit for a, limit in indices):
            raise ValueError("the rig points past its vertices")
        if self.mouth is not None:
            self.mouth.check(v, n_gaussians)
        if self.backing is not None:
            self.backing.check(v, n_gaussians)

    def _units(self, sequence: FlameSequence) -> np.ndarray:  # [T, 52]
        """ARKit weights of every frame, solved together once and kept for the sequence that was asked for last."""
        owner, units = self._last_units[0]
        if owner() is not sequence:
            units = self._inverse.solve(
                sequence.expression, sequence.jaw_pose, sequence.eyes_pose, lower=_MIN_UNIT, upper=_MAX_UNIT
            )
            units = np.minimum(units, _MOST)
            self._last_units[0] = (weakref.ref(sequence), units)
        return units

    @cached_property
    def _last_units(self) -> list[tuple[Callable[[], FlameSequence | None], np.ndarray]]:
        """One pair, exchanged as a whole: other threads may pose at the same time."""
        return [(lambda: None, np.zeros((0, len(ARKIT_NAMES)), np.float32))]

    @cached_property
    def _inverse(self) -> ARKitInverse:
        return ARKitInverse.of(self.head)

    @cached_property
    def _frames(self) -> SurfaceFrames:
        return surface_frames(self.vertices, self.faces, len(self.follow))

    @cached_property
    def _flat_targets(self) -> np.ndarray:  # [52, 3 M]
        return np.ascontiguousarray(self.targets.reshape(len(self.targets), -1))

    def _posed(self, canonical: Gaussians, sequence: FlameSequence, frame: int, units: np.ndarray) -> Gaussians:
        means, quats, scales, opacities, colors = (
            np.array(t.detach().cpu().numpy(), np.float32)  # a copy, which is then posed
            for t in (canonical.means, canonical.quats, canonical.scales, canonical.opacities, canonical.sh[:, 0])
        )
        vertices = self._morphed(units)
        offsets = means[: len(self.follow)] - self.vertices[: len(self.follow)]
        self._turn_eyes(means, quats, opacities, units, sequence.eyes_pose[frame])
        if self.mouth is not None:
            self.mouth.pose(vertices, units, means, scales, opacities)
        if self.backing is not None:
            self.backing.pose(self.vertices, vertices, means)
        self._carry(sequence, frame, vertices, means, offsets, quats, scales, colors)
        posed = [torch.from_numpy(a).to(canonical.device) for a in (means, quats, scales, opacities, colors[:, None])]
        return Gaussians(*posed)

    def _carry(
        self,
        sequence: FlameSequence,
        frame: int,
        vertices: np.ndarray,  # [V, 3] morphed
        means: np.ndarray,  # [N, 3] of splats that do not ride on the face
        offsets: np.ndarray,  # [M, 3] of those that do, from their vertices
        quats: np.ndarray,  # [N, 4]
        scales: np.ndarray,  # [N, 3]
        colors: np.ndarray,  # [N, 3]
    ) -> None:
        """Takes splats to the world, in place."""
        moves, turns = self._bones(sequence.rotation[frame], sequence.neck_pose[frame])
        moves[-1, :, 3] += sequence.translation[frame]
        surface = self._frames
        share_out(
            carry,
            vertices,
            means,
            surface.pointers,
            surface.neighbours,
            surface.derivatives,
            surface.rest,
            self.follow[: len(offsets)],
            offsets,
            quats,
            scales,
            colors,
            self.chain_weights,
            moves[:-1],
            turns[:-1],
            moves[-1],
            turns[-1],
            NUMBERS,
            means,
            quats,
            scales,
            colors,
        )

    def _morphed(self, units: np.ndarray) -> np.ndarray:  # [V, 3]
        """The mesh under ARKit weights ``[52]``, before the head turns."""
        active = np.flatnonzero(np.abs(units) > 1e-4).astype(np.int32)
        vertices = self.vertices.copy()
        share_out(morph, self._flat_targets, active, units[active], vertices.reshape(-1))
        return vertices

    def _turn_eyes(
        self,
        centers: np.ndarray,  # [N, 3]
        quats: np.ndarray,  # [N, 4]
        opacities: np.ndarray,  # [N]
        units: np.ndarray,  # [52]
        eyes_pose: np.ndarray,  # [6]
    ) -> None:
        """Turns, sinks and fades the eyeballs in place."""
        for eye, pose, side in zip(self.eyes, eyes_pose.reshape(2, 3), ("Left", "Right"), strict=False):
            closed = _smoothstep(units[ARKIT_NAMES.index(f"eyeBlink{side}")], *_BLINK_FADE)
            ball = eye.members[eye.share > 0]
            share = eye.share[eye.share > 0][:, None]  # [B, 1]
            turn = Rotation.from_rotvec(pose)
            from_center = centers[ball] - eye.center
            centers[ball] += share * (from_center @ turn.as_matrix().T.astype(np.float32) - from_center)
            centers[ball, 2] -= closed * _EYE_SINK * share[:, 0]
            turned = _quat_multiply(turn.as_quat()[[3, 0, 1, 2]].astype(np.float32), quats[ball])
            quats[ball] += share * (turned - quats[ball])
            opacities[ball] *= 1.0 - closed * share[:, 0]

    def _bones(self, rotation: np.ndarray, neck_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Motions ``[C + 1, 3, 4]`` and their quaternions ``[C + 1, 4]``: the chain's bones and, last, the body."""
        angle = float(np.linalg.norm(rotation))
        kept = _NECK_LIMIT * np.tanh(angle / _NECK_LIMIT) / angle if angle > 1e-6 else 1.0
        body = Rotation.from_rotvec(rotation * (1.0 - kept))
        total = (Rotation.from_rotvec(rotation * kept) * Rotation.from_rotvec(neck_pose)).as_rotvec()
        count = len(self.chain_pivots)
        shares = np.full(count, (1.0 - _HEAD_SHARE) / max(count - 1, 1))
        shares[-1] = _HEAD_SHARE if count > 1 else 1.0
        moves = np.empty((count + 1, 3, 4), np.float32)
        quats = np.empty((count + 1, 4), np.float32)
        turn, shift = Rotation.identity(), np.zeros(3)
        for c, (pivot, share) in enumerate(zip(self.chain_pivots, shares, strict=True)):
            local = Rotation.from_rotvec(total * share)
            shift = turn.apply(pivot - local.apply(pivot)) + shift
            turn = turn * local
            moves[c, :, :3], moves[c, :, 3], quats[c] = turn.as_matrix(), shift, turn.as_quat()[[3, 0, 1, 2]]
        root = self.chain_pivots[0]
        moves[-1, :, :3], moves[-1, :, 3] = body.as_matrix(), root - body.apply(root)
        quats[-1] = body.as_quat()[[3, 0, 1, 2]]
        return moves, quats


def _smoothstep(x: float, start: float, end: float) -> float:
    t = float(np.clip((x - start) / (end - start), 0.0, 1.0))
    return t * t * (3.0 - 2.0 * t)


def _quat_multiply(p: np.ndarray, q: np.ndarray) -> np.ndarray:  # [4], [K, 4] wxyz -> [K, 4]
    w, x, y, z = p
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]], p.dtype)
    return q @ left.T
