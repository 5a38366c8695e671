"""`Backprop`: the backward pass one node at a time, which can go back."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Unpack

from engine.backprop import Contribution, contributions, not_finite
from engine.drawing import Drawing, Options
from engine.explain import Rows, Words, line_in_words, step_in_latex, step_in_words, step_rows, update_in_words
from engine.forward import as_float, edited_message, now, outdated, refuse_outdated
from engine.graph import Path, backward_order, derivatives_by_parent, find, names, nodes, paths, recorded_derivatives
from engine.layout import LayoutError
from engine.solution import solution_in_markdown
from engine.text import factor, number, shorten
from engine.value import Value

if TYPE_CHECKING:
    from engine.prediction import Prediction, Score
    from engine.value import Number

_ANEW = "restart() computes everything from the leaves and begins anew."


@dataclass(frozen=True)
class Step:
    """The chain rule at one node. `index` counts from 1; `str(step)` explains the step in words.

    `received` is what each consumer of the node sent, the terms of `grad`; nothing for the loss. `words` are the names
    and formulas of the graph.
    """

    index: int
    node: Value
    grad: float
    contributions: tuple[Contribution, ...]
    words: Words = field(repr=False, compare=False)
    received: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return step_in_words(self.words, self.index, self.node, self.grad, self.received, self.contributions)

    @cached_property
    def rows(self) -> Rows:
        """The lines of the step, each a left side, a sign and a right side."""
        return step_rows(self.words, self.node, self.grad, self.received, self.contributions)

    __repr__ = __str__

    def latex(self) -> str:
        """The step as aligned lines of LaTeX for amsmath, without the `$$` around them.

        The node's formula, its gradient with the sum over what it feeds, and for each parent the local derivative and
        the contribution.
        """
        return step_in_latex(self.words.in_latex, self.node, self.grad, self.received, self.contributions)


class Steps(list[Step]):
    """The steps of one line of a derivation, which print in words."""

    def __str__(self) -> str:
        if not self:
            return "The walk is at its end."
        together = line_in_words(self[0].words, self)
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

    `set` and `update` change leaves under way; `restart` begins anew. The graph and its gradients belong to the walk
    while it lasts: where something else changes them, the next method says so, and the walk stays as it is until
    `restart`. An error, or Ctrl-C, leaves every method's work either done or not done.
    """

    def __init__(self, loss: Value, *, digits: int = 6) -> None:
        if not isinstance(loss, Value):
            raise TypeError(
                f"Backprop walks from a loss that is a Value, not {type(loss).__name__} {shorten(repr(loss))}. A graph "
                "of formulas has it as `.loss`."
            )
        refuse_outdated(loss, "walk")
        used = [node for node in nodes(loss) if node.grad != 0.0]
        if used:
            count = "1 gradient was" if len(used) == 1 else f"{len(used)} gradients were"
            warnings.warn(
                f"{count} not 0, such as that of {used[0]!r}; the walk starts all at 0.",
                UserWarning,
                stacklevel=2,
            )
        self.loss = loss
        self._digits = digits
        self._begin()

    def _begin(self) -> None:
        """Stand at the start, whatever came before."""
        for made in ("words", "names", "_ranks"):  # they hold numbers, or the order
            self.__dict__.pop(made, None)
        self.order = backward_order(self.loss)
        self._recorded = [recorded_derivatives(node) for node in self.order]
        self._warned = False  # of an infinite gradient: once is enough
        self._undo: list[list[tuple[Value, float]]] = []  # for each step done, the gradients before it
        for node in nodes(self.loss):
            node.grad = 0.0
        self.loss.grad = 1.0
        self._sent = {self.loss: 1.0}  # the gradients as this walk has left them
        self._loss_data = self.loss.data

    @property
    def position(self) -> int:
        """How many steps are done."""
        return len(self._undo)

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
        grad = node.grad
        made = self._advance(node)
        return Step(self.position, node, grad, made, self.words, tuple(self.words.received(node)))

    def _advance(self, node: Value) -> tuple[Contribution, ...]:
        """Apply the chain rule at `node`, the next one, wholly or not at all."""
        self._check_untouched(node)
        here, grad = self.position, node.grad
        before = [(parent, parent.grad) for parent in dict.fromkeys(node.parents)]
        try:
            made = contributions(node)
            for one in made:
                if one.after != one.after:
                    raise FloatingPointError(not_finite(self.loss, node, grad, one))
                if math.isinf(one.amount) and not self._warned:
                    warnings.warn(not_finite(self.loss, node, grad, one), RuntimeWarning, stacklevel=3)
                    self._warned = True
            self._sent.update([(one.parent, one.after) for one in made])
            self._undo.append(before)  # now it is done
        except BaseException:  # Ctrl-C comes at any moment
            self._undo[here:] = [before]
            self._undo_to(here)
            raise
        return made

    def _undo_to(self, position: int) -> None:
        """Undo the steps after `position`. Called again after an interruption, it does the rest."""
        while len(self._undo) > position:
            for parent, grad in self._undo[-1]:
                parent.grad = self._sent[parent] = grad
            self._undo.pop()

    def _check_untouched(self, node: Value) -> None:
        """Raise ValueError where the node's data, derivatives or gradient, or a parent's gradient, were changed."""
        if (out := now(node)) is not None:
            raise ValueError(f"{edited_message(self.loss, {node: out})} {_ANEW}")
        if recorded_derivatives(node) != self._recorded[self.position]:
            raise ValueError(f"{self._name(node)} has other local derivatives than when this walk began: {_ANEW}")
        if self.loss.data != self._loss_data:
            raise ValueError(
                f"{self._name(self.loss)} is {self.loss.data:.6g} and was {self._loss_data:.6g} when this walk began: "
                f"something else has changed the graph. {_ANEW}"
            )
        self._check_gradients([node, *node.parents])

    def _check_gradients(self, some: Iterable[Value]) -> None:
        for node in some:
            left = self._sent.get(node, 0.0)
            if node.grad != left:
                raise ValueError(
                    f"The gradient of {self._name(node)} is {node.grad:.6g}, and this walk left it at {left:.6g}: "
                    f"something else has changed it. {_ANEW}"
                )

    def _check_all_untouched(self) -> None:
        """The same for the whole graph."""
        self._check_graph_untouched()
        self._check_gradients(nodes(self.loss))

    def _check_graph_untouched(self) -> None:
        """The same for the data and derivatives of the whole graph."""
        if found := outdated(self.loss):
            raise ValueError(f"{edited_message(self.loss, found)} {_ANEW}")
        if [recorded_derivatives(node) for node in self.order] != self._recorded:
            raise ValueError(f"The graph has other local derivatives than when this walk began: {_ANEW}")

    def _name(self, node: Value) -> str:
        return shorten(self.words.names[node])

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
        return self.goto(max(0, self.position - 1))

    def goto(self, position: int) -> Backprop:
        """Go forward or back to where `position` steps are done.

        Raises IndexError outside 0 … len(walk), TypeError for what is no whole number, and ValueError where something
        else has changed the graph or its gradients.
        """
        if not isinstance(position, int) or isinstance(position, bool):
            raise TypeError(
                f"goto takes the number of steps done, from 0 to {len(self.order)}, not {position!r:.60}. To a node "
                'goes run_to("w5").'
            )
        if not 0 <= position <= len(self.order):
            raise IndexError(f"The walk has {len(self.order)} steps; there is no position {position}.")
        self._check_all_untouched()
        self._move_to(position)
        return self

    def _move_to(self, position: int) -> None:
        """Go there, where the graph as a whole is known to be untouched."""
        try:
            self._undo_to(position)
        except KeyboardInterrupt:
            self._undo_to(position)
            raise
        while self.position < position:
            self._advance(self.order[self.position])

    def run_to(self, node: Value | str) -> Backprop:
        """Go, forward or back, to where the node's gradient is complete and not yet passed on.

        Raises LookupError for a name that is not in the graph or not unique.
        """
        return self.goto(self.completed_at(self.find(node)))

    def run(self) -> Backprop:
        """Go to the end, where every gradient is that of `loss.backward()`."""
        return self.goto(len(self.order))

    def set(self, leaf: Value | str, number: Number) -> Backprop:
        """Give a leaf another value, recompute the graph, and stay: every gradient is as if it had been so before.

        Where a condition takes its other branch now and the next node is gone, the walk stands after the last step
        done that is still part of it. Raises, with nothing changed, LookupError for a name that is not in the graph,
        ValueError for a node that is no leaf or where something else changed the graph, DomainError where an operation
        has no value there, and FloatingPointError where a gradient has none.
        """
        changed = {self._leaf(leaf, "set"): as_float(number)}
        if not math.isfinite(*changed.values()):
            raise ValueError(f"{self._name(*changed)} is set to a finite number, and {number!r} is none.")
        self._check_all_untouched()
        order, here = self.order, self.position

        def work() -> None:
            self._begin_with(changed)
            self._move_to(self._same_place(order, here))

        self._all_or_nothing(work)
        return self

    def update(self, lr: Number, parameters: Iterable[Value | str]) -> Backprop:
        """Take a step of gradient descent, p ← p − lr·∂L/∂p, recompute the graph and stand at the start of a new walk.

        Raises, with nothing changed, ValueError before the end of the walk, for an lr that is not above 0, parameters
        that are no leaves, none, or one twice, and where something else changed the graph; LookupError for a name that
        is not in it; FloatingPointError for a parameter that would no longer be finite; DomainError where an operation
        has no value then.
        """
        if self.position < len(self.order):
            raise ValueError(
                f"An update needs the gradients of a whole walk, and this one is at step {self.position} of "
                f"{len(self.order)}: run() goes to its end."
            )
        rate = as_float(lr)
        if not 0.0 < rate < math.inf:
            raise ValueError(f"The learning rate is a finite number above 0, such as 0.5, not {lr!r}.")
        if isinstance(parameters, Value | str):
            raise TypeError("The parameters are a list of names or Values, such as ['w1', 'w2'].")
        chosen = [self._leaf(parameter, "updated") for parameter in parameters]
        if not chosen:
            raise ValueError("There are no parameters to update: name leaves, such as ['w1', 'w2'].")
        twice = next((leaf for leaf, times in Counter(chosen).items() if times > 1), None)
        if twice is not None:
            raise ValueError(f"{self._name(twice)} is among the parameters twice.")
        self._check_all_untouched()
        changed = {leaf: leaf.data - rate * leaf.grad for leaf in chosen}
        for leaf, data in changed.items():
            if not math.isfinite(data):
                raise FloatingPointError(
                    f"{self._name(leaf)} would become {data}: {leaf.data:.6g} − {rate:.6g}·{leaf.grad:.6g}. "
                    "No parameter was changed."
                )
        self._all_or_nothing(lambda: self._begin_with(changed))
        return self

    def restart(self) -> Backprop:
        """Begin anew: values are computed from the leaves as they are now, and all gradients start at 0 again.

        This also ends what something else has done to the graph or its gradients. Raises DomainError, with nothing
        changed, where an operation has no value.
        """
        self._all_or_nothing(lambda: self._begin_with({}))
        return self

    def _leaf(self, node: Value | str, done: str) -> Value:
        leaf = self.find(node)
        if leaf.op or leaf.is_constant:
            why = f"computed: {self.words.formula(leaf)}" if leaf.op else "a constant of an expression"
            raise ValueError(f"{self._name(leaf)} is {why}. Only a leaf can be {done}.")
        return leaf

    def _begin_with(self, leaves: dict[Value, float]) -> None:
        for leaf, data in leaves.items():
            leaf.data = data
        self.loss.refresh()
        self._begin()

    def _same_place(self, order: list[Value], position: int) -> int:
        """The position at which the walk is where it was at `position` of its former `order`."""
        if position == len(order):
            return len(self.order)
        place = {node: number for number, node in enumerate(self.order)}
        if (following := order[position]) in place:
            return place[following]
        return next(place[node] + 1 for node in reversed(order[:position]) if node in place)

    def _all_or_nothing(self, work: Callable[[], None]) -> None:
        """Do the work, and leave graph and walk as they were if it fails or is interrupted."""
        graph = [(node, node.data, node.grad, recorded_derivatives(node)) for node in nodes(self.loss)]
        walk = dict(self.__dict__)  # the work makes new lists
        try:
            work()
        except BaseException:
            for node, data, grad, derivatives in graph:
                node.data, node.grad = data, grad
                if derivatives:
                    node.set_derivatives(derivatives)
            self.__dict__.clear()
            self.__dict__.update(walk)
            raise

    def __iter__(self) -> Iterator[Step]:
        while (step := self.step()) is not None:
            yield step

    def find(self, node: Value | str) -> Value:
        """The node itself, or the one of that name. Raises LookupError."""
        if isinstance(node, str):
            return find(self.names, node)
        if node not in self.names:
            raise LookupError(f"{node!r} is not part of the graph of {self._name(self.loss)}.")
        return node

    @cached_property
    def names(self) -> dict[Value, str]:
        """A name for every node: its label, a constant's number, or `v1`, `v2`, … where there is none."""
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

    def is_complete(self, node: Value) -> bool:
        """Whether nothing is added to the node's gradient any more."""
        return self.words.complete_after(node) <= self.position

    def why(self, node: Value | str) -> Why:
        """The paths from the loss to `node`, the ten largest products, and the sum that is its gradient.

        The walk stays where it is. Raises LookupError for a node that is not in the graph.
        """
        target = self.find(node)
        with self._for_a_while_at(max(self.position, self.completed_at(target))):
            gradient = target.grad
        found, count = paths(self.loss, target)
        return Why(target, tuple(found), count, gradient, self.words)

    @contextmanager
    def _for_a_while_at(self, position: int) -> Iterator[None]:
        """Be at a position, and then again where the walk was, also after an error or Ctrl-C."""
        here = self.position
        try:
            try:
                self.goto(position)
                yield
            finally:
                self._move_to(here)
        except KeyboardInterrupt:  # which may have come on the way back
            self._move_to(here)
            raise

    def predict(self, question: Value | str, answer: Any, *, digits: int = 3) -> Prediction:
        """Judge a prediction of the loss's gradient by a node, as `compare` judges an answer, and count it in `score`.

        The question is a node, its name, or any that `compare` takes without a learning rate, such as `"local(u, v)"`;
        the answer a number, a number as text, or a formula. The walk stays where it is. An answer that can't be read
        has the verdict "invalid" and isn't counted. Raises LookupError and ValueError for a question that is none.
        """
        from engine.prediction import predict

        if not isinstance(question, Value | str):
            raise TypeError(f"What is predicted? A node or its name, such as 'w5', not {question!r:.60}.")
        self._check_graph_untouched()
        prediction = predict(self, question, answer, digits)
        self.score.add(prediction)
        return prediction

    @cached_property
    def score(self) -> Score:
        """What was predicted in this walk, and how it went."""
        from engine.prediction import Score

        return Score(self.words.names[self.loss])

    def draw(self, **options: Unpack[Options]) -> Drawing:
        """The graph with what is done, now and next marked; the options are those of `engine.draw`.

        On each edge along which the last step passed its gradient stands local derivative × incoming gradient =
        amount.
        """
        return Drawing(self.loss, order=self.order, position=self.position, digits=self.words.digits, **options)

    def save_html(
        self, path: str | os.PathLike[str], *, beside: Backprop | Iterable[Backprop] = (), **options: Unpack[Options]
    ) -> FilePath:
        """Write the walk as a web page: one file, without a network, to step forward and back and to predict.

        Walks `beside` get players of their own on the same page. The options are those of `engine.draw`; without
        `theme` the reader's system chooses, and without `rankdir` data flows from top to bottom. The walks stay where
        they are. Raises ValueError for a name that doesn't end in .html, and for a graph that was edited after the
        forward pass; TypeError for what is no walk; LayoutError without a layout program, and OSError where the file
        can't be written.
        """
        from engine.player import save_html

        others = [beside] if isinstance(beside, Backprop) else beside
        return save_html(path, [self, *others], **options)

    def _repr_html_(self) -> str | None:
        from engine.player import inline

        try:
            return inline(self)
        except LayoutError:
            return None

    def to_markdown(self, *, parameters: Iterable[Value | str] | None = None, lr: Number | None = None) -> str:
        """The derivation of every gradient as a solution sheet, in Markdown with `$…$` for its formulas.

        With `parameters`, of those leaves alone, and with `lr` their updates too. The walk stays where it is. Raises
        LookupError for a parameter that is not in the graph, ValueError for lr without parameters or where something
        else changed the graph, and FloatingPointError where a gradient has no value.
        """
        chosen = None if parameters is None else [self._leaf(node, "updated") for node in parameters]
        if lr is not None and chosen is None:
            raise ValueError("lr updates parameters: say which, such as parameters=['w1', 'w2'].")
        rate = None if lr is None else as_float(lr)
        self._check_all_untouched()
        with self._for_a_while_at(len(self.order)):
            return solution_in_markdown(self.loss, digits=self._digits, parameters=chosen, lr=rate)

    def interact(self, commands: Iterable[str] | None = None, *, parameters: Iterable[Value | str] = ()) -> None:
        """Step through by commands, at a terminal or in a notebook; `h` lists them. With `commands`, do those instead.

        `parameters` are the leaves that the command `update` changes. Raises LookupError for a name among them that is
        not in the graph.
        """
        from engine.debugger import Debugger

        Debugger(self, commands=commands, parameters=parameters).cmdloop()

    def __repr__(self) -> str:
        loss = self.words.names[self.loss]
        place = f"at step {self.position} of {len(self.order)}"
        if self.position == len(self.order):
            return f"<Backprop of {loss}, at its end: all {len(self.order)} steps are done>"
        node = self.order[self.position]
        words = self.words
        grad = f"{words.gradient_of(node)} = {words.number(node.grad)}"
        return f"<Backprop of {loss}, {place}; next is {words.names[node]}, with {grad}>"


def chapter(walk: Backprop, shown: Iterable[Value], parameters: Iterable[Value], lr: float | None) -> Iterator[str]:
    """Forward pass, loss, backward pass and updates of the nodes `shown`, in the order of the chapter."""
    words = walk.words
    under = [node for node in shown if node in words.names]
    if before := [f"  {words.forward_line(node)}" for node in under if node.op and node is not walk.loss]:
        yield from ["Forward pass", *before, ""]
    yield f"Loss\n  {words.forward_line(walk.loss)}\n\nBackward pass"
    for step in walk:
        yield f"{step}\n"
    yield "Gradients"
    width = max(len(words.gradient_of(node)) for node in under)
    yield from [f"  {words.gradient_of(n):<{width}} = {words.number(n.grad)}" for n in under if not n.op]
    if lr is not None:
        yield f"\nUpdates, learning rate {number(lr)}"
        yield from [update_in_words(words, node, lr, words.digits) for node in parameters]
