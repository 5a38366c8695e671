"""Hand derivation against engine: whether each answer is right, and where the numbers went wrong first."""

from __future__ import annotations

import ast
import copy
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple

from engine import ops
from engine.answers import Answer, Question, Reader, Unanswerable
from engine.explain import Words, derivation, local_derivation, update_in_words
from engine.follow import Judge, Number, Table
from engine.formula import Formula, FormulaError, record_or_compute
from engine.forward import as_float, refuse_outdated
from engine.graph import names
from engine.habits import judged_together
from engine.naming import Asked, Naming
from engine.printed import judge_number, judge_product, literal_of, rounding
from engine.report import Report, Row, Verdict
from engine.sampling import FAR, NARROW, NEAR, WIDE, Candidate, Gradient, Sampler, Sides
from engine.text import number
from engine.value import Value

POINTS = {NARROW: 16, WIDE: 4}
NEARBY = 4  # points around the given values
SEARCHED = {NARROW: 80, WIDE: 20, NEAR: 20} | dict.fromkeys(FAR, 20)  # for the other side of a kink
MOST_WAYS = 1024  # of reading numbers in an answer as given values
DWARFED = 1e6  # times the median: a gradient beyond it does not widen the tolerance
EXCUSED = 2  # points at which the answer alone may be undefined
FORMULA_RTOL, FORMULA_ATOL = 1e-8, 1e-12


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


class _Judged(NamedTuple):
    """What became of an answer, whoever gave it; `number` is what it is at the given values, if it has one there."""

    verdict: Verdict
    obtained: float | None
    message: str
    number: Number | None = None


class Comparison:
    """One graph, one set of options, and the answers of one student after the other; each `row` for itself."""

    def __init__(
        self, loss: Value, lr: float | None, digits: int, seed: int, convention: str, unconnected: Collection[str]
    ) -> None:
        self.loss, self.lr, self.digits, self.convention = loss, lr, digits, convention
        self.sampler = Sampler(loss, seed)
        self.words = Words(loss)
        self.named = names(loss)
        self.reader = Reader(loss, self.named, lr, unconnected, self.sampler.direct_operands)
        self.by_name = self.reader.by_name
        self.numbers: dict[str, Number] = {}  # of the answers of one student
        self.asked: dict[str, Asked] = {}
        self._met: dict[tuple[Question, type, str], _Judged] = {}  # answers that were judged before
        self._derivations: dict[Question, str] = {}

    def question(self, key: str) -> Question:
        """Read the key of an answer. Raises Unanswerable, FormulaError or LookupError."""
        return self.reader.question(key)

    def expected(self, question: Question, candidate: Candidate) -> Gradient:
        """The engine's answer at a point, whether it is steady there, and how far rounding may leave it from 0."""
        node = question.node
        if question.kind == "value":
            operands = [abs(candidate.values.get(parent, parent.data)) for parent in node.parents]
            return Gradient(candidate.values[node], True, 8.0 * math.ulp(max(operands, default=0.0)))
        kind = "local" if question.kind == "local" else "gradient"
        grad = self.sampler.gradient(candidate, kind, question.root, node)
        if question.kind == "new":
            return grad._replace(value=candidate.values[node] - (self.lr or 0.0) * grad.value)
        negative = self.convention == "negative_gradient" and kind == "gradient"
        return grad._replace(value=-grad.value) if negative else grad

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
        return Naming(self.words, self.few, lr=self.lr, sign=sign)

    def few(self, question: Question, formula: Formula) -> dict[Value, Any]:
        """The values of the leaves at a few points."""
        candidates = self.points(question, formula)[:32]
        return {leaf: [one.values[leaf] for one in candidates] for leaf in self.sampler.variables}

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
            verdict, obtained, message, answered = self._judged_once(question, formula, expected, given)
        except (Unanswerable, FormulaError) as error:
            return Row(name, shown, "invalid", expected, message=str(error))
        self.asked[name] = Asked(question, formula, answered)
        if answered is not None:
            self.numbers[name] = answered
        row = Row(name, shown, verdict, expected, obtained, "\n".join(filter(None, [message, remark])))
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
        if any(used in self.by_name or used == "lr" for used in formula.names):
            obtained = self._at(formula, self.sampler.given)
            if not math.isfinite(obtained):
                self._refuse_undefined(formula)
            verdict, message = self.judge_formula(question, formula)
            if not math.isfinite(obtained):
                return _Judged(verdict, None, message)
        else:
            if not math.isfinite(expected):
                raise Unanswerable(f"The engine's own answer is {expected} here, so there is nothing to compare.")
            is_float = not isinstance(answer, str | int | Decimal)
            obtained, reach, judge = self._number(question, formula, is_float=is_float)
            verdict, message = judge(expected)
            if verdict == "wrong" and not message:
                message = self._other_quantity(judge, question)
        sign = -1.0 if self.convention == "negative_gradient" and question.kind == "gradient" else 1.0

        def turned() -> Verdict:
            if judge is not None:
                return judge(-expected)[0]
            other = copy.copy(self)
            other.convention = "gradient" if sign < 0.0 else "negative_gradient"
            return other.judge_formula(question, formula)[0]

        kind, root, node = question.kind, question.root, question.node
        given = Number(kind, root, node, obtained, reach, sign * expected, verdict, judge, turned, sign)
        return _Judged(verdict, obtained, message, given)

    def _refuse_undefined(self, formula: Formula) -> None:
        """Raise FormulaError, pointing at the place, unless the formula has a value close by, as at a kink."""
        near = itertools.islice(self.sampler.stream(NEAR), NEARBY)
        if not any(math.isfinite(self._at(formula, candidate)) for candidate in near):
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

    def judge_formula(self, question: Question, formula: Formula) -> tuple[Verdict, str]:
        """Judge an answer over names at many points."""
        candidates = self.points(question, formula)
        if len(candidates) < 2:
            return "undecided", "No two points were found at which the engine's answer has digits to compare with."
        found = self._agrees(question, formula, candidates, {})
        if not found:
            return "right", self._one_sided(candidates)
        if not self.usable(question, self.sampler.given) or not self._agrees(
            question, formula, [self.sampler.given], {}
        ):
            ways, more = self._put_in(formula)
            for leaf_for in ways:
                if not self._agrees(question, formula, candidates, leaf_for):
                    return "right", "Given values were put in; with the names in their place it agrees everywhere."
            if more:
                return "undecided", (
                    "It agrees at the given values, but they are put in, and too many leaves have the same ones to "
                    "tell which is meant. Write the names."
                )
        here = [candidate for candidate in candidates if candidate.sides == self.sampler.given.sides]
        if 1 < len(here) < len(candidates) and not self._agrees(question, formula, here, {}):
            found += (
                "\nIt is right on the side of each kink where the given values lie, and only there. For every value "
                "say which side it is: step(x), or `a if x > 0 else b`."
            )
        return "wrong", found

    def points(self, question: Question, formula: Formula) -> list[Candidate]:
        """Points where the engine has an answer with digits, on both sides of every kink that can be had."""
        usable = {
            reach: filter(lambda candidate: self.usable(question, candidate), self.sampler.stream(reach))
            for reach in (NARROW, WIDE, NEAR, *FAR)
        }
        chosen = [
            candidate for reach, wanted in POINTS.items() for candidate in itertools.islice(usable[reach], wanted)
        ]
        # The given values may lie where no point was drawn, beyond a kink: look around them too.
        given = [self.sampler.given] if self.usable(question, self.sampler.given) else []
        chosen += [*given, *itertools.islice(usable[NEAR], NEARBY if len(chosen) > 1 else sum(POINTS.values()))]
        # Which sides a point lies on, all together, says which formula holds there: look for other combinations.
        seen = {self._sides(formula, candidate) for candidate in chosen}
        if any(seen):
            for reach, candidates in usable.items():
                for candidate in itertools.islice(candidates, SEARCHED[reach]):
                    sides = self._sides(formula, candidate)
                    if sides not in seen:
                        seen.add(sides)
                        chosen.append(candidate)
        return chosen

    def _one_sided(self, candidates: list[Candidate]) -> str:
        """A note on a kink of the graph that was seen from one side alone."""
        covered = set().union(*(candidate.sides for candidate in candidates))
        alone = {node for node, kink, above in covered if (node, kink, not above) not in covered}
        names = sorted(self.words.names[node] for node in alone if isinstance(node, Value))
        return f"No point was found on the other side of the kink at {', '.join(names[:5])}." if names else ""

    def usable(self, question: Question, candidate: Candidate) -> bool:
        """Whether the engine's own answer has digits at a point."""
        grad = self.expected(question, candidate)
        return grad.steady and math.isfinite(grad.value)

    def _sides(self, formula: Formula, candidate: Candidate) -> Sides:
        """On which side of each kink of the graph and of the answer a point lies."""
        sides = set(candidate.sides)

        def observe(place: ast.AST, row: ops.Primitive, operands: tuple[Any, ...]) -> None:
            sides.update([(place, kink, above) for kink, above in row.sides(operands)])

        self._at(formula, candidate, observe=observe)
        return frozenset(sides)

    def _at(
        self,
        formula: Formula,
        candidate: Candidate,
        leaf_for: Mapping[ast.Constant, tuple[Value, float]] | None = None,
        **hooks: Any,
    ) -> float:
        """The answer's value at a point, with leaves in place of the literals of `leaf_for`."""
        if leaf_for:

            def literal(node: ast.Constant) -> float:
                if node in leaf_for:
                    leaf, sign = leaf_for[node]
                    return sign * candidate.values[leaf]
                return float(node.value)  # type: ignore[arg-type]

            hooks["literal"] = literal
        return float(formula.evaluate(self.environment(formula, candidate), **hooks))

    def environment(self, formula: Formula, candidate: Candidate) -> Mapping[str, Any]:
        """What the names of an answer stand for at a point."""
        return {"lr": self.lr} | {
            name: candidate.values.get(self.by_name[name], self.by_name[name].data)
            for name in formula.names
            if name in self.by_name
        }

    def _agrees(
        self,
        question: Question,
        formula: Formula,
        candidates: list[Candidate],
        leaf_for: Mapping[ast.Constant, tuple[Value, float]],
    ) -> str:
        """Empty where the answer agrees at the points, else where it does not."""
        engine = [self.expected(question, candidate) for candidate in candidates]
        # The first points set the scale: what lies far out, beyond a kink, must not drown the rest.
        sizes = sorted(abs(right.value) for right in engine[: sum(POINTS.values())] if right.value) or [1.0]
        scale = min(sizes[-1], DWARFED * sizes[len(sizes) // 2])
        undefined = 0
        for candidate, right in zip(candidates, engine, strict=True):
            answer = self._at(formula, candidate, leaf_for)
            tolerance = FORMULA_RTOL * abs(right.value) + FORMULA_ATOL * scale + 8.0 * right.noise
            if not math.isfinite(answer):
                undefined += 1
                if undefined > min(EXCUSED, len(candidates) // 4):
                    return f"The formula has no value at some points, such as {self.written(formula, candidate)}."
            elif abs(answer - right.value) > tolerance:
                return (
                    f"For example at {self.written(formula, candidate)} it gives {number(answer, 9)}, "
                    f"and the engine {number(right.value, 9)}."
                )
        return ""

    def written(self, formula: Formula, candidate: Candidate) -> str:
        """The point, by the names that an answer uses."""
        used = [self.by_name[name] for name in formula.names if name in self.by_name]
        return ", ".join(f"{self.words.names[node]} = {number(candidate.values[node], 4)}" for node in used[:5])

    def _put_in(self, formula: Formula) -> tuple[Iterator[dict[ast.Constant, tuple[Value, float]]], bool]:
        """Ways to read the formula's literals as given values of leaves, and whether there are too many to try."""
        choices: list[list[tuple[ast.Constant, tuple[Value, float]] | None]] = []
        powers = [n for n in ast.walk(formula.tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Pow)]
        exponents = {power.right for power in powers}
        for literal in formula.literals:
            if literal in exponents:  # the 2 of a square is nobody's given value
                continue
            size = float(literal.value)  # type: ignore[arg-type]
            same = [leaf for leaf in self.sampler.variables if abs(leaf.data) == size and size != 0.0]
            if same:
                choices.append([*((literal, (leaf, math.copysign(1.0, leaf.data))) for leaf in same), None])
        picks = itertools.islice(itertools.product(*choices), MOST_WAYS)
        ways = (dict(pair for pair in picked if pair is not None) for picked in picks)
        return filter(None, ways), math.prod(map(len, choices)) > MOST_WAYS

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
