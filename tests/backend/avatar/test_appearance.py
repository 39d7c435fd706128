"""Skin that moves: at rest nothing changes, ridges do not glare, folds darken without turning grey."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.avatar.appearance import SkinAppearance, SkinModulator
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.shading import BRIGHTEST, DARKEST, FOLD_SHADE, NUMBERS, fold, light_on, skin_gain

SIDE = 9
SKIN = np.array([0.8, 0.6, 0.5], np.float32)


def patch() -> tuple[np.ndarray, np.ndarray]:
    """A flat square of skin that faces the viewer, 4 cm wide."""
    x, y = np.meshgrid(np.linspace(-0.02, 0.02, SIDE), np.linspace(-0.02, 0.02, SIDE))
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + SIDE + 1], 1),
            np.stack([corner, corner + SIDE + 1, corner + SIDE], 1),
        ]
    )
    return np.stack([x, y, 0 * x], 2).reshape(-1, 3).astype(np.float32), faces.astype(np.int32)


@pytest.fixture
def skin() -> tuple[SkinAppearance, np.ndarray, Gaussians]:
    vertices, faces = patch()
    n = len(faces)
    appearance = SkinAppearance(
        neutral=vertices,
        photo=vertices,
        shaded=np.ones(n, bool),
        stretch_limit=np.full(n, 2.0, np.float32),
        barycentric=np.full((n, 3), 1 / 3, np.float32),
        folds=np.full((n, 3), 255, np.uint8),
        detail=np.zeros(n, bool),
    )
    colours = torch.from_numpy(np.tile((SKIN - 0.5) / SH_C0, (n, 1, 1)).astype(np.float32))
    ones = torch.ones(n)
    return appearance, faces, Gaussians(torch.zeros(n, 3), torch.zeros(n, 4), torch.ones(n, 3), ones, colours)


def shown(skin, vertices, **changes) -> np.ndarray:  # [F, 3]
    appearance, faces, gaussians = skin
    modulator = SkinModulator(replace(appearance, **changes), faces, np.arange(len(faces), dtype=np.int32))
    return modulator(gaussians, torch.from_numpy(vertices)).sh[:, 0].numpy() * SH_C0 + 0.5


def test_the_photo_s_own_face_is_shown_as_it_is(skin):
    assert np.allclose(shown(skin, skin[0].photo), SKIN, atol=1e-5)


def test_skin_that_turns_up_brightens_a_little_and_skin_that_turns_down_darkens_more(skin):
    up, down = ([1, 0, 0], [0, 0.6, 0.8], [0, -0.8, 0.6]), ([1, 0, 0], [0, 0.3, -0.954], [0, 0.954, 0.3])
    bright, dark = (shown(skin, skin[0].neutral @ np.array(turn, np.float32).T) for turn in (up, down))
    level = SKIN.mean()
    assert level < bright.mean() <= BRIGHTEST * level + 1e-5
    assert DARKEST * level - 1e-5 <= dark.mean() < level


def test_shortened_skin_folds_and_keeps_its_colour(skin):
    squeezed = skin[0].neutral * np.array([1, 0.5, 1], np.float32)
    folded = shown(skin, squeezed)
    assert (
        folded.mean() == pytest.approx(max(DARKEST, 1 - FOLD_SHADE) * SKIN.mean(), rel=0.3)
        and folded.mean() < 0.9 * SKIN.mean()
    )
    assert (folded[:, 0] / folded[:, 2] > SKIN[0] / SKIN[2]).all()  # light out of a fold is redder, not greyer
    assert np.allclose(shown(skin, squeezed, folds=np.zeros_like(skin[0].folds)), SKIN, atol=1e-4)


def test_grey_stays_grey(skin):
    appearance, faces, gaussians = skin
    grey = replace(gaussians, sh=torch.full_like(gaussians.sh, 0.7))
    colours = shown((appearance, faces, grey), appearance.neutral * np.array([1, 0.5, 1], np.float32))
    assert np.ptp(colours, axis=1).max() < 1e-5


def test_folds_of_the_photo_lighten_when_they_unfold(skin):
    smiling = skin[0].neutral * np.array([1, 0.7, 1], np.float32)
    relaxed = shown(skin, skin[0].neutral, photo=smiling)
    assert SKIN.mean() < relaxed.mean() <= BRIGHTEST * SKIN.mean() + 1e-5


def test_the_gain_is_one_without_change_and_bounded():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n0, n1 = rng.normal(size=(2, 3)).astype(np.float32)
        n0, n1 = n0 / np.linalg.norm(n0), n1 / np.linalg.norm(n1)
        before, after = light_on(NUMBERS, *n0), light_on(NUMBERS, *n1)
        depth = fold(NUMBERS, np.float32(rng.random()))
        assert skin_gain(NUMBERS, before, before, depth, depth) == pytest.approx(1.0) or before < 1e-3
        assert DARKEST - 1e-6 <= skin_gain(NUMBERS, before, after, np.float32(0), depth) <= BRIGHTEST + 1e-6


def measured(n: int, log: float) -> np.ndarray:  # [N, 4] int8
    return np.tile(np.array([100 * log] * 3 + [100], np.int8), (n, 1))


def test_measured_marks_of_the_photo_go_as_it_unfolds_and_come_back(skin):
    appearance = skin[0]
    squeezed = appearance.neutral * np.array([0.6, 1, 1], np.float32)
    marks = {"photo": squeezed, "unfolding": measured(len(skin[1]), -0.4)}
    assert (shown(skin, squeezed, **marks) == shown(skin, squeezed, photo=squeezed)).all()
    assert np.allclose(shown(skin, appearance.neutral, **marks), SKIN * np.exp(0.4), rtol=1e-3)
    halfway = shown(skin, appearance.neutral * np.array([0.8, 1, 1], np.float32), **marks)
    assert (halfway > SKIN + 0.01).all() and (halfway < SKIN * np.exp(0.4) - 0.01).all()


def test_what_was_not_measured_is_assumed(skin):
    squeezed = skin[0].neutral * np.array([0.6, 1, 1], np.float32)
    nothing = np.zeros((len(skin[1]), 4), np.int8)
    rest = skin[0].neutral
    assert (shown(skin, rest, photo=squeezed, unfolding=nothing) == shown(skin, rest, photo=squeezed)).all()
    assert (shown(skin, rest, photo=squeezed) > SKIN).all()
