"""The kernels that take every Gaussian to its record in the image, and gradients the way back."""

from __future__ import annotations

from emo_avatar.render.splat.compiled import aligned_floats, kernel
from emo_avatar.render.splat.footprint import HALF_LOG2_E, View, project
from emo_avatar.render.splat.harmonics import shade, shade_backward
from emo_avatar.render.splat.layout import (
    LOG2_MIN_ALPHA,
    MIN_ALPHA,
    NOT_DRAWN,
    RECORD,
    SPAN_BITS,
    SUM_DEPTH,
    SUM_V,
    SUM_VT,
    SUM_VTX,
    SUM_VTY,
    SUM_VY,
    SUM_VYY,
    TILE,
)
from emo_avatar.render.splat.simd import INT64, LANES, Emitter, Lanes, Register, emitted, prefetch
from emo_avatar.render.splat.tape import Tape
from emo_avatar.render.splat.threads import claim
from emo_avatar.render.splat.tiles import tile_count

NEAR = 0.01  # metres; what is nearer is not drawn
AHEAD = 2 * LANES  # Gaussians whose harmonics and sums are fetched into the cache in advance
FLOATS_OF_A_LINE = 16  # of the cache
CHUNK = 64  # blocks of sixteen Gaussians that a thread claims at a time


@kernel
def project_all(counter, means, quats, scales, opacities, sh, view, records, keys, spans):
    """Project all Gaussians, a multiple of sixteen. Every thread calls this with the same arguments.

    ``means [N, 3]``, ``quats [N, 4]``, ``scales [N, 3]``, ``opacities [N, 1]`` and ``sh [N, 3 K]`` are float32; the
    results are described in ``layout``.
    """
    blocks = len(means) // LANES
    colours = aligned_floats(3 * LANES)
    while True:
        start = claim(counter) * CHUNK
        if start >= blocks:
            break
        for row in range(start * LANES, min(start + CHUNK, blocks) * LANES, LANES):
            _fetch_rows(sh, row + AHEAD)
            shade(means, sh, view, row, colours)
            _project_lanes(means, quats, scales, opacities, view, colours, row, records, keys, spans)


@kernel
def project_all_backward(
    counter, means, quats, scales, opacities, sh, view, keys, spans, first_places, places, sums,
    by_means, by_quats, by_scales, by_opacities, by_sh,
):  # fmt: skip
    """The adjoint of ``project_all``.

    ``sums [M, 16]`` has a row for every tile of every drawn Gaussian; ``places [M]`` lists those of Gaussian ``i`` from
    ``first_places[i]`` on.
    """
    blocks = len(means) // LANES
    totals = aligned_floats(LANES * RECORD)
    by_direction = aligned_floats(3 * LANES)
    while True:
        start = claim(counter) * CHUNK
        if start >= blocks:
            break
        for row in range(start * LANES, min(start + CHUNK, blocks) * LANES, LANES):
            _fetch_rows(sh, row + AHEAD)
            soon, later = min(row + AHEAD, len(keys) - 1), min(row + AHEAD + LANES, len(keys) - 1)
            for k in range(first_places[soon], first_places[later]):
                prefetch(sums, places[k] * RECORD)
            for lane in range(LANES):
                tiles = 0 if keys[row + lane] == NOT_DRAWN else tile_count(spans, row + lane)
                _sum_rows(sums, places, first_places[row + lane], tiles, totals, lane * RECORD)
            shade_backward(means, sh, view, row, totals, keys, by_direction, by_sh)
            _project_lanes_backward(
                means, quats, scales, opacities, view, row, totals, keys, by_direction,
                by_means, by_quats, by_scales, by_opacities,
            )  # fmt: skip


@kernel
def _fetch_rows(matrix, row):
    """Fetch sixteen rows into the cache, if they exist."""
    if row < len(matrix):
        width = matrix.shape[1]
        for index in range(row * width, (row + LANES) * width, FLOATS_OF_A_LINE):
            prefetch(matrix, index)


@emitted()
def _sum_rows(emit: Emitter, matrix, rows, first, count, total, index):
    """Add the ``count`` rows of sixteen floats that ``rows`` lists from ``first`` on."""
    sum_of_rows = Register(emit)
    with emit.each_number(count) as k:
        row = emit.builder.sext(emit.load_scalar(rows, emit.builder.add(first, k)), INT64)
        sum_of_rows.add(emit.load(matrix, emit.builder.mul(row, emit.integer(RECORD))))
    emit.store(sum_of_rows.value, total, index)


@emitted()
def _project_lanes(emit: Emitter, means, quats, scales, opacities, view, colours, row, records, keys, spans):
    """Project the sixteen Gaussians from ``row`` on, with ``colours [3, 16]``."""
    camera = View.load(emit, view)
    opacity = emit.load(opacities, row)
    mean, quat, scale = (emit.load_columns(array, row, width) for array, width in ((means, 3), (quats, 4), (scales, 3)))
    footprint = project(camera, mean, quat, scale, opacity)
    a, b, c = footprint.conic
    # The outline alpha = 1/255 is the ellipse (a dx + b dy)^2 + (c dy)^2 = reach, rightmost at dy = turn_y
    reach = footprint.log2_opacity - LOG2_MIN_ALPHA
    turn_y = -(b * reach.sqrt()) / (c * (b * b + c * c).sqrt())
    fields = [*footprint.mean, a, b, c, footprint.log2_opacity]
    colour = [emit.load(colours, channel * LANES) for channel in range(3)]
    fields += [channel.maximum(0.0) for channel in colour]
    fields += [footprint.depth, 1.0 / a, b / a, turn_y]

    drawn = (footprint.depth >= NEAR) & (opacity >= MIN_ALPHA)
    for number in (*fields, *colour, opacity):
        drawn = drawn & number.finite()
    tiles = []
    for centre, variance, last in zip(footprint.mean, footprint.variance, camera.last_pixel, strict=True):
        radius = (reach * variance * (1.0 / HALF_LOG2_E)).sqrt()
        low = (centre - radius - 0.5).maximum(0.0)  # pixels, counted by their centres
        high = (centre + radius - 0.5).minimum(last)
        drawn = drawn & (low <= high)
        tiles.append(_tile_span(emit, low.minimum(last), high.maximum(0.0)))

    unused = [emit.constant(0.0)] * (RECORD - len(fields))
    emit.store_columns(fields + unused, records, row)
    emit.store_columns(tiles, spans, row)
    key = emit.builder.select(drawn.value, footprint.depth.bits, emit.integers(int(NOT_DRAWN)))
    emit.store_integers(key, keys, row)


def _tile_span(emit: Emitter, low: Lanes, high: Lanes) -> Lanes:
    builder = emit.builder
    shift = emit.integers(TILE.bit_length() - 1)
    first, last = (builder.lshr(pixel.truncated, shift) for pixel in (low, high))
    return emit.as_lanes(builder.or_(first, builder.shl(last, emit.integers(SPAN_BITS))))


@emitted()
def _project_lanes_backward(
    emit: Emitter, means, quats, scales, opacities, view, row, sums, keys, by_direction,
    by_means, by_quats, by_scales, by_opacities,
):  # fmt: skip
    """The adjoint of ``_project_lanes``, from ``sums [16, 16]``; zero for what is not drawn.

    ``by_direction [3, 16]`` is the part of the gradient by the means that came through the colours.
    """
    tape = Tape()
    inputs = [
        [tape.variable(column) for column in emit.load_columns(array, row, width)]
        for array, width in ((means, 3), (quats, 4), (scales, 3), (opacities, 1))
    ]
    mean, quat, scale, (opacity,) = inputs
    footprint = project(View.load(emit, view), mean, quat, scale, opacity)
    a, b, c = footprint.conic
    by = emit.transposed([emit.load(sums, k * RECORD) for k in range(LANES)])
    footprint.log2_opacity.add_adjoint(by[SUM_V])
    footprint.mean[0].add_adjoint(2.0 * a.value * by[SUM_VT])
    footprint.mean[1].add_adjoint(2.0 * (b.value * by[SUM_VT] + c.value * c.value * by[SUM_VY]))
    a.add_adjoint(-2.0 * by[SUM_VTX])
    b.add_adjoint(-2.0 * by[SUM_VTY])
    c.add_adjoint(-2.0 * c.value * by[SUM_VYY])
    footprint.depth.add_adjoint(by[SUM_DEPTH])
    tape.backward()
    for axis in range(3):
        mean[axis].add_adjoint(emit.load(by_direction, axis * LANES))
    drawn = emit.load(keys, row).bits_differ(int(NOT_DRAWN))
    for variables, output in zip(inputs, (by_means, by_quats, by_scales, by_opacities), strict=True):
        emit.store_columns([drawn.select(v.gradient, 0.0) for v in variables], output, row)
