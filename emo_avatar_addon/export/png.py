"""PNG pictures, written in any thread."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_LEVEL = 3  # of compression: half the time of zlib's default, a few per cent larger


def write_png(path: Path, rgba: np.ndarray) -> None:  # [H, W, 4] uint8 sRGB, straight alpha
    """Write one picture."""
    height, width = rgba.shape[:2]
    lines = np.zeros((height, 1 + 4 * width), np.uint8)  # each line begins with its filter; 2: differences from above
    lines[:, 0] = 2
    pixels = rgba.reshape(height, -1)
    lines[0, 1:] = pixels[0]
    lines[1:, 1:] = pixels[1:] - pixels[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"sRGB", b"\0"), (b"IDAT", zlib.compress(lines.tobytes(), _LEVEL)), (b"IEND", b""))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def straight(rgba: np.ndarray) -> np.ndarray:  # [H, W, 4] uint8 or float, premultiplied -> [H, W, 4] uint8
    """Colours divided by their alpha."""
    values = rgba.astype(np.float32) / (255 if rgba.dtype == np.uint8 else 1)
    alpha = values[..., 3:]
    np.divide(values[..., :3], alpha, out=values[..., :3], where=alpha > 0)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
