"""Right derivations, written in ways that look different."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy
from sympy.printing.precedence import PRECEDENCE

from tests.derivations import writing
from tests.derivations.problems import POINTS, Case, Problem, problem

WELL_CONDITIONED = 1e-10
"""A rewriting that loses more than these digits is no test of the checker."""
MOST_STEPS = 3


def rewritings(seed: int | str, count: int) -> Iterator[Case]:
    """Right derivations that are checked to be right."""
    rng = random.Random(f"rewritings {seed}")
    made = 0
    for drawn in iter(lambda: problem(rng), None):
        for _ in range(2):
            case = rewritten(drawn, rng)
            if case is not None:
                yield case
                made += 1
                if made == count:
                    return


def rewritten(drawn: Problem, rng: random.Random) -> Case | None:
    """The right answer after a few steps of rewriting, or None where nothing came of them."""
    expression, steps = sympy.sympify(drawn.symbols.right[drawn.wrt]), []
    for name, step in rng.sample(STEPS, rng.randint(1, MOST_STEPS)):
        changed = step(drawn, expression, rng)
        if changed is not None and changed != expression and writing.size(changed) < 400:
            expression = changed
            steps.append(name)
    printer = _Shuffled(rng) if rng.random() < 0.6 else None
    text = printer.doprint(expression) if printer else writing.written(expression)
    steps += ["order"] if printer else []
    if len(text) > writing.LONGEST or not steps:
        return None
    given = np.array([writing.value(text, drawn.names_at(point)) for point in range(POINTS)])
    defined = np.isfinite(given)
    scale = np.abs(drawn.right).max()
    error = np.abs(given - drawn.right)[defined] - WELL_CONDITIONED * np.abs(drawn.right)[defined]
    if not defined.all() or (error > 1e-14 * scale).any():
        return None
    return drawn.case(text, " + ".join(steps), accepted=[])


def _named_sigmoids(drawn: Problem) -> dict[Any, Any]:
    """For every node that is σ or tanh of something, its call."""
    return {
        drawn.symbols.values[node]: drawn.symbols.formula(node)
        for node in drawn.graph.known.values()
        if node.op in ("sigmoid", "tanh")
    }


def _some_leaves(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """Some of the names written out."""
    meaning = writing.definitions(drawn.graph)
    names = [name for name in sorted(map(str, expression.free_symbols)) if name in meaning]
    chosen = [name for name in names if rng.random() < 0.5] or names
    return expression.xreplace({sympy.Symbol(name, real=True): meaning[name] for name in chosen})


def _mirrored(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """σ(−z) for 1 − σ(z)."""
    sigmoid = drawn.symbols.m.sigmoid
    calls = {out: call for out, call in _named_sigmoids(drawn).items() if call.func == sigmoid}
    calls |= {call: call for call in expression.atoms(sympy.Function) if call.func == sigmoid}

    def is_complement(sub: Any) -> bool:
        return sub.is_Add and any(1 - sub == out or 1 + sub == out for out in calls)

    def mirrored(sub: Any) -> Any:
        for out, call in calls.items():
            if 1 - sub == out:
                return sigmoid(-call.args[0])
            if 1 + sub == out:
                return -sigmoid(-call.args[0])
        return sub

    return expression.replace(is_complement, mirrored)


def _by_exp(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """σ and tanh as exponentials."""
    m = drawn.symbols.m
    out = expression.xreplace(_named_sigmoids(drawn))
    out = out.replace(m.sigmoid, lambda x: 1 / (1 + sympy.exp(-x)))
    if rng.random() < 0.5:
        return out.replace(sympy.tanh, lambda x: (sympy.exp(x) - sympy.exp(-x)) / (sympy.exp(x) + sympy.exp(-x)))
    return out.replace(sympy.tanh, lambda x: 1 - 2 / (1 + sympy.exp(2 * x)))


def _by_each_other(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """tanh by σ, and σ by tanh."""
    m = drawn.symbols.m
    out = expression.xreplace(_named_sigmoids(drawn))
    if out.has(sympy.tanh):
        return out.replace(sympy.tanh, lambda x: 2 * m.sigmoid(2 * x) - 1)
    return out.replace(m.sigmoid, lambda x: (1 + sympy.tanh(x / 2)) / 2)


def _squares(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """1 − tanh² as 1/cosh², or as (1 − a)(1 + a)."""
    outs = {out: call for out, call in _named_sigmoids(drawn).items() if call.func == sympy.tanh}
    for out, call in outs.items():
        new = 1 / sympy.cosh(call.args[0]) ** 2 if rng.random() < 0.5 else sympy.Mul(1 - out, 1 + out, evaluate=False)
        expression = expression.xreplace({1 - out**2: new, 1 - call**2: new})
    return expression


def _trigonometric(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """sin and cos by identities."""
    if not expression.has(sympy.sin, sympy.cos):
        return None
    way = rng.randrange(3)
    if way == 0:
        return expression.replace(sympy.sin, lambda x: 2 * sympy.sin(x / 2) * sympy.cos(x / 2))
    if way == 1:
        return expression.replace(sympy.cos, lambda x: 1 - 2 * sympy.sin(x / 2) ** 2)
    return expression.replace(sympy.cos, lambda x: sympy.sin(x + sympy.pi / 2, evaluate=False))


def _exponentials(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """exp(a + b) as exp(a)·exp(b), and powers of numbers by exp."""
    out = sympy.expand_power_exp(expression)
    return out.replace(
        lambda e: e.is_Pow and e.base.is_Integer and e.exp.free_symbols, lambda e: sympy.exp(e.exp * sympy.log(e.base))
    )


def _multiplied_by_one(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """A fraction expanded by something that is never 0."""
    x = sympy.Symbol(rng.choice(list(drawn.graph.known)), real=True)
    one = 1 + x**2
    return sympy.Mul(expression, one, sympy.Pow(one, -1, evaluate=False), evaluate=False)


def _added_and_taken(drawn: Problem, expression: Any, rng: random.Random) -> Any:
    """Something added and taken away again."""
    x = sympy.Symbol(rng.choice(list(drawn.graph.leaves and drawn.graph.known)), real=True)
    return sympy.Add(sympy.Add(expression, x / 4, evaluate=False), -x / 4, evaluate=False)


STEPS: list[tuple[str, Callable[[Problem, Any, random.Random], Any]]] = [
    ("expanded", lambda drawn, e, rng: sympy.expand_mul(e) if writing.size(e) < 250 else None),
    ("factored", lambda drawn, e, rng: sympy.factor(e) if writing.size(e) < 80 else sympy.factor_terms(e)),
    ("together", lambda drawn, e, rng: sympy.together(e)),
    ("leaves", lambda drawn, e, rng: writing.to_leaves(drawn.graph, e)),
    ("some leaves", _some_leaves),
    ("1 − σ(z) = σ(−z)", _mirrored),
    ("by exp", _by_exp),
    ("σ by tanh", _by_each_other),
    ("squares", _squares),
    ("trigonometric", _trigonometric),
    ("exponentials", _exponentials),
    ("multiplied by 1", _multiplied_by_one),
    ("added and taken away", _added_and_taken),
]


class _Shuffled(writing.Printer):
    """Sums and products in any order; quotients as reciprocal powers; kinks as conditionals."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._reciprocal, self._conditional, self._decimal = (rng.random() < 0.5 for _ in range(3))
        self._repeated = rng.random() < 0.3

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        terms = sorted(expr.args, key=sympy.default_sort_key)
        self._rng.shuffle(terms)
        text = " + ".join(self.parenthesize(term, PRECEDENCE["Add"]) for term in terms)
        return text.replace("+ -", "- ")

    def _print_Mul(self, expr: Any) -> str:
        factors = sorted(expr.args, key=sympy.default_sort_key)
        self._rng.shuffle(factors)
        if not self._reciprocal:
            under = [1 / factor for factor in factors if factor.is_Pow and factor.exp.is_Rational and factor.exp < 0]
            factors = [f for f in factors if not (f.is_Pow and f.exp.is_Rational and f.exp < 0)] or [sympy.Integer(1)]
        else:
            under = []
        text = "*".join(self._factor(factor) for factor in factors)
        return text + "".join(f"/{self._factor(factor)}" for factor in under)

    def _factor(self, factor: Any) -> str:
        text = self.doprint(factor)
        bare = factor.is_Symbol or factor.is_Function or (factor.is_Integer and factor >= 0)
        return text if bare and " if " not in text else f"({text})"

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        if self._repeated and expr.exp == 2:
            return f"{self._factor(expr.base)}*{self._factor(expr.base)}"
        if self._reciprocal and expr.exp.is_Integer and expr.exp < 0:
            return f"{self._factor(expr.base)}**({expr.exp})"
        return str(super()._print_Pow(expr, rational))

    def _print_Rational(self, expr: Any) -> str:
        text = repr(expr.p / expr.q)
        exact = sympy.Rational(text) == expr
        return text if self._decimal and exact else f"({expr.p}/{expr.q})"

    def _print_Function(self, expr: Any) -> str:
        if self._conditional and expr.func.__name__ == "step":
            return f"(1 if {self.doprint(expr.args[0])} > 0 else 0)"
        return str(super()._print_Function(expr))

    def _print_sign(self, expr: Any) -> str:
        x = self.doprint(expr.args[0])
        return f"(1 if {x} > 0 else -1)" if self._conditional else f"({x})/abs({x})"
