"""FLAME npz as the backend, and so VHAP's and GaussianAvatars' readers, take it."""

import numpy as np
from emo_avatar_addon.export.flame_npz import write_flame_npz

from emo_avatar.motion.flame_sequence import FlameSequence


def test_the_backend_reads_what_blender_writes(tmp_path):
    rng = np.random.default_rng(0)
    widths = {"expression": 100, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
    poses = {name: rng.normal(size=(7, width)).astype(np.float32) for name, width in widths.items()}
    identity = rng.normal(size=20)
    write_flame_npz(tmp_path / "a.npz", poses, fps=23.976, identity=identity)
    sequence = FlameSequence.read(tmp_path / "a.npz")
    assert (len(sequence), sequence.fps, sequence.head) == (7, 23.976, "open")
    for name, values in poses.items():
        np.testing.assert_array_equal(getattr(sequence, name), values)
    np.testing.assert_allclose(sequence.shape[:20], identity, rtol=1e-6)
    assert not sequence.shape[20:].any()
