"""Shared generators of test data: random graphs, and the cases kept as files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from engine import Value, build, dot, maximum, minimum, total
from engine.formula import Graph

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
