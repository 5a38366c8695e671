"""Which mistake a wrong answer was: the hypotheses that give it, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from engine.answers import Question
from engine.arrays import quiet
from engine.batch import Batch
from engine.cross_entropy import cross_entropy_rules, softmax_rules
from engine.explain import Words
from engine.follow import Number
from engine.formula import Formula
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
from engine.printed import literal_of
from engine.repair import Written
from engine.report import Mistake, Row
from engine.situation import Guess, Situation, is_like
from engine.text import shorten
from engine.throughout import exchanges, throughout, updated_weights
from engine.value import Value

MOST_TOLD = 4  # mistakes that cannot be told apart
UNLIKELIER = 1.0  # a mistake that costs so much more than the likeliest is not told
LIKELY = 2.0  # the cost up to which nobody looks for a mistake in several places
BLOCK = 2_000  # guesses that are looked at together
LOOSE, TINY = 1e-2, 1e-300  # the most slack for the rounding of the numbers that a number comes from
SAME = 1e-7  # relative difference within which a formula is what a mistake gives

Family = Callable[[Situation], Iterable[Guess]]
FIRST: tuple[Family, ...] = (
    edges, biases, fan_out, sums, softmax_rules, cross_entropy_rules, adjoints_of_others, operations, inner_left_out,
    siblings, factors,
)  # fmt: skip
FURTHER: tuple[Family, ...] = (throughout, exchanges, updated_weights)  # these need sweeps of their own

Fits = Callable[[Any], Any]
"""For rows of gradients, a row for each guess, which of them are the answer."""


class Catalogue:
    """The guesses about one situation, made once, and which of them give an answer."""

    def __init__(self, at: Situation) -> None:
        self.at = at
        self._made: dict[tuple[Family, ...], list[tuple[Any, list[Guess]]]] = {}

    def mistakes(self, fits: Fits) -> tuple[Mistake, ...]:
        """The mistakes that give an answer, the likeliest first; none where no known mistake does."""
        at = self.at
        with quiet():
            found = self._fitting(fits, FIRST)
            if min((guess.cost for guess in found), default=LIKELY) >= LIKELY:
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
    if not np.any(np.abs(given - right) > 2.0 * tolerance):
        return None
    return lambda gradients: np.all(np.abs(gradients[:, defined] - given) <= tolerance, axis=1)


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
    fits = fits_formula(at, given)
    if fits is None:
        return (), ""
    found = integrated(at, written)
    found += tuple(one for one in Catalogue(at).mistakes(fits) if not found or one.key != found[0].key)
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


# The wrong answers of a report


class Asked(NamedTuple):
    """What was asked, the formula that was answered, and its number at the given values, if it has one there."""

    question: Question
    formula: Formula
    number: Number | None


Columns = Callable[[Question, Formula], Mapping[Value, Any]]
"""Values of the leaves at points that tell an answer from the right one."""


def is_whole(formula: Formula) -> bool:
    """Whether an answer is a whole number, which may be all that is left of a formula."""
    return re.fullmatch(r"[-+]?\d+", literal_of(formula) or "") is not None


MOST_CATALOGUES = 200  # that are kept for the next student
MOST_NAMED = 20_000  # nodes of a graph in which mistakes are looked for


class Naming:
    """Names the mistakes in the answers about one graph; `columns` gives points to look at a formula."""

    def __init__(self, words: Words, columns: Columns, *, lr: float | None, sign: float) -> None:
        self.words, self.columns, self.lr, self.sign = words, columns, lr, sign
        self.by_name = {name: node for node, name in words.names.items() if not node.is_constant}
        self._catalogues: dict[Any, Catalogue] = {}
        self._met: dict[Any, Row] = {}

    def named(self, rows: Mapping[str, Row], asked: Mapping[str, Asked]) -> dict[str, Row]:
        """The rows with the mistakes of the wrong ones, and what follows rightly from a wrong formula made right."""
        found = dict(rows)
        if len(self.words.names) > MOST_NAMED:
            return found
        for name, row in rows.items():
            undecided = row.verdict == "undecided" and name in asked and is_whole(asked[name].formula)
            if (row.verdict == "wrong" or undecided) and not row.mistakes and name in asked:
                others = self._others(name, rows, asked)
                beside = tuple((one.question, rows[other].answer) for other, one in others.items())
                key = asked[name].question, row.answer, row.message, beside
                if key not in self._met:
                    self._met[key] = self._named(row, asked[name], others)
                named = replace(self._met[key], name=name)
                if not undecided:
                    found[name] = named
                elif named.mistakes:  # rounded it might be right, but it is what a mistake gives
                    found[name] = replace(named, verdict="wrong", message="", node=named.mistakes[0].node)
        return found

    def _others(self, name: str, rows: Mapping[str, Row], asked: Mapping[str, Asked]) -> dict[str, Asked]:
        """The answers about gradients that this one comes from next."""
        question = asked[name].question
        if question.kind not in ("gradient", "new"):
            return {}
        given = {
            one.question.node: other
            for other, one in asked.items()
            if one.question.kind == "gradient"
            and one.question.root is question.root
            and one.question.node is not question.root
            and rows[other].verdict in ("right", "wrong")
        }
        found: dict[str, Asked] = {}
        stack, seen = [question.node], {question.node}
        while stack:
            for consumer, _ in self.words.feeds.get(stack.pop(), []):
                if consumer in given:
                    found[given[consumer]] = asked[given[consumer]]
                elif consumer not in seen:
                    stack.append(consumer)
                seen.add(consumer)
        return found

    def _named(self, row: Row, asked: Asked, others: Mapping[str, Asked]) -> Row:
        if asked.question.kind == "value":
            return row
        if asked.formula.names or is_whole(asked.formula):
            row = self._formula_named(row, asked, others)
        if row.verdict == "wrong" and not row.mistakes and asked.number is not None and self._is_of_numbers(asked):
            row = self._number_named(row, asked, others)
        return replace(row, node=row.mistakes[0].node) if row.mistakes and row.verdict == "wrong" else row

    def _is_of_numbers(self, asked: Asked) -> bool:
        """Whether an answer is a number, or a formula with given values put in, which says something there alone."""
        given = {abs(node.data) for node in self.by_name.values() if not node.op}
        return not asked.formula.names or any(
            abs(float(asked.formula.literal_text(one))) in given for one in asked.formula.literals
        )

    def _formula_named(self, row: Row, asked: Asked, others: Mapping[str, Asked]) -> Row:
        question = asked.question
        batch = Batch(self.words.loss, self.columns(question, asked.formula))
        written = self._written(asked.formula, batch)
        given = self._gradient(question, written.values, batch)
        own = {
            one.question.node: None if self._is_right(one, batch) else self._given(one, batch)
            for one in others.values()
            if one.formula.names
        }
        known = {name: batch.value(node) for name, node in self.by_name.items() if node in batch}
        at = self._situation(question, batch, own)
        if any(grad is not None for grad in own.values()) and is_like(at.gradient, given):
            return self._followed(row, at)
        found, repair = of_formula(at, written, given, known)
        if own and not found:
            found, repair = of_formula(self._situation(question, batch, {}), written, given, known)
        return replace(row, mistakes=found, message="\n".join(filter(None, [row.message, repair])))

    def _followed(self, row: Row, at: Situation) -> Row:
        """A row that follows rightly from a wrong formula further on."""
        slips = [at.words.names[node] for node, grad in at.own.items() if grad is not None]
        told = f"It follows rightly from your own ∂{at.words.names[at.root]}/∂{', '.join(slips)}, where the slip is."
        mistake = Mistake("follow_through", slips[0], told)
        return replace(row, verdict="right", message=told, mistakes=(mistake,), node=None, derivation="")

    def _number_named(self, row: Row, asked: Asked, others: Mapping[str, Asked]) -> Row:
        number, question = asked.number, asked.question
        assert number is not None
        given = float(np.ravel(self._gradient(question, number.obtained, self._here))[0])
        reach = number.reach / (self.lr or 1.0 if question.kind == "new" else 1.0) + 1e-9 * abs(given)
        own = {
            one.question.node: None if one.number.verdict == "right" else one.number.own
            for one in others.values()
            if one.number is not None
        }
        rounded = [
            one.number.reach / max(abs(one.number.own), TINY) for one in others.values() if one.number is not None
        ]
        slack = min(3.0 * max(rounded, default=0.0), LOOSE) * abs(given)  # of the numbers that it comes from
        tried = [(own, reach), (own, reach + slack)] if own else [({}, reach)]
        for gradients, far in tried:
            catalogue = self._catalogue(question, gradients)
            fits = fits_number(catalogue.at, given, far)
            if fits is not None and (found := catalogue.mistakes(fits)):
                return replace(row, mistakes=found)
        return row

    @cached_property
    def _here(self) -> Batch:
        """The graph at its given values."""
        return Batch(self.words.loss, {node: [node.data] for node in self.by_name.values() if not node.op})

    def _catalogue(self, question: Question, own: Mapping[Value, float | None]) -> Catalogue:
        """All guesses about a question at the given values."""
        key = question, tuple(own.items())
        if key not in self._catalogues:
            if len(self._catalogues) == MOST_CATALOGUES:
                del self._catalogues[next(iter(self._catalogues))]
            self._catalogues[key] = Catalogue(self._situation(question, self._here, own))
        return self._catalogues[key]

    def _situation(self, question: Question, batch: Batch, own: Mapping[Value, Any]) -> Situation:
        direct = question.kind == "local"
        return Situation(self.words, batch, question.root, question.node, direct=direct, lr=self.lr, own=own)

    def _written(self, formula: Formula, batch: Batch) -> Written:
        values = {name: batch.value(self.by_name[name]) for name in formula.names if name in self.by_name}
        return Written(formula, values | ({"lr": self.lr} if self.lr is not None else {}), batch.size)

    def _given(self, asked: Asked, batch: Batch) -> Any:
        return self._gradient(asked.question, self._written(asked.formula, batch).values, batch)

    def _is_right(self, asked: Asked, batch: Batch) -> bool:
        adjoint = batch.adjoints(asked.question.root).get(asked.question.node, 0.0)
        return is_like(adjoint, self._given(asked, batch))

    def _gradient(self, question: Question, values: Any, batch: Batch) -> Any:
        """The gradient that an answer stands for."""
        if question.kind == "new":
            return (batch.value(question.node) - values) / (self.lr or 1.0)
        return values * (self.sign if question.kind == "gradient" else 1.0)
