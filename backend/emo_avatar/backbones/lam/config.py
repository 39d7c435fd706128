"""Sizes of the LAM backbone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderConfig:
    """A vision transformer in DINOv2's form."""

    width: int
    depth: int
    heads: int
    image: int  # pixels of the square picture; a multiple of `patch`
    taps: tuple[int, ...]  # blocks whose outputs are fused
    grid: int  # patches along a side that positions were learnt for; others are interpolated
    patch: int = 14
    registers: int = 4


@dataclass(frozen=True)
class GrowthConfig:
    """Gaussians grown between fewer points than are drawn, with the photograph's pixels at hand (not in LAM itself)."""

    asked: int  # points that the transformer is asked about
    width: int  # of the features of a Gaussian
    layers: int
    neighbours: int = 4  # asked points that a Gaussian takes after
    least_edge: float = 0.003  # metres, edges of the mesh that are halved are longer
    heights: tuple[float, ...] = (0.02, 0.05)  # metres above scalp and neck at which there are more, for hair, clothes


@dataclass(frozen=True)
class LamConfig:
    """The backbone."""

    name: str
    encoder: EncoderConfig
    width: int  # of the point tokens and of the image tokens beside them
    layers: int
    heads: int
    decoder: int  # neurons of the hidden layers between a token and its Gaussian
    subdivisions: int  # of the head's mesh, whose vertices are the query points
    max_offset: float = 0.2  # metres across: a Gaussian stays within half of it from its vertex, along each axis
    max_scale: float = 0.01  # metres
    emotion_tokens: int = 4
    growth: GrowthConfig | None = None  # none: LAM as published, a Gaussian for each point

    def __str__(self) -> str:
        return self.name


# configs/inference/lam-20k-8gpu.yaml of the authors, with DINOv2 ViT-L/14 with registers.
PUBLISHED = LamConfig(
    name="lam",
    encoder=EncoderConfig(width=1024, depth=24, heads=16, image=504, taps=(4, 11, 17, 23), grid=37),
    width=1024,
    layers=10,
    heads=16,
    decoder=512,
    subdivisions=1,
)

SMALL = LamConfig(
    name="lam-s",
    encoder=EncoderConfig(width=128, depth=3, heads=4, image=168, taps=(0, 1, 2), grid=12),
    width=128,
    layers=2,
    heads=4,
    decoder=128,
    subdivisions=0,
    max_scale=0.008,
    emotion_tokens=16,
    growth=GrowthConfig(asked=256, width=64, layers=2),
)

CONFIGS = {config.name: config for config in (PUBLISHED, SMALL)}
