"""Hand derivation against engine: whether each answer is right, and where the numbers went wrong first."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from engine.agreement import Agreement, Judged, Question
from engine.backprop import sweep
from engine.explain import Words, derivation, local_derivation, update_in_words
from engine.formula import Formula, FormulaError, Source, lines_of, tidy_name
from engine.forward import as_float, refuse_outdated
from engine.graph import backward_order, derivatives_by_parent, find, leaves
from engine.printed import EXACT_RTOL, half_unit, judge_number, judge_product, literal_of
from engine.report import Report, Row
from engine.text import shorten
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
    if not isinstance(loss, Value):
        raise TypeError(f"compare needs a loss that is a Value, not {type(loss).__name__} {loss!r:.60}.")
    if not isinstance(answers, Mapping):
        raise TypeError(f"compare needs a mapping from names to answers, not {type(answers).__name__}.")
    if convention not in ("gradient", "negative_gradient"):
        raise ValueError(f'The convention is "gradient" or "negative_gradient", not {convention!r}.')
    if not answers:
        raise ValueError("There are no answers to compare.")
    if isinstance(lr, str) or (lr is not None and not math.isfinite(lr)):
        raise ValueError(f"The learning rate is a finite number such as 0.5, not {lr!r}.")
    if not isinstance(digits, int) or digits < 1:
        raise ValueError(f"digits is a whole number of significant digits from 1 on, not {digits!r}.")
    given = [Answer(key if isinstance(key, str) else repr(key), answer) for key, answer in answers.items()]
    return judge(loss, given, lr=lr, digits=digits, seed=seed, convention=convention)


@dataclass(frozen=True)
class Answer:
    """An answer as it was given, where it stands in a file, and what is wrong with its line."""

    name: str
    given: Any
    source: Source | None = None
    problem: FormulaError | None = None


def read_answers(text: str) -> list[Answer]:
    """The answers of a file: lines `name = number or formula`, `#` for comments.

    A line that answers nothing, or answers again, is kept with its problem. Raises FormulaError for no answers.
    """
    found: dict[str, Answer] = {}
    for line_number, line in enumerate(lines_of(text), start=1):
        code = line.split("#", 1)[0]
        if not code.strip():
            continue
        name, equals, given = code.partition("=")
        name, start = name.strip(), len(code) - len(code.lstrip())
        source, problem = Source(line, line_number, len(code) - len(given)), None
        if not equals or not name:
            colon = code.find(":")
            problem = Source(line, line_number).error(
                "This line answers nothing.", start if colon < 0 else colon, "Write `dL/dw = number or formula`."
            )
        elif name in found and (earlier := found[name].source) is not None:
            problem = Source(line, line_number).error(
                f"`{shorten(name)}` is answered twice, first on line {earlier.line}.", start, "Take out one of the two."
            )
        key = name if problem is None else f"{name} (line {line_number})"
        found[key] = Answer(key, given, source, problem)
    if not found:
        raise FormulaError("The file has no answers.", hint="Write one a line, such as `dL/dw = 0.25`.")
    return list(found.values())


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
    rows = {answer.name: comparison.row(answer) for answer in answers}
    comparison.locate(rows)
    return Report(rows)


_FRACTION = re.compile(r"[d∂](.+?)\s*/\s*[d∂](.+)")  # dU/dV


class Unanswerable(ValueError):
    """Why a row is invalid."""


class Comparison(Agreement):
    """One graph, one set of options; each `row` is judged for itself."""

    def __init__(
        self, loss: Value, lr: float | None, digits: int, seed: int, convention: str, unconnected: Collection[str]
    ) -> None:
        super().__init__(loss, lr, seed, convention)
        self.digits, self.unconnected = digits, unconnected
        self.numeric: dict[str, tuple[Question, float, float]] = {}  # obtained, and half a unit of its last place

    # What was asked

    def question(self, key: str) -> Question:
        """Read the key of an answer. Raises Unanswerable or LookupError."""
        if key in self.known_names:  # as it stands, whatever a label holds
            return Question("gradient", self.loss, find(self.named, key))
        tidy = tidy_name(key)
        if tidy in self.known_names:
            return Question("gradient", self.loss, find(self.named, tidy))
        if call := re.fullmatch(r"(local|value|new)\s*\(\s*([^,]*?)\s*(?:,\s*(.*?)\s*)?\)", tidy):
            kind, first, second = call.groups()
            if (kind == "local") != (second is not None):
                raise Unanswerable(f"{kind} takes {'two names: local(u, v)' if kind == 'local' else 'one name'}.")
            if kind == "local":
                return self._local(self._find(first), self._find(second))
            node = self._find(first)
            if kind == "value":
                return Question("value", self.loss, node)
            return self._update(node)
        if fraction := _FRACTION.fullmatch(tidy):
            return Question("gradient", self._find(fraction[1].strip()), self._find(fraction[2].strip()))
        if "/" in tidy:
            raise Unanswerable(f"`{shorten(key)}` asks for nothing. A derivative is written dU/dV, as in dL/dw.")
        return Question("gradient", self.loss, self._find(key))

    def _find(self, name: str) -> Value:
        return find(self.named, name if name in self.known_names else tidy_name(name))

    def _local(self, node: Value, parent: Value) -> Question:
        if parent not in self.sampler.direct_operands(node):
            u, v = self.words.names[node], self.words.names[parent]
            raise Unanswerable(
                f"{u} is not computed from {v} directly, so there is no local derivative. "
                f"For the derivative along all paths ask d{u}/d{v}."
            )
        return Question("local", node, parent)

    def _update(self, node: Value) -> Question:
        if self.lr is None:
            raise Unanswerable("An updated weight needs the learning rate: pass lr=0.5, or --lr 0.5.")
        if node.op:
            raise Unanswerable(f"{self.named[node]} is computed; only a leaf is updated.")
        return Question("new", self.loss, node)

    # The verdicts

    def row(self, given: Answer) -> Row:
        """Judge one answer."""
        name, answer = given.name, given.given
        shown = answer if isinstance(answer, str) else str(answer.data if isinstance(answer, Value) else answer)
        shown = shown.strip()
        if given.problem is not None:
            return Row(name, shown, "invalid", message=str(given.problem))
        try:
            if self.unconnected and (missing := self._unconnected_name(name)) is not None:
                return self._judge_unconnected(given, shown, missing)
            question = self.question(name)
        except (Unanswerable, LookupError, FormulaError) as error:
            where = f"line {given.source.line}: " if given.source else ""
            return Row(name, shown, "invalid", message=where + error.args[0])
        expected = self.expected(question, self.sampler.given).value
        try:
            formula = self._formula(given, shown)
            judged, obtained = self._judged(name, question, formula, expected, answer)
        except (Unanswerable, FormulaError) as error:
            return Row(name, shown, "invalid", expected, message=str(error))
        row = Row(name, shown, judged.verdict, expected, obtained, judged.message, mistakes=judged.mistakes)
        return replace(row, derivation=self._derivation(question)) if judged.verdict == "wrong" else row

    def _unconnected_name(self, key: str) -> str | None:
        """The name in a key that asks for the gradient of something the loss does not depend on."""
        name = tidy_name(key)
        if name not in self.unconnected and (fraction := _FRACTION.fullmatch(name)):
            name = fraction[2].strip() if fraction[1].strip() == self.loss.label else name
        return name if name in self.unconnected else None

    def _judge_unconnected(self, given: Answer, shown: str, missing: str) -> Row:
        message = f"{self.words.names[self.loss]} does not depend on {missing}: its gradient is 0."
        try:
            text = literal_of(self._formula(given, shown))
        except (Unanswerable, FormulaError) as error:
            return Row(given.name, shown, "invalid", 0.0, message=str(error))
        obtained = None if text is None else float(text)
        return Row(given.name, shown, "right" if obtained == 0.0 else "wrong", 0.0, obtained, message)

    def _formula(self, given: Answer, shown: str) -> Formula:
        answer = given.given
        if not isinstance(answer, str):
            try:
                if isinstance(answer, bool):
                    raise TypeError(f"{answer} is neither.")
                data = as_float(answer.data if isinstance(answer, Value) else answer)
            except (TypeError, ValueError) as error:
                raise Unanswerable(f"An answer is a number or a formula as text. {error}") from None
            if not math.isfinite(data):
                raise Unanswerable(f"{data} is no number to compare with.")
            shown = shown if re.fullmatch(r"[-+.\deE]+", shown) else repr(data)
        known = [*self.by_name, "lr"] if self.lr is not None else [*self.by_name]
        formula = Formula(answer if isinstance(answer, str) else shown, given.source, known)
        for used in formula.names:
            if used in self.twice:
                raise Unanswerable(f"`{used}` names {self.twice[used]} nodes: give each a label of its own.")
            if used in self.unconnected:
                raise Unanswerable(f"{self.words.names[self.loss]} does not depend on {used}: leave it out.")
        if "lr" in formula.names and "lr" not in known:
            raise Unanswerable("The formula uses lr, the learning rate: pass lr=0.5, or --lr 0.5.")
        formula.check_names(known)
        return formula

    def _judged(
        self, name: str, question: Question, formula: Formula, expected: float, answer: Any
    ) -> tuple[Judged, float | None]:
        if any(used in self.by_name or used == "lr" for used in formula.names):
            obtained = self.at_given(formula)
            judged = self.judge_formula(question, formula)
            return judged, obtained if math.isfinite(obtained) else None
        if not math.isfinite(expected):
            raise Unanswerable(f"The engine's own answer is {expected} here, so there is nothing to compare.")
        text = literal_of(formula)
        if text is None:
            verdict, obtained, reach, message = judge_product(formula, expected, self._noise(question))
            self.numeric[name] = question, obtained, reach
            return Judged(verdict, message), obtained
        is_float = not isinstance(answer, str | int | Decimal)
        obtained = float(text)
        self.numeric[name] = question, obtained, float(half_unit(text))
        verdict, message = judge_number(text, expected, self.digits, self._noise(question), is_float=is_float)
        if verdict == "wrong" and not message:
            message = self._other_quantity(text, question, is_float)
        return Judged(verdict, message), obtained

    def _noise(self, question: Question) -> float:
        return float(self.expected(question, self.sampler.given).noise)

    def _other_quantity(self, text: str, question: Question, is_float: bool) -> str:
        if question.kind != "gradient" or question.node.data == 0.0:
            return ""
        if judge_number(text, question.node.data, self.digits, 0.0, is_float=is_float)[0] != "right":
            return ""
        name = self.words.names[question.node]
        return f"This is the value of {name}. Its gradient, {self.words.gradient_of(question.node)}, was asked."

    # Where it went wrong

    def locate(self, rows: dict[str, Row]) -> None:
        """Name for each wrong number the first node whose gradient does not follow from the numbers further on."""
        wrong = {name: question for name, (question, _, _) in self.numeric.items() if rows[name].verdict == "wrong"}
        origin: dict[Value, dict[Value, Value]] = {}  # for each root, the first origin above each node
        for name, question in wrong.items():
            first = question.node
            if question.kind == "gradient":
                if question.root not in origin:
                    origin[question.root] = self._first_origins(question.root, rows)
                first = origin[question.root].get(question.node, question.node)
            rows[name] = replace(rows[name], node=self.named[first])

    def _first_origins(self, root: Value, rows: Mapping[str, Row]) -> dict[Value, Value]:
        """For each node the first node that went wrong, in backward order, of those that its gradient comes from.

        Where all that is wrong follows from numbers further on, roundings have added up: the first wrong one then.
        """
        wrong = [q.node for name, (q, _, _) in self.numeric.items() if q.root is root and rows[name].verdict == "wrong"]
        first: dict[Value, Value] = {}
        order = self._place(root)
        for origins in (self._origins(root, rows), wrong):
            known = [node for node in origins if node in order]  # a branch that is not taken passes nothing on
            place = {node: number for number, node in enumerate(sorted(known, key=order.__getitem__))}
            reached: dict[Value, Value] = {node: node for node in place}
            for node in backward_order(root):
                if node in reached:
                    for parent, _ in derivatives_by_parent(node):
                        reached[parent] = min(reached.get(parent, reached[node]), reached[node], key=place.__getitem__)
            first = reached | first
        return first

    def _place(self, root: Value) -> dict[Value, int]:
        """Each node's place in the backward order, leaves after all that they feed."""
        order = backward_order(root)
        return {node: place for place, node in enumerate([*order, *leaves(reversed(order))])}

    def _origins(self, root: Value, rows: Mapping[str, Row]) -> list[Value]:
        """The nodes, in backward order, whose wrong number does not follow from the student's own further on."""
        sign = -1.0 if self.convention == "negative_gradient" else 1.0
        given = {
            question.node: (sign * obtained, half if rows[name].verdict == "wrong" else None)
            for name, (question, obtained, half) in self.numeric.items()
            if question.kind == "gradient" and question.root is root
        }
        copies = self.sampler.copies
        self.sampler.load(self.sampler.given.derivatives)
        order = backward_order(root)
        # How far the roundings of the student's numbers reach.
        doubt = {reached: 0.0 for node in order for reached in (node, *node.parents)}
        for node in doubt:
            copies[node].grad = 0.0
        copies[root].grad = 1.0
        origins = []

        def follow(node: Value) -> None:
            if node not in given or node is root:
                return
            obtained, half = given[node]
            if half is None:  # right: what was carried on lies between the printed number and the engine's
                doubt[node] = abs(obtained - self.sampler.gradient(self.sampler.given, "gradient", root, node).value)
            else:
                if abs(obtained - copies[node].grad) > doubt[node] + 2.0 * half + EXACT_RTOL * abs(obtained):
                    origins.append(node)
                doubt[node] = half
            copies[node].grad = obtained

        for node in order:
            follow(node)
            sweep([copies[node]])
            for parent, derivative in derivatives_by_parent(node):
                doubt[parent] += abs(derivative) * doubt[node]
        for leaf in [node for node in doubt if not node.op]:
            follow(leaf)
        return origins

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
        for original, copy in copies.items():
            copy.grad = self.sampler.gradient(given, "gradient", question.root, original).value
        lines = derivation(words, node, root)
        return lines if question.kind != "new" else f"{lines}\n{update_in_words(words, node, self.lr or 0.0, 9)}"
