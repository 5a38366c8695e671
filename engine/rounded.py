"""Constants in a formula that were rounded early: what they must be, for the formula to be right everywhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from engine.text import number

MOST_CONSTANTS = 4  # in one formula
MOST_READINGS = 64  # of them all together
STEPS = 8
SMALL = 12  # a denominator that people write
SAME = 1e-8  # relative
_KNOWN = {
    "log(2)": math.log(2.0), "log(3)": math.log(3.0), "log(10)": math.log(10.0), "1/log(2)": 1.0 / math.log(2.0),
    "1/log(10)": 1.0 / math.log(10.0), "sqrt(2)": math.sqrt(2.0), "1/sqrt(2)": math.sqrt(0.5),
    "sqrt(3)": math.sqrt(3.0), "1/sqrt(3)": math.sqrt(1.0 / 3.0), "pi": math.pi, "2*pi": 2.0 * math.pi,
    "pi/2": 0.5 * math.pi, "1/pi": 1.0 / math.pi, "sqrt(2*pi)": math.sqrt(2.0 * math.pi),
    "1/sqrt(2*pi)": 1.0 / math.sqrt(2.0 * math.pi), "sqrt(2/pi)": math.sqrt(2.0 / math.pi),
    "2/sqrt(pi)": 2.0 / math.sqrt(math.pi), "exp(1)": math.e, "exp(-1)": 1.0 / math.e,
}  # fmt: skip

Answer = Callable[[Sequence[float]], np.ndarray]
"""A formula at some points, with other constants in place of those that were typed."""


class Typed(NamedTuple):
    """A constant as it was typed, and half a unit of its last place."""

    value: float
    half_unit: float

    def may_be(self, constant: float) -> bool:
        """Whether it is the other constant, rounded."""
        return abs(constant - self.value) <= self.half_unit * (1.0 + 1e-6)


def exact_constants(answer: Answer, right: np.ndarray, scale: float, typed: Sequence[Typed]) -> Iterator[list[float]]:
    """Constants, of which those typed are roundings, that make `answer` right.

    First such as people write, 2/3 or 1/log(10), then one of them whatever it is, then all.
    """
    tolerance = SAME * (np.abs(right) + 1e-3 * scale)
    readings = [[*_readings(one), one.value] for one in typed]
    every = range(len(typed))
    tried = itertools.chain(
        map(list, itertools.islice(itertools.product(*readings), MOST_READINGS)),
        (_solved(answer, right, tolerance, typed, chosen) for chosen in [*([one] for one in every), [*every]]),
    )
    for constants in tried:
        if constants is not None and (np.abs(answer(constants) - right) <= tolerance).all():
            yield constants


def _readings(typed: Typed) -> list[float]:
    """The constants that people write of which it may be the rounding."""
    known = [constant for constant in _KNOWN.values() if typed.may_be(constant)]
    fractions = (round(typed.value * below) / below for below in range(2, SMALL + 1))
    return [*known, *itertools.islice((one for one in fractions if typed.may_be(one)), 1)]


def _solved(
    answer: Answer, right: np.ndarray, tolerance: np.ndarray, typed: Sequence[Typed], chosen: Sequence[int]
) -> list[float] | None:
    """The least squares by Gauss and Newton's method for the chosen constants; None if it leads too far."""
    now = [one.value for one in typed]
    for _ in range(STEPS):
        slopes = []
        for place in chosen:
            half = typed[place].half_unit
            ends = [answer([*now[:place], now[place] + step, *now[place + 1 :]]) for step in (half, -half)]
            slopes.append((ends[0] - ends[1]) / (2.0 * half * tolerance))
        missing, matrix = (right - answer(now)) / tolerance, np.stack(slopes, axis=1)
        if not (np.isfinite(matrix).all() and np.isfinite(missing).all()):
            return None
        for place, change in zip(chosen, np.linalg.lstsq(matrix, missing, rcond=None)[0], strict=True):
            now[place] += float(change)
            if not typed[place].may_be(now[place]):
                return None
    return now


def written(constant: float) -> str:
    """A constant as a person would write it exactly, `2/3` or `1/log(10)`, or else to ten digits."""
    for name, known in _KNOWN.items():
        if math.isclose(constant, known, rel_tol=SAME):
            return name
    fraction = Fraction(constant).limit_denominator(100)
    return str(fraction) if math.isclose(constant, fraction, rel_tol=SAME) else number(constant, 10)
