"""An avatar by the backbone of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.uv import REFINE_STEPS
from emo_avatar.errors import UserError
from emo_avatar.head.data import HeadData
from emo_avatar.tracking.portrait import TrackedPortrait

Progress = Callable[[float, str], None]
BACKBONES = ("uv", "lam-s", "lam")


@dataclass(frozen=True)
class Backbone:
    """A way of making avatars."""

    name: str = "uv"
    learned: bool | None = None  # uv: with the trained network or without; None: as it is shipped
    refine: int = REFINE_STEPS  # uv, lam-s: steps of refinement
    weights: Path | None = None  # lam, lam-s: in place of the shipped ones

    def __post_init__(self) -> None:
        if self.name not in BACKBONES:
            raise UserError(f"There is no backbone {self.name!r}; choose one of {', '.join(BACKBONES)}.")
        if self.name == "uv" and self.weights is not None:
            raise UserError(
                "The backbone uv takes no --weights; name them in the environment, for building and playing alike: "
                "EMO_AVATAR_UV_WEIGHTS=W.safetensors."
            )
        if self.name == "lam" and self.weights is None:
            raise UserError(
                "The backbone lam needs the authors' weights: name their LAM-20K model.safetensors with --weights."
            )

    def make(
        self,
        portrait: TrackedPortrait,
        head: HeadData,
        *,
        name: str = "",
        device: torch.device | str = "cpu",
        progress: Progress = lambda fraction, what: None,
    ) -> tuple[Avatar, tuple[str, ...]]:
        """The avatar of a portrait that was tracked with ``head``, and what there is to say of it."""
        if self.name == "uv":
            from emo_avatar.backbones.uv import build_avatar
            from emo_avatar.backbones.uv.learned import chosen_network

            network = chosen_network(head, self.learned)
            avatar = build_avatar(
                portrait, head, name=name, refine=self.refine, network=network, device=device, progress=progress
            )
            return _in_tone(avatar), ()
        from emo_avatar.backbones.lam.build import build_lam
        from emo_avatar.backbones.lam.checkpoint import load_lam, shipped_lam

        loaded = shipped_lam() if self.weights is None else load_lam(self.weights)
        if loaded.model.config.name != self.name:
            raise UserError(f"{loaded.path} holds weights of {loaded.model.config.name}, not of {self.name}.")
        avatar = build_lam(portrait, head, loaded, name=name, refine=self.refine, device=device, progress=progress)
        return _in_tone(avatar), loaded.notes


def _in_tone(avatar: Avatar) -> Avatar:
    """Without colour where the photograph has none: what is drawn or completed by rule or network has some."""
    if avatar.photo is None or avatar.photo.tone is None:
        return avatar
    return replace(avatar, gaussians=avatar.photo.tone.print(avatar.gaussians))
