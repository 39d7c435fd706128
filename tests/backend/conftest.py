import numpy as np
import pytest
import torch

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.avatar import Avatar, Framing
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.head.data import load_head


def paint(points: np.ndarray) -> np.ndarray:  # [N, 3] metres -> [N, 3]
    """A smooth colour for every place on a head, so that a texture on the wrong spot is seen."""
    return np.clip(0.5 + points @ np.diag([4.0, 3.0, 2.0]), 0, 1)


@pytest.fixture(scope="session")
def painted_avatar() -> Avatar:
    """The open head with a flat, nearly opaque Gaussian on every triangle, coloured by place."""
    head = load_head()
    n = len(head.faces)
    centres = head.v_template[head.faces].mean(axis=1)
    gaussians = Gaussians(
        means=torch.zeros(n, 3),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        scales=torch.tensor([0.5, 0.5, 0.02]).repeat(n, 1),
        opacities=torch.full((n,), 0.98),
        sh=sh_from_rgb(torch.tensor(paint(centres), dtype=torch.float32)),
    )
    flat = SkinAppearance(
        neutral=head.v_template,
        photo=head.v_template,
        shaded=np.zeros(n, bool),
        stretch_limit=np.full(n, 10, np.float32),
        barycentric=np.full((n, 3), 1 / 3, np.float32),
        folds=np.zeros((n, 3), np.uint8),
        detail=np.zeros(n, bool),
    )
    binding = np.arange(n, dtype=np.int32)
    rig = FlameRig(head, np.zeros(300, np.float32), np.zeros_like(head.v_template), binding, flat)
    middle = (head.v_template.min(axis=0) + head.v_template.max(axis=0)) / 2
    return Avatar("painted", "test", rig, gaussians, Framing(middle, 0.22))
