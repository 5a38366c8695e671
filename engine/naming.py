"""Which mistake a wrong answer was: the hypotheses that give it, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from engine.arrays import quiet
from engine.cross_entropy import cross_entropy_rules, softmax_rules
from engine.hypotheses import (
    adjoints_of_others,
    biases,
    edges,
    factors,
    fan_out,
    inner_left_out,
    operations,
    siblings,
    sums,
)
from engine.repair import Written
from engine.report import Mistake
from engine.situation import Guess, Situation
from engine.text import shorten
from engine.throughout import exchanges, throughout, updated_weights

MOST_TOLD = 4  # mistakes that cannot be told apart
UNLIKELIER = 1.0  # a mistake that costs so much more than the likeliest is not told
LIKELY = 2.0  # the cost up to which nobody looks for a mistake in several places
BLOCK = 2_000  # guesses that are looked at together
SAME = 1e-7  # relative difference within which a formula is what a mistake gives

Family = Callable[[Situation], Iterable[Guess]]
FIRST: tuple[Family, ...] = (
    edges, biases, fan_out, sums, softmax_rules, cross_entropy_rules, adjoints_of_others, operations, inner_left_out,
    siblings, factors,
)  # fmt: skip
FURTHER: tuple[Family, ...] = (throughout, exchanges, updated_weights)  # these need sweeps of their own

Fits = Callable[[Any], Any]
"""For rows of gradients, a row for each guess, which of them are the answer."""


def mistakes(at: Situation, fits: Fits) -> tuple[Mistake, ...]:
    """The mistakes that give an answer, the likeliest first; none where no known mistake does."""
    with quiet():
        found = _fitting(at, fits, FIRST)
        if min((guess.cost for guess in found), default=LIKELY) >= LIKELY:
            found += _fitting(at, fits, FURTHER)
    ranked = sorted(found, key=lambda guess: (guess.cost, -at.place.get(guess.wrong, 0)))
    told: dict[tuple[str, Any], Mistake] = {}
    for guess in ranked:
        if guess.cost > ranked[0].cost + UNLIKELIER or len(told) == MOST_TOLD:
            break
        if (guess.key, guess.wrong) not in told:
            told[guess.key, guess.wrong] = Mistake(guess.key, at.words.names[guess.wrong], guess.text())
    return tuple(told.values())


def _fitting(at: Situation, fits: Fits, families: Sequence[Family]) -> list[Guess]:
    found: list[Guess] = []
    guesses = (guess for family in families for guess in family(at))
    while block := list(islice(guesses, BLOCK)):
        gradients = np.empty((len(block), at.batch.size))
        for row, guess in enumerate(block):
            gradients[row] = guess.gradient
        found += [block[row] for row in np.flatnonzero(fits(gradients))]
    return found


def fits_formula(at: Situation, given: Any, rtol: float = SAME) -> Fits | None:
    """Whether a gradient is the function that was answered; None where the points do not tell it from the right one."""
    defined = np.isfinite(given) & np.isfinite(at.gradient)
    given, right = np.asarray(given)[defined], np.asarray(at.gradient)[defined]
    if not given.size:
        return None
    tolerance = rtol * np.abs(given) + 1e-9 * np.abs(right) + 1e-12 * np.max(np.abs(given), initial=0.0)
    if not np.any(np.abs(given - right) > 2.0 * tolerance):
        return None
    return lambda gradients: np.all(np.abs(gradients[:, defined] - given) <= tolerance, axis=1)


def fits_number(given: float, reach: float) -> Fits:
    """Whether a gradient is a number that was printed with some digits, whose rounding may reach so far."""
    return lambda gradients: np.abs(gradients[:, 0] - given) <= reach


def of_formula(
    at: Situation, written: Written, given: Any, known: Mapping[str, Any]
) -> tuple[tuple[Mistake, ...], str]:
    """The mistakes that give a formula, and else its smallest repair over the names `known`.

    `given` is the gradient that the formula stands for, which is its values, or what follows from them.
    """
    fits = fits_formula(at, given)
    if fits is None:
        return (), ""
    found = integrated(at, written)
    found += tuple(one for one in mistakes(at, fits) if not found or one.key != found[0].key)
    return found, "" if found else written.repair(at.gradient + (written.values - given), known)


def integrated(at: Situation, written: Written) -> tuple[Mistake, ...]:
    """The answer was integrated, where its own derivative by the target is the root."""
    tangents = at.batch.tangents(at.target)
    by_name = {at.words.names[node]: tangent for node, tangent in tangents.items()}
    derivative, root = written.derivative(by_name), at.value(at.root)
    if not np.all(np.abs(derivative - root) <= SAME * (np.abs(derivative) + np.abs(root))):
        return ()
    names = at.words.names
    told = f"You integrated: the derivative of your answer by {names[at.target]} is {shorten(names[at.root])} itself."
    return (Mistake("integrated_instead", names[at.target], told),)
