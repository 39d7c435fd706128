"""Explicit SIMD for Numba: sixteen floats at a time, written once for every processor.

Numba's own vectoriser gives up on loops like those of a rasteriser. An intrinsic may instead emit LLVM vector
instructions itself, and LLVM lowers ``<16 x float>`` to whatever there is: one AVX-512 register, two of AVX, four of
NEON or SSE. ``emitted`` turns a Python function that emits such code, through operators on ``Lanes``, into a function
that Numba code can call and that is inlined there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
FEW = 4  # columns: up to here each is picked from the rows as they lie in memory, beyond the rows are transposed

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
FLOATS = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT32, LANES)

# Fused multiply-add and division through a reciprocal are welcome; NaN, infinities and the order of sums are kept
RELAXED = ("contract", "arcp", "nsz")

# Minimax polynomial of 2**x on [-1/2, 1/2], highest power first
EXP2_POLYNOMIAL = (1.32764719e-3, 9.67554013e-3, 5.55071315e-2, 2.40221197e-1, 6.93146967e-1, 1.00000007)
# log2((1 + r) / (1 - r)) = r * (2 / ln 2) * (1 + r^2 / 3 + r^4 / 5 + ...), highest power first
LOG2_SERIES = (0.32059889, 0.41219858, 0.57707802, 0.96179669, 2.88539008)
BITS_OF_SQRT_HALF = 0x3F3504F3


def emitted(returns: types.Type = types.void) -> Callable[[Callable], Callable]:
    """Decorate ``function(emit, *values)``, which emits LLVM code, to make it callable from Numba code.

    ``emit`` is an ``Emitter``. Of the arguments in the calling code, arrays arrive as pointers to their first
    element, integers as 64-bit and floats as 32-bit scalars. A function that returns something names its Numba type
    in ``returns``.
    """

    def decorate(function: Callable) -> Callable:
        parameters = list(inspect.signature(function).parameters.values())

        def typing(context, *arguments):
            signature = returns(*(_passed_as(argument) for argument in arguments))

            def generate(context, builder, signature, values):
                emit = Emitter(builder)
                plain = [
                    cgutils.create_struct_proxy(kind)(context, builder, value=value).data
                    if isinstance(kind, types.Array)
                    else value
                    for kind, value in zip(signature.args, values, strict=True)
                ]
                result = function(emit, *plain)
                return context.get_dummy_value() if returns is types.void else result

            return signature, generate

        # Numba reads the names of the parameters from here
        typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        typing.__name__, typing.__doc__ = function.__name__, function.__doc__
        return intrinsic(typing)

    return decorate


def _passed_as(kind: types.Type) -> types.Type:
    if isinstance(kind, types.Array):
        return kind
    if isinstance(kind, types.Float):
        return types.float32
    return types.uint64 if kind == types.uint64 else types.int64


class Emitter:
    """Writes LLVM instructions at the place where an ``emitted`` function is called."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def constant(self, value: float | Sequence[float]) -> Lanes:
        """The same number in every lane, or one number for each lane."""
        values = list(value) if isinstance(value, Sequence) else [value] * LANES
        return Lanes(self, ir.Constant(FLOATS, [float(v) for v in values]))

    def integer(self, value: int) -> ir.Constant:  # 64-bit scalar
        return ir.Constant(INT64, value)

    def integers(self, value: int | Sequence[int]) -> ir.Constant:
        values = list(value) if isinstance(value, Sequence) else [value] * LANES
        return ir.Constant(INTS, values)

    def broadcast(self, scalar: ir.Value) -> Lanes:
        """A float scalar in every lane."""
        undefined = ir.Constant(FLOATS, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        return Lanes(self, self.builder.shuffle_vector(first, undefined, self.integers(0)))

    def offset(self, pointer: ir.Value, index: int | ir.Value) -> ir.Value:
        """The address of an element; ``index`` counts elements and may be a 64-bit value."""
        return self.builder.gep(pointer, [self.integer(index) if isinstance(index, int) else index])

    def load(self, pointer: ir.Value, index: int | ir.Value = 0) -> Lanes:
        """Sixteen consecutive floats."""
        return Lanes(self, self.load_vector(self.offset(pointer, index), LANES))

    def store(self, lanes: Lanes, pointer: ir.Value, index: int | ir.Value = 0) -> None:
        self.store_vector(lanes.value, self.offset(pointer, index))

    def store_integers(self, value: ir.Value, pointer: ir.Value, index: int | ir.Value = 0) -> None:
        self.store_vector(value, self.offset(pointer, index))

    def load_scalar(self, pointer: ir.Value, index: int | ir.Value) -> ir.Value:
        return self.builder.load(self.offset(pointer, index), align=4)

    def load_vector(self, address: ir.Value, count: int) -> ir.Value:  # <count x float>
        kind = ir.VectorType(FLOAT, count)
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=4)

    def store_vector(self, vector: ir.Value, address: ir.Value) -> None:
        self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer()), align=4)

    def stream_vector(self, vector: ir.Value, address: ir.Value) -> None:
        """Store a cache line past the caches: it is not read before it is written, and displaces nothing there.

        The address must be a multiple of 64. An atomic operation must follow before another thread reads.
        """
        store = self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer()), align=64)
        store.set_metadata("nontemporal", self.builder.module.add_metadata([ir.Constant(INT32, 1)]))

    def load_columns(self, matrix: ir.Value, row: ir.Value, width: int) -> list[Lanes]:
        """The ``width`` columns of a row-major matrix, as ``Lanes`` that hold the sixteen rows from ``row`` on."""
        start = self.offset(matrix, self.builder.mul(row, self.integer(width)))
        if width <= FEW:
            return self.deinterleaved(self.load_vector(start, width * LANES))
        columns: list[Lanes] = []
        for first in range(0, width, LANES):
            count = min(LANES, width - first)
            rows = [self.load_vector(self.offset(start, k * width + first), count) for k in range(LANES)]
            columns += self.transposed([Lanes(self, self.part(values, 0, LANES)) for values in rows])[:count]
        return columns

    def store_columns(self, columns: Sequence[Lanes], matrix: ir.Value, row: ir.Value, streamed: bool = False) -> None:
        """The inverse of ``load_columns``; ``streamed`` is for a matrix of whole, aligned cache lines."""
        width = len(columns)
        start = self.offset(matrix, self.builder.mul(row, self.integer(width)))
        if width <= FEW:
            self.store_vector(self.interleaved(columns), start)
            return
        for first in range(0, width, LANES):
            group = columns[first : first + LANES]
            rows = self.transposed([*group, *[self.constant(0.0)] * (LANES - len(group))])
            for k, values in enumerate(rows):
                store = self.stream_vector if streamed else self.store_vector
                store(self.part(values.value, 0, len(group)), self.offset(start, k * width + first))

    def deinterleaved(self, vector: ir.Value) -> list[Lanes]:
        """``<16 c x float>``, being sixteen groups of c, as c ``Lanes``."""
        count = vector.type.count
        width = count // LANES
        return [Lanes(self, self.shuffle(vector, vector, range(k, count, width))) for k in range(width)]

    def interleaved(self, columns: Sequence[Lanes]) -> ir.Value:
        """The inverse of ``deinterleaved``."""
        joined = self.joined([column.value for column in columns])
        return self.shuffle(joined, joined, [c * LANES + k for k in range(LANES) for c in range(len(columns))])

    def joined(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """Vectors end to end."""
        joined = vectors[0]
        for vector in vectors[1:]:
            count, added = joined.type.count, vector.type.count
            joined = self.shuffle(joined, self.part(vector, 0, count), range(count + added))
        return joined

    def part(self, vector: ir.Value, first: int, count: int) -> ir.Value:
        """``count`` elements from ``first`` on; past the end of the vector they repeat."""
        return self.shuffle(vector, vector, [(first + k) % vector.type.count for k in range(count)])

    def shuffle(self, a: ir.Value, b: ir.Value, order: Sequence[int]) -> ir.Value:
        """The elements ``order`` of both vectors end to end."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(order)), list(order)))

    def as_lanes(self, integers: ir.Value) -> Lanes:
        """The bits of ``<16 x i32>`` carried as floats."""
        return Lanes(self, self.builder.bitcast(integers, FLOATS))

    def as_floats(self, integers: ir.Value) -> Lanes:
        """``<16 x i32>`` as numbers."""
        return Lanes(self, self.builder.sitofp(integers, FLOATS))

    def gather(self, pointer: ir.Value, indices: ir.Value) -> Lanes:
        """The floats at ``<16 x i32>`` indices."""
        value = ir.Constant(FLOATS, ir.Undefined)
        for lane in range(LANES):
            position = ir.Constant(INT32, lane)
            index = self.builder.sext(self.builder.extract_element(indices, position), INT64)
            value = self.builder.insert_element(value, self.load_scalar(pointer, index), position)
        return Lanes(self, value)

    def table(self, values: Sequence[float]) -> ir.Value:
        """A pointer to constant floats."""
        kind = ir.ArrayType(FLOAT, len(values))
        place = cgutils.global_constant(self.builder, "table", ir.Constant(kind, [float(v) for v in values]))
        return self.builder.bitcast(place, FLOAT.as_pointer())

    def transposed(self, rows: Sequence[Lanes]) -> list[Lanes]:
        """A 16 x 16 matrix, transposed by exchanging ever smaller sub-blocks (Eklundh 1972)."""
        block = [row.value for row in rows]
        for distance in (8, 4, 2, 1):
            first, second = _exchange(distance)
            for i in range(LANES):
                if not i & distance:
                    pair = block[i], block[i + distance]
                    block[i], block[i + distance] = self.shuffle(*pair, first), self.shuffle(*pair, second)
        return [Lanes(self, value) for value in block]

    def sums(self, rows: Sequence[Lanes]) -> Lanes:
        """The sum over the lanes of up to sixteen vectors: sum ``k`` in lane ``k``, zero beyond."""
        block = [*rows, *[self.constant(0.0)] * (LANES - len(rows))]
        for distance in (8, 4, 2, 1):
            first, second = _exchange(distance)
            pairs = [(block[i].value, block[i + distance].value) for i in range(distance)]
            block = [Lanes(self, self.shuffle(*p, first)) + Lanes(self, self.shuffle(*p, second)) for p in pairs]
        return block[0]

    @contextmanager
    def each_bit(self, bits: ir.Value) -> Iterator[ir.Value]:
        """Emit the body once, to run for the position (64-bit) of every set bit of a 64-bit integer, lowest first."""
        builder = self.builder
        remaining = cgutils.alloca_once_value(builder, bits)
        condition = builder.append_basic_block("bits")
        body = builder.append_basic_block("bit")
        end = builder.append_basic_block("no_bits")
        builder.branch(condition)
        builder.position_at_end(condition)
        left = builder.load(remaining)
        builder.cbranch(builder.icmp_unsigned("!=", left, self.integer(0)), body, end)
        builder.position_at_end(body)
        builder.store(builder.and_(left, builder.sub(left, self.integer(1))), remaining)
        yield builder.cttz(left, ir.Constant(ir.IntType(1), 1))
        builder.branch(condition)
        builder.position_at_end(end)

    @contextmanager
    def each_number(self, count: ir.Value) -> Iterator[ir.Value]:
        """Emit the body once, to run for 0, 1, ... ``count - 1`` (64-bit)."""
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index

    def intrinsic(self, name: str, *arguments: ir.Value, returns: ir.Type) -> ir.Value:
        kind = ir.FunctionType(returns, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)


@emitted()
def prefetch(emit: Emitter, array, index):
    """Fetch the cache line of an element."""
    address = emit.builder.bitcast(emit.offset(array, index), ir.IntType(8).as_pointer())
    arguments = [address, *(ir.Constant(INT32, k) for k in (0, 3, 1))]  # for reading, to stay, data
    emit.intrinsic("llvm.prefetch.p0", *arguments, returns=ir.VoidType())


class Lanes:
    """Sixteen floats in a vector register of the code being emitted; arithmetic emits instructions."""

    __slots__ = ("emit", "value")

    def __init__(self, emit: Emitter, value: ir.Value) -> None:
        self.emit, self.value = emit, value

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._binary("fadd", self, other)

    __radd__ = __add__

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._binary("fsub", self, other)

    def __rsub__(self, other: float) -> Lanes:
        return self._binary("fsub", other, self)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._binary("fmul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._binary("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Lanes:
        return self._binary("fdiv", other, self)

    def __neg__(self) -> Lanes:
        return Lanes(self.emit, self.emit.builder.fneg(self.value))

    def __lt__(self, other: Lanes | float) -> Mask:
        return self._compare("<", other)

    def __le__(self, other: Lanes | float) -> Mask:
        return self._compare("<=", other)

    def __gt__(self, other: Lanes | float) -> Mask:
        return self._compare(">", other)

    def __ge__(self, other: Lanes | float) -> Mask:
        return self._compare(">=", other)

    def minimum(self, other: Lanes | float) -> Lanes:
        """The smaller of both, and ``other`` where this is NaN."""
        return (self < other).select(self, other)

    def maximum(self, other: Lanes | float) -> Lanes:
        """The larger of both, and ``other`` where this is NaN."""
        return (self > other).select(self, other)

    def sqrt(self) -> Lanes:
        return Lanes(self.emit, self.emit.intrinsic("llvm.sqrt.v16f32", self.value, returns=FLOATS))

    def absolute(self) -> Lanes:
        return Lanes(self.emit, self.emit.intrinsic("llvm.fabs.v16f32", self.value, returns=FLOATS))

    def finite(self) -> Mask:
        return self * 0.0 <= 0.0

    def exp2(self) -> Lanes:
        """``2 ** x`` for ``|x| < 126``, to 2e-7 relative: a polynomial for the fraction, bits for the integer part."""
        emit, builder = self.emit, self.emit.builder
        # Adding 1.5 * 2**23 rounds to an integer and leaves that integer in the low bits; no relaxed flags here.
        rounder = emit.constant(1.5 * 2**23).value
        rounded = builder.fadd(self.value, rounder)
        fraction = self - Lanes(emit, builder.fsub(rounded, rounder))
        power = emit.constant(EXP2_POLYNOMIAL[0])
        for coefficient in EXP2_POLYNOMIAL[1:]:
            power = power * fraction + coefficient
        exponent = builder.shl(builder.bitcast(rounded, INTS), emit.integers(23))
        return Lanes(emit, builder.bitcast(builder.add(power.bits, exponent), FLOATS))

    def log2(self) -> Lanes:
        """The binary logarithm of positive normal numbers, to 1e-7 absolute or relative."""
        emit, builder = self.emit, self.emit.builder
        # exponent and mantissa of x = m * 2**e with m in [sqrt(1/2), sqrt(2)): count from the bits of sqrt(1/2)
        shifted = builder.sub(self.bits, emit.integers(BITS_OF_SQRT_HALF))
        exponent = builder.ashr(shifted, emit.integers(23))
        mantissa_bits = builder.sub(self.bits, builder.shl(exponent, emit.integers(23)))
        mantissa = Lanes(emit, builder.bitcast(mantissa_bits, FLOATS))
        ratio = (mantissa - 1.0) / (mantissa + 1.0)
        square = ratio * ratio
        series = emit.constant(LOG2_SERIES[0])
        for coefficient in LOG2_SERIES[1:]:
            series = series * square + coefficient
        return series * ratio + Lanes(emit, builder.sitofp(exponent, FLOATS))

    @property
    def bits(self) -> ir.Value:  # <16 x i32>
        return self.emit.builder.bitcast(self.value, INTS)

    def bits_differ(self, bits: int) -> Mask:
        """Where the bits are not those of a 32-bit number."""
        return Mask(self.emit, self.emit.builder.icmp_unsigned("!=", self.bits, self.emit.integers(bits)))

    @property
    def truncated(self) -> ir.Value:  # <16 x i32>; the floor of numbers that are not negative
        return self.emit.builder.fptosi(self.value, INTS)

    def _of(self, other: Lanes | float) -> ir.Value:
        return other.value if isinstance(other, Lanes) else self.emit.constant(other).value

    def _binary(self, operation: str, a: Lanes | float, b: Lanes | float) -> Lanes:
        if not all(isinstance(operand, (Lanes, float)) for operand in (a, b)):
            return NotImplemented  # the other operand may know how, as Traced does
        return Lanes(self.emit, getattr(self.emit.builder, operation)(self._of(a), self._of(b), flags=RELAXED))

    def _compare(self, operator: str, other: Lanes | float) -> Mask:
        return Mask(self.emit, self.emit.builder.fcmp_ordered(operator, self.value, self._of(other)))


class Register:
    """A variable of the emitted code that changes in a loop: a sum of ``Lanes``, zero at first."""

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self._place = cgutils.alloca_once_value(emit.builder, emit.constant(0.0).value)

    def add(self, term: Lanes) -> None:
        self._emit.builder.store((self.value + term).value, self._place)

    @property
    def value(self) -> Lanes:
        return Lanes(self._emit, self._emit.builder.load(self._place))


class Mask:
    """Sixteen truth values."""

    __slots__ = ("emit", "value")

    def __init__(self, emit: Emitter, value: ir.Value) -> None:
        self.emit, self.value = emit, value

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.emit, self.emit.builder.and_(self.value, other.value))

    def select(self, yes: Lanes | float, no: Lanes | float) -> Lanes:
        values = [v.value if isinstance(v, Lanes) else self.emit.constant(v).value for v in (yes, no)]
        return Lanes(self.emit, self.emit.builder.select(self.value, *values))

    @property
    def integers(self) -> ir.Value:  # <16 x i32>, all bits set where true
        return self.emit.builder.sext(self.value, INTS)

    def any(self) -> ir.Value:  # i1
        builder = self.emit.builder
        return builder.icmp_unsigned("!=", builder.bitcast(self.value, ir.IntType(16)), ir.Constant(ir.IntType(16), 0))


def _exchange(distance: int) -> tuple[list[int], list[int]]:
    """The lanes of rows ``i`` and ``i + distance`` after their off-diagonal sub-blocks have been exchanged."""
    first = [j if not j & distance else LANES + j - distance for j in range(LANES)]
    second = [j + distance if not j & distance else LANES + j for j in range(LANES)]
    return first, second
