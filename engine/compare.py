"""Hand derivation against engine: whether each answer is right, and where the numbers went wrong first."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from engine.agreement import Agreement
from engine.answers import Answer, Question, Reader, Unanswerable
from engine.explain import Words, derivation, local_derivation, update_in_words
from engine.follow import Judge, Number, Table
from engine.formula import Formula, FormulaError, record_or_compute
from engine.forward import as_float, refuse_outdated
from engine.habits import judged_together
from engine.naming import Asked, Naming
from engine.printed import judge_number, judge_product, literal_of, rounding
from engine.report import Mistake, Report, Row, Verdict
from engine.sampling import NEAR
from engine.value import Value


def compare(
    loss: Value,
    answers: Mapping[str, Any],
    *,
    lr: float | None = None,
    digits: int = 3,
    seed: int = 0,
    convention: str = "gradient",
) -> Report:
    """Check answers made by hand against the engine's.

    Each key says what was asked: `"w"` or `"dL/dw"` the gradient of the loss, `"dU/dV"` of any node by any node,
    `"local(u, v)"` a local derivative, `"value(z)"` a value, `"new(w)"` the weight after a gradient descent step
    with `lr`. Each answer is a number, a number as text (judged by its printed digits, of which `digits`
    significant ones are needed), or a formula over the names of the graph, judged at points drawn by `seed`.
    With `convention="negative_gradient"` gradients are expected as δ = −∂L/∂z.

    An answer that cannot be read is a row with the verdict "invalid". Raises TypeError for a loss that is no
    Value or answers that are no mapping, ValueError for options without meaning, no answers at all, or data that
    was edited after the forward pass.
    """
    if not isinstance(answers, Mapping):
        raise TypeError(f"compare needs a mapping from names to answers, not {type(answers).__name__}.")
    check_options("compare", loss, lr, digits, convention)
    if not answers:
        raise ValueError("There are no answers to compare.")
    given = [Answer(key if isinstance(key, str) else repr(key), answer) for key, answer in answers.items()]
    return judge(loss, given, lr=lr, digits=digits, seed=seed, convention=convention)


def check_options(what: str, loss: Value, lr: float | None, digits: int, convention: str) -> None:
    """Raise TypeError for a loss that is no Value, ValueError for options without meaning; `what` needs them."""
    if not isinstance(loss, Value):
        raise TypeError(f"{what} needs a loss that is a Value, not {type(loss).__name__} {loss!r:.60}.")
    if convention not in ("gradient", "negative_gradient"):
        raise ValueError(f'The convention is "gradient" or "negative_gradient", not {convention!r}.')
    if isinstance(lr, str) or (lr is not None and not math.isfinite(lr)):
        raise ValueError(f"The learning rate is a finite number such as 0.5, not {lr!r}.")
    if not isinstance(digits, int) or digits < 1:
        raise ValueError(f"digits is a whole number of significant digits from 1 on, not {digits!r}.")


def judge(
    loss: Value,
    answers: Iterable[Answer],
    *,
    lr: float | None,
    digits: int,
    seed: int,
    convention: str,
    unconnected: Collection[str] = (),
) -> Report:
    """`compare` for answers that know where they stand; `unconnected` are names that the loss does not depend on."""
    refuse_outdated(loss, "compare")
    comparison = Comparison(loss, None if lr is None else as_float(lr), digits, seed, convention, unconnected)
    return comparison.report(answers)


POINTS = 32  # at which it is seen which mistake a formula is


class _Judged(NamedTuple):
    """What became of an answer, whoever gave it; `number` is what it is at the given values, if it has one there."""

    verdict: Verdict
    obtained: float | None
    message: str
    number: Number | None = None
    mistakes: tuple[Mistake, ...] = ()


class Comparison(Agreement):
    """One graph, one set of options, and the answers of one student after the other; each `row` for itself."""

    def __init__(
        self, loss: Value, lr: float | None, digits: int, seed: int, convention: str, unconnected: Collection[str]
    ) -> None:
        super().__init__(loss, lr, seed, convention)
        self.digits = digits
        self.reader = Reader(loss, self.named, lr, unconnected, self.sampler.direct_operands)
        self.numbers: dict[str, Number] = {}  # of the answers of one student
        self.asked: dict[str, Asked] = {}
        self._met: dict[tuple[Question, type, str], _Judged] = {}  # answers that were judged before
        self._derivations: dict[Question, str] = {}

    def question(self, key: str) -> Question:
        """Read the key of an answer. Raises Unanswerable, FormulaError or LookupError."""
        return self.reader.question(key)

    # The verdicts

    def report(self, answers: Iterable[Answer]) -> Report:
        """The answers of one student, judged together."""
        self.numbers, self.asked = {}, {}
        rows = {answer.name: self.row(answer) for answer in answers}
        report = judged_together(self.table(), rows, self.words, self.named)
        return Report(self.naming.named(report, self.asked), report.notes)

    @cached_property
    def naming(self) -> Naming:
        """What names the mistakes in wrong answers."""
        sign = -1.0 if self.convention == "negative_gradient" else 1.0
        return Naming(self.words, partial(self.few, count=POINTS), lr=self.lr, sign=sign)

    def row(self, given: Answer) -> Row:
        """Judge one answer."""
        name, shown = given.name, given.shown
        if given.problem is not None:
            return Row(name, shown, "invalid", message=str(given.problem))
        try:
            if (missing := self.reader.unconnected_name(name)) is not None:
                return self._judge_unconnected(given, missing)
            question = self.question(name)
        except (Unanswerable, LookupError, FormulaError) as error:
            where = f"line {given.source.line}: " if given.source else ""
            return Row(name, shown, "invalid", message=where + error.args[0])
        expected = self.expected(question, self.sampler.given).value
        try:
            formula, remark = self.reader.formula(given)
            verdict, obtained, message, answered, mistakes = self._judged_once(question, formula, expected, given)
        except (Unanswerable, FormulaError) as error:
            return Row(name, shown, "invalid", expected, message=str(error))
        self.asked[name] = Asked(question, formula, answered)
        if answered is not None:
            self.numbers[name] = answered
        said = "\n".join(filter(None, [message, remark]))
        row = Row(name, shown, verdict, expected, obtained, said, mistakes=mistakes)
        if verdict != "wrong":
            return row
        if question not in self._derivations:
            self._derivations[question] = self._derivation(question)
        return replace(row, derivation=self._derivations[question])

    def _judged_once(self, question: Question, formula: Formula, expected: float, given: Answer) -> _Judged:
        """The same answer to the same question is judged once, however many students give it."""
        key = question, type(given.given), given.shown
        if key not in self._met:
            self._met[key] = self._judged(question, formula, expected, given.given)
        return self._met[key]

    def _judge_unconnected(self, given: Answer, missing: str) -> Row:
        message = f"{self.words.names[self.loss]} does not depend on {missing}: its gradient is 0."
        try:
            text = literal_of(self.reader.formula(given)[0])
        except (Unanswerable, FormulaError) as error:
            return Row(given.name, given.shown, "invalid", 0.0, message=str(error))
        obtained = None if text is None else float(text)
        return Row(given.name, given.shown, "right" if obtained == 0.0 else "wrong", 0.0, obtained, message)

    def _judged(self, question: Question, formula: Formula, expected: float, answer: Any) -> _Judged:
        judge: Judge | None = None
        reach = 0.0
        mistakes: tuple[Mistake, ...] = ()
        if any(used in self.by_name or used == "lr" for used in formula.names):
            obtained = self.at_given(formula)
            if not math.isfinite(obtained):
                self._refuse_undefined(question, formula)
            verdict, message, mistakes = self.judge_formula(question, formula)
            if not math.isfinite(obtained):
                return _Judged(verdict, None, message, mistakes=mistakes)
        else:
            if not math.isfinite(expected):
                raise Unanswerable(f"The engine's own answer is {expected} here, so there is nothing to compare.")
            is_float = not isinstance(answer, str | int | Decimal)
            obtained, reach, judge = self._number(question, formula, is_float=is_float)
            verdict, message = judge(expected)
            if verdict == "wrong" and not message:
                message = self._other_quantity(judge, question)
                named = self.words.names[question.node]
                mistakes = (Mistake("value_for_gradient", named, message),) if message else ()
        sign = -1.0 if self.convention == "negative_gradient" and question.kind == "gradient" else 1.0

        def turned() -> Verdict:
            if judge is not None:
                return judge(-expected)[0]
            other = copy.copy(self)
            other.convention = "gradient" if sign < 0.0 else "negative_gradient"
            return other.judge_formula(question, formula).verdict

        kind, root, node = question.kind, question.root, question.node
        given = Number(kind, root, node, obtained, reach, sign * expected, verdict, judge, turned, sign)
        return _Judged(verdict, obtained, message, given, mistakes)

    def _refuse_undefined(self, question: Question, formula: Formula) -> None:
        """Raise FormulaError, pointing at the place, unless the formula has a value close by, as at a kink."""
        points = self.points(question).points
        near = np.flatnonzero(points.reach == NEAR)
        if not np.isfinite(self._at(formula, points, {}, near)).any():
            formula.evaluate(self.environment(formula, self.sampler.given), apply=record_or_compute)

    def _number(self, question: Question, formula: Formula, *, is_float: bool) -> tuple[float, float, Judge]:
        """The number that an answer is, how far its rounding reaches, and how it is judged."""
        noise = self.expected(question, self.sampler.given).noise
        text = literal_of(formula)
        if text is not None:
            judge = partial(judge_number, text, digits=self.digits, noise=noise, is_float=is_float)
            return float(text), rounding(text, is_float=is_float) + noise, judge

        def judge_by_its_factors(expected: float) -> tuple[Verdict, str]:
            verdict, _, _, message = judge_product(formula, expected, noise)
            return verdict, message

        _, obtained, reach, _ = judge_product(formula, 0.0, noise)
        return obtained, reach + noise, judge_by_its_factors

    def _other_quantity(self, judge: Judge, question: Question) -> str:
        if question.kind != "gradient" or question.node.data == 0.0 or judge(question.node.data)[0] != "right":
            return ""
        name = self.words.names[question.node]
        return f"This is the value of {name}. Its gradient, {self.words.gradient_of(question.node)}, was asked."

    def table(self) -> Table:
        """The numbers of the answers that were judged, beside each other."""
        return Table(self.loss, self.numbers, self.lr)

    @cached_property
    def _copied_words(self) -> Words:
        return Words(self.sampler.copies[self.loss])

    def _derivation(self, question: Question) -> str:
        """The right derivation in symbols, with the numbers at the given values."""
        copies, given = self.sampler.copies, self.sampler.given
        self.sampler.load(given.derivatives)  # before the words are made: a condition decides what they reach
        words = self._copied_words
        root, node = copies[question.root], copies[question.node]
        if question.kind == "value":
            return f"  {words.forward_line(node)}"
        if question.kind == "local":
            local = self.sampler.gradient(given, "local", question.root, question.node)
            return local_derivation(words, node, root, local.value)
        for original, copied in copies.items():
            copied.grad = self.sampler.gradient(given, "gradient", question.root, original).value
        lines = derivation(words, node, root)
        return lines if question.kind != "new" else f"{lines}\n{update_in_words(words, node, self.lr or 0.0, 9)}"
