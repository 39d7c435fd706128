"""What is answered when a request cannot be granted: a code for the client, one sentence for the user."""

from __future__ import annotations

import errno
import logging
import traceback
from typing import Any

from emo_avatar.errors import UserError, missing_library
from emo_avatar.server.log import masked

_log = logging.getLogger(__name__)

_STATUS = {
    "bad_input": 400,
    "token": 401,
    "host": 403,
    "unknown_avatar": 404,
    "unknown_job": 404,
    "unknown_route": 404,
    "unknown_protocol": 404,
    "method": 405,
    "not_ready": 409,
    "too_large": 413,
    "bad_request": 422,
    "busy": 429,
    "cancelled": 499,
    "internal": 500,
    "no_space": 507,
    "no_memory": 507,
}
_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


class Refusal(Exception):
    """A request that is not granted, and why."""

    def __init__(self, code: str, sentence: str, report: str | None = None) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.report = code, sentence, report

    @property
    def status(self) -> int:
        return _STATUS[self.code]

    @property
    def error(self) -> dict[str, str]:
        """As it stands in a job; an answer wraps it as ``{"error": ...}``."""
        report = {} if self.report is None else {"report": self.report}
        return {"code": self.code, "sentence": self.sentence, **report}

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.error}


def refusal_of(error: BaseException) -> Refusal:
    """Any exception as what the client is told; what is a defect of the program is logged with its traceback."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UserError):
        return Refusal("bad_input", masked(str(error)))
    if missing := missing_library(error):
        return Refusal("internal", str(missing))
    if isinstance(error, ModuleNotFoundError):
        return Refusal("internal", f"The backend's package {error.name} is missing: set the backend up again.")
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return Refusal("no_memory", "The computer has not enough memory left for this; close other programs and retry.")
    if isinstance(error, OSError) and error.errno in _FULL:
        return Refusal("no_space", "The backend's disk is full; free some space there and try again.")
    report = masked("".join(traceback.format_exception(error)))
    _log.error("%s", report)
    what = type(error).__name__ if not str(error) else f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return Refusal("internal", masked(f"The backend failed in a way that it should not ({what})."), report)


def _is_torch_out_of_memory(error: BaseException) -> bool:
    """PyTorch says so by a RuntimeError on the CPU, and by a subclass of it on a GPU."""
    text = str(error)
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text)
