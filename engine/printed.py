"""Printed numbers: what their digits claim, and whether a number bears that out."""

from __future__ import annotations

import math
from decimal import Decimal

from engine.report import Verdict

FLOAT_RTOL = 1e-6
EXACT_RTOL = 1e-12


def half_unit(text: str) -> Decimal:
    """Half a unit in the last printed place of a number."""
    exponent = Decimal(text).as_tuple().exponent
    return Decimal(1).scaleb(int(exponent)) / 2


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
    if (is_float or significant >= 15) and relative <= FLOAT_RTOL:
        return "right", ""
    if distance > half + Decimal(4.0 * math.ulp(expected)):
        if distance <= 7 * half and significant > 1:
            rounded = Decimal(expected).quantize(Decimal(text))
            return "wrong", f"Only the last digit is off: to this many places it is {rounded}.".replace("-", "−")
        return "wrong", ""
    if significant >= digits:
        return "right", ""
    noun = "digit" if significant == 1 else "digits"
    return "undecided", f"Right as far as it goes: {significant} significant {noun}, and {digits} are needed."
