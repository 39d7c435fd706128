"""Lids that close: in the colour of the skin around the eye, without holes, as far as a person's eyes are open."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar import assets
from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.gaussians import sh_from_rgb
from emo_avatar.avatar.personal import expression_shift, lid_shift, personal_head
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.uv import build_avatar
from emo_avatar.backbones.uv.learned import default_network
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.portrait import track_portrait

SIZE = 1024


@pytest.fixture(scope="module")
def head() -> HeadData:
    return open_head()


@pytest.fixture(scope="module")
def avatar(head: HeadData) -> Avatar:
    portrait = track_portrait(assets.fetch("astronaut.png"), head)
    return build_avatar(portrait, head, refine=0, network=default_network(head))


def shut(head: HeadData) -> FlameSequence:
    expression, jaw, eyes = flame_from_arkit(head, arkit_weights(eyeBlink=1.0)[None])
    return replace(FlameSequence.still(1), expression=expression, jaw_pose=jaw, eyes_pose=eyes)


def on_lids(avatar: Avatar, head: HeadData) -> np.ndarray:  # [H, W] bool, the upper lids of shut eyes, off their rims
    vertices = avatar.rig.mesh(shut(head))[0]
    view = rasterize_mesh(vertices, head.faces, avatar.camera(size=SIZE), prepare_head(head).on_face["skin"])
    upper = head.regions["upper_lids"][head.faces].all(1)
    mask: np.ndarray = view.covered & upper[view.face]
    return mask


def test_no_eye_shows_through_a_shut_lid(avatar: Avatar, head: HeadData) -> None:
    gaussians = avatar.pose(shut(head))
    eyes = torch.from_numpy(prepare_head(head).eyes[avatar.rig.binding].astype(np.float32))
    marked = replace(gaussians, sh=sh_from_rgb(eyes[:, None].repeat(1, 3)))
    shown = rasterize(marked, avatar.camera(size=SIZE), (0.0, 0.0, 0.0)).rgb[..., 0].numpy()
    assert (shown[on_lids(avatar, head)] > 0.3).mean() < 0.002


def test_shut_lids_have_the_colour_of_the_skin_around_them(avatar: Avatar, head: HeadData) -> None:
    camera = avatar.camera(size=SIZE)
    picture = rasterize(avatar.pose(shut(head)), camera, (0.5, 0.5, 0.5)).rgb.numpy()
    vertices = avatar.rig.mesh(shut(head))[0]
    view = rasterize_mesh(vertices, head.faces, camera, prepare_head(head).on_face["skin"])
    plain = head.regions["face"] & ~head.regions["lids"] & ~head.regions["brows"] & ~head.regions["lips"]
    cheek = picture[view.covered & plain[head.faces].all(1)[view.face]]
    lid = np.median(picture[on_lids(avatar, head)], axis=0)
    assert 0.75 * np.median(cheek.mean(1)) < lid.mean() < 1.15 * np.median(cheek.mean(1))
    assert lid[0] > lid[1] > lid[2]  # skin, not the grey of lashes


def test_wide_eyes_blink_further_and_open_no_wider(head: HeadData) -> None:
    raised = np.zeros((head.n_vertices, 3), np.float32)
    raised[head.regions["upper_lids"], 1] = 0.002
    person = personal_head(head, np.zeros(300, np.float32), raised)
    for unit, farther in (("eyeBlink", True), ("eyeWide", False)):
        expression = flame_from_arkit(head, arkit_weights(**{unit: 1.0})[None])[0][0]
        generic, own = expression_shift(head, expression), expression_shift(person, expression)
        more = lid_shift(head, person.v_template, expression)
        assert np.allclose(own - generic, more, atol=1e-6)  # the head and the shortcut without one agree
        longest = np.linalg.norm(generic, axis=1).argmax()
        ratio = np.linalg.norm(own[longest]) / np.linalg.norm(generic[longest])
        assert ratio > 1.1 if farther else abs(ratio - 1) < 0.02
