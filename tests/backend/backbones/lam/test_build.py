"""An avatar from one pass of the network: any weights give one that moves, keeps its emotion colours, and is stored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.avatar.files import load_avatar, save_avatar
from emo_avatar.backbones.lam import build, checkpoint, look
from emo_avatar.backbones.lam.build import build_lam
from emo_avatar.backbones.lam.checkpoint import load_lam, save_lam
from emo_avatar.backbones.lam.config import CONFIGS, SMALL, EncoderConfig
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.synchronised_shots import draw_example
from emo_avatar.errors import UserError
from emo_avatar.export.performance import perform
from emo_avatar.head.data import open_head

TINY = replace(
    SMALL, name="tiny", encoder=EncoderConfig(24, 2, 2, 28, (0, 1), 2), width=24, layers=2, heads=2, decoder=16
)


@pytest.fixture(scope="module")
def portrait():
    example = draw_example(5, 128)
    return portrait_of(example.subject, example.source)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights, small and random, in the place of the shipped ones."""
    monkeypatch.setitem(CONFIGS, "tiny", TINY)
    torch.manual_seed(0)
    model = Lam(TINY)
    for layer in model.renderer["gs_net"].out_layers.values():
        torch.nn.init.normal_(layer.weight, std=0.2)
    torch.nn.init.constant_(model.renderer["gs_net"].out_layers["opacity"].bias, 2.0)
    path = tmp_path / "lam_s.safetensors"
    save_lam(model, path, {})
    for module in (build, checkpoint):
        monkeypatch.setattr(module, "WEIGHTS_PATH", path)
    loaded = load_lam(path)
    monkeypatch.setattr(look, "shipped_lam", lambda: loaded)
    return loaded


def test_the_avatar_moves_and_its_colours_answer_to_emotion(portrait, weights, tmp_path):
    avatar = build_lam(portrait, open_head(), weights, name="somebody")
    assert avatar.backbone == "tiny" and len(avatar.gaussians) == len(avatar.rig.binding)
    neutral = avatar.pose(perform(avatar))
    happy = avatar.pose(perform(avatar, emotions={"happy": 1.0}))
    moved = avatar.pose(perform(avatar, emotions={"happy": 1.0}, appearance=False))
    coloured = avatar.pose(perform(avatar, emotions={"happy": 1.0}, geometry=False))
    assert torch.equal(happy.means, moved.means) and (neutral.means - moved.means).abs().max() > 1e-3
    assert torch.equal(neutral.means, coloured.means) and (neutral.sh - coloured.sh).abs().max() > 1e-4
    assert torch.equal(moved.sh, neutral.sh)

    save_avatar(avatar, tmp_path / "a.emoavatar")
    again = load_avatar(tmp_path / "a.emoavatar")
    restored = again.pose(perform(again, emotions={"happy": 1.0}))
    assert torch.allclose(restored.means, happy.means, atol=1e-4)
    assert torch.allclose(restored.sh - again.gaussians.sh, happy.sh - avatar.gaussians.sh, atol=0.02)


def test_what_the_network_says_of_a_point_is_where_the_point_is(portrait, weights):
    for name in ("xyz", "rotation"):
        torch.nn.init.zeros_(weights.model.renderer["gs_net"].out_layers[name].weight)
    avatar = build_lam(portrait, open_head(), weights)
    at_rest = avatar.pose(perform(avatar)).means.numpy()
    vertices = avatar.rig.head.v_template
    nearest = np.linalg.norm(at_rest[::50, None] - vertices[None], axis=2).min(1)
    assert nearest.max() < 1e-5


def test_weights_from_elsewhere_colour_nothing(portrait, weights):
    avatar = build_lam(portrait, open_head(), replace(weights, path=weights.path.with_name("other.safetensors")))
    assert avatar.look is None


def test_weights_that_make_nothing_are_refused(portrait, weights):
    torch.nn.init.constant_(weights.model.renderer["gs_net"].out_layers["opacity"].bias, -50.0)
    with pytest.raises(UserError, match="not trained far enough"):
        build_lam(portrait, open_head(), weights)
