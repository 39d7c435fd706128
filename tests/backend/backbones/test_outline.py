"""The outline of a face against masks of skin whose flaws are known."""

from __future__ import annotations

import numpy as np
import pytest

from emo_avatar.backbones.portrait.masks import nearest
from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.backbones.uv.outline import fit_outline
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.render.camera import Camera


@pytest.fixture(scope="module")
def head() -> HeadData:
    return open_head()


@pytest.fixture(scope="module")
def view(head: HeadData) -> MeshView:
    vertices = head.v_template.astype(np.float32)
    camera = Camera.orbit(vertices[head.regions["face"]].mean(0), 0.6, size=384)
    return MeshView.of(vertices, head.faces, camera)


@pytest.fixture(scope="module")
def landmarks(head: HeadData, view: MeshView) -> np.ndarray:  # [478, 2] px
    embedding = head.landmarks478
    assert embedding is not None
    points = np.einsum("lb,lbc->lc", embedding.barycentric, view.vertices[head.faces[embedding.faces]])
    return view.camera.project(points)[0]


def shift(view: MeshView, skin: np.ndarray, landmarks: np.ndarray, head: HeadData) -> np.ndarray:  # [V] metres
    """How far each vertex goes for a mask of skin."""
    moved = fit_outline(view, skin.astype(np.float32), nearest(view.covered), landmarks, head, 1.2)
    return np.linalg.norm(moved - view.vertices, axis=1)


def test_hair_before_an_ear_does_not_pull_it_in(view: MeshView, landmarks: np.ndarray, head: HeadData) -> None:
    pixel, _ = view.camera.project(view.vertices)
    ears = head.regions["ears"]
    column = np.arange(view.covered.shape[1])[None]
    skin = view.covered.copy()
    for side in (-1, 1):  # a dark strip along the inner half of each ear, from top to bottom
        ear = pixel[ears & (side * head.v_template[:, 0] > 0)]
        middle, half = np.median(ear[:, 0]), np.ptp(ear[:, 0]) / 4
        skin &= np.abs(column - middle) > half
    before = shift(view, view.covered, landmarks, head)[ears]
    assert np.abs(shift(view, skin, landmarks, head)[ears] - before).max() < 0.001


def test_a_beard_does_not_narrow_the_jaw(view: MeshView, landmarks: np.ndarray, head: HeadData) -> None:
    mouth = landmarks[13]
    skin = view.covered & (np.arange(view.covered.shape[0])[:, None] < mouth[1])
    assert shift(view, skin, landmarks, head)[head.regions["face"]].max() < 0.005
