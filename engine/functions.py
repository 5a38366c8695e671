"""The primitives as functions: `tanh(x)`, `maximum(x, y)`, `dot(ws, xs, bias)`.

Each takes Values or numbers and returns a Value. Each raises DomainError where it has no value, and TypeError
for an operand that is no real number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from engine import ops
from engine.value import Number, Value, record

Operand: TypeAlias = Value | Number


def exp(x: Operand) -> Value:
    """The exponential, e^`x`."""
    return record(ops.EXP, (x,))


def log(x: Operand) -> Value:
    """The natural logarithm of `x`, which must be above 0."""
    return record(ops.LOG, (x,))


def log10(x: Operand) -> Value:
    """The logarithm of `x` to base 10; `x` must be above 0."""
    return record(ops.LOG10, (x,))


def sqrt(x: Operand) -> Value:
    """The square root of `x`, which must not be negative; its derivative at 0 is infinite."""
    return record(ops.SQRT, (x,))


def sin(x: Operand) -> Value:
    """The sine of `x` radians."""
    return record(ops.SIN, (x,))


def cos(x: Operand) -> Value:
    """The cosine of `x` radians."""
    return record(ops.COS, (x,))


def tan(x: Operand) -> Value:
    """The tangent of `x` radians."""
    return record(ops.TAN, (x,))


def tanh(x: Operand) -> Value:
    """The hyperbolic tangent; tanh' = 1 − tanh²."""
    return record(ops.TANH, (x,))


def sigmoid(x: Operand) -> Value:
    """σ(x) = 1/(1 + e^−x); σ' = σ(1 − σ)."""
    return record(ops.SIGMOID, (x,))


def relu(x: Operand) -> Value:
    """max(0, x), with derivative 0 at 0."""
    return record(ops.RELU, (x,))


def step(x: Operand) -> Value:
    """1 where x > 0, else 0, with derivative 0 everywhere."""
    return record(ops.STEP, (x,))


def sign(x: Operand) -> Value:
    """−1, 0 or 1, with derivative 0 everywhere."""
    return record(ops.SIGN, (x,))


def maximum(x: Operand, y: Operand) -> Value:
    """The larger of `x` and `y`; a tie shares the derivative half and half."""
    return record(ops.MAXIMUM, (x, y))


def minimum(x: Operand, y: Operand) -> Value:
    """The smaller of `x` and `y`; a tie shares the derivative half and half."""
    return record(ops.MINIMUM, (x, y))


def total(xs: Iterable[Operand]) -> Value:
    """Σ xs as one node of many parents; 0 for no `xs`."""
    return record(ops.TOTAL, tuple(xs))


def dot(ws: Iterable[Operand], xs: Iterable[Operand], bias: Operand | None = None) -> Value:
    """Σ w·x + bias as one node: its parents are ws…, xs… and the bias. Raises ValueError for unequal lengths."""
    ws, xs = tuple(ws), tuple(xs)
    if len(ws) != len(xs):
        raise ValueError(f"dot pairs each weight with an input, but there are {len(ws)} weights and {len(xs)} inputs.")
    return record(ops.DOT, (*ws, *xs) if bias is None else (*ws, *xs, bias))
