from dataclasses import replace

import pytest
import torch

from emo_avatar.avatar.avatar import Avatar, SourcePhoto
from emo_avatar.errors import UserError
from emo_avatar.evaluation.portrait import score_portrait
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture


@pytest.fixture(scope="module")
def photographed(painted_avatar: Avatar) -> Avatar:
    """An avatar whose photograph is its own picture."""
    pose, camera = perform(painted_avatar), painted_avatar.camera(size=512)
    rgba = picture(painted_avatar.pose(pose), camera)
    return replace(painted_avatar, photo=SourcePhoto(rgba[..., :3], rgba[..., 3], camera, pose))


def test_a_perfect_likeness_scores_perfectly(photographed: Avatar) -> None:
    score = score_portrait(photographed)
    assert score.psnr > 40 and score.ssim > 0.99 and score.lpips < 0.01
    assert score.holes < 0.01
    assert set(score.identity_under) == {"neutral", "happy", "sad", "angry", "disgust", "fear", "surprised"}
    assert all(number >= -1 for number in score.numbers().values())


def test_what_is_missing_is_a_hole_and_a_loss(photographed: Avatar) -> None:
    g = photographed.gaussians
    head = photographed.rig.head
    left_half = head.v_template[head.faces].mean(axis=1)[:, 0] > 0.0
    opacities = torch.where(torch.from_numpy(left_half), 0.0, g.opacities)
    score = score_portrait(replace(photographed, gaussians=replace(g, opacities=opacities)))
    assert score.holes > 0.3
    assert score.psnr < 20


def test_an_avatar_without_a_photograph_is_refused(painted_avatar: Avatar) -> None:
    with pytest.raises(UserError, match="no photograph"):
        score_portrait(painted_avatar)
