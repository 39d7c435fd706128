from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from emo_avatar.export.video import exact_rate, write_mp4


def colour_wipe(frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Smooth pictures that differ from frame to frame, so that a swapped channel or frame is seen."""
    y, x = np.mgrid[:height, :width]
    for i in range(frames):
        red = 255 * x / width
        yield np.stack([red, 255 * y / height, np.full_like(red, 255 * i / frames)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("height", "width", "fps"), [(64, 96, 30.0), (63, 95, 24.0), (64, 64, 30000 / 1001)])
def test_video_shows_the_frames(tmp_path: Path, height: int, width: int, fps: float) -> None:
    path = tmp_path / "wipe.mp4"
    reported = []
    write_mp4(path, colour_wipe(12, height, width), fps, 12, lambda fraction, _: reported.append(fraction))
    assert reported[-1] == 1
    with av.open(path) as file:
        stream = file.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-4)
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == Colorspace.ITU709
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(decoded) == 12
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)
    for shown, meant in zip(decoded, colour_wipe(12, height, width), strict=True):
        assert np.abs(shown[:height, :width].astype(int) - meant).mean() < 4


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (24.0, "24"),
        (float(np.float32(24) / np.float32(1.001)), "24000/1001"),  # as Blender keeps it
        (23.976, "24000/1001"),
        (29.97, "30000/1001"),
        (59.94006, "60000/1001"),
        (12.5, "25/2"),
    ],
)
def test_rates_are_those_that_editors_know(fps: float, rate: str) -> None:
    assert exact_rate(fps) == Fraction(rate)


def test_cancelling_leaves_no_file(tmp_path: Path) -> None:
    def cancel(fraction: float, _: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "wipe.mp4", colour_wipe(12, 64, 64), 30, 12, cancel)
    assert not list(tmp_path.iterdir())
