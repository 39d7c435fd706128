"""FLAME sequences as npz, with the person's own identity, for VHAP, GaussianAvatars and whatever reads their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.motion.flame_sequence import FlameSequence


def write_npz(path: Path | str, avatar: Avatar, sequence: FlameSequence) -> None:
    """Write what ``avatar`` plays, with its identity and static offset where its rig is a head in FLAME format."""
    if isinstance(avatar.rig, FlameRig):
        sequence = replace(sequence, shape=avatar.rig.shape, static_offset=avatar.rig.static_offset)
    sequence.write(path)
