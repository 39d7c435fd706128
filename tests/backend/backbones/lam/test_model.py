"""The network: the published sizes and names, and what must hold whatever the weights are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emo_avatar.backbones.lam.config import PUBLISHED, EncoderConfig
from emo_avatar.backbones.lam.encoder import VisionTransformer
from emo_avatar.backbones.lam.model import Lam, PointEmbedding
from emo_avatar.backbones.lam.query import UNASKED, queries
from emo_avatar.backbones.lam.transformer import JointAttention
from emo_avatar.head.data import open_head

TINY = replace(
    PUBLISHED, encoder=EncoderConfig(24, 2, 2, 28, (0, 1), 2), width=24, layers=2, heads=2, decoder=16
)  # of any size that is quick


def published_names():
    """As the released file lists them."""
    names = {f"encoder.model.{name}" for name in ("cls_token", "pos_embed", "register_tokens")}

    def layer(name, *kinds):
        names.update(f"{name}.{kind}" for kind in kinds or ("weight", "bias"))

    layer("encoder.model.patch_embed.proj")
    layer("encoder.model.norm")
    for i in range(24):
        for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            layer(f"encoder.model.blocks.{i}.{part}")
        layer(f"encoder.model.blocks.{i}.ls1", "gamma")
        layer(f"encoder.model.blocks.{i}.ls2", "gamma")
    for i in range(4):
        layer(f"encoder.fusion_head.projects.{i}")
    layer("encoder.fusion_head.output_conv")
    names.add("pcl_embed.basis")
    for name in ("pcl_embed.mlp", "pcl_embed.norm", "transformer.linear_cond_proj", "transformer.norm"):
        layer(name)
    for i in range(10):
        last = i == 9
        attention = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0")
        parts = [f"attn.{name}" for name in attention + (() if last else ("to_add_out",))]
        parts += ["norm1", "norm1_context", "ff.net.0.proj", "ff.net.2"]
        parts += [] if last else ["ff_context.net.0.proj", "ff_context.net.2"]
        for part in parts:
            layer(f"transformer.layers.{i}.{part}")
        for norm in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            layer(f"transformer.layers.{i}.attn.{norm}", "weight")
    for i in (0, 2, 4):
        layer(f"renderer.mlp_net.layers.{i}")
    for head in ("shs", "scaling", "xyz", "opacity", "rotation"):
        layer(f"renderer.gs_net.out_layers.{head}")
    return names


def test_the_published_configuration_has_the_released_names_and_sizes():
    with torch.device("meta"):
        model = Lam(PUBLISHED)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    ours = {name for name in shapes if name.startswith("emotion.")}
    assert shapes.keys() - ours == published_names()
    assert shapes["encoder.model.pos_embed"] == (1, 1370, 1024)
    assert shapes["encoder.fusion_head.output_conv.weight"] == (1024, 4096, 1, 1)
    assert shapes["pcl_embed.mlp.weight"] == (1024, 51) and shapes["pcl_embed.basis"] == (3, 24)
    assert shapes["transformer.layers.3.attn.norm_q.weight"] == (64,)
    assert shapes["renderer.mlp_net.layers.2.weight"] == (512, 512)
    assert shapes["renderer.gs_net.out_layers.rotation.weight"] == (4, 1024)


def test_points_are_embedded_as_published():
    embedding = PointEmbedding(8)
    point = torch.tensor([[[0.1, -0.02, 0.3]]])
    angles = [2**octave * np.pi * x for x in (0.1, -0.02, 0.3) for octave in range(8)]
    waves = torch.tensor([[*np.sin(angles), *np.cos(angles), 0.1, -0.02, 0.3]], dtype=torch.float32)
    expected = embedding.norm(embedding.mlp(waves))[None]
    assert torch.allclose(embedding(point), expected, atol=1e-5)


def test_joint_attention_is_plain_attention_over_both_streams():
    torch.manual_seed(0)
    attention = JointAttention(24, 3, last=False)
    x, context = torch.randn(2, 7, 24), torch.randn(2, 5, 24)

    def normalised(t, norm):
        t = t.unflatten(-1, (3, 8))
        return t * (t.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * norm.weight

    for norm in (attention.norm_q, attention.norm_k, attention.norm_added_q, attention.norm_added_k):
        torch.nn.init.normal_(norm.weight)
    own, added = (attention.to_q, attention.to_k), (attention.add_q_proj, attention.add_k_proj)
    norms = (attention.norm_q, attention.norm_k), (attention.norm_added_q, attention.norm_added_k)
    q, k = (
        torch.cat([normalised(own[i](x), norms[0][i]), normalised(added[i](context), norms[1][i])], 1) for i in (0, 1)
    )
    v = torch.cat([attention.to_v(x), attention.add_v_proj(context)], 1).unflatten(-1, (3, 8))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / 8**0.5
    out = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
    to_x, to_context = attention(x, context)
    assert torch.allclose(to_x, attention.to_out[0](out[:, :7]), atol=1e-5)
    assert torch.allclose(to_context, attention.to_add_out(out[:, 7:]), atol=1e-5)


def test_positions_are_interpolated_to_the_picture():
    transformer = VisionTransformer(EncoderConfig(8, 1, 1, 42, (0,), 5))
    native = transformer._positions(5, 5)
    assert native is transformer.pos_embed
    other = transformer._positions(3, 3)
    patches = native[:, 1:].transpose(1, 2).unflatten(2, (5, 5))
    expected = F.interpolate(patches, (3, 3), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    assert torch.equal(other[:, :1], native[:, :1]) and torch.equal(other[:, 1:], expected)
    assert [tap.shape for tap in transformer.taps(torch.rand(2, 3, 42, 28))] == [(2, 6, 8)]


def test_the_order_of_points_does_not_matter_and_bounds_hold():
    torch.manual_seed(0)
    model = Lam(TINY).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    image, points = torch.rand(1, 3, 28, 28), torch.rand(1, 40, 3) / 5
    order = torch.randperm(40)
    with torch.no_grad():
        one = model(image, points)
        other = model(image, points[:, order])
    for name in ("offset", "quats", "scales", "opacities", "rgb"):
        assert torch.allclose(getattr(one, name)[:, order], getattr(other, name), atol=1e-4), name
    assert one.offset.abs().max() <= 0.1 and one.scales.max() <= 0.01 and one.scales.min() > 0
    assert torch.allclose(one.quats.norm(dim=-1), torch.ones(1, 40), atol=1e-5)


def test_emotion_tokens_change_the_appearance_and_only_through_attention():
    torch.manual_seed(0)
    model = Lam(TINY).eval()
    torch.nn.init.normal_(model.renderer["gs_net"].out_layers["xyz"].weight)
    image, points = torch.rand(2, 3, 28, 28), torch.rand(2, 10, 3) / 5
    with torch.no_grad():
        tokens = model.encoder(image)
        neutral, happy = (model.decode(tokens, points, w) for w in (torch.zeros(2, 6), torch.eye(6)[:2]))
    assert (neutral.rgb - happy.rgb).abs().max() > 1e-5
    assert (neutral.offset - happy.offset).abs().max() > 1e-8


def test_queries_of_a_flame_head_subdivided_once():
    head = open_head()
    once, whole = queries(head, 1), queries(head, 0)
    asked = ~np.isin(head.face_part, [head.part_names.index(name) for name in UNASKED])
    assert set(whole.corners.ravel()) == set(head.faces[asked].ravel())
    assert all(set(pair) <= set(head.faces[face]) for pair, face in zip(once.corners, once.face, strict=True))
    sides = np.sort(head.faces[asked][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert len(once) - len(whole) == len(np.unique(sides, axis=0))
    points = once.points(head.v_template)
    assert np.array_equal(points[: len(whole)], head.v_template[whole.corners[:, 0]])
    with pytest.raises(ValueError, match="once or not at all"):
        queries(head, 2)
