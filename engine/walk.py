"""`Backprop`: the backward pass one node at a time, which can go back."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from engine.backprop import Contribution, contributions, not_finite
from engine.drawing import Drawing
from engine.explain import Words, line_in_words, step_in_latex, step_in_words
from engine.forward import now, outdated_message, refuse_outdated
from engine.graph import Path, backward_order, derivatives_by_parent, find, names, nodes, paths, recorded_derivatives
from engine.solution import solution_in_markdown
from engine.text import factor, shorten
from engine.value import Value

if TYPE_CHECKING:
    from engine.text import Notation


@dataclass(frozen=True)
class Step:
    """The chain rule at one node. `index` counts from 1; `str(step)` explains the step in words."""

    index: int
    node: Value
    grad: float
    contributions: tuple[Contribution, ...]
    _words: Words = field(repr=False, compare=False)
    _received: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return step_in_words(self._words, self.index, self.node, self.grad, self._received, self.contributions)

    __repr__ = __str__

    def latex(self) -> str:
        """The step as aligned lines of LaTeX for amsmath, without the `$$` around them.

        The node's formula, its gradient with the sum over what it feeds, and for each parent the local derivative and
        the contribution.
        """
        return step_in_latex(self._words.in_latex, self.node, self.grad, self._received, self.contributions)


class Steps(list[Step]):
    """The steps of one line of a derivation, which print in words."""

    def __str__(self) -> str:
        if not self:
            return "The walk is at its end."
        together = line_in_words(self[0]._words, self)
        return "\n\n".join([*map(str, self), *([together] if together else [])])

    __repr__ = __str__


@dataclass(frozen=True)
class Why:
    """Where a node's gradient comes from: the paths from the loss, their products, and the sum.

    `paths` holds the ten largest by size; `rest` is the sum over the others, `count` the number of all.
    """

    node: Value
    paths: tuple[Path, ...]
    count: int
    gradient: float
    _words: Words = field(repr=False, compare=False)

    @property
    def rest(self) -> float:
        """The sum of the products of the paths that are not listed."""
        return self.gradient - sum(path.product for path in self.paths) if self.count > len(self.paths) else 0.0

    def __str__(self) -> str:
        words = self._words
        name = words.gradient_of(self.node)
        if not self.count:
            return f"{name} = 0: no path leads from {words.names[words.loss]} to {words.names[self.node]}"
        alike = Counter(f"  {_route(path, words)}\n      {_factors(path, words)}" for path in self.paths)
        lines = [f"{line}  (so {times} times)" if times > 1 else line for line, times in alike.items()]
        if self.count > len(self.paths):
            lines.append(f"  {_many(self.count - len(self.paths))} more paths, together {words.number(self.rest)}")
        head = f"{name} = {words.number(self.gradient)}, " + ("one path" if self.count == 1 else "the sum over ")
        head += "" if self.count == 1 else f"{_many(self.count)} paths"
        return "\n".join([head, *lines])

    __repr__ = __str__


def _many(count: int) -> str:
    if count < 10**15:
        return f"{count:,}"
    exponent = math.floor(math.log10(count))
    return f"about {count // 10 ** (exponent - 2) / 100:.2f}·10^{exponent}"


def _route(path: Path, words: Words) -> str:
    passed = [words.names[node] for node in path.nodes]
    if len(passed) > 16:
        passed = [*passed[:8], f"… {len(passed) - 14} nodes …", *passed[-6:]]
    return " → ".join(passed)


def _factors(path: Path, words: Words) -> str:
    product = words.number(path.product)
    if not 2 < len(path.nodes) <= 16:
        return product
    factors = []
    for node, parent in zip(path.nodes, path.nodes[1:], strict=False):
        local = [derivative for reached, derivative in derivatives_by_parent(node) if reached is parent]
        if len(set(local)) > 1:  # the node uses its parent twice in different ways: the route alone can't tell
            return product
        factors.append(factor(local[0], words.digits))
    return " × ".join(factors) + f" = {product}"


class Backprop:
    """A walk through the backward pass of `loss`: `step`, `next`, `back`, `goto`, `run_to`, `run`, `why`.

    All gradients under the loss start at 0, the loss's at 1; a warning says so if a gradient was not 0. Raises
    ValueError, naming nodes, where data was edited after the forward pass: `loss.refresh()` mends it.
    `len(walk)` is the number of steps, `walk.position` how many are done.
    """

    def __init__(self, loss: Value, *, digits: int = 6) -> None:
        if not isinstance(loss, Value):
            raise TypeError(f"Backprop walks from a loss that is a Value, not {type(loss).__name__} {loss!r:.60}.")
        refuse_outdated(loss, "walk")
        under = nodes(loss)
        used = [node for node in under if node.grad != 0.0]
        if used:
            count = "1 gradient was" if len(used) == 1 else f"{len(used)} gradients were"
            warnings.warn(
                f"{count} not 0, such as that of {used[0]!r}; the walk starts all at 0.",
                UserWarning,
                stacklevel=2,
            )
        for node in under:
            node.grad = 0.0
        loss.grad = 1.0
        self.loss = loss
        self.order = backward_order(loss)
        self.position = 0
        self._digits = digits
        self._warned = False  # of an infinite gradient: once is enough
        self._undo: list[list[tuple[Value, float]]] = []
        self._recorded = [recorded_derivatives(node) for node in self.order]
        self._sent = {loss: 1.0}  # the gradients as this walk has left them

    @cached_property
    def words(self) -> Words:
        """The names and formulas of the graph."""
        return Words(self.loss, digits=self._digits)

    def __len__(self) -> int:
        return len(self.order)

    def step(self) -> Step | None:
        """Apply the chain rule at the next node, to all its parents; None at the end.

        Raises, with nothing changed, FloatingPointError where a gradient would be nan, and ValueError where the
        node's data, derivatives or gradient were changed by something else.
        """
        if self.position == len(self.order):
            return None
        node = self.order[self.position]
        self._check_untouched(node)
        grad, before = node.grad, [(parent, parent.grad) for parent in dict.fromkeys(node.parents)]
        made = contributions(node)
        self._undo.append(before)
        self.position += 1
        self._sent |= {one.parent: one.after for one in made}
        for one in made:
            if one.after != one.after:
                self.back()
                raise FloatingPointError(not_finite(self.loss, node, grad, one))
            if math.isinf(one.amount) and not self._warned:
                self._warned = True
                warnings.warn(not_finite(self.loss, node, grad, one), RuntimeWarning, stacklevel=2)
        return Step(self.position, node, grad, made, self.words, tuple(self.words.received(node)))

    def _check_untouched(self, node: Value) -> None:
        """Raise ValueError where the node's data, derivatives or gradient changed since the walk began."""
        name = shorten(self.words.names[node])
        if (out := now(node)) is not None:
            raise ValueError(outdated_message(self.loss, {node: out}, "begin a new walk"))
        if recorded_derivatives(node) != self._recorded[self.position]:
            raise ValueError(f"{name} has other local derivatives than when this walk began: begin a new walk.")
        if node.grad != self._sent.get(node, 0.0):
            raise ValueError(
                f"The gradient of {name} is {node.grad:.6g}, and this walk left it at {self._sent.get(node, 0.0):.6g}: "
                "something else has changed it. Begin a new walk."
            )

    def next(self) -> Steps:
        """Go on to the next labelled node, a line of the derivation; returns the steps made, none at the end."""
        made = Steps()
        while (step := self.step()) is not None:
            made.append(step)
            if self.position < len(self.order) and self.order[self.position].label:
                break
        return made

    def back(self) -> Backprop:
        """Undo the last step: every gradient is as it was, bit for bit. At the start there is nothing to undo."""
        if self.position:
            for parent, grad in self._undo.pop():
                parent.grad = self._sent[parent] = grad
            self.position -= 1
        return self

    def goto(self, position: int) -> Backprop:
        """Go forward or back to where `position` steps are done. Raises IndexError outside 0 … len(walk)."""
        if not 0 <= position <= len(self.order):
            raise IndexError(f"The walk has {len(self.order)} steps; there is no position {position}.")
        while self.position > position:
            self.back()
        while self.position < position:
            self.step()
        return self

    def run_to(self, node: Value | str) -> Backprop:
        """Go, forward or back, to where the node's gradient is complete and not yet passed on.

        Raises LookupError for a name that is not in the graph or not unique.
        """
        return self.goto(self.completed_at(self.find(node)))

    def run(self) -> Backprop:
        """Go to the end, where every gradient is that of `loss.backward()`."""
        return self.goto(len(self.order))

    def __iter__(self) -> Iterator[Step]:
        while (step := self.step()) is not None:
            yield step

    def find(self, node: Value | str) -> Value:
        """The node itself, or the one of that name. Raises LookupError."""
        if isinstance(node, str):
            return find(self._named, node)
        if node not in self._named:
            raise LookupError(f"{node!r} is not part of the graph of {shorten(self.words.names[self.loss])}.")
        return node

    @cached_property
    def _named(self) -> dict[Value, str]:
        return names(self.loss)

    @cached_property
    def _ranks(self) -> dict[Value, int]:
        """For each node the position at which its gradient is complete."""
        ranks = {node: position for position, node in enumerate(self.order)}
        for position, node in enumerate(self.order):
            for parent in node.parents:
                if not parent.op:
                    ranks[parent] = position + 1
        return ranks

    def completed_at(self, node: Value) -> int:
        """The position at which the node's gradient is complete: no step before it adds to it any more."""
        return self._ranks.get(node, 0)

    def why(self, node: Value | str) -> Why:
        """The paths from the loss to `node`, the ten largest products, and the sum that is its gradient.

        The walk stays where it is. Raises LookupError for a node that is not in the graph.
        """
        target = self.find(node)
        if [recorded_derivatives(one) for one in self.order] != self._recorded:
            raise ValueError("The graph has other local derivatives than when this walk began: begin a new walk.")
        here = self.position
        try:
            self.goto(max(here, self.completed_at(target)))
            gradient = target.grad
        finally:
            self.goto(here)
        found, count = paths(self.loss, target)
        return Why(target, tuple(found), count, gradient, self.words)

    def draw(self, *, notation: Notation = "plain") -> Drawing:
        """The graph with what is done, now and next marked; `notation` is that of `engine.draw`."""
        return Drawing(self.loss, order=self.order, position=self.position, notation=notation)

    def to_markdown(self, *, parameters: Iterable[Value | str] | None = None, lr: float | None = None) -> str:
        """The derivation of every gradient as a solution sheet, in Markdown with `$…$` for its formulas.

        With `parameters`, of those leaves alone, and with `lr` their updates too. The walk stays where it is. Raises
        LookupError for a parameter that is not in the graph, ValueError for lr without parameters, and as `step`.
        """
        chosen = None if parameters is None else [self.find(node) for node in parameters]
        if lr is not None and chosen is None:
            raise ValueError("lr updates parameters: say which, as parameters=[w, b] or by their names.")
        here = self.position
        try:
            self.run()
            return solution_in_markdown(self.loss, digits=self._digits, parameters=chosen, lr=lr)
        finally:
            self.goto(here)

    def interact(self, commands: Iterable[str] | None = None) -> None:
        """Step through in the terminal; `h` lists the commands. With `commands`, do those instead."""
        from engine.debugger import Debugger

        Debugger(self, commands=commands).cmdloop()

    def __repr__(self) -> str:
        loss = self.words.names[self.loss]
        place = f"at step {self.position} of {len(self.order)}"
        if self.position == len(self.order):
            return f"<Backprop of {loss}, at its end: all {len(self.order)} steps are done>"
        node = self.order[self.position]
        words = self.words
        grad = f"{words.gradient_of(node)} = {words.number(node.grad)}"
        return f"<Backprop of {loss}, {place}; next is {words.names[node]}, with {grad}>"
