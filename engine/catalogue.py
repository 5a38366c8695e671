"""The catalogue of hypotheses about one gradient: which of them give an answer, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from engine.arrays import quiet
from engine.cross_entropy import cross_entropy_rules, softmax_rules
from engine.hypotheses import (
    adjoints_of_others,
    biases,
    edges,
    fan_out,
    inner_left_out,
    operations,
    siblings,
    sums,
    value_given,
    whole_answers,
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
ROUNDED = 2e-3  # the same for a formula with rounded constants, such as 0.667

Family = Callable[[Situation], Iterable[Guess]]
FIRST: tuple[Family, ...] = (
    edges, biases, fan_out, sums, softmax_rules, cross_entropy_rules, adjoints_of_others, operations, inner_left_out,
    siblings, value_given, whole_answers,
)  # fmt: skip
FURTHER: tuple[Family, ...] = (throughout, exchanges, updated_weights)  # these need sweeps of their own

Fits = Callable[[Any], Any]
"""For rows of gradients, a row for each guess, which of them are the answer."""


class Catalogue:
    """The guesses about one situation, made once, and which of them give an answer."""

    def __init__(self, at: Situation) -> None:
        self.at = at
        self._made: dict[tuple[Family, ...], list[tuple[Any, list[Guess]]]] = {}

    def mistakes(self, fits: Fits, *, further: bool = True) -> tuple[Mistake, ...]:
        """The mistakes that give an answer, the likeliest first; none where no known mistake does.

        Unless `further`, one that was made in several places is not looked for.
        """
        at = self.at
        with quiet():
            found = self._fitting(fits, FIRST)
            if further and min((guess.cost for guess in found), default=LIKELY) >= LIKELY:
                found += self._fitting(fits, FURTHER)
        ranked = sorted(found, key=lambda guess: (guess.cost, -at.place.get(guess.wrong, 0)))
        told: dict[tuple[str, Any], Mistake] = {}
        for guess in ranked:
            if guess.cost > ranked[0].cost + UNLIKELIER or len(told) == MOST_TOLD:
                break
            if (guess.key, guess.wrong) not in told:
                told[guess.key, guess.wrong] = Mistake(guess.key, at.words.names[guess.wrong], guess.text())
        return tuple(told.values())

    def _fitting(self, fits: Fits, families: tuple[Family, ...]) -> list[Guess]:
        if families not in self._made:
            self._made[families] = list(self._blocks(families))
        return [guesses[row] for gradients, guesses in self._made[families] for row in np.flatnonzero(fits(gradients))]

    def _blocks(self, families: tuple[Family, ...]) -> Iterator[tuple[Any, list[Guess]]]:
        guesses = (guess for family in families for guess in family(self.at))
        while block := list(islice(guesses, BLOCK)):
            gradients = np.empty((len(block), self.at.batch.size))
            for row, guess in enumerate(block):
                gradients[row] = guess.gradient
            yield gradients, [guess._replace(gradient=None) for guess in block]


def fits_formula(at: Situation, given: Any, rtol: float = SAME) -> Fits | None:
    """Whether a gradient is the function that was answered; None where the points do not tell it from the right one."""
    defined = np.isfinite(given) & np.isfinite(at.gradient)
    given, right = np.asarray(given)[defined], np.asarray(at.gradient)[defined]
    if not given.size:
        return None
    tolerance = rtol * np.abs(given) + 1e-9 * np.abs(right) + 1e-12 * np.max(np.abs(given), initial=0.0)
    telling = np.abs(given - right) > 4.0 * tolerance
    if not telling.any():
        return None

    def fits(gradients: Any) -> Any:
        off = np.abs(gradients[:, defined] - given)
        return np.all(off <= tolerance, axis=1)

    return fits


def fits_number(at: Situation, given: float, reach: float) -> Fits | None:
    """Whether a gradient is a number that was printed with some digits, whose rounding may reach so far.

    None where the number is too near the right one to tell.
    """
    right = float(at.gradient[0])
    if not abs(given - right) > 2.0 * reach:
        return None
    return lambda gradients: np.abs(gradients[:, 0] - given) <= np.minimum(reach, 0.5 * np.abs(gradients[:, 0] - right))


def of_formula(
    at: Situation, written: Written, given: Any, known: Mapping[str, Any]
) -> tuple[tuple[Mistake, ...], str]:
    """The mistakes that give a formula, and else its smallest repair over the names `known`.

    `given` is the gradient that the formula stands for, which is its values, or what follows from them.
    """
    found: tuple[Mistake, ...] = ()
    catalogue = Catalogue(at)
    for rtol in (SAME, ROUNDED) if written.has_rounded_constants else (SAME,):
        if not found and (fits := fits_formula(at, given, rtol)) is not None:
            found = integrated(at, written)
            found += tuple(one for one in catalogue.mistakes(fits) if not found or one.key != found[0].key)
    if found or not written.stands_for:  # a repair of a number would be the answer
        return found, ""
    return found, written.repair(at.gradient + (written.values - given), known)


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
