"""The weights that come with the program: of the small configuration, and of use on a person they have not seen."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_avatar.avatar.files import load_avatar, save_avatar
from emo_avatar.backbones.lam.checkpoint import WEIGHTS_PATH, load_lam
from emo_avatar.backbones.lam.config import SMALL
from emo_avatar.backbones.make import Backbone
from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.synchronised_shots import draw_moment
from emo_avatar.evaluation.image import psnr
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.training.geometry import FIRST_HELD_OUT_SEED

GREY = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def shot():
    """A photograph of somebody that nothing was trained with."""
    return draw_moment(FIRST_HELD_OUT_SEED + 9, 1, 256, max_yaw=10).shot(np.zeros(len(EMOTIONS)))


@pytest.fixture(scope="module")
def avatar(shot):
    portrait = portrait_of(draw_moment(FIRST_HELD_OUT_SEED + 9, 1, 256, max_yaw=10).subject, shot)
    made, notes = Backbone("lam-s", refine=0).make(portrait, open_head(), name="somebody")
    assert not notes
    return made


def test_they_are_of_the_small_configuration_and_all_weights_together_are_small():
    loaded = load_lam(WEIGHTS_PATH)
    assert loaded.model.config == SMALL and loaded.has_emotion
    shipped = Path(str(files("emo_avatar"))).rglob("*.safetensors")
    assert sum(path.stat().st_size for path in shipped) < 40e6


def test_an_avatar_looks_like_its_photograph_and_has_no_holes(avatar, shot):
    pose = avatar.photo.pose
    shown = picture(avatar.pose(pose), avatar.photo.camera, GREY)
    matte = avatar.photo.matte[..., None] / 255
    wanted = np.uint8(avatar.photo.image * matte + 127.5 * (1 - matte))
    assert psnr(wanted, shown) > 22
    flat = np.asarray(Image.new("RGB", (512, 512), (128, 128, 128)))
    assert psnr(wanted, shown) > psnr(wanted, flat) + 6


def test_emotion_takes_both_paths_also_from_a_file(avatar, tmp_path):
    save_avatar(avatar, tmp_path / "a.emoavatar")
    again = load_avatar(tmp_path / "a.emoavatar")
    for which in (avatar, again):
        neutral = which.pose(perform(which))
        coloured = which.pose(perform(which, emotions={"angry": 1.0}, geometry=False))
        moved = which.pose(perform(which, emotions={"angry": 1.0}, appearance=False))
        assert (coloured.sh - neutral.sh).abs().max() > 0.02 and (coloured.means == neutral.means).all()
        assert (moved.sh == neutral.sh).all() and (moved.means - neutral.means).abs().max() > 1e-3
