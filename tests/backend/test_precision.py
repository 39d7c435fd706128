"""Under mixed precision geometry keeps its bits."""

import torch

from emo_avatar.backbones.lam.evidence import FEATURES, Evidence
from emo_avatar.backbones.lam.model import PointEmbedding
from emo_avatar.data.lips import lip_gap_rows
from emo_avatar.head.data import open_head
from emo_avatar.precision import in_float32
from emo_avatar.training.objective import Objective

CPU = torch.device("cpu")


def half() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def test_products_keep_float32_inside_and_lose_it_outside() -> None:
    x = torch.rand(3, 3)
    with half():
        assert (x @ x).dtype == torch.bfloat16
        with in_float32(CPU):
            assert (x @ x).dtype == torch.float32
    with in_float32(torch.device("meta")):  # which knows no mixed precision
        pass


def test_places_are_embedded_exactly() -> None:
    embedding = PointEmbedding(4)
    embedding.mlp = embedding.norm = torch.nn.Identity()
    points = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    plain = embedding(points)
    with half():
        assert torch.equal(embedding(points), plain)


def test_pixels_are_looked_up_where_places_are() -> None:
    generator = torch.Generator().manual_seed(0)
    image_from = torch.cat([2.8 * torch.eye(3), torch.tensor([[0.5], [0.5], [1.0]])], 1).expand(1, 50, 3, 4)
    picture = torch.rand(1, 4, 512, 512, generator=generator)
    seen = Evidence(torch.zeros(1, 50, 3), torch.zeros(1, 50, FEATURES), torch.ones(1, 50), picture, image_from)
    offset = 0.03 * torch.randn(1, 50, 3, generator=generator)
    plain = seen.at(offset)
    with half():
        torch.testing.assert_close(seen.at(offset), plain, rtol=0, atol=1e-5)


def test_errors_of_a_face_are_summed_exactly() -> None:
    head = open_head()
    error = 0.1 * torch.randn(5, lip_gap_rows(head).shape[1], generator=torch.Generator().manual_seed(0))
    objective = Objective(head)
    plain = objective(error)
    with half():
        assert all(torch.equal(x, y) for x, y in zip(objective(error), plain, strict=True))
