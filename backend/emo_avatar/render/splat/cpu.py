"""Rendering and its adjoint on the CPU, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.splat import compositing, projection, tiles
from emo_avatar.render.splat.footprint import view_numbers
from emo_avatar.render.splat.layout import RECORD, TILE
from emo_avatar.render.splat.simd import LANES
from emo_avatar.render.splat.threads import share_out


@dataclass(frozen=True)
class Arrays:
    """Gaussians as contiguous float32 arrays; also gradients by them."""

    means: np.ndarray  # [N, 3]
    quats: np.ndarray  # [N, 4]
    scales: np.ndarray  # [N, 3]
    opacities: np.ndarray  # [N, 1]
    sh: np.ndarray  # [N, 3 K], K in {1, 4, 9, 16}

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.means, self.quats, self.scales, self.opacities, self.sh))

    def __len__(self) -> int:
        return len(self.means)


@dataclass(frozen=True)
class Frame:
    """A rendered image, and what its adjoint needs."""

    rgb: np.ndarray  # [H', W', 3] with H' and W' rounded up to whole tiles
    alpha: np.ndarray  # [H', W']
    depth: np.ndarray  # [H', W']
    view: np.ndarray  # [25], see ``footprint``
    records: np.ndarray  # [N', 16] with N' rounded up to whole vectors; see ``layout``
    keys: np.ndarray  # [N'] uint32
    spans: np.ndarray  # [N', 2] int32
    entries: np.ndarray  # [M + 1] int32, the Gaussians of every tile, front to back, and a spare
    tile_starts: np.ndarray  # [tiles + 1] int32, into the entries
    busiest_first: np.ndarray  # [tiles] int32


def render(gaussians: Arrays, camera: Camera, background: np.ndarray, threads: int) -> Frame:  # background [3] float32
    rows = _round_up(len(gaussians), LANES)
    height, width = (_round_up(size, TILE) for size in (camera.height, camera.width))
    tiles_across = width // TILE
    view = view_numbers(camera)
    records = _aligned(rows, RECORD)
    keys, spans = np.empty(rows, np.uint32), np.empty((rows, 2), np.int32)
    for part, vectors in _whole_vectors(gaussians):
        share_out(projection.project_all, *vectors, view, records[part], keys[part], spans[part], threads=threads)

    order = tiles.order_by_depth(keys)
    counts = np.zeros((tiles.PARTS, tiles_across * (height // TILE)), np.int32)
    ordered_spans = np.empty((len(order), 2), np.int32)
    share_out(tiles.count_entries, order, spans, tiles_across, counts, ordered_spans, threads=threads)
    tile_starts = tiles.entry_offsets(counts)
    entries = np.empty(tile_starts[-1] + 1, np.int32)
    share_out(tiles.fill_entries, order, ordered_spans, tiles_across, counts, entries, threads=threads)
    busiest_first = np.argsort(-np.diff(tile_starts)).astype(np.int32)

    rgb = np.empty((height, width, 3), np.float32)
    alpha, depth = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    lists = (records, entries, tile_starts, busiest_first, tiles_across)
    share_out(compositing.composite, *lists, background, rgb, alpha, depth, threads=threads)
    return Frame(rgb, alpha, depth, view, records, keys, spans, entries, tile_starts, busiest_first)


def render_backward(
    frame: Frame,
    gaussians: Arrays,
    by_rgb: np.ndarray,  # [H', W', 3] gradients by the frame's images, zero outside the camera's image
    by_alpha: np.ndarray,  # [H', W']
    by_depth: np.ndarray,  # [H', W']
    threads: int,
) -> Arrays:
    """The gradients by the Gaussians; zero for those that are not drawn."""
    first_places = tiles.first_places(frame.keys, frame.spans)
    sums, places = _aligned(len(frame.entries), RECORD), np.empty(len(frame.entries), np.int32)
    share_out(
        compositing.composite_backward, frame.records, frame.spans, frame.entries, first_places,
        frame.tile_starts, frame.busiest_first, frame.alpha.shape[1] // TILE,
        frame.rgb, frame.alpha, frame.depth, by_rgb, by_alpha, by_depth, sums, places,
        threads=threads,
    )  # fmt: skip
    gradients = [_aligned(len(frame.keys), array.shape[1]) for array in gaussians]
    for part, vectors in _whole_vectors(gaussians):
        share_out(
            projection.project_all_backward, *vectors, frame.view, frame.keys[part], frame.spans[part],
            first_places[part], places, sums, *(gradient[part] for gradient in gradients),
            threads=threads,
        )  # fmt: skip
    return Arrays(*(gradient[: len(gaussians)] for gradient in gradients))


def _whole_vectors(gaussians: Arrays) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """The Gaussians in multiples of sixteen: most as they lie, and the last few followed by zeros."""
    whole = len(gaussians) // LANES * LANES
    if whole:
        yield slice(0, whole), [array[:whole] for array in gaussians]
    rest = len(gaussians) - whole
    if rest:
        yield slice(whole, whole + LANES), [np.pad(array[whole:], ((0, LANES - rest), (0, 0))) for array in gaussians]


def _round_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _aligned(rows: int, columns: int) -> np.ndarray:  # [rows, columns] float32 from the border of a cache line on
    floats = np.empty(rows * columns + 15, np.float32)
    start = -floats.ctypes.data % 64 // 4
    return floats[start : start + rows * columns].reshape(rows, columns)
