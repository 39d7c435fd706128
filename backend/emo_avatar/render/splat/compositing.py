"""The kernels that blend the Gaussians of each tile, front to back, and their adjoint.

A tile's 32 x 32 pixels are 64 blocks of 4 x 4, one vector each, so that 64-bit masks tell which blocks a Gaussian
covers and which are not yet opaque. The adjoint walks front to back as well: knowing the final colour, it subtracts
what has been passed, and so needs nothing of the forward pass but its image.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from emo_avatar.render.splat.compiled import aligned_floats, kernel
from emo_avatar.render.splat.layout import (
    BLUE,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    DEPTH,
    GREEN,
    INVERSE_A,
    LOG2_MIN_ALPHA,
    LOG2_OPACITY,
    MEAN_X,
    MEAN_Y,
    RECORD,
    RED,
    SHEAR,
    SUM_BLUE,
    SUM_DEPTH,
    SUM_GREEN,
    SUM_RED,
    SUM_V,
    SUM_VT,
    SUM_VTX,
    SUM_VTY,
    SUM_VY,
    SUM_VYY,
    TILE,
    TURN_Y,
)
from emo_avatar.render.splat.simd import FLOAT, INT64, LANES, Emitter, Lanes, Mask, Register, emitted, prefetch
from emo_avatar.render.splat.threads import claim
from emo_avatar.render.splat.tiles import tile_number

MAX_ALPHA = 0.999  # gsplat's clamp, which keeps the transmittance above zero
MIN_TRANSMITTANCE = 1e-4  # a pixel is finished before the Gaussian that would take it below
LN_2 = 0.6931471805599453

SIDE = 4  # pixels of a block's side
BLOCKS = TILE // SIDE  # along a tile's side
BLOCK_X = [float(lane % SIDE) for lane in range(LANES)]
BLOCK_Y = [float(lane // SIDE) for lane in range(LANES)]
ALL_BLOCKS = np.uint64(0xFFFFFFFFFFFFFFFF)
BATCH = 32  # Gaussians between two looks at which blocks have become opaque
SMALLEST_ALPHA = 1e-10  # gsplat's, where the expected depth is divided by alpha

# The planes of a block while it is blended: [6, 16] floats. A negative transmittance marks a finished pixel; alpha is
# that of the Gaussian in hand.
TRANSMITTANCE, ALPHA, SUM_R, SUM_G, SUM_B, SUM_Z = range(6)
STATE = 6 * LANES
# The planes in the adjoint. What remains: the part of the loss that lies behind the Gaussians passed so far.
REMAINDER, BY_R, BY_G, BY_B, BY_Z = range(2, 7)
ADJOINT_STATE = 7 * LANES


@kernel
def composite(counter, records, entries, tile_starts, tile_order, tiles_across, background, rgb, alpha, depth):
    """Blend all tiles. Every thread calls this with the same arguments.

    ``background [3]``; results ``rgb [H, W, 3]``, ``alpha [H, W]``, ``depth [H, W]`` (expected depth), H and W being
    multiples of the tile size.
    """
    state = aligned_floats(BLOCKS * BLOCKS * STATE)
    covered = np.empty(BATCH, np.uint64)
    width = alpha.shape[1]
    while True:
        turn = claim(counter)
        if turn >= len(tile_order):
            break
        tile = tile_order[turn]
        row, column = TILE * (tile // tiles_across), TILE * (tile % tiles_across)
        for block in range(BLOCKS * BLOCKS):
            _clear_block(state, block * STATE)
        alive = ALL_BLOCKS
        end = tile_starts[tile + 1]
        for start in range(tile_starts[tile], end, BATCH):
            stop = min(start + BATCH, end)
            _cover(records, entries, start, stop, end, column, row, covered)
            for position in range(start, stop):
                _blend(state, records, entries[position] * RECORD, column, row, covered[position - start] & alive)
            alive = _alive_blocks(state, STATE)
            if alive == 0:
                break
        for block in range(BLOCKS * BLOCKS):
            pixel = _first_pixel(block, column, row, width)
            _write_block(state, block * STATE, background, rgb, alpha, depth, pixel, width)


@kernel
def composite_backward(
    counter, records, spans, entries, first_places, tile_starts, tile_order, tiles_across,
    rgb, alpha, depth, by_rgb, by_alpha, by_depth, sums, places,
):  # fmt: skip
    """The adjoint of ``composite``, from gradients by its results to ``sums [M, 16]``, a row for each entry of a tile.

    ``places [M]`` int32 tells where to find the rows of Gaussian ``i``, from ``first_places[i]`` on. (Written where
    they belong at once, rows scattered over memory take twice as long.)
    """
    state = aligned_floats(BLOCKS * BLOCKS * ADJOINT_STATE)
    covered = np.empty(BATCH, np.uint64)
    width = alpha.shape[1]
    while True:
        turn = claim(counter)
        if turn >= len(tile_order):
            break
        tile = tile_order[turn]
        row, column = TILE * (tile // tiles_across), TILE * (tile % tiles_across)
        for block in range(BLOCKS * BLOCKS):
            pixel = _first_pixel(block, column, row, width)
            _read_block(state, block * ADJOINT_STATE, rgb, alpha, depth, by_rgb, by_alpha, by_depth, pixel, width)
        alive = ALL_BLOCKS
        end = tile_starts[tile + 1]
        for start in range(tile_starts[tile], end, BATCH):
            stop = min(start + BATCH, end)
            _cover(records, entries, start, stop, end, column, row, covered)
            for position in range(start, stop):
                gaussian, blocks = entries[position], covered[position - start] & alive
                _blend_backward(state, records, gaussian * RECORD, column, row, blocks, sums, position * RECORD)
                places[first_places[gaussian] + tile_number(spans, gaussian, column // TILE, row // TILE)] = position
            alive = _alive_blocks(state, ADJOINT_STATE)


@kernel
def _first_pixel(block, column, row, width):
    """The index of a block's first pixel in an image, for a tile that begins at ``column`` and ``row``."""
    return (row + SIDE * (block // BLOCKS)) * width + column + SIDE * (block % BLOCKS)


@kernel
def _cover(records, entries, start, stop, end, column, row, covered):
    """The blocks that a batch of Gaussians covers, found together so that their latencies overlap."""
    for position in range(start, stop):
        prefetch(records, entries[min(position + BATCH, end - 1)] * RECORD)
        covered[position - start] = _covered_blocks(records, entries[position] * RECORD, column, row)


@kernel
def _alive_blocks(state, stride):
    """A bit for each block that has an unfinished pixel."""
    alive = np.uint64(0)
    for block in range(BLOCKS * BLOCKS):
        alive |= np.uint64(_is_alive(state, block * stride)) << np.uint64(block)
    return alive


def _load_record(emit: Emitter, records: ir.Value, index: ir.Value) -> list[Lanes]:
    return [emit.broadcast(emit.load_scalar(emit.offset(records, index), field)) for field in range(TURN_Y + 1)]


def _from_mean(emit: Emitter, record: list[Lanes], column: ir.Value, row: ir.Value) -> tuple[Lanes, Lanes]:
    """The centre of a pixel less the mean."""
    x, y = (emit.broadcast(emit.builder.sitofp(k, FLOAT)) for k in (column, row))
    return x - (record[MEAN_X] - 0.5), y - (record[MEAN_Y] - 0.5)


@emitted(returns=types.uint64)
def _covered_blocks(emit: Emitter, records, index, column, row):
    """The blocks of a tile that the outline of a Gaussian touches.

    For each row of blocks the outline's ends are sought, the left in lanes 0 to 7, the right in lanes 8 to 15.
    """
    record = _load_record(emit, records, index)
    x, y = _from_mean(emit, record, column, row)
    builder = emit.builder
    half = LANES // 2
    side = emit.constant([-1.0] * half + [1.0] * half)
    top = emit.constant([float(SIDE * (k % half)) for k in range(LANES)]) + y
    widest = (side * record[TURN_Y]).maximum(top).minimum(top + (SIDE - 1.0))
    fall = record[CONIC_C] * widest
    room = record[LOG2_OPACITY] - LOG2_MIN_ALPHA - fall * fall
    # In pixels of the tile, the left end negated: then both ends, clamped to the tile, round down
    end = room.maximum(0.0).sqrt() * record[INVERSE_A] - side * (record[SHEAR] * widest + x)
    end = end.maximum(emit.constant([-float(TILE)] * half + [-float(SIDE)] * half))
    end = end.minimum(emit.constant([0.0] * half + [TILE - 1.0] * half))
    whole = builder.sub((end + float(TILE)).truncated, emit.integers(TILE))
    pixel = builder.mul(whole, emit.integers([-1] * half + [1] * half))
    # the first block, and the one after the last
    block = builder.ashr(
        builder.add(pixel, emit.integers([0] * half + [SIDE] * half)), emit.integers(SIDE.bit_length() - 1)
    )
    power = builder.shl(emit.integers(1), block)
    row_is_touched = (room >= 0.0).integers
    low, high = (emit.part(power, start, half) for start in (0, half))
    low_touched, high_touched = (emit.part(row_is_touched, start, half) for start in (0, half))
    bits = builder.and_(builder.sub(high, low), builder.and_(low_touched, high_touched))
    return builder.bitcast(builder.trunc(bits, ir.VectorType(ir.IntType(8), half)), INT64)


@emitted()
def _blend(emit: Emitter, state, records, index, column, row, blocks):
    """Blend the Gaussian whose record is at ``index`` into ``blocks`` of a tile."""
    builder = emit.builder
    record = _load_record(emit, records, index)
    x, y = _from_mean(emit, record, column, row)
    _store_alphas(emit, state, STATE, record, x, y, blocks)
    with emit.each_bit(blocks) as block:
        place = emit.offset(state, builder.mul(block, emit.integer(STATE)))
        transmittance, alpha = (emit.load(place, plane * LANES) for plane in (TRANSMITTANCE, ALPHA))
        weight, left, _ = _absorb(transmittance, alpha)
        emit.store(left, place, TRANSMITTANCE * LANES)
        for plane, field in ((SUM_R, RED), (SUM_G, GREEN), (SUM_B, BLUE), (SUM_Z, DEPTH)):
            emit.store(emit.load(place, plane * LANES) + weight * record[field], place, plane * LANES)


@emitted()
def _blend_backward(emit: Emitter, state, records, index, column, row, blocks, sums, entry):
    """The adjoint of ``_blend``: the sums over the tile's pixels go to ``sums`` at ``entry``."""
    builder = emit.builder
    record = _load_record(emit, records, index)
    x0, y0 = _from_mean(emit, record, column, row)
    _store_alphas(emit, state, ADJOINT_STATE, record, x0, y0, blocks)
    totals = [Register(emit) for _ in range(SUM_DEPTH + 1)]
    with emit.each_bit(blocks) as block:
        x, y, t = _pixels(emit, record, x0, y0, block)
        place = emit.offset(state, builder.mul(block, emit.integer(ADJOINT_STATE)))
        transmittance, alpha, remainder, *by_colour = (emit.load(place, plane * LANES) for plane in range(BY_Z + 1))
        weight, left, goes_on = _absorb(transmittance, alpha)
        emit.store(left, place, TRANSMITTANCE * LANES)
        # d loss / d weight, were it not for what lies behind
        by_weight = record[RED] * by_colour[0] + record[GREEN] * by_colour[1]
        by_weight = by_weight + record[BLUE] * by_colour[2] + record[DEPTH] * by_colour[3]
        behind = remainder - weight * by_weight
        emit.store(behind, place, REMAINDER * LANES)
        by_alpha = transmittance * by_weight - behind / (1.0 - alpha)
        v = (goes_on & (alpha < MAX_ALPHA)).select(by_alpha * alpha * LN_2, 0.0)
        vt = v * t
        for number, term in ((SUM_V, v), (SUM_VT, vt), (SUM_VY, v * y)):
            totals[number].add(term)
        for number, factor, term in ((SUM_VTX, vt, x), (SUM_VTY, vt, y), (SUM_VYY, v * y, y)):
            totals[number].add(factor * term)
        for number, by in zip((SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH), by_colour, strict=True):
            totals[number].add(weight * by)
    emit.store(emit.sums([total.value for total in totals]), sums, entry)


def _store_alphas(
    emit: Emitter, state: ir.Value, stride: int, record: list[Lanes], x: Lanes, y: Lanes, blocks: ir.Value
) -> None:
    """Note the alpha of a Gaussian in its ``blocks``, zero where too faint to be drawn.

    A loop of its own: the exponential is a long chain of steps that wait for each other, and a processor looks ahead
    far enough to work on several blocks at a time only if not much else stands between them.
    """
    with emit.each_bit(blocks) as block:
        _, block_y, t = _pixels(emit, record, x, y, block)
        s = record[CONIC_C] * block_y
        log2_alpha = record[LOG2_OPACITY] - t * t - s * s
        alpha = (log2_alpha >= LOG2_MIN_ALPHA).select(log2_alpha.exp2().minimum(MAX_ALPHA), 0.0)
        place = emit.offset(state, emit.builder.mul(block, emit.integer(stride)))
        emit.store(alpha, place, ALPHA * LANES)


def _pixels(emit: Emitter, record: list[Lanes], x: Lanes, y: Lanes, block: ir.Value) -> tuple[Lanes, Lanes, Lanes]:
    """A block's pixels less the mean, and ``t`` of them, for a tile's first pixel at ``x, y`` from the mean."""
    corners = emit.table([SIDE * k for block in range(BLOCKS * BLOCKS) for k in (block % BLOCKS, block // BLOCKS)])
    place = emit.offset(corners, emit.builder.shl(block, emit.integer(1)))
    block_x, block_y = (emit.broadcast(emit.load_scalar(place, axis)) for axis in range(2))
    x, y = (x + emit.constant(BLOCK_X)) + block_x, (y + emit.constant(BLOCK_Y)) + block_y
    return x, y, record[CONIC_A] * x + record[CONIC_B] * y


def _absorb(transmittance: Lanes, alpha: Lanes) -> tuple[Lanes, Lanes, Mask]:
    """The weight of a contribution, the transmittance behind it, and whether the pixel goes on."""
    weight = alpha * transmittance
    left = transmittance - weight
    goes_on = left > MIN_TRANSMITTANCE
    return goes_on.select(weight, 0.0), goes_on.select(left, -transmittance.absolute()), goes_on


@emitted(returns=types.int64)
def _is_alive(emit: Emitter, state, index):
    return emit.builder.zext((emit.load(state, index) > 0.0).any(), INT64)


@emitted()
def _clear_block(emit: Emitter, state, index):
    place = emit.offset(state, index)
    emit.store(emit.constant(1.0), place, TRANSMITTANCE * LANES)
    for plane in (SUM_R, SUM_G, SUM_B, SUM_Z):
        emit.store(emit.constant(0.0), place, plane * LANES)


@emitted()
def _write_block(emit: Emitter, state, index, background, rgb, alpha, depth, pixel, width):
    """Put a finished block at ``pixel`` of an image of ``width`` pixels."""
    place = emit.offset(state, index)
    transmittance = emit.load(place, TRANSMITTANCE * LANES).absolute()
    opaque = 1.0 - transmittance
    colours = [
        emit.load(place, plane * LANES) + transmittance * emit.broadcast(emit.load_scalar(background, channel))
        for channel, plane in enumerate((SUM_R, SUM_G, SUM_B))
    ]
    weighted_depth = emit.load(place, SUM_Z * LANES)
    _store_image_block(emit, colours, rgb, pixel, width)
    _store_image_block(emit, [opaque], alpha, pixel, width)
    _store_image_block(emit, [weighted_depth / opaque.maximum(SMALLEST_ALPHA)], depth, pixel, width)


@emitted()
def _read_block(emit: Emitter, state, index, rgb, alpha, depth, by_rgb, by_alpha, by_depth, pixel, width):
    """Set a block up for the adjoint."""
    place = emit.offset(state, index)
    colours, by_colours = (_load_image_block(emit, image, 3, pixel, width) for image in (rgb, by_rgb))
    (opaque,), (mean_depth,) = (_load_image_block(emit, image, 1, pixel, width) for image in (alpha, depth))
    (by_opaque,), (by_mean,) = (_load_image_block(emit, image, 1, pixel, width) for image in (by_alpha, by_depth))
    # depth = sum(w z) / alpha
    by_weighted_depth = by_mean / opaque.maximum(SMALLEST_ALPHA)
    by_transmittance = by_weighted_depth * mean_depth - by_opaque
    remainder = (1.0 - opaque) * by_transmittance + mean_depth * by_mean
    for colour, by_colour in zip(colours, by_colours, strict=True):
        remainder = remainder + colour * by_colour
    emit.store(emit.constant(1.0), place, TRANSMITTANCE * LANES)
    for plane, lanes in enumerate([remainder, *by_colours, by_weighted_depth], REMAINDER):
        emit.store(lanes, place, plane * LANES)


def _store_image_block(emit: Emitter, channels: list[Lanes], image: ir.Value, pixel: ir.Value, width: ir.Value) -> None:
    pixels = emit.interleaved(channels)
    run = SIDE * len(channels)
    for k, address in enumerate(_block_rows(emit, image, len(channels), pixel, width)):
        emit.store_vector(emit.part(pixels, k * run, run), address)


def _load_image_block(emit: Emitter, image: ir.Value, channels: int, pixel: ir.Value, width: ir.Value) -> list[Lanes]:
    rows = [emit.load_vector(row, SIDE * channels) for row in _block_rows(emit, image, channels, pixel, width)]
    return emit.deinterleaved(emit.joined([emit.joined(rows[:2]), emit.joined(rows[2:])]))


def _block_rows(emit: Emitter, image: ir.Value, channels: int, pixel: ir.Value, width: ir.Value) -> list[ir.Value]:
    """The addresses of the four rows of a block of an image with interleaved channels."""
    builder = emit.builder
    pixels = [builder.add(pixel, builder.mul(width, emit.integer(k))) for k in range(SIDE)]
    return [emit.offset(image, builder.mul(p, emit.integer(channels))) for p in pixels]
