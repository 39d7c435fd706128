"""Commands that write motion and what moves: animate, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.options import (
    Appearance,
    AvatarFile,
    Emotions,
    Frames,
    Geometry,
    Motion,
    Timeline,
    output,
    parse_emotions,
)

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import Avatar
    from emo_avatar.motion.flame_sequence import FlameSequence


def animate(
    avatar: AvatarFile,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="SEQ.npz", help="The FLAME sequence to write.")],
    motion: Motion = None,
    timeline: Timeline = None,
    emotion: Emotions = None,
    frames: Frames = None,
    geometry: Geometry = True,
) -> None:
    """Write the FLAME sequence that an avatar plays."""
    output(out, ".npz")
    person, sequence = performance(avatar, motion, timeline, emotion, frames, geometry)
    from emo_avatar.export.npz import write_npz

    write_npz(out, person, sequence)
    say(f"{out}: {len(sequence)} frames at {sequence.fps:g} fps.")


def export(
    avatar: AvatarFile,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.npz|OUT.glb|DIR.ply/", help="What to write, by its ending.")
    ],
    motion: Motion = None,
    timeline: Timeline = None,
    emotion: Emotions = None,
    frames: Frames = None,
    geometry: Geometry = True,
    appearance: Appearance = True,
) -> None:
    """Write an animation for other programs: FLAME npz, animated GLB, or a folder of splat PLY files."""
    output(out, ".npz", ".glb", ".ply")
    person, sequence = performance(avatar, motion, timeline, emotion, frames, geometry, appearance)
    with progress_bar(f"Writing {out.name}") as report:
        if out.suffix.lower() == ".npz":
            from emo_avatar.export.npz import write_npz

            write_npz(out, person, sequence)
        elif out.suffix.lower() == ".glb":
            from emo_avatar.export.glb import write_glb

            write_glb(out, person, sequence, report)
        else:
            from emo_avatar.export.ply import write_ply_sequence

            write_ply_sequence(out, person.play(sequence), len(sequence), report)
    say(f"{out}: {len(sequence)} frames at {sequence.fps:g} fps.")


def performance(
    avatar: Path,
    motion: Path | None,
    timeline: Path | None,
    emotion: list[str] | None,
    frames: int | None,
    geometry: bool = True,
    appearance: bool = True,
) -> tuple[Avatar, FlameSequence]:
    """The avatar, and the sequence that the options make it play."""
    emotions = parse_emotions(emotion)
    from emo_avatar.avatar.files import load_avatar
    from emo_avatar.export.performance import perform
    from emo_avatar.motion.read import read_motion
    from emo_avatar.motion.timeline import EmotionTimeline

    keys = EmotionTimeline.read(timeline) if timeline else None
    person = load_avatar(avatar)
    driving = None
    if motion:
        driving, notes = read_motion(motion, person.rig.head)
        for note in notes:
            say(note)
    return person, perform(person, driving, keys, emotions, frames, geometry, appearance)
