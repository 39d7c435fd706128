"""Black-and-white photographs stay black and white, whatever is felt."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar import assets
from emo_avatar.avatar.avatar import SourcePhoto
from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb
from emo_avatar.avatar.tone import LUMA, Tone
from emo_avatar.export.performance import perform
from emo_avatar.tracking.images import read_photo

SEPIA = np.array([[0.06, 0.0, -0.1]])  # at mid lightness


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    return read_photo(assets.fetch("astronaut.png")).rgb


def in_grey(rgb: np.ndarray) -> np.ndarray:
    return np.repeat((rgb @ np.array(LUMA))[..., None], 3, axis=2).round().astype(np.uint8)


def toned(rgb: np.ndarray) -> np.ndarray:
    grey = in_grey(rgb) / 255
    return (np.clip(grey + SEPIA * 4 * grey * (1 - grey), 0, 1) * 255).round().astype(np.uint8)


def gaussians_of(colours: torch.Tensor) -> Gaussians:
    n = len(colours)
    return Gaussians(
        torch.zeros(n, 3), torch.eye(4)[:1].repeat(n, 1), torch.ones(n, 3), torch.ones(n), sh_from_rgb(colours)
    )


def test_photographs_in_colour_have_no_tone(colour):
    assert Tone.of(colour, np.full(colour.shape[:2], 255, np.uint8)) is None


def test_a_picture_of_nobody_has_no_tone(colour):
    assert Tone.of(in_grey(colour), np.zeros(colour.shape[:2], np.uint8)) is None


@pytest.mark.parametrize("made", [in_grey, toned])
def test_prints_have_the_colours_of_the_photograph(colour, made):
    picture = made(colour)
    tone = Tone.of(picture, np.full(colour.shape[:2], 255, np.uint8))
    assert tone is not None
    pixels = torch.from_numpy(picture[::16, ::16].reshape(-1, 3) / np.float32(255))
    again = 0.5 + SH_C0 * tone.print(gaussians_of(pixels)).sh[:, 0]
    assert (again - pixels).abs().max() < 0.02
    blush = gaussians_of(pixels * torch.tensor([1.2, 0.9, 0.9]))
    red = 0.5 + SH_C0 * tone.print(blush).sh[:, 0]
    assert np.abs(tone.coefficients).max() > 0.05 or (red.amax(1) - red.amin(1)).max() < 0.01
    assert torch.allclose(red @ torch.tensor(LUMA), (0.5 + SH_C0 * blush.sh[:, 0]) @ torch.tensor(LUMA), atol=0.01)


class Blush:
    """A look that reddens everything."""

    kind = "blush"

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        if not weights.any():
            return gaussians
        return replace(gaussians, sh=gaussians.sh + torch.tensor([0.3, 0.0, 0.0]))


def test_emotions_do_not_colour_a_grey_photograph(painted_avatar, colour):
    pose, camera = perform(painted_avatar), painted_avatar.camera()
    felt = perform(painted_avatar, emotions={"angry": 1.0})
    for rgb, grey in ((in_grey(colour), True), (colour, False)):
        photo = SourcePhoto(rgb, np.full(rgb.shape[:2], 255, np.uint8), camera, pose)
        sh = replace(painted_avatar, look=Blush(), photo=photo).pose(felt).sh[:, 0]
        assert bool((sh.amax(1) - sh.amin(1)).max() < 0.05) == grey
