"""Steps, lines and derivations in words: the rows of the table, read by symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from engine.backprop import Contribution
from engine.forward import now
from engine.graph import (
    backward_order,
    consumers,
    derivatives_by_parent,
    leading_to,
    names,
    recorded_derivatives,
)
from engine.ops import Primitive
from engine.text import SUPERSCRIPTS, factor, in_notation, number, shorten
from engine.value import Value

if TYPE_CHECKING:
    from engine.text import Notation

SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly a piece of text holds together
LONGEST = 160  # characters of a formula that is still read
MOST_LINES = 12  # contributions or steps that are still read; the rest is counted


@dataclass(frozen=True, slots=True)
class Symbol:
    """A formula as text, `coefficient · text`; no text stands for the number alone.

    Symbols take part in arithmetic and in every row of the table, so a partial applied to them writes itself.
    """

    text: str
    binding: int = ATOM
    coefficient: float = 1.0

    def __str__(self) -> str:
        return self._signed()[0]

    def _signed(self) -> tuple[str, int]:
        """The text with its coefficient, and how tightly that holds."""
        if not self.text:
            return number(self.coefficient), ATOM if self.coefficient >= 0.0 else SUM
        if self.coefficient == 1.0:
            return self.text, self.binding
        inner = self.text if self.binding >= PRODUCT else f"({self.text})"
        if self.coefficient == -1.0:
            return f"−{inner}", SUM
        return f"{number(self.coefficient)}·{inner}", PRODUCT if self.coefficient >= 0.0 else SUM

    def within(self, binding: int) -> str:
        """The text, in parentheses where it holds less tightly than `binding`."""
        text, own = self._signed()
        return text if own >= binding else f"({text})"

    def __add__(self, other: Any) -> Symbol:
        right = symbol(other)
        if not (self.text or right.text):
            return symbol(self.coefficient + right.coefficient)
        if _is_zero(right):
            return self
        if _is_zero(self):
            return right
        if right.coefficient < 0.0:
            return Symbol(f"{self} − {(-right).within(PRODUCT)}", SUM)
        return Symbol(f"{self} + {right.within(PRODUCT) if str(right).startswith('−') else right}", SUM)

    def __radd__(self, other: Any) -> Symbol:
        return symbol(other) + self

    def __neg__(self) -> Symbol:
        return Symbol(self.text, self.binding, -self.coefficient)

    def __sub__(self, other: Any) -> Symbol:
        return self + -symbol(other)

    def __rsub__(self, other: Any) -> Symbol:
        return symbol(other) + -self

    def __mul__(self, other: Any) -> Symbol:
        other = symbol(other)
        coefficient = self.coefficient * other.coefficient
        if coefficient == 0.0 or not (self.text and other.text):
            kept = self if self.text else other
            return Symbol(kept.text if coefficient else "", kept.binding, coefficient)
        if other.text.startswith("1/"):
            return Symbol(f"{_factor(self)}{other.text[1:]}", PRODUCT, coefficient)
        return Symbol(f"{_factor(self)}·{_factor(other)}", PRODUCT, coefficient)

    def __rmul__(self, other: Any) -> Symbol:
        return symbol(other) * self

    def __truediv__(self, other: Any) -> Symbol:
        other = symbol(other)
        if other.text == "" and other.coefficient == 1.0:
            return self
        numerator = Symbol(self.text, self.binding) if self.text else symbol(abs(self.coefficient))
        sign = self.coefficient if self.text else 1.0 if self.coefficient >= 0.0 else -1.0
        return Symbol(f"{numerator.within(PRODUCT)}/{other.within(POWER)}", PRODUCT, sign)

    def __rtruediv__(self, other: Any) -> Symbol:
        return symbol(other) / self

    def __pow__(self, other: Any) -> Symbol:
        other = symbol(other)
        if not other.text and other.coefficient in (0.0, 1.0):
            return self if other.coefficient else symbol(1.0)
        if not other.text and other.coefficient == int(other.coefficient) and abs(other.coefficient) < 1000:
            return Symbol(f"{self.within(ATOM)}{str(int(other.coefficient)).translate(SUPERSCRIPTS)}", POWER)
        return Symbol(f"{self.within(ATOM)}^{other.within(ATOM)}", POWER)

    def __rpow__(self, other: Any) -> Symbol:
        return symbol(other).__pow__(self)

    @staticmethod
    def __primitive__(row: Primitive, operands: tuple[Any, ...]) -> Symbol:
        operands = tuple([symbol(operand) for operand in operands])
        if isinstance(row.notation, str):
            return Symbol(row.notation.format(*operands))
        if row.notation is not None:
            return symbol(row.notation(*operands))
        return Symbol(f"{row.symbol or row.name}({', '.join(map(str, operands))})")


UNREADABLE = Symbol("…")  # stands for a formula that nobody would read


def _factor(written: Symbol) -> str:
    return written.text if written.binding >= PRODUCT else f"({written.text})"


def _is_zero(written: Symbol) -> bool:
    return not written.text and written.coefficient == 0.0


def symbol(operand: Any) -> Symbol:
    """`operand` itself if it is a symbol, else the symbol of a number."""
    return operand if isinstance(operand, Symbol) else Symbol("", ATOM, float(operand))


def _signed_sum(terms: Sequence[float], digits: int) -> str:
    text = number(terms[0], digits)
    for term in terms[1:]:
        text += f" {'−' if term < 0.0 else '+'} {number(abs(term), digits)}"
    return text


class Words:
    """The names and formulas of one graph."""

    def __init__(self, loss: Value, *, digits: int = 6, notation: Notation = "plain") -> None:
        self.loss = loss
        self.digits = digits
        self.order = backward_order(loss)
        self.names = {
            node: shorten(name if node.is_constant else in_notation(name, notation), 200)
            for node, name in names(loss).items()
        }

    @cached_property
    def rank(self) -> dict[Value, int]:
        """Each computed node's place in the backward order."""
        return {node: place for place, node in enumerate(self.order)}

    @cached_property
    def feeds(self) -> dict[Value, list[tuple[Value, float]]]:
        """For each node its consumers and their derivatives, in backward order."""
        return consumers(self.order)

    def number(self, x: float) -> str:
        """`x` to the digits of these words."""
        return number(x, self.digits)

    def symbol(self, node: Value) -> Symbol:
        """The node by its name; a constant by its number."""
        return Symbol("", ATOM, node.data) if node.is_constant else Symbol(self.names[node])

    def _expressions(self, *, numeric: bool) -> dict[Value, Symbol]:
        """Each node as its consumers write it: by name, or by formula where it has no label."""
        written: dict[Value, Symbol] = {}
        for node in self.names:
            if node.is_constant:
                written[node] = Symbol("", ATOM, node.data)
                continue
            text = self.number(node.data) if numeric else self.names[node]
            written[node] = Symbol(text, ATOM if node.data >= 0.0 or not numeric else SUM)
            if node.op and not node.label:
                formula = self._formula(node, written)
                if formula is not None:
                    written[node] = formula
        return written

    def _formula(self, node: Value, written: Mapping[Value, Symbol]) -> Symbol | None:
        if len(node.parents) > 2 * MOST_LINES:
            return None
        operands = [written[parent] for parent in node.parents]
        if sum(len(operand.text) for operand in operands) > LONGEST:
            return None
        return symbol(node._row(*operands))

    @cached_property
    def in_names(self) -> dict[Value, Symbol]:
        """Every node as its consumers write it, in names."""
        return self._expressions(numeric=False)

    @cached_property
    def in_numbers(self) -> dict[Value, Symbol]:
        """Every node as its consumers write it, in numbers."""
        return self._expressions(numeric=True)

    def formula(self, node: Value, *, numeric: bool = False) -> str:
        """What the node computes, as `σ(net_h1)`; with `numeric`, the numbers in place of the names."""
        formula = self._formula(node, self.in_numbers if numeric else self.in_names)
        if formula is None:  # too long when written out: by the names of its operands
            formula = self._formula(node, {parent: self.symbol(parent) for parent in node.parents})
        if formula is not None:
            return str(formula)
        first = ", ".join(self.names[parent] for parent in node.parents[:3])
        return f"{node.op}({first}, … {len(node.parents)} operands)"

    def forward_line(self, node: Value) -> str:
        """`a = σ(z) = σ(0.25) = 0.562177`."""
        if not node.op:
            return f"{self.names[node]} = {self.number(node.data)}"
        symbolic, numeric, result = self.formula(node), self.formula(node, numeric=True), self.number(node.data)
        out = now(node, derivatives=False)
        if out is not None:
            return f"{self.names[node]} = {symbolic} was {result}, outdated: now {self.number(out)}"
        middle = "" if numeric in (symbolic, result) or "…" in numeric else f" = {numeric}"
        return f"{self.names[node]} = {symbolic}{middle} = {result}"

    def own_formula(self, node: Value) -> tuple[str, str]:
        """The node's formula over the names of its parents, and what those without a label stand for."""
        by_name = {parent: self.symbol(parent) for parent in node.parents}
        formula = self._formula(node, by_name)
        unlabelled = [p for p in dict.fromkeys(node.parents) if p.op and not p.label][:2]
        where = ", ".join(f"{self.names[p]} = {self.formula(p)}" for p in unlabelled)
        return (self.formula(node) if formula is None else str(formula)), where

    def local_derivatives(self, node: Value, written: Mapping[Value, Symbol] | None = None) -> list[Symbol]:
        """∂node/∂parent for each parent, in its textbook form over the names, or over what is `written` for them."""
        row = node._row
        by_number = row.selects or row.at_kink([parent.data for parent in node.parents])  # decided by the numbers
        if by_number or (row.many and row.textbook and len(node.parents) > 2 * MOST_LINES):  # or too long to read
            return [symbol(derivative) for derivative in node.local_derivatives]
        operands = tuple([written[p] if written else self.symbol(p) for p in node.parents])
        out = self.symbol(node) if node.label or not written else written[node]
        return [symbol(d) for d in node._row.derivatives(out, operands, textbook=True)]

    def received(self, node: Value) -> list[float]:
        """What each consumer sends to the node, once its own gradient is complete."""
        return [derivative * consumer.grad for consumer, derivative in self.feeds.get(node, [])]

    def gradient_of(self, node: Value) -> str:
        """`∂E/∂w`, of the loss by its name."""
        return f"∂{self.names[self.loss]}/∂{self.names[node]}"


class Step(Protocol):
    """What the words need of a walk's step."""

    @property
    def node(self) -> Value: ...  # noqa: D102
    @property
    def contributions(self) -> Sequence[Contribution]: ...  # noqa: D102


@dataclass
class Rows:
    """Lines that align at their sign."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, left: str, sign: str, right: str) -> None:
        """Add a line."""
        self.rows.append((left, sign, right))

    def __str__(self) -> str:
        wide = max((len(left) for left, _, _ in self.rows), default=0)
        return "\n".join(f"  {left:<{wide}} {sign:>2} {right}" for left, sign, right in self.rows)


def step_in_words(
    words: Words, index: int, node: Value, grad: float, received: Sequence[float], contributions: Sequence[Contribution]
) -> str:
    """One step of the walk: what the node has received, and the chain rule at each of its parents."""
    formula, where = words.own_formula(node)
    head = f"step {index} of {len(words.order)} · {words.names[node]} = {formula}"
    if where:
        head += f"   where {where}"
    left_out = len(contributions) - MOST_LINES
    more = f"\n  … and {left_out} parents more" if left_out > 0 else ""
    return f"{head}\n{step_rows(words, node, grad, received, contributions)}{more}"


def step_rows(
    words: Words, node: Value, grad: float, received: Sequence[float], contributions: Sequence[Contribution]
) -> Rows:
    """The lines of one step, for the first twelve parents."""
    lines = Rows()
    value = words.number(grad)
    if node is words.loss:
        value += "  (the loss by itself)"
    elif len(received) > 1:
        more = f" and {len(received) - MOST_LINES} more" if len(received) > MOST_LINES else ""
        value += f"  (sum of {len(received)} paths: {_signed_sum(received[:MOST_LINES], words.digits)}{more})"
    lines.add(words.gradient_of(node), "=", value)
    reached = zip(words.local_derivatives(node), recorded_derivatives(node), strict=True)
    symbols = [local for local, derivative in reached if derivative is not None]
    for one, local in list(zip(contributions, symbols, strict=True))[:MOST_LINES]:
        derivative = f"∂{words.names[node]}/∂{words.names[one.parent]}"
        text, figure = str(local), words.number(one.local_derivative)
        lines.add(derivative, "=", figure if text == figure else f"{text} = {figure}")
        total = f"  ({words.number(one.before)} before, {words.number(one.after)} now)" if one.before else ""
        times = factor(one.local_derivative, words.digits)
        product = f"{words.number(grad)} × {times} = {words.number(one.amount)}{total}"
        lines.add(words.gradient_of(one.parent), "+=", product)
    return lines


def line_in_words(words: Words, steps: Sequence[Step]) -> str:
    """Steps from one labelled node to the next, taken together: a line of the derivation for each node reached.

    Empty where they are no such line, because they also pass on what other nodes have sent.
    """
    first = steps[0].node
    through = {step.node for step in steps}
    fed_from_outside = any(c not in through for node in through - {first} for c, _ in words.feeds[node])
    if len(steps) < 2 or fed_from_outside or through != set(unlabelled_below(first, words.rank)):
        return ""
    amounts: dict[Value, float] = {}
    for step in steps:
        for one in step.contributions:
            if one.parent not in through:
                amounts[one.parent] = amounts.get(one.parent, 0.0) + one.amount
    symbols = _through_unlabelled(words, first, None)
    lines = Rows()
    for parent, amount in list(amounts.items())[:MOST_LINES]:
        if parent in symbols:
            product = _times("" if first is words.loss else words.gradient_of(first), symbols[parent])
            lines.add(words.gradient_of(parent), "+=", f"{product} = {words.number(amount)}")
    return f"together, from {words.names[first]}\n{lines}" if lines.rows else ""


def forward_in_words(words: Words) -> list[str]:
    """The forward pass, a line for each labelled node."""
    return [words.forward_line(node) for node in words.names if node.op and (node.label or node is words.loss)]


def derivation(words: Words, target: Value, root: Value) -> str:
    """The right derivation of ∂root/∂target in symbols and numbers: a line for each labelled node on the way.

    Each line gathers the labelled nodes that the target feeds, through those without a label:
    ∂L/∂u = Σ ∂L/∂v · ∂v/∂u. Numbers are taken from the gradients that the nodes hold.
    """
    if target is root:
        return f"  ∂{words.names[root]}/∂{words.names[root]} = 1"
    order = backward_order(root)
    onward = leading_to(target, order)
    if root not in onward:
        return f"  {words.names[target]} does not reach {words.names[root]}: its derivative is 0"
    way = [node for node in order if node in onward and node.label and node not in (root, target)]
    wanted = [*way, target]
    shown = wanted if len(wanted) <= MOST_LINES else [*wanted[: MOST_LINES // 2], *wanted[-MOST_LINES // 2 :]]
    lines = Rows()
    for node in shown:
        terms = []
        for consumer in labelled_above(words, node, root):
            if consumer not in onward:  # it feeds something else than the root
                continue
            upstream = "" if consumer is root else f"∂{words.names[root]}/∂{words.names[consumer]}"
            terms.append(_times(upstream, _through_unlabelled(words, consumer, node)[node]))
        formula, figure = " + ".join(terms).replace("+ −", "− "), words.number(node.grad)
        if len(formula) > 2 * LONGEST:
            formula = f"Σ over {len(terms)} consumers"
        written = figure if formula in (figure, "") else f"{formula} = {figure}"
        lines.add(f"∂{words.names[root]}/∂{words.names[node]}", "=", written)
        if len(shown) < len(wanted) and node is shown[MOST_LINES // 2 - 1]:
            lines.add("…", "", f"({len(wanted) - len(shown)} lines)")
    return str(lines)


def labelled_above(words: Words, node: Value, root: Value) -> list[Value]:
    """The labelled nodes, and the root, that `node` feeds directly or through nodes without a label."""
    found: list[Value] = []
    seen = {node}
    stack = [node]
    while stack:
        for consumer, _ in words.feeds.get(stack.pop(), []):
            if consumer not in seen:
                seen.add(consumer)
                (found if consumer.label or consumer is root else stack).append(consumer)
    return sorted(found, key=words.rank.__getitem__)


def update_in_words(words: Words, node: Value, lr: float, digits: int) -> str:
    """The gradient descent step of a leaf, w ← w − lr·∂L/∂w, with `digits` for its result."""
    name = words.names.get(node, node.label)
    return (
        f"  new {name} = {name} − lr·∂{words.names[words.loss]}/∂{name} = {words.number(node.data)} − "
        f"{words.number(lr)}·{factor(node.grad, words.digits)} = {number(node.data - lr * node.grad, digits)}"
    )


def local_derivation(words: Words, target: Value, root: Value, derivative: float) -> str:
    """∂root/∂target through nodes without a label only, in symbols and as the number `derivative`."""
    local = _through_unlabelled(words, root, target)[target]
    figure = words.number(derivative)
    written = figure if str(local) == figure else f"{local} = {figure}"
    return f"  ∂{words.names[root]}/∂{words.names[target]} = {written}"


def _times(upstream: str, local: Symbol) -> str:
    return str(local) if not upstream else str(Symbol(upstream) * local)


def _through_unlabelled(words: Words, node: Value, target: Value | None) -> dict[Value, Symbol]:
    """∂node/∂u for each labelled u (and the target) that `node` reaches through nodes without a label."""
    written = words.in_names
    pending: dict[Value, Symbol] = {node: symbol(1.0)}
    reached: dict[Value, Symbol] = {}
    for inner in unlabelled_below(node, words.rank, target):
        if inner not in pending:
            continue
        outer = pending.pop(inner)
        locals_and_recorded = zip(words.local_derivatives(inner, written), recorded_derivatives(inner), strict=True)
        for parent, (local, recorded) in zip(inner.parents, locals_and_recorded, strict=True):
            if recorded is not None:
                into = reached if parent.label or parent is target or not parent.op else pending
                written_out = into[parent] + outer * local if parent in into else outer * local
                too_long = len(written_out.text) > LONGEST or UNREADABLE in (outer, local, into.get(parent))
                into[parent] = UNREADABLE if too_long else written_out
    return reached


def unlabelled_below(node: Value, rank: Mapping[Value, int], target: Value | None = None) -> list[Value]:
    """`node` and the computed nodes without a label below it, down to the next labelled ones, in backward order.

    `rank` holds each computed node's place in the backward order. `target` counts as labelled.
    """
    found = {node}
    stack = [node]
    while stack:
        for parent, _ in derivatives_by_parent(stack.pop()):
            if parent.op and not parent.label and parent is not target and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=rank.__getitem__)
