"""Whether a formula agrees with the engine's own answer: at thousands of points, as arrays."""

from __future__ import annotations

import ast
import itertools
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np

from engine import ops
from engine.answers import Question, nodes_by_name
from engine.arrays import Array, array, gaps, quiet
from engine.explain import Words
from engine.formula import Formula
from engine.graph import names
from engine.points import DOWN, PATTERNS, SMALLEST, UP, VANISHING, Gradient, Points, is_vanishing, moved_by
from engine.printed import half_unit
from engine.report import Mistake, Verdict
from engine.rounded import MOST_CONSTANTS, Typed, exact_constants, written
from engine.sampling import FAR, MOST_ROUNDS, NARROW, Given, Sampler
from engine.text import number
from engine.value import Value

MOST_WAYS = 1024  # of reading numbers in an answer as given values
MOST_WORK = 2**22  # numbers that are computed for all these ways together
FIRST = 64  # points at which a long formula, a way to read one, or a constant is tried first
LONG = 500  # numbers, names and operations in a formula
LARGEST = 0.9  # of the sizes of a gradient are below what counts as its size
MOST_LABELS = 10  # that are told
DWARFED = 1e6  # times the median: a gradient beyond it does not widen the tolerance
EXCUSED = 1 / 256  # of the points: where the answer alone may be undefined
NO_DIGITS = 0.75  # of the points: where the answer may have none, at most
ENOUGH = 1 / 64  # of the points: where it agrees, if elsewhere it leaves the range of floats
FORMULA_RTOL, FORMULA_ATOL = 1e-8, 1e-12

NUDGES = (DOWN, UP, 2.0 * UP - 1.0)
# What rounds nothing.
_EXACT = (ops.NEGATE, ops.IDENTITY, ops.ABS, ops.RELU, ops.STEP, ops.SIGN, ops.MAXIMUM, ops.MINIMUM, ops.CLAMP)

Leaf = tuple[Value, float]
"""A leaf that is meant by a literal, and its sign."""
Literals = Mapping[ast.Constant, Any]
"""What literals stand for, where not for themselves: a Leaf, or a number, or an array of numbers."""


class Judged(NamedTuple):
    """The verdict on an answer, what to say, and what was done that is no error."""

    verdict: Verdict
    message: str
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class Tried:
    """Points, and the engine's answer there.

    It is compared where the points are `usable`, as exactly as its digits there allow; `scale` is its size.
    """

    points: Points
    expected: Gradient
    usable: np.ndarray
    scale: float
    more: int = 0  # points besides, which were tried before
    held: tuple[Value, ...] = ()  # leaves that have their given values at all points

    @cached_property
    def steady(self) -> np.ndarray:
        """The points at which the engine's answer has digits."""
        steady: np.ndarray = self.usable & self.expected.steady
        return steady

    @cached_property
    def total(self) -> int:
        """How many points are usable, with those before."""
        return int(self.usable.sum()) + self.more

    def only(self, columns: np.ndarray) -> Tried:
        """The same where of the usable points only some are."""
        return replace(self, usable=self.usable & columns)


class Kink(NamedTuple):
    """A place in a formula where it, or its derivative, jumps, and each point's distance to it."""

    place: ast.AST
    gap: np.ndarray


class Agreement:
    """A graph, with whose engine formulas over its names are compared. The points of a question are kept."""

    def __init__(self, loss: Value, lr: float | None, seed: int, convention: str) -> None:
        self.loss, self.lr, self.convention = loss, lr, convention
        self.sampler = Sampler(loss, seed)
        self.words = Words(loss)
        self.named = names(loss)
        self.by_name = nodes_by_name(self.named)
        self._tried: dict[tuple[str, Question, tuple[Value, ...]], Tried] = {}
        self._held: dict[tuple[int, tuple[Value, ...]], Points] = {}

    # The engine's answer

    def expected(self, question: Question, at: Given | Points) -> Gradient:
        """The engine's answer there, and how many digits it has."""
        node = question.node
        if question.kind == "value":
            largest = reduce(np.maximum, [np.abs(at.value(parent)) for parent in node.parents], np.float64(0.0))
            return Gradient(at.value(node), 8.0 * np.spacing(largest))
        kind = "local" if question.kind == "local" else "gradient"
        grad = self.sampler.gradient(at, kind, question.root, node)
        if question.kind == "new":
            lr = self.lr or 0.0
            return grad._replace(value=at.value(node) - lr * grad.value, noise=abs(lr) * grad.noise)
        negative = self.convention == "negative_gradient" and kind == "gradient"
        return grad._replace(value=-grad.value) if negative else grad

    def is_usable_at_given(self, question: Question) -> bool:
        """Whether the engine's own answer has digits at the given values."""
        return bool(self.tried_at(question, self.sampler.home).steady.any()) and math.isfinite(
            self.expected(question, self.sampler.given).value
        )

    def points(self, question: Question, held: tuple[Value, ...] = ()) -> Tried:
        """Points where the engine has an answer with digits, on both sides of every kink that can be had.

        Some leaves may be `held` at their given values.
        """
        key = self.convention, question, held
        if key not in self._tried:
            parts = [self._drawn_but(held)]
            tried = self.tried_at(question, parts[0])
            while tried.steady.sum() < parts[0].size // 2 and len(parts) < MOST_ROUNDS:
                parts.append(self._drawn_but(held, len(parts)))
                tried = self.tried_at(question, Points.joined(parts))
            self._tried[key] = replace(tried, held=held)
        return self._tried[key]

    def _drawn_but(self, held: tuple[Value, ...], number: int = 0) -> Points:
        """The points that are drawn, but for some leaves at their given values."""
        if not held:
            return self.drawn(number)
        if (number, held) not in self._held:
            self._held[number, held] = self.sampler.held(self.drawn(number), held)
        return self._held[number, held]

    def labels(self, question: Question) -> tuple[Value, ...]:
        """The labels of a cross-entropy on the way to the answer: 0 or 1, and not asked about themselves."""
        below = {*self.sampler.leaves_under([question.root, question.node])}
        return tuple(leaf for leaf in self.sampler.labels if leaf in below and leaf is not question.node)

    def drawn(self, number: int = 0) -> Points:
        """The points that answers are tried at, and more of them."""
        return self.sampler.points if number == 0 else self.sampler.further(number)

    def tried_at(self, question: Question, points: Points) -> Tried:
        """What is expected at some points."""
        with quiet():
            expected = Gradient(*map(np.asarray, self.expected(question, points)))
        usable = points.valid & np.isfinite(expected.value) & np.isfinite(expected.noise)
        expected = expected._replace(steady=expected.steady & ~points.vanished)
        # What lies far out, beyond a kink, must not drown the rest.
        sizes = np.abs(expected.value[usable & expected.steady & (points.reach <= NARROW)])
        sizes = sizes[sizes > 0.0]
        scale = min(np.quantile(sizes, LARGEST), DWARFED * np.median(sizes)) if sizes.size else 1.0
        return Tried(points, expected, usable, float(scale))

    def few(
        self, question: Question, formula: Formula, count: int, *, here: bool = False, labels: bool = False
    ) -> dict[Value, np.ndarray]:
        """The leaves at `count` of the points, on both sides of the kinks of graph and formula, mostly around 0.

        They are fewer where the engine's answer has digits at fewer. With `here` they lie on the side of each kink
        where the given values lie. With `labels` the labels of a cross-entropy have their given values; where there
        are no labels, there are no points.
        """
        held = self.labels(question) if labels else ()
        if labels and not held:
            return {}
        tried = self.points(question, held)
        if here:
            tried = tried.only(self.is_here(tried.points))
        answer, kinks = self._with_kinks(formula, tried.points, {})
        finite = tried.only(np.isfinite(answer))
        columns = _representatives(finite if finite.steady.any() else tried, kinks, count)
        return tried.points.leaves(columns)

    # The verdict

    def at_given(self, formula: Formula) -> float:
        """The number that a formula gives at the given values; nan where it has none."""
        return float(self._at(formula, self.sampler.given, {}))

    def judge_formula(self, question: Question, formula: Formula) -> Judged:
        """Judge an answer over names at many points."""
        tried = self.points(question)
        if tried.steady.sum() + self.is_usable_at_given(question) < 2:
            return Judged(
                "undecided", "No two points were found at which the engine's answer has digits to compare with."
            )
        found = self._disagreement(question, formula, tried, {})
        if not found:
            return Judged("right", self._one_sided(tried))
        excused = self._excused(question, formula, tried)
        if not (excused and excused.verdict == "right"):
            excused = self._right_for_labels(question, formula) or excused
        if excused:
            return excused
        here = tried.only(self.is_here(tried.points))
        if 1 < here.steady.sum() < tried.steady.sum() and not self._differs(
            formula, here, self._at(formula, tried.points, {}), {}
        ):
            found += (
                "\nIt is right on the side of each kink where the given values lie, and only there. For every value "
                "say which side it is: step(x), or `a if x > 0 else b`."
            )
        return Judged("wrong", found)

    def _excused(self, question: Question, formula: Formula, tried: Tried) -> Judged | None:
        """The verdict where a formula disagrees, and numbers in it that stand for others may be the reason."""
        if not self._differs_at_given(question, formula, {}) and (put_in := self._put_in(question, formula, tried)):
            return put_in
        if rounded := self._rounded_early(question, formula, tried):
            return Judged("right", f"Right but for rounding: {rounded}.", (Mistake("early_rounding", None, rounded),))
        return None

    def _right_for_labels(self, question: Question, formula: Formula) -> Judged | None:
        """The verdict where a formula is right at all points that have the given labels."""
        if not (labels := self.labels(question)):
            return None
        tried = self.points(question, labels)
        if tried.steady.sum() + self.is_usable_at_given(question) < 2:
            return None
        excused = None
        if self._disagreement(question, formula, tried, {}):
            excused = self._excused(question, formula, tried)
            if not excused or excused.verdict != "right":
                return None
        given = [f"{self.words.names[leaf]} = {number(leaf.data)}" for leaf in labels]
        more = f" and {len(given) - MOST_LABELS} more" if len(given) > MOST_LABELS else ""
        said = f"Right for the given labels {', '.join(given[:MOST_LABELS])}{more}."
        return excused._replace(message=f"{said} {excused.message}") if excused else Judged("right", said)

    def is_here(self, points: Points) -> np.ndarray:
        """Which points lie on the side of each kink where the given values lie."""
        same: np.ndarray = (points.sides == self.sampler.given_sides[:, None]).all(axis=0)
        return same

    def _one_sided(self, tried: Tried) -> str:
        """A note on a kink of the graph that was seen from one side alone."""
        sides = np.column_stack([tried.points.sides[:, tried.steady], self.sampler.given_sides])
        alone = sides.all(axis=1) | ~sides.any(axis=1)
        kinked = self.sampler.ground.kinks
        names = sorted({self.words.names[kinked[place][0]] for place in np.flatnonzero(alone)})
        return f"No point was found on the other side of the kink at {', '.join(names[:5])}." if names else ""

    # Where an answer disagrees: each says so with numbers, or is empty where it agrees

    def _disagreement(self, question: Question, formula: Formula, tried: Tried, literals: Literals) -> str:
        """At all points, at the given values, and on both sides of the answer's own kinks."""
        if formula.size > LONG and (found := self._differs_at_first(formula, tried, literals)):
            return found
        answer, kinks = self._with_kinks(formula, tried.points, literals)
        return (
            self._differs(formula, tried, answer, literals)
            or self._differs_at_given(question, formula, literals)
            or self._differs_at_kinks(question, formula, tried, kinks, literals)
            or self._differs_for_other_labels(question, formula, tried, literals)
        )

    def _differs_at_first(self, formula: Formula, tried: Tried, literals: Literals) -> str:
        """At a few points, which takes little time."""
        columns = _representatives(tried, [], FIRST)
        answer = np.full(tried.points.size, math.nan)
        answer[columns] = self._at(formula, tried.points, literals, columns)
        first = tried.only(np.isin(np.arange(tried.points.size), columns))
        return self._differs(formula, first, answer, literals)

    def _differs_at_given(self, question: Question, formula: Formula, literals: Literals) -> str:
        given = self.sampler.given
        if not self.is_usable_at_given(question):
            return ""
        right = self.expected(question, given)
        answer = float(self._at(formula, given, literals))
        off, tolerance = abs(answer - right.value), self._tolerance(right, self.points(question).scale)
        if not off > tolerance or off <= tolerance + 8.0 * self._roughness(formula, given, literals)[0]:
            return ""
        return self._said(formula, given, 0, answer, right.value)

    def _differs_at_kinks(
        self, question: Question, formula: Formula, tried: Tried, kinks: Sequence[Kink], literals: Literals
    ) -> str:
        there = self._at_own_kinks(question, formula, tried, kinks, literals)
        return self._differs(formula, there, self._at(formula, there.points, literals), literals) if there else ""

    def _differs_for_other_labels(self, question: Question, formula: Formula, tried: Tried, literals: Literals) -> str:
        """For every label that the formula names: where it is the other of 0 and 1, at a few points.

        Who names a label does not put it in: at y = 0, p + y is no p − y. It is enough that the formula stays right
        when the label is turned alone, or together with one other, as the 1 of a one-hot vector moves.
        """
        named = {self.by_name[name] for name in formula.names if name in self.by_name}
        for place, label in enumerate(tried.held):
            if label in named:
                others = [(abs(place - at), one) for at, one in enumerate(tried.held) if one.data != label.data]
                nearest = [one for _, one in sorted(others, key=lambda other: other[0])]
                for turned in [[label], *([label, one] for one in nearest)]:
                    if not (found := self._differs_with(turned, question, formula, tried, literals)):
                        break
                else:
                    return found
        return ""

    def _differs_with(
        self, turned: Sequence[Value], question: Question, formula: Formula, tried: Tried, literals: Literals
    ) -> str:
        """At a few points, where some labels are turned."""
        columns = _representatives(tried, [], FIRST)
        leaves = tried.points.leaves(columns) | {one: np.full(columns.size, 1.0 - one.data) for one in turned}
        points = Points(self.sampler.ground, leaves, tried.points.reach[columns])
        there = replace(self.tried_at(question, points), scale=tried.scale)
        return self._differs(formula, there, self._at(formula, points, literals), literals)

    def _at_own_kinks(
        self, question: Question, formula: Formula, tried: Tried, kinks: Sequence[Kink], literals: Literals
    ) -> Tried | None:
        """Further points, at the kinks of an answer that are not those of the graph."""
        points = tried.points
        met = {side.tobytes() for above in points.sides for side in (above, ~above)}
        own: list[int] = []
        for place, kink in enumerate(kinks):
            above = (kink.gap > 0.0) & points.valid
            if not {above.tobytes(), (~above).tobytes()} & met:
                met.add(above.tobytes())
                own.append(place)
        if not own:
            return None

        def gaps_at(points: Points) -> np.ndarray:
            found = self._with_kinks(formula, points, literals)[1]
            return np.stack([found[place].gap for place in own])

        def deciding(kink: int) -> Sequence[Value]:
            place = kinks[own[kink]].place
            tested = place.test if isinstance(place, ast.IfExp) else place
            used = {node.id for node in ast.walk(tested) if isinstance(node, ast.Name)}
            known = [self.by_name[name] for name in formula.names if name in used and name in self.by_name]
            leaves = self.sampler.leaves_under(known) if known else self.sampler.variables
            return [leaf for leaf in leaves if leaf not in tried.held]

        there = self.sampler.at_kinks(points, gaps_at, deciding, "of an answer")
        if there is None:
            return None
        return replace(self.tried_at(question, there), scale=tried.scale, more=tried.total, held=tried.held)

    def _differs(self, formula: Formula, tried: Tried, answer: np.ndarray, literals: Literals) -> str:
        """At those of the points that are usable.

        A point is left out where the answer has no digits there, or no value for want of larger and smaller floats.
        It may have no value at single points too, and far out; but not wherever a point lies on one side of a kink.
        """
        right, points = tried.expected, tried.points
        with quiet():
            off, tolerance = np.abs(answer - right.value), self._tolerance(right, tried.scale)
            columns = np.flatnonzero(tried.usable & ~(off <= tolerance))
        digitless, agreeing = np.isfinite(answer[columns]).sum(), tried.total - columns.size
        if columns.size and digitless <= NO_DIGITS * tried.total and agreeing >= ENOUGH * tried.total:
            rough = self._roughness(formula, points, literals, columns)
            with quiet():
                columns = columns[~(off[columns] <= tolerance[columns] + 8.0 * rough) & (rough < math.inf)]
        finite = columns[np.isfinite(answer[columns])]
        if finite.size:
            first = int(finite[0])
            return self._said(formula, points, first, answer[first], right.value[first])
        undefined = np.isin(np.arange(points.size), columns)
        if (points.reach[columns] < FAR[0]).sum() > EXCUSED * tried.total or _is_all_of_a_side(tried, undefined):
            there = self.written(formula, points, int(columns[0]))
            return f"The formula has no value at some points, such as {there}."
        return ""

    def _tolerance(self, right: Gradient, scale: float) -> Any:
        return FORMULA_RTOL * np.abs(right.value) + FORMULA_ATOL * scale + 8.0 * right.noise

    def _said(self, formula: Formula, at: Given | Points, column: int, answer: float, right: float) -> str:
        return (
            f"For example at {self.written(formula, at, column)} it gives {number(answer, 9)}, "
            f"and the engine {number(right, 9)}."
        )

    def _roughness(
        self, formula: Formula, at: Given | Points, literals: Literals, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """How far the answer moves where each of its names and operations moves by a unit in its last place.

        What has become infinite, or 0, for want of larger and smaller floats is moved to the last of them. Infinite
        where the answer has a value only before or only after all this, and 0 where it never has.
        """
        rng = np.random.default_rng(0)
        factors: dict[int, np.ndarray] = {}  # what is computed twice in one way moves twice alike

        def nudged(x: Any, origin: int) -> Any:
            if origin not in factors:
                factors[origin] = rng.choice(NUDGES, (2 * PATTERNS, 1))
            return _from(moved_by(x, factors[origin]), origin)

        def apply(row: ops.Primitive, operands: tuple[Any, ...]) -> Any:
            out = row(*operands)
            if not isinstance(out, Array):
                return out
            origin = hash((row.name, *map(_origin, operands)))
            if row in _EXACT or row.selects or _is_exact(row, operands):
                return _from(out, origin)
            return _from(_within_floats(row, operands, nudged(out, origin)), origin)

        exact = self._at(formula, at, literals, columns)
        moved = self._at(
            formula,
            at,
            literals,
            columns,
            change=lambda x: nudged(np.atleast_1d(x), _origin(np.atleast_1d(x))),
            apply=apply,
        )
        with quiet():
            change = np.abs(np.atleast_2d(moved) - exact).max(axis=0)
        never = ~np.isfinite(exact) & ~np.isfinite(np.atleast_2d(moved)).any(axis=0)
        return np.where(never, 0.0, np.where(np.isfinite(change), change, math.inf))

    # The answer at points

    def environment(self, formula: Formula, at: Given | Points) -> dict[str, Any]:
        """What the names of an answer stand for there."""
        used = {name: self.by_name[name] for name in formula.names if name in self.by_name}
        return {"lr": self.lr} | {name: at.value(node) for name, node in used.items()}

    def written(self, formula: Formula, at: Given | Points, column: int) -> str:
        """A point, by the names that an answer uses."""
        used = [self.by_name[name] for name in formula.names if name in self.by_name]
        shown = [(self.words.names[node], picked(at.value(node), column)) for node in used[:5]]
        return ", ".join(f"{name} = {number(float(value), 4)}" for name, value in shown)

    def _at(
        self,
        formula: Formula,
        at: Given | Points,
        literals: Literals,
        columns: np.ndarray | None = None,
        change: Callable[[Any], Any] = lambda x: x,
        **hooks: Any,
    ) -> Any:
        """The answer there, or at some `columns` alone; `change` is made to what each name stands for."""

        def literal(node: ast.Constant) -> Any:
            return _meant(literals.get(node, float(node.value)), at, columns)  # type: ignore[arg-type]

        environment = {
            name: change(picked(value, columns))
            for name, value in self.environment(formula, at).items()
            if value is not None
        }
        with quiet():
            found = formula.evaluate(environment, literal=literal, **hooks)
        if np.ndim(found) == 0 and isinstance(at, Points):
            return np.full(at.size if columns is None else columns.size, float(found))
        return np.asarray(found)

    def _with_kinks(self, formula: Formula, points: Points, literals: Literals) -> tuple[np.ndarray, list[Kink]]:
        """The answer, and the kinks that it has."""
        kinks: list[Kink] = []

        def observe(place: ast.AST, row: ops.Primitive, operands: tuple[Any, ...]) -> None:
            kinks.extend(Kink(place, np.broadcast_to(gap, points.size)) for gap in gaps(row, operands))

        return self._at(formula, points, literals, observe=observe), kinks

    # Numbers that stand for something

    def _put_in(self, question: Question, formula: Formula, tried: Tried) -> Judged | None:
        """The verdict where some literals, read as given values of leaves, make it right, or there are too many."""
        literals, choices = self._may_be_put_in(formula, tried.held)
        columns = _representatives(tried, [], FIRST // 2)
        most = max(1, min(MOST_WAYS, MOST_WORK // (formula.size * max(1, columns.size))))
        ways = list(itertools.islice(itertools.product(*choices), most))
        read: dict[ast.Constant, Any] = {}
        for place, literal in enumerate(literals):
            rows = [_meant(way[place] or float(literal.value), tried.points, columns) for way in ways]  # type: ignore[arg-type]
            read[literal] = array(np.stack([np.broadcast_to(row, columns.size) for row in rows]))
        if read:
            answer = self._at(formula, tried.points, read, columns)
            right = Gradient(*[part[columns] for part in np.broadcast_arrays(*tried.expected)])
            with quiet():
                off = np.abs(answer - right.value) > self._tolerance(right, tried.scale)
            for way in np.flatnonzero(~np.atleast_2d(off).any(axis=1)):
                leaves = {literal: leaf for literal, leaf in zip(literals, ways[way], strict=True) if leaf}
                if leaves and not self._disagreement(question, formula, tried, leaves):
                    where = "for these labels" if tried.held else "everywhere"
                    return Judged(
                        "right", f"Given values were put in; with the names in their place it agrees {where}."
                    )
        if math.prod(map(len, choices)) <= most:
            return None
        return Judged(
            "undecided",
            "It agrees at the given values, but they are put in, and too many leaves have the same ones to tell which "
            "is meant. Write the names.",
        )

    def _may_be_put_in(
        self, formula: Formula, held: Sequence[Value]
    ) -> tuple[list[ast.Constant], list[list[Leaf | None]]]:
        """The literals that may be given values, and for each the leaves which have that value, or none.

        Who writes a leaf's name does not write its value too: in `w - 0.3` the number is not w.
        """
        used = {self.by_name[name] for name in formula.names if name in self.by_name}
        leaves = [leaf for leaf in self.sampler.variables if leaf not in used and leaf not in held]
        powers = [n for n in ast.walk(formula.tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Pow)]
        conditions = [n.test for n in ast.walk(formula.tree) if isinstance(n, ast.IfExp)]
        # The 2 of a square is nobody's given value, nor is what is compared with.
        others = {power.right for power in powers} | {n for test in conditions for n in ast.walk(test)}
        literals: list[ast.Constant] = []
        choices: list[list[Leaf | None]] = []
        for literal in formula.literals:
            size = float(literal.value)  # type: ignore[arg-type]
            same = [leaf for leaf in leaves if abs(leaf.data) == size and size != 0.0]
            if same and literal not in others:
                literals.append(literal)
                choices.append([*((leaf, math.copysign(1.0, leaf.data)) for leaf in same), None])
        return literals, choices

    def _rounded_early(self, question: Question, formula: Formula, tried: Tried) -> str:
        """What to say where the answer is right but for rounded constants, which have at least three digits."""
        literals = [literal for literal in formula.literals if self._may_be_rounded(formula.literal_text(literal))]
        literals.sort(key=lambda literal: literal.col_offset)
        columns = _representatives(tried, [], FIRST)
        if not 0 < len(literals) <= MOST_CONSTANTS or columns.size < 2 * len(literals):
            return ""
        texts = [formula.literal_text(literal) for literal in literals]
        typed = [Typed(float(text), float(half_unit(text))) for text in texts]

        def answer(constants: Sequence[float]) -> np.ndarray:
            found: np.ndarray = self._at(formula, tried.points, dict(zip(literals, constants, strict=True)), columns)
            return found

        right = np.asarray(tried.expected.value)[columns]
        with quiet():
            for found in exact_constants(answer, right, tried.scale, typed):
                if not self._disagreement(question, formula, tried, dict(zip(literals, found, strict=True))):
                    changed = {t: c for t, c in zip(texts, found, strict=True) if c != float(t)}
                    return " and ".join(f"{text} was rounded early, write {written(c)}" for text, c in changed.items())
        return ""

    def _may_be_rounded(self, text: str) -> bool:
        digits = re.sub(r"[eE].*|\.", "", text).lstrip("0")
        return "." in text and len(digits) >= 3 and float(text) not in self._numbers_of_the_graph

    @property
    def _numbers_of_the_graph(self) -> set[float]:
        return {abs(node.data) for node in self.named if not node.op}


def _meant(meant: Leaf | Any, at: Given | Points, columns: np.ndarray | None) -> Any:
    """The numbers that a literal stands for."""
    if not isinstance(meant, tuple):
        return meant
    leaf, sign = meant
    return sign * picked(at.value(leaf), columns)


def picked(value: Any, columns: Any) -> Any:
    """The values at some points, where there are many."""
    return value[columns] if columns is not None and np.ndim(value) else value


class _Nudged(Array):
    """Numbers that were moved, and what they come from."""

    origin: int = 0


def _origin(x: Any) -> int:
    """What tells numbers of one origin from those of another."""
    return x.origin if isinstance(x, _Nudged) else hash(np.asarray(x).tobytes())


def _from(x: Any, origin: int) -> _Nudged:
    found = np.asarray(x).view(_Nudged)
    found.origin = origin
    return found


def _within_floats(row: ops.Primitive, operands: tuple[Any, ...], out: Any) -> Any:
    """What a row gives, with the largest and the smallest float for what lies beyond; not where it has no value."""
    has_value: Any = True
    if row in (ops.DIVIDE, ops.POWER):
        has_value = reduce(np.logical_and, [np.asarray(x) != 0.0 for x in operands])
    elif row.inside is not None:
        has_value = False
    out = np.where(np.isinf(out) & has_value, np.copysign(sys.float_info.max, out), out)
    if row in VANISHING:
        out = np.where((np.abs(out) < SMALLEST) & is_vanishing(row, operands), SMALLEST, out)
    return array(out)


def _is_exact(row: ops.Primitive, operands: tuple[Any, ...]) -> bool:
    """Whether a product or quotient by a number rounds nothing."""
    return row in (ops.MULTIPLY, ops.DIVIDE) and any(
        isinstance(x, float) and abs(math.frexp(x)[0]) == 0.5 for x in operands
    )


def _is_all_of_a_side(tried: Tried, undefined: np.ndarray) -> bool:
    """Whether the points on one side of some kink of the graph are all undefined."""
    if undefined.any():
        for above in tried.points.sides:
            for side in (above & tried.usable, ~above & tried.usable):
                if side.any() and undefined[side].all():
                    return True
    return False


def _representatives(tried: Tried, kinks: Sequence[Kink], count: int) -> np.ndarray:
    """Some of the steady points: on each side of each kink one, for as many as are half of them, and then the first."""
    steady = np.flatnonzero(tried.steady)
    sides = [*tried.points.sides[:, steady], *[kink.gap[steady] > 0.0 for kink in kinks]]
    chosen: dict[int, None] = {}
    for above in sides[:count]:
        for side in (above, ~above):
            if len(chosen) < count // 2 and side.any() and not side[list(chosen)].any():
                chosen[int(np.argmax(side))] = None
    chosen |= dict.fromkeys(range(min(count, steady.size)))
    return np.sort(steady[[*chosen][:count]])
