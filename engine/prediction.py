"""Predictions: a number or a formula given before the walk shows it, judged, and the score that is kept of them."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.agreement import Tried, picked
from engine.answers import Answer, Question, read_answer
from engine.blanks import SUM_OF_PATHS, Blank
from engine.compare import Comparison
from engine.expression import Expression
from engine.formula import Formula, FormulaError, Source, record_or_compute
from engine.graph import named_nodes
from engine.mistakes import SAME, Hypothesis, contribution_mistakes, mistakes_at, sum_mistakes
from engine.points import Gradient, Points
from engine.printed import judge_number, judge_product, literal_of
from engine.report import Mistake, Row
from engine.sampling import NEAR, Given
from engine.text import number, shorten, table
from engine.value import Value
from engine.walk import Backprop

DIGITS = 3  # significant digits that a number needs
CLOSE_BY = 256  # points at which a formula is tried besides the given values
NOT_ZERO = "It is not 0."  # who predicts 0 means that nothing comes, and not a number that is rounded to it
MOST_TOLD = 3  # mistakes that fit an answer

Outcome = Literal["right", "wrong", "undecided", "invalid", "shown"]
COUNTED: tuple[Outcome, ...] = ("right", "wrong", "shown", "undecided")


@dataclass(frozen=True)
class Prediction:
    """An answer given before the number was seen, and what became of it.

    `verdict` is "right", "wrong", "undecided" (too few digits), "invalid" (it can't be read), or "shown" where the
    number was asked for. `kind` is the operation whose rule it takes, or the sum of paths; `step` the number of the
    step, None for a gradient that was asked as a whole. `mistakes` are those that give this answer.
    """

    question: str
    answer: str
    verdict: Outcome
    expected: float | None
    message: str = ""
    mistakes: tuple[Mistake, ...] = ()
    kind: str = ""
    step: int | None = None

    def __str__(self) -> str:
        if self.verdict == "shown":
            return f"{self.question} was shown."
        said = f"{self.question.replace('?', shorten(self.answer))} is {self.verdict}."
        return "\n  ".join([said, *self.message.splitlines()])

    __repr__ = __str__


def predict(walk: Backprop, question: Value | str, answer: Any, digits: int) -> Prediction:
    """`Backprop.predict`, but for the count."""
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
        raise ValueError(f"digits is a whole number of significant digits from 1 on, not {digits!r}.")
    comparison = Comparison(walk.loss, None, digits, 0, "gradient", ())
    key = walk.names[walk.find(question)] if isinstance(question, Value) else question
    asked = comparison.question(key)
    try:
        expression = _with_gradients(walk, comparison, answer)
        row = comparison.row(Answer(key, answer)) if expression is None else _row(walk, key, asked, expression, digits)
    except FormulaError as error:
        row = Row(key, str(answer).strip(), "invalid", message=str(error))
    if row.verdict == "undecided" and row.obtained == 0.0:
        row = replace(row, verdict="wrong", message=NOT_ZERO)
    mistakes: tuple[Mistake, ...] = ()
    if row.verdict == "wrong" and asked.kind == "gradient" and asked.root is walk.loss and row.obtained is not None:
        hypotheses = _mistakes_at_gradient(comparison, asked.node)
        mistakes = _fitting(hypotheses, _fits(answer if isinstance(answer, str) else row.answer, row.obtained))
    words, gradient = walk.words, asked.kind == "gradient"
    shown = words.derivative(asked.root, asked.node) if gradient else shorten(key)
    said = [row.message, _perhaps(mistakes)]
    message = "\n".join(part for part in said if part)
    expected = row.expected if row.expected is not None and math.isfinite(row.expected) else None
    return Prediction(f"{shown} = ?", row.answer, row.verdict, expected, message, mistakes, _kind(comparison, asked))


def _with_gradients(walk: Backprop, comparison: Comparison, answer: Any) -> Expression | None:
    """The answer as a formula that speaks of gradients; None where it is none. Raises FormulaError at its mistakes."""
    try:
        expression = _expression(walk, answer, None) if isinstance(answer, str) else None
    except ValueError:
        if comparison.reader.gradient_in(answer):
            raise
        return None  # as an answer it will be told why
    return expression if expression is not None and expression.gradients else None


def _expression(walk: Backprop, answer: str, source: Source | None) -> Expression:
    """An answer in the words of a formula. Raises FormulaError, pointing into `source`."""
    reading = read_answer(answer, source, named_nodes(walk.names))
    return Expression(reading.text, walk, reading.source)


def _row(walk: Backprop, key: str, asked: Question, expression: Expression, digits: int) -> Row:
    """What becomes of an answer that speaks of gradients: those of the whole backward pass."""
    if asked.kind == "gradient" and asked.root is walk.loss and asked.node in expression.gradients:
        return Row(key, expression.text, "invalid", message="This gradient is what is asked.")
    comparison = _WithGradients(walk, expression, digits)
    given = comparison.sampler.given
    verdict, message, _ = comparison.judge_formula(asked, expression.formula)
    environment = comparison.environment(expression.formula, given)
    obtained = float(expression.formula.evaluate(environment, apply=record_or_compute))
    return Row(key, expression.text, verdict, comparison.expected(asked, given).value, obtained, message)


def _kind(comparison: Comparison, asked: Question) -> str:
    """The operation whose rule an answer takes."""
    if asked.kind != "gradient":
        return asked.root.op if asked.kind == "local" else "value"
    consumers = comparison.words.feeds.get(asked.node, [])
    if asked.root is not comparison.loss or not consumers:
        return "gradient"
    return consumers[0][0].op if len(consumers) == 1 else SUM_OF_PATHS


def _mistakes_at_gradient(comparison: Comparison, node: Value) -> list[Hypothesis]:
    """What the gradient of the loss by `node` would be by a mistake at its last step."""
    sampler, words = comparison.sampler, comparison.words
    consumers = words.feeds.get(node, [])
    grads = [sampler.gradient(sampler.given, "gradient", words.loss, consumer).value for consumer, _ in consumers]
    if len(consumers) == 1:
        consumer = consumers[0][0]
        return contribution_mistakes(words, consumer, consumer.parents.index(node), grads[0])
    if not consumers:
        return []
    return sum_mistakes(
        words, node, [grad * derivative for grad, (_, derivative) in zip(grads, consumers, strict=True)]
    )


def _fits(text: str, obtained: float) -> Callable[[float], bool]:
    """Whether an answer is some number: by its printed digits where it is a number itself."""
    try:
        formula = Formula(read_answer(text).text)
        literal = literal_of(formula)
        if literal is not None:
            return lambda given: judge_number(literal, given, DIGITS, 0.0)[0] == "right"
        if not formula.names:
            return lambda given: judge_product(formula, given, 0.0)[0] == "right"
    except ValueError:  # not by itself
        pass
    return lambda given: math.isclose(obtained, given, rel_tol=SAME)


def _fitting(hypotheses: Sequence[Hypothesis], fits: Callable[[float], bool]) -> tuple[Mistake, ...]:
    return tuple(dict.fromkeys(mistake for given, mistake in hypotheses if fits(given)))[:MOST_TOLD]


def _perhaps(mistakes: Sequence[Mistake]) -> str:
    return f"Perhaps {'; or '.join(mistake.text for mistake in mistakes)}." if mistakes else ""


def judge_blank(walk: Backprop, blank: Blank, answer: str, source: Source | None = None) -> Prediction:
    """Judge what a student fills in at a step that comes next. Raises FormulaError, pointing into `source`."""
    expression = _expression(walk, answer, source)
    if blank.asks == "sum" and blank.node in expression.gradients:
        raise expression.source.error("This gradient is what is asked.", 0, "Add what its paths have sent.")
    verdict, obtained, message = _judged(walk, blank, expression)
    mistakes: tuple[Mistake, ...] = ()
    if verdict == "wrong":
        mistakes = _fitting(mistakes_at(blank), _fits(expression.text, obtained))
        by_chance = math.isclose(obtained, blank.expected, rel_tol=SAME)  # and not elsewhere, as the message says
        message = _perhaps(mistakes) or (message if by_chance or message == NOT_ZERO else _here(expression, obtained))
    return Prediction(
        blank.question, expression.text, verdict, blank.expected, message, mistakes, blank.operation, blank.step.index
    )


def _here(expression: Expression, obtained: float) -> str:
    return "" if expression.is_literal else f"Here it gives {number(obtained)}."


def _judged(walk: Backprop, blank: Blank, expression: Expression) -> tuple[Outcome, float, str]:
    """The verdict, the number given, and what to say."""
    verdict: Outcome
    formula, expected = expression.formula, blank.expected
    noise = blank.noise
    literal = literal_of(formula)
    if literal is not None:
        verdict, message = judge_number(literal, expected, DIGITS, noise)
        if verdict == "undecided" and float(literal) == 0.0:
            return "wrong", 0.0, NOT_ZERO
        if verdict == "undecided" and any(float(literal) == one.number for one in mistakes_at(blank)):
            return "wrong", float(literal), ""  # rounded it would be right, but it is what a mistake gives
        return verdict, float(literal), message
    if not formula.names:
        verdict, obtained, _, message = judge_product(formula, expected, noise)
        return verdict, obtained, message
    obtained = expression.value()
    environment = expression.environment(lambda node: node.data, lambda node: node.grad)
    verdict, message = "right" if math.isclose(obtained, expected, rel_tol=SAME, abs_tol=noise) else "wrong", ""
    if all(walk.is_complete(node) for node in expression.gradients):  # else it is so here alone
        elsewhere, message = _AtBlank(walk, blank, expression).judge()
        verdict = verdict if elsewhere == "undecided" else elsewhere
    if verdict == "wrong" and any("." in formula.literal_text(literal) for literal in formula.literals):
        rounded, _, _, said = judge_product(formula, expected, noise, environment)  # names and rounded numbers
        if rounded != "wrong":
            return rounded, obtained, said
    return verdict, obtained, "" if verdict == "right" else message


class _WithGradients(Comparison):
    """A comparison of one formula that may speak of gradients."""

    def __init__(self, walk: Backprop, expression: Expression, digits: int = DIGITS) -> None:
        super().__init__(walk.loss, None, digits, 0, "gradient", ())
        self._expression = expression

    def environment(self, formula: Formula, at: Given | Points) -> dict[str, Any]:
        """What the names stand for there, gradients too."""
        return self._expression.environment(
            at.value, lambda node: self.sampler.gradient(at, "gradient", self.loss, node).value
        )

    def written(self, formula: Formula, at: Given | Points, column: int) -> str:
        """A point, by the names that the answer uses, gradients too."""
        used = {name: float(picked(value, column)) for name, value in self.environment(formula, at).items()}
        return ", ".join(f"{Expression.as_typed(name)} = {number(used[name], 4)}" for name in [*used][:5])


class _AtBlank(_WithGradients):
    """The comparison of one formula with one blank, at many points close by."""

    def __init__(self, walk: Backprop, blank: Blank, expression: Expression) -> None:
        super().__init__(walk, expression)
        self._blank = blank

    def judge(self) -> tuple[Outcome, str]:
        """The verdict, and what to say."""
        question = Question("gradient", self.loss, self._blank.node)
        verdict, message, _ = self.judge_formula(question, self._expression.formula)
        return verdict, message

    def drawn(self, number: int = 0) -> Points:
        """Points close by."""
        return self.sampler.drawn({NEAR: CLOSE_BY}, f"blank {number}")

    def tried_at(self, question: Question, points: Points) -> Tried:
        """Only where the same branches are taken as at the given values: the blank is about these."""
        return super().tried_at(question, points).only(self.is_here(points))

    def expected(self, question: Question, at: Given | Points) -> Gradient:
        """The blank's number there."""
        blank, gradient = self._blank, self.sampler.gradient
        incoming = gradient(at, "gradient", self.loss, blank.node)
        if blank.contribution is None:
            return incoming
        local = gradient(at, "direct", blank.node, blank.contribution.parent)
        local = local._replace(value=at.derivative(blank.node, blank.operand))
        if blank.asks == "local":
            return local
        noise = abs(local.value) * incoming.noise + abs(incoming.value) * local.noise
        return Gradient(incoming.value * local.value, noise, incoming.steady & local.steady)


class Score:
    """What was predicted, and how it went. The first try at a question is what counts; every try is kept.

    A question asked again after numbers have changed is another one. `print(score)` shows a table.
    """

    def __init__(self, loss: str) -> None:
        self.loss = loss
        self._asked: dict[tuple[int | None, str, float | None], list[Prediction]] = {}

    def add(self, prediction: Prediction) -> None:
        """Keep a prediction; one that couldn't be read is none."""
        if prediction.verdict != "invalid":
            key = prediction.step, prediction.question, prediction.expected
            self._asked.setdefault(key, []).append(prediction)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """Every try, question by question, in the order in which they were first asked."""
        return tuple(one for tries in self._asked.values() for one in tries)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """For each kind of operation how many questions were answered right, wrong, shown or undecided."""
        counted: dict[str, dict[str, int]] = {}
        for tries in self._asked.values():
            of_kind = counted.setdefault(tries[0].kind, dict.fromkeys(COUNTED, 0))
            of_kind[_counted(tries)] += 1
        return counted

    @property
    def total(self) -> dict[str, int]:
        """The same over all kinds."""
        return {verdict: sum(kind[verdict] for kind in self.counts.values()) for verdict in COUNTED}

    def __len__(self) -> int:
        return len(self._asked)

    def __str__(self) -> str:
        if not self._asked:
            return "Nothing has been predicted yet."
        rows = [(kind, counted) for kind, counted in self.counts.items()]
        cells = [
            [kind, *(str(counted[verdict] or "") for verdict in COUNTED), str(sum(counted.values()))]
            for kind, counted in [*rows, ("all", self.total)]
        ]
        shown = table(["first tries", *COUNTED, "of"], cells, justify="lrrrrr")
        met = Counter(mistake.key for one in self.predictions for mistake in one.mistakes[:1])
        told = ", ".join(f"{key} {times}×" for key, times in met.most_common())
        return f"{shown}\n\nmistakes: {told}" if told else shown

    __repr__ = __str__

    def to_json(self, about: Mapping[str, str] | None = None) -> str:
        """The summary as JSON, for a teacher to collect; `about` is written at its top, such as a name or a date."""
        return json.dumps(
            {
                **(about or {}),
                "format": "chalkgrad score 1",
                "loss": self.loss,
                "total": self.total,
                "counts": self.counts,
                "questions": [_summary(tries) for tries in self._asked.values()],
            },
            ensure_ascii=False,
            allow_nan=False,
            indent=2,
        )

    def save(self, path: str | os.PathLike[str], about: Mapping[str, str] | None = None) -> Path:
        """Write `to_json()`. Raises ValueError for a name without .json, OSError where it can't be written."""
        target = Path(path)
        if target.suffix.lower() != ".json":
            raise ValueError(f"A score is saved as .json; {target.name!r} does not end so.")
        target.write_text(self.to_json(about) + "\n", encoding="utf-8")
        return target


def _counted(tries: Sequence[Prediction]) -> Outcome:
    """The verdict on the first try that was decided."""
    return next((one.verdict for one in tries if one.verdict != "undecided"), "undecided")


def _summary(tries: Sequence[Prediction]) -> dict[str, Any]:
    first = tries[0]
    return {
        "step": first.step,
        "question": first.question,
        "kind": first.kind,
        "expected": first.expected,
        "counted": _counted(tries),
        "tries": [
            {"answer": one.answer, "verdict": one.verdict, "mistakes": [mistake.key for mistake in one.mistakes]}
            for one in tries
        ],
    }
