import errno
import json

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from emo_avatar.cli import app
from emo_avatar.data.synchronised_shots import draw_example
from emo_avatar.head.data import open_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS


def run(*arguments):
    result = CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])
    assert result.exit_code == 0, result.output


def test_examples_on_disk_are_those_that_are_drawn(tmp_path):
    run("write", "-o", tmp_path, "--seed", 7, "--count", 1, "--size", 48)
    (folder,) = tmp_path.iterdir()
    example = draw_example(7, 48)
    document = json.loads((folder / "example.json").read_text(encoding="utf-8"))
    with Image.open(folder / "target.png") as image:
        rgba = np.asarray(image, np.float32) / 255
    assert np.abs(rgba[..., :3] - example.target.rgb).max() < 0.003
    weights = [document["target"]["emotions"].get(name, 0) for name in EMOTIONS]
    assert np.allclose(weights, example.weights, atol=1e-4)
    assert np.allclose(document["target"]["viewmat"], example.target.setting.camera.viewmat)
    motion = FlameSequence.read(folder / "target.npz")
    assert np.allclose(motion.expression, example.target.frame.expression)
    assert np.array_equal(motion.shape, example.subject.person.shape) and HeadModel(open_head()).name == motion.head


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    run("write", "-o", tmp_path, "--seed", 7, "--count", 1, "--size", 32)
    (whole,) = tmp_path.iterdir()
    picture = whole / "target.png"
    before = picture.stat().st_mtime_ns
    remains = tmp_path / ".example-0000007-killed"
    remains.mkdir()
    result = CliRunner().invoke(
        app, ["data", "write", "-o", str(tmp_path), "--seed", "7", "--count", "1", "--size", "32"]
    )
    assert result.exit_code == 0 and picture.stat().st_mtime_ns == before and not remains.exists()
    run("write", "-o", tmp_path, "--seed", 7, "--count", 1, "--size", 40)
    with Image.open(picture) as image:
        assert image.size == (40, 40)
    (whole / "example.json").unlink()
    picture.unlink()
    run("write", "-o", tmp_path, "--seed", 7, "--count", 1, "--size", 40)
    assert picture.exists() and (whole / "example.json").exists()


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("emo_avatar.data.disk._write_shot", full)
    arguments = ["data", "write", "-o", str(tmp_path), "--seed", "7", "--count", "1", "--size", "32"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "The disk is full" in result.output
    assert not list(tmp_path.iterdir())


def test_sequences_on_disk_are_synchronised(tmp_path):
    run("write", "-o", tmp_path, "--configuration", "geometry", "--count", 1, "--seconds", 0.2, "--size", 32)
    folders = sorted(tmp_path.iterdir())
    assert [f.name.split("-")[2] for f in folders] == sorted(("neutral", *EMOTIONS))
    for folder in folders:
        document = json.loads((folder / "sequence.json").read_text(encoding="utf-8"))
        assert document["frames"] == len(list(folder.glob("*.png"))) == 6 and document["fps"] == 30
    driving = [FlameSequence.read(folder / "driving.npz").expression for folder in folders]
    assert all(np.array_equal(driving[0], other) for other in driving)


def test_contact_sheets_have_all_emotions(tmp_path):
    run("preview", "-o", tmp_path / "a.png", "--people", 1, "--size", 32)
    run("preview", "-o", tmp_path / "g.png", "--configuration", "geometry", "--size", 32)
    for name, columns, rows in (("a.png", 8, 1), ("g.png", 9, 7)):
        with Image.open(tmp_path / name) as image:
            assert image.width == columns * 32 and image.height > rows * 32
            assert len(np.unique(np.asarray(image)[-32:, :32].reshape(-1, 3), axis=0)) > 50


def test_a_sheet_must_be_a_png(tmp_path):
    result = CliRunner().invoke(app, ["data", "preview", "-o", str(tmp_path / "a.bmp")])
    assert result.exit_code != 0
