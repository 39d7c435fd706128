"""The optimisation that makes Gaussians look like the photograph."""

from dataclasses import replace

import numpy as np
import pytest

from emo_avatar.backbones.portrait.refine import refined
from emo_avatar.backbones.portrait.splats import Layer, Splats

from ... import gsplat_double
from ...devices import GPU, OneDevice
from ...render.scenes import camera, random_gaussians


def splats(count: int) -> Splats:
    gaussians = random_gaussians(0, count, 1)
    arrays = (getattr(gaussians, name).numpy() for name in ("means", "quats", "scales", "opacities"))
    return Splats(np.zeros(count, np.int32), *arrays, np.full((count, 3), 0.5), np.full(count, Layer.DETAIL, np.int8))


def test_it_comes_nearer_to_the_photograph() -> None:
    view, losses, trusted = camera(40, 30), [], np.ones(50)
    target, matte = np.full((30, 40, 3), 0.8), np.ones((30, 40))
    for steps in (1, 30):
        done = refined(splats(50), view, target, matte, trusted, steps, lambda fraction: None)
        losses.append(np.abs(done.rgb - 0.8).mean())
    assert losses[1] < losses[0]


def test_it_stays_on_its_device_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    gsplat_double.install(monkeypatch)
    reported: list[float] = []
    target, matte = np.zeros((30, 40, 3)), np.ones((30, 40))
    # The stand-in holds no numbers that could come back in the end.
    with OneDevice(), pytest.raises(NotImplementedError, match="meta"):
        refined(splats(50), camera(40, 30), target, matte, np.ones(50), 2, reported.append, GPU)
    assert reported == [0.5, 1.0]


def test_no_gaussian_grows_more_opaque_than_it_may() -> None:
    target, matte = np.full((30, 40, 3), 0.5), np.ones((30, 40))
    few, most = splats(5), np.full(5, 0.5)
    few = replace(few, opacities=np.full(5, 0.4))

    def opacity(most_opaque: np.ndarray | None) -> np.ndarray:  # [5]
        view, trusted = camera(40, 30), np.ones(5)
        done = refined(few, view, target, matte, trusted, 20, lambda f: None, most_opaque=most_opaque)
        return done.opacities

    assert opacity(most).max() <= 0.5 + 1e-5
    assert opacity(None).max() > 0.55
