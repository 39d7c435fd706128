"""What a face does besides speaking: blinks, glances, nods and brow accents."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from emo_avatar.head.arkit import arkit_weights

# Lid closure of one blink, after Trutoiu et al., "Modeling and animating eye blinks" (2011): a fast fall, a slow rise.
BLINK_CLOSING, BLINK_OPENING = 0.07, 0.16  # seconds
FIXATION = 1.3  # mean seconds between glances
SACCADE = 0.04  # seconds a glance takes
GAZE_SPREAD = np.array([0.22, 0.12])  # of ARKit look weights, across and up; full weight is about 30 degrees
HEAD_SPREAD = np.array([0.020, 0.035, 0.012])  # radians of slow sway about x (nod), y (turn), z (tilt)
HEAD_PERIOD = 0.45  # seconds, smoothing of the sway
NOD = 0.035  # radians of one accent
ACCENT_WIDTH = 0.11  # seconds, standard deviation of a nod or a brow raise


def blinks(rng: np.random.Generator, per_second: float, frames: int, fps: float) -> np.ndarray:  # [T, 52]
    """Blinks at irregular intervals, no two within half a second."""
    time = np.arange(frames) / fps
    closure = np.zeros(frames)
    at = rng.exponential(1 / per_second)
    while at < frames / fps:
        since = time - at
        fall = np.clip(1 + since / BLINK_CLOSING, 0, 1)
        rise = np.clip(1 - since / BLINK_OPENING, 0, 1)
        closure = np.maximum(closure, smoothstep(np.where(since < 0, fall, rise)))
        at += 0.5 + rng.exponential(1 / per_second)
    return np.outer(closure, arkit_weights(eyeBlink=1.0)).astype(np.float32)


def glances(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:  # [T, 52]
    """Fixations joined by saccades, as eyeLook weights of both eyes, mostly near straight ahead."""
    duration = frames / fps
    times, gaze = [0.0], [np.zeros(2)]
    while times[-1] < duration:
        times.append(times[-1] + SACCADE + rng.exponential(FIXATION))
        gaze.append(rng.normal(0, GAZE_SPREAD))
    start = np.array(times[1:])
    knots = np.sort(np.concatenate([start, start + SACCADE]))
    values = np.repeat(np.array(gaze), 2, axis=0)[1:-1]
    time = np.arange(frames) / fps
    left, up = (np.interp(time, knots, values[:, axis]) for axis in (0, 1))  # to the subject's left, upwards
    look = arkit_weights
    return (
        np.outer(np.maximum(left, 0), look(eyeLookOutLeft=1, eyeLookInRight=1))
        + np.outer(np.maximum(-left, 0), look(eyeLookInLeft=1, eyeLookOutRight=1))
        + np.outer(np.maximum(up, 0), look(eyeLookUp=1))
        + np.outer(np.maximum(-up, 0), look(eyeLookDown=1))
    ).astype(np.float32)


def head_sway(rng: np.random.Generator, liveliness: float, frames: int, fps: float) -> np.ndarray:  # [T, 3] radians
    """Slow, aimless motion of the head on the neck."""
    smoothing = HEAD_PERIOD * fps
    margin = int(4 * smoothing)  # the filter settles outside the range that is kept
    noise = gaussian_filter1d(rng.normal(size=(frames + 2 * margin, 3)), smoothing, axis=0)
    noise *= np.sqrt(2 * np.sqrt(np.pi) * smoothing)  # a Gaussian filter shrinks white noise by this
    return (liveliness * HEAD_SPREAD * noise[margin : margin + frames]).astype(np.float32)


def accents(times: np.ndarray, strengths: np.ndarray, frames: int, fps: float) -> np.ndarray:  # [N], [N] -> [T]
    """Bumps at accented syllables."""
    since = (np.arange(frames) / fps)[:, None] - times
    return (np.exp(-0.5 * (since / ACCENT_WIDTH) ** 2) @ strengths).astype(np.float32)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 to 1 with zero slope at both ends."""
    return x * x * (3 - 2 * x)
