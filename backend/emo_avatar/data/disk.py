"""The synthetic data as files, for other programs: training draws it on the fly and needs none of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.data.studio import Setting, Shot
from emo_avatar.data.subjects import Subject
from emo_avatar.data.synchronised_shots import draw_example, draw_sequence
from emo_avatar.export.folders import whole_folder
from emo_avatar.export.pictures import to_uint8
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS

Progress = Callable[[float, str], None]

VERSION = 1
_EXAMPLE_FILES = "*.*"


def write_examples(folder: Path, seeds: range, size: int, progress: Progress) -> int:
    """The appearance configuration: a folder ``example-SEED`` for each seed. Returns how many were there already.

    One that is there whole, and of this size, stays as it is, so that an interrupted run goes on where it was.
    It holds ``source.png`` and ``target.png`` (RGBA, straight alpha, background kept), the motion of both and of the
    neutral mind as FLAME npz, and ``example.json``: seed, emotion weights, cameras, and who it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = 0
    for number, seed in enumerate(seeds, 1):
        name = f"example-{seed:07d}"
        _clear(folder, name)
        if _described(folder / name / "example.json", seed=seed, view="target", size=size):
            kept += 1
            continue
        example = draw_example(seed, size)
        with whole_folder(folder / name, _EXAMPLE_FILES) as place:
            for role, shot in (("source", example.source), ("target", example.target)):
                _write_shot(place / f"{role}.png", shot)
                _write_motion(place / f"{role}.npz", example.subject, shot.frame)
            _write_motion(place / "driving.npz", example.subject, example.driving)
            document = {
                "version": VERSION,
                "seed": seed,
                "subject": _description(example.subject),
                "source": _view(example.source.setting) | {"emotions": _named(example.source.weights)},
                "target": _view(example.target.setting) | {"emotions": _named(example.weights)},
            }
            _write_json(place / "example.json", document)
        progress(number / len(seeds), f"example {number} of {len(seeds)}")
    return kept


def write_sequences(folder: Path, seeds: range, seconds: float, size: int, progress: Progress) -> int:
    """The geometry configuration: a folder ``sequence-SEED-EMOTION`` for each seed and each of the seven emotions.
    Returns how many were there already, which stay as with `write_examples`.

    It holds numbered frames (RGBA), ``motion.npz``, ``driving.npz`` (the neutral mind) and ``sequence.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = len(seeds) * (len(EMOTIONS) + 1)
    done = kept = 0
    for seed in seeds:
        sequence = draw_sequence(seed, seconds, size=size)
        for emotion, felt in ((None, "neutral"), *enumerate(EMOTIONS)):
            motion = sequence.driving if emotion is None else sequence.emotional[emotion]
            name = f"sequence-{seed:07d}-{felt}"
            done += 1
            _clear(folder, name)
            if _described(folder / name / "sequence.json", seed=seed, view=None, size=size, frames=len(motion)):
                kept += 1
                continue
            with whole_folder(folder / name, _EXAMPLE_FILES) as place:
                for t, shot in enumerate(sequence.shots(emotion), 1):
                    _write_shot(place / f"{t:05d}.png", shot)
                _write_motion(place / "motion.npz", sequence.subject, motion)
                _write_motion(place / "driving.npz", sequence.subject, sequence.driving)
                document = {
                    "version": VERSION,
                    "seed": seed,
                    "fps": motion.fps,
                    "frames": len(motion),
                    "subject": _description(sequence.subject),
                    "emotions": _named(sequence.frame(emotion, 0)[1]),
                    **_view(sequence.setting),
                }
                _write_json(place / "sequence.json", document)
            progress(done / total, f"seed {seed}, {felt}")
    return kept


def _clear(folder: Path, name: str) -> None:
    """Away with what a run that was killed has left of one."""
    for remains in folder.glob(f".{name}-*"):
        shutil.rmtree(remains, ignore_errors=True)


def _described(file: Path, *, seed: int, view: str | None, size: int, **told: int) -> bool:
    """Whether the document of an example, which is written last, tells of just this one."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        camera = document if view is None else document[view]
        wanted = {"version": VERSION, "seed": seed, **told}
        return all(document[key] == value for key, value in wanted.items()) and camera["width"] == size
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_shot(path: Path, shot: Shot) -> None:
    Image.fromarray(to_uint8(np.concatenate([shot.rgb, shot.alpha[..., None]], -1))).save(path)


def _write_motion(path: Path, subject: Subject, sequence: FlameSequence) -> None:

    replace(sequence, shape=subject.person.shape, head="open").write(path)


def _write_json(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _named(weights: np.ndarray) -> dict[str, float]:  # [6]
    return {name: round(float(w), 4) for name, w in zip(EMOTIONS, weights, strict=True) if w > 0}


def _view(setting: Setting) -> dict:
    camera = setting.camera
    return {"viewmat": camera.viewmat.tolist(), "K": camera.K.tolist(), "width": camera.width, "height": camera.height}


def _description(subject: Subject) -> dict:
    look = subject.look
    return {
        "seed": subject.seed,
        "age": round(look.age, 3),
        "skin_type": look.skin_type,
        "hair": [style.name for style in look.hair],
        "eyes": look.eyes,
    }
