"""The one exception that is meant for the user's eyes."""

from __future__ import annotations

import re


class UserError(Exception):
    """One clear sentence: what is wrong with the input, and what to do about it."""


def missing_library(error: BaseException) -> UserError | None:
    """What a user should be told when a library of the system could not be loaded; None for any other error.

    Compiled packages (MediaPipe, OpenCV) load the system's graphics libraries, which a machine without a desktop may
    not have: an ImportError, or an OSError without a file name, whose text begins with the library's.
    """
    if not isinstance(error, (ImportError, OSError)):
        return None
    library = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", str(error))
    if library is None:
        return None
    return UserError(
        f"The system library {library[1]} is missing; on Debian and Ubuntu, "
        "`sudo apt install libgl1 libegl1 libgles2 libglib2.0-0` installs what is needed."
    )
