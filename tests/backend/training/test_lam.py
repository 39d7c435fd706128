"""Training of the LAM backbone in a tiny configuration: it learns a person, resumes, and writes weights that load."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.backbones.lam.checkpoint import load_lam
from emo_avatar.backbones.lam.config import CONFIGS, SMALL, EncoderConfig
from emo_avatar.training.lam import DrawLessons, LamTask, LamTraining, network_image, train_lam
from emo_avatar.training.run import RunSettings

TINY = replace(
    SMALL, name="tiny", encoder=EncoderConfig(16, 1, 1, 28, (0,), 2), width=16, layers=1, heads=1, decoder=16
)
TRAINING = LamTraining(people=1, size=48)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", TINY)


def test_lessons_depend_on_step_and_rank_alone():
    draw = DrawLessons(TRAINING, 28)
    (one,), (again,), (other,) = draw(3, 0), draw(3, 0), draw(3, 1)
    assert np.array_equal(one.rgb, again.rgb) and np.array_equal(one.image, again.image)
    assert not np.array_equal(one.rgb, other.rgb)


def test_the_photograph_is_laid_on_white():
    rgb = np.full((4, 4, 3), 0.3, np.float32)
    alpha = np.zeros((4, 4), np.float32)
    alpha[:2] = 1
    image = network_image(rgb, alpha, np.full((4, 4, 3), 0.3), 2)
    assert image[:, 0] == pytest.approx(0.3) and image[:, 1] == pytest.approx(1.0)


def test_it_learns_and_its_weights_load(tmp_path):
    settings = RunSettings(steps=25, learning_rate=0.02, checkpoint_minutes=1)
    path = tmp_path / "tiny.safetensors"
    torch.manual_seed(0)
    task = LamTask(TRAINING, TINY)
    lesson = task.draw(0, 0)
    before = sum(term.item() for term in task.loss(lesson).values())
    assert train_lam(path, TRAINING, settings, config=TINY)
    loaded = load_lam(path)
    assert loaded.has_emotion and loaded.model.config is TINY
    task.model.load_state_dict(loaded.model.state_dict())
    assert sum(term.item() for term in task.loss(lesson).values()) < 0.8 * before
    assert not path.with_suffix(".checkpoint").exists()


def test_gradients_reach_every_weight_that_is_used():
    task = LamTask(TRAINING, TINY)
    for parameter in task.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.constant_(task.model.renderer["gs_net"].out_layers["scaling"].bias, -6)  # below the largest scale
    sum(task.loss(task.draw(0, 0)).values()).backward()
    dead = [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Of the last block, and here of the only one, queries of the context lead nowhere; the class token is not tapped.
    allowed = ("add_q_proj", "norm_added_q", "cls_token")
    assert [name for name in dead if not any(part in name for part in allowed)] == []
