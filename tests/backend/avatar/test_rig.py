"""The rig of heads in FLAME format: Gaussians stay on the surface that HeadModel evaluates."""

from dataclasses import replace

import numpy as np
import torch

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence


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
