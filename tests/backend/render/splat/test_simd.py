"""Vector code that is emitted into Numba functions, against NumPy and PyTorch."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import types

from emo_avatar.render.splat.simd import LANES, Emitter, emitted
from emo_avatar.render.splat.tape import Tape


@emitted()
def _elementary(emit: Emitter, x, powers, logarithms):
    emit.store(emit.load(x).exp2(), powers)
    emit.store(emit.load(x).log2(), logarithms)


@emitted()
def _transpose_and_sum(emit: Emitter, matrix, transposed, sums):
    rows = [emit.load(matrix, k * LANES) for k in range(LANES)]
    for k, row in enumerate(emit.transposed(rows)):
        emit.store(row, transposed, k * LANES)
    emit.store(emit.sums(rows[:11]), sums)


def _copy_columns(width: int):
    @emitted()
    def copy(emit: Emitter, matrix, row, columns, copied):
        loaded = emit.load_columns(matrix, row, width)
        for k, column in enumerate(loaded):
            emit.store(column, columns, k * LANES)
        emit.store_columns(loaded, copied, row)

    return copy


@emitted(returns=types.int64)
def _sum_of_positions(emit: Emitter, bits):
    total = emit.builder.alloca(emit.integer(0).type)
    emit.builder.store(emit.integer(0), total)
    with emit.each_bit(bits) as position:
        emit.builder.store(emit.builder.add(emit.builder.load(total), position), total)
    return emit.builder.load(total)


@emitted()
def _differentiate(emit: Emitter, x, y, value, by_x, by_y):
    """A formula with every operation that the tape knows."""
    tape = Tape()
    a, b = tape.variable(emit.load(x)), tape.variable(emit.load(y))
    result = (2.0 - a) * b / (a * a + 1.0) - (b * b + 0.5).sqrt() + (a - b).minimum(0.3) * (-b).maximum(-0.2)
    result = 1.0 / (result + 9.0) + (a * a + 1.0).log2() - 1.5
    emit.store(result.value, value)
    result.add_adjoint(emit.constant(1.0))
    tape.backward()
    emit.store(a.adjoint, by_x)
    emit.store(b.adjoint, by_y)


def compiled(function):
    """A Numba function that passes its arguments on to an emitted one."""
    names = [f"a{k}" for k in range(len(function._defn.__signature__.parameters) - 1)]
    namespace = {"function": function}
    exec(f"def call({', '.join(names)}): return function({', '.join(names)})", namespace)
    return numba.njit(namespace["call"])


elementary, transpose_and_sum = compiled(_elementary), compiled(_transpose_and_sum)
sum_of_positions, differentiate = compiled(_sum_of_positions), compiled(_differentiate)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(-120, 120, width=32), min_size=LANES, max_size=LANES))
def test_exp2_and_log2_are_accurate(values: list[float]) -> None:
    x = np.array(values, np.float32)
    powers, logarithms = np.empty_like(x), np.empty_like(x)
    elementary(x, powers, logarithms)
    np.testing.assert_allclose(powers, np.exp2(x.astype(float)), rtol=4e-7)
    elementary(powers, np.empty_like(x), logarithms)
    np.testing.assert_allclose(logarithms, np.log2(powers.astype(float)), rtol=2e-7, atol=2e-7)


def test_transposed_and_sums() -> None:
    matrix = np.random.default_rng(0).normal(size=(LANES, LANES)).astype(np.float32)
    transposed, sums = np.empty_like(matrix), np.empty(LANES, np.float32)
    transpose_and_sum(matrix, transposed, sums)
    np.testing.assert_array_equal(transposed, matrix.T)
    np.testing.assert_allclose(sums, [*matrix[:11].sum(axis=1), 0, 0, 0, 0, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 12, 16, 27, 48])
def test_columns_are_loaded_and_stored(width: int) -> None:
    matrix = np.arange(3 * LANES * width, dtype=np.float32).reshape(3 * LANES, width)
    columns, copied = np.empty((width, LANES), np.float32), np.zeros_like(matrix)
    compiled(_copy_columns(width))(matrix, LANES, columns, copied)
    np.testing.assert_array_equal(columns, matrix[LANES : 2 * LANES].T)
    np.testing.assert_array_equal(copied[LANES : 2 * LANES], matrix[LANES : 2 * LANES])
    assert not copied[:LANES].any() and not copied[2 * LANES :].any()


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**64 - 1))
def test_each_bit_visits_every_set_bit(bits: int) -> None:
    assert sum_of_positions(np.uint64(bits)) == sum(k for k in range(64) if bits >> k & 1)


def test_tape_agrees_with_autograd() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, (2, LANES)).astype(np.float32)
    value, by_x, by_y = (np.empty(LANES, np.float32) for _ in range(3))
    differentiate(x, y, value, by_x, by_y)
    a, b = (torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (x, y))
    result = (2 - a) * b / (a * a + 1) - (b * b + 0.5).sqrt() + (a - b).clamp(max=0.3) * (-b).clamp(min=-0.2)
    result = 1 / (result + 9) + (a * a + 1).log2() - 1.5
    result.sum().backward()
    np.testing.assert_allclose(value, result.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_x, a.grad, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_y, b.grad, rtol=1e-5, atol=1e-5)
