"""Reverse-mode differentiation of formulas on ``Lanes`` while their code is being emitted.

A formula written once, with operators, gives the forward code when it is fed ``Lanes`` and the code of its adjoint
when it is fed ``Traced``: every operation notes its operands and the partial derivatives by them, and
``Tape.backward`` emits the chain rule in reverse order (Griewank and Walther, "Evaluating Derivatives", ch. 3).
"""

from __future__ import annotations

from emo_avatar.render.splat.simd import Lanes

LOG2_E = 1.4426950408889634


class Tape:
    """The operations of one formula, in order."""

    def __init__(self) -> None:
        self.operations: list[Traced] = []

    def variable(self, value: Lanes) -> Traced:
        return self.record(value)

    def record(self, value: Lanes, *operands: tuple[Traced, Lanes | float]) -> Traced:
        traced = Traced(self, value, operands)
        self.operations.append(traced)
        return traced

    def backward(self) -> None:
        """Emit the adjoints of everything that leads to a value whose ``adjoint`` is set."""
        for operation in reversed(self.operations):
            if operation.adjoint is not None:
                for operand, partial in operation.operands:
                    operand.add_adjoint(operation.adjoint * partial)


class Traced:
    """A value and, after ``Tape.backward``, the derivative of the result by it. ``Lanes`` and numbers are constants."""

    __slots__ = ("tape", "value", "operands", "adjoint")

    def __init__(self, tape: Tape, value: Lanes, operands: tuple[tuple[Traced, Lanes | float], ...]) -> None:
        self.tape, self.value, self.operands = tape, value, operands
        self.adjoint: Lanes | None = None

    @property
    def gradient(self) -> Lanes:
        """The adjoint of something that the result depends on."""
        assert self.adjoint is not None
        return self.adjoint

    def add_adjoint(self, adjoint: Lanes) -> None:
        self.adjoint = adjoint if self.adjoint is None else self.adjoint + adjoint

    def __add__(self, other: Traced | Lanes | float) -> Traced:
        if isinstance(other, Traced):
            return self.tape.record(self.value + other.value, (self, 1.0), (other, 1.0))
        return self.tape.record(self.value + other, (self, 1.0))

    __radd__ = __add__

    def __sub__(self, other: Traced | Lanes | float) -> Traced:
        return self + (-other)

    def __rsub__(self, other: Lanes | float) -> Traced:
        return -self + other

    def __neg__(self) -> Traced:
        return self.tape.record(-self.value, (self, -1.0))

    def __mul__(self, other: Traced | Lanes | float) -> Traced:
        if isinstance(other, Traced):
            return self.tape.record(self.value * other.value, (self, other.value), (other, self.value))
        return self.tape.record(self.value * other, (self, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Traced | Lanes | float) -> Traced:
        return self * (1.0 / other)

    def __rtruediv__(self, other: Lanes | float) -> Traced:
        reciprocal = 1.0 / self.value
        quotient = reciprocal * other
        return self.tape.record(quotient, (self, -(quotient * reciprocal)))

    def minimum(self, other: Lanes | float) -> Traced:
        free = (self.value < other).select(1.0, 0.0)
        return self.tape.record(self.value.minimum(other), (self, free))

    def maximum(self, other: Lanes | float) -> Traced:
        free = (self.value > other).select(1.0, 0.0)
        return self.tape.record(self.value.maximum(other), (self, free))

    def sqrt(self) -> Traced:
        root = self.value.sqrt()
        return self.tape.record(root, (self, 0.5 / root))

    def log2(self) -> Traced:
        return self.tape.record(self.value.log2(), (self, LOG2_E / self.value))
