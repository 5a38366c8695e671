"""The table's rows over NumPy arrays: many points at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import ops
from engine.ops import Primitive

if TYPE_CHECKING:
    from engine.ops import Rules


class Array(np.ndarray):
    """A NumPy array on which the rows of the table compute element by element.

    Where a row has no value there is nan or an infinity, and no warning within `quiet()`.
    """

    @staticmethod
    def __primitive__(row: Primitive, operands: tuple[Any, ...]) -> Any:
        return FORMS[row](*operands)


def array(data: Any) -> Array:
    """`data` as an Array of floats."""
    return np.asarray(data, dtype=float).view(Array)


def quiet() -> np.errstate:
    """A context in which NumPy does not warn: a point without a value is told by its nan."""
    return np.errstate(all="ignore")


def _piecewise(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """A function that NumPy does not have, number by number."""
    each: Callable[[Any], Any] = np.frompyfunc(function, 1, 1)
    return lambda x: array(each(x))


def _sigmoid(x: Any) -> Any:
    out = 1.0 / (1.0 + np.exp(-x))
    tiny = np.asarray(x < -700.0)  # where e^−x may be infinite
    return array(np.where(tiny, np.exp(x), out)) if tiny.any() else out


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _softsign(x: Any) -> Any:
    return array(np.where(np.isinf(x), np.sign(x), x / (1.0 + np.abs(x))))


def _clamp(x: Any, low: Any, high: Any) -> Any:
    return np.where(low <= high, np.minimum(np.maximum(x, low), high), math.nan).view(Array)


def _total(*xs: Any) -> Any:
    return sum(xs[1:], start=xs[0])


def _dot(*operands: Any) -> Any:
    return _total(*ops.dot_terms(*operands))


def _logsumexp(*xs: Any) -> Any:
    largest = _largest(xs)
    return largest + np.log(_total(*[np.exp(x - largest) for x in xs]))


def _softmax(x: Any, *others: Any) -> Any:
    largest = _largest((x, *others))
    return np.exp(x - largest) / _total(*[np.exp(one - largest) for one in (x, *others)])


def _largest(xs: Sequence[Any]) -> Any:
    largest = xs[0]
    for x in xs[1:]:
        largest = np.maximum(largest, x)
    return largest


def _chosen(comparison: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y, chosen, other: array(np.where(comparison(x, y), chosen, other))


_erf, _erfc = _piecewise(math.erf), _piecewise(math.erfc)

FORMS: dict[Primitive, Callable[..., Any]] = {
    ops.ADD: np.add,
    ops.SUBTRACT: np.subtract,
    ops.MULTIPLY: np.multiply,
    ops.DIVIDE: np.divide,
    ops.POWER: np.power,
    ops.NEGATE: np.negative,
    ops.IDENTITY: np.positive,
    ops.ABS: np.abs,
    ops.EXP: np.exp,
    ops.EXPM1: np.expm1,
    ops.LOG: np.log,
    ops.LOG1P: np.log1p,
    ops.LOG10: np.log10,
    ops.LOG2: np.log2,
    ops.SQRT: np.sqrt,
    ops.CBRT: np.cbrt,
    ops.SIN: np.sin,
    ops.COS: np.cos,
    ops.TAN: np.tan,
    ops.ASIN: np.arcsin,
    ops.ACOS: np.arccos,
    ops.ATAN: np.arctan,
    ops.SINH: np.sinh,
    ops.COSH: np.cosh,
    ops.TANH: np.tanh,
    ops.ASINH: np.arcsinh,
    ops.ACOSH: np.arccosh,
    ops.ATANH: np.arctanh,
    ops.SIGMOID: _sigmoid,
    ops.LOGSIGMOID: lambda x: -_softplus(-x),
    ops.SOFTPLUS: _softplus,
    ops.SOFTSIGN: _softsign,
    ops.RELU: lambda x: np.maximum(x, 0.0),
    ops.STEP: lambda x: np.where(np.isnan(x), x, x > 0.0).view(Array),
    ops.LEAKY_RELU: lambda x, slope: np.where(x > 0.0, x, slope * x).view(Array),
    ops.ELU: lambda x, alpha: np.where(x > 0.0, x, alpha * np.expm1(x)).view(Array),
    ops.GELU: lambda x: 0.5 * x * _erfc(-x * math.sqrt(0.5)),
    ops.SILU: lambda x: x * _sigmoid(x),
    ops.ERF: _erf,
    ops.ERFC: _erfc,
    ops.SIGN: np.sign,
    ops.MAXIMUM: np.maximum,
    ops.MINIMUM: np.minimum,
    ops.CLAMP: _clamp,
    ops.HYPOT: np.hypot,
    ops.ATAN2: np.arctan2,
    ops.LOGADDEXP: np.logaddexp,
    ops.TOTAL: _total,
    ops.MEAN: lambda *xs: _total(*xs) / float(len(xs)),
    ops.DOT: _dot,
    ops.LOGSUMEXP: _logsumexp,
    ops.SOFTMAX: _softmax,
    ops.CONDITIONALS[">"]: _chosen(np.greater),
    ops.CONDITIONALS["<"]: _chosen(np.less),
    ops.CONDITIONALS[">="]: _chosen(np.greater_equal),
    ops.CONDITIONALS["<="]: _chosen(np.less_equal),
    ops.CONDITIONALS["=="]: _chosen(np.equal),
    ops.CONDITIONALS["!="]: _chosen(np.not_equal),
}
"""The forward computation of every row, over arrays; the partials are those of the table itself."""


def derivatives(
    row: Primitive,
    out: Any,
    operands: tuple[Any, ...],
    *,
    textbook: bool = False,
    wanted: Sequence[bool] | None = None,
) -> tuple[Any, ...]:
    """The partials of a row at many points, None where not `wanted`.

    In the `textbook` form where that holds, which is away from a kink. Of a condition they are 1 where a branch is
    taken and 0 where not.
    """
    if row.selects:
        taken = row(*operands[:2], 1.0, 0.0)
        return (0.0, 0.0, taken, 1.0 - taken)
    plain = _partials(row, row.partials, out, operands, wanted)
    if not textbook or row.textbook is None:
        return plain
    known = _partials(row, row.textbook, out, operands, wanted)
    at_kink = _at_kink(row, operands)
    if not np.any(at_kink):
        return known
    return tuple([x if y is None else array(np.where(at_kink, x, y)) for x, y in zip(plain, known, strict=True)])


def _partials(
    row: Primitive, rules: Rules, out: Any, operands: tuple[Any, ...], wanted: Sequence[bool] | None
) -> tuple[Any, ...]:
    if not isinstance(rules, tuple):
        return tuple(rules(out, *operands))
    if wanted is None:
        return tuple([rule(out, *operands) for rule in rules])
    return tuple([rule(out, *operands) if one else None for rule, one in zip(rules, wanted, strict=True)])


def _at_kink(row: Primitive, operands: Sequence[Any]) -> Any:
    """Where the derivative of a row jumps."""
    if row in _KINK_AT_ORIGIN:
        return (np.asarray(operands[0]) == 0.0) & (np.asarray(operands[1]) == 0.0)
    at_kink: Any = False
    for gap in gaps(row, operands):
        at_kink = at_kink | (np.asarray(gap) == 0.0)
    return at_kink


def gaps(row: Primitive, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The signed distances to the kinks of a row, at many points; none for what has a kink at the origin alone."""
    if row.kinks is None or row in _KINK_AT_ORIGIN:
        return ()
    return row.kinks(*operands)


_KINK_AT_ORIGIN = (ops.HYPOT, ops.ATAN2)
