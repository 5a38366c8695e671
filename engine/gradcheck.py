"""`gradcheck`: the gradients of a graph against numeric derivatives, which never ask the table for a partial."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.backprop import gradients
from engine.forward import needed, refuse_outdated, shown
from engine.graph import backward_order, forward_order, leaves, names, recorded_derivatives
from engine.ops import Primitive
from engine.report import Findings
from engine.text import number, shorten
from engine.value import Value, clone

STEP = 1e-40  # of the complex step, relative: its error goes with the square
SMALLEST = 1e-290  # an imaginary part with all its digits
ANALYTIC = 1e-9  # relative tolerance of the complex step, which has nearly all digits
NUMERIC = 1e-6  # relative tolerance of Ridders' method
WORST = 1e-4  # relative error at which a numeric derivative says nothing any more
ROUNDING = 1e-12  # of the sum of the absolute values of all terms

Verdict = Literal["right", "wrong", "left out"]


@dataclass(frozen=True)
class Checked:
    """A derivative by the engine and by numbers alone, which may differ by `tolerance`.

    `name` is that of a leaf for ∂loss/∂leaf, and `∂node/∂operand` for a local derivative. Where no number can be had,
    as at a kink, `numeric` is nan and `reason` says why.
    """

    name: str
    engine: float
    numeric: float = math.nan
    tolerance: float = 0.0
    reason: str = ""

    def beside(self, numeric: float, tolerance: float) -> Checked:
        """The same derivative with its number."""
        return replace(self, numeric=numeric, tolerance=tolerance)

    def left_out(self, reason: str) -> Checked:
        """The same derivative, for which no number can be had."""
        return replace(self, reason=reason)

    @property
    def error(self) -> float:
        """Engine minus numeric."""
        return self.engine - self.numeric

    @property
    def verdict(self) -> Verdict:
        """Whether the two agree."""
        if self.reason:
            return "left out"
        return "right" if abs(self.error) <= self.tolerance else "wrong"


class Gradcheck(Findings[Checked]):
    """What `gradcheck` found: a row for each leaf, and one for each local derivative that is wrong.

    It is true in a test, as in `assert gradcheck(loss)`, if nothing is wrong.
    """

    _row_is, _if_wrong = "gradient", "the gradient is not what the numbers say"

    @property
    def ok(self) -> bool:
        """Whether no derivative is wrong, and at least one was checked."""
        verdicts = {row.verdict for row in self._rows.values()}
        return "wrong" not in verdicts and "right" in verdicts

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [("gradient", "engine", "numeric", "error", "tolerance", "")]
        for row in self._rows.values():
            off = "≈ 0" if abs(row.error) <= 1e-3 * row.tolerance else number(row.error, 3)  # what rounding leaves
            error = ["", ""] if row.reason else [off, f"± {number(row.tolerance, 2)}"]
            numeric = "" if row.reason else number(row.numeric, 12)
            verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
            table.append((shorten(row.name), number(row.engine, 12), numeric, *error, verdict))
        wide = [max(len(cells[column]) for cells in table) for column in range(5)]
        lines = [
            "  ".join([f"{cells[0]:<{wide[0]}}", *(f"{cells[i]:>{wide[i]}}" for i in range(1, 5)), cells[5]])
            for cells in table
        ]
        return "\n".join(line.rstrip() for line in lines)


def gradcheck(
    loss_or_function: Value | Callable[..., Value], *arguments: Any, wrt: Iterable[Value] | None = None
) -> Gradcheck:
    """Check the gradient of a loss by every leaf under it (or those of `wrt`), and every local derivative.

    `gradcheck(loss)` takes a graph; `gradcheck(function, 0.5, [1.0, 2.0])` calls the function on Values made of the
    numbers, lists too. The numeric derivative is the complex step, f′(x) ≈ Im f(x + ih)/h (Squire and Trapp 1998),
    where every operation on the way is known on complex numbers, else Ridders' extrapolated differences (Ridders
    1982). At a kink, and where such differences would cross one, there is no derivative to compare with: that is
    left out, and said. Nothing in the graph is changed.

    Raises TypeError for what is no Value or function of Values, and ValueError where data was edited after the
    forward pass.
    """
    if isinstance(loss_or_function, Value):
        loss = loss_or_function
        if arguments:
            raise TypeError("gradcheck(loss) takes no numbers; they are for gradcheck(function, *numbers).")
    else:
        loss = _called(loss_or_function, arguments)
    refuse_outdated(loss, "check it", derivatives=False)
    graph = _Graph(loss)
    chosen = list(graph.leaves if wrt is None else wrt)
    for leaf in chosen:
        if leaf not in graph.leaves:
            raise ValueError(f"{shown(leaf)} is no leaf under {graph.names[loss]}, so it has no gradient to check.")
    rows: dict[str, Checked] = {}
    for row in [*(graph.by_leaf(leaf) for leaf in chosen), *graph.wrong_locals()]:
        numbered = (f"{row.name} ({which})" for which in itertools.count(2))  # two leaves may have one label
        name = next(name for name in itertools.chain([row.name], numbered) if name not in rows)
        rows[name] = replace(row, name=name)
    return Gradcheck(rows)


def _called(function: Callable[..., Value], arguments: Sequence[Any]) -> Value:
    if not callable(function):
        raise TypeError(f"gradcheck takes a Value or a function of Values, not {shown(function)}.")
    try:
        parameters = [parameter.name for parameter in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    named = [*parameters, *(f"x{place}" for place in range(len(parameters), len(arguments)))]
    loss = function(*(_leaf(argument, name) for name, argument in zip(named, arguments, strict=False)))
    if not isinstance(loss, Value):
        raise TypeError(f"The function must return a Value, not {shown(loss)}. Has the graph been lost on the way?")
    return loss


def _leaf(argument: Any, name: str) -> Any:
    if isinstance(argument, list | tuple):
        return [_leaf(part, f"{name}[{place}]") for place, part in enumerate(argument)]
    return argument if isinstance(argument, Value) else Value(argument, name)


class _Graph:
    """A loss, ready to be evaluated at other points. The nodes are only read."""

    def __init__(self, loss: Value) -> None:
        self.loss = loss
        self.names = names(loss)
        everything = forward_order(loss)
        used = needed(loss, {node: recorded_derivatives(node) for node in everything})
        self.forward = [node for node in everything if node in used]
        self.leaves = [leaf for leaf in leaves(everything) if not leaf.is_constant] if everything else [loss]
        self.analytic = all(node._row.on_complex for node in self.forward)
        copies = clone(loss)
        order = backward_order(copies[loss])
        gradients(copies[loss], order)
        self.gradient = {node: copy.grad for node, copy in copies.items()}
        for copy in order:  # once more, for the sum of the absolute values of all terms
            copy.set_derivatives([None if d is None else abs(d) for d in recorded_derivatives(copy)])
        gradients(copies[loss], order)
        self.terms = {node: copy.grad for node, copy in copies.items()}

    def by_leaf(self, leaf: Value) -> Checked:
        engine = self.gradient[leaf]
        moved = {leaf}
        for node in self.forward:
            if not moved.isdisjoint(node.parents):
                moved.add(node)
        affected = [node for node in self.forward if node in moved]
        asked = Checked(self.names[leaf], engine)
        for node in affected:
            reason = _not_smooth(
                node._row, [parent.data for parent in node.parents], [p in moved for p in node.parents]
            )
            if reason:
                return asked.left_out(f"{self.names[node]} ({node.op}) stands {reason}")
        if not math.isfinite(engine):
            return asked.left_out("it has no value" if engine != engine else "it is infinite")
        if self.loss not in moved:
            return asked.beside(0.0, 0.0)
        rounding = ROUNDING * self.terms[leaf]
        found = None
        if self.analytic:
            found = _by_complex_step(
                asked, leaf.data, lambda z: self._values(affected, leaf, z, "on_complex")[self.loss], rounding
            )
        size = max([abs(node.data) for node in affected], default=abs(leaf.data))
        return found or _by_differences(asked, leaf.data, lambda x: self._at(affected, leaf, x), 1e3 * rounding, size)

    def _values(self, affected: Sequence[Value], leaf: Value, number: Any, form: str) -> dict[Value, Any]:
        values: dict[Value, Any] = {leaf: number}
        for node in affected:
            operands = [values.get(parent, type(number)(parent.data)) for parent in node.parents]
            values[node] = _computed(getattr(node._row, form), operands)
        return values

    def _at(self, affected: Sequence[Value], leaf: Value, x: float) -> tuple[float, object]:
        """The loss at another x, and on which side of each kink that is."""
        values = self._values(affected, leaf, x, "forward")
        sides = [node._row.sides([values.get(p, p.data) for p in node.parents]) for node in affected]
        return values[self.loss], sides

    def wrong_locals(self) -> list[Checked]:
        """The local derivatives that are not those of the operation, and those that differences can't tell."""
        wrong = []
        for node in self.forward:
            operands = [parent.data for parent in node.parents]
            for place, (parent, recorded) in enumerate(zip(node.parents, recorded_derivatives(node), strict=True)):
                moving = [i == place for i in range(len(operands))]
                finite = recorded is None or not math.isinf(recorded)
                if finite and not parent.is_constant and not _not_smooth(node._row, operands, moving):
                    name = f"∂{self.names[node]}/∂{self.names[parent]}"
                    checked = _local(Checked(name, recorded or 0.0), node._row, operands, place)
                    if checked.verdict != "right":
                        wrong.append(checked)
        return wrong


def _not_smooth(row: Primitive, operands: Sequence[float], moving: Sequence[bool]) -> str:
    """Where a row has no derivative by the operands that move, or nothing; what a condition takes is smooth."""
    deciding = moving[:2] if row.selects else moving
    if any(deciding) and row.at_kink(operands):
        return "at its kink"
    for toward in (-math.inf, math.inf):
        nudged = [math.nextafter(x, toward) if moves else x for x, moves in zip(operands, moving, strict=True)]
        if row.inside is not None and not row.inside(*nudged):
            return "at the end of its domain"
    return ""


def _local(asked: Checked, row: Primitive, operands: Sequence[float], place: int) -> Checked:
    """A partial of a row against its numeric derivative by the operand at `place`."""

    def at(x: Any, form: Callable[..., Any]) -> Any:
        return _computed(form, [x if i == place else type(x)(other) for i, other in enumerate(operands)])

    form = row.on_complex
    if form is not None:
        found = _by_complex_step(asked, operands[place], lambda z: at(z, form), 0.0)
        if found is not None:
            return found
    others = list(operands)

    def moved(x: float) -> tuple[float, object]:
        others[place] = x
        return at(x, row.forward), row.sides(others)

    return _by_differences(asked, operands[place], moved, 0.0, abs(row.forward(*operands)))


def _by_complex_step(asked: Checked, x: float, at: Callable[[complex], complex], rounding: float) -> Checked | None:
    """Im f(x + ih)/h, or None where it is not finite."""
    step = STEP * (abs(x) or 1.0)
    numeric = at(complex(x, step)).imag / step
    if not math.isfinite(numeric):
        return None
    if max(abs(numeric), abs(asked.engine)) * step < SMALLEST and asked.engine != numeric:
        return asked.left_out("it is too small for a numeric derivative")
    return asked.beside(numeric, max(ANALYTIC * abs(numeric), rounding))


def _computed(form: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """What a row gives, or nan where it gives nothing."""
    try:
        return form(*operands)
    except (ArithmeticError, ValueError):
        return type(operands[0])(math.nan)


def _by_differences(
    asked: Checked,
    x: float,
    at: Callable[[float], tuple[float, object]],
    rounding: float,
    size: float,
) -> Checked:
    """Ridders' method: central differences at ever smaller steps, extrapolated to a step of 0.

    `at` gives the function and something that tells one smooth piece from the next; the largest step stays on the
    piece where x lies. `size` is that of the largest number on the way, which rounding goes with. C. J. F. Ridders,
    Advances in Engineering Software 4 (1982) 75.
    """
    if not math.isfinite(x):
        return asked.left_out("there are no differences at infinity")
    _, here = at(x)
    step = 0.1 * max(abs(x), 0.1)
    while not all(math.isfinite(out) and side == here for out, side in (at(x - step), at(x + step))):
        step /= 2.0
        if step < 1e-7 * max(abs(x), 1e-3):
            return asked.left_out("a kink, or the end of the domain, is too near for differences")
    noise = 1e-15 * size / step  # what rounding alone makes of a difference
    shrink = 1.4
    best, error = math.nan, math.inf
    row: list[float] = []
    for _ in range(12):
        extrapolated = [(at(x + step)[0] - at(x - step)[0]) / (2.0 * step)]
        factor = shrink * shrink
        for previous in row:
            extrapolated.append((extrapolated[-1] * factor - previous) / (factor - 1.0))
            factor *= shrink * shrink
            estimate = max(abs(extrapolated[-1] - extrapolated[-2]), abs(extrapolated[-1] - previous))
            if estimate < error:
                best, error = extrapolated[-1], estimate
        row = extrapolated
        step /= shrink
    uncertain = max(4.0 * error, rounding, noise)
    if not uncertain <= WORST * max(abs(best), abs(asked.engine)) and (asked.engine or abs(best) > uncertain):
        return asked.left_out(f"differences have too few digits here: {best:.3g} ± {uncertain:.1g}")
    return asked.beside(best, max(NUMERIC * abs(best), uncertain))
