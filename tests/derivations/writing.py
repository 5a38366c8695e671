"""Derivations as text, in the style of one student or another, and the value of such text."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from functools import cache
from types import CodeType
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.str import StrPrinter

from tests.derivations.tape import LEAKY_SLOPE, Graph, symbols

LONGEST, DEEPEST = 3000, 12  # characters; definitions put into each other
STYLES = ("inner nodes", "factored", "expanded", "leaves")


class Printer(StrPrinter):
    """SymPy's expressions as formulas."""

    def _print_Exp1(self, expr: Any) -> str:
        return "exp(1)"

    def _print_Abs(self, expr: Any) -> str:
        return f"abs({self._print(expr.args[0])})"

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))


_printer = Printer()


def written(expression: Any) -> str:
    """The formula text of an expression."""
    return str(_printer.doprint(sympy.sympify(expression)))


def in_style(graph: Graph, expression: Any, style: str) -> str | None:
    """The expression in a style, or None where that would be too long."""
    expression = sympy.sympify(expression)
    if style == "factored":
        expression = sympy.factor_terms(expression) if size(expression) > 60 else sympy.factor(expression, deep=False)
    elif style == "expanded":
        if size(expression) > 250:
            return None
        expression = sympy.expand_mul(expression, deep=False)
    elif style == "leaves":
        expression = to_leaves(graph, expression)
    text = written(expression)
    return text if len(text) <= LONGEST else None


IN_PRINT = ((r"\bsigmoid\(", "σ("), (r"\blog\(", "ln("), (r"\*\*2\b", "²"), (r"\*\*", "^"), (r"\*", "·"))


def in_print(text: str) -> str:
    """The formula with the signs of print: σ, ln, ² and ·."""
    for pattern, sign in IN_PRINT:
        text = re.sub(pattern, sign, text)
    return text


def size(expression: Any) -> int:
    """The nodes of an expression's tree."""
    return sum(1 for _ in sympy.preorder_traversal(expression))


def to_leaves(graph: Graph, expression: Any) -> Any:
    """The expression with every name of a line replaced by its formula."""
    meaning = definitions(graph)
    for line in reversed(graph.lines):
        symbol = sympy.Symbol(line.name, real=True)
        if expression.has(symbol):
            expression = expression.xreplace({symbol: meaning[line.name]})
    return expression


def definitions(graph: Graph) -> dict[str, Any]:
    """Each line's formula in SymPy, over the names in it."""
    p = symbols(graph)
    return {line.name: p.formula(line) for line in graph.lines}


def any_style(graph: Graph, expression: Any, rng: random.Random) -> tuple[str, str]:
    """The text of an expression in a random style that does not make it too long, and the style."""
    for style in (*rng.sample(STYLES, len(STYLES)), "inner nodes"):
        text = in_style(graph, expression, style)
        if text is not None:
            return text, style
    return written(expression), "inner nodes"


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0


FUNCTIONS: Mapping[str, Any] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tanh": math.tanh,
    "cosh": math.cosh, "abs": abs, "max": max, "min": min, "log10": math.log10, "sigmoid": _sigmoid,
    "tan": math.tan, "relu": lambda x: max(x, 0.0), "step": lambda x: 1.0 if x > 0 else 0.0,
    "sign": lambda x: (x > 0) - (x < 0), "leaky_relu": lambda x: x if x > 0 else LEAKY_SLOPE * x,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))), "elu": lambda x: x if x > 0 else math.expm1(x),
    "mean": lambda *xs: sum(xs) / len(xs), "pi": math.pi, "__builtins__": {},
}  # fmt: skip


@cache
def _compiled(text: str) -> CodeType:
    return compile(text, "<answer>", "eval")


def value(text: str, names: Mapping[str, float]) -> float:
    """The value of a formula of our own making; nan where it has none."""
    try:
        return float(eval(_compiled(text), dict(FUNCTIONS), dict(names)))
    except (ArithmeticError, ValueError, TypeError):  # TypeError: a complex number
        return math.nan


def has_calls(expression: Any, name: str) -> bool:
    """Whether an expression calls a function by this name."""
    return any(call.func.__name__ == name for call in expression.atoms(AppliedUndef))
