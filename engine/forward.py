"""The forward pass over floats: what a row gives, what a recorded graph gives, and where it no longer does."""

from __future__ import annotations

import math

from engine.graph import forward_order, names, recorded_derivatives
from engine.text import shorten

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from engine.graph import N, Node
    from engine.ops import Primitive


class DomainError(ValueError):
    """An operation was asked for a number that it does not have, such as log(−1) or 1/0.

    `node` is the node of the graph, where there is one already.
    """

    def __init__(self, message: str, node: Any = None) -> None:
        super().__init__(message)
        self.node = node


def as_float(data: Any) -> float:
    """`data` as the float that a node holds. Raises TypeError for what is no real number, ValueError for nan."""
    if data.__class__ is float:
        number = data
    elif data.__class__ is int or _is_real(data):
        try:
            number = float(data)
        except OverflowError:
            size = f"about 10^{data.bit_length() * 0.30103:.0f}" if isinstance(data, int) else shorten(str(data))
            raise ValueError(f"{size} is too large for a float, whose limit is 1.8e308.") from None
    else:
        raise TypeError(f"A Value holds one real number, not {shown(data)}.{_remedy(data)}")
    if number != number:
        raise ValueError("A Value must be a number, and nan is none. Find where it arose and mend it there.")
    return number


def data_of(node: Node) -> float:
    """The number of a node. Raises as `as_float`, naming the node, where something else was assigned to its data.

    In a branch that no condition takes it may be nan.
    """
    data: Any = node.data
    if data.__class__ is float and (data == data or node.op or node.is_constant):
        return data
    try:
        return as_float(data)
    except (TypeError, ValueError) as error:
        raise type(error)(f"The data of {shorten(node.label) or 'a node'} was set to {shown(data)}. {error}") from None


def _is_real(data: Any) -> bool:
    import numbers  # not needed for a float or an int, and so not at the start
    from decimal import Decimal

    if getattr(data, "shape", None) == ():  # a NumPy scalar or 0-d array
        return getattr(getattr(data, "dtype", None), "kind", "f") in "fiub"
    return isinstance(data, numbers.Real | Decimal)


def shown(data: Any) -> str:
    """The type of an object and the object, in a few words."""
    name, text = type(data).__name__, shorten(repr(data))
    return text if data is None or text.startswith(name) else f"{name} {text}"


def _remedy(data: Any) -> str:
    if isinstance(data, str | bytes | bytearray):
        return " Turn the text into a number first, with float(…)."
    if isinstance(data, complex) or getattr(getattr(data, "dtype", None), "kind", "") == "c":
        return " Take its real part, or its abs()."
    if hasattr(type(data), "__primitive__"):  # p.data = p - lr*p.grad
        return " Write `.data = x.item()`, or gradient_descent_step(parameters, lr) from nn for a step."
    if data is None:
        return " Has a function been used that returns nothing?"
    if callable(data):
        return " Call it first, with (…)."
    if hasattr(type(data), "__iter__"):
        return " Work on its numbers one by one: [f(x) for x in …]."
    return " Give its number: an int, float, Fraction, Decimal or NumPy scalar."


def evaluate(row: Primitive, operands: Sequence[float], parents: Sequence[Node] = (), label: str = "") -> float:
    """The value of `row` at `operands`. Raises DomainError where it has none, naming `label` and the parents."""
    out = row.forward(*operands)
    if not has_value(row, out, operands):
        raise DomainError(_domain_message(row, operands, parents, label))
    return out


def has_value(row: Primitive, out: float, operands: Sequence[float]) -> bool:
    """Whether `out` is the row's value at `operands`; it may be infinite by overflow."""
    return math.isfinite(out) or (out == out and (row.inside is None or row.inside(*operands)))


def partials(
    row: Primitive, out: float, operands: Sequence[float], parents: Sequence[Node], *, textbook: bool = False
) -> list[float | None]:
    """The partials at `operands`; None for a constant, and for what a condition does not take.

    In the `textbook` form where that holds, which is away from a kink.
    """
    every = row.derivatives(out, tuple(operands), textbook=textbook and not row.at_kink(operands))
    return [None if parent.is_constant else derivative for parent, derivative in zip(parents, every, strict=True)]


def evaluated(root: N, leaves: Mapping[N, float]) -> tuple[dict[N, float], dict[N, list[float | None]]]:
    """The values and local derivatives of the computed nodes under `root`, where its leaves have other values.

    Raises DomainError, with its node, where a node that `root` needs has no value; the branch that a condition
    does not take is not needed.
    """
    values = dict(leaves)
    derivatives: dict[N, list[float | None]] = {}
    undefined: list[N] = []
    for node in forward_order(root):
        operands = [values[p] if p in values else data_of(p) for p in node.parents]
        values[node] = out = node._row.forward(*operands)
        derivatives[node] = partials(node._row, out, operands, node.parents)
        if not has_value(node._row, out, operands):
            undefined.append(node)
    if undefined:
        used = needed(root, derivatives)
        for node in undefined:
            if node in used:
                operands = [values.get(parent, parent.data) for parent in node.parents]
                raise DomainError(_domain_message(node._row, operands, node.parents, node.label), node)
    return values, derivatives


def needed(root: N, derivatives: Mapping[N, Sequence[float | None]]) -> set[N]:
    """The nodes that the value of `root` rests on."""
    found = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        parents: Iterable[N] = node.parents
        if node._row.selects:
            taken = [p for p, d in zip(node.parents, derivatives[node], strict=True) if d is not None]
            parents = (*node.parents[:2], *taken)
        for parent in parents:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return found


def outdated(root: N, *, derivatives: bool = True) -> dict[N, float]:
    """Every node under `root` whose data no longer follows from its parents, with the value that would.

    With `derivatives` also those whose local derivatives don't, such as 0·y after y was edited.
    """
    found = {node: now(node, derivatives=derivatives) for node in forward_order(root)}
    return {node: out for node, out in found.items() if out is not None}


def now(node: Node, *, derivatives: bool = True) -> float | None:
    """What the parents of a computed node give now, if its data (or a local derivative) differs; else None."""
    row, operands = node._row, [data_of(parent) for parent in node.parents]
    out: float = row.forward(*operands)
    if not _same(out, node.data):
        return out
    if derivatives:
        anew = partials(row, out, operands, node.parents)
        if not all([_same(x, y) for x, y in zip(anew, recorded_derivatives(node), strict=True)]):
            return out
    return None


def _same(x: float | None, y: float | None) -> bool:
    return x == y or (x != x and y != y)


def refuse_outdated(root: N, what: str, *, derivatives: bool = True) -> None:
    """Raise ValueError, naming nodes, where data was edited after the forward pass; `what` to do after a refresh."""
    found = outdated(root, derivatives=derivatives)
    if found:
        raise ValueError(outdated_message(root, found, what))


def outdated_message(root: N, found: Mapping[N, float], what: str) -> str:
    """Which nodes no longer follow from their parents, and what to do."""
    return (
        f"{edited_message(root, found)} Call refresh() on {shorten(names(root)[root])}, which computes everything anew "
        f"from the leaves, then {what}."
    )


def edited_message(root: N, found: Mapping[N, float]) -> str:
    """Which nodes no longer follow from their parents."""
    named = names(root)
    told = []
    for node, out in list(found.items())[:3]:
        anew = "its local derivatives are others now" if _same(out, node.data) else f"they give {out:.6g} now"
        told.append(f"{shorten(named[node])} was computed as {node.data:.6g} from its operands, and {anew}")
    more = f"; and {len(found) - 3} nodes more" if len(found) > 3 else ""
    return f"The graph was edited after the forward pass: {'; '.join(told)}{more}."


def _domain_message(row: Primitive, operands: Sequence[float], parents: Sequence[Node], label: str) -> str:
    shown = [f"{operand:.6g}" for operand in operands[:6]] + ["…"] * (len(operands) > 6)
    call = f" {row.name} ".join(shown) if row.name in {"+", "-", "*", "/", "**"} else f"{row.name}({', '.join(shown)})"
    where = " and ".join(
        f"{shorten(parent.label)} = {operand:.6g}"
        for parent, operand in zip(parents[:6], operands, strict=False)
        if parent.label
    )
    return (
        (f"{shorten(label)}: " if label else "")
        + f"{call} has no value"
        + (f" (with {where})" if where else "")
        + (f": {row.requirement}." if row.requirement else ".")
    )
