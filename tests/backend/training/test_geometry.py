"""Training: it learns, it repeats, and it goes on where it was interrupted."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from emo_avatar.data.lips import lip_gap_rows
from emo_avatar.emotion.geometry import N_PARAMETERS, SPACE, GeometryModulator, load_modulator
from emo_avatar.errors import UserError
from emo_avatar.head.data import load_head
from emo_avatar.head.model import HeadModel
from emo_avatar.training import geometry
from emo_avatar.training.geometry import GeometryTraining, SynchronisedBatches, calibrate, train_geometry
from emo_avatar.training.objective import vertex_root
from emo_avatar.training.run import RunSettings

from ..devices import GPU, OneDevice

SMALL = GeometryTraining(steps=30, batch=4, frames=16, takes=16, seconds=1.0)
HEAD = load_head()


class Interruption(Exception):
    pass


@pytest.fixture(autouse=True)
def checkpoint_at_every_step(monkeypatch):
    monkeypatch.setattr(geometry, "RunSettings", functools.partial(RunSettings, checkpoint_minutes=0))


def test_training_writes_repeats_and_resumes(tmp_path):
    assert train_geometry(tmp_path / "whole.safetensors", SMALL)
    whole = load_modulator(HEAD, tmp_path / "whole.safetensors")
    assert (tmp_path / "whole_loss.png").exists()
    assert not (tmp_path / "whole.checkpoint").exists()

    def interrupt(fraction, doing):
        if doing.startswith("step 25"):
            raise Interruption

    path = tmp_path / "resumed.safetensors"
    with pytest.raises(Interruption):
        train_geometry(path, SMALL, progress=interrupt)
    assert not path.exists()
    assert train_geometry(path, SMALL, resume=True)
    resumed = load_modulator(HEAD, path)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name
    with safe_open(path, "pt") as file:
        assert {"training", "fingerprint", SPACE} <= set(file.metadata())


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        train_geometry(tmp_path / "a.safetensors", SMALL, resume=True)


def test_it_stops_on_time(tmp_path):
    path = tmp_path / "a.safetensors"
    assert not train_geometry(path, SMALL, minutes=0.0)
    assert path.exists() and path.with_suffix(".checkpoint").exists()
    assert train_geometry(path, SMALL, resume=True) and not path.with_suffix(".checkpoint").exists()


def test_resuming_with_other_settings_or_recipes_is_refused(tmp_path, monkeypatch):
    def interrupt(fraction, doing):
        if doing.startswith("step 3"):
            raise Interruption

    path = tmp_path / "a.safetensors"
    with pytest.raises(Interruption):
        train_geometry(path, SMALL, progress=interrupt)
    with pytest.raises(UserError, match="other settings, recipes"):
        train_geometry(path, replace(SMALL, steps=31), resume=True)
    recipes = tmp_path / "recipes.json"
    recipes.write_text(geometry.RECIPES_PATH.read_text(encoding="utf-8").replace("0.8", "0.7"), encoding="utf-8")
    monkeypatch.setattr(geometry, "RECIPES_PATH", recipes)
    with pytest.raises(UserError, match="other settings, recipes"):
        train_geometry(path, SMALL, resume=True)


def test_batches_depend_on_seed_and_step_alone():
    one, two = SynchronisedBatches(HEAD, SMALL), SynchronisedBatches(HEAD, SMALL)
    two.draw(3)
    assert torch.equal(one.draw(7).target, two.draw(7).target)
    other = SynchronisedBatches(HEAD, replace(SMALL, seed=1))
    assert not torch.equal(one.draw(7).driving, other.draw(7).driving)


def test_the_quadratic_forms_measure_vertices_and_lips():
    rng = np.random.default_rng(0)
    change = np.zeros(N_PARAMETERS, np.float32)
    change[:100] = rng.normal(0, 0.3, 100)
    model = HeadModel(HEAD)
    neutral, moved = (
        model(expression=torch.from_numpy(t * change[None, :100])).vertices[0].numpy() for t in (0.0, 1.0)
    )
    squared = 1e6 * ((moved - neutral) ** 2).sum() / HEAD.regions["face"].sum()
    assert np.sum((vertex_root(HEAD) @ change) ** 2) == pytest.approx(squared, rel=1e-2)

    corners = HEAD.faces[HEAD.landmarks478.faces[[13, 14]]]
    upper, lower = (
        ((moved - neutral)[c] * b[:, None]).sum(0)
        for c, b in zip(corners, HEAD.landmarks478.barycentric[[13, 14]], strict=True)
    )
    assert (lip_gap_rows(HEAD) @ change)[0] == pytest.approx(1e3 * (upper - lower)[1], abs=0.02)


def test_calibration_brings_full_weight_to_the_recipes():
    torch.manual_seed(1)
    modulator = GeometryModulator()
    modulator.scale.copy_(torch.full((N_PARAMETERS,), 0.1))
    factor = calibrate(modulator, HEAD)
    assert np.isfinite(factor) and factor != pytest.approx(1.0, abs=0.01)
    assert calibrate(modulator, HEAD) == pytest.approx(1.0, abs=0.02)


def test_the_shipped_weights_are_calibrated():
    assert calibrate(load_modulator(HEAD), HEAD) == pytest.approx(1.0, abs=0.005)


def test_a_step_stays_on_its_device():
    task = geometry.GeometryTask(HEAD, replace(SMALL, takes=8))
    batch = task.draw(0)
    task.model.to(GPU)
    with OneDevice():
        terms = task.loss(batch)
        sum(terms.values()).backward()
    assert {term.device for term in terms.values()} == {GPU}
