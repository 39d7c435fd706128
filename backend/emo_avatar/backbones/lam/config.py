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
    encoder=EncoderConfig(width=192, depth=4, heads=4, image=224, taps=(0, 1, 2, 3), grid=16),
    width=192,
    layers=3,
    heads=4,
    decoder=128,
    subdivisions=0,
)

CONFIGS = {config.name: config for config in (PUBLISHED, SMALL)}
