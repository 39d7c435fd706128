"""View-dependent colour from real spherical harmonics, in the order and signs of gsplat and 3DGS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emo_avatar.avatar.gaussians import SH_C0
from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.footprint import Number, View
from emo_avatar.render.splat.layout import NOT_DRAWN, SUM_RED
from emo_avatar.render.splat.simd import LANES, Emitter, emitted
from emo_avatar.render.splat.tape import Tape


def sh_basis(direction: Sequence[Number], count: int) -> list[Number]:
    """The basis functions 1 to ``count - 1`` at unit vectors (Sloan, "Efficient spherical harmonic evaluation", 2013).

    Function 0 is the constant ``SH_C0`` and left out.
    """
    x, y, z = direction
    basis = [-0.48860251190292 * y, 0.48860251190292 * z, -0.48860251190292 * x]
    if count > 4:
        zz, cos_2, sin_2 = z * z, x * x - y * y, 2.0 * (x * y)
        slanted = -1.092548430592079 * z
        basis += [0.5462742152960395 * sin_2, slanted * y, 0.9461746957575601 * zz - 0.3153915652525201]
        basis += [slanted * x, 0.5462742152960395 * cos_2]
    if count > 9:
        cos_3, sin_3 = x * cos_2 - y * sin_2, x * sin_2 + y * cos_2
        slanted, steep = -2.285228997322329 * zz + 0.4570457994644658, 1.445305721320277 * z
        basis += [-0.5900435899266435 * sin_3, steep * sin_2, slanted * y]
        basis += [z * (1.865881662950577 * zz - 1.119528997770346), slanted * x, steep * cos_2]
        basis += [-0.5900435899266435 * cos_3]
    return basis[: count - 1]


def _colours(view: View, mean: Sequence[Number], sh: Sequence[Number]) -> list[Number]:
    """Red, green and blue of sixteen Gaussians, possibly negative; ``sh`` has three numbers for each basis function."""
    count = len(sh) // 3
    colours = [SH_C0 * sh[channel] + 0.5 for channel in range(3)]
    if count > 1:
        ray = [m - p for m, p in zip(mean, view.position, strict=True)]
        inverse_length = 1.0 / (ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]).sqrt()
        basis = sh_basis([component * inverse_length for component in ray], count)
        for k, weight in enumerate(basis, 1):
            colours = [colours[channel] + weight * sh[3 * k + channel] for channel in range(3)]
    return colours


def _emitted_shade(count: int) -> Callable:
    @emitted()
    def shade(emit: Emitter, means, sh, view, row, colours):
        mean, coefficients = emit.load_columns(means, row, 3), emit.load_columns(sh, row, 3 * count)
        for channel, colour in enumerate(_colours(View.load(emit, view), mean, coefficients)):
            emit.store(colour, colours, channel * LANES)

    return shade


def _emitted_shade_backward(count: int) -> Callable:
    @emitted()
    def shade_backward(emit: Emitter, means, sh, view, row, sums, keys, by_direction, by_sh):
        tape = Tape()
        mean = [tape.variable(column) for column in emit.load_columns(means, row, 3)]
        coefficients = [tape.variable(column) for column in emit.load_columns(sh, row, 3 * count)]
        by = emit.transposed([emit.load(sums, k * LANES) for k in range(LANES)])
        for channel, colour in enumerate(_colours(View.load(emit, view), mean, coefficients)):
            colour.maximum(0.0).add_adjoint(by[SUM_RED + channel])
        tape.backward()
        for axis, variable in enumerate(mean):
            is_constant = count == 1  # the same from everywhere
            emit.store(emit.constant(0.0) if is_constant else variable.gradient, by_direction, axis * LANES)
        drawn = emit.load(keys, row).bits_differ(int(NOT_DRAWN))
        by_coefficients = [drawn.select(variable.gradient, 0.0) for variable in coefficients]
        emit.store_columns(by_coefficients, by_sh, row, streamed=len(coefficients) % LANES == 0)

    return shade_backward


_shade_1, _shade_4, _shade_9, _shade_16 = (_emitted_shade(count) for count in (1, 4, 9, 16))
_shade_1_backward, _shade_4_backward, _shade_9_backward, _shade_16_backward = (
    _emitted_shade_backward(count) for count in (1, 4, 9, 16)
)


@kernel
def shade(means, sh, view, row, colours):
    """The colours of the sixteen Gaussians from ``row`` on, not yet clamped.

    From ``sh [N, 3 K]`` into ``colours [3, 16]``.
    """
    if sh.shape[1] == 3:
        _shade_1(means, sh, view, row, colours)
    elif sh.shape[1] == 12:
        _shade_4(means, sh, view, row, colours)
    elif sh.shape[1] == 27:
        _shade_9(means, sh, view, row, colours)
    else:
        _shade_16(means, sh, view, row, colours)


@kernel
def shade_backward(means, sh, view, row, sums, keys, by_direction, by_sh):
    """The adjoint of ``shade``, from ``sums [16, 16]`` of these Gaussians.

    It goes to ``by_sh``, which must begin on the border of a cache line, and, for what comes from the means through the
    viewing direction, ``by_direction [3, 16]``.
    """
    if sh.shape[1] == 3:
        _shade_1_backward(means, sh, view, row, sums, keys, by_direction, by_sh)
    elif sh.shape[1] == 12:
        _shade_4_backward(means, sh, view, row, sums, keys, by_direction, by_sh)
    elif sh.shape[1] == 27:
        _shade_9_backward(means, sh, view, row, sums, keys, by_direction, by_sh)
    else:
        _shade_16_backward(means, sh, view, row, sums, keys, by_direction, by_sh)
