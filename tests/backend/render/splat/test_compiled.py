"""Where compiled kernels are kept."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from emo_avatar.render.splat import compiled


def test_kernels_are_kept_in_the_users_cache_under_the_hash_of_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    folder = compiled._cache_folder()
    assert folder is not None and folder.is_dir() and folder.parent == tmp_path / "kernels"
    assert folder == compiled._cache_folder()


def test_without_a_writable_cache_kernels_still_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "file")
    assert compiled._cache_folder() is None
    monkeypatch.setattr(compiled, "CACHE_FOLDER", None)
    before = numba.config.CACHE_DIR
    assert compiled.kernel(lambda x: x + 1)(2) == 3
    assert before == numba.config.CACHE_DIR
