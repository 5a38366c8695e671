"""Which mistake a wrong answer was: the hypotheses that give it, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from engine.arrays import quiet
from engine.hypotheses import FIRST, FURTHER, Guess, Situation
from engine.report import Mistake
from engine.text import shorten

MOST_TOLD = 4  # mistakes that cannot be told apart
UNLIKELIER = 1.0  # a mistake that costs so much more than the likeliest is not told
BLOCK = 2_000  # guesses that are looked at together
SAME = 1e-7  # relative difference within which a formula is what a mistake gives

Fits = Callable[[Any], Any]
"""For rows of gradients, a row for each guess, which of them are the answer."""


def mistakes(at: Situation, fits: Fits, more: Iterable[Guess] = ()) -> tuple[Mistake, ...]:
    """The mistakes that give an answer, the likeliest first; none where no known mistake does."""
    with quiet():
        found = _fitting(at, fits, more, FIRST)
        if not found or found[0].cost > UNLIKELIER + 1.0:
            found += _fitting(at, fits, (), FURTHER)
    return _told(at, found)


def _fitting(
    at: Situation, fits: Fits, more: Iterable[Guess], families: Sequence[Callable[[Situation], Iterable[Guess]]]
) -> list[Guess]:
    def every() -> Iterable[Guess]:
        yield from more
        for family in families:
            yield from family(at)

    found: list[Guess] = []
    guesses = iter(every())
    while block := list(islice(guesses, BLOCK)):
        gradients = np.empty((len(block), at.batch.size))
        for row, guess in enumerate(block):
            gradients[row] = guess.gradient
        found += [block[row] for row in np.flatnonzero(fits(gradients))]
    return sorted(found, key=lambda guess: (guess.cost, -at.place.get(guess.wrong, 0)))


def _told(at: Situation, found: Sequence[Guess]) -> tuple[Mistake, ...]:
    told: dict[tuple[str, Any], Mistake] = {}
    ranked = sorted(found, key=lambda guess: (guess.cost, -at.place.get(guess.wrong, 0)))
    for guess in ranked:
        if guess.cost > ranked[0].cost + UNLIKELIER or len(told) == MOST_TOLD:
            break
        if (guess.key, guess.wrong) not in told:
            node = shorten(at.words.names[guess.wrong], 200)
            told[guess.key, guess.wrong] = Mistake(guess.key, node, guess.text())
    return tuple(told.values())


def fits_formula(at: Situation, given: Any, rtol: float = SAME) -> Fits | None:
    """Whether a gradient is the function that was answered; None where the points do not tell it from the right one."""
    defined = np.isfinite(given) & np.isfinite(at.gradient)
    given, right = np.asarray(given)[defined], np.asarray(at.gradient)[defined]
    if not given.size:
        return None
    tolerance = rtol * np.abs(given) + 1e-9 * np.abs(right) + 1e-12 * np.max(np.abs(given), initial=0.0)
    apart = np.abs(given - right) > 2.0 * tolerance
    if not apart.any():
        return None
    return lambda gradients: np.all(np.abs(gradients[:, defined] - given) <= tolerance, axis=1)


def fits_number(given: float, reach: float) -> Fits:
    """Whether a gradient is a number that was printed with some digits, whose rounding may reach so far."""
    return lambda gradients: np.abs(gradients[:, 0] - given) <= reach
