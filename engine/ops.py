"""The table of primitives: one row says everything about an operation.

A partial is written once, as an expression of rows, over whatever number type it is given: calling a row
on floats computes, on Values records, on symbols writes. Infinities and nan follow IEEE 754 and never raise
here; `Value` decides what to refuse.
"""

from __future__ import annotations

import cmath
import math
from operator import mul

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    Rule: TypeAlias = Callable[..., Any]
    """A formula over any number type; a partial receives the output first, then the operands."""
    Rules: TypeAlias = tuple[Rule, ...] | Rule
    """One rule per operand, or one that gives all of them at once."""


class Primitive:
    """One row of the table. Call it on floats, Values or symbols.

    `symbol` is the name that people write, and `notation` how it stands among its operands: a rule over symbols, or
    a text with a place for each; where there is none it is `symbol(x, y)`. `latex` says the same for LaTeX: a rule, a
    text with numbered places, or the command that stands before the operands; where there is none, the rule of
    `notation` holds, or the symbol stands upright. `partials` holds one rule per operand; a row of `many` operands has
    a rule that gives all its partials at once. `textbook` holds the forms that people know where the stable ones look
    different. `inside` tells whether the operands are in the domain, and `requirement` says it in words. `kinks` gives
    the signed distances to the places where the derivative jumps. A row that `selects` uses, of all its operands, the
    two that it compares and the one that it takes, and passes a gradient to the latter alone. `defaults` are the last
    operands where a person leaves them out. `on_complex` is the same function of complex numbers, taken piece by piece
    where it has kinks, and None where the standard library does not know it.

    `at` is for speed alone: value and derivative at a float in one call, with the same bits as `forward` and
    `partials`, or not finite where those are to be asked.
    """

    __slots__ = (
        "at",
        "defaults",
        "forward",
        "inside",
        "kinks",
        "latex",
        "many",
        "name",
        "notation",
        "on_complex",
        "partials",
        "requirement",
        "selects",
        "symbol",
        "textbook",
    )

    def __init__(
        self,
        name: str,
        forward: Callable[..., float],
        partials: Rules,
        *,
        textbook: Rules | None = None,
        symbol: str = "",
        notation: Rule | str | None = None,
        latex: Rule | str | None = None,
        inside: Callable[..., bool] | None = None,
        requirement: str = "",
        kinks: Callable[..., tuple[float, ...]] | None = None,
        selects: bool = False,
        defaults: tuple[float, ...] = (),
        on_complex: Callable[..., complex] | None = None,
        at: Callable[[float], tuple[float, float]] | None = None,
    ) -> None:
        self.name = name
        self.forward = forward
        self.partials = partials
        self.many = callable(partials)
        self.textbook = textbook
        self.symbol = symbol or name
        self.notation = notation
        self.latex = latex
        self.inside = inside
        self.requirement = requirement
        self.kinks = kinks
        self.selects = selects
        self.defaults = defaults
        self.on_complex = on_complex
        self.at = at

    def __call__(self, *operands: Any) -> Any:
        """The operation on numbers; an operand of another type may interpret it in its own way."""
        for operand in operands:
            interpret = getattr(type(operand), "__primitive__", None)
            if interpret is not None:
                return interpret(self, operands)
        return self.forward(*operands)

    def derivatives(self, out: Any, operands: tuple[Any, ...], *, textbook: bool = False) -> tuple[Any, ...]:
        """All partials of the row at `operands`, where its value is `out`."""
        rules = self.textbook if textbook and self.textbook else self.partials
        if isinstance(rules, tuple):
            return tuple([rule(out, *operands) for rule in rules])
        return tuple(rules(out, *operands))

    def at_kink(self, operands: Sequence[float]) -> bool:
        """Whether the derivative jumps here."""
        return self.kinks is not None and 0.0 in self.kinks(*operands)

    def sides(self, operands: Sequence[float]) -> list[tuple[int, bool]]:
        """For each kink of the row its number, and whether the operands lie above it."""
        return [] if self.kinks is None else [(i, gap > 0.0) for i, gap in enumerate(self.kinks(*operands))]

    def __repr__(self) -> str:
        return f"<primitive {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _row_of, (self.name,)


# Forward computations on floats, total in the sense of IEEE 754.


def _ieee(function: Callable[[float], float], *, odd: bool = False) -> Callable[[float], float]:
    """`function`, with infinity where it overflows and nan where it has no value."""

    def computed(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.copysign(math.inf, x) if odd else math.inf
        except ValueError:
            return math.nan

    return computed


_exp = _ieee(math.exp)


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


def _power_slope(out: Any, x: Any, y: Any) -> Any:
    """y·x^(y−1), where out = x^y; 0 where y is 0. For floats out/x keeps the digits that y − 1 would round away."""
    if type(out) is type(x) is type(y) is float and y != 0.0:
        rounds = (y - 1.0) + 1.0 != y
        return y * (out / x) if rounds and x != 0.0 and 1e-290 < abs(out) < math.inf else y * _power(x, y - 1.0)
    return _if_zero(y, 0.0, y * POWER(x, y - 1.0))


def _bell(x: Any, scale: float) -> Any:
    """e^(−scale·x²) for a power of two. For floats x² is taken apart, since its rounding would cost x² digits."""
    if type(x) is not float or not abs(x) < 1e8:
        return EXP(-scale * x * x)
    head = math.floor(x * 2.0**16) * 2.0**-16  # its square is exact
    return _exp(-scale * head * head) * _exp(-scale * (x - head) * (x + head))


def _log(x: float) -> float:
    return math.log(x) if x > 0.0 else -math.inf if x == 0.0 else math.nan


def _sigmoid(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    return (small := math.exp(x)) / (1.0 + small)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _step(x: float) -> float:
    return 1.0 if x > 0.0 else 0.0 if x <= 0.0 else math.nan


def _sign(x: float) -> float:
    return 0.0 if x == 0.0 else math.copysign(1.0, x) if x == x else math.nan


def _maximum(x: float, y: float) -> float:
    return x if x >= y or x != x else y


def _minimum(x: float, y: float) -> float:
    return x if x <= y or x != x else y


def _logaddexp(x: float, y: float) -> float:
    if x == y:
        return x + math.log(2.0)  # infinities too
    return _maximum(x, y) + math.log1p(math.exp(-abs(x - y)))


def _sum(xs: Sequence[float]) -> float:
    """Σ xs, rounded once: the same in any order, and on any version of Python."""
    try:
        return math.fsum(xs)
    except OverflowError:  # perhaps on the way only
        return math.fsum([x * 2.0**-64 for x in xs]) * 2.0**64
    except ValueError:  # ∞ − ∞
        return math.nan


def _total(*xs: float) -> float:
    return _sum(xs)


def _mean(*xs: float) -> float:
    if not xs:
        return math.nan
    total = _sum(xs)
    return total / len(xs) if math.isfinite(total) else _sum([x / len(xs) for x in xs])


def weighted_sum(ws: Sequence[float], xs: Sequence[float], bias: float) -> float:
    """Σ w·x + bias of floats."""
    try:
        return math.fsum(map(mul, ws, xs)) + bias
    except (OverflowError, ValueError):
        return _sum([*map(mul, ws, xs), bias])


def halves(operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """The operands of a weighted sum: ws, xs, and the bias where their count is odd."""
    count = len(operands) // 2
    return operands[:count], operands[count : 2 * count], operands[2 * count :]


def _dot(*operands: float) -> float:
    ws, xs, bias = halves(operands)
    return weighted_sum(ws, xs, bias[0] if bias else 0.0)


def _dot_partials(out: Any, *operands: Any) -> tuple[Any, ...]:
    ws, xs, bias = halves(operands)
    return (*xs, *ws, *[1.0 for _ in bias])


def dot_terms(*operands: Any) -> list[Any]:
    """The terms of a weighted sum: each w·x, and the bias."""
    ws, xs, bias = halves(operands)
    return [*map(mul, ws, xs), *bias]


def _logsumexp(*xs: float) -> float:
    """The logarithm of Σ e^x, with the largest taken out and the others under log1p."""
    largest = max(xs, default=-math.inf)
    if not math.isfinite(largest):
        return largest
    others = list(xs)
    others.remove(largest)
    return largest + math.log1p(math.fsum([math.exp(x - largest) for x in others]))


def _softmax(out: Any, *xs: Any) -> list[Any]:
    """The softmax of `xs`: of floats, all at once. Shifted only where exp would leave the floats: a shift rounds."""
    if any([hasattr(type(x), "__primitive__") for x in xs]):
        return [SOFTMAX(x, *xs[:place], *xs[place + 1 :]) for place, x in enumerate(xs)]
    largest = max(xs)
    if math.isinf(largest):
        return [math.nan] * len(xs)
    shift = 0.0 if largest < 600.0 and min(xs) > -600.0 else largest
    powers = [math.exp(x - shift) for x in xs]
    whole = math.fsum(powers)
    return [power / whole for power in powers]


def _softmax_partials(out: Any, *xs: Any) -> list[Any]:
    """∂pᵢ/∂xⱼ = −pᵢ·pⱼ, and ∂pᵢ/∂xᵢ = pᵢ·Σⱼpⱼ over the others: 1 − pᵢ without losing digits. xᵢ comes first."""
    others = _softmax(out, *xs)[1:]
    return [out * TOTAL(*others), *[-(out * other) for other in others]]


def _softmax_textbook(out: Any, x: Any, *others: Any) -> list[Any]:
    whole = sum(map(EXP, (x, *others)))
    return [out * (1.0 - out), *[-(out * EXP(other)) / whole for other in others]]


def _like(x: Any, number: float) -> Any:
    """The number, of the type of `x`: a symbol writes it out."""
    return 0.0 * x + number


# Choices within a rule. Both branches are computed, and the other need not have a value.


def _if_positive(x: Any, chosen: Any, other: Any) -> Any:
    return CONDITIONALS[">"](x, 0.0, chosen, other)


def _if_zero(x: Any, chosen: Any, other: Any) -> Any:
    return CONDITIONALS["=="](x, 0.0, chosen, other)


def _share(x: Any, y: Any) -> Any:
    """1 where x > y, 0 where x < y, and a half in a tie."""
    return CONDITIONALS[">"](x, y, 1.0, CONDITIONALS["=="](x, y, 0.5, 0.0))


def _at_the_origin(x: float, y: float) -> tuple[float, ...]:
    """The kinks of what is smooth but for the origin: along an axis one operand is the distance to it."""
    return (x,) if y == 0.0 else (y,) if x == 0.0 else ()


# Value and derivative at once.


def _sigmoid_at(x: float) -> tuple[float, float]:
    small = math.exp(-abs(x))
    large, rest = 1.0 / (1.0 + small), small / (1.0 + small)
    return (large if x >= 0.0 else rest), large * rest


def _tanh_at(x: float) -> tuple[float, float]:
    small = math.exp(-2.0 * abs(x))
    return math.tanh(x), 4.0 * (1.0 / (1.0 + small)) * (small / (1.0 + small))


def _exp_at(x: float) -> tuple[float, float]:
    return ((out := math.exp(x)), out) if x < 709.0 else (math.inf, math.inf)


def _log_at(x: float) -> tuple[float, float]:
    return (math.log(x), 1.0 / x) if x > 0.0 else (math.nan, math.nan)


def _relu_at(x: float) -> tuple[float, float]:
    return (x, 1.0) if x > 0.0 else (0.0, 0.0) if x <= 0.0 else (x, x)


# On complex numbers, for the complex step; each piece of a function with kinks is continued by itself.


def _complex_power(x: complex, y: complex) -> complex:
    return cmath.exp(y * cmath.log(x)) if x.real > 0.0 else x**y


def _complex_cbrt(x: complex) -> complex:
    return cmath.exp(cmath.log(x) / 3.0) if x.real > 0.0 else -cmath.exp(cmath.log(-x) / 3.0)


def _complex_sigmoid(x: complex) -> complex:
    if x.real >= 0.0:
        return 1.0 / (1.0 + cmath.exp(-x))
    return (small := cmath.exp(x)) / (1.0 + small)


def _complex_log1p(x: complex) -> complex:
    return complex(math.log1p(x.real), cmath.log(1.0 + x).imag)


def _complex_abs(x: complex) -> complex:
    return x if x.real > 0.0 else -x


def _complex_softplus(x: complex) -> complex:
    return (x if x.real > 0.0 else 0.0) + _complex_log1p(cmath.exp(-_complex_abs(x)))


def _complex_hypot(x: complex, y: complex) -> complex:
    size = max(abs(x.real), abs(y.real))
    return size * cmath.sqrt((x / size) * (x / size) + (y / size) * (y / size))


def _complex_softsign(x: complex) -> complex:
    size = _complex_abs(x)
    return x / (1.0 + size) if size.real < 1.0 else (x / size) / (1.0 + 1.0 / size)


def _complex_atan2(y: complex, x: complex) -> complex:
    """The angle from its half, on the side where nothing cancels."""
    length = _complex_hypot(x, y)
    if x.real > 0.0:
        return 2.0 * cmath.atan(y / (length + x))
    return 2.0 * cmath.atan((length - x) / y) if y else complex(math.atan2(y.real, x.real))


def _complex_logsumexp(*xs: complex) -> complex:
    largest = max(x.real for x in xs)
    return largest + cmath.log(sum([cmath.exp(x - largest) for x in xs]))


def _complex_softmax(x: complex, *others: complex) -> complex:
    if all(other.real - x.real < 600.0 for other in others):
        return 1.0 / (1.0 + sum([cmath.exp(other - x) for other in others]))
    return cmath.exp(x - _complex_logsumexp(x, *others))


# The rows. Within a rule only rows and the operators + − · of its number type are used.

ADD: Primitive = Primitive(
    "+",
    lambda x, y: x + y,
    (lambda out, x, y: 1.0, lambda out, x, y: 1.0),
    notation=lambda x, y: x + y,
    requirement="infinities of opposite sign have no sum",
    on_complex=lambda x, y: x + y,
)
SUBTRACT: Primitive = Primitive(
    "-",
    lambda x, y: x - y,
    (lambda out, x, y: 1.0, lambda out, x, y: -1.0),
    notation=lambda x, y: x - y,
    requirement="infinities of the same sign have no difference",
    on_complex=lambda x, y: x - y,
)
MULTIPLY: Primitive = Primitive(
    "*",
    lambda x, y: x * y,
    (lambda out, x, y: y, lambda out, x, y: x),
    notation=lambda x, y: x * y,
    requirement="zero times infinity has no value",
    on_complex=lambda x, y: x * y,
)
DIVIDE: Primitive = Primitive(
    "/",
    _divide,
    (lambda out, x, y: DIVIDE(1.0, y), lambda out, x, y: -DIVIDE(out, y)),
    textbook=(lambda out, x, y: DIVIDE(1.0, y), lambda out, x, y: -DIVIDE(x, POWER(y, 2.0))),
    notation=lambda x, y: x / y,
    inside=lambda x, y: y != 0.0,
    requirement="the divisor must not be 0",
    on_complex=lambda x, y: x / y,
)
POWER: Primitive = Primitive(
    "**",
    _power,
    (
        # PyTorch's convention: x⁰ is constant, also where x = 0, and 0^y does not depend on y.
        _power_slope,
        lambda out, x, y: _if_zero(x, 0.0, out * LOG(x)),
    ),
    textbook=(lambda out, x, y: y * POWER(x, y - 1.0), lambda out, x, y: out * LOG(x)),
    notation=lambda x, y: x**y,
    inside=lambda x, y: (x > 0.0) or (x == 0.0 and y >= 0.0) or (x < 0.0 and (y % 1.0 == 0.0)),
    requirement="a negative base needs a whole exponent, and a base of 0 needs an exponent that is not negative",
    on_complex=_complex_power,
)
NEGATE: Primitive = Primitive(
    "neg", lambda x: -x, (lambda out, x: -1.0,), notation=lambda x: -x, on_complex=lambda x: -x
)
IDENTITY: Primitive = Primitive(
    "identity", lambda x: x, (lambda out, x: 1.0,), notation=lambda x: x, on_complex=lambda x: x
)
ABS: Primitive = Primitive(
    "abs",
    abs,
    (lambda out, x: SIGN(x),),
    notation="|{}|",
    latex=r"\left|{0}\right|",
    kinks=lambda x: (x,),
    on_complex=_complex_abs,
)

EXP: Primitive = Primitive("exp", _exp, (lambda out, x: out,), on_complex=cmath.exp, at=_exp_at, latex=r"e^{{{0}}}")
EXPM1: Primitive = Primitive(
    "expm1",
    _ieee(math.expm1),
    (lambda out, x: EXP(x),),
    latex=lambda x: EXP(x) - 1.0,
    on_complex=lambda x: complex(math.expm1(x.real), cmath.exp(x).imag),
)
LOG: Primitive = Primitive(
    "log",
    _log,
    (lambda out, x: DIVIDE(1.0, x),),
    latex=r"\ln",
    inside=lambda x: x > 0.0,
    requirement="the logarithm needs a number above 0",
    on_complex=cmath.log,
    at=_log_at,
)
LOG1P: Primitive = Primitive(
    "log1p",
    _ieee(math.log1p),
    (lambda out, x: DIVIDE(1.0, 1.0 + x),),
    latex=lambda x: LOG(1.0 + x),
    inside=lambda x: x > -1.0,
    requirement="the logarithm of 1 + x needs x above −1",
    on_complex=_complex_log1p,
)
LOG10: Primitive = Primitive(
    "log10",
    _ieee(math.log10),
    (lambda out, x: DIVIDE(1.0 / math.log(10.0), x),),
    latex=r"\log_{10}",
    textbook=(lambda out, x: DIVIDE(1.0, x * LOG(_like(x, 10.0))),),
    inside=lambda x: x > 0.0,
    requirement="the logarithm needs a number above 0",
    on_complex=cmath.log10,
)
LOG2: Primitive = Primitive(
    "log2",
    _ieee(math.log2),
    (lambda out, x: DIVIDE(1.0 / math.log(2.0), x),),
    latex=r"\log_{2}",
    textbook=(lambda out, x: DIVIDE(1.0, x * LOG(_like(x, 2.0))),),
    inside=lambda x: x > 0.0,
    requirement="the logarithm needs a number above 0",
    on_complex=lambda x: cmath.log(x) / math.log(2.0),
)
SQRT: Primitive = Primitive(
    "sqrt",
    _ieee(math.sqrt),
    (lambda out, x: 0.5 * POWER(x, -0.5),),
    latex=r"\sqrt{{{0}}}",
    textbook=(lambda out, x: DIVIDE(1.0, 2.0 * out),),
    inside=lambda x: x >= 0.0,
    requirement="the square root needs a number that is not negative",
    on_complex=cmath.sqrt,
)
CBRT: Primitive = Primitive(
    "cbrt",
    math.cbrt,
    (lambda out, x: _if_zero(x, math.inf, DIVIDE(out, 3.0 * x)),),
    latex=r"\sqrt[3]{{{0}}}",
    textbook=(lambda out, x: DIVIDE(1.0, 3.0 * POWER(out, 2.0)),),
    on_complex=_complex_cbrt,
)

SIN: Primitive = Primitive(
    "sin",
    _ieee(math.sin),
    (lambda out, x: COS(x),),
    latex=r"\sin",
    requirement="the sine of ∞ has no value",
    on_complex=cmath.sin,
)
COS: Primitive = Primitive(
    "cos",
    _ieee(math.cos),
    (lambda out, x: -SIN(x),),
    latex=r"\cos",
    requirement="the cosine of ∞ has no value",
    on_complex=cmath.cos,
)
TAN: Primitive = Primitive(
    "tan",
    _ieee(math.tan),
    (lambda out, x: 1.0 + out * out,),
    latex=r"\tan",
    textbook=(lambda out, x: 1.0 + POWER(out, 2.0),),
    requirement="the tangent of ∞ has no value",
    on_complex=cmath.tan,
)
ASIN: Primitive = Primitive(
    "asin",
    _ieee(math.asin),
    (lambda out, x: DIVIDE(1.0, SQRT((1.0 - x) * (1.0 + x))),),
    latex=r"\arcsin",
    textbook=(lambda out, x: DIVIDE(1.0, SQRT(1.0 - POWER(x, 2.0))),),
    inside=lambda x: -1.0 <= x <= 1.0,
    requirement="the arcsine needs a number from −1 to 1",
    on_complex=cmath.asin,
)
ACOS: Primitive = Primitive(
    "acos",
    _ieee(math.acos),
    (lambda out, x: -DIVIDE(1.0, SQRT((1.0 - x) * (1.0 + x))),),
    latex=r"\arccos",
    textbook=(lambda out, x: -DIVIDE(1.0, SQRT(1.0 - POWER(x, 2.0))),),
    inside=lambda x: -1.0 <= x <= 1.0,
    requirement="the arccosine needs a number from −1 to 1",
    on_complex=cmath.acos,
)
ATAN: Primitive = Primitive(
    "atan",
    math.atan,
    (lambda out, x: DIVIDE(1.0, 1.0 + x * x),),
    latex=r"\arctan",
    textbook=(lambda out, x: DIVIDE(1.0, 1.0 + POWER(x, 2.0)),),
    on_complex=cmath.atan,
)
SINH: Primitive = Primitive(
    "sinh", _ieee(math.sinh, odd=True), (lambda out, x: COSH(x),), on_complex=cmath.sinh, latex=r"\sinh"
)
COSH: Primitive = Primitive("cosh", _ieee(math.cosh), (lambda out, x: SINH(x),), on_complex=cmath.cosh, latex=r"\cosh")
TANH: Primitive = Primitive(
    "tanh",
    math.tanh,
    (lambda out, x: 4.0 * SIGMOID(2.0 * x) * SIGMOID(-2.0 * x),),
    latex=r"\tanh",
    textbook=(lambda out, x: 1.0 - POWER(out, 2.0),),
    on_complex=cmath.tanh,
    at=_tanh_at,
)
ASINH: Primitive = Primitive(
    "asinh",
    math.asinh,
    (lambda out, x: DIVIDE(1.0, HYPOT(1.0, x)),),
    latex=r"\mathrm{arsinh}",
    textbook=(lambda out, x: DIVIDE(1.0, SQRT(1.0 + POWER(x, 2.0))),),
    on_complex=cmath.asinh,
)
ACOSH: Primitive = Primitive(
    "acosh",
    _ieee(math.acosh),
    (lambda out, x: DIVIDE(1.0, SQRT(x - 1.0) * SQRT(x + 1.0)),),
    latex=r"\mathrm{arcosh}",
    textbook=(lambda out, x: DIVIDE(1.0, SQRT(POWER(x, 2.0) - 1.0)),),
    inside=lambda x: x >= 1.0,
    requirement="the inverse hyperbolic cosine needs a number of at least 1",
    on_complex=cmath.acosh,
)
ATANH: Primitive = Primitive(
    "atanh",
    _ieee(math.atanh),
    (lambda out, x: DIVIDE(1.0, (1.0 - x) * (1.0 + x)),),
    latex=r"\mathrm{artanh}",
    textbook=(lambda out, x: DIVIDE(1.0, 1.0 - POWER(x, 2.0)),),
    inside=lambda x: -1.0 < x < 1.0,
    requirement="the inverse hyperbolic tangent needs a number between −1 and 1",
    on_complex=cmath.atanh,
)

SIGMOID: Primitive = Primitive(
    "sigmoid",
    _sigmoid,
    (lambda out, x: out * SIGMOID(-x),),
    symbol="σ",
    latex=r"\sigma",
    textbook=(lambda out, x: out * (1.0 - out),),
    on_complex=_complex_sigmoid,
    at=_sigmoid_at,
)
LOGSIGMOID: Primitive = Primitive(
    "logsigmoid",
    lambda x: -_softplus(-x),
    (lambda out, x: SIGMOID(-x),),
    latex=lambda x: LOG(SIGMOID(x)),
    textbook=(lambda out, x: 1.0 - SIGMOID(x),),
    on_complex=lambda x: -_complex_softplus(-x),
)
SOFTPLUS: Primitive = Primitive("softplus", _softplus, (lambda out, x: SIGMOID(x),), on_complex=_complex_softplus)
SOFTSIGN: Primitive = Primitive(
    "softsign",
    lambda x: x / (1.0 + abs(x)) if math.isfinite(x) else _sign(x),
    (lambda out, x: DIVIDE(1.0, (1.0 + ABS(x)) * (1.0 + ABS(x))),),
    textbook=(lambda out, x: DIVIDE(1.0, POWER(1.0 + ABS(x), 2.0)),),
    on_complex=_complex_softsign,
)
RELU: Primitive = Primitive(
    "relu",
    lambda x: x if x > 0.0 else 0.0 if x <= 0.0 else math.nan,
    (lambda out, x: STEP(x),),
    kinks=lambda x: (x,),
    on_complex=lambda x: x if x.real > 0.0 else 0j,
    at=_relu_at,
)
STEP: Primitive = Primitive(
    "step", _step, (lambda out, x: 0.0,), kinks=lambda x: (x,), on_complex=lambda x: complex(x.real > 0.0)
)
LEAKY_RELU: Primitive = Primitive(
    "leaky_relu",
    lambda x, slope: x if x > 0.0 else slope * x,
    (lambda out, x, slope: _if_positive(x, 1.0, slope), lambda out, x, slope: 0.0 - RELU(-x)),
    defaults=(0.01,),
    kinks=lambda x, slope: (x,),
    on_complex=lambda x, slope: x if x.real > 0.0 else slope * x,
)
ELU: Primitive = Primitive(
    "elu",
    lambda x, alpha: x if x > 0.0 else alpha * math.expm1(x),
    (lambda out, x, alpha: _if_positive(x, 1.0, alpha * EXP(x)), lambda out, x, alpha: _if_positive(x, 0.0, EXPM1(x))),
    defaults=(1.0,),
    kinks=lambda x, alpha: (x,),
    on_complex=lambda x, alpha: x if x.real > 0.0 else alpha * complex(math.expm1(x.real), cmath.exp(x).imag),
)
GELU: Primitive = Primitive(
    "gelu",
    lambda x: 0.5 * x * math.erfc(-x * math.sqrt(0.5)),
    (lambda out, x: 0.5 * ERFC(x * -math.sqrt(0.5)) + x * _bell(x, 0.5) * (1.0 / math.sqrt(2.0 * math.pi)),),
    textbook=(
        lambda out, x: (
            0.5 * (1.0 + ERF(DIVIDE(x, SQRT(_like(x, 2.0)))))
            + DIVIDE(x * EXP(-0.5 * POWER(x, 2.0)), SQRT(2.0 * _like(x, math.pi)))
        ),
    ),
)
SILU: Primitive = Primitive(
    "silu",
    lambda x: x * _sigmoid(x),
    (lambda out, x: SIGMOID(x) * (1.0 + x * SIGMOID(-x)),),
    textbook=(lambda out, x: SIGMOID(x) * (1.0 + x * (1.0 - SIGMOID(x))),),
    on_complex=lambda x: x * _complex_sigmoid(x),
)
ERF: Primitive = Primitive(
    "erf",
    math.erf,
    (lambda out, x: _bell(x, 1.0) * (2.0 / math.sqrt(math.pi)),),
    textbook=(lambda out, x: DIVIDE(2.0 * EXP(-POWER(x, 2.0)), SQRT(_like(x, math.pi))),),
)
ERFC: Primitive = Primitive(
    "erfc",
    math.erfc,
    (lambda out, x: _bell(x, 1.0) * (-2.0 / math.sqrt(math.pi)),),
    textbook=(lambda out, x: -DIVIDE(2.0 * EXP(-POWER(x, 2.0)), SQRT(_like(x, math.pi))),),
)

SIGN: Primitive = Primitive(
    "sign",
    _sign,
    (lambda out, x: 0.0,),
    kinks=lambda x: (x,),
    on_complex=lambda x: complex(_sign(x.real)),
)
MAXIMUM: Primitive = Primitive(
    "maximum",
    _maximum,
    (lambda out, x, y: _share(x, y), lambda out, x, y: _share(y, x)),
    symbol="max",
    latex=r"\max",
    textbook=(lambda out, x, y: STEP(x - y), lambda out, x, y: STEP(y - x)),
    kinks=lambda x, y: (x - y,),
    on_complex=lambda x, y: x if x.real > y.real else y,
)
MINIMUM: Primitive = Primitive(
    "minimum",
    _minimum,
    (lambda out, x, y: _share(y, x), lambda out, x, y: _share(x, y)),
    symbol="min",
    latex=r"\min",
    textbook=(lambda out, x, y: STEP(y - x), lambda out, x, y: STEP(x - y)),
    kinks=lambda x, y: (x - y,),
    on_complex=lambda x, y: x if x.real < y.real else y,
)
CLAMP: Primitive = Primitive(
    "clamp",
    lambda x, low, high: _minimum(_maximum(x, low), high) if low <= high else math.nan,
    (
        # PyTorch's convention: at a bound the gradient is still that of x.
        lambda out, x, low, high: CONDITIONALS["<"](x, low, 0.0, CONDITIONALS[">"](x, high, 0.0, 1.0)),
        lambda out, x, low, high: STEP(low - x),
        lambda out, x, low, high: STEP(x - high),
    ),
    inside=lambda x, low, high: low <= high,
    requirement="the lower bound must not be above the upper one",
    kinks=lambda x, low, high: (x - low, x - high),
    on_complex=lambda x, low, high: low if x.real < low.real else high if x.real > high.real else x,
)
HYPOT: Primitive = Primitive(
    "hypot",
    math.hypot,
    (
        lambda out, x, y: _if_zero(out, 0.0, DIVIDE(x, out)),
        lambda out, x, y: _if_zero(out, 0.0, DIVIDE(y, out)),
    ),
    latex=lambda x, y: SQRT(POWER(x, 2.0) + POWER(y, 2.0)),
    textbook=(lambda out, x, y: DIVIDE(x, out), lambda out, x, y: DIVIDE(y, out)),
    kinks=_at_the_origin,
    on_complex=_complex_hypot,
)
ATAN2: Primitive = Primitive(
    "atan2",
    math.atan2,
    (
        lambda out, y, x: _if_zero(HYPOT(x, y), 0.0, DIVIDE(DIVIDE(x, HYPOT(x, y)), HYPOT(x, y))),
        lambda out, y, x: _if_zero(HYPOT(x, y), 0.0, -DIVIDE(DIVIDE(y, HYPOT(x, y)), HYPOT(x, y))),
    ),
    textbook=(
        lambda out, y, x: DIVIDE(x, POWER(x, 2.0) + POWER(y, 2.0)),
        lambda out, y, x: -DIVIDE(y, POWER(x, 2.0) + POWER(y, 2.0)),
    ),
    kinks=_at_the_origin,
    on_complex=_complex_atan2,
)
LOGADDEXP: Primitive = Primitive(
    "logaddexp",
    _logaddexp,
    (lambda out, x, y: _softmax(out, x, y)[0], lambda out, x, y: _softmax(out, x, y)[1]),
    latex=lambda x, y: LOG(EXP(x) + EXP(y)),
    textbook=(lambda out, x, y: SIGMOID(x - y), lambda out, x, y: SIGMOID(y - x)),
    on_complex=_complex_logsumexp,
)

TOTAL: Primitive = Primitive(
    "total",
    _total,
    lambda out, *xs: [1.0] * len(xs),
    notation=lambda *xs: sum(xs),
    requirement="infinities of opposite sign have no sum",
    on_complex=lambda *xs: sum(xs, 0j),
)
MEAN: Primitive = Primitive(
    "mean",
    _mean,
    lambda out, *xs: [1.0 / len(xs)] * len(xs),
    latex=lambda *xs: DIVIDE(sum(xs), float(len(xs))),
    inside=lambda *xs: len(xs) > 0,
    requirement="a mean needs at least one number, and infinities of opposite sign have none",
    on_complex=lambda *xs: sum(xs, 0j) / len(xs),
)
DOT: Primitive = Primitive(
    "dot",
    _dot,
    _dot_partials,
    notation=lambda *operands: sum(dot_terms(*operands)),
    requirement="0·∞ and ∞ − ∞ have no value",
    on_complex=lambda *operands: sum(dot_terms(*operands), 0j),
)
LOGSUMEXP: Primitive = Primitive(
    "logsumexp",
    _logsumexp,
    _softmax,
    latex=lambda *xs: LOG(sum(map(EXP, xs))),
    inside=lambda *xs: len(xs) > 0,
    requirement="the logarithm of a sum needs at least one term",
    textbook=lambda out, *xs: [DIVIDE(EXP(x), sum(map(EXP, xs))) for x in xs],
    on_complex=_complex_logsumexp,
)
SOFTMAX: Primitive = Primitive(
    "softmax",
    lambda *xs: _softmax(None, *xs)[0],
    _softmax_partials,
    textbook=_softmax_textbook,
    notation=lambda *xs: DIVIDE(EXP(xs[0]), sum(map(EXP, xs))),
    requirement="infinite scores have no shares",
    on_complex=_complex_softmax,
)


def _conditional(symbol: str, in_latex: str, holds: Callable[[float, float], bool]) -> Primitive:
    """`chosen if x ⋚ y else other`: a node of four parents, whose test passes no gradient on."""

    def partials(out: Any, x: Any, y: Any, chosen: Any, other: Any) -> tuple[Any, ...]:
        return (None, None, 1.0, None) if holds(x, y) else (None, None, None, 1.0)

    return Primitive(
        f"if {symbol}",
        lambda x, y, chosen, other: chosen if holds(x, y) else other,
        partials,
        notation=f"({{2}} if {{0}} {symbol} {{1}} else {{3}})",
        latex=rf"\begin{{{{cases}}}} {{2}} & \text{{{{if }}}} {{0}} {in_latex} {{1}} \\ "
        r"{3} & \text{{otherwise}} \end{{cases}}",
        kinks=lambda x, y, chosen, other: (x - y,),
        requirement="the branch that the test takes has no value",
        selects=True,
        on_complex=lambda x, y, chosen, other: chosen if holds(x.real, y.real) else other,
    )


CONDITIONALS: dict[str, Primitive] = {
    ">": _conditional(">", ">", lambda x, y: x > y),
    "<": _conditional("<", "<", lambda x, y: x < y),
    ">=": _conditional(">=", r"\geq", lambda x, y: x >= y),
    "<=": _conditional("<=", r"\leq", lambda x, y: x <= y),
    "==": _conditional("==", "=", lambda x, y: x == y),
    "!=": _conditional("!=", r"\neq", lambda x, y: x != y),
}

# A leaf computes nothing; a constant is a leaf that an expression brought along.
LEAF: Primitive = Primitive("", lambda: math.nan, ())
CONSTANT: Primitive = Primitive("constant", lambda: math.nan, ())

TABLE: dict[str, Primitive] = {row.name: row for row in list(globals().values()) if isinstance(row, Primitive)} | {
    row.name: row for row in CONDITIONALS.values()
}
"""Every row by its name."""


def _row_of(name: str) -> Primitive:
    return TABLE[name]
