"""Training of the LAM backbone in a tiny configuration: it learns a person, resumes, and writes weights that load."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.backbones.lam.checkpoint import load_lam
from emo_avatar.backbones.lam.config import CONFIGS, SMALL, EncoderConfig, GrowthConfig
from emo_avatar.errors import UserError
from emo_avatar.head.data import open_head
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.training.lam import LamTask, LamTraining, train_lam
from emo_avatar.training.lam_lessons import FELT, Lesson, Lessons
from emo_avatar.training.run import RunSettings

from .. import gsplat_double
from ..devices import GPU, OneDevice

TINY = replace(
    SMALL,
    name="tiny",
    encoder=EncoderConfig(16, 1, 1, 28, (0,), 2),
    width=16,
    layers=1,
    heads=1,
    growth=GrowthConfig(asked=20, width=8, layers=1, least_edge=0.03, heights=(0.03,)),
)
TRAINING = LamTraining(people=1, size=48)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", TINY)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """A folder with the one lesson that all learn from."""
    folder = tmp_path_factory.mktemp("lessons")
    Lessons(folder, TRAINING.size)(0)
    return folder


def test_a_lesson_comes_back_and_its_photographs_differ_in_emotion_alone(lessons):
    lesson = Lesson.read(lessons / "0.npz")
    assert len(lesson.weights) == sum(FELT) + len(FELT)
    for moment in range(len(FELT)):
        (first, *others) = np.flatnonzero(lesson.moment == moment)
        assert not lesson.weights[first].any()
        for other in others:
            assert np.array_equal(lesson.viewmat[first], lesson.viewmat[other])
            assert lesson.weights[other].any() and not np.array_equal(lesson.vertices[first], lesson.vertices[other])
    assert not lesson.shown[0][lesson.alpha[0] == 0].any()
    # The head stands in the portrait where the portrait shows it.
    seen = rasterize_mesh(lesson.portrait.posed, open_head().faces, lesson.portrait.camera).covered
    assert lesson.portrait.matte[seen].mean() > 240


def test_examples_depend_on_step_and_rank_alone(lessons):
    draw = LamTask(TRAINING, lessons, TINY).draw
    (one,), (again,), (other,) = draw(3, 0), draw(3, 0), draw(3, 1)
    assert np.array_equal(one.colours, again.colours) and np.array_equal(one.background, again.background)
    assert not np.array_equal(one.background, other.background)


def test_places_have_the_colours_that_photographs_show_there(lessons):
    example = LamTask(TRAINING, lessons, TINY).draw(0, 0)[0]
    assert example.visible.any(1).all()
    lesson, i = example.lesson, example.photographs[0]
    skin = lesson.shown[i][lesson.alpha[i] == 255].mean(0) / 255
    assert np.abs(example.colours[0][example.visible[0]].mean(0) - skin).max() < 0.2


def test_it_learns_and_its_weights_load(tmp_path, lessons):
    settings = RunSettings(steps=40, learning_rate=0.02, checkpoint_minutes=1)
    path = tmp_path / "tiny.safetensors"
    shutil.copytree(lessons, path.with_suffix(".lessons"))
    torch.manual_seed(0)
    task = LamTask(TRAINING, lessons, TINY)
    example = task.draw(0, 0)
    before = sum(term.item() for term in task.loss(example).values())
    assert train_lam(path, TRAINING, settings, config=TINY)
    loaded = load_lam(path)
    assert loaded.has_emotion and loaded.model.config is TINY
    task.model.load_state_dict(loaded.model.state_dict())
    assert sum(term.item() for term in task.loss(example).values()) < 0.9 * before
    assert not path.with_suffix(".checkpoint").exists()


def test_it_stops_on_time_and_goes_on(tmp_path, lessons):
    path = tmp_path / "tiny.safetensors"
    shutil.copytree(lessons, path.with_suffix(".lessons"))
    settings = RunSettings(steps=3, learning_rate=0.01)
    assert not train_lam(path, TRAINING, replace(settings, minutes=0.0), config=TINY)
    assert load_lam(path).model.config is TINY  # a preview
    with pytest.raises(UserError, match="other settings"):
        train_lam(path, replace(TRAINING, people=2), settings, config=TINY, resume=True)
    assert train_lam(path, TRAINING, settings, config=TINY, resume=True)


def test_a_step_takes_several_people_and_leaves_emotion_out_when_asked(lessons):
    task = LamTask(replace(TRAINING, batch=2, emotion=False), lessons, TINY)
    terms = task.loss(task.draw(0, 0))
    assert "emotion" not in terms and all(torch.isfinite(term) for term in terms.values())


def test_gradients_reach_every_weight_that_is_used(lessons):
    task = LamTask(TRAINING, lessons, TINY)
    torch.manual_seed(0)
    for name, parameter in task.model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.02 if "out_layers" in name else 0.3)
    (example,) = task.draw(0, 0)
    sum(task.loss([replace(example, picture=1)]).values()).backward()
    dead = [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Of the last block, and here of the only one, queries of the context lead nowhere; the class token is not tapped.
    allowed = ("add_q_proj", "norm_added_q", "cls_token")
    assert [name for name in dead if not any(part in name for part in allowed)] == []


def test_a_step_stays_on_its_device(lessons, monkeypatch):
    gsplat_double.install(monkeypatch)
    task = LamTask(TRAINING, lessons, TINY)
    examples = task.draw(0, 0)
    task.model.to(GPU)
    with OneDevice():
        terms = task.loss(examples)
        sum(terms.values()).backward()
    assert {term.device for term in terms.values()} == {GPU}
