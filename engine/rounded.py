"""Constants in a formula that were rounded early: what they must be, for the formula to be right everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from engine.text import number

MOST_CONSTANTS = 4  # in one formula
STEPS = 8
_SAME = 1e-9
_KNOWN = {
    "log(2)": math.log(2.0), "log(3)": math.log(3.0), "log(10)": math.log(10.0), "1/log(2)": 1.0 / math.log(2.0),
    "1/log(10)": 1.0 / math.log(10.0), "sqrt(2)": math.sqrt(2.0), "1/sqrt(2)": math.sqrt(0.5),
    "sqrt(3)": math.sqrt(3.0), "1/sqrt(3)": math.sqrt(1.0 / 3.0), "pi": math.pi, "2*pi": 2.0 * math.pi,
    "pi/2": 0.5 * math.pi, "1/pi": 1.0 / math.pi, "sqrt(2*pi)": math.sqrt(2.0 * math.pi),
    "1/sqrt(2*pi)": 1.0 / math.sqrt(2.0 * math.pi), "sqrt(2/pi)": math.sqrt(2.0 / math.pi),
    "2/sqrt(pi)": 2.0 / math.sqrt(math.pi), "e": math.e, "1/e": 1.0 / math.e, "e**2": math.exp(2.0),
}  # fmt: skip


def exact_constants(
    answer: Callable[[Sequence[float]], np.ndarray],
    right: np.ndarray,
    scale: float,
    typed: Sequence[float],
    half_units: Sequence[float],
) -> list[float] | None:
    """The constants within half a unit of those `typed` that make `answer` right, or None.

    One of them alone is tried first, then all.
    """
    every = range(len(typed))
    for chosen in [(one,) for one in every] + [tuple(every)] * (len(typed) > 1):
        found = _solved(answer, right, scale, typed, half_units, chosen)
        if found is not None:
            return found
    return None


def _solved(
    answer: Callable[[Sequence[float]], np.ndarray],
    right: np.ndarray,
    scale: float,
    typed: Sequence[float],
    half_units: Sequence[float],
    chosen: Sequence[int],
) -> list[float] | None:
    """Gauss and Newton's method, for the chosen constants."""
    now = list(typed)
    weight = 1.0 / (np.abs(right) + 1e-3 * scale)
    for _ in range(STEPS):
        slopes = []
        for place in chosen:
            ends = [answer([c + way * (i == place) * half_units[i] for i, c in enumerate(now)]) for way in (1.0, -1.0)]
            slopes.append(weight * (ends[0] - ends[1]) / (2.0 * half_units[place]))
        missing = weight * (right - answer(now))
        matrix = np.stack(slopes, axis=1)
        if not (np.isfinite(matrix).all() and np.isfinite(missing).all()):
            return None
        step = np.linalg.lstsq(matrix, missing, rcond=None)[0]
        for place, change in zip(chosen, step, strict=True):
            now[place] += float(change)
            if not abs(now[place] - typed[place]) <= half_units[place] * (1.0 + 1e-6):
                return None
        if all(abs(change) <= 1e-15 * abs(now[place]) for place, change in zip(chosen, step, strict=True)):
            break
    return now


def written(constant: float) -> str:
    """A constant as a person would write it exactly, `2/3` or `1/log(10)`, or else to ten digits."""
    for name, known in _KNOWN.items():
        if math.isclose(abs(constant), known, rel_tol=_SAME):
            return name
    fraction = Fraction(constant).limit_denominator(200)
    if fraction.denominator > 1 and math.isclose(constant, fraction, rel_tol=_SAME) and abs(fraction.numerator) < 1000:
        return str(fraction)
    return number(constant, 10)
