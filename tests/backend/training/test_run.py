"""The training loop: it learns, repeats, survives a kill, and several processes train one network."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from emo_avatar.errors import UserError
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

LAUNCHES = 4  # torchrun's processes find one another by ports that another program may take in between
SETTINGS = RunSettings(steps=40, learning_rate=0.05, ema=0.8, checkpoint_minutes=0)


class Line:
    """A network that is to learn y = 3 x - 1."""

    fingerprint = "line"

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)

    @staticmethod
    def draw(step, rank):
        x = torch.from_numpy(np.random.default_rng([step, rank]).normal(size=(32, 1)).astype(np.float32))
        return x, 3 * x - 1

    def loss(self, batch):
        x, y = batch
        error = self.model(x) - y
        return {"square": error.square().mean(), "magnitude": 0.1 * error.abs().mean()}


class Apart(Line):
    """Whose processes begin with weights of their own, and of which each uses a weight that the other does not."""

    def __init__(self):
        super().__init__()
        rank = int(os.environ["RANK"])
        self.model.bias.data.fill_(rank)
        self.model.register_parameter("used", nn.Parameter(torch.zeros(2)))
        self.model.register_parameter("second", nn.Parameter(torch.zeros(2)))

    def loss(self, batch):
        own = self.model.used if os.environ["RANK"] == "0" else self.model.second
        return super().loss(batch) | {"own": (own - 1).square().sum()}


class Interruption(Exception):
    pass


def interrupt_at(step):
    def progress(fraction, doing):
        if doing.startswith(f"step {step},"):
            raise Interruption

    return progress


def weights(done):
    return torch.cat([p.detach().flatten() for p in done.model.parameters()])


def test_learns_and_leaves_curves(tmp_path):
    done = run(Line(), tmp_path / "line.safetensors", replace(SETTINGS, steps=400, checkpoint_minutes=1))
    assert done.complete and done.steps == 400
    assert torch.allclose(weights(done), torch.tensor([3.0, -1.0]), atol=0.05)
    rows = list(csv.DictReader((tmp_path / "line_loss.csv").open()))
    assert list(rows[0]) == ["step", "square", "magnitude"] and len(rows) == 400
    assert float(rows[-1]["square"]) < 0.01 * float(rows[0]["square"])
    assert (tmp_path / "line_loss.png").stat().st_size > 5000
    assert (tmp_path / "line.checkpoint").exists()  # until the weights are on disk
    forget_checkpoint(tmp_path / "line.safetensors")
    assert not (tmp_path / "line.checkpoint").exists()


def test_resumed_is_as_if_never_interrupted(tmp_path):
    whole = run(Line(), tmp_path / "whole.safetensors", SETTINGS)
    path = tmp_path / "broken.safetensors"
    with pytest.raises(Interruption):
        run(Line(), path, SETTINGS, progress=interrupt_at(17))
    resumed = run(Line(), path, SETTINGS, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    for name in ("whole", "broken"):
        assert len((tmp_path / f"{name}_loss.csv").read_text().splitlines()) == 41


def test_stops_on_time_and_goes_on(tmp_path):
    path = tmp_path / "line.safetensors"
    first = run(Line(), path, replace(SETTINGS, minutes=0.0))
    assert not first.complete and first.steps == 1
    second = run(Line(), path, SETTINGS, resume=True)
    assert second.complete and torch.equal(weights(second), weights(run(Line(), tmp_path / "w.safetensors", SETTINGS)))


def test_resuming_what_is_not_there_or_another_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        run(Line(), tmp_path / "line.safetensors", SETTINGS, resume=True)
    run(Line(), tmp_path / "line.safetensors", SETTINGS)
    with pytest.raises(UserError, match="other settings"):
        run(Line(), tmp_path / "line.safetensors", replace(SETTINGS, steps=50), resume=True)
    other = Line()
    other.fingerprint = "another line"
    with pytest.raises(UserError, match="other settings"):
        run(other, tmp_path / "line.safetensors", SETTINGS, resume=True)


def test_a_loss_that_is_no_number_ends_with_a_sentence(tmp_path):
    task = Line()
    task.loss = lambda batch: {"square": task.model(batch[0]).sum() * float("nan")}
    with pytest.raises(UserError, match="smaller learning rate"):
        run(task, tmp_path / "line.safetensors", SETTINGS)


def damaged(path, how):
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"no checkpoint at all" * 50}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "other"])
def test_a_damaged_checkpoint_is_refused_with_a_sentence(tmp_path, how):
    path = tmp_path / "line.safetensors"
    run(Line(), path, replace(SETTINGS, minutes=0.0))
    damaged(path.with_suffix(".checkpoint"), how)
    with pytest.raises(UserError, match=r"line\.checkpoint cannot be read .*train without --resume"):
        run(Line(), path, SETTINGS, resume=True)


def test_a_loss_curve_that_is_none_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "line.safetensors"
    run(Line(), path, replace(SETTINGS, minutes=0.0))
    (tmp_path / "line_loss.csv").write_text("a letter,\nnot a curve\n")
    with pytest.raises(UserError, match="move it away"):
        run(Line(), path, SETTINGS, resume=True)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("failed writing file\nat 0x7f")]
)
def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path, monkeypatch, error):
    path, save, saved = tmp_path / "line.safetensors", torch.save, []

    def full(state, file):
        if len(saved) == 3:
            file.write_bytes(b"half of it")
            raise error
        saved.append(file)
        save(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="cannot be written .*make room"):
        run(Line(), path, SETTINGS)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))  # nothing half-written is left
    resumed = run(Line(), path, SETTINGS, resume=True)
    assert torch.equal(weights(resumed), weights(run(Line(), tmp_path / "whole.safetensors", SETTINGS)))


def test_workers_draw_the_same_batches(tmp_path):
    settings = replace(SETTINGS, steps=6)
    alone = run(Line(), tmp_path / "alone.safetensors", settings)
    helped = run(Line(), tmp_path / "helped.safetensors", replace(settings, workers=1))
    assert torch.equal(weights(alone), weights(helped))


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run import Apart, Line, SETTINGS, weights
from dataclasses import replace
from emo_avatar.training.run import run
import os, time, torch
def progress(fraction, doing):
    print(doing, flush=True)
    time.sleep(float(sys.argv[3]))
done = run(Apart() if len(sys.argv) > 4 else Line(), Path(sys.argv[2]), replace(SETTINGS, ema=0.0), progress=progress)
torch.save(weights(done), Path(sys.argv[2]).with_suffix(f".{os.environ['RANK']}.pt"))
"""


def script(tmp_path, name, pause, *launcher, more=()):
    (tmp_path / "train.py").write_text(SCRIPT)
    arguments = [str(Path(__file__).parent), str(tmp_path / f"{name}.safetensors"), str(pause), *more]
    return [sys.executable, *launcher, str(tmp_path / "train.py"), *arguments]


def test_a_killed_process_loses_little(tmp_path):
    process = subprocess.Popen(script(tmp_path, "killed", 0.05), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step 5,"):
            break
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    process.stdout.close()
    settings = replace(SETTINGS, ema=0.0)
    resumed = run(Line(), tmp_path / "killed.safetensors", settings, resume=True)
    whole = run(Line(), tmp_path / "whole.safetensors", settings)
    assert torch.equal(weights(resumed), weights(whole))


def trained_by_two(tmp_path, *more):
    """The weights that each of two processes has in the end."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = script(tmp_path, "team", 0, *launcher, more=more)
    for _ in range(LAUNCHES):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    return [torch.load(tmp_path / f"team.{rank}.pt") for rank in range(2)]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no distributed package")
def test_two_processes_agree_whatever_each_begins_with_and_uses(tmp_path):
    first, second = trained_by_two(tmp_path, "apart")
    assert torch.equal(first, second)
    assert (first[-4:] > 0.1).all()  # both have learnt what one of them asked for


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no distributed package")
def test_two_processes_train_one_network(tmp_path):
    first, second = trained_by_two(tmp_path)
    assert torch.equal(first, second)

    class Both(Line):
        @staticmethod
        def draw(step, rank):
            parts = [Line.draw(step, rank) for rank in range(2)]
            return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    alone = run(Both(), tmp_path / "both.safetensors", replace(SETTINGS, ema=0.0))
    assert torch.allclose(first, weights(alone), atol=1e-5)
    assert len((tmp_path / "team_loss.csv").read_text().splitlines()) == SETTINGS.steps + 1
