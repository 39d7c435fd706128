"""Which Gaussians lie in which tile of the image, front to back."""

from __future__ import annotations

import numpy as np

from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.layout import NOT_DRAWN, SPAN_BITS, SPAN_MASK
from emo_avatar.render.splat.threads import claim

DIGIT_BITS = 11  # of the radix sort: 2048 counters stay in the first cache
PARTS = 16  # pieces of the depth order that threads claim when they bin


@kernel
def tile_count(spans, gaussian):
    """How many tiles a Gaussian touches."""
    _, right, _, below = _span(spans, gaussian)
    return (right + 1) * (below + 1)


@kernel
def tile_number(spans, gaussian, tile_x, tile_y):
    """The place of a tile among those that a Gaussian touches."""
    x, right, y, _ = _span(spans, gaussian)
    return (tile_y - y) * (right + 1) + tile_x - x


@kernel
def first_places(keys, spans):
    """Where the tiles of each Gaussian begin in a list of all pairs of Gaussian and tile. [N] int32"""
    places = np.empty(len(keys), np.int32)
    total = np.int32(0)
    for gaussian in range(len(keys)):
        places[gaussian] = total
        if keys[gaussian] != NOT_DRAWN:
            total += tile_count(spans, gaussian)
    return places


@kernel
def order_by_depth(keys):
    """Indices of the drawn Gaussians, front to back; equal depths keep their order. [n] int32

    A radix sort on the bits of the depths (which order as the depths do, being positive), less the smallest of them:
    on a head two passes do.
    """
    count = len(keys)
    pairs = np.empty(count, np.uint64)  # key << 32 | index
    smallest, greatest = np.uint32(0xFFFFFFFF), np.uint32(0)
    n = 0
    for index in range(count):
        key = keys[index]
        if key != NOT_DRAWN:
            pairs[n] = (np.uint64(key) << np.uint64(32)) | np.uint64(index)
            n += 1
            smallest, greatest = min(smallest, key), max(greatest, key)
    spread = np.uint64(greatest) - np.uint64(smallest) if n else np.uint64(0)
    base = np.uint64(smallest) << np.uint64(32)
    digits = np.uint64((1 << DIGIT_BITS) - 1)
    other = np.empty(n, np.uint64)
    pairs = pairs[:n]
    for i in range(n):
        pairs[i] -= base
    shift = np.uint64(32)
    while spread > 0:
        starts = np.zeros((1 << DIGIT_BITS) + 1, np.int64)
        for i in range(n):
            starts[((pairs[i] >> shift) & digits) + np.uint64(1)] += 1
        for digit in range(1 << DIGIT_BITS):
            starts[digit + 1] += starts[digit]
        for i in range(n):
            digit = (pairs[i] >> shift) & digits
            other[starts[digit]] = pairs[i]
            starts[digit] += 1
        pairs, other = other, pairs
        shift += np.uint64(DIGIT_BITS)
        spread >>= np.uint64(DIGIT_BITS)
    order = np.empty(n, np.int32)
    for i in range(n):
        order[i] = np.int32(pairs[i] & np.uint64(0xFFFFFFFF))
    return order


@kernel
def count_entries(counter, order, spans, tiles_across, counts, ordered_spans):
    """How many Gaussians of each part of the order touch each tile: ``counts [PARTS, tiles]`` int32, zero before.

    Every thread calls this with the same arguments.
    """
    while True:
        part = claim(counter)
        if part >= PARTS:
            break
        for position in range(_first(part, len(order)), _first(part + 1, len(order))):
            gaussian = order[position]
            ordered_spans[position, 0], ordered_spans[position, 1] = spans[gaussian, 0], spans[gaussian, 1]
            x, right, y, below = _span(spans, gaussian)
            tile = y * tiles_across + x
            if right <= 1 and below <= 1:  # nearly all: straight code, since the numbers are hard to predict
                counts[part, tile] += 1
                counts[part, tile + right] += right
                counts[part, tile + below * tiles_across] += below
                counts[part, tile + below * tiles_across + right] += right & below
            else:
                for row in range(below + 1):
                    for column in range(right + 1):
                        counts[part, tile + row * tiles_across + column] += 1


@kernel
def entry_offsets(counts):
    """Turn counts into the places where each part of each tile's list begins.

    Returns where each tile's list begins among all entries, and their number: [tiles + 1] int32.
    """
    parts, tiles = counts.shape
    tile_starts = np.zeros(tiles + 1, np.int32)
    total = np.int32(0)
    for tile in range(tiles):
        tile_starts[tile] = total
        for part in range(parts):
            count = counts[part, tile]
            counts[part, tile] = total
            total += count
    tile_starts[tiles] = total
    return tile_starts


@kernel
def fill_entries(counter, order, ordered_spans, tiles_across, next_places, entries):
    """Write each tile's Gaussians into ``entries [M]`` int32, front to back.

    ``next_places`` are the counts after ``entry_offsets``. Every thread calls this with the same arguments.
    """
    while True:
        part = claim(counter)
        if part >= PARTS:
            break
        for position in range(_first(part, len(order)), _first(part + 1, len(order))):
            gaussian = order[position]
            x, right, y, below = _span(ordered_spans, position)
            tile = y * tiles_across + x
            if right <= 1 and below <= 1:
                _append(entries, next_places[part], tile, gaussian, 1)
                _append(entries, next_places[part], tile + right, gaussian, right)
                _append(entries, next_places[part], tile + below * tiles_across, gaussian, below)
                _append(entries, next_places[part], tile + below * tiles_across + right, gaussian, right & below)
            else:
                for row in range(below + 1):
                    for column in range(right + 1):
                        _append(entries, next_places[part], tile + row * tiles_across + column, gaussian, 1)


@kernel
def _append(entries, next_places, tile, gaussian, count):
    """Write a Gaussian to a tile's list if ``count`` is 1; if 0, without a branch, to the spare last entry."""
    place = next_places[tile]
    entries[place if count else len(entries) - 1] = gaussian
    next_places[tile] = place + count


@kernel
def _span(spans, gaussian):
    """The first tile along x and how many follow it, and likewise along y."""
    across, down = spans[gaussian, 0], spans[gaussian, 1]
    x, y = across & SPAN_MASK, down & SPAN_MASK
    return x, (across >> SPAN_BITS) - x, y, (down >> SPAN_BITS) - y


@kernel
def _first(part, count):
    return count * part // PARTS
