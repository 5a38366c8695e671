"""Formulas as trees, their chain rule, and the same rule with something changed in it; over numbers or symbols."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy

LEAKY_SLOPE = 0.01


class Numbers:
    """Functions over NumPy arrays: one number for each point."""

    exp, log, sqrt, sin, cos, tanh = np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh
    abs, sign, max, min = np.abs, np.sign, np.maximum, np.minimum
    log10 = np.log10
    ln10 = math.log(10.0)

    @staticmethod
    def constant(number: float) -> float:
        return float(number)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return 1.0 / (1.0 + np.exp(-x))

    @staticmethod
    def step(x: Any) -> Any:
        return np.where(x > 0.0, 1.0, 0.0)

    @staticmethod
    def relu(x: Any) -> Any:
        return np.maximum(x, 0.0)

    @staticmethod
    def leaky_relu(x: Any) -> Any:
        return np.where(x > 0.0, x, LEAKY_SLOPE * x)

    @staticmethod
    def softplus(x: Any) -> Any:
        return np.logaddexp(0.0, x)

    @staticmethod
    def elu(x: Any) -> Any:
        return np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))

    @staticmethod
    def where_positive(x: Any, chosen: Any, other: Any) -> Any:
        return np.where(x > 0.0, chosen, other)


class Symbols:
    """The same functions over SymPy's expressions; those that formulas write by name stay calls."""

    exp, log, sqrt, sin, cos, tanh = sympy.exp, sympy.log, sympy.sqrt, sympy.sin, sympy.cos, sympy.tanh
    abs, sign = sympy.Abs, sympy.sign
    sigmoid, step, relu = sympy.Function("sigmoid"), sympy.Function("step"), sympy.Function("relu")
    leaky_relu, softplus, elu = sympy.Function("leaky_relu"), sympy.Function("softplus"), sympy.Function("elu")
    max, min, log10 = sympy.Function("max"), sympy.Function("min"), sympy.Function("log10")
    ln10 = sympy.log(10)

    @staticmethod
    def constant(number: float) -> Any:
        return sympy.Rational(repr(number))

    @staticmethod
    def where_positive(x: Any, chosen: Any, other: Any) -> Any:
        step = sympy.Function("step")
        return other + (chosen - other) * step(x)


@dataclass(frozen=True)
class Rule:
    """An operation: its value, and its partial derivatives from its own value and its operands."""

    forward: Callable[..., Any]
    partials: Callable[..., tuple[Any, ...]]
    activation: bool = False


RULES = {
    "+": Rule(lambda m, x, y: x + y, lambda m, out, x, y: (1, 1)),
    "-": Rule(lambda m, x, y: x - y, lambda m, out, x, y: (1, -1)),
    "*": Rule(lambda m, x, y: x * y, lambda m, out, x, y: (y, x)),
    "/": Rule(lambda m, x, y: x / y, lambda m, out, x, y: (1 / y, -x / y**2)),
    "**": Rule(lambda m, x, y: x**y, lambda m, out, x, y: (y * x ** (y - 1), x**y * m.log(x))),
    "neg": Rule(lambda m, x: -x, lambda m, out, x: (-1,)),
    "mean": Rule(lambda m, *xs: sum(xs) / len(xs), lambda m, out, *xs: (m.constant(1) / len(xs),) * len(xs)),
    "max": Rule(lambda m, x, y: m.max(x, y), lambda m, out, x, y: (m.step(x - y), m.step(y - x))),
    "exp": Rule(lambda m, x: m.exp(x), lambda m, out, x: (out,)),
    "log": Rule(lambda m, x: m.log(x), lambda m, out, x: (1 / x,)),
    "log10": Rule(lambda m, x: m.log10(x), lambda m, out, x: (1 / (x * m.ln10),)),
    "sqrt": Rule(lambda m, x: m.sqrt(x), lambda m, out, x: (1 / (2 * out),)),
    "sin": Rule(lambda m, x: m.sin(x), lambda m, out, x: (m.cos(x),)),
    "cos": Rule(lambda m, x: m.cos(x), lambda m, out, x: (-m.sin(x),)),
    "abs": Rule(lambda m, x: m.abs(x), lambda m, out, x: (m.sign(x),)),
    "sigmoid": Rule(lambda m, x: m.sigmoid(x), lambda m, out, x: (out * (1 - out),), True),
    "tanh": Rule(lambda m, x: m.tanh(x), lambda m, out, x: (1 - out**2,), True),
    "relu": Rule(lambda m, x: m.relu(x), lambda m, out, x: (m.step(x),), True),
    "leaky_relu": Rule(
        lambda m, x: m.leaky_relu(x), lambda m, out, x: (m.where_positive(x, 1, m.constant(LEAKY_SLOPE)),), True
    ),
    "softplus": Rule(lambda m, x: m.softplus(x), lambda m, out, x: (m.sigmoid(x),), True),
    "elu": Rule(lambda m, x: m.elu(x), lambda m, out, x: (m.where_positive(x, 1, out + 1),), True),
}


class Node:
    """A leaf, a number or an operation on others. `name` is what the graph calls it, if anything."""

    def __init__(self, op: str, args: tuple[Node, ...] = (), name: str = "", number: float = 0.0) -> None:
        self.op, self.args, self.name, self.number = op, args, name, number

    def __repr__(self) -> str:
        return self.name or formula(self)

    def __add__(self, other: Any) -> Node:
        return Node("+", (self, node_of(other)))

    def __radd__(self, other: Any) -> Node:
        return Node("+", (node_of(other), self))

    def __sub__(self, other: Any) -> Node:
        return Node("-", (self, node_of(other)))

    def __rsub__(self, other: Any) -> Node:
        return Node("-", (node_of(other), self))

    def __mul__(self, other: Any) -> Node:
        return Node("*", (self, node_of(other)))

    def __rmul__(self, other: Any) -> Node:
        return Node("*", (node_of(other), self))

    def __truediv__(self, other: Any) -> Node:
        return Node("/", (self, node_of(other)))

    def __rtruediv__(self, other: Any) -> Node:
        return Node("/", (node_of(other), self))

    def __pow__(self, other: Any) -> Node:
        return Node("**", (self, node_of(other)))

    def __rpow__(self, other: Any) -> Node:
        return Node("**", (node_of(other), self))

    def __neg__(self) -> Node:
        return Node("neg", (self,))


Edge = tuple[Node, int]
"""An operation and the place of one of its operands."""


def node_of(value: Any) -> Node:
    return value if isinstance(value, Node) else Node("constant", number=value)


def call(op: str, *args: Any) -> Node:
    return Node(op, tuple(map(node_of, args)))


def added(terms: list[Node]) -> Node:
    """The terms with `+` between them."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 2.5, "**": 3}


def formula(node: Node) -> str:
    """The formula of a node over the names below it."""
    return _written(node, top=True)


def _written(node: Node, top: bool = False) -> str:
    if node.name and not top:
        return node.name
    if node.op == "constant":
        return repr(node.number)
    if node.op not in _BINDING:
        return f"{node.op}({', '.join(_written(arg) for arg in node.args)})"
    bound = _BINDING[node.op]

    def operand(arg: Node, looser: bool) -> str:
        text, inner = _written(arg), 9.0 if arg.name or arg.op not in _BINDING else _BINDING[arg.op]
        return f"({text})" if inner < bound or (looser and inner == bound) else text

    if node.op == "neg":
        return f"-{operand(node.args[0], looser=True)}"
    left, right = operand(node.args[0], node.op == "**"), operand(node.args[1], node.op not in "+*")
    return f"{left}{node.op}{right}" if node.op in ("*", "/", "**") else f"{left} {node.op} {right}"


@dataclass
class Graph:
    """A loss, its lines in order, the ranges of its leaves, and what a teacher would call its parts."""

    lines: list[Node] = field(default_factory=list)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    leaves: dict[str, Node] = field(default_factory=dict)
    weights: list[Node] = field(default_factory=list)
    biases: list[Node] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)
    given: list[Node] = field(default_factory=list)  # targets and rates, whose gradient nobody asks
    alike: list[list[Node]] = field(default_factory=list)  # names that are mixed up
    examples: list[Node] = field(default_factory=list)  # what is summed over a batch, one node an example
    softmax: list[tuple[Node, Node, Any]] = field(default_factory=list)  # score, probability, label of a class
    crossed: list[tuple[Node, Node, Node]] = field(default_factory=list)  # score, sigmoid of it, target; cross-entropy

    def leaf(self, name: str, low: float = -2.0, high: float = 2.0) -> Node:
        if name not in self.leaves:
            self.leaves[name] = Node("leaf", name=name)
            self.ranges[name] = (low, high)
        return self.leaves[name]

    def weight(self, name: str) -> Node:
        node = self.leaf(name)
        if node not in self.weights:
            self.weights.append(node)
        return node

    def bias(self, name: str) -> Node:
        node = self.leaf(name)
        if node not in self.biases:
            self.biases.append(node)
        return node

    def input(self, name: str) -> Node:
        node = self.leaf(name)
        if node not in self.inputs:
            self.inputs.append(node)
        return node

    def target(self, name: str, low: float = -2.0, high: float = 2.0) -> Node:
        node = self.leaf(name, low, high)
        if node not in self.given:
            self.given.append(node)
        return node

    def let(self, name: str, node: Node) -> Node:
        assert not node.name
        node.name = name
        self.lines.append(node)
        return node

    @property
    def loss(self) -> Node:
        return self.lines[-1]

    @cached_property
    def order(self) -> list[Node]:
        """Every node under the loss, operands first."""
        found: dict[Node, None] = {}
        stack = [(self.loss, False)]
        while stack:
            node, done = stack.pop()
            if done:
                found.setdefault(node)
            elif node not in found:
                stack.append((node, True))
                stack += [(arg, False) for arg in reversed(node.args)]
        return list(found)

    @cached_property
    def known(self) -> dict[str, Node]:
        """The nodes under the loss that have a name."""
        return {node.name: node for node in self.order if node.name}

    def edges(self) -> Iterator[Edge]:
        """The edges along which a gradient flows, the loss's first."""
        for node in reversed(self.order):
            yield from ((node, i) for i, arg in enumerate(node.args) if arg.op != "constant")

    def uses(self, node: Node) -> list[Edge]:
        return [(user, i) for user, i in self.edges() if user.args[i] is node]

    @cached_property
    def below(self) -> dict[Node, dict[Node, None]]:
        """For every node what it depends on, itself too."""
        found: dict[Node, dict[Node, None]] = {}
        for node in self.order:
            found[node] = {node: None}
            for arg in node.args:
                found[node] |= found[arg]
        return found

    @property
    def text(self) -> str:
        return "\n".join(f"{node.name} = {formula(node)}" for node in self.lines)

    @cached_property
    def used_ranges(self) -> dict[str, tuple[float, float]]:
        """The ranges of the leaves that some line needs."""
        found: dict[str, tuple[float, float]] = {}
        stack = list(reversed(self.lines))
        while stack:
            node = stack.pop()
            if node.op == "leaf":
                found[node.name] = self.ranges[node.name]
            stack += reversed(node.args)
        return found


Changed = Callable[["Pass", Any], Any]  # from a pass and what is right there to what was done


@dataclass
class Mistake:
    """A change to the chain rule: at edges, at sums over consumers, at values as the backward pass takes them."""

    key: str
    edges: dict[Edge, Changed] = field(default_factory=dict)
    amounts: dict[Edge, Changed] = field(default_factory=dict)  # what is passed on, from the right local derivative
    values: dict[Edge, Callable[[Pass], Any]] = field(default_factory=dict)  # operands, as local derivatives see them
    sums: dict[Node, Callable[[Pass, list[tuple[Edge, Any]], dict[Node, Any]], Any]] = field(default_factory=dict)
    answer: Callable[[Pass], Any] | None = None
    planted: bool = True  # else it is only a reading of other mistakes
    shape: str = ""  # where and how, for people


NOTHING = Mistake("nothing")


class Pass:
    """One forward pass over numbers or symbols, and the chain rule on it."""

    def __init__(self, graph: Graph, m: Any, leaves: dict[str, Any]) -> None:
        self.graph, self.m = graph, m
        self.values: dict[Node, Any] = {}
        for node in self._all():
            if node.op == "constant":
                self.values[node] = m.constant(node.number)
            elif node.op == "leaf" or (m is Symbols and node.name in graph.known):
                self.values[node] = leaves[node.name]
            else:
                self.values[node] = self.formula(node)
        self.lr = leaves["lr"]

    def formula(self, node: Node) -> Any:
        """The value of an operation, of what its operands are here."""
        return RULES[node.op].forward(self.m, *[self.values[arg] for arg in node.args])

    def _all(self) -> list[Node]:
        """What is under the loss, and lines beside it."""
        order = dict.fromkeys(self.graph.order)
        for line in self.graph.lines:
            stack = [(line, False)]
            while stack:
                node, done = stack.pop()
                if done:
                    order.setdefault(node)
                elif node not in order:
                    stack.append((node, True))
                    stack += [(arg, False) for arg in reversed(node.args)]
        return list(order)

    def partial(self, node: Node, place: int, operands: list[Any] | None = None) -> Any:
        xs = operands or [self.values[arg] for arg in node.args]
        if node.op == "**":  # the other half may be undefined, and costs
            x, y = xs
            return y * x ** (y - 1) if place == 0 else self.values[node] * self.m.log(x)
        return RULES[node.op].partials(self.m, self.values[node], *xs)[place]

    @cached_property
    def right(self) -> dict[Node, Any]:
        return self.backward()

    def backward(self, mistake: Mistake | None = None) -> dict[Node, Any]:
        """∂loss/∂node of every node, or what a mistake makes of it."""
        found: dict[Node, Any] = {}
        arrived: dict[Node, list[tuple[Edge, Any]]] = defaultdict(list)
        mistake = mistake or NOTHING
        edges, amounts, values, sums = mistake.edges, mistake.amounts, mistake.values, mistake.sums
        for node in reversed(self.graph.order):
            if node.op == "constant":
                continue
            if node is self.graph.loss:
                grad = self.m.constant(1)
            elif node in sums:
                grad = sums[node](self, arrived[node], found)
            else:
                grad = added_up([amount for _, amount in arrived[node]])
            found[node] = grad
            for place, arg in enumerate(node.args):
                if arg.op == "constant":
                    continue
                operands = None
                if values:
                    operands = [
                        values[node, i](self) if (node, i) in values else self.values[one]
                        for i, one in enumerate(node.args)
                    ]
                local = self.partial(node, place, operands)
                if (node, place) in edges:
                    local = edges[node, place](self, local)
                passed = amounts[node, place](self, local) if (node, place) in amounts else grad * local
                arrived[arg].append(((node, place), passed))
        return found

    def answer(self, mistake: Mistake, wrt: Node) -> Any:
        """What a student who makes the mistake gives for the gradient of the loss."""
        return self.backward(mistake)[wrt] if mistake.answer is None else mistake.answer(self)

    def tangent(self, node: Node, pivot: Node) -> Any:
        """∂node/∂pivot through nodes without a name."""
        if node is pivot:
            return self.m.constant(1)
        if node.name or not node.args:
            return self.m.constant(0)
        return added_up([
            self.partial(node, i) * self.tangent(arg, pivot)
            for i, arg in enumerate(node.args)
            if arg.op != "constant"
        ])  # fmt: skip


def added_up(amounts: list[Any]) -> Any:
    return sum(amounts[1:], amounts[0]) if amounts else 0


def symbols(graph: Graph) -> Pass:
    """The chain rule in the names of the graph."""
    names = {name: sympy.Symbol(name, real=True) for name in [*graph.known, *graph.leaves, "lr"]}
    return Pass(graph, Symbols, names)


LR = 0.5


def numbers(graph: Graph, rng: np.random.Generator, points: int, given: dict[str, float]) -> Pass:
    """The chain rule at points drawn from the ranges, and at the given values after them."""
    leaves: dict[str, Any] = {
        name: np.append(rng.uniform(*bounds, points), given[name]) for name, bounds in graph.ranges.items()
    }
    return Pass(graph, Numbers, leaves | {"lr": LR})
