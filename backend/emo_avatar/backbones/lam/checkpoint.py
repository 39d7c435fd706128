"""Weights of the LAM backbone: the released ones by their own names, or ours."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from emo_avatar.backbones.lam.config import CONFIGS, PUBLISHED, LamConfig
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.emotion.space import EmotionSpace
from emo_avatar.errors import UserError
from emo_avatar.files import whole_file

LICENCE_NOTE = "The weights of LAM-20K are CC BY-NC 4.0: for non-commercial use only, and so is what is made with them."
SKIPPED = ("renderer.flame_model.", "encoder.model.mask_token")  # buffers of FLAME itself; only DINOv2's training
OURS = ("emotion.",)  # what the released weights cannot have
CONFIG = "config"  # in the metadata of our own weights
HOW_TO_GET_THEM = "train them with `emo-avatar train lam-s`, or name those that you have with --weights"
WEIGHTS_PATH = Path(__file__).with_name("lam_s.safetensors")


@dataclass(frozen=True)
class Loaded:
    """A network and how the file fitted it."""

    model: Lam
    notes: tuple[str, ...]
    has_emotion: bool  # whether the appearance path is trained
    path: Path


def load_lam(path: Path) -> Loaded:
    """Read a ``model.safetensors`` of LAM-20K, or weights that `emo-avatar train lam-s` wrote.

    Raises:
        UserError: the file cannot be read, or lacks weights, holds others, or has them in other shapes; all are named.
    """
    if not path.exists():
        raise UserError(f"There are no weights {path}; {HOW_TO_GET_THEM}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            config = _config(metadata, path)
            given = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            with torch.device("meta"):
                model = Lam(config)
            wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
            released = CONFIG not in metadata
            skipped = [name for name in given if name.startswith(SKIPPED)] if released else []
            lacking_emotion = released and not any(name.startswith(OURS) for name in given)
            expected = {k: v for k, v in wanted.items() if not (lacking_emotion and k.startswith(OURS))}
            _check(path, expected, {k: v for k, v in given.items() if k not in skipped})
            model = model.to_empty(device="cpu")
            if lacking_emotion:
                model.emotion = EmotionSpace(config.width, config.emotion_tokens)
            state = {name: file.get_tensor(name).float() for name in expected}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as weights in safetensors format: {error}.") from error
    model.load_state_dict(state, strict=False)
    notes = []
    if released:
        notes.append(LICENCE_NOTE)
    if skipped:
        notes.append(f"{len(skipped)} arrays of the file were not needed: {_listed(skipped)}.")
    if lacking_emotion:
        notes.append("These weights know no emotions: emotion moves the face, but does not change its appearance.")
    return Loaded(model.eval(), tuple(notes), not lacking_emotion, path)


@functools.cache
def shipped_lam() -> Loaded:
    """The small configuration as it comes with the program."""
    return load_lam(WEIGHTS_PATH)


def save_lam(model: Lam, path: Path, metadata: Mapping[str, str]) -> None:
    """Write weights in half precision, whole or not at all."""
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(state, temporary, {CONFIG: model.config.name, **metadata})


def _config(metadata: dict[str, str], path: Path) -> LamConfig:
    name = metadata.get(CONFIG, PUBLISHED.name)
    if name not in CONFIGS:
        raise UserError(f"{path} holds weights of a configuration {name!r} that this version does not know.")
    return CONFIGS[name]


def _check(path: Path, wanted: dict[str, list[int]], given: dict[str, list[int]]) -> None:
    """Raise UserError unless names and shapes agree."""
    missing, surplus = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    both = sorted(wanted.keys() & given.keys())
    other = [f"{name} {given[name]} instead of {wanted[name]}" for name in both if given[name] != wanted[name]]
    faults = []
    if missing:
        faults.append(f"{len(missing)} arrays are missing: {_listed(missing)}")
    if surplus:
        faults.append(f"{len(surplus)} are unknown: {_listed(surplus)}")
    if other:
        faults.append(f"{len(other)} have another shape: {_listed(other)}")
    if faults:
        raise UserError(f"{path} does not hold the weights of this network. {'; '.join(faults)}.")


def _listed(names: Iterable[str]) -> str:
    """All of them; those that differ in the number of their layer as one, with how many there are."""
    patterns = Counter(re.sub(r"\.\d+\.", ".N.", name, count=1) for name in names)
    return ", ".join(f"{pattern} ({count} times)" if count > 1 else pattern for pattern, count in patterns.items())
