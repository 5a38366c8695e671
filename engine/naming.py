"""Names the mistakes in the wrong answers of a report, and sees what follows rightly from a wrong formula."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from engine.answers import Question
from engine.batch import Batch
from engine.catalogue import Catalogue, fits_number, of_formula
from engine.explain import Words
from engine.follow import Number
from engine.formula import Formula
from engine.printed import literal_of
from engine.repair import Written
from engine.report import Mistake, Row
from engine.situation import Situation, is_like
from engine.value import Value

MOST_CATALOGUES = 200  # that are kept for the next student
MOST_NODES = 2_000  # of a graph in which mistakes are looked for
FEWEST = 4  # points by which a formula is recognised
ROUGH = 0.05  # relative rounding of a number that tells no mistake
LOOSE, TINY = 1e-2, 1e-300  # the most slack for the rounding of the numbers that a number comes from


class Asked(NamedTuple):
    """What was asked, the formula that was answered, and its number at the given values, if it has one there."""

    question: Question
    formula: Formula
    number: Number | None


class Columns(Protocol):
    """The leaves at points that tell an answer from the right one."""

    def __call__(
        self, question: Question, formula: Formula, *, here: bool = False, labels: bool = False
    ) -> Mapping[Value, Any]:
        """Values by leaf; with `here` only on the given values' side of each kink, with `labels` only for these."""


def is_whole(formula: Formula) -> bool:
    """Whether an answer is a whole number, which may be all that is left of a formula."""
    return re.fullmatch(r"[-+]?\d+", literal_of(formula) or "") is not None


def _beginnings(numbers: Sequence[Number]) -> Iterator[tuple[dict[Value, float | None], float]]:
    """The gradients that an answer may come from, None for right ones, and the relative slack of their rounding.

    Right ones come first: they are the same for all students, and a slip may have been mended on the way.
    """
    own = {one.node: None if one.verdict == "right" else one.own for one in numbers}
    right: dict[Value, float | None] = dict.fromkeys(own)
    slack = min(3.0 * max([one.reach / max(abs(one.own), TINY) for one in numbers], default=0.0), LOOSE)
    for come_from in (right, own) if own != right else (own,):
        yield come_from, 0.0
        if slack:
            yield come_from, slack


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
        if len(self.words.names) > MOST_NODES:
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
        unnamed = row.verdict == "wrong" and not row.mistakes
        if unnamed and asked.number is not None and self._is_of_numbers(asked):
            row = self._number_named(row, asked, asked.number, others)
        return replace(row, node=row.mistakes[0].node) if row.mistakes and row.verdict == "wrong" else row

    def _is_of_numbers(self, asked: Asked) -> bool:
        """Whether an answer is a number, or a formula with given values put in, which says something there alone."""
        formula = asked.formula
        given = {abs(node.data) for name, node in self.by_name.items() if not node.op and name not in formula.names}
        texts = [formula.literal_text(literal) for literal in formula.literals]
        return not formula.names or any("." in text and float(text) in given for text in texts)

    @cached_property
    def _is_kinked(self) -> bool:
        return any(node._row.kinks is not None for node in self.words.order)

    def _formula_named(self, row: Row, asked: Asked, others: Mapping[str, Asked]) -> Row:
        """At points on all sides of the kinks, or else on that of the given values alone, or with the given labels."""
        named = self._named_at(self.columns(asked.question, asked.formula), row, asked, others)
        for where in ("here", "labels") if self._is_kinked else ("labels",):
            if named.verdict == "wrong" and not named.mistakes:
                leaves = self.columns(asked.question, asked.formula, **{where: True})
                if min(map(np.size, leaves.values()), default=0) >= FEWEST:
                    again = self._named_at(leaves, row, asked, others)
                    named = again if again.mistakes else named
        return named

    def _named_at(self, leaves: Mapping[Value, Any], row: Row, asked: Asked, others: Mapping[str, Asked]) -> Row:
        question = asked.question
        batch = Batch(self.words.loss, leaves)
        written = self._written(asked.formula, batch)
        given = self._gradient(question, written.values, batch)
        formulas = [one for one in others.values() if one.formula.names]
        right = batch.adjoints(question.root) if formulas else {}
        own = {one.question.node: self._own(one, batch, right.get(one.question.node, 0.0)) for one in formulas}
        known = {name: batch.value(node) for name, node in self.by_name.items() if node.label and node in batch}
        at = self._situation(question, batch, own)
        slips = any(grad is not None for grad in own.values())
        if slips and np.any(given) and is_like(at.gradient, given):  # that 0 follows from 0 tells nothing
            return self._followed(row, at)
        found, repair = of_formula(at, written, given, known)
        if own and not found:
            found, repair = of_formula(self._situation(question, batch, {}), written, given, known)
        return replace(row, mistakes=found, message="\n".join(filter(None, [row.message, repair])))

    def _followed(self, row: Row, at: Situation) -> Row:
        """A row that follows rightly from a wrong formula further on."""
        slips = [at.words.names[node] for node, grad in at.own.items() if grad is not None]
        told = f"Follows rightly from your own ∂{at.words.names[at.root]}/∂{', '.join(slips)}, where the slip is."
        mistake = Mistake("follow_through", slips[0], told)
        return replace(row, verdict="right", message=told, mistakes=(mistake,), node=None, derivation="")

    def _number_named(self, row: Row, asked: Asked, number: Number, others: Mapping[str, Asked]) -> Row:
        """At the given values, from the student's own numbers further on, or from the right ones."""
        given = float(np.ravel(self._gradient(asked.question, number.obtained, self._here))[0])
        printed = 0.0 if is_whole(asked.formula) else number.reach  # who writes 4 means 4
        reach = printed / (self.lr or 1.0 if asked.question.kind == "new" else 1.0) + 1e-9 * abs(given)
        if reach > ROUGH * abs(given):
            return row
        for own, slack in _beginnings([one.number for one in others.values() if one.number is not None]):
            catalogue = self._catalogue(asked.question, own)
            fits = fits_number(catalogue.at, given, reach + slack * abs(given))
            further = not any(own.values())  # a slip beside is enough
            if fits is not None and (found := catalogue.mistakes(fits, further=further)):
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

    def _own(self, asked: Asked, batch: Batch, right: Any) -> Any:
        """The gradient that was answered, None where it is the right one."""
        given = self._gradient(asked.question, self._written(asked.formula, batch).values, batch)
        return None if is_like(right, given) else given

    def _gradient(self, question: Question, values: Any, batch: Batch) -> Any:
        """The gradient that an answer stands for."""
        if question.kind == "new":
            return (batch.value(question.node) - values) / (self.lr or 1.0)
        return values * (self.sign if question.kind == "gradient" else 1.0)
