"""Places on and above a head, what a photograph shows there, and the Gaussians that grow from both."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.backbones.lam.config import SMALL, EncoderConfig, GrowthConfig
from emo_avatar.backbones.lam.evidence import ALONG, FEATURES, Evidence, evidence_of
from emo_avatar.backbones.lam.growth import Ground
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.backbones.lam.observe import Observed
from emo_avatar.backbones.lam.sites import KNOWN, sites_of
from emo_avatar.head.data import open_head
from emo_avatar.render.camera import Camera

GROWTH = GrowthConfig(asked=30, width=8, layers=1, least_edge=0.02, heights=(0.03,))
TINY = replace(SMALL, encoder=EncoderConfig(16, 1, 1, 28, (0,), 2), width=16, layers=1, heads=1, growth=GROWTH)
SIZE = 64


@pytest.fixture(scope="module")
def sites():
    return sites_of(open_head(), GROWTH)


@pytest.fixture(scope="module")
def portrait():
    """The head before a camera in front of it, in a picture that is red on the left and green on the right."""
    head = open_head()
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    rgb[:, : SIZE // 2, 0] = rgb[:, SIZE // 2 :, 1] = 255
    camera = Camera.orbit(np.array([0, -0.03, 0]), 1.5, fov=14, size=SIZE)
    return Observed(
        rgb, np.full((SIZE, SIZE), 255, np.uint8), head.v_template, head.v_template, camera.viewmat, camera.K
    )


@pytest.fixture(scope="module")
def seen(portrait, sites):
    return evidence_of(portrait, sites, open_head())


def test_places_lie_on_the_head_or_above_scalp_and_neck(sites):
    head = open_head()
    normals = sites.normals(head.v_template, head.faces)
    points = sites.points(head.v_template, normals)
    on = sites.height == 0
    assert np.array_equal(points[on], head.v_template[sites.corners[on]].mean(1, dtype=np.float32))
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    assert set(sites.height) == {0, np.float32(0.03)}
    assert not head.regions["face"][sites.corners[~on]].any()
    assert all(set(pair) & set(head.faces[face]) for pair, face in zip(sites.corners, sites.face, strict=True))


def test_each_place_takes_after_near_ones_and_knows_its_opposite(sites):
    head = open_head()
    points = sites.points(head.v_template, sites.normals(head.v_template, head.faces))
    assert sites.share.sum(1) == pytest.approx(1) and sites.near.max() < len(sites.asked) == 30
    asked = points[sites.asked]
    nearest = np.linalg.norm(points[:, None] - asked[None], axis=2).argmin(1)
    assert (sites.near[np.arange(len(sites)), sites.share.argmax(1)] == nearest).mean() > 0.95
    across = np.linalg.norm(points[sites.mirror] - points * [-1, 1, 1], axis=1)
    assert np.median(across) < 0.002
    assert sites.known.shape == (len(sites), KNOWN)


def test_the_photograph_is_read_where_places_are(seen, sites):
    assert seen.features.shape == (1, len(sites), FEATURES)
    shown = seen.features[0, :, : 4 * len(ALONG)].unflatten(1, (-1, 4)) + 0.5  # at the place and above it
    x = seen.points[0, :, 0]
    left, right = x < -0.02, x > 0.02  # of the picture: the subject's left is on its right
    on = torch.from_numpy(sites.height == 0)
    assert (shown[left & on, 0, 0] > 0.99).all() and (shown[right & on, 0, 1] > 0.99).all()
    facing = seen.points[0, :, 2] > 0.085
    behind = seen.points[0, :, 2] < -0.05
    assert seen.seen[0, facing & on].mean() > 0.6 and seen.seen[0, behind].mean() < 0.01


def test_moved_places_are_read_where_they_are_moved_to(seen, portrait, sites):
    offset = torch.zeros(1, len(sites), 3, requires_grad=True)
    with torch.no_grad():
        moved = offset + torch.tensor([0.05, 0, 0])
    colours = seen.at(moved)
    pixel = portrait.camera.project((seen.points + moved)[0].numpy())[0]
    sure = torch.from_numpy((np.abs(pixel[:, 0] - SIZE / 2) > 1) & (pixel[:, 0] > 0) & (pixel[:, 0] < SIZE))
    right = torch.from_numpy(pixel[:, 0] > SIZE / 2)
    assert torch.allclose(colours[0, sure & right, 1], torch.ones(()), atol=1e-4)
    assert torch.allclose(colours[0, sure & ~right, 0], torch.ones(()), atol=1e-4)
    seen.at(offset)[..., 0].sum().backward()
    assert (offset.grad[..., 0] <= 1e-6).all() and offset.grad[..., 0].min() < 0  # to the right there is less red


def test_emotion_changes_what_grows_and_the_outline_bounds_it(seen, sites, portrait):
    torch.manual_seed(0)
    model = Lam(TINY).eval()
    for layer in model.renderer["gs_net"].out_layers.values():
        torch.nn.init.normal_(layer.weight)
    ground, weights = Ground.of(sites), torch.eye(6)[:2] * torch.tensor([[0.0], [1.0]])
    with torch.no_grad():
        tokens = model.encoder(torch.rand(1, 3, 28, 28)).expand(2, -1, -1)
        out = model.grow(tokens, seen.expand(2), ground, weights)
        nobody = replace_matte(seen, 0.0)
        gone = model.grow(tokens[:1], nobody, ground, weights[:1])
    assert (out.rgb[0] - out.rgb[1]).abs().max() > 1e-4
    assert out.offset.abs().max() <= 0.1 and out.scales.max() <= TINY.max_scale * 1.001
    assert ((out.opacities >= 0) & (out.opacities <= 1)).all() and ((out.rgb >= 0) & (out.rgb <= 1)).all()
    assert gone.opacities.max() == 0


def replace_matte(seen: Evidence, value: float) -> Evidence:
    picture = seen.picture.clone()
    picture[:, 3] = value
    return replace(seen, picture=picture)
