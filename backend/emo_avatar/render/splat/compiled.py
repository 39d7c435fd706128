"""How the kernels are compiled, and where the compiled code is kept between processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import platformdirs
from numba.core.dispatcher import Dispatcher


def _cache_folder() -> Path | None:
    """A folder in the user's cache that is named by the kernels' sources, or None where it cannot be written to.

    Numba by itself keeps the code beside the source, in a folder that an installed package may not write to, and
    notices a change only in the file that defines a kernel, not in those that its code is emitted from.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = platformdirs.user_cache_path("emo-avatar", appauthor=False) / "kernels" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


CACHE_FOLDER = _cache_folder()


def kernel(function: Callable) -> Dispatcher:
    """Compile ``function`` on first use, to run without the interpreter lock.

    The code is kept for later processes; without a folder to keep it in, each of them compiles for itself.
    """
    chosen_by_user = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = chosen_by_user or str(CACHE_FOLDER or "")
    try:
        is_cached = bool(chosen_by_user or CACHE_FOLDER)
        return numba.njit(function, cache=is_cached, nogil=True, error_model="numpy")
    finally:
        numba.config.CACHE_DIR = chosen_by_user


@kernel
def aligned_floats(count):  # [count] float32
    """An empty array on cache-line borders: vectors that straddle them load and store at half speed."""
    floats = np.empty(count + 15, np.float32)
    start = -floats.ctypes.data % 64 // 4
    return floats[start : start + count]
