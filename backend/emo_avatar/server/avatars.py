"""The avatars that the backend holds, by the SHA-256 of their files: in memory, and in a folder where one is given."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import SUFFIX, load_avatar
from emo_avatar.files import whole_file
from emo_avatar.server.refusals import Refusal, refusal_of
from emo_avatar.server.uploads import safe_title

MAX_BYTES = 2 << 30  # of avatars in memory; the ones used last stay
MAX_FOLDER_BYTES = 4 << 30

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class HeldAvatar:
    """An avatar with its file, and what was worked out for it."""

    id: str
    data: bytes  # the file
    avatar: Avatar
    notes: tuple[str, ...] = ()
    _derived: dict[str, Any] = field(default_factory=dict)
    _locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def derived(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` returns, made once; others who ask meanwhile wait for it."""
        with self._locks[name]:
            if name not in self._derived:
                self._derived[name] = make()
            return self._derived[name]

    @property
    def size(self) -> int:
        """Bytes in memory, roughly: what rigs work out for themselves is as much again."""
        return len(self.data) + 2 * _bytes_of(self.avatar) + _bytes_of(self._derived)

    def description(self) -> dict[str, Any]:
        avatar = self.avatar
        return {
            "id": self.id,
            "name": avatar.name,
            "backbone": avatar.backbone,
            "rig": avatar.rig.kind,
            "gaussians": len(avatar.gaussians),
            "size": len(self.data),
            "framing": {
                "target": [float(x) for x in avatar.framing.target],
                "half_height": float(avatar.framing.half_height),
            },
            "head": avatar.rig.head.name,
            "notes": list(self.notes),
        }


class Avatars:
    """Least recently used ones are forgotten when they are too many; their files can be sent again."""

    def __init__(self, device: torch.device, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.device, self._folder, self._max_bytes = device, folder, max_bytes
        self._held: OrderedDict[str, HeldAvatar] = OrderedDict()
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        with self._lock:
            return list(self._held)

    def get(self, avatar_id: str) -> HeldAvatar:
        """Raises `Refusal` (``unknown_avatar``) when the file must be sent first."""
        with self._lock:
            held = self._held.get(avatar_id)
            if held is not None:
                self._held.move_to_end(avatar_id)
                return held
        held = self._from_folder(avatar_id)
        if held is None:
            raise Refusal("unknown_avatar", "The backend does not hold this avatar any more; it must be sent again.")
        return held

    def add(self, path: Path, notes: tuple[str, ...] = (), expected_id: str | None = None) -> HeldAvatar:
        """Hold the avatar of a file. Raises UserError when it is none, `Refusal` when it is not the expected one."""
        data = path.read_bytes()
        avatar_id = hashlib.sha256(data).hexdigest()
        if expected_id not in (None, avatar_id):
            raise Refusal("bad_request", "The bytes do not have the SHA-256 that they were sent under.")
        with self._lock:
            held = self._held.get(avatar_id)
        if held is None:
            avatar = load_avatar(path).to(self.device)
            avatar = replace(avatar, name=safe_title(avatar.name, "Avatar"))  # strangers write files, too
            held = HeldAvatar(avatar_id, data, avatar, notes)
            self._keep(held)
            self._to_folder(held)
        return held

    def _keep(self, held: HeldAvatar) -> None:
        with self._lock:
            self._held[held.id] = held
            self._held.move_to_end(held.id)
            sizes = {avatar_id: other.size for avatar_id, other in self._held.items()}
            while sum(sizes.values()) > self._max_bytes and len(sizes) > 1:
                oldest = next(iter(sizes))
                _log.info("forgetting avatar %s to save memory", oldest[:8])
                del self._held[oldest], sizes[oldest]

    def _from_folder(self, avatar_id: str) -> HeldAvatar | None:
        if self._folder is None or len(avatar_id) != 64 or not avatar_id.isalnum():
            return None
        path = self._folder / (avatar_id + SUFFIX)
        if not path.is_file():
            return None
        try:
            path.touch()
            return self.add(path, expected_id=avatar_id)
        except Exception as error:  # a damaged file of the cache: as if it were not there
            _log.warning("dropping avatar %s from the folder: %s", avatar_id[:8], refusal_of(error).sentence)
            path.unlink(missing_ok=True)
            return None

    def _to_folder(self, held: HeldAvatar) -> None:
        """A folder that cannot be written costs a warning and no more."""
        if self._folder is None:
            return
        path = self._folder / (held.id + SUFFIX)
        try:
            if not path.is_file():
                with whole_file(path) as temporary:
                    temporary.write_bytes(held.data)
            files = sorted(self._folder.glob("*" + SUFFIX), key=lambda file: file.stat().st_mtime, reverse=True)
            total = 0
            for file in files:
                total += file.stat().st_size
                if total > MAX_FOLDER_BYTES:
                    file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the avatar was not kept in the folder: %s", refusal_of(error).sentence)


def _bytes_of(value: Any) -> int:
    if isinstance(value, np.ndarray | torch.Tensor):
        return int(value.nbytes)
    if isinstance(value, bytes):
        return len(value)
    if is_dataclass(value):
        return sum(_bytes_of(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, tuple | list):
        return sum(map(_bytes_of, value))
    return 0
