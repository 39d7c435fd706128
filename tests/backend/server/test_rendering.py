"""Pictures of avatars in one camera: that space is one, whoever is moved."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.server.arrays import pack, unpack
from emo_avatar.server.avatars import HeldAvatar
from emo_avatar.server.refusals import Refusal
from emo_avatar.server.rendering import Similarity, camera_of, merged, render, transformed

SIZE = 96


class Shelf:
    """Holds avatars under names."""

    def __init__(self, **avatars):
        self._held = {name: HeldAvatar(name, b"", avatar) for name, avatar in avatars.items()}

    def get(self, name):
        return self._held[name]


class Blush:
    """A look that reddens everything."""

    def under(self, gaussians, weights):
        return replace(gaussians, sh=gaussians.sh + torch.tensor([weights[2], 0.0, 0.0]))


@pytest.fixture
def shelf(painted_avatar):
    return Shelf(a=painted_avatar, b=painted_avatar)


def similarity(scale=1.0, rotation=(0, 0, 0), translation=(0, 0, 0)):
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def ask(shelf, avatars, camera, worlds, poses=None, **document):
    arrays = {"viewmat": camera.viewmat, "K": camera.K}
    for i, world in enumerate(worlds):
        pose = {name: np.zeros(width, np.float32) for name, width in FRAME_FIELDS.items()} | ((poses or {}).get(i, {}))
        arrays |= {f"{i}.{name}": np.asarray(value, np.float32) for name, value in pose.items()}
        arrays[f"{i}.world"] = world
    body = {"width": camera.width, "height": camera.height, "avatars": avatars, "format": "float32"} | document
    return unpack(render(unpack(pack(arrays, body)), shelf)).arrays


@pytest.fixture
def camera(painted_avatar):
    return painted_avatar.camera(yaw=20, size=SIZE)


def test_one_avatar_is_what_the_rasteriser_makes_of_it(shelf, painted_avatar, camera):
    pose = {"jaw_pose": [0.2, 0, 0], "rotation": [0, 0.3, 0], "translation": [0.01, 0, 0]}
    picture = ask(shelf, ["a"], camera, [np.eye(4, dtype=np.float32)], {0: pose})
    sequence = replace(FlameSequence.still(1), **{name: np.array([value]) for name, value in pose.items()})
    expected = rasterize(painted_avatar.pose(sequence), camera)
    assert np.abs(picture["rgba"][..., :3] - expected.rgb.numpy()).max() < 1e-5
    assert np.abs(picture["rgba"][..., 3] - expected.alpha.numpy()).max() < 1e-5
    assert np.abs(picture["depth"] - expected.depth.numpy()).max() < 1e-5
    assert picture["rgba"][..., 3].max() > 0.9


def test_emotions_colour_the_avatar(painted_avatar, camera):
    shelf = Shelf(a=replace(painted_avatar, look=Blush()))
    pale, red = (
        ask(shelf, ["a"], camera, [similarity()], {0: {"emotions": np.eye(6)[2] * strength}})["rgba"]
        for strength in (0, 1)
    )
    np.testing.assert_array_equal(pale, ask(shelf, ["a"], camera, [similarity()])["rgba"])
    assert (red[..., 0] - pale[..., 0]).max() > 0.1
    np.testing.assert_array_equal(red[..., 3], pale[..., 3])


@pytest.mark.parametrize("weights", [np.full(6, -0.5), np.full(6, 1.5), np.zeros(5)])
def test_impossible_emotions_are_refused(shelf, camera, weights):
    with pytest.raises(Refusal):
        ask(shelf, ["a"], camera, [similarity()], {0: {"emotions": weights}})


def test_bytes_are_the_rounded_floats(shelf, camera):
    floats = ask(shelf, ["a"], camera, [np.eye(4, dtype=np.float32)])["rgba"]
    answer = ask(shelf, ["a"], camera, [np.eye(4, dtype=np.float32)], format="uint8", depth=False)
    assert answer.keys() == {"rgba"}
    assert np.abs(answer["rgba"] - np.clip(floats, 0, 1) * 255).max() <= 0.51


def test_moving_avatar_and_camera_together_changes_nothing_but_the_unit_of_depth(shelf, camera):
    world = similarity(3.0, (30, -50, 80), (4, -2, 9))
    still = ask(shelf, ["a"], camera, [np.eye(4, dtype=np.float32)])
    linear = world[:3, :3] / 3.0
    viewmat = np.eye(4)
    viewmat[:3, :3] = camera.viewmat[:3, :3] @ linear.T
    viewmat[:3, 3] = 3.0 * camera.viewmat[:3, 3] - viewmat[:3, :3] @ world[:3, 3]
    moved = ask(shelf, ["a"], replace(camera, viewmat=viewmat.astype(np.float32)), [world])
    solid = still["rgba"][..., 3] > 0.5
    assert np.abs(moved["rgba"] - still["rgba"]).max() < 0.02
    assert np.abs(moved["depth"] / 3.0 - still["depth"])[solid].max() < 1e-3


def test_of_two_avatars_the_nearer_one_hides_the_other(shelf, painted_avatar):
    camera = painted_avatar.camera(size=SIZE)
    near, far = similarity(1.0, (0, 0, 0), (0, 0, 0.3)), similarity(1.0, (0, 0, 0), (0, 0, -0.3))
    alone = ask(shelf, ["a"], camera, [near])
    for order in ([near, far], [far, near]):
        both = ask(shelf, ["a", "b"], camera, order)
        hidden = alone["rgba"][..., 3] > 0.995
        assert hidden.sum() > 200
        assert np.abs(both["rgba"] - alone["rgba"])[hidden].max() < 0.03
        assert np.abs(both["depth"] - alone["depth"])[hidden].max() < 0.02


def test_two_avatars_side_by_side_are_two_pictures(shelf, painted_avatar):
    camera = painted_avatar.camera(size=SIZE, fov=20)
    left, right = similarity(0.5, (0, 90, 0), (-0.12, 0, 0)), similarity(0.5, (20, 0, 10), (0.12, 0, 0))
    both = ask(shelf, ["a", "b"], camera, [left, right])["rgba"]
    one, other = (ask(shelf, ["a"], camera, [world])["rgba"] for world in (left, right))
    apart = ~((one[..., 3] > 0) & (other[..., 3] > 0))
    assert np.abs(both - np.maximum(one, other))[apart].max() < 0.02


def test_nobody_is_an_empty_picture(shelf, camera):
    picture = ask(shelf, [], camera, [])
    assert not picture["rgba"].any()
    assert not picture["depth"].any()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours_turn_with_the_gaussians(degree):
    """A turned scene seen by a turned camera is the same picture."""
    generator = torch.Generator().manual_seed(degree)
    n = 40
    gaussians = Gaussians(
        torch.randn(n, 3, generator=generator) * 0.1,
        torch.randn(n, 4, generator=generator),
        torch.rand(n, 3, generator=generator) * 0.05 + 0.01,
        torch.rand(n, generator=generator),
        torch.randn(n, (degree + 1) ** 2, 3, generator=generator) * 0.3,
    )
    by = Similarity.of(similarity(1.0, (40, 100, -70), (0.3, -0.1, 0.2)), "it")
    camera = Camera.orbit(np.zeros(3), 1.0, yaw=30, pitch=20, fov=40, size=SIZE)
    turned_view = Similarity.of(camera.viewmat, "it").after(by.inverse())
    viewmat = np.eye(4, dtype=np.float32)
    viewmat[:3, :3], viewmat[:3, 3] = turned_view.rotation, turned_view.translation
    before = rasterize(gaussians, camera).rgb
    after = rasterize(transformed(gaussians, by), replace(camera, viewmat=viewmat)).rgb
    assert before.max() > 0.3
    assert (before - after).abs().max() < 2e-3


def test_sets_of_different_degree_are_merged():
    flat = Gaussians(torch.zeros(2, 3), torch.ones(2, 4), torch.ones(2, 3), torch.ones(2), torch.ones(2, 1, 3))
    rich = Gaussians(torch.zeros(3, 3), torch.ones(3, 4), torch.ones(3, 3), torch.ones(3), torch.ones(3, 9, 3))
    both = merged([flat, rich])
    assert both.sh.shape == (5, 9, 3)
    assert not both.sh[:2, 1:].any()


MIRRORED = np.diag([-1, 1, 1, 1]).astype(np.float32)
STRETCHED = np.diag([1, 2, 1, 1]).astype(np.float32)
FLAT = np.diag([1, 0, 1, 1]).astype(np.float32)


@pytest.mark.parametrize("world", [MIRRORED, STRETCHED, FLAT, np.zeros((4, 4), np.float32)])
def test_what_is_no_similarity_is_refused(shelf, camera, world):
    with pytest.raises(Refusal) as refused:
        ask(shelf, ["a"], camera, [world])
    assert refused.value.code == "bad_input"
    assert "painted" in refused.value.sentence


@pytest.mark.parametrize("change", [{"width": 0}, {"width": 5000, "height": 5000}, {"format": "jpeg"}, {"width": 10.5}])
def test_impossible_pictures_are_refused(shelf, camera, change):
    with pytest.raises(Refusal) as refused:
        ask(shelf, ["a"], camera, [np.eye(4, dtype=np.float32)], **change)
    assert refused.value.status == 422


def test_a_camera_without_focal_length_is_refused():
    with pytest.raises(Refusal):
        camera_of(np.eye(4, dtype=np.float32), np.zeros((3, 3), np.float32), 8, 8)
