"""Wrong answers that are nearly right: by little, or in one place alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy

from tests.derivations import writing
from tests.derivations.problems import Case, Problem, problem
from tests.derivations.tape import Node

SAMPLED = 400
LEAST_SHARE = 0.005  # of the sampled points
CLEARLY = 1e-7  # the relative difference that counts
PER_PROBLEM = 10


def differing(seed: int | str, count: int) -> Iterator[Case]:
    """Wrong answers that differ from the right one on at least half a percent of points, maybe there alone."""
    rng = random.Random(f"differing {seed}")
    made = 0
    for drawn in iter(lambda: problem(rng), None):
        here = Problem(drawn.kind, drawn.graph, drawn.wrt, rng, points=SAMPLED)
        right = sympy.sympify(here.symbols.right[here.wrt])
        for _ in range(PER_PROBLEM):
            shape, change = rng.choice(CHANGES)
            text = change(here, right, rng)
            if text is None or len(text) > writing.LONGEST:
                continue
            share = _share(here, text)
            if share >= LEAST_SHARE:
                yield here.case(text, "", accepted=[], shape=f"{shape}, {share:.1%}")
                made += 1
                if made == count:
                    return


def _share(drawn: Problem, text: str) -> float:
    """The share of points where a text, defined everywhere, differs clearly from the right answer."""
    given = np.array([writing.value(text, drawn.names_at(point)) for point in range(SAMPLED)])
    if not np.isfinite(given).all():
        return 0.0
    scale = np.median(np.abs(drawn.right[drawn.right != 0.0]))
    return float(np.mean(np.abs(given - drawn.right) > CLEARLY * np.abs(drawn.right) + 1e-9 * scale))


def _leaf(drawn: Problem, rng: random.Random) -> Node:
    """A leaf, drawn from a range that the checker covers too."""
    return rng.choice([node for node in drawn.graph.known.values() if node.op == "leaf"])


def _scaled(drawn: Problem, right: Any, rng: random.Random) -> str:
    factor = rng.choice(["1.0001", "0.9999", "1.001", "0.99", "1.00001", "-1", "2"])
    return f"({writing.written(right)})*{factor}"


def _shifted(drawn: Problem, right: Any, rng: random.Random) -> str:
    return f"{writing.written(right)} + {rng.choice(['1e-4', '0.001', '1e-5', '0.1'])}"


def _region(drawn: Problem, right: Any, rng: random.Random) -> str:
    """Wrong where one leaf lies beyond a bound."""
    leaf = _leaf(drawn, rng)
    low, high = drawn.graph.ranges[leaf.name]
    width = (high - low) * rng.choice([0.01, 0.015, 0.025, 0.05, 0.1, 0.3])
    text = writing.written(right)
    wrong = rng.choice([f"({text})*1.01", f"({text}) + 0.01", "0", f"-({text})", f"({text})*1.5"])
    if rng.random() < 0.5:
        return f"{wrong} if {leaf.name} > {high - width:.4g} else {text}"
    return f"{wrong} if {leaf.name} < {low + width:.4g} else {text}"


def _between(drawn: Problem, right: Any, rng: random.Random) -> str:
    """Wrong where a leaf lies in a narrow interval."""
    leaf = _leaf(drawn, rng)
    low, high = drawn.graph.ranges[leaf.name]
    start = rng.uniform(low, high - 0.05 * (high - low))
    text = writing.written(right)
    end = start + (high - low) * rng.choice([0.02, 0.05])
    wrong = rng.choice([f"({text})*1.1", "0", f"({text}) + 0.05"])
    return f"({wrong} if {leaf.name} < {end:.4g} else {text}) if {leaf.name} > {start:.4g} else {text}"


def _one_side(drawn: Problem, right: Any, rng: random.Random) -> str | None:
    """A kink forgotten, moved, or taken for another."""
    m = drawn.symbols.m
    steps = sorted((call for call in right.atoms(sympy.Function) if call.func == m.step), key=str)
    signs = sorted(right.atoms(sympy.sign), key=str)
    if steps:
        chosen = rng.choice(steps)
        x = chosen.args[0]
        new = rng.choice([1, m.step(x + sympy.Rational("0.1")), m.step(x - sympy.Rational("0.05")), m.sigmoid(40 * x)])
    elif signs:
        chosen = rng.choice(signs)
        x = chosen.args[0]
        new = rng.choice([1, m.sign(x + sympy.Rational("0.1")), sympy.tanh(40 * x)])
    else:
        return None
    return writing.written(right.xreplace({chosen: new}))


def _one_term(drawn: Problem, right: Any, rng: random.Random) -> str | None:
    """One term of many a little wrong."""
    if writing.size(right) > 250:
        return None
    terms = list(sympy.Add.make_args(sympy.expand_mul(right)))
    if len(terms) < 2:
        return None
    terms.sort(key=sympy.default_sort_key)
    place = rng.randrange(len(terms))
    factor = rng.choice(["1.01", "1.001", "0.9", "-1", "2", "0"])
    terms[place] = sympy.Rational(factor) * terms[place]
    return writing.written(sympy.Add(*terms))


def _capped(drawn: Problem, right: Any, rng: random.Random) -> str:
    """Clipped gradients: right where they are small."""
    sizes = np.sort(np.abs(drawn.right))
    bound = sizes[int(len(sizes) * rng.choice([0.8, 0.9, 0.97]))]
    text = writing.written(right)
    return f"min({text}, {bound:.4g})" if rng.random() < 0.5 else f"max({text}, -{bound:.4g})"


def _power(drawn: Problem, right: Any, rng: random.Random) -> str | None:
    """An exponent or a number slightly off."""
    numbers = sorted((n for n in right.atoms(sympy.Rational) if n not in (1, -1, 0)), key=str)
    if not numbers:
        return None
    number = rng.choice(numbers)
    return writing.written(right.xreplace({number: number * sympy.Rational(rng.choice(["1.001", "1.05", "0.9"]))}))


CHANGES: list[tuple[str, Callable[[Problem, Any, random.Random], str | None]]] = [
    ("scaled", _scaled),
    ("shifted", _shifted),
    ("region", _region),
    ("region", _region),
    ("interval", _between),
    ("one side of a kink", _one_side),
    ("one term", _one_term),
    ("clipped", _capped),
    ("a number", _power),
]
