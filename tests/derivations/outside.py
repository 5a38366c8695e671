"""Wrong derivations that no single mistake of the taxonomy gives."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy

from tests.derivations import writing
from tests.derivations.problems import POINTS, Case, Problem, problem, usable
from tests.derivations.tape import Mistake

UNRELATED = (1.37, 0.83, 1.7, 2.6, 0.41, 3.3, 1.21)


def outside(seed: int | str, count: int) -> Iterator[Case]:
    """Wrong derivations that are checked to be none of the single mistakes."""
    rng = random.Random(f"outside {seed}")
    made = 0
    for drawn in iter(lambda: problem(rng), None):
        shape, change = rng.choice(CHANGES)
        expression = change(drawn, rng)
        if expression is None:
            continue
        text, style = writing.any_style(drawn.graph, expression, rng)
        answer = np.array([writing.value(text, drawn.names_at(point)) for point in range(POINTS)])
        if usable(answer) and drawn.differs(answer) and not drawn.alike(answer):
            yield drawn.case(text, style, accepted=[], shape=shape)
            made += 1
            if made == count:
                return


def _name(drawn: Problem, rng: random.Random) -> Any:
    """The symbol of one of the graph's names."""
    return drawn.symbols.values[rng.choice([node for node in drawn.graph.known.values() if node.op == "leaf"])]


def _term_added(drawn: Problem, rng: random.Random) -> Any:
    term = rng.choice([1, 2, sympy.Rational(rng.choice(["0.3", "1.37", "0.71"]))])
    return drawn.symbols.right[drawn.wrt] + term * _name(drawn, rng) ** rng.choice([1, 1, 2])


def _factor(drawn: Problem, rng: random.Random) -> Any:
    x = _name(drawn, rng)
    factor = rng.choice([1 + x**2, sympy.cos(x), sympy.exp(x / 3), 1 + x / 2, sympy.sin(x) + 2])
    return drawn.symbols.right[drawn.wrt] * factor


def _constant(drawn: Problem, rng: random.Random) -> Any:
    return drawn.symbols.right[drawn.wrt] * sympy.Rational(str(rng.choice(UNRELATED)))


def _wrapped(drawn: Problem, rng: random.Random) -> Any:
    """A function of the right answer."""
    right = drawn.symbols.right[drawn.wrt]
    m = drawn.symbols.m
    return rng.choice([m.sin, m.tanh, m.sigmoid, m.cos])(right)


def _wrong_argument(drawn: Problem, rng: random.Random) -> Any:
    """One of the names in the right answer replaced by something of it."""
    right = sympy.sympify(drawn.symbols.right[drawn.wrt])
    names = sorted(right.free_symbols, key=str)
    if not names:
        return None
    x = rng.choice(names)
    return right.xreplace({x: rng.choice([x + 1, x**2, 3 * x, sympy.sin(x), x + _name(drawn, rng)])})


def _two_mistakes(drawn: Problem, rng: random.Random) -> Any:
    """Two mistakes of the taxonomy at different places."""
    found = [one.mistake for one in drawn.found if one.mistake.planted and one.mistake.answer is None]
    pairs = [(one, other) for one, other in itertools.combinations(found, 2) if _apart(one, other)]
    if not pairs:
        return None
    return drawn.symbols.answer(_together(*rng.choice(pairs)), drawn.wrt)


def _apart(one: Mistake, other: Mistake) -> bool:
    return one.key != other.key and not any(
        mine.keys() & theirs.keys()
        for mine, theirs in ((one.edges, other.edges), (one.sums, other.sums), (one.values, other.values))
    )


def _together(one: Mistake, other: Mistake) -> Mistake:
    return Mistake(
        "two",
        one.edges | other.edges,
        one.amounts | other.amounts,
        one.values | other.values,
        one.sums | other.sums,
    )


def _of_other_graph(drawn: Problem, rng: random.Random) -> Any:
    """An expression with the right names and nothing else to do with it."""
    a, b, c = (_name(drawn, rng) for _ in range(3))
    return rng.choice([a * b + c, a - b * c, sympy.sin(a) * b, (a + 2 * b) * (c - 1), a / (1 + b**2), a * (1 - b) * c])


CHANGES: list[tuple[str, Callable[[Problem, random.Random], Any]]] = [
    ("a term added", _term_added),
    ("an unrelated factor", _factor),
    ("an unrelated constant", _constant),
    ("a function of the answer", _wrapped),
    ("a wrong argument", _wrong_argument),
    ("two mistakes", _two_mistakes),
    ("another formula", _of_other_graph),
]
