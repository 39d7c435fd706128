"""How quick the backend is, measured from outside: a real process, spoken to as Blender does."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

from emo_avatar.motion.flame_npz import FRAME_FIELDS
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera

Progress = Callable[[float, str], None]
FRAMES, SIZE = 250, 512
FOV = 20.0  # degrees
PAUSE = 0.02  # seconds between heartbeats


@dataclass(frozen=True)
class Client:
    """One connection to a backend."""

    connection: http.client.HTTPConnection
    token: str

    @classmethod
    def of(cls, first_line: Mapping[str, Any]) -> Client:
        return cls(http.client.HTTPConnection("127.0.0.1", first_line["port"], timeout=600), first_line["token"])

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{path}: {response.status} {answer[:500].decode(errors='replace')}")
        return answer

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:
        return json.loads(self.ask(method, path, body))

    def finish(self, job: str) -> dict[str, Any]:
        while (state := self.json("GET", f"/v1/jobs/{job}"))["state"] in ("waiting", "running"):
            time.sleep(0.05)
        if state["state"] != "done":
            raise RuntimeError(state["error"]["sentence"])
        return dict(state["result"])


@contextmanager
def running_backend(*options: str) -> Iterator[dict[str, Any]]:
    """The first line of a backend that ends with the block."""
    command = [sys.executable, "-m", "emo_avatar", "serve", *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def time_backend(photo: bytes, device: str, repeats: int, progress: Progress) -> dict[str, object]:
    """Milliseconds of what an artist waits for, and of heartbeats while an avatar is built."""
    start = time.perf_counter()
    with running_backend("--device", device) as first_line:
        first = time.perf_counter() - start
        client = Client.of(first_line)
        while not (status := client.json("GET", "/v1/status"))["ready"]:
            time.sleep(0.02)
        ready = time.perf_counter() - start
        progress(0.1, "building while it is asked")
        beats: list[float] = []
        building = threading.Event()
        building.set()
        listener = threading.Thread(target=_beat, args=(Client.of(first_line), building, beats))
        listener.start()
        begun = time.perf_counter()
        avatar = client.finish(client.json("POST", "/v1/jobs/portrait?name=bench", photo)["job"])
        build = time.perf_counter() - begun
        building.clear()
        listener.join()
        progress(0.8, "emotions and pictures")
        emotions = _times(lambda _: client.ask("POST", "/v1/emotions", _drive(avatar["id"])), repeats)
        moving = _times(lambda i: client.ask("POST", "/v1/render", _view(avatar, 0.0, i * 1e-4)), repeats)
        orbiting = _times(lambda i: client.ask("POST", "/v1/render", _view(avatar, float(i), 0.0)), repeats)
        memory = client.json("GET", "/v1/status")["memory_mb"]
    return {
        "first_line_s": first,
        "ready_s": ready,
        "build_s": build,
        "heartbeat_during_build_ms": _summary(beats),
        f"emotions_{FRAMES}_frames_ms": _summary(emotions),
        f"render_{SIZE}_uint8_new_pose_ms": _summary(moving),
        f"render_{SIZE}_uint8_same_pose_ms": _summary(orbiting),
        "gaussians": avatar["gaussians"],
        "memory_mb": memory,
        "device": status["device"]["name"],
    }


def _beat(client: Client, building: threading.Event, beats: list[float]) -> None:
    while building.is_set():
        start = time.perf_counter()
        client.ask("GET", "/v1/status")
        beats.append(time.perf_counter() - start)
        time.sleep(PAUSE)


def _times(ask: Callable[[int], object], repeats: int) -> list[float]:
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        ask(i)
        times.append(time.perf_counter() - start)
    return times[2:]


def _summary(times: list[float]) -> dict[str, float]:
    ms = [1e3 * t for t in times]
    return {"best": round(min(ms), 1), "median": round(statistics.median(ms), 1), "worst": round(max(ms), 1)}


def _drive(avatar: str) -> bytes:
    arrays: dict[str, np.ndarray] = {
        "weights": np.random.default_rng(0).random((FRAMES, len(EMOTIONS)), np.float32) / 2,
        "expression": np.zeros((FRAMES, 100), np.float32),
        "jaw_pose": np.zeros((FRAMES, 3), np.float32),
    }
    return safetensors.numpy.save(arrays, metadata={"json": json.dumps({"fps": 24.0, "avatar": avatar})})


def _view(avatar: Mapping[str, Any], yaw: float, jaw: float) -> bytes:
    framing = avatar["framing"]
    distance = framing["half_height"] / np.tan(np.radians(FOV) / 2)
    camera = Camera.orbit(np.array(framing["target"]), distance, yaw=yaw, fov=FOV, size=SIZE)
    arrays: dict[str, np.ndarray] = {f"0.{name}": np.zeros(width, np.float32) for name, width in FRAME_FIELDS.items()}
    arrays["0.jaw_pose"] = np.array([jaw, 0, 0], np.float32)
    arrays |= {"0.world": np.eye(4, dtype=np.float32), "viewmat": camera.viewmat, "K": camera.K}
    document = {"width": SIZE, "height": SIZE, "avatars": [avatar["id"]], "format": "uint8", "depth": False}
    return safetensors.numpy.save(arrays, metadata={"json": json.dumps(document)})
