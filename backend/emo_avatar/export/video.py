"""MP4 video through PyAV's FFmpeg."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from emo_avatar.export.pictures import Progress
from emo_avatar.files import whole_file

# H.264 where FFmpeg was built with it, else MPEG-4 part 2: the first plays everywhere, the second nearly so.
CODECS = (("libx264", {"crf": "18", "preset": "medium"}), ("mpeg4", {"qscale": "3"}))
BT709 = 1  # the number of these primaries and this transfer curve in ITU-T H.273
MAX_FPS_DENOMINATOR = 1001
RATE_TOLERANCE = 1e-5  # relative, of 23.976 and its kin: 24 / 1.001 has lost some digits on the way here as a float


def write_mp4(path: Path | str, frames: Iterable[np.ndarray], fps: float, total: int, progress: Progress) -> None:
    """Encode frames [H, W, 3] uint8 as H.264, yuv420p, BT.709, with the index in front so that browsers start at once.

    An odd width or height, which yuv420p cannot have, gets its last row or column repeated. A failure or Ctrl-C leaves
    no file.
    """
    codec, options = next((name, options) for name, options in CODECS if _encodes(name))
    with (
        whole_file(path) as temporary,
        av.open(temporary, "w", format="mp4", options={"movflags": "faststart"}) as file,
    ):
        stream = None
        for number, frame in enumerate(frames, 1):
            frame = _even(frame)
            if stream is None:
                stream = file.add_stream(codec, rate=exact_rate(fps), options=options)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.colorspace = Colorspace.ITU709
                stream.codec_context.color_primaries = BT709
                stream.codec_context.color_trc = BT709
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            file.mux(stream.encode(rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
            progress(number / total, f"frame {number} of {total}")
        if stream is None:
            raise ValueError("a video needs at least one frame")
        file.mux(stream.encode())


def exact_rate(fps: float) -> Fraction:
    """The rate as editors know it: 24, or 24000/1001 for what is close to it, or else the nearest fraction."""
    for rate in (Fraction(round(fps)), Fraction(round(fps * 1.001) * 1000, 1001)):
        if abs(rate - fps) < RATE_TOLERANCE * fps:
            return rate
    return Fraction(fps).limit_denominator(MAX_FPS_DENOMINATOR)


def _encodes(name: str) -> bool:
    try:
        return av.codec.Codec(name, "w").is_encoder
    except av.codec.codec.UnknownCodecError:
        return False


def _even(frame: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [H', W', 3]
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
