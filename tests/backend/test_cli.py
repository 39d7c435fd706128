"""The command line as users meet it: what it writes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData
from typer.testing import CliRunner, Result

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import save_avatar
from emo_avatar.cli import app
from emo_avatar.motion.flame_sequence import FlameSequence

TIMELINE = {
    "version": 1,
    "fps": 24,
    "frame_start": 1,
    "frame_end": 6,
    "emotions": {"happy": [{"frame": 1, "value": 0.0}, {"frame": 6, "value": 1.0}]},
}


def run(*arguments: object) -> Result:
    """The command line in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments: object, **settings: object) -> subprocess.Popen[str]:
    """The command line in a process of its own, which heeds Ctrl-C even where whoever started the tests does not."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from emo_avatar.cli import app; app()"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def complaint(result: Result) -> str:
    """The one sentence of a refusal."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ") and lines[0].endswith((".", "?")), result.stderr
    assert not result.stdout
    return lines[0]


@pytest.fixture(scope="module")
def avatar_file(painted_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("avatar") / "painted.emoavatar"
    save_avatar(painted_avatar, path)
    return path


@pytest.fixture
def timeline_file(tmp_path: Path) -> Path:
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(TIMELINE))
    return path


# What it writes


def test_help_names_every_command() -> None:
    process = start("--help")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    for command in [
        "build",
        "import",
        "info",
        "animate",
        "render",
        "export",
        "sheet",
        "bench",
        "demo",
        "head",
        "assets",
        "train",
        "evaluate",
    ]:
        assert f" {command} " in out


def test_help_imports_nothing_heavy() -> None:
    program = """
import sys
from emo_avatar.cli import app
try:
    app(["--help"])
finally:
    print(*sys.modules, file=sys.stderr)
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr.split()
    assert "emo_avatar.cli" in loaded
    assert not {"torch", "numba", "scipy", "mediapipe", "onnxruntime", "av"} & set(loaded)


def test_info(avatar_file: Path) -> None:
    facts = json.loads(run("info", avatar_file, "--json").stdout)
    assert facts["name"] == "painted" and facts["gaussians"] == facts["triangles"]
    assert f"{facts['gaussians']}" in run("info", avatar_file).stdout


def test_animate_follows_the_timeline(avatar_file: Path, timeline_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sequence.npz"
    result = run("animate", avatar_file, "-o", out, "--timeline", timeline_file)
    assert result.exit_code == 0, result.output
    sequence = FlameSequence.read(out)
    assert len(sequence) == 6 and sequence.fps == 24
    motion = np.linalg.norm(sequence.expression, axis=1)
    assert motion[0] == pytest.approx(0, abs=1e-5) and motion[-1] > 0.1


def test_motion_can_be_fed_back(avatar_file: Path, timeline_file: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    run("animate", avatar_file, "-o", first, "--timeline", timeline_file)
    result = run("animate", avatar_file, "-o", second, "--motion", first, "--frames", 9)
    assert result.exit_code == 0, result.output
    again = FlameSequence.read(second)
    np.testing.assert_allclose(again.expression[:6], FlameSequence.read(first).expression, atol=1e-4)
    np.testing.assert_allclose(again.expression[6:], again.expression[:3], atol=1e-6)  # repeated


def test_render_a_transparent_picture(avatar_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "happy.png"
    result = run("render", avatar_file, "-o", out, "--emotion", "happy=0.8", "--size", 128, "--yaw", 20)
    assert result.exit_code == 0, result.output
    image = np.asarray(Image.open(out))
    assert image.shape == (128, 128, 4)
    assert image[0, 0, 3] == 0 and image[60, 64, 3] > 200


def test_without_geometry_the_face_stays(avatar_file: Path, tmp_path: Path) -> None:
    pictures = []
    for i, options in enumerate(([], ["--emotion", "happy=1"], ["--emotion", "happy=1", "--no-geometry"])):
        run("render", avatar_file, "-o", tmp_path / f"{i}.png", "--size", 64, "--no-appearance", *options)
        pictures.append(np.asarray(Image.open(tmp_path / f"{i}.png")))
    neutral, happy, still = pictures
    np.testing.assert_array_equal(neutral, still)
    assert (neutral != happy).any()


def test_render_over_a_colour(avatar_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "neutral.png"
    run("render", avatar_file, "-o", out, "--size", 64, "--background", "#ff8000")
    image = np.asarray(Image.open(out))
    assert image.shape == (64, 64, 3)
    np.testing.assert_array_equal(image[0, 0], [255, 128, 0])


def test_render_a_folder_and_a_video(avatar_file: Path, timeline_file: Path, tmp_path: Path) -> None:
    result = run("render", avatar_file, "-o", tmp_path / "frames", "--timeline", timeline_file, "--size", 64)
    assert result.exit_code == 0, result.output
    assert [path.name for path in sorted((tmp_path / "frames").iterdir())] == [f"{i:05d}.png" for i in range(1, 7)]
    result = run("render", avatar_file, "-o", tmp_path / "film.mp4", "--timeline", timeline_file, "--size", 64)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_export_splats(avatar_file: Path, tmp_path: Path) -> None:
    result = run("export", avatar_file, "-o", tmp_path / "splats.ply", "--emotion", "sad=1", "--frames", 2)
    assert result.exit_code == 0, result.output
    frames = sorted((tmp_path / "splats.ply").iterdir())
    assert len(frames) == 2 and PlyData.read(frames[0])["vertex"].count > 1000


def test_sheet(avatar_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run("sheet", avatar_file, "-o", out, "--size", 64)
    assert result.exit_code == 0, result.output
    width, height = Image.open(out).size
    assert width == 7 * 64 and height > 3 * 64


def test_bench_frame_tells_all_that_matters(avatar_file: Path) -> None:
    facts = json.loads(run("bench", "frame", avatar_file, "--json", "--size", 64, "--repeats", 2).stdout)
    assert facts["frames_per_second"] == pytest.approx(1e3 / facts["mean_ms"])
    assert facts["appearance"] is False and facts["repeats"] == 2


def test_bench_render_tells_all_that_matters() -> None:
    result = run("bench", "render", "--json", "--gaussians", 1000, "--size", 64, "--repeats", 2)
    facts = json.loads(result.stdout)
    assert facts["gaussians"] == 1000 and facts["size"] == 64 and facts["median_ms"] > 0
    assert facts["device"] and facts["threads"] >= 1


# What it says when something is wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render", "AVATAR", "-o", "OUT/a.gif"], "no ending that this command writes"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--emotion", "joy=1"], "joy"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--emotion", "happy=2"], "happy"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--emotion", "happy=nan"], "happy"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--emotion", "happy"], "happy=0.8"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--background", "blue"], "#336699"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--background", "#12345"], "#336699"),
        (["render", "AVATAR", "-o", "OUT/a.mp4", "--background", "transparent"], "transparency"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--size", "0"], "--size"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--size", "large"], "--size"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--yaw", "nan"], "--yaw"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--fov", "0"], "--fov"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--frames", "0"], "--frames"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--motion", "OUT/none.npz"], "none.npz"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--timeline", "OUT/none.json"], "none.json"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--view", "skeleton"], "--view"),
        (["render", "AVATAR", "-o", "OUT/a.png", "--colour", "red"], "--colour"),
        (["render", "AVATAR"], "--output"),
        (["render", "OUT/none.emoavatar", "-o", "OUT/a.png"], "none.emoavatar"),
        (["render", "JUNK", "-o", "OUT/a.png"], "junk"),
        (["info", "JUNK"], "junk"),
        (["animate", "AVATAR", "-o", "OUT/a.csv"], "*.npz"),
        (["animate", "AVATAR", "-o", "OUT/a.npz", "--motion", "JUNK"], "junk"),
        (["animate", "AVATAR", "-o", "OUT/a.npz", "--timeline", "JUNK"], "junk"),
        (["animate", "AVATAR", "-o", "JUNK/a.npz"], "junk"),
        (["export", "AVATAR", "-o", "OUT/a.fbx"], "*.glb"),
        (["sheet", "AVATAR", "-o", "OUT/a.jpg"], "*.png"),
        (["build", "OUT/none.jpg", "-o", "OUT/a.emoavatar"], "none.jpg"),
        (["build", "JUNK", "-o", "OUT/a.emoavatar"], "junk"),
        (["build", "JUNK", "-o", "OUT/a.zip"], "*.emoavatar"),
        (["build", "JUNK", "-o", "OUT/a.emoavatar", "--backbone", "nerf"], "nerf"),
        (["build", "JUNK", "-o", "OUT/a.emoavatar", "--head", "JUNK"], "junk"),
        (["import", "JUNK", "-o", "OUT/a.emoavatar"], "junk"),
        (["head", "import", "JUNK", "-o", "OUT/a.npz"], "junk"),
        (["head", "info", "JUNK"], "junk"),
        (["assets", "fetch", "nothing"], "nothing"),
        (["assets", "verify", "nothing"], "nothing"),
        (["train", "recipes", "-o", "OUT/r.json", "--audience", "critics"], "choose one of face-api, fer"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    arguments: list[str], said: str, avatar_file: Path, tmp_path: Path
) -> None:
    junk, out = tmp_path / "junk.bin", tmp_path / "out"
    junk.write_bytes(b"not what it seems")
    places = {"AVATAR": avatar_file, "JUNK": junk, "OUT": out}
    result = run(*(str(places.get(a, a)).replace("OUT/", f"{out}/").replace("JUNK/", f"{junk}/") for a in arguments))
    assert said in complaint(result)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_cuda_device_is_told(avatar_file: Path, tmp_path: Path) -> None:
    assert "CUDA" in complaint(run("render", avatar_file, "-o", tmp_path / "a.png", "--device", "cuda"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_unwritable_folder_is_told(avatar_file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert str(tmp_path) in complaint(run("render", avatar_file, "-o", tmp_path / "a.png"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("name", "sent", "code"),
    [("film.mp4", signal.SIGINT, 130), ("frames", signal.SIGINT, 130), ("film.mp4", signal.SIGTERM, 143)],
)
def test_an_interrupted_command_leaves_nothing(
    name: str, sent: signal.Signals, code: int, avatar_file: Path, tmp_path: Path
) -> None:
    with start("render", avatar_file, "-o", tmp_path / name, "--frames", 100_000, "--size", 64) as process:
        try:
            deadline = time.monotonic() + 600
            while not list(tmp_path.iterdir()):  # until it has begun to write
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.3)
            process.send_signal(sent)
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_comes_in_a_finaliser_is_not_lost(sent: signal.Signals, code: int) -> None:
    script = """
import signal, time, typer
from emo_avatar.cli.boundary import CommandLine

signal.signal(signal.SIGINT, signal.default_int_handler)
app = typer.Typer(cls=CommandLine)

class Slow:
    def __del__(self):
        print("in the finaliser", flush=True)
        time.sleep(0.5)

@app.callback()
def main(): ...

@app.command()
def work():
    Slow()
    time.sleep(600)

app(["work"])
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(sent)
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == code
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("cause", "code"), [("KeyboardInterrupt()", 130), ("SystemExit(143)", 143), ("ValueError('a defect')", 1)]
)
def test_a_signal_that_comes_in_compiled_code_is_not_a_defect(cause: str, code: int) -> None:
    script = f"""
import typer
from emo_avatar.cli.boundary import CommandLine

app = typer.Typer(cls=CommandLine, pretty_exceptions_enable=False)

@app.callback()
def main(): ...

@app.command()
def work():
    try:
        raise SystemError("a function returned a result with an exception set") from {cause}
    except SystemError as inner:
        raise SystemError("a kernel returned a result with an exception set") from inner

app(["work"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert done.returncode == code
    assert (b"Traceback" in done.stderr) == (code == 1)
