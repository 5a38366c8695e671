"""Printed numbers: what their digits claim, and whether a number bears that out."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.backprop import backward
from engine.formula import Formula, record_or_compute
from engine.forward import DomainError, evaluated
from engine.report import Verdict
from engine.value import Value

FLOAT_RTOL = 1e-6
FLOAT_DIGITS = 15  # from which on a printed number is taken for a float's
EXACT_RTOL = 1e-12
NEARLY = 1e-3  # how far off a fraction is that is likely to be meant as rounded
ROUGH = 0.2  # relative width beyond which numbers multiplied out say nothing


def half_unit(text: str) -> Decimal:
    """Half a unit in the last printed place of a number."""
    exponent = Decimal(text).as_tuple().exponent
    return Decimal(1).scaleb(int(exponent)) / 2


def rounding(text: str, *, is_float: bool = False) -> float:
    """How far from a printed number what was rounded to it may lie."""
    is_float = is_float or len(Decimal(text).as_tuple().digits) >= FLOAT_DIGITS
    return max(float(half_unit(text)), FLOAT_RTOL * abs(float(text)) if is_float else 0.0)


def judge_number(
    text: str, expected: float, digits: int, noise: float, *, is_float: bool = False
) -> tuple[Verdict, str]:
    """Judge a printed number: outside half a unit in its last place it is wrong, inside right if it has `digits`.

    `noise` is how far from 0 rounding alone may leave the engine's number. A float, and text of 15 digits or
    more, is also right within a relative 1e-6.
    """
    printed = Decimal(text)
    significant = len(printed.as_tuple().digits)
    if float(printed) == 0.0 and abs(expected) <= noise:
        return "right", ""
    distance = abs(printed - Decimal(expected))
    relative = float(distance) / abs(expected) if expected else math.inf
    half = half_unit(text)
    if relative <= EXACT_RTOL or distance == 0:
        return "right", ""
    if (is_float or significant >= FLOAT_DIGITS) and relative <= FLOAT_RTOL:
        return "right", ""
    if distance > half + Decimal(4.0 * math.ulp(expected)):
        if distance <= 7 * half and significant > 1:
            rounded = Decimal(expected).quantize(Decimal(text))
            return "wrong", f"Only the last digit is off: to this many places it is {rounded}.".replace("-", "−")
        return "wrong", ""
    if float(printed) == 0.0:  # no digit of it is significant
        return "undecided", f"It is not 0, but that small: {digits} significant digits are needed."
    if significant >= digits:
        return "right", ""
    noun = "digit" if significant == 1 else "digits"
    return "undecided", f"Right as far as it goes: {significant} significant {noun}, and {digits} are needed."


def literal_of(formula: Formula) -> str | None:
    """The text of a formula that is one number with its sign; None where it is more."""
    tree: ast.expr = formula.tree
    sign = ""
    while isinstance(tree, ast.UnaryOp):
        if isinstance(tree.op, ast.USub):
            sign = "" if sign else "-"
        tree = tree.operand
    return sign + formula.literal_text(tree) if isinstance(tree, ast.Constant) else None


def judge_product(
    formula: Formula, expected: float, noise: float, environment: Mapping[str, float] | None = None
) -> tuple[Verdict, float, float, str]:
    """Judge a formula of numbers: right if moving each decimal within half its last place reaches `expected`.

    Returns the verdict, the formula's own number, how far its roundings reach, and what to say. Names stand for the
    numbers of the `environment`, which are exact.
    """
    decimals: list[tuple[Value, float]] = []

    def literal(node: ast.Constant) -> Any:
        text = formula.literal_text(node)
        if re.fullmatch(r"\d+", text):
            return float(text)
        decimals.append((Value(float(text)), float(half_unit(text))))
        return decimals[-1][0]

    result = formula.evaluate(environment or {}, apply=record_or_compute, literal=literal)
    obtained = float(result.data if isinstance(result, Value) else result)
    low = high = obtained
    if isinstance(result, Value):
        low, high = _reachable(result, decimals)
    reach = max(high - obtained, obtained - low)
    if math.isclose(obtained, expected, rel_tol=EXACT_RTOL, abs_tol=noise):
        return "right", obtained, reach, ""
    if not low <= expected <= high:
        return "wrong", obtained, reach, "" if decimals else _exactness(obtained, expected)
    if low <= 0.0 <= high or high - low > ROUGH * abs(obtained):
        return "undecided", obtained, reach, "The factors are too rough: give them more digits."
    return "right", obtained, reach, ""


def _exactness(obtained: float, expected: float) -> str:
    """What to say of a fraction of whole numbers that is nearly right."""
    off = abs(obtained - expected)
    if not abs(expected) * NEARLY > off > 0.0:
        return ""
    place = math.floor(math.log10(abs(expected))) - math.floor(math.log10(off)) + 1
    return (
        f"Whole numbers are exact, and this is off in significant digit {place}. "
        "A decimal is judged by its digits: 0.125 for 1/8."
    )


def _reachable(result: Value, decimals: list[tuple[Value, float]]) -> tuple[float, float]:
    """How low and how high the result comes when every decimal moves by up to half its last place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            backward(result)
            ends = [
                evaluated(result, {leaf: leaf.data + way * math.copysign(half, leaf.grad) for leaf, half in decimals})
                for way in (-1.0, 1.0)
            ]
        except (FloatingPointError, DomainError):  # at the edge of a domain: nothing is out of reach
            return -math.inf, math.inf
    low, high = sorted(values[result] for values, _ in ends)
    return low, high
