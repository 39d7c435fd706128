"""What counts as an error of expression and jaw: eq. S1 of the paper, without evaluating a vertex while training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emo_avatar.data.lips import lip_gap_rows
from emo_avatar.emotion.geometry import N_PARAMETERS
from emo_avatar.head.arkit import parameter_metric
from emo_avatar.head.data import HeadData
from emo_avatar.precision import in_float32

VERTEX_WEIGHT = 0.1  # of the vertex term, in square millimetres, beside the parameter term
LIP_WEIGHT = 0.1  # of the space between the lips, in square millimetres: a millimetre here is a closed mouth or not


class Objective:
    """The loss ``|dp|^2 + |dV|^2`` and its parts.

    The vertex term is a quadratic form of the parameters' error: exact for the expression, which is linear, and
    first-order in the jaw's angle. The lips' share of it is stressed.
    """

    def __init__(self, head: HeadData) -> None:
        self._vertices = torch.from_numpy(vertex_root(head))
        self._lips = torch.from_numpy(lip_gap_rows(head))

    def __call__(self, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [..., 103]
        """Weighted terms of parameters, vertices and lips; their sum is the loss."""
        with in_float32(error.device):
            vertices = (error.float() @ self._vertices.T.to(error.device)).square().sum(-1).mean()
            lips = (error.float() @ self._lips.T.to(error.device)).square().mean()
        return error.square().mean(), VERTEX_WEIGHT * vertices, LIP_WEIGHT * lips


def vertex_root(head: HeadData) -> np.ndarray:  # [103, 103]
    """R with ``|R dp|^2`` = squared vertex displacement in square millimetres, averaged over the face."""
    metric = parameter_metric(head)[:N_PARAMETERS, :N_PARAMETERS] * 1e6 / head.regions["face"].sum()
    values, vectors = np.linalg.eigh(metric)
    return (vectors * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
