"""Exercises: fresh numbers for the same graph, with blank answers, the key, and the worked solution."""

from __future__ import annotations

import math
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from engine.answers import Unanswerable
from engine.compare import Comparison, check_options
from engine.formula import FUNCTIONS, FormulaError, Graph, build
from engine.forward import DomainError, as_float, refuse_outdated
from engine.graph import backward_order, forward_order, leaves, names
from engine.symbols import ATOM, SUM, Symbol
from engine.text import counted, markdown_table, number, shorten
from engine.value import Value, clone
from engine.walk import Backprop, chapter

if TYPE_CHECKING:
    from typing import Any, Self

    from engine.ops import Primitive

STARTS, CAREFUL_STARTS, REPAIRS = 12, 24, 40  # of the search for numbers
MARGIN = 0.05  # from a kink, or that share of what the original compares there
SQUASHING = {
    "tanh", "sigmoid", "softsign", "erf", "erfc", "atan", "softplus", "logsigmoid", "elu", "gelu", "silu"
}  # fmt: skip
SATURATED = 0.05  # a derivative of these below it
SMALLEST, LARGEST = 1e-3, 1e6  # of a gradient, unless those of the original go beyond
NOTHING = 1e-12  # a gradient that is 0 but for rounding, beside the largest
ENOUGH = 4  # leaves, which have numbers for a whole class with 2 digits each; fewer have 3
MOST_DIGITS = 3  # of a whole number, but for the zeros at its end
LONGEST = 80  # characters of a formula
MOST_SEEDS = 100  # tried for numbers that no other student has


@dataclass(frozen=True)
class Exercise:
    """A graph with numbers of its own, and what is asked of it.

    `graph` has the labelled Values, `formulas` is it as a file of formulas, `blank` a file of answers to be filled in
    and `answers` the same filled in rightly. `text` is what a student gets, and `solution` the derivation in words.
    """

    graph: Graph
    seed: int
    formulas: str
    questions: tuple[str, ...]
    expected: tuple[float, ...]
    digits: int
    lr: float | None = None

    @property
    def blank(self) -> str:
        """The answers to be filled in, a line for each."""
        return "".join(f"{question} =\n" for question in self.questions)

    @property
    def answers(self) -> str:
        """The answer key, as `chalkgrad check` and `compare` read it."""
        pairs = zip(self.questions, self.expected, strict=True)
        return "".join(f"{question} = {_printed(x, self.digits)}\n" for question, x in pairs)

    @property
    def text(self) -> str:
        """The question sheet: the graph with its numbers, and the blank answers."""
        return f"# {self._title}\n\n{self.formulas}\n# {self._task}\n\n{self.blank}"

    @cached_property
    def solution(self) -> str:
        """The forward pass, the loss and the backward pass, in symbols and in numbers."""
        walk = Backprop(self._rewound(), digits=self.digits + 2)
        return "\n".join(chapter(walk, self.graph.values(), self.graph.parameters, self.lr)) + "\n"

    def to_markdown(self, *, solution: bool = False) -> str:
        """The question sheet in Markdown, or with `solution` the worked solution, for GitHub, Jupyter and print."""
        if solution:
            parameters = self.graph.parameters if self.lr is not None else None
            walk = Backprop(self._rewound(), digits=self.digits + 2)
            return walk.to_markdown(parameters=parameters, lr=self.lr)
        table = markdown_table(["answer to", "yours"], [[f"`{question}`", ""] for question in self.questions])
        return f"# {self._title}\n\n```\n{self.formulas}```\n\n{self._task}\n\n{table}\n"

    def files(self, name: str) -> dict[str, str]:
        """The files of the exercise by their paths: the formulas, a blank for the answers, the key and the solution."""
        return {
            f"{name}.txt": f"# {self._title}\n# {self._task}\n\n{self.formulas}",
            f"answers/{name}.txt": self.blank,
            f"keys/{name}.txt": self.answers,
            f"keys/{name}.md": self.to_markdown(solution=True),
        }

    def _rewound(self) -> Value:
        """The loss, with no gradients yet."""
        self.graph.loss.zero_grad()
        return self.graph.loss

    @property
    def _title(self) -> str:
        return f"Exercise {self.seed}"

    @property
    def _task(self) -> str:
        rate = "" if self.lr is None else f" The learning rate is {number(self.lr)}."
        return f"Answer with numbers of {counted(self.digits, 'significant digit')}, or with formulas.{rate}"

    def __str__(self) -> str:
        return self.text


def exercise(
    graph: Graph | Value,
    seed: int,
    *,
    digits: int = 4,
    lr: float | None = None,
    questions: Iterable[str] | None = None,
) -> Exercise:
    """Fresh numbers for the leaves of a graph, the same for the same `seed`; the graph itself stays as it is.

    The numbers have few digits and the size of the old ones. They lie away from kinks, saturation and gradients near
    0. A leaf that is 0 or 1 stays, whole numbers stay whole, and what lies between 0 and 1 stays there. But the sign of
    a weight varies: of the graph's `parameters`, or of leaves with names such as w, b1 or weight. The questions are the
    gradients of all labelled nodes, and with `lr` the new parameters, or else `questions`, as `compare` understands
    them; the answers are printed to `digits`.

    Raises ValueError where no such numbers are found, for names that no formula can have, and for questions that can't
    be read; TypeError for what is no graph.
    """
    loss = graph.loss if isinstance(graph, Graph) else graph
    check_options("exercise", loss, lr, digits, "gradient")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"The seed of an exercise is a whole number, not {type(seed).__name__} {seed!r:.60}.")
    if not loss.op:
        raise ValueError("An exercise needs a loss that is computed, and this one is a leaf.")
    refuse_outdated(loss, "make an exercise")
    known = graph.parameters if isinstance(graph, Graph) else ()
    numbers = _Search(loss, known, random.Random(f"{seed} exercise")).numbers()
    inputs = list(graph.values()) if isinstance(graph, Graph) else []
    formulas = _formulas(loss, {node: numbers[node] for node in [*inputs, *numbers] if node in numbers}, known)
    try:
        fresh = build(formulas)
    except FormulaError as error:
        raise ValueError(f"The graph can't be written as formulas. {error}") from None
    rate = None if lr is None else as_float(lr)
    comparison = Comparison(fresh.loss, rate, digits, 0, "gradient", ())
    asked = list(_all_questions(fresh, comparison, rate)) if questions is None else list(questions)
    if not asked:
        raise ValueError("There are no questions: label a node, or name what to ask in questions=[…].")
    expected = [_expected(comparison, question) for question in asked]
    return Exercise(fresh, seed, formulas, tuple(asked), tuple(expected), digits, rate)


def exercises_for(students: Iterable[str], made: Callable[[int], Exercise], seed: int) -> dict[str, Exercise]:
    """An exercise for each student by the name of its files, `made` from seeds from `seed` on, no two with the same.

    Raises ValueError for no students, names that no files can have, and a graph that has too few numbers.
    """
    found: dict[str, Exercise] = {}
    given: dict[str, None] = {}
    for student in students:
        name = file_name(student)
        if not name or name.casefold() in (other.casefold() for other in found):
            raise ValueError(f"The name {shorten(student)!r} {'is there twice' if name else 'names no file'}.")
        for _ in range(MOST_SEEDS):
            one = made(seed)
            seed += 1
            if one.formulas not in given:
                break
        else:
            raise ValueError(f"The graph has too few different numbers for all: {counted(len(found), 'exercise')}.")
        found[name], given[one.formulas] = one, None
    if not found:
        raise ValueError("There are no students.")
    return found


def file_name(student: str) -> str:
    """The name of a student's files: with _ for what no file's name should have; empty where nothing is left."""
    return re.sub(r"[^\w .-]", "_", student).strip(". ")


def _all_questions(graph: Graph, comparison: Comparison, lr: float | None) -> Iterable[str]:
    """The gradients of all labelled nodes, from the loss on, and the new parameters."""
    order = backward_order(graph.loss)
    reached = [*order[1:], *leaves(reversed(order))]
    loss = graph.loss.label
    yield from [f"d{loss}/d{node.label}" for node in reached if node.label]
    if lr is not None:
        weights = graph.parameters or [node for node in leaves(reversed(order)) if is_weight(node.label)]
        yield from [f"new({node.label})" for node in weights if node in comparison.named]


def _expected(comparison: Comparison, question: str) -> float:
    """The answer to a question, where rounding alone is 0. Raises ValueError for a question that can't be read."""
    try:
        found = comparison.expected(comparison.question(question), comparison.sampler.given)
    except (Unanswerable, LookupError, FormulaError) as error:
        raise ValueError(f"The question {shorten(question)!r} can't be read. {error.args[0]}") from None
    return 0.0 if abs(found.value) <= found.noise else found.value


def _printed(x: float, digits: int) -> str:
    """A number with all its significant digits, zeros at the end too."""
    return f"{x:#.{digits}g}".rstrip(".").replace(".e", "e") if x else "0"


def is_weight(name: str) -> bool:
    """Whether a leaf of that name is likely to be learned: w, W1, b2_1, weight_out, bias."""
    return re.match(r"[wb](?:[\d_]|$)|weight|bias", name, re.IGNORECASE) is not None


# The numbers


class _Problem(NamedTuple):
    """What is wrong with some numbers: where, and in words."""

    node: Value
    text: str


class _Search:
    """Looks for numbers by drawing them, and drawing again what is wrong, a leaf at a time."""

    def __init__(self, loss: Value, parameters: Sequence[Value], rng: random.Random) -> None:
        self._rng = rng
        self._copies = clone(loss)
        self._loss = self._copies[loss]
        self._nodes = forward_order(self._loss)
        self._original = {leaf: leaf.data for leaf in leaves(self._nodes) if not leaf.is_constant}
        self._data = {node: node.data for node in self._copies.values()}
        self._free = [leaf for leaf, data in self._original.items() if data not in (0.0, 1.0)]
        weights = {self._copies[node] for node in parameters if node in self._copies}
        self._signed = {
            leaf
            for leaf in self._free
            if not 0.0 < self._original[leaf] < 1.0 or (leaf in weights if weights else is_weight(leaf.label))
        }
        self._digits = 2 if len(self._free) >= ENOUGH else 3
        self._named = [node for node in (*self._nodes[:-1], *self._original) if node.label]
        self._name_of = names(self._loss)
        self._gradients = self._backward()

    def numbers(self) -> dict[Value, float]:
        """A number for each leaf of the original. Raises ValueError where none are found."""
        if not self._free:
            raise ValueError(
                "Every leaf of the graph is 0 or 1, and these stay as they are. Give another leaf a value such as 0.5."
            )
        met: Counter[str] = Counter()
        for start in range(STARTS + CAREFUL_STARTS):
            careful = start >= STARTS
            point = dict(self._original)
            for leaf in self._free:
                point[leaf] = self._drawn(leaf, careful, point)
            problems = self._problems(point)
            for _ in range(REPAIRS):
                if not problems:
                    if point != self._original:
                        return {node: point[copy] for node, copy in self._copies.items() if copy in point}
                    break
                met.update({problem.text: 1 for problem in problems})
                other = self._repaired(point, self._rng.choice(problems).node, careful)
                if other is None:
                    break
                found = self._problems(other)
                if len(found) <= len(problems):
                    point, problems = other, found
        often = met.most_common(1) or [("there are no other numbers.", 1)]
        raise ValueError(
            f"No fresh numbers were found for {shorten(self._name_of[self._loss])}. What stood in the way most often: "
            f"{often[0][0]} Give the leaves values where that is not so, since the fresh ones have their size."
        )

    def _repaired(self, point: Mapping[Value, float], node: Value, careful: bool) -> dict[Value, float] | None:
        """The point, with one leaf under a node drawn anew; None where there is none to draw."""
        free = set(self._free)
        under = [leaf for leaf in (leaves(forward_order(node)) if node.op else [node]) if leaf in free]
        if not under:
            return None
        leaf = self._rng.choice(under)
        return {**point, leaf: self._drawn(leaf, careful, point)}

    def _drawn(self, leaf: Value, careful: bool, taken: Mapping[Value, float]) -> float:
        """A number for a leaf, if it can be had of another size than those of the others."""
        sizes = {abs(data) for data in taken.values()}
        for _ in range(10):
            drawn = self._drawn_once(leaf, careful)
            if abs(drawn) not in sizes:
                break
        return drawn

    def _drawn_once(self, leaf: Value, careful: bool) -> float:
        data, rng = self._original[leaf], self._rng
        size = abs(data)
        if data.is_integer() and size < 2.0**31:
            least = max(min(2, int(size)), math.ceil(size / 2.0))  # a factor of 1 would hide itself
            drawn = float(f"{rng.randint(least, int(size * 1.5 + 2.0)):.{MOST_DIGITS}g}")
        else:
            reach = 0.4 if careful else 1.0
            drawn = float(f"{size * 2.0 ** rng.uniform(-reach, reach):.{self._digits}g}")
            while drawn.is_integer() or (size < 1.0 <= drawn):
                drawn = float(f"{size * 2.0 ** rng.uniform(-reach, reach):.{self._digits}g}")
        negative = rng.random() < 0.5 if leaf in self._signed and not careful else data < 0.0
        return -drawn if negative else drawn

    def _problems(self, point: Mapping[Value, float]) -> list[_Problem]:
        """What is wrong with a point; of one where the graph has no value that alone."""
        for leaf, data in point.items():
            leaf.data = data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                self._loss.refresh()
                gradients = self._backward()
        except DomainError as error:
            node = self._loss if error.node is None else error.node
            return [_Problem(node, f"{self._said(node)} has no value.")] * len(self._nodes)
        except FloatingPointError:
            return [_Problem(self._loss, "a gradient has no value.")] * len(self._nodes)
        problems = [problem for node in backward_order(self._loss) if (problem := self._problem_at(node)) is not None]
        return [*problems, *self._weak(gradients)]

    def _backward(self) -> dict[Value, float]:
        self._loss.zero_grad()
        self._loss.backward()
        return {node: node.grad for node in self._named}

    def _problem_at(self, node: Value) -> _Problem | None:
        """A kink too near, or saturation."""
        row, operands = node._row, [parent.data for parent in node.parents]
        if row.kinks and any(abs(gap) < self._room(node) for gap in row.kinks(*operands)):
            return _Problem(node, f"{self._said(node)} is at its kink, or near it.")
        if row.name in SQUASHING and any(abs(slope) < SATURATED for slope in node.local_derivatives[:1]):
            return _Problem(node, f"{self._said(node)} is saturated.")
        return None

    def _room(self, node: Value) -> float:
        """How far from its kink the operands of a node are to be."""
        sizes = [abs(self._data[parent]) for parent in node.parents if self._data[parent] == self._data[parent]]
        return MARGIN * min(1.0, max(sizes) or 1.0)

    def _weak(self, gradients: Mapping[Value, float]) -> list[_Problem]:
        """The gradients that are near 0, or out of proportion, where those of the original are not."""
        problems = []
        largest = max(map(abs, self._gradients.values()), default=0.0)
        for node, grad in gradients.items():
            before = abs(self._gradients[node])
            if before <= NOTHING * largest:
                continue
            if abs(grad) < min(SMALLEST, 0.1 * before):
                problems.append(_Problem(self._loss, f"the gradient of {self._name(node)} is near 0."))
            elif not abs(grad) < max(LARGEST, 10.0 * before):
                problems.append(_Problem(self._loss, f"the gradient of {self._name(node)} is large."))
        return problems

    def _said(self, node: Value) -> str:
        return f"{self._name(node)}, which is {node.op}," if node.label else self._formula(node)

    def _formula(self, node: Value) -> str:
        """What a node is computed by, for one that the formulas of a file do not name."""
        written: dict[Value, Any] = {}
        for one in forward_order(node):
            formula = _Typed.of(one._row(*[_written(parent, written, self._name_of) for parent in one.parents]))
            named = one is not node and (one.label or formula.length > LONGEST)
            written[one] = _Typed(self._name_of[one]) if named else formula
        return shorten(str(written[node]), LONGEST)

    def _name(self, node: Value) -> str:
        return shorten(self._name_of.get(node, "a node"))


# The graph as formulas


class _Typed(Symbol):
    """A formula as a file of formulas has it, with every digit of its numbers."""

    __slots__ = ()

    MINUS: ClassVar[str] = "-"
    DOT: ClassVar[str] = "*"

    @staticmethod
    def number(x: float, digits: int = 17) -> str:
        """`x` so that it is read back as it was."""
        return f"{x:.0f}" if x.is_integer() and abs(x) < 1e15 else repr(x)

    @classmethod
    def _numeral(cls, x: float) -> str:
        return cls.number(x)

    @staticmethod
    def _binding_of(figure: str) -> int:
        return SUM if figure.startswith("-") else ATOM

    def _raised(self, exponent: Self) -> str:
        return f"{self.within(ATOM)}**{exponent.within(ATOM)}"

    @classmethod
    def _applied(cls, row: Primitive, operands: list[Self]) -> Self:
        if row.name in FUNCTIONS and row.name not in ("+", "-", "*", "/", "**"):
            return cls(f"{row.name}({', '.join(map(str, operands))})")
        return super()._applied(row, operands)


def _formulas(loss: Value, numbers: Mapping[Value, float], parameters: Sequence[Value]) -> str:
    """The graph as a file of formulas, with these numbers for its leaves, in their order."""
    named = names(loss)
    order = forward_order(loss)
    uses = Counter(parent for node in order for parent in node.parents)
    lines = [f"{named[leaf]} = {_Typed.number(numbers[leaf])}" for leaf in numbers]
    lines.append("")
    written: dict[Value, Any] = {}
    for node in order:
        operands = [_written(parent, written, named) for parent in node.parents]
        formula = _Typed.of(node._row(*operands))
        if node.label or node is loss or uses[node] > 1 or formula.length > LONGEST:
            lines.append(f"{named[node]} = {formula}")
            formula = _Typed(named[node])
        written[node] = formula
    under = [named[node] for node in parameters if node in numbers]
    if under:
        lines += ["", f"parameters: {' '.join(under)}"]
    return "\n".join(lines) + "\n"


def _written(node: Value, written: Mapping[Value, Any], named: Mapping[Value, str]) -> Any:
    if node.op:
        return written[node]
    return _Typed.figure(node.data, 17) if node.is_constant else _Typed(named[node])  # nothing is simplified away
