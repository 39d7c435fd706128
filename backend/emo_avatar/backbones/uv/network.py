"""The learned part of the UV backbone: residuals over the analytic avatar, from its own maps and the photograph.

A U-Net over the head's UV atlas. Features of the photograph, projected to where each place is seen, join it on the way
down; at the bottleneck its tokens attend to one another and to the photograph's tokens, to which those of the emotion
are appended. The head starts at zero: untrained it changes nothing, and its output under an emotion less that without
is exactly nothing at neutral.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_avatar.backbones.uv.grid import FIXED, SIZE
from emo_avatar.emotion.appearance import EmotionTokens
from emo_avatar.motion.timeline import EMOTIONS

IMAGE_SIZE = 256  # pixels a side of the photograph as the network sees it
MAPS = 7  # channels of `PortraitMaps`
CHANNELS = (24, 40, 64)  # at a half, a quarter and an eighth of the atlas' size
WIDTH, LAYERS, HEADS = 128, 2, 4  # of the transformer at a sixteenth
IMAGE_CHANNELS = (16, 24, 48, 96)
PROJECTED = 24  # channels of the photograph's features that are projected into the atlas
# How far the heads reach.
GAIN, OPACITY, SCALE, OFFSET = 0.8, 1.0, 0.25, 0.001  # log of colour, logit, log of size, metres
OUT = 3 + 1 + 1 + 3
FOLDS = slice(1 + 7, 1 + 7 + 3)  # of the fixed channels, the depth of level, upright and slanted folds
LINES = 3 * 3  # of each: how deep it is, and its slopes, which a light from the side shows
SLOPE = 4.0  # brings differences between neighbouring cells to the order of one


@dataclass(frozen=True)
class Encoded:
    """What the network makes of a portrait, once: all that does not depend on the emotion."""

    tokens: Tensor  # [B, T, WIDTH] of the atlas
    image: Tensor  # [B, S, WIDTH] of the photograph
    skips: tuple[Tensor, ...]  # what each level adds on the way up, coarse to fine, [B, C, r, r]
    lines: Tensor  # [LINES, 4, R / 2, R / 2] of the head's folds, four cells to a place; the same for everybody

    def expand(self, count: int) -> Encoded:
        """One portrait, ``count`` times."""
        many = lambda x: x.expand(count, *x.shape[1:])  # noqa: E731
        return Encoded(many(self.tokens), many(self.image), tuple(many(x) for x in self.skips), self.lines)


class UVNetwork(nn.Module):
    """Residuals of every cell of the atlas; see `OUT` and `residuals`."""

    # What each cell is; it goes with the weights, so that avatars play without their head's map.
    fixed: Tensor  # [FIXED, R, R]

    def __init__(self, fixed: np.ndarray | None = None, size: int = SIZE) -> None:
        super().__init__()
        blank = np.zeros((FIXED, size, size), np.float32)
        self.register_buffer("fixed", torch.from_numpy(blank if fixed is None else fixed))
        c1, c2, c3 = CHANNELS
        tokens, image_tokens = (size // 16) ** 2, (IMAGE_SIZE // 16) ** 2
        self.photo = nn.ModuleList(_down(a, b) for a, b in zip((4, *IMAGE_CHANNELS), IMAGE_CHANNELS, strict=False))
        self.photo_out = nn.Conv2d(IMAGE_CHANNELS[-1], WIDTH, 1)
        self.photo_positions = nn.Parameter(0.02 * torch.randn(image_tokens, WIDTH))
        self.photo_norm = nn.LayerNorm(WIDTH)
        self.enter = nn.Sequential(nn.Conv2d(4 * (MAPS + 4 + FIXED), c1, 3, padding=1), nn.GroupNorm(4, c1), nn.SiLU())
        self.down = nn.ModuleList([_down(c1, c2), _down(c2 + PROJECTED, c3), _down(c3, WIDTH)])
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, WIDTH))
        self.emotion = EmotionTokens(WIDTH)
        self.layers = nn.ModuleList(_Layer(WIDTH, HEADS) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        # A convolution over two things laid together is the sum of one over each; that over the skip is done once.
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((WIDTH, c3), (c3, c2), (c2, c1)))
        self.skip = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((c3, c3), (c2 + PROJECTED, c2), (c1, c1)))
        self.up_norm = nn.ModuleList(nn.GroupNorm(4, b) for b in (c3, c2, c1))
        self.head = nn.Conv2d(c1, 4 * OUT, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        # How each line in which skin folds shows in each colour: fine lines, said by a few numbers for an area.
        self.folds = nn.Conv2d(c1, 3 * LINES, 1)
        nn.init.zeros_(self.folds.weight)
        assert self.folds.bias is not None
        nn.init.zeros_(self.folds.bias)
        # What each emotion does to everybody's colours, and how far it does so to this person's.
        self.response = nn.Parameter(torch.zeros(len(EMOTIONS), 3, size, size))
        self.degree = nn.Conv2d(c1, 3, 1)
        nn.init.zeros_(self.degree.weight)
        assert self.degree.bias is not None
        nn.init.ones_(self.degree.bias)

    def encode(self, maps: Tensor, places: Tensor, photo: Tensor) -> Encoded:
        """``maps [B, 7, R, R]``, ``places [B, R, R, 2]`` in the photo, ``photo [B, 4, 256, 256]`` with its matte."""
        features = []
        x = photo
        for layer in self.photo:
            x = layer(x)
            features.append(x)
        image = self.photo_norm(self.photo_out(x).flatten(2).transpose(1, 2) + self.photo_positions)

        evidence = maps[:, 3:4] * maps[:, :3]
        other_side = torch.cat([evidence, maps[:, 3:4]], 1).flip(-1)  # the atlas is symmetric
        fixed = self.fixed[None].expand(len(maps), -1, -1, -1)
        first = self.enter(F.pixel_unshuffle(torch.cat([maps, other_side, fixed], 1), 2))
        second = self.down[0](first)
        projected = F.grid_sample(features[1], places[:, 2::4, 2::4], padding_mode="border", align_corners=False)
        second = torch.cat([second, projected], 1)
        third = self.down[1](second)
        tokens = self.down[2](third).flatten(2).transpose(1, 2) + self.positions
        skips = tuple(layer(x) for layer, x in zip(self.skip, (third, second, first), strict=True))
        lines = F.pixel_unshuffle(lines_of(self.fixed[FOLDS]), 2).unflatten(0, (LINES, 4))
        return Encoded(tokens, image, skips, lines)

    def decode(self, encoded: Encoded, weights: Tensor) -> Tensor:  # [B, 6] -> [B, OUT, R, R]
        """Raw residuals under an emotion: the log of a factor on colours, and what `residuals` makes of the rest."""
        context = torch.cat([encoded.image, self.emotion(weights)], 1)
        x = encoded.tokens
        for layer in self.layers:
            x = layer(x, context)
        side = round(x.shape[1] ** 0.5)
        x = self.norm(x).transpose(1, 2).unflatten(2, (side, side))
        for up, norm, skip in zip(self.up, self.up_norm, encoded.skips, strict=True):
            x = F.silu(norm(F.interpolate(up(x), scale_factor=2.0) + skip))
        depth = (weights.sum(1).clamp(max=1)[:, None, None, None] * self.folds(x)).unflatten(1, (3, LINES, 1))
        shown = depth[:, :, 0] * encoded.lines[0]  # [B, 3, 4, R / 2, R / 2]
        for k in range(1, LINES):  # one by one: all at once is a large array to be written and read
            shown = torch.addcmul(shown, depth[:, :, k], encoded.lines[k])
        # What nobody feels is left out, but a GPU would have to be waited for to know.
        felt = weights.detach().any(0) if weights.device.type == "cpu" else slice(None)
        common = torch.einsum("be,echw->bchw", weights[:, felt], self.response[felt])
        shown = torch.addcmul(shown, self.degree(x)[:, :, None], F.pixel_unshuffle(common, 2).unflatten(1, (3, 4)))
        shown = shown.flatten(1, 2)
        said = self.head(x)
        return F.pixel_shuffle(torch.cat([said[:, :12] + shown, said[:, 12:]], 1), 2)


def lines_of(folds: Tensor) -> Tensor:  # [3, R, R] -> [LINES, R, R]
    """The lines in which skin folds: their depth, and how it rises to the right and downwards."""
    rising = [SLOPE * torch.gradient(folds, dim=dim)[0] for dim in (2, 1)]
    return torch.cat([folds, *rising])


@dataclass(frozen=True)
class Residuals:
    """The network's word on N places."""

    gain: Tensor  # [N, 3] log of the factor on colours
    opacity: Tensor  # [N] what is added to the logit, never less than nothing: no hole is torn
    scale: Tensor  # [N] log of the factor on sizes
    offset: Tensor  # [N, 3] metres, in the triangle's frame


def log_gain(raw: Tensor) -> Tensor:  # [..., OUT, R, R] -> [..., 3, R, R]
    """The logarithm of the factor on colours."""
    return GAIN * torch.tanh(raw[..., :3, :, :])


def residuals(raw: Tensor) -> Residuals:  # [N, OUT]
    """Raw numbers of places as what they mean."""
    return Residuals(
        GAIN * torch.tanh(raw[:, :3]),
        OPACITY * torch.tanh(raw[:, 3]).relu(),
        SCALE * torch.tanh(raw[:, 4]),
        OFFSET * torch.tanh(raw[:, 5:8]),
    )


def _down(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.GroupNorm(4, out), nn.SiLU())


class _Layer(nn.Module):
    """Attention among the tokens of the atlas, attention to the photograph and the emotion, and a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_norm, self.cross_norm, self.perceptron_norm = (nn.LayerNorm(width) for _ in range(3))
        self.self_qkv, self.self_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross_q, self.cross_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # [B, T, width], [B, S, width] -> [B, T, width]
        x = x + self.self_out(self._attend(*self.self_qkv(self.self_norm(x)).chunk(3, -1)))
        x = x + self.cross_out(self._attend(self.cross_q(self.cross_norm(x)), *self.cross_kv(context).chunk(2, -1)))
        return x + self.perceptron(self.perceptron_norm(x))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
