"""The geometry path: a driving performance, re-conditioned by emotion tokens.

After the geometry modulator of "Giving Faces Their Feelings Back" (Secs. 3.2, S1.1, S1.3): a transformer of four
layers on the 103 numbers of each frame (expression 100, jaw 3), whose frames attend to their neighbours and, by
cross-attention, to the emotion tokens of their own instant.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from emo_avatar.emotion.space import EmotionSpace
from emo_avatar.errors import UserError
from emo_avatar.head.data import N_EXPRESSION, HeadData

N_PARAMETERS = N_EXPRESSION + 3  # expression and jaw
WEIGHTS_PATH = Path(__file__).with_name("geometry.safetensors")

SPACE = "expression_space"  # in the metadata of the weights: `expression_fingerprint` of their head

WIDTH, LAYERS, HEADS = 128, 4, 4
REACH = 0.2  # seconds to either side that a frame attends to in one layer
TICKS_PER_SECOND = 30  # resolution of the learned bias over time differences
FRAMES_AT_A_TIME = 256  # of a long sequence; attention is quadratic in it


class GeometryModulator(nn.Module):
    """Expression and jaw under emotion; with zero weights the output is the input, by construction."""

    scale: Tensor  # [103] typical size of each parameter, so that the network sees numbers of order one

    def __init__(self, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS) -> None:
        super().__init__()
        self.space = EmotionSpace(width)
        self.register_buffer("scale", torch.ones(N_PARAMETERS))
        self.embed = nn.Linear(N_PARAMETERS, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.change = nn.Linear(width, N_PARAMETERS)

    def forward(self, driving: Tensor, weights: Tensor, fps: float) -> Tensor:  # [B, T, 103], [B, T, 6] -> [B, T, 103]
        """Each frame's parameters under its own emotion weights."""
        x = self.embed(driving / self.scale)
        distance = _time_differences(driving.shape[1], fps, driving.device)
        for layer in self.layers:
            x = layer(x, distance, self.space, weights)
        # How much emotion there is at all gates the change: neutral is exact and the way to it is smooth.
        gate = torch.tanh(weights.sum(-1, keepdim=True))
        return driving + gate * self.change(self.norm(x)) * self.scale


class _Layer(nn.Module):
    """Attention among neighbouring frames, cross-attention to the emotion tokens, and a perceptron; all pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.frame_norm, self.emotion_norm, self.perceptron_norm = (nn.LayerNorm(width) for _ in range(3))
        self.frame_qkv = nn.Linear(width, 3 * width)
        self.frame_out = nn.Linear(width, width)
        self.time_bias = nn.Parameter(torch.zeros(heads, 2 * round(REACH * TICKS_PER_SECOND) + 1))
        self.emotion_q = nn.Linear(width, width)
        self.emotion_kv = nn.Linear(width, 2 * width)
        self.emotion_out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, distance: Tensor, space: EmotionSpace, weights: Tensor) -> Tensor:
        """``x [B, T, width]``, ``distance [T, T]`` ticks, ``weights [B, T, 6]`` -> ``[B, T, width]``."""
        x = x + self._attend_to_frames(self.frame_norm(x), distance)
        x = x + self._attend_to_emotion(self.emotion_norm(x), space, weights)
        return x + self.perceptron(self.perceptron_norm(x))

    def _attend_to_frames(self, x: Tensor, distance: Tensor) -> Tensor:
        q, k, v = (self._split(part).transpose(1, 2) for part in self.frame_qkv(x).chunk(3, -1))  # [B, H, T, d]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=_time_mask(self.time_bias, distance))
        return self.frame_out(attended.transpose(1, 2).flatten(-2))

    def _attend_to_emotion(self, x: Tensor, space: EmotionSpace, weights: Tensor) -> Tensor:
        q = self._split(self.emotion_q(x))  # [B, T, H, d]
        kv = space.projected(weights, self.emotion_kv)
        k, v = (self._split(part) for part in kv.chunk(2, -1))  # [B, T, K, H, d]
        attention = (torch.einsum("bthd,btkhd->bthk", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.emotion_out(torch.einsum("bthk,btkhd->bthd", attention, v).flatten(-2))

    def _split(self, x: Tensor) -> Tensor:  # [..., width] -> [..., H, d]
        return x.unflatten(-1, (self.heads, -1))


def _time_differences(frames: int, fps: float, device: torch.device) -> Tensor:  # [T, T] ticks, key minus query
    ticks = torch.arange(frames, device=device) * (TICKS_PER_SECOND / fps)
    return ticks[None, :] - ticks[:, None]


def _time_mask(bias: Tensor, distance: Tensor) -> Tensor:  # [H, 2R + 1], [T, T] ticks -> [H, T, T]
    """The learned bias at each time difference, linear between ticks; -inf beyond reach."""
    reach = (bias.shape[1] - 1) // 2
    at = (distance + reach).clamp(0, 2 * reach)
    below = at.floor().long().clamp(max=2 * reach - 1)
    mask = torch.lerp(bias[:, below], bias[:, below + 1], (at - below).expand(len(bias), -1, -1))
    return mask.masked_fill(distance.abs() > reach, -torch.inf)


def expression_fingerprint(head: HeadData) -> str:
    """Names the expression space that weights are trained on; it changes when the head's basis does."""
    mapping = np.concatenate([head.arkit_to_expr, head.arkit_to_pose], axis=1)
    return hashlib.sha256(np.round(mapping, 3).astype("<f4").tobytes()).hexdigest()[:16]


def load_modulator(head: HeadData, path: Path = WEIGHTS_PATH) -> GeometryModulator:
    """The trained modulator of the open head's expression space, on the CPU.

    Raises:
        UserError: the weights were trained on another expression space than ``head`` has.
    """
    modulator = GeometryModulator()
    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get(SPACE) != expression_fingerprint(head):
            raise UserError(
                f"The weights {path} belong to another expression basis than the head {head.name} has; "
                "train them anew with: emo-avatar train geometry."
            )
        modulator.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return modulator.eval()


def modulate(
    modulator: GeometryModulator,
    driving: np.ndarray,  # [T, 103] expression and jaw in the space the modulator was trained on
    weights: np.ndarray,  # [T, 6]
    fps: float,
) -> np.ndarray:  # [T, 103]
    """A whole sequence, in blocks that overlap by what the layers together can see.

    On one thread: the network is so small that threads gain nothing, and that waiting for one that a busy machine has
    put aside costs a hundred times the work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _modulate_blocks(modulator, driving, weights, fps)
    finally:
        torch.set_num_threads(threads)


def _modulate_blocks(
    modulator: GeometryModulator, driving: np.ndarray, weights: np.ndarray, fps: float
) -> np.ndarray:  # [T, 103], [T, 6] -> [T, 103]
    margin = math.ceil(len(modulator.layers) * REACH * fps)
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(driving), FRAMES_AT_A_TIME):
            first, last = max(start - margin, 0), min(start + FRAMES_AT_A_TIME + margin, len(driving))
            block = (torch.from_numpy(np.ascontiguousarray(x[None, first:last])) for x in (driving, weights))
            out = modulator(*block, fps)[0].numpy()
            pieces.append(out[start - first : start - first + FRAMES_AT_A_TIME])
    return np.concatenate(pieces) if pieces else driving
