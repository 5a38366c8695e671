"""The table of primitives: one row says everything about an operation.

A partial is written once, as an expression of rows, over whatever number type it is given: calling a row
on floats computes, on Values records, on symbols writes. Infinities and nan follow IEEE 754 and never raise
here; `Value` decides what to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Rule = Callable[..., Any]
"""A formula over any number type; a partial receives the output first, then the operands."""


@dataclass(frozen=True, eq=False, slots=True)
class Primitive:
    """One row of the table. Call it on floats, Values or symbols.

    `symbol` is the name that people write, and `notation` how it stands among its operands: a rule over symbols, or
    a text with a place for each; where there is none it is `symbol(x, y)`. `partials` holds one rule per operand. A
    row of many operands has none and gives all its partials at once by `all_partials`. `textbook` holds the forms
    that people know where the stable ones look different. `inside` tells whether the operands are in the domain,
    and `requirement` says it in words. `kink` is a signed distance to the place where the derivative jumps. A row
    that `selects` uses, of all its operands, the two that it compares and the one that it takes, and passes a
    gradient to the latter alone.
    """

    name: str
    forward: Callable[..., float]
    partials: tuple[Rule, ...] = ()
    all_partials: Rule | None = None
    textbook: tuple[Rule, ...] | None = None
    symbol: str = ""
    notation: Rule | str | None = None
    inside: Callable[..., bool] | None = None
    requirement: str = ""
    kink: Callable[..., float] | None = None
    selects: bool = False

    def __call__(self, *operands: Any) -> Any:
        """The operation on numbers; an operand of another type may interpret it in its own way."""
        for operand in operands:
            interpret = getattr(type(operand), "__primitive__", None)
            if interpret is not None:
                return interpret(self, operands)
        return self.forward(*operands)

    def derivatives(self, out: Any, operands: tuple[Any, ...], *, textbook: bool = False) -> tuple[Any, ...]:
        """All partials of the row at `operands`, where its value is `out`."""
        if self.all_partials is not None:
            return tuple(self.all_partials(out, *operands))
        rules = self.textbook if textbook and self.textbook else self.partials
        return tuple([rule(out, *operands) for rule in rules])

    def __repr__(self) -> str:
        return f"<primitive {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _row_of, (self.name,)


# Forward computations on floats, total in the sense of IEEE 754.


def _divide(x: float, y: float) -> float:
    if y == 0.0:
        return math.nan if x == 0.0 or x != x else math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0.0 and y % 2.0 == 1.0 else math.inf
    except ValueError:
        return math.inf if x == 0.0 else math.nan


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    return math.log(x) if x > 0.0 else -math.inf if x == 0.0 else math.nan


def _log10(x: float) -> float:
    return math.log10(x) if x > 0.0 else -math.inf if x == 0.0 else math.nan


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def _periodic(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: function(x) if math.isfinite(x) else math.nan


def _sigmoid(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    return (small := math.exp(x)) / (1.0 + small)


def _step(x: float) -> float:
    return 1.0 if x > 0.0 else 0.0 if x <= 0.0 else math.nan


def _sign(x: float) -> float:
    return 0.0 if x == 0.0 else math.copysign(1.0, x) if x == x else math.nan


def _maximum(x: float, y: float) -> float:
    return x if x >= y or x != x else y


def _minimum(x: float, y: float) -> float:
    return x if x <= y or x != x else y


def _total(*xs: float) -> float:
    return sum(xs)


def _dot(*operands: float) -> float:
    """Σ w·x + bias, of operands that stand as ws…, xs…, and the bias where their count is odd."""
    count = len(operands) // 2
    bias = operands[-1] if len(operands) % 2 else 0.0
    return sum([w * x for w, x in zip(operands[:count], operands[count : 2 * count], strict=True)], bias)


def _dot_partials(out: Any, *operands: Any) -> tuple[Any, ...]:
    count = len(operands) // 2
    ws, xs = operands[:count], operands[count : 2 * count]
    return (*xs, *ws, 1.0) if len(operands) % 2 else (*xs, *ws)


def _dot_notation(*operands: Any) -> Any:
    count = len(operands) // 2
    terms = [w * x for w, x in zip(operands[:count], operands[count : 2 * count], strict=True)]
    return _total_notation(*terms, *operands[2 * count :])


def _total_notation(*terms: Any) -> Any:
    written = terms[0]
    for term in terms[1:]:
        written = written + term
    return written


# The rows. Within a rule only rows and the operators + − · of its number type are used.

ADD: Primitive = Primitive(
    "+",
    lambda x, y: x + y,
    (lambda out, x, y: 1.0, lambda out, x, y: 1.0),
    notation=lambda x, y: x + y,
    requirement="infinities of opposite sign have no sum",
)
SUBTRACT: Primitive = Primitive(
    "-",
    lambda x, y: x - y,
    (lambda out, x, y: 1.0, lambda out, x, y: -1.0),
    notation=lambda x, y: x - y,
    requirement="infinities of the same sign have no difference",
)
MULTIPLY: Primitive = Primitive(
    "*",
    lambda x, y: x * y,
    (lambda out, x, y: y, lambda out, x, y: x),
    notation=lambda x, y: x * y,
    requirement="zero times infinity has no value",
)
DIVIDE: Primitive = Primitive(
    "/",
    _divide,
    (lambda out, x, y: DIVIDE(1.0, y), lambda out, x, y: -DIVIDE(out, y)),
    textbook=(lambda out, x, y: DIVIDE(1.0, y), lambda out, x, y: -DIVIDE(x, POWER(y, 2.0))),
    notation=lambda x, y: x / y,
    inside=lambda x, y: y != 0.0,
    requirement="the divisor must not be 0",
)
POWER: Primitive = Primitive(
    "**",
    _power,
    (
        # PyTorch's convention: x⁰ is constant, also where x = 0, and 0^y does not depend on y.
        lambda out, x, y: 0.0 if y == 0.0 else y * POWER(x, y - 1.0),
        lambda out, x, y: 0.0 if x == 0.0 else out * LOG(x),
    ),
    textbook=(lambda out, x, y: y * POWER(x, y - 1.0), lambda out, x, y: out * LOG(x)),
    notation=lambda x, y: x**y,
    inside=lambda x, y: (x > 0.0) or (x == 0.0 and y >= 0.0) or (x < 0.0 and (y % 1.0 == 0.0)),
    requirement="a negative base needs a whole exponent, and a base of 0 needs an exponent that is not negative",
)
NEGATE: Primitive = Primitive("neg", lambda x: -x, (lambda out, x: -1.0,), notation=lambda x: -x)
IDENTITY: Primitive = Primitive("identity", lambda x: x, (lambda out, x: 1.0,), notation=lambda x: x)
ABS: Primitive = Primitive(
    "abs",
    abs,
    (lambda out, x: SIGN(x),),
    notation="|{}|",
    kink=lambda x: x,
)
EXP: Primitive = Primitive("exp", _exp, (lambda out, x: out,))
LOG: Primitive = Primitive(
    "log",
    _log,
    (lambda out, x: DIVIDE(1.0, x),),
    inside=lambda x: x > 0.0,
    requirement="the logarithm needs a number above 0",
)
LOG10: Primitive = Primitive(
    "log10",
    _log10,
    (lambda out, x: DIVIDE(1.0, x * math.log(10.0)),),
    textbook=(lambda out, x: DIVIDE(1.0, x * LOG(10.0)),),
    inside=lambda x: x > 0.0,
    requirement="the logarithm needs a number above 0",
)
SQRT: Primitive = Primitive(
    "sqrt",
    _sqrt,
    (lambda out, x: 0.5 * POWER(x, -0.5),),
    textbook=(lambda out, x: DIVIDE(1.0, 2.0 * out),),
    inside=lambda x: x >= 0.0,
    requirement="the square root needs a number that is not negative",
)
SIN: Primitive = Primitive(
    "sin", _periodic(math.sin), (lambda out, x: COS(x),), requirement="the sine of ∞ has no value"
)
COS: Primitive = Primitive(
    "cos", _periodic(math.cos), (lambda out, x: -SIN(x),), requirement="the cosine of ∞ has no value"
)
TAN: Primitive = Primitive(
    "tan",
    _periodic(math.tan),
    (lambda out, x: 1.0 + out * out,),
    textbook=(lambda out, x: 1.0 + POWER(out, 2.0),),
    requirement="the tangent of ∞ has no value",
)
TANH: Primitive = Primitive(
    "tanh",
    math.tanh,
    (lambda out, x: 4.0 * SIGMOID(2.0 * x) * SIGMOID(-2.0 * x),),
    textbook=(lambda out, x: 1.0 - POWER(out, 2.0),),
)
SIGMOID: Primitive = Primitive(
    "sigmoid",
    _sigmoid,
    symbol="σ",
    partials=(lambda out, x: out * SIGMOID(-x),),
    textbook=(lambda out, x: out * (1.0 - out),),
)
RELU: Primitive = Primitive(
    "relu", lambda x: x if x > 0.0 else 0.0 if x <= 0.0 else math.nan, (lambda out, x: STEP(x),), kink=lambda x: x
)
STEP: Primitive = Primitive("step", _step, (lambda out, x: 0.0,), kink=lambda x: x)
SIGN: Primitive = Primitive("sign", _sign, (lambda out, x: 0.0,), kink=lambda x: x)
MAXIMUM: Primitive = Primitive(
    "maximum",
    _maximum,
    symbol="max",
    # A tie is shared, half and half.
    partials=(lambda out, x, y: 0.5 * (1.0 + SIGN(x - y)), lambda out, x, y: 0.5 * (1.0 - SIGN(x - y))),
    textbook=(lambda out, x, y: STEP(x - y), lambda out, x, y: STEP(y - x)),
    kink=lambda x, y: x - y,
)
MINIMUM: Primitive = Primitive(
    "minimum",
    _minimum,
    symbol="min",
    partials=(lambda out, x, y: 0.5 * (1.0 - SIGN(x - y)), lambda out, x, y: 0.5 * (1.0 + SIGN(x - y))),
    textbook=(lambda out, x, y: STEP(y - x), lambda out, x, y: STEP(x - y)),
    kink=lambda x, y: x - y,
)
TOTAL: Primitive = Primitive(
    "total",
    _total,
    all_partials=lambda out, *xs: (1.0,) * len(xs),
    notation=_total_notation,
    requirement="infinities of opposite sign have no sum",
)
DOT: Primitive = Primitive(
    "dot",
    _dot,
    all_partials=_dot_partials,
    notation=_dot_notation,
    requirement="0·∞ and ∞ − ∞ have no value",
)


def _conditional(symbol: str, holds: Callable[[float, float], bool]) -> Primitive:
    """`chosen if x ⋚ y else other`: a node of four parents, whose test passes no gradient on."""

    def partials(out: Any, x: Any, y: Any, chosen: Any, other: Any) -> tuple[Any, ...]:
        return (None, None, 1.0, None) if holds(x, y) else (None, None, None, 1.0)

    return Primitive(
        f"if {symbol}",
        lambda x, y, chosen, other: chosen if holds(x, y) else other,
        all_partials=partials,
        notation=f"({{2}} if {{0}} {symbol} {{1}} else {{3}})",
        kink=lambda x, y, chosen, other: x - y,
        requirement="the branch that the test takes has no value",
        selects=True,
    )


CONDITIONALS: dict[str, Primitive] = {
    ">": _conditional(">", lambda x, y: x > y),
    "<": _conditional("<", lambda x, y: x < y),
    ">=": _conditional(">=", lambda x, y: x >= y),
    "<=": _conditional("<=", lambda x, y: x <= y),
    "==": _conditional("==", lambda x, y: x == y),
    "!=": _conditional("!=", lambda x, y: x != y),
}

# A leaf computes nothing; a constant is a leaf that an expression brought along.
LEAF: Primitive = Primitive("", lambda: math.nan)
CONSTANT: Primitive = Primitive("constant", lambda: math.nan)

TABLE: dict[str, Primitive] = {row.name: row for row in list(globals().values()) if isinstance(row, Primitive)} | {
    row.name: row for row in CONDITIONALS.values()
}
"""Every row by its name."""


def _row_of(name: str) -> Primitive:
    return TABLE[name]
