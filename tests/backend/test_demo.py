from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emo_avatar import demo
from emo_avatar.avatar.files import load_avatar
from emo_avatar.motion.flame_sequence import FlameSequence


def test_the_demo_leaves_everything_that_its_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "VIDEO_SIZE", 64)
    monkeypatch.setattr(demo, "SHEET_SIZE", 64)
    reported: list[float] = []
    written = demo.run_demo(tmp_path, torch.device("cpu"), lambda fraction, _: reported.append(fraction))
    names = {path.name for path in written}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = {name for name in names if f'"{name}"' in page}
    assert names - shown == {"index.html"}
    assert {"avatar.emoavatar", "sequence.npz", "avatar.glb", "emotions.png", "paths.png", "timeline.mp4"} <= shown
    assert reported == sorted(reported) and reported[-1] == pytest.approx(1)

    avatar = load_avatar(tmp_path / "avatar.emoavatar")
    assert avatar.photo is not None and len(avatar.gaussians) > 10_000
    sequence = FlameSequence.read(tmp_path / "sequence.npz")
    assert len(sequence) == demo.FRAMES
    assert np.ptp(sequence.jaw_pose[:, 0]) > 0.05  # it speaks
    sheet = np.asarray(Image.open(tmp_path / "emotions.png").convert("L"), float)
    neutral, surprised = sheet[-192:-128, :64], sheet[-192:-128, -64:]
    assert np.abs(neutral - surprised).mean() > 1
    paths = np.asarray(Image.open(tmp_path / "paths.png").convert("RGB"), float)[:, -64:]  # surprised
    movement, colour, both = paths[-192:-128], paths[-128:-64], paths[-64:]
    assert 0 < np.abs(movement - both).mean() < np.abs(colour - both).mean()
