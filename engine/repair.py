"""A student's formula as a graph of its own: its derivative, and the smallest repair that makes it right."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from engine import ops
from engine.arrays import array, quiet
from engine.batch import Batch
from engine.explain import Words
from engine.formula import CONSTANTS, Formula
from engine.graph import forward_order, nodes
from engine.rules import written
from engine.symbols import Symbol
from engine.value import Value, record

SAME = 1e-7
LARGEST_FRACTION = 12  # denominator of a number that people write
MOST_NODES = 60  # of the graph, that a repair may use
MOST_PIECES = 80  # operations of a formula that is repaired


class _Occurrences(Mapping[str, Value]):
    """The names of a formula, each use a leaf of its own, since a repair may change one and not the others."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known
        self.stands_for: dict[Value, str] = {}

    def __getitem__(self, name: str) -> Value:
        leaf = Value(0.0, name)
        self.stands_for[leaf] = name
        return leaf

    def __contains__(self, name: object) -> bool:
        return name in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class Written:
    """A formula as a tree over the names that it uses; `values` are theirs, arrays or numbers."""

    def __init__(self, formula: Formula, values: Mapping[str, Any], size: int) -> None:
        occurrences = _Occurrences(values)
        literals: dict[Value, float] = {}

        def literal(node: ast.Constant) -> Value:
            leaf = Value(float(node.value))  # type: ignore[arg-type]
            leaf.label = formula.literal_text(node)
            literals[leaf] = leaf.data
            return leaf

        def apply(row: ops.Primitive, operands: tuple[Any, ...]) -> Any:
            if not any(isinstance(operand, Value) for operand in operands):
                return row(*operands)
            return record(row, operands, untaken=True)

        root = formula.evaluate(occurrences, apply=apply, literal=literal)
        self.root = root if isinstance(root, Value) else Value(float(root))
        self.stands_for, self._literals = occurrences.stands_for, literals
        leaves = {leaf: values[name] for leaf, name in self.stands_for.items()} | literals
        leaves = {leaf: array(np.broadcast_to(data, size)) for leaf, data in leaves.items()}
        self.size = size
        self.batch = Batch(self.root, leaves, forward=forward_order(self.root))

    @property
    def has_rounded_constants(self) -> bool:
        """Whether a constant of the formula may have been rounded: it has a point and three digits or more."""
        return any("." in leaf.label and len(leaf.label.replace(".", "").lstrip("0")) >= 3 for leaf in self._literals)

    @property
    def values(self) -> Any:
        """What the formula gives."""
        return array(np.broadcast_to(self.batch.value(self.root), self.size))

    def derivative(self, tangents: Mapping[str, Any]) -> Any:
        """Its derivative along the tangents of the names."""
        adjoints = self.batch.adjoints(self.root)
        with quiet():
            terms = [adjoints.get(leaf, 0.0) * tangents.get(name, 0.0) for leaf, name in self.stands_for.items()]
            return sum(terms, start=np.zeros(self.size))

    def repair(self, right: Any, known: Mapping[str, Any]) -> str:
        """The smallest change that makes the formula `right`, in words; empty where none is found.

        Each piece is moved to where the formula is right, as if linear in it, or inversely proportional to it. If it
        is right there, it is seen whether the piece is then something people write over the names `known`.
        """
        with quiet():
            return self._repair(np.asarray(right), known)

    def _repair(self, right: Any, known: Mapping[str, Any]) -> str:
        if len(self.batch.forward) > MOST_PIECES:
            return ""
        adjoints = self.batch.adjoints(self.root)
        words = Words(self.root)
        consumer = {parent: (node, place) for node in self.batch.forward for place, parent in enumerate(node.parents)}
        library = _library(known, self.size)
        found: list[tuple[int, int, str]] = []
        pieces = [node for node in nodes(self.root) if node in adjoints or node is self.root]
        for piece in pieces:
            x = self.batch.value(piece)
            own = Symbol.of(words.in_names[piece])
            # where the formula is linear in the piece, and where it is inversely proportional to it
            for needed in (x + (right - self.values) / adjoints.get(piece, 1.0), x * self.values / right):
                if not np.isfinite(needed).all() or not _same(self._with(piece, needed, consumer), right):
                    continue
                for text in _recognised(np.broadcast_to(x, self.size), needed, own, library):
                    if str(text) == str(own):
                        continue
                    said = f"With {text} in place of {written(words, piece)} it is right."
                    found.append((len(f"{text}{own}"), len(f"{text}"), said))
        return min(found, default=(0, 0, ""))[-1]

    def _with(self, piece: Value, values: Any, consumer: Mapping[Value, tuple[Value, int]]) -> Any:
        """What the formula gives with other values of one piece."""
        while piece is not self.root:
            node, place = consumer[piece]
            operands = list(self.batch.operands(node))
            operands[place] = values
            piece, values = node, node._row(*[array(operand) for operand in operands])
        return values


def _same(one: Any, other: Any) -> bool:
    return bool(np.all(np.abs(one - other) <= SAME * (np.abs(one) + np.abs(other))))


def _library(known: Mapping[str, Any], size: int) -> list[tuple[Symbol, Any]]:
    """What a repair may bring in: the names, and what activations have for derivatives."""
    found: list[tuple[Symbol, Any]] = []
    for name, values in list(known.items())[:MOST_NODES]:
        symbol, x = Symbol(name), np.broadcast_to(values, size)
        found += [(symbol, x), (1.0 - symbol, 1.0 - x), (symbol * (1.0 - symbol), x * (1.0 - x))]
        found += [(1.0 - symbol**2, 1.0 - x**2), (symbol**2, x**2)]
    return found


def _recognised(x: Any, needed: Any, own: Symbol, library: list[tuple[Symbol, Any]]) -> Iterator[Symbol]:
    """The ways to write what is needed in place of x."""
    needed = np.where(np.abs(needed) <= SAME * np.abs(x), 0.0, needed)  # what rounding leaves of x − x
    constant = _nice(needed)
    if constant is not None:
        yield Symbol.of(constant)
    ratio = needed / x
    factor = _nice(ratio)
    if factor is not None:
        yield factor * own
    stacked = np.array([values for _, values in library]) if library else np.empty((0, x.size))
    ways: list[tuple[Any, Callable[[Symbol], Symbol]]] = [
        (needed, lambda other: other),
        (ratio, lambda other: own * other),
        (1.0 / ratio, lambda other: own / other),
        (needed - x, lambda other: own + other),
    ]
    for sign in (1.0, -1.0):
        for target, write in ways:
            if not np.isfinite(target).all():
                continue
            close = np.abs(sign * stacked - target) <= SAME * (np.abs(stacked) + np.abs(target))
            for row in np.flatnonzero(close.all(axis=1)):
                yield write(sign * library[row][0])


def _nice(values: Any) -> float | None:
    """The one number that all values are, if it is one that people write."""
    first = float(np.ravel(values)[0])
    if not np.isfinite(first) or not _same(values, first):
        return None
    fraction = Fraction(first).limit_denominator(LARGEST_FRACTION)
    if abs(float(fraction) - first) <= SAME * abs(first) and abs(fraction.numerator) <= 100:
        return float(fraction)
    return next((value for value in CONSTANTS.values() if abs(value - first) <= SAME), None)
