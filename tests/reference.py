"""Every row of the table by another road: as a formula of mpmath, to any number of digits."""

from mpmath import mp, mpf

from engine import ops
from engine.ops import Primitive

ROWS = [row for row in ops.TABLE.values() if row.name not in ("", "constant")]


def _softmax(x, *others):
    return mp.exp(x) / sum(map(mp.exp, (x, *others)))


FORMULAS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
    "neg": lambda x: -x,
    "identity": lambda x: x,
    "abs": lambda x: x if x > 0 else -x,
    "exp": mp.exp,
    "expm1": lambda x: mp.exp(x) - 1,
    "log": mp.log,
    "log1p": lambda x: mp.log(1 + x),
    "log10": lambda x: mp.log(x) / mp.log(10),
    "log2": lambda x: mp.log(x) / mp.log(2),
    "sqrt": mp.sqrt,
    "cbrt": lambda x: x ** (mpf(1) / 3) if x > 0 else -((-x) ** (mpf(1) / 3)),
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "asin": mp.asin,
    "acos": mp.acos,
    "atan": mp.atan,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "tanh": mp.tanh,
    "asinh": mp.asinh,
    "acosh": mp.acosh,
    "atanh": mp.atanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "logsigmoid": lambda x: -mp.log(1 + mp.exp(-x)),
    "softplus": lambda x: mp.log(1 + mp.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "relu": lambda x: x if x > 0 else mpf(0),
    "step": lambda x: mpf(x > 0),
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "elu": lambda x, alpha: x if x > 0 else alpha * (mp.exp(x) - 1),
    "gelu": lambda x: x * mp.ncdf(x),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "sign": lambda x: mpf(1) if x > 0 else mpf(-1),
    "maximum": max,
    "minimum": min,
    "clamp": lambda x, low, high: min(max(x, low), high),
    "hypot": lambda x, y: mp.sqrt(x * x + y * y),
    "atan2": mp.atan2,
    "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
    "total": lambda *xs: sum(xs),
    "mean": lambda *xs: sum(xs) / len(xs),
    "dot": lambda a, b, x, y, bias: a * x + b * y + bias,
    "logsumexp": lambda *xs: mp.log(sum(map(mp.exp, xs))),
    "softmax": _softmax,
    "if >": lambda x, y, a, b: a if x > y else b,
    "if <": lambda x, y, a, b: a if x < y else b,
    "if >=": lambda x, y, a, b: a if x >= y else b,
    "if <=": lambda x, y, a, b: a if x <= y else b,
    "if ==": lambda x, y, a, b: a if x == y else b,
    "if !=": lambda x, y, a, b: a if x != y else b,
}

_POINTS = [
    (0.7, -1.3, 2.0, 0.5, 0.25),
    (2.1, 0.4, -0.9, 1.6, -2.5),
    (-0.6, -2.5, 1.1, -0.2, 0.8),
    (-1.7, 1.2, 1.9, 0.3, 1.4),
    (0.2, 0.9, 1.5, -1.1, -0.4),
    (1.5, 3.0, 4.0, 2.2, 0.1),
]
_NUMBER = {"total": 3, "mean": 3, "dot": 5, "logsumexp": 3, "softmax": 3} | dict.fromkeys(
    (row.name for row in ROWS if row.selects), 4
)


def arity(row: Primitive) -> int:
    """The operands that a row is tried with."""
    return _NUMBER[row.name] if row.many else len(row.partials)


def points(row: Primitive) -> list[tuple[float, ...]]:
    """Points inside the domain of a row, away from its kinks. There are at least two."""
    found = [point[: arity(row)] for point in _POINTS]
    if row is ops.POWER:  # a negative base has derivatives by the base alone
        found = [point for point in found if point[0] > 0.0]
    found = [point for point in found if row.inside is None or row.inside(*point)]
    assert len(found) >= 2, row
    return found


def value(row: Primitive, point: tuple[float, ...]) -> mpf:
    """The row at a point, to 50 digits."""
    with mp.workdps(50):
        return mpf(FORMULAS[row.name](*map(mpf, point)))


def derivative(row: Primitive, point: tuple[float, ...], order: tuple[int, ...]) -> mpf:
    """The derivative of a row, taken `order[i]` times by its operand i, to about 50 digits."""
    with mp.workdps(60):
        return mp.diff(FORMULAS[row.name], tuple(map(mpf, point)), order)
