"""Shared generators of test data: random graphs, and the cases kept as files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from engine import DomainError, Value, build, dot, maximum, minimum, total
from engine.formula import Graph
from engine.ops import POWER
from engine.value import record
from nn import Layer, Module
from tests.reference import ROWS, arity

CASES = Path(__file__).parent / "cases"
WORKED = sorted((CASES / "worked").glob("*.json"))

UNARY = ["tanh", "sigmoid", "relu", "sin", "cos", "abs", "exp of tanh", "neg", "square"]


def case(name: str) -> Any:
    """The data of a file of cases."""
    return json.loads((CASES / name).read_text(encoding="utf-8"))


def worked(name: str, **options: Any) -> Graph:
    """The graph of a published example."""
    return graph_of(case(f"worked/{name}.json"), **options)


def graph_of(example: dict[str, Any], leaves: dict[str, float] | None = None, **options: Any) -> Graph:
    text = "\n".join(f"{name} = {formula}" for name, formula in example["graph"])
    return build(text, example["leaf"] if leaves is None else leaves, **options)


def drawn_leaves(example: dict[str, Any], seed: int) -> dict[str, float]:
    """Values for the leaves of a case, from its ranges."""
    rng = random.Random(seed)
    return {name: rng.uniform(*bounds) for name, bounds in example["variables"].items() if name != "lr"}


def leaf_gradients(loss: Value, leaves: list[Value]) -> list[float]:
    """The gradients of the leaves by one backward pass, from 0."""
    for leaf in leaves:
        leaf.grad = 0.0
    loss.backward()
    return [leaf.grad for leaf in leaves]


def apply_unary(name: str, x: Value) -> Value:
    if name == "neg":
        return -x
    if name == "square":
        return (x.tanh()) ** 2
    if name == "abs":
        return abs(x)
    if name == "exp of tanh":
        return x.tanh().exp()
    result = getattr(x, name)()
    assert isinstance(result, Value)
    return result


@st.composite
def graphs(draw: st.DrawFn, most: int = 25) -> tuple[Value, list[Value]]:
    """A random graph with much fan-out, and its labelled leaves."""
    number = st.floats(-2.0, 2.0, allow_nan=False).map(lambda x: round(x, 3))
    leaves = [Value(x, f"x{i}") for i, x in enumerate(draw(st.lists(number, min_size=1, max_size=4)))]
    nodes = list(leaves)
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(["+", "-", "*", "/", "max", "min", "unary", "constant", "dot", "total"]))
        x, y = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        made = {
            "+": lambda x, y: (x + y).tanh(),
            "-": lambda x, y: x - y,
            "*": lambda x, y: (x * y).sin(),
            "/": lambda x, y: x / (y * y + 1.5),
            "max": maximum,
            "min": minimum,
            "dot": lambda x, y: dot([x, y, x], [y, 0.5, x], y).tanh(),
            "total": lambda x, y: total([x, y, x]).sin(),
            "constant": lambda x, y: draw(number) * x,
            "unary": lambda x, y: apply_unary(draw(st.sampled_from(UNARY)), x),
        }[kind](x, y)
        if draw(st.booleans()):
            made.label = f"n{len(nodes)}"
        nodes.append(made)
    loss = total(nodes[-3:]) if draw(st.booleans()) else nodes[-1]
    return loss, leaves


@st.composite
def programs(draw: st.DrawFn, most: int = 12) -> tuple[Value, list[Value]]:
    """A random straight-line program over all rows of the table, away from kinks and poles, and its leaves."""
    number = st.floats(-3.0, 3.0).map(lambda x: round(x, 2) or 0.5)
    leaves = [Value(x, f"x{i}") for i, x in enumerate(draw(st.lists(number, min_size=1, max_size=4)))]
    made = list(leaves)
    for row in draw(st.lists(st.sampled_from(ROWS), min_size=3, max_size=most)):
        operands = [draw(st.sampled_from(made[-3:]) | st.sampled_from(made) | number) for _ in range(arity(row))]
        try:
            node = record(row, operands)
        except DomainError:
            continue
        if not node.is_constant and is_tame(node):
            made.append(node)
    return made[-1] if draw(st.booleans()) else total(made[-4:]), leaves


def is_tame(node: Value) -> bool:
    """Whether a rounding of the operands is no more than a rounding of the result and its derivatives."""
    gaps = node._row.kinks(*[parent.data for parent in node.parents]) if node._row.kinks else ()
    numbers = [node.data, *node.local_derivatives]
    near_bound = node._row.inside is not None and any(
        not node._row.inside(*[parent.data + (shift if i == moved else 0.0) for i, parent in enumerate(node.parents)])
        for moved in range(len(node.parents))
        for shift in (-0.05, 0.05)
    )
    whole = node._row is POWER and node.parents[0].data < 0.0  # a whole exponent has no neighbours
    return all(abs(x) < 20.0 for x in numbers) and all(abs(gap) > 1e-3 for gap in gaps) and (not near_bound or whole)


class Tied(Module):
    """A net whose first two layers are one."""

    def __init__(self) -> None:
        self.layer = Layer(2, 2, "tanh", seed=0)
        self.layers = [self.layer, self.layer, Layer(2, 1, "linear", seed=1)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
