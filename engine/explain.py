"""Steps, lines and derivations in words: the rows of the table, read by symbols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from engine.backprop import Contribution
from engine.forward import now
from engine.graph import backward_order, consumers, derivatives_by_parent, leading_to, names, recorded_derivatives
from engine.symbols import PRODUCT, Latex, Symbol
from engine.text import in_latex_formula, in_notation, latex_number, shorten
from engine.value import Value

if TYPE_CHECKING:
    from engine.text import Notation

LONGEST = 160  # characters of a formula that is still read
MOST_LINES = 12  # contributions or steps that are still read; the rest is counted


class Words:
    """The names and formulas of one graph, in a notation.

    `named` are nodes without a label that are written by their names all the same.
    """

    def __init__(
        self, loss: Value, *, digits: int = 6, notation: Notation = "plain", named: Collection[Value] = frozenset()
    ) -> None:
        self.loss = loss
        self.digits = digits
        self.kind = Latex if notation == "latex" else Symbol
        self.named = named
        self.order = backward_order(loss)
        self.names = _written(names(loss), notation)

    @cached_property
    def in_latex(self) -> Words:
        """The same words in LaTeX."""
        return Words(self.loss, digits=self.digits, notation="latex")

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
        return self.kind.number(x, self.digits)

    def factor(self, x: float) -> str:
        """`x` as a factor, in parentheses where it is negative."""
        return self.kind.figure(x, self.digits).within(PRODUCT)

    def signed(self, x: float) -> Symbol:
        """`x` as a symbol whose sign arithmetic takes along."""
        figure = self.kind.figure(abs(x), self.digits)
        return -figure if x < 0.0 else figure

    def signed_sum(self, terms: Sequence[float]) -> str:
        """Numbers as a sum."""
        return str(sum(map(self.signed, terms)))

    def symbol(self, node: Value) -> Symbol:
        """The node by its name; a constant by its number."""
        return self.kind.of(node.data) if node.is_constant else self.kind(self.names[node])

    def _expressions(self, *, numeric: bool) -> dict[Value, Symbol]:
        """Each node as its consumers write it: by name, or by formula where it has none of its own."""
        written: dict[Value, Symbol] = {}
        for node in self.names:
            if numeric and not node.is_constant:
                written[node] = self.kind.figure(node.data, self.digits)
            else:
                written[node] = self.symbol(node)
            if node.op and not node.label and node not in self.named:
                formula = self._formula(node, written)
                if formula is not None:
                    written[node] = formula
        return written

    def _formula(self, node: Value, written: Mapping[Value, Symbol]) -> Symbol | None:
        if len(node.parents) > 2 * MOST_LINES:
            return None
        operands = [written[parent] for parent in node.parents]
        if sum(operand.length for operand in operands) > LONGEST:
            return None
        return self.kind.of(node._row(*operands))

    @cached_property
    def in_names(self) -> dict[Value, Symbol]:
        """Every node as its consumers write it, in names."""
        return self._expressions(numeric=False)

    @cached_property
    def in_numbers(self) -> dict[Value, Symbol]:
        """Every node as its consumers write it, in numbers."""
        return self._expressions(numeric=True)

    def is_readable(self, node: Value) -> bool:
        """Whether the formula of the node, written out, is not too long to read."""
        return self._formula(node, self.in_names) is not None

    def formula(self, node: Value, *, numeric: bool = False) -> str:
        """What the node computes, as `σ(net_h1)`; with `numeric`, the numbers in place of the names."""
        formula = self._formula(node, self.in_numbers if numeric else self.in_names)
        if formula is None:  # too long when written out: by the names of its operands
            formula = self._formula(node, {parent: self.symbol(parent) for parent in node.parents})
        if formula is not None:
            return str(formula)
        return self.kind.cut_short(node.op, [self.names[parent] for parent in node.parents[:3]], len(node.parents))

    def forward_sides(self, node: Value) -> list[str]:
        """The formula of a node, the formula in numbers, and the number."""
        if not node.op:
            return [self.number(node.data)]
        symbolic, numeric, result = self.formula(node), self.formula(node, numeric=True), self.number(node.data)
        hidden = numeric in (symbolic, result) or self.kind.ELLIPSIS in numeric
        return [symbolic, result] if hidden else [symbolic, numeric, result]

    def forward_line(self, node: Value) -> str:
        """`a = σ(z) = σ(0.25) = 0.562177`."""
        out = now(node, derivatives=False) if node.op else None
        if out is not None:
            was = f"{self.formula(node)} was {self.number(node.data)}"
            return f"{self.names[node]} = {was}, outdated: now {self.number(out)}"
        return " = ".join([self.names[node], *self.forward_sides(node)])

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
            return [self.kind.of(derivative) for derivative in node.local_derivatives]
        operands = tuple([written[p] if written else self.symbol(p) for p in node.parents])
        out = written[node] if written else self.symbol(node)
        return [self.kind.of(d) for d in row.derivatives(out, operands, textbook=True)]

    def received(self, node: Value) -> list[float]:
        """What each consumer sends to the node, once its own gradient is complete."""
        return [derivative * consumer.grad for consumer, derivative in self.feeds.get(node, [])]

    def derivative(self, of: Value, by: Value) -> str:
        """`∂z/∂w`, of two nodes by their names."""
        return self.kind.derivative(self.names[of], self.names[by])

    def complete_after(self, node: Value) -> int:
        """After how many steps of the backward pass nothing is added to a node's gradient any more."""
        return max((self.rank[consumer] + 1 for consumer, _ in self.feeds.get(node, [])), default=0)

    def which(self, node: Value, operand: int) -> str:
        """What tells the derivative by one operand from that by all ways between the two nodes; empty if it is that."""
        parent = node.parents[operand]
        if node.parents.count(parent) > 1:
            return f"operand {operand + 1}"
        return "directly" if self._leads_around(parent, node) else ""

    def _leads_around(self, parent: Value, node: Value) -> bool:
        """Whether a parent leads to its node by way of others too."""
        here = self.rank[node]
        between = [consumer for consumer, _ in self.feeds.get(parent, []) if self.rank[consumer] > here]
        seen = set(between)
        while between:
            for consumer, _ in self.feeds.get(between.pop(), []):
                if consumer is node:
                    return True
                if self.rank[consumer] > here and consumer not in seen:
                    seen.add(consumer)
                    between.append(consumer)
        return False

    def gradient_of(self, node: Value) -> str:
        """`∂E/∂w`, of the loss by its name."""
        return self.derivative(self.loss, node)


def _written(named: Mapping[Value, str], notation: Notation) -> dict[Value, str]:
    """The names in a notation. Labels that would look the same there, such as `w1` and `w_1`, stay as they are."""
    labels = {name: shorten(name, 200) for node, name in named.items() if not node.is_constant}
    written = {name: in_notation(label, notation) for name, label in labels.items()}
    seen = Counter(written.values())
    for name, text in written.items():
        if seen[text] > 1 and notation != "plain":
            written[name] = in_latex_formula(labels[name]) if notation == "latex" else labels[name]
    constants = {node: latex_number(node.data) if notation == "latex" else name for node, name in named.items()}
    return {node: constants[node] if node.is_constant else written[name] for node, name in named.items()}


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

    def aligned(self) -> str:
        """The lines in LaTeX, for amsmath."""
        body = " \\\\\n".join(f"{left} &{sign} {right}".strip() for left, sign, right in self.rows)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def __str__(self) -> str:
        wide = max((len(left) for left, _, _ in self.rows), default=0)
        return "\n".join(f"  {left:<{wide}} {sign:>2} {right}" for left, sign, right in self.rows)


def step_in_words(
    words: Words, index: int, node: Value, grad: float, received: Sequence[float], contributions: Sequence[Contribution]
) -> str:
    """One step of the walk: what the node has received, and the chain rule at each of its parents."""
    head = f"step {index} of {len(words.order)} · {formula_line(words, node)}"
    more = [f"  {told}"] if (told := parents_more(contributions)) else []
    return "\n".join([head, str(step_rows(words, node, grad, received, contributions)), *more])


def formula_line(words: Words, node: Value) -> str:
    """`E_o1 = 0.5·v2   where v2 = (t1 − out_o1)²`: the node's formula, and what operands without a label stand for."""
    formula, where = words.own_formula(node)
    return f"{words.names[node]} = {formula}" + (f"   where {where}" if where else "")


def parents_more(contributions: Sequence[Contribution]) -> str:
    """How many contributions `step_rows` leaves out; empty for none."""
    left_out = len(contributions) - MOST_LINES
    return f"… and {left_out} parents more" if left_out > 0 else ""


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
        value += f"  (sum of {len(received)} paths: {words.signed_sum(received[:MOST_LINES])}{more})"
    lines.add(words.gradient_of(node), "=", value)
    for one, local, which in _with_symbols(words, node, contributions):
        derivative = words.derivative(node, one.parent) + (f" ({which})" if which else "")
        lines.add(derivative, "=", equal([local, words.number(one.local_derivative)]))
        total = f"  ({words.number(one.before)} before, {words.number(one.after)} now)" if one.before else ""
        times = words.factor(one.local_derivative)
        product = f"{words.number(grad)} × {times} = {words.number(one.amount)}{total}"
        lines.add(words.gradient_of(one.parent), "+=", product)
    return lines


def step_in_latex(
    words: Words, node: Value, grad: float, received: Sequence[float], contributions: Sequence[Contribution]
) -> str:
    """One step of the walk as lines of LaTeX that align, for words in that notation."""
    formula, where = words.own_formula(node)
    lines = Rows()
    lines.add(words.names[node], "=", formula + (rf" \quad \text{{where }} {where}" if where else ""))
    upstream = words.kind(words.gradient_of(node))
    sides = [words.number(grad)]
    if len(received) > 1:
        feeds = words.feeds[node][:MOST_LINES]
        chain = [words.kind(words.gradient_of(c)) * words.kind(words.derivative(c, node)) for c, _ in feeds]
        more = rf" + {words.kind.ELLIPSIS}" if len(received) > MOST_LINES else ""
        sides = [f"{sum(chain)}{more}", f"{words.signed_sum(received[:MOST_LINES])}{more}", *sides]
    lines.add(str(upstream), "=", equal(sides))
    for one, local, which in _with_symbols(words, node, contributions):
        derivative = words.kind(words.derivative(node, one.parent))
        apart = rf"\ \text{{({which})}}" if which else ""
        lines.add(f"{derivative}{apart}", "=", equal([local, words.number(one.local_derivative)]))
        product = rf"{words.number(grad)} \times {words.factor(one.local_derivative)}"
        rule = [] if node is words.loss else [upstream * derivative]
        line = equal([*rule, product, words.number(one.amount)])
        if one.before:
            line += rf" \quad ({words.number(one.before)}\text{{ before, }}{words.number(one.after)}\text{{ now}})"
        lines.add(words.gradient_of(one.parent), r"\mathrel{+}=", line)
    left_out = len(contributions) - MOST_LINES
    if left_out > 0:
        lines.add("", "", rf"\ldots\text{{ and {left_out} parents more}}")
    return lines.aligned()


def _with_symbols(
    words: Words, node: Value, contributions: Sequence[Contribution]
) -> Iterator[tuple[Contribution, Symbol, str]]:
    """The first contributions of a step, each with the symbols of its local derivative, and which one it is."""
    reached = enumerate(zip(words.local_derivatives(node), recorded_derivatives(node), strict=True))
    symbols = [(place, local) for place, (local, derivative) in reached if derivative is not None]
    for one, (place, local) in list(zip(contributions, symbols, strict=True))[:MOST_LINES]:
        yield one, local, words.which(node, place)


def equal(sides: Iterable[str | Symbol]) -> str:
    """The sides of an equation, where one that repeats the last is left out."""
    return " = ".join(side for side, _ in groupby(map(str, sides)))


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
    symbols = through_unlabelled(words, first)
    lines = Rows()
    for parent, amount in list(amounts.items())[:MOST_LINES]:
        if parent in symbols:
            product = upstream_of(words, words.loss, first) * symbols[parent]
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
        return f"  {words.derivative(root, root)} = 1"
    order = backward_order(root)
    onward = leading_to(target, order)
    if root not in onward:
        return f"  {words.names[target]} does not reach {words.names[root]}: its derivative is 0"
    way = [node for node in order if node in onward and node.label and node not in (root, target)]
    wanted = [*way, target]
    shown = wanted if len(wanted) <= MOST_LINES else [*wanted[: MOST_LINES // 2], *wanted[-MOST_LINES // 2 :]]
    lines = Rows()
    for node in shown:
        terms = [
            upstream_of(words, root, consumer) * through_unlabelled(words, consumer, (node,))[node]
            for consumer in labelled_above(words, node, root)
            if consumer in onward  # and does not feed something else than the root
        ]
        formula = str(sum(terms))
        if len(formula) > 2 * LONGEST:
            formula = f"Σ over {len(terms)} consumers"
        lines.add(words.derivative(root, node), "=", equal([formula, words.number(node.grad)]))
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
        f"  new {name} = {name} − lr·{words.kind.derivative(words.names[words.loss], name)} = "
        f"{words.number(node.data)} − {words.number(lr)}·{words.factor(node.grad)} = "
        f"{words.kind.number(node.data - lr * node.grad, digits)}"
    )


def local_derivation(words: Words, target: Value, root: Value, derivative: float) -> str:
    """∂root/∂target through nodes without a label only, in symbols and as the number `derivative`."""
    local = through_unlabelled(words, root, (target,))[target]
    return f"  {words.derivative(root, target)} = {equal([local, words.number(derivative)])}"


def upstream_of(words: Words, root: Value, node: Value) -> Symbol:
    """∂root/∂node as a factor, which is 1 for the root itself."""
    return words.kind.of(1.0) if node is root else words.kind(words.derivative(root, node))


def through_unlabelled(
    words: Words, node: Value, named: Collection[Value] = (), *, numeric: bool = False
) -> dict[Value, Symbol]:
    """∂node/∂u for each labelled u that `node` reaches through nodes without a label; those `named` have one too."""
    written = words.in_numbers if numeric else words.in_names
    unreadable = words.kind.unreadable()
    pending: dict[Value, Symbol] = {node: words.kind.of(1.0)}
    reached: dict[Value, Symbol] = {}
    for inner in unlabelled_below(node, words.rank, named):
        if inner not in pending:
            continue
        outer = pending.pop(inner)
        locals_and_recorded = zip(words.local_derivatives(inner, written), recorded_derivatives(inner), strict=True)
        for parent, (local, recorded) in zip(inner.parents, locals_and_recorded, strict=True):
            if recorded is not None:
                into = reached if parent.label or parent in named or not parent.op else pending
                written_out = into[parent] + outer * local if parent in into else outer * local
                too_long = written_out.length > LONGEST or unreadable in (outer, local, into.get(parent))
                into[parent] = unreadable if too_long else written_out
    return reached


def unlabelled_below(node: Value, rank: Mapping[Value, int], named: Collection[Value] = ()) -> list[Value]:
    """`node` and the computed nodes without a label below it, down to the next labelled ones, in backward order.

    `rank` holds each computed node's place in the backward order. Those `named` count as labelled.
    """
    found = {node}
    stack = [node]
    while stack:
        for parent, _ in derivatives_by_parent(stack.pop()):
            if parent.op and not parent.label and parent not in named and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=rank.__getitem__)
