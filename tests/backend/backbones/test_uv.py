"""The UV backbone on a real photograph: it looks like the person, moves, and says what it does."""

import numpy as np
import pytest
import torch

from emo_avatar import assets
from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.uv import build_avatar
from emo_avatar.backbones.uv.eyes import LEAST_SIGHTINGS, SCLERA_FROM, _profile
from emo_avatar.evaluation.image import psnr
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.rasterize import Render, rasterize
from emo_avatar.tracking.portrait import track_portrait

STEPS = 30


@pytest.fixture(scope="module")
def head() -> HeadData:
    return load_head()


@pytest.fixture(scope="module")
def portrait(head: HeadData):
    return track_portrait(assets.fetch("astronaut.png"), head)


@pytest.fixture(scope="module")
def said() -> list[tuple[float, str]]:
    return []


@pytest.fixture(scope="module")
def avatar(portrait, head: HeadData, said: list[tuple[float, str]]) -> Avatar:
    return build_avatar(portrait, head, name="astronaut", refine=STEPS, progress=lambda *step: said.append(step))


def posed(head: HeadData, **units: float) -> FlameSequence:
    weights = np.atleast_2d(arkit_weights(**units))
    expression, jaw, eyes = (np.asarray(a, np.float32).reshape(1, -1) for a in flame_from_arkit(head, weights))
    still = FlameSequence.still(1)
    return FlameSequence(
        **{**vars(still), "expression": expression, "jaw_pose": jaw, "eyes_pose": eyes},
    )


def seen(avatar: Avatar, sequence: FlameSequence, **view: float) -> Render:
    return rasterize(avatar.pose(sequence), avatar.camera(**view), torch.full((3,), 0.5))


def likeness(avatar: Avatar) -> float:
    """PSNR of the photograph and the avatar in the photograph's pose, over grey, inside the matte."""
    photo = avatar.photo
    assert photo is not None
    picture = rasterize(avatar.pose(photo.pose), photo.camera, torch.full((3,), 0.5)).rgb.numpy()
    matte = photo.matte[..., None] / 255
    wanted = photo.image / 255 * matte + 0.5 * (1 - matte)
    return psnr(wanted, picture, photo.matte / 255)


def test_looks_like_the_photograph(avatar: Avatar) -> None:
    assert likeness(avatar) > 30


def test_mesh_and_gaussians_end_at_the_same_outline(avatar: Avatar) -> None:
    photo = avatar.photo
    assert photo is not None
    mesh = rasterize_mesh(avatar.rig.mesh(photo.pose)[0], avatar.rig.faces, photo.camera).covered
    alpha = rasterize(avatar.pose(photo.pose), photo.camera).alpha.numpy()
    assert (alpha[mesh] < 0.9).mean() < 0.002


def test_refinement_helps(avatar: Avatar, portrait, head: HeadData) -> None:
    preview = build_avatar(portrait, head, name="preview", refine=0)
    assert likeness(avatar) > likeness(preview) + 1


def test_progress_only_grows_and_ends(avatar: Avatar, said: list[tuple[float, str]]) -> None:
    fractions = [fraction for fraction, _ in said]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert all(what for _, what in said)


def test_can_be_cancelled(portrait, head: HeadData) -> None:
    class Cancelled(Exception):
        pass

    def cancel(fraction: float, what: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        build_avatar(portrait, head, name="never", refine=STEPS, progress=cancel)


def test_lids_close_over_the_eyes(avatar: Avatar, head: HeadData) -> None:
    open_eyes, shut = (seen(avatar, posed(head, eyeBlink=w)).rgb.numpy() for w in (0.0, 1.0))
    mesh = avatar.rig.mesh(FlameSequence.still(1))[0]
    for eye in ("eye_left", "eye_right"):
        front = mesh[head.part(eye)]
        pixel = avatar.camera().project(front[front[:, 2] > front[:, 2].max() - 0.004])[0].mean(0).astype(int)
        around = (slice(pixel[1] - 3, pixel[1] + 4), slice(pixel[0] - 3, pixel[0] + 4))
        assert open_eyes[around].min() < 0.25  # the pupil
        assert shut[around].mean() > open_eyes[around].mean() + 0.1  # skin


def test_the_mouth_opens_on_a_dark_inside(avatar: Avatar, head: HeadData) -> None:
    opened = seen(avatar, posed(head, jawOpen=0.9))
    lips = avatar.rig.mesh(posed(head, jawOpen=0.9))[0][head.regions["lips"]]
    pixel = avatar.camera().project(lips)[0].mean(0).astype(int)
    middle = (slice(pixel[1] - 2, pixel[1] + 3), slice(pixel[0] - 4, pixel[0] + 5))
    assert opened.rgb[middle].mean() < 0.3
    assert opened.alpha[middle].min() > 0.9  # and not on the background


@pytest.mark.parametrize("yaw", [-45.0, 45.0])
def test_nothing_tears_from_the_side(avatar: Avatar, yaw: float) -> None:
    alpha = seen(avatar, FlameSequence.still(1), yaw=yaw).alpha.numpy()
    mesh = avatar.rig.mesh(FlameSequence.still(1))[0]
    skin = avatar.camera(yaw=yaw).project(mesh[avatar.rig.head.regions["face"]])[0].astype(int)
    assert np.mean(alpha[skin[:, 1].clip(0, 511), skin[:, 0].clip(0, 511)] < 0.9) < 0.01


@pytest.mark.parametrize("count", range(LEAST_SIGHTINGS, LEAST_SIGHTINGS + 8))
def test_a_sliver_of_an_eyes_white_has_a_colour(count: int) -> None:
    brightness = np.linspace(0.2, 0.9, count, dtype=np.float32)
    assert np.isfinite(_profile(np.full(count, SCLERA_FROM + 1.0), np.repeat(brightness[:, None], 3, 1))).all()
