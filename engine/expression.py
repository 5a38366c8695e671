"""Expressions over a walk: formulas of its numbers and of its gradients so far, and conditions."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.formula import Formula, FormulaError, Source, record_or_compute, tidy_name
from engine.graph import named_nodes
from engine.printed import literal_of
from engine.text import nearest, shorten
from engine.value import Value
from engine.walk import Backprop

# A name, without the superscripts that Python counts among the letters of a word.
_NAME = r"[^\W\d⁰¹²³⁴-⁹][^\W⁰¹²³⁴-⁹]*"
_REFERENCE = re.compile(
    rf"(?<![^\W\d])(?<!\.)(?:(?P<node>{_NAME})\s*\.\s*(?P<what>{_NAME})"  # w5.grad
    rf"|(?P<d>d|∂\s*)(?P<root>{_NAME})\s*/\s*(?:d|∂\s*)(?P<wrt>{_NAME}))"  # dE/dw5
)
# A reference is read as one name of the same length, so that places stay: letters stand for what is none.
_STANDS_FOR = {".": "ꀀ", "/": "ꀁ", " ": "ꀂ", "∂": "ꀃ"}
_RESTORED = str.maketrans({letter: character for character, letter in _STANDS_FOR.items()})

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "≤": operator.le, "≥": operator.ge, "≠": operator.ne,
}  # fmt: skip
_COMPARISON = re.compile(r"[()]|[<>=!]=|[<>≤≥≠=]")


@dataclass(frozen=True)
class _Meaning:
    """What a name stands for: a node's data or gradient; of the node that comes next, where there is none."""

    what: Literal["data", "grad", "step"]
    node: Value | None = None


_HERE = {"grad": _Meaning("grad"), "data": _Meaning("data"), "step": _Meaning("step")}


class Expression:
    """A formula over a walk: `w5` is a node's data, `w5.grad`, `dE/dw5` and `∂E/∂w5` are its gradient so far.

    `grad` and `data` are those of the node that comes next and `step` is the number of its step, unless a node has
    that name. Raises FormulaError, pointing at the place in `source`, for what cannot be read.
    """

    def __init__(self, text: str, walk: Backprop, source: Source | None = None) -> None:
        self.text = text.strip()
        self.source = source or Source(text)
        self._walk = walk
        counts = Counter(named_nodes(walk.names))
        nodes = {walk.names[node]: node for node in walk.names if not node.is_constant}
        self._meanings = _HERE | {name: _Meaning("data", node) for name, node in nodes.items()}
        written = _REFERENCE.sub(self._read_reference, text)
        try:
            self.formula = Formula(written, self.source, self._meanings)
            self.formula.check_names(self._meanings)
        except FormulaError as error:
            raise FormulaError(
                error.problem.translate(_RESTORED),
                text=error.text,
                line=error.line,
                column=error.column,
                hint=error.hint.translate(_RESTORED),
            ) from None
        for name, meaning in self._used():
            if meaning.node is not None and counts[walk.names[meaning.node]] > 1:
                shown = walk.names[meaning.node]
                raise self.source.error(
                    f"`{shown}` names {counts[shown]} nodes.", self.formula.place_of(name), "Give each its own label."
                )

    def _read_reference(self, match: re.Match[str]) -> str:
        """A reference as one name; what only looks like one is left as it is."""
        known = self._meanings
        if match["node"]:
            if match["what"] not in ("grad", "data"):
                raise self.source.error(
                    f"A node has no `.{shorten(match['what'])}`.",
                    match.start("what"),
                    "Write `w.grad` for its gradient so far and `w.data`, or `w`, for its value.",
                )
            meaning = _Meaning(match["what"], self._node(match, "node"))  # type: ignore[arg-type]
        else:
            root, wrt = match["root"], match["wrt"]
            own = [f"d{root}" in known, f"d{wrt}" in known]
            if match["d"] == "d" and (all(own) or (any(own) and not (root in known and wrt in known))):
                return match[0]  # a quotient of two names of their own
            loss = self._walk.loss
            if self._node(match, "root") is not loss:
                shown = shorten(self._walk.names[loss])
                raise self.source.error(
                    f"The walk has the gradients of {shown} alone.", match.start("root"), f"Write d{shown}/d{wrt}."
                )
            meaning = _Meaning("grad", self._node(match, "wrt"))
        name = "".join(_STANDS_FOR.get(" " if c.isspace() else c, c) for c in match[0])
        self._meanings[tidy_name(name)] = meaning
        return name

    def _node(self, match: re.Match[str], group: str) -> Value:
        meaning = self._meanings.get(tidy_name(match[group]))
        if meaning is None or meaning.node is None:
            hint = nearest(match[group], named_nodes(self._walk.names))
            raise self.source.error(f"Nothing is called `{shorten(match[group])}`.", match.start(group), hint)
        return meaning.node

    def _used(self) -> list[tuple[str, _Meaning]]:
        return [(name, self._meanings[name]) for name in self.formula.names if name in self._meanings]

    @property
    def gradients(self) -> list[Value]:
        """The nodes whose gradients it uses. Raises FormulaError as `value`."""
        return [self._at(name, meaning) for name, meaning in self._used() if meaning.what == "grad"]

    @property
    def is_of_numbers(self) -> bool:
        """Whether no node takes part."""
        return not self._used()

    @property
    def is_literal(self) -> bool:
        """Whether it is a number as it stands."""
        return literal_of(self.formula) is not None

    def _at(self, name: str, meaning: _Meaning) -> Value:
        """The node meant, which may be the one that comes next."""
        if meaning.node is not None:
            return meaning.node
        if self._walk.position == len(self._walk):
            raise self.source.error(
                f"`{name}` is of the node that comes next, and the walk is at its end.", self.formula.place_of(name)
            )
        return self._walk.order[self._walk.position]

    def environment(self, data: Callable[[Value], float], grad: Callable[[Value], float]) -> dict[str, float]:
        """What the names stand for, where `data` and `grad` give the numbers of a node. Raises as `value`."""
        found = {}
        for name, meaning in self._used():
            node = self._at(name, meaning)
            found[name] = {"data": data, "grad": grad}[meaning.what](node) if meaning.what != "step" else self._step
        return found

    @property
    def _step(self) -> float:
        return float(self._walk.position + 1)

    def value(self) -> float:
        """The number that it is now. Raises FormulaError, pointing at the place, where it has none."""
        environment = self.environment(lambda node: node.data, lambda node: node.grad)
        return float(self.formula.evaluate(environment, apply=record_or_compute))

    @staticmethod
    def as_typed(name: str) -> str:
        """A name of `environment` as a person writes it."""
        return name.translate(_RESTORED)

    def __str__(self) -> str:
        return self.text


class Condition:
    """Two expressions and a comparison between them, such as `abs(grad) > 1`.

    Raises FormulaError, pointing at the place in `source`, for what is none.
    """

    def __init__(self, text: str, walk: Backprop, source: Source | None = None) -> None:
        source = source or Source(text)
        self.text = text.strip()
        sign = _comparison(text, source)
        self._compare = _COMPARISONS[sign[0]]
        after = Source(source.text, source.line, source.start + sign.end())
        self.sides = (
            Expression(text[: sign.start()], walk, source),
            Expression(text[sign.end() :], walk, after),
        )

    def holds(self) -> bool:
        """Whether it is true now. Raises FormulaError where a side has no value."""
        left, right = self.sides
        return self._compare(left.value(), right.value())

    def __str__(self) -> str:
        return self.text


def is_condition(text: str) -> bool:
    """Whether a text means to be a condition."""
    return any(match[0] not in "()" for match in _COMPARISON.finditer(text))


def _comparison(text: str, source: Source) -> re.Match[str]:
    """The one comparison outside of all parentheses."""
    depth, found = 0, []
    for match in _COMPARISON.finditer(text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if match[0] not in "()" and depth == 0:
            found.append(match)
    if not found:
        raise source.error("A condition compares two numbers.", len(text.rstrip()), "Write `abs(grad) > 1`.")
    if len(found) > 1:
        raise source.error("A condition has one comparison.", found[1].start(), "Write `abs(grad) > 1`.")
    if found[0][0] == "=":
        raise source.error("A comparison for equality is written `==`.", found[0].start())
    return found[0]
