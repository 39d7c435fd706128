import ctypes

import pytest

from emo_avatar.errors import missing_library


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
        OSError("libEGL.so.1: cannot open shared object file: No such file or directory"),
    ],
)
def test_a_missing_system_library_is_named_with_its_remedy(error: Exception) -> None:
    told = missing_library(error)
    assert told is not None and str(error).split(":")[0] in str(told) and "apt install" in str(told)


def test_what_the_loader_says_of_a_library_is_understood() -> None:
    with pytest.raises(OSError) as refused:
        ctypes.CDLL("libNoSuchThing.so.1")
    told = missing_library(refused.value)
    assert told is None or "libNoSuchThing.so.1" in str(told)  # None: other systems say it in other words


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ImportError("none"), ValueError("x.so")])
def test_other_errors_are_none(error: Exception) -> None:
    assert missing_library(error) is None
