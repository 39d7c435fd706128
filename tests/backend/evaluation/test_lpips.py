import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_avatar import assets
from emo_avatar.errors import UserError
from emo_avatar.evaluation.lpips import load_lpips, lpips


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with Image.open(assets.fetch("astronaut.png")) as image:
        return np.asarray(image.convert("RGB").resize((128, 128)))


def test_equal_pictures_have_no_distance_and_the_order_does_not_matter(portrait: np.ndarray) -> None:
    other = portrait[:, ::-1]
    assert lpips(portrait, portrait) == 0
    assert lpips(portrait, other) == pytest.approx(lpips(other, portrait), abs=1e-6)
    assert lpips(portrait / 255, other / 255) == pytest.approx(lpips(portrait, other), abs=1e-6)


def test_more_damage_is_more_distance(portrait: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(size=portrait.shape)
    distances = [lpips(portrait, np.clip(portrait + level * noise, 0, 255).astype(np.uint8)) for level in (2, 8, 32)]
    assert 0 < distances[0] < distances[1] < 0.05 < distances[2] < 1


def test_it_is_perceptual_where_psnr_is_not(portrait: np.ndarray) -> None:
    """Blur looks worse than a change of brightness with a far larger squared error: what the metric is for."""
    small = Image.fromarray(portrait).resize((32, 32), Image.Resampling.BOX)
    blurred = np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))
    brighter = np.clip(portrait.astype(int) + 30, 0, 255).astype(np.uint8)
    error = [np.square(portrait.astype(float) - other).mean() for other in (blurred, brighter)]
    assert error[0] < error[1]
    assert lpips(portrait, blurred) > 2 * lpips(portrait, brighter)


def test_heads_are_non_negative_weights() -> None:
    """The paper constrains them so; a kernel read in the wrong axis order would not have these shapes."""
    network = load_lpips(assets.fetch("lpips_alexnet.ckpt"))
    assert [head.shape[1] for head in network.heads] == [64, 192, 384, 256, 256]
    assert all((head >= 0).all() for head in network.heads)


def test_a_checkpoint_that_names_anything_but_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"AlexNet_0": print}))
    with pytest.raises(UserError, match=r"builtins\.print"):
        load_lpips(path)
