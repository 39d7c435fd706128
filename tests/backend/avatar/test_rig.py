"""The rig of heads in FLAME format: Gaussians stay on the surface that HeadModel evaluates."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.binding import Footing, pose, pose_frames
from emo_avatar.avatar.rig import FRAMES_ON_GPU, FlameRig
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.render.rasterize import rasterize

from .. import gsplat_double
from ..devices import GPU, OneDevice


def performance(frames: int, seed: int = 0) -> FlameSequence:
    """Random but moderate motion in every field."""
    rng = np.random.default_rng(seed)
    still = FlameSequence.still(frames)
    spread = {"expression": 0.5, "translation": 0.02}
    values = {
        name: rng.normal(0, spread.get(name, 0.1), getattr(still, name).shape).astype(np.float32)
        for name in FRAME_FIELDS
    }
    return replace(still, **values)


def test_gaussians_stay_on_their_triangles(painted_avatar: Avatar) -> None:
    sequence = performance(3)
    head = painted_avatar.rig.head
    with torch.no_grad():
        vertices = HeadModel(head)(**{n: torch.from_numpy(getattr(sequence, n)) for n in FRAME_FIELDS}).vertices
    for frame in range(3):
        centres = vertices[frame][torch.from_numpy(head.faces.astype(np.int64))].mean(1)
        torch.testing.assert_close(painted_avatar.pose(sequence, frame).means, centres, atol=2e-5, rtol=0)
    np.testing.assert_allclose(painted_avatar.rig.mesh(sequence), vertices.numpy(), atol=2e-5)


def test_playing_is_posing_frame_by_frame(painted_avatar: Avatar) -> None:
    sequence = performance(40, seed=1)  # more than one batch
    played = list(painted_avatar.play(sequence))
    assert len(played) == 40
    for frame in (0, 31, 32, 39):
        alone = painted_avatar.pose(sequence, frame)
        torch.testing.assert_close(played[frame].means, alone.means, atol=2e-5, rtol=0)
        torch.testing.assert_close(played[frame].scales, alone.scales, atol=2e-5, rtol=1e-3)


def test_the_identity_of_a_sequence_is_ignored(painted_avatar: Avatar) -> None:
    still = FlameSequence.still(1)
    other = replace(still, shape=np.full(300, 2, np.float32))
    torch.testing.assert_close(painted_avatar.pose(other).means, painted_avatar.pose(still).means)


@pytest.fixture
def living_avatar(painted_avatar: Avatar) -> Avatar:
    """With skin that shades, folds, fades and knows folds of its photo, which showed another face than the neutral."""
    rng, rig = np.random.default_rng(0), painted_avatar.rig
    assert isinstance(rig, FlameRig)
    n = len(rig.binding)
    skin = replace(
        rig.appearance,
        photo=(rig.head.v_template * (0.93, 1.02, 1)).astype(np.float32),
        shaded=rng.random(n) < 0.9,
        stretch_limit=rng.uniform(1.1, 2, n).astype(np.float32),
        barycentric=rng.dirichlet((2, 2, 2), n).astype(np.float32),
        folds=rng.integers(0, 256, (n, 3)).astype(np.uint8) * (rng.random((n, 1)) < 0.8),
        detail=rng.random(n).astype(np.float32) * (rng.random(n) < 0.5),
        unfolding=rng.integers(-100, 101, (n, 4)).astype(np.int8) * (rng.random((n, 1)) < 0.5),
    )
    skin = replace(skin, unfolding=np.concatenate([skin.unfolding[:, :3], np.abs(skin.unfolding[:, 3:])], 1))
    return replace(painted_avatar, rig=replace(rig, appearance=skin))


def test_what_a_gpu_computes_is_what_the_kernels_compute(living_avatar: Avatar) -> None:
    rig, canonical = living_avatar.rig, living_avatar.gaussians
    assert isinstance(rig, FlameRig)
    vertices = torch.from_numpy(rig.mesh(replace(performance(3), neck_pose=np.zeros((3, 3), np.float32))))
    faces, binding = (torch.from_numpy(a.astype(np.int64)) for a in (rig.faces, rig.binding))
    opacities, sh = rig._modulator.frames(canonical, vertices)
    footing = Footing.of(*(torch.from_numpy(a) for a in (rig.appearance.photo, rig.faces)), binding,
                         torch.from_numpy(rig.appearance.barycentric))  # fmt: skip
    means, quats, scales = pose_frames(canonical, binding, vertices, faces, footing)
    for frame in range(3):
        by_kernel = rig._modulator(canonical, vertices[frame])
        torch.testing.assert_close(opacities[frame], by_kernel.opacities, atol=1e-4, rtol=0)
        torch.testing.assert_close(sh[frame], by_kernel.sh, atol=1e-3, rtol=0)
        posed = pose(canonical, binding, vertices[frame], faces, footing)
        torch.testing.assert_close(means[frame], posed.means, atol=1e-6, rtol=0)
        torch.testing.assert_close(scales[frame], posed.scales, atol=1e-6, rtol=1e-2)
        same = torch.nn.functional.cosine_similarity(quats[frame], posed.quats).abs()
        assert same.min() > 0.999
    assert opacities.min() < 0.1 and (sh - canonical.sh).abs().max() > 0.1


def test_a_gpu_is_not_left_while_it_plays(living_avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor comes back, and what goes there is the performance's numbers alone."""
    gsplat_double.install(monkeypatch)
    there, sequence = living_avatar.to(GPU), performance(FRAMES_ON_GPU + 2)
    camera = there.camera(size=32)
    rasterize(there.pose(sequence), camera)
    with OneDevice() as mode:
        count = sum(rasterize(gaussians, camera).rgb.device == GPU for gaussians in there.play(sequence))
    assert count == len(sequence)
    assert set(mode.carried) == {"to the GPU"} and mode.carried["to the GPU"] < 1000 * len(sequence)


def test_a_rig_serves_two_devices_at_once(living_avatar: Avatar) -> None:
    """Nothing is moved from under a generator that plays elsewhere."""
    sequence = performance(3)
    expected = living_avatar.rig.mesh(sequence)
    here, there = living_avatar.play(sequence), living_avatar.to(GPU).play(sequence)
    for ours, theirs in zip(here, there, strict=True):
        assert (ours.device.type, theirs.device) == ("cpu", GPU)
    np.testing.assert_array_equal(living_avatar.rig.mesh(sequence), expected)
