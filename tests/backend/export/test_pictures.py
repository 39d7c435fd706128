from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.export.mesh_view import clay, render_mesh_frames
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture, render_frames, write_png
from emo_avatar.render.camera import Camera


def test_transparent_pictures_have_straight_alpha(painted_avatar: Avatar) -> None:
    """Laid over any colour they are the picture rendered over that colour."""
    gaussians, camera = painted_avatar.pose(perform(painted_avatar)), painted_avatar.camera(size=96)
    rgba = picture(gaussians, camera) / 255
    colour = (0.2, 0.9, 0.4)
    laid = rgba[..., :3] * rgba[..., 3:] + np.array(colour) * (1 - rgba[..., 3:])
    assert np.abs(laid - picture(gaussians, camera, colour) / 255).max() < 2.5 / 255


def test_frames_follow_the_sequence(painted_avatar: Avatar) -> None:
    sequence = perform(painted_avatar, emotions={"surprised": 1.0}, frames=2)
    camera = painted_avatar.camera(size=96)
    first, second = render_frames(painted_avatar, sequence, camera)
    np.testing.assert_array_equal(first, second)
    assert (first != picture(painted_avatar.pose(perform(painted_avatar)), camera)).any()


def test_png_is_written_as_it_is(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


def test_clay_is_lit_from_the_viewers_upper_left() -> None:
    """A tent whose left side faces the light is brighter there."""
    vertices = np.array([[-1, -1, 0], [0, -1, 0.7], [0, 1, 0.7], [-1, 1, 0], [1, -1, 0], [1, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    tent = vertices[faces.ravel()], np.arange(12).reshape(4, 3)  # not welded: each side keeps its own normal
    image = clay(*tent, Camera.orbit(np.zeros(3), 5.0, fov=30, size=64))
    assert (image[32, [16, 48], 3] == 255).all() and image[0, 0, 3] == 0
    assert image[32, 16, :3].sum() > image[32, 48, :3].sum() + 60


def test_the_mesh_covers_what_the_splats_cover(painted_avatar: Avatar) -> None:
    sequence, camera = perform(painted_avatar), painted_avatar.camera(yaw=30, size=96)
    (mesh,) = render_mesh_frames(painted_avatar, sequence, camera)
    (splats,) = render_frames(painted_avatar, sequence, camera)
    inside, drawn = mesh[..., 3] > 128, splats[..., 3] > 128  # the splats hang over the edges
    assert (inside & ~drawn).sum() < 0.01 * inside.sum()
    assert (inside & drawn).sum() > 0.8 * (inside | drawn).sum()
