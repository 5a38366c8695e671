"""The whole derivation as a solution sheet in Markdown: what is given, forward, backward, gradients, updates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from engine.explain import MOST_LINES, Rows, Words, through_unlabelled, unlabelled_below, upstream_of
from engine.graph import derivatives_by_parent, nodes
from engine.symbols import Latex, Symbol
from engine.text import in_markdown, markdown_table
from engine.value import Value

WIDE = 80  # characters in one line of a formula
LONG = 16  # lines in one block
COMFORTABLE = 24  # characters of a formula that is easily read
CHAIN_RULE = (
    "By the chain rule, a gradient is the sum over all that the quantity feeds: the gradient there times the local "
    "derivative."
)


def solution_in_markdown(
    loss: Value, *, digits: int = 6, parameters: Sequence[Value] | None = None, lr: float | None = None
) -> str:
    """The derivation of the gradients that the nodes under `loss` hold after a backward pass.

    Of the leaves it has the `parameters`, or all of them, and with `lr` their updates.
    """
    words = _words(loss, digits)
    leaves = [node for node in nodes(loss) if not (node.op or node.is_constant)]
    wanted = leaves if parameters is None else parameters
    forward = [node for node in words.names if _has_line(words, node) and node is not loss]
    given = [(words.names[leaf], words.number(leaf.data)) for leaf in leaves]
    gradients = [(words.gradient_of(leaf), words.number(leaf.grad)) for leaf in wanted]
    parts = [
        f"# Backpropagation of {_inline(words.names[loss])}",
        *_section("Given", _table(["name", "value"], given)),
        *_section("Forward pass", _forward(words, forward)),
        *_section("Loss", _forward(words, [loss])),
        *_section("Backward pass", CHAIN_RULE),
        *_backward(words, wanted),
        *_section("Gradients", _table(["gradient", "value"], gradients)),
    ]
    if lr is not None:
        rate = _inline(rf"\eta = {words.number(lr)}")
        parts += _section("Updates", f"The learning rate is {rate}.", _updates(words, wanted, lr))
    return "\n\n".join(parts) + "\n"


def _words(loss: Value, digits: int) -> Words:
    """The words of the sheet. Where a formula would be too long to read, nodes without a label are named in it."""
    named: set[Value] = set()
    for room in (COMFORTABLE, 0):  # where long pieces by name are not enough, every node is
        words = Words(loss, digits=digits, notation="latex", named=frozenset(named))
        for node in words.order:
            if _has_line(words, node) and not _is_readable(words, node):
                named.update(_longer_than(room, words, unlabelled_below(node, words.rank, words.named)))
    return Words(loss, digits=digits, notation="latex", named=frozenset(named))


def _is_readable(words: Words, node: Value) -> bool:
    """Whether the formula of a node and the derivatives through it can be read."""
    for numeric in (False, True):
        derived = through_unlabelled(words, node, words.named, numeric=numeric).values()
        if any(local.length > WIDE or local == words.kind.unreadable() for local in derived):
            return False
    return all(words.is_readable(one) for one in unlabelled_below(node, words.rank, words.named))


def _longer_than(room: int, words: Words, inner: Sequence[Value]) -> Iterator[Value]:
    """The nodes at which a formula over those named before grows beyond about `room` characters."""
    lengths: dict[Value, int] = {}
    for node in reversed(inner):
        length = 4 + sum(lengths.get(parent, words.symbol(parent).length) for parent in node.parents)
        if length > room:
            yield node
        else:
            lengths[node] = length


def _has_line(words: Words, node: Value) -> bool:
    return node is words.loss or (bool(node.op) and (bool(node.label) or node in words.named))


def _forward(words: Words, computed: Iterable[Value]) -> str:
    lines = Rows()
    for node in computed:
        if node.data == node.data:  # else it is in a branch that no condition takes, and has no value
            _add_equation(lines, words.names[node], words.forward_sides(node))
    return _display(lines)


class _Term(NamedTuple):
    """What a gradient has from one consumer: ∂consumer/∂node in symbols and in numbers."""

    consumer: Value
    local: Symbol
    in_numbers: Symbol


def _backward(words: Words, wanted: Sequence[Value]) -> Iterator[str]:
    """For each node with a line its gradient, and those of the leaves that are complete with it."""
    order = [node for node in words.order if _has_line(words, node)]
    terms = _terms(words, order)
    completed: dict[Value, list[Value]] = {}
    for leaf in dict.fromkeys(wanted):
        if leaf in terms:
            completed.setdefault(terms[leaf][-1].consumer, []).append(leaf)
    for node in order or [words.loss]:
        lines = Rows()
        for one in [node, *completed.get(node, [])]:
            _add_equation(lines, words.gradient_of(one), _gradient_sides(words, one, terms.get(one, [])))
        yield f"### {_inline(words.names[node])}"
        yield _display(lines)


def _terms(words: Words, order: Sequence[Value]) -> dict[Value, list[_Term]]:
    """The terms of each gradient, in backward order of the consumers."""
    terms: dict[Value, list[_Term]] = {}
    for consumer in order:
        in_numbers = through_unlabelled(words, consumer, words.named, numeric=True)
        for node, local in through_unlabelled(words, consumer, words.named).items():
            term = _Term(consumer, local, in_numbers[node])
            if words.kind.unreadable() in (local, in_numbers[node]):
                number = sum(slope for parent, slope in derivatives_by_parent(consumer) if parent is node)
                term = _Term(consumer, words.kind(words.derivative(consumer, node)), words.signed(number))
            terms.setdefault(node, []).append(term)
    return terms


def _gradient_sides(words: Words, node: Value, terms: Sequence[_Term]) -> list[str]:
    """A gradient by the chain rule, in symbols and in numbers, and its number."""
    upstream = [upstream_of(words, words.loss, term.consumer) for term in terms]
    figures = [words.kind.of(1.0) if c is words.loss else words.signed(c.grad) for c, _, _ in terms]
    chain = [words.kind(words.derivative(term.consumer, node)) for term in terms]
    sums = [
        [outer * local for outer, local in zip(upstream, chain, strict=True)],
        [outer * term.local for outer, term in zip(upstream, terms, strict=True)],
        [outer * term.in_numbers for outer, term in zip(figures, terms, strict=True)],
    ]
    if words.loss in [term.consumer for term in terms]:  # ∂L/∂node would stand on both sides
        del sums[0]
    sides = [_sum(products) for products in sums if products]
    return [*[side for side in sides if side != words.gradient_of(node)], words.number(node.grad)]


def _sum(terms: Sequence[Symbol]) -> str:
    return str(sum(terms[:MOST_LINES])) + (rf" + {Latex.ELLIPSIS}" if len(terms) > MOST_LINES else "")


def _updates(words: Words, parameters: Iterable[Value], lr: float) -> str:
    lines = Rows()
    for node in parameters:
        rule = rf"{words.names[node]} - \eta \cdot {words.gradient_of(node)}"
        numbers = rf"{words.number(node.data)} - {words.number(lr)} \cdot {words.factor(node.grad)}"
        sides = [rule, numbers, words.number(node.data - lr * node.grad)]
        _add_equation(lines, words.names[node], sides, r"\leftarrow")
    return _display(lines)


# How it stands on the page.


def _section(title: str, *content: str) -> list[str]:
    return [f"## {title}", *content] if all(content) else []


def _inline(latex: str) -> str:
    return f"${in_markdown(latex)}$"


def _table(titles: Sequence[str], rows: Iterable[tuple[str, str]]) -> str:
    return markdown_table(titles, [[_inline(cell) for cell in row] for row in rows])


def _add_equation(lines: Rows, left: str, sides: Iterable[str], sign: str = "=") -> None:
    """Add `left = side = side`, each side once, with a new line where one would be too wide."""
    kept = [side for side, _ in groupby(sides)]
    line = ""
    for piece in [*kept[:-2], " = ".join(kept[-2:])]:  # the result stays with its numbers
        if line and Latex(f"{left} = {line} = {piece}").length > WIDE:
            _add_line(lines, left, sign, line)
            left, sign, line = "", "=", piece
        else:
            line = f"{line} = {piece}" if line else piece
    _add_line(lines, left, sign, line)


def _add_line(lines: Rows, left: str, sign: str, line: str) -> None:
    """Add one side, or several in one line; a long sum goes on in the next."""
    rest = ""
    for summand in _summands(line):
        if rest and Latex(rest + summand).length > WIDE:
            lines.add(left, sign, rest)
            left, sign, rest = "", "", r"\quad {}"
        rest += summand
    lines.add(left, sign, rest)


def _summands(formula: str) -> Iterator[str]:
    """The pieces of a sum, each with the sign before it; what stands within braces or parentheses is one piece."""
    start = depth = 0
    for found in _STRUCTURE.finditer(formula):
        if not found["sign"]:
            depth += 1 if found["opens"] else -1
        elif depth == 0:
            yield formula[start : found.start()]
            start = found.start()
    yield formula[start:]


_STRUCTURE = re.compile(r"(?P<opens>\\left\b|\\begin\b|[({])|\\right\b|\\end\b|[)}]|(?P<sign> [+-] )")


def _display(lines: Rows) -> str:
    """The lines in blocks, since none is broken from one page to the next."""
    blocks: list[Rows] = []
    for row in lines.rows:
        if not blocks or (len(blocks[-1].rows) >= LONG and row[0]):
            blocks.append(Rows())
        blocks[-1].add(*row)
    return "\n\n".join(f"$$\n{in_markdown(block.aligned())}\n$$" for block in blocks)
