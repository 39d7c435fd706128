"""Reading npz archives that a stranger may have written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from emo_avatar.errors import UserError

MAX_MEMBERS = 1024
NUMBERS_AND_TEXT = "biufU"  # numpy kinds that hold neither pickles nor records


def read_npz(
    path: Path | str,
    *,
    max_bytes: int,
    wanted: Callable[[str], bool] = lambda name: True,
    read_objects: Callable[[BinaryIO, str], Any] | None = None,
) -> dict[str, Any]:
    """The arrays of an npz by name, of at most ``max_bytes`` unpacked; those that are not ``wanted`` are not read.

    Sizes are judged by the archive's directory and the arrays' headers before any memory is reserved, and nothing is
    ever unpickled: the pickle of an array of Python objects is handed to ``read_objects``, given its name for errors,
    or refused.

    Raises:
        UserError: not a readable npz, too large, or an array of Python objects.
    """
    path = Path(path)
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            members = [m for m in members if wanted(m.filename.removesuffix(".npy"))]
            if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > max_bytes:
                raise UserError(f"{path.name} unpacks to more than {max_bytes >> 20} MB; it is too large to be real.")
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    arrays[name] = _read_array(stream, f"{path.name}: {name}", read_objects)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the name.") from error
    except Exception as error:  # each codec of zip fails in its own way: zlib.error, LZMAError, EOFError and more
        raise UserError(f"{path.name} cannot be read as an npz file; it is damaged or of another kind.") from error
    return arrays


def _read_array(stream: IO[bytes], where: str, read_objects: Callable[[BinaryIO, str], Any] | None) -> Any:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    data = stream.read()
    if dtype.hasobject and read_objects is not None:
        return read_objects(io.BytesIO(data), where)
    if dtype.kind not in NUMBERS_AND_TEXT:
        raise UserError(f"{where} holds Python objects; only plain numeric arrays are read.")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data):
        raise ValueError("The header and the data of an array disagree.")
    flat = np.frombuffer(data, dtype)
    array = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), order="C")
