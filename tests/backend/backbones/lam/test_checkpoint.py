"""Weights: the released file's own names, everything missing or surplus named, nothing silently left out."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from emo_avatar.backbones.lam import checkpoint
from emo_avatar.backbones.lam.checkpoint import load_lam, save_lam
from emo_avatar.backbones.lam.config import CONFIGS, PUBLISHED, EncoderConfig
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.errors import UserError

TINY = replace(
    PUBLISHED, name="tiny", encoder=EncoderConfig(24, 2, 2, 28, (0, 1), 2), width=24, layers=2, heads=2, decoder=16
)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", TINY)
    torch.manual_seed(0)
    return Lam(TINY)


@pytest.fixture
def released(model, monkeypatch):
    """What a released file of these sizes would hold."""
    monkeypatch.setattr(checkpoint, "PUBLISHED", TINY)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("emotion.")}
    state["renderer.flame_model.v_template"] = torch.zeros(5, 3)
    state["encoder.model.mask_token"] = torch.zeros(1, 24)
    return state


def test_ours_come_back_in_half_precision(tmp_path, model):
    save_lam(model, tmp_path / "w.safetensors", {"fingerprint": "x"})
    loaded = load_lam(tmp_path / "w.safetensors")
    assert loaded.has_emotion and not loaded.notes and loaded.model.config is TINY
    for name, tensor in model.state_dict().items():
        assert torch.allclose(loaded.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-6), name


def test_a_released_file_loads_and_says_its_licence_and_what_was_skipped(tmp_path, model, released):
    save_file(released, tmp_path / "model.safetensors")
    loaded = load_lam(tmp_path / "model.safetensors")
    assert not loaded.has_emotion
    assert any("CC BY-NC" in note for note in loaded.notes)
    assert any("renderer.flame_model.v_template" in note and "mask_token" in note for note in loaded.notes)
    assert torch.equal(loaded.model.transformer.norm.weight, released["transformer.norm.weight"])
    with torch.no_grad():
        out = loaded.model(torch.rand(1, 3, 28, 28), torch.rand(1, 5, 3))
    assert torch.isfinite(out.rgb).all()


def test_what_is_missing_surplus_or_of_another_size_is_named(tmp_path, released):
    del released["pcl_embed.mlp.bias"]
    del released["transformer.layers.0.attn.to_q.weight"], released["transformer.layers.1.attn.to_q.weight"]
    released["renderer.gs_net.out_layers.fine_shs.weight"] = torch.zeros(3, 24)
    released["transformer.norm.bias"] = torch.zeros(25)
    save_file(released, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_lam(tmp_path / "model.safetensors")
    text = str(error.value)
    assert "3 arrays are missing: pcl_embed.mlp.bias, transformer.layers.N.attn.to_q.weight (2 times)" in text
    assert "1 are unknown: renderer.gs_net.out_layers.fine_shs.weight" in text
    assert "transformer.norm.bias [25] instead of [24]" in text


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64])
def test_files_that_are_no_weights_are_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_lam(tmp_path / "model.safetensors")


def test_an_unknown_configuration_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"config": "lam-xxl"})
    with pytest.raises(UserError, match="lam-xxl"):
        load_lam(tmp_path / "w.safetensors")


def test_weights_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(UserError, match="emo-avatar train lam-s"):
        load_lam(tmp_path / "w.safetensors")
