"""Pixels on the surface that the network has made, the closed back, and skin that the photograph hides."""

import numpy as np
import pytest
import torch

from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.backbones.lam.complexion import evened
from emo_avatar.backbones.lam.config import SMALL
from emo_avatar.backbones.lam.fine import between, fine_splats, fine_surface, trust_in
from emo_avatar.backbones.lam.sites import sites_of
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.splats import Layer
from emo_avatar.head.data import open_head
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh

HEAD = open_head()


@pytest.fixture(scope="module")
def scene():
    """The open head from the front with hair to 2 cm above its scalp, and the camera."""
    sites = sites_of(HEAD, SMALL.growth)
    camera = Camera.orbit(HEAD.v_template.mean(0), 1.0, size=160)
    normals = sites.normals(HEAD.v_template, HEAD.faces)
    points = sites.points(HEAD.v_template, normals).astype(np.float32)
    n = len(points)
    grey = sh_from_rgb(torch.full((n, 3), 0.5))
    scales = torch.from_numpy(np.repeat(np.clip(sites.spacing, 0.002, 0.01)[:, None], 3, 1))
    world = Gaussians(
        torch.from_numpy(points), torch.tensor([1.0, 0, 0, 0]).repeat(n, 1), scales, torch.full((n,), 0.9), grey
    )
    covered = rasterize_mesh(HEAD.v_template, HEAD.faces, camera).covered
    alpha = np.float32(covered)
    surface = fine_surface(world, prepare_head(HEAD), HEAD.v_template, camera, alpha)
    return sites, world, camera, alpha, surface


def test_pixels_show_hair_and_neck_but_no_features(scene):
    _, _, camera, alpha, surface = scene
    rgb = np.random.default_rng(0).random((*alpha.shape, 3)).astype(np.float32)
    fine = fine_splats(surface, rgb, alpha, prepare_head(HEAD))
    column, row = camera.project(HEAD.v_template[HEAD.regions["lips"] | HEAD.regions["lids"]])[0].astype(int).T
    assert not surface.chosen[row, column].any()
    scalp = HEAD.regions["scalp"] & (
        HEAD.v_template[:, 2] > np.quantile(HEAD.v_template[HEAD.regions["scalp"], 2], 0.7)
    )
    column, row = camera.project(HEAD.v_template[scalp])[0].astype(int).T
    assert surface.chosen[row, column].mean() > 0.5
    front = fine.layer == Layer.SHEET
    pixel, depth = camera.project(fine.means)
    assert front.any() and alpha[tuple(pixel[front].astype(int).T[::-1])].all()
    # Those behind lie behind all of the scalp that they close.
    deepest = camera.project(HEAD.v_template[HEAD.regions["scalp"]])[1].max()
    assert depth[~front].max() >= deepest and depth[~front].min() > depth[front].min()
    assert not trust_in(fine)[~front].any() and (trust_in(fine)[front] > 0).all()


def test_soft_ones_stay_behind_the_pixels_and_within_the_outline(scene):
    sites, world, camera, alpha, surface = scene
    soft = sites.height > 0
    moved = between(world, surface, soft, np.full(len(soft), 0.006))
    assert torch.allclose(moved.means[~torch.from_numpy(soft)], world.means[~torch.from_numpy(soft)], atol=1e-6)
    assert moved.scales[torch.from_numpy(soft)].max() <= 0.006
    pixel, depth = camera.project(moved.means.numpy())
    column, row = np.clip(pixel, 0, len(alpha) - 1).astype(int).T
    there = soft & surface.chosen[row, column] & ~surface.behind[row, column]
    assert (depth[there] > surface.depth[row, column][there] - 0.01).mean() > 0.99
    column, row = np.clip(pixel, 2, len(alpha) - 3).astype(int).T
    near = np.max([surface.from_outline[row + i, column + j] for i in (-2, 0, 2) for j in (-2, 0, 2)], axis=0)
    outside = soft & (near == 0)
    assert outside.any() and moved.opacities[torch.from_numpy(outside)].max() < 0.05


def test_hidden_skin_takes_the_tone_of_what_is_seen():
    sites = sites_of(HEAD, SMALL.growth)
    points = HEAD.v_template[sites.corners].mean(1)
    left = points[:, 0] > 0.01
    rgb = np.where(left[:, None], 0.6, 0.35) * np.ones(3)
    face = HEAD.regions["face"][sites.corners].all(1) & (sites.height == 0)
    skin = face & (HEAD.face_part[sites.face] == HEAD.part_names.index("skin"))
    even = evened(rgb, left.astype(float), sites, HEAD)
    assert np.allclose(even[left], rgb[left], atol=1e-6)
    assert np.abs(even[skin & ~left] - 0.6).max() < 0.08
    assert np.allclose(even[sites.height > 0], rgb[sites.height > 0], atol=1e-6)
