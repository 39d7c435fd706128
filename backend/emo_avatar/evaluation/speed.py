"""How fast it is: an avatar's frames, building an avatar. (The rasteriser alone: ``render.bench``.)"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.uv import REFINE_STEPS, build_avatar, default_network
from emo_avatar.data.speech import utterance
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.export.performance import perform
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.portrait import track_portrait

Facts = dict[str, object]
FPS = 30.0
Progress = Callable[[float, str], None]


def time_frames(avatar: Avatar, size: int, frames: int) -> Facts:
    """Milliseconds of each step of an avatar's frame, while it speaks and smiles."""
    device = avatar.gaussians.device
    speech = utterance(0, frames / 30, 30, avatar.rig.head)
    sequence = perform(avatar, speech, emotions={"happy": 0.5}, frames=frames)
    camera = avatar.camera(size=size)
    rasterize(next(iter(avatar.play(sequence))), camera)  # compiles, allocates
    posing, rendering = [], []
    stream = avatar.play(sequence)
    for _ in range(frames):
        start = _now(device)
        gaussians = next(stream)
        posed = _now(device)
        rasterize(gaussians, camera)
        posing.append(1e3 * (posed - start))
        rendering.append(1e3 * (_now(device) - posed))
    total = [a + b for a, b in zip(posing, rendering, strict=True)]
    return {
        **_summary(total),
        # The head is evaluated for many frames at a time, so that single frames are not comparable: the mean is.
        "deform_and_bind_ms": statistics.mean(posing),
        "render_ms": statistics.median(rendering),
        "gaussians": len(avatar.gaussians),
        "size": size,
        **_machine(device),
    }


def time_whole_frames(avatar: Avatar, size: int, frames: int) -> Facts:
    """Milliseconds of a frame in which the emotion changes: both of its paths, the rig, and the picture."""
    device = avatar.gaussians.device
    speech = utterance(0, frames / FPS, FPS, avatar.rig.head)
    camera = avatar.camera(size=size)
    happy = np.linspace(0.1, 1, frames)

    def run(count: int) -> tuple[float, float, list[float]]:
        weights = np.zeros((count, len(EMOTIONS)), np.float32)
        weights[:, 0], weights[:, 1] = happy[:count], 1 - happy[:count]  # no two frames alike
        start = _now(device)
        sequence = apply_emotions(avatar.rig.head, speech.slice(0, count), weights)
        geometry = _now(device) - start
        spent = []
        stream = avatar.play(sequence)
        last = _now(device)
        for _ in range(count):
            rasterize(next(stream), camera)
            now = _now(device)
            spent.append(1e3 * (now - last))
            last = now
        return 1e3 * geometry / count, 1e3 * (last - start) / count, spent

    run(1)  # compiles, allocates, encodes the portrait
    geometry, mean, spent = run(frames)
    return {
        "mean_ms": mean,
        "frames_per_second": 1e3 / mean,
        "median_ms": geometry + statistics.median(spent),  # a batch of the rig's frames falls to one in many
        "geometry_ms": geometry,
        "appearance": avatar.look is not None,
        "repeats": frames,
        "gaussians": len(avatar.gaussians),
        "size": size,
        **_machine(device),
    }


def time_build(photo: Path, progress: Progress, device: torch.device) -> Facts:
    """Seconds to build an avatar, the second time; the first loads models and compiles.

    Tracking is the processor's, on any device; the network and the refinement are the device's.
    """
    head = load_head()
    build_from_photo(photo, head, REFINE_STEPS, progress, device)
    start = _now(device)
    track_portrait(photo, head)
    tracked = _now(device)
    avatar = build_from_photo(photo, head, REFINE_STEPS, progress, device)
    refined = _now(device)
    build_from_photo(photo, head, 0, progress, device)
    return {
        "build_s": refined - tracked,
        "preview_s": _now(device) - refined,
        "tracking_s": tracked - start,  # which is in both
        "refinement_steps": REFINE_STEPS,
        "gaussians": len(avatar.gaussians),
        **_machine(device),
    }


def build_from_photo(
    photo: Path, head: HeadData, refine: int, progress: Progress, device: torch.device | str = "cpu"
) -> Avatar:
    """Tracking and the UV backbone."""
    portrait, network = track_portrait(photo, head), default_network(head)
    return build_avatar(
        portrait, head, name=photo.stem, refine=refine, network=network, device=device, progress=progress
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _summary(times: list[float]) -> Facts:
    return {"median_ms": statistics.median(times), "best_ms": min(times), "repeats": len(times)}


def _machine(device: torch.device) -> Facts:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
