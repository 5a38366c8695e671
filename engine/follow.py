"""Follow-through: every number of a table, recomputed from the student's own numbers that it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from typing import Literal, NamedTuple

from engine.explain import Words, unlabelled_below
from engine.forward import partials
from engine.graph import computed_nodes, derivatives_by_parent, leaves, nodes, recorded_derivatives
from engine.ops import ADD, IDENTITY, MEAN, NEGATE, SUBTRACT, TOTAL
from engine.printed import EXACT_RTOL
from engine.report import Mistake, Row, Verdict
from engine.rules import PRODUCTS
from engine.text import listed, number
from engine.value import Value

WIDEST = 0.05  # relative width beyond which rounded numbers no longer tell what follows from them
ENGINE_RTOL = 1e-9  # within which two of the engine's own numbers are one
WHOLE_REACH = 0.5  # how far the rounding of a whole number reaches

Kind = Literal["gradient", "local", "value", "new"]
Judge = Callable[[float], tuple[Verdict, str]]

Question = tuple[Kind, Value, Value]
"""The kind of an answer, and whose derivative by what was asked; of others, the loss and the node."""

_LINEAR = (ADD, SUBTRACT, NEGATE, IDENTITY, TOTAL, MEAN)  # their derivatives are the same everywhere


class Carried(NamedTuple):
    """A number as the student's own numbers give it, and how low and how high their roundings may leave it.

    `sources` has a bit for each answer that it was computed from.
    """

    point: float
    low: float
    high: float
    sources: int = 0


def exactly(x: float) -> Carried:
    """A number that nothing leaves in doubt."""
    return Carried(x, x, x)


def _plus(x: Carried, y: Carried) -> Carried:
    return Carried(x.point + y.point, x.low + y.low, x.high + y.high, x.sources | y.sources)


def _minus(x: Carried, y: Carried) -> Carried:
    return Carried(x.point - y.point, x.low - y.high, x.high - y.low, x.sources | y.sources)


def _times(x: Carried, y: Carried) -> Carried:
    ends = (x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high)
    return Carried(x.point * y.point, min(ends), max(ends), x.sources | y.sources)


@dataclass(frozen=True)
class Number:
    """The number of one answer: what was asked, how far its rounding reaches, and what it was judged to be.

    `right` is the engine's. `sign` is −1 where the answer has the opposite sign of what is asked by convention.
    `judge` says what the answer were if another number was expected; None for a formula over names. `turned` is
    the verdict on the answer with its sign turned.
    """

    kind: Kind
    root: Value
    node: Value
    obtained: float
    reach: float
    right: float
    verdict: Verdict
    judge: Judge | None
    turned: Callable[[], Verdict]
    sign: float = 1.0

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.kind, self.root, self.node

    @property
    def own(self) -> float:
        """The student's number for what was asked."""
        return self.sign * self.obtained

    def with_sign_turned(self) -> Number:
        """The same answer, read in the other convention."""
        return replace(self, sign=-self.sign, verdict=self.turned(), turned=lambda: self.verdict)

    def carried(self, source: int) -> Carried:
        """What a student carries on from here.

        From a right number: what lies between the printed one and the engine's. From another: what may have been
        rounded to it.
        """
        low, high = self.own - self.reach, self.own + self.reach
        if self.verdict != "wrong":
            low, high = min(self.own, self.right), max(self.own, self.right)
        return Carried(self.own, low, high, source)

    def judged_by(self, found: Carried) -> tuple[Verdict, str]:
        """The verdict on the answer where `found` is what was expected."""
        if self.judge is None or not math.isfinite(found.point):
            return "wrong", ""
        verdict, message = self.judge(self.sign * found.point)
        reach = self.reach + EXACT_RTOL * abs(self.own)
        if verdict != "wrong" or found.low > self.own + reach or found.high < self.own - reach:
            return verdict, message
        if not found.high - found.low <= WIDEST * abs(self.own):
            return "undecided", (
                "The numbers that this comes from are rounded too roughly to tell whether it follows: give them more "
                "digits."
            )
        nearest = min(max(found.point, self.own - reach), self.own + reach)
        return self.judge(self.sign * (nearest + self.own) / 2.0)


class Followed(NamedTuple):
    """What became of an answer in its table: by what `found` it follows, directly `come` from which answers.

    `slips` are the answers at which went wrong what it follows from; none for early rounding. `zeros` are wrong
    answers of 0 that it is a multiple of, which tells nothing.
    """

    verdict: Verdict
    message: str
    found: Carried | None = None
    come: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()
    zeros: tuple[str, ...] = ()


class Table:
    """The numbers that one student gave for the graph under `loss`, and what follows from them.

    `weights` are put in place of the leaves wherever a gradient is passed back through them: as those who update
    their weights too early do.
    """

    def __init__(
        self,
        loss: Value,
        numbers: Mapping[str, Number],
        lr: float | None = None,
        weights: Mapping[Value, Carried] | None = None,
    ) -> None:
        self.loss, self.numbers, self.lr = loss, numbers, lr
        self.weights = weights or {}
        self._names = list(numbers)
        self._given: dict[Question, Carried] = {}
        for place, asked in enumerate(numbers.values()):
            self._given.setdefault(asked.question, asked.carried(1 << place))
        self.values: dict[Value, Carried] = {}
        self._by_operands: dict[Value, Carried] = {}
        if any(asked.kind == "value" for asked in numbers.values()):
            self._carry_values()

    # Forward

    def _carry_values(self) -> None:
        """The values that are others by the student's own, and those that own ones give."""
        for node in nodes(self.loss):
            if node.op and any(parent in self.values for parent in node.parents):
                found = self._computed(node)
                if math.isfinite(found.low) and math.isfinite(found.high):
                    self.values[node] = self._by_operands[node] = found
            given = self._given.get(("value", self.loss, node))
            if given is not None:
                self.values[node] = given

    def at(self, node: Value) -> Carried:
        """The value of a node by the student's own numbers."""
        return self.values.get(node) or exactly(node.data)

    def _computed(self, node: Value) -> Carried:
        row, operands = node._row, [self.at(parent) for parent in node.parents]
        points = [operand.point for operand in operands]
        out = row.forward(*points)
        low = high = out
        sources = 0
        for operand, derivative in zip(operands, partials(row, out, points, node.parents), strict=True):
            sources |= operand.sources
            if derivative is not None:
                ends = [derivative * (end - operand.point) for end in (operand.low, operand.high)]
                low, high = low + min(ends), high + max(ends)
        return Carried(out, low, high, sources)

    # Backward

    @cached_property
    def _rank(self) -> dict[Value, int]:
        """Each computed node's place in the backward order."""
        return {node: place for place, node in enumerate(computed_nodes(self.loss))}

    def swept(
        self,
        root: Value,
        form: _Form | None = None,
        own: Mapping[Value, Carried] | None = None,
        corrections: Mapping[Value, Sequence[tuple[Value, Carried]]] | None = None,
    ) -> tuple[dict[Value, Carried], dict[Value, Carried]]:
        """The gradients of `root`: what is passed on at each node, and what each has received.

        Where the student gave one of their `own`, that is passed on. `corrections` are what nodes send in addition.
        """
        form, own, corrections = form or _Form(self), own or {}, corrections or {}
        received = {root: exactly(1.0)}
        passed: dict[Value, Carried] = {}

        def send(parent: Value, amount: Carried) -> None:
            before = received.get(parent)
            received[parent] = amount if before is None else _plus(before, amount)

        order = computed_nodes(root) if root.op else []
        for node in order:
            if node not in received:  # in a branch that no condition takes
                continue
            passed[node] = grad = own.get(node) or received[node]
            for parent, derivative in form.derivatives(node):
                send(parent, _times(grad, derivative))
            for parent, amount in corrections.get(node, ()):
                send(parent, _times(grad, amount))
        for leaf in leaves(reversed(order)):
            if leaf in received:
                passed[leaf] = own.get(leaf) or received[leaf]
        return passed, received

    @cached_property
    def engine(self) -> dict[Value, float]:
        """The gradients of the loss without the student's numbers, in the order of the backward pass."""
        passed, _ = Table(self.loss, {}, self.lr, self.weights).swept(self.loss)
        return {node: grad.point for node, grad in passed.items()}

    def own(self, root: Value) -> dict[Value, float]:
        """The student's own gradients of `root`: as answered, else as they follow from those further on."""
        passed, _ = self.swept(root, own=self._own_gradients(root))
        return {node: grad.point for node, grad in passed.items()}

    def _own_gradients(self, root: Value) -> dict[Value, Carried]:
        """The student's numbers for gradients of `root`, and those of the loss that are these times its own.

        Where everything from the loss to a node goes by way of `root`, ∂loss/∂node = ∂loss/∂root·∂root/∂node.
        """
        found = {node: given for (kind, by, node), given in self._given.items() if kind == "gradient" and by is root}
        if root is self.loss:
            return found
        scale = self._given.get(("gradient", self.loss, root), exactly(self.engine.get(root, 0.0))).point
        if scale and math.isfinite(scale):
            around = self._around(root)
            for (kind, by, node), given in self._given.items():
                if kind == "gradient" and by is self.loss and node is not root and node not in around:
                    found.setdefault(node, _times(given, exactly(1.0 / scale)))
        return found

    def _around(self, root: Value) -> set[Value]:
        """What a gradient of the loss reaches on ways that do not pass `root`."""
        met = {self.loss}
        for node in computed_nodes(self.loss):
            if node in met and node is not root:
                met.update(parent for parent, _ in derivatives_by_parent(node))
        return met

    # What every answer is by the others

    def recomputed(self, form: _Form | None = None) -> dict[str, Carried]:
        """Each answer as it follows from the others, where it does."""
        form = form or _Form(self)
        corrections: dict[Value, list[tuple[Value, Carried]]] = {}
        by_question: dict[Question, Carried] = {
            ("value", self.loss, node): found for node, found in self._by_operands.items()
        }
        for kind, node, parent in self._given:
            if kind == "local":
                by_question[kind, node, parent] = found = form.local(node, parent)
                self._correct(corrections, ("local", node, parent), found)
        for root in self._roots():
            asked = {node for kind, by, node in self._given if kind == "gradient" and by is root}
            passed, received = self.swept(root, form, self._own_gradients(root), corrections)
            for node in [node for node in received if node in asked]:
                by_question["gradient", root, node] = received[node]
                if root is not self.loss:
                    self._correct(corrections, ("gradient", root, node), received[node])
            if root is self.loss and self.lr is not None:
                for kind, _, node in self._given:
                    if kind == "new":
                        step = _times(exactly(self.lr), passed.get(node, exactly(0.0)))
                        by_question[kind, root, node] = _minus(self.at(node), step)
        return {
            name: by_question[asked.question] for name, asked in self.numbers.items() if asked.question in by_question
        }

    def _roots(self) -> list[Value]:
        """The nodes of which gradients are needed, those that others come from first."""
        roots = {root: None for kind, root, _ in self._given if kind in ("gradient", "new")}
        return sorted(roots, key=lambda root: -self._rank.get(root, len(self._rank)))

    def _correct(
        self,
        corrections: dict[Value, list[tuple[Value, Carried]]],
        question: Question,
        found: Carried,
    ) -> None:
        """Let a node pass on the student's own derivative of it, in place of the one that was `found`."""
        _, root, node = question
        amount = _minus(self._given[question], found)
        if math.isfinite(amount.low) and math.isfinite(amount.high):
            corrections.setdefault(root, []).append((node, amount))

    def by_difference(self, asked: Number) -> Carried | None:
        """∂U/∂V as what the right numbers for the other terms of ∂L/∂V leave: so a sum is sometimes made to come out.

        None where that says nothing.
        """
        whole = self._given.get(("gradient", self.loss, asked.node))
        if asked.kind != "gradient" or asked.root is self.loss or whole is None:
            return None
        terms = {
            one.root: one
            for one in self.numbers.values()
            if one.kind == "gradient" and one.node is asked.node and one is not asked
        }
        grad = self.engine.get(asked.root, 0.0)
        total = terms.pop(self.loss)
        products = [self.engine.get(root, 0.0) * one.right for root, one in terms.items()]
        is_sum = math.isclose(sum(products) + grad * asked.right, total.right, rel_tol=ENGINE_RTOL)
        if not is_sum or not grad or any(one.verdict != "right" for one in (total, *terms.values())):
            return None
        for root in terms:
            term = _times(self._given["gradient", root, asked.node], exactly(self.engine[root]))
            whole = _minus(whole, term)
        return _times(whole, exactly(1.0 / grad))

    # The verdicts

    def followed(self) -> dict[str, Followed]:
        """What becomes of each answer that was judged by itself alone, where it is seen beside the others."""
        became = {name: Followed(asked.verdict, "") for name, asked in self.numbers.items()}
        unsettled = [name for name, asked in self.numbers.items() if asked.verdict != "right" and asked.judge]
        if not unsettled or len(self.numbers) < 2:
            return became
        for recomputed in self._readings():
            for name in unsettled:
                found = recomputed.get(name)
                if found is None or not found.sources or became[name].verdict == "right":
                    continue
                verdict, message = self.numbers[name].judged_by(found)
                if verdict != "wrong" or (became[name].found is None and became[name].verdict == "wrong"):
                    became[name] = Followed(verdict, message, found, self._named(found.sources))
            if all(became[name].verdict == "right" for name in unsettled):
                break
        for name in sorted(unsettled, key=self._after_its_sources):
            slips = [
                slip
                for source in became[name].come
                for slip in ((source,) if self._is_slip(source, became[source]) else became[source].slips)
            ]
            became[name] = became[name]._replace(slips=tuple(dict.fromkeys(slips)))
            zeros = tuple(source for source in became[name].come if self._carries_nothing(source, became[source]))
            if zeros and self._is_nothing(name, became[name]):
                became[name] = became[name]._replace(verdict="undecided", zeros=zeros)
        return became

    def _is_slip(self, name: str, one: Followed) -> bool:
        """Whether it is here that an answer went wrong; who writes 0 without a decimal means 0."""
        asked = self.numbers[name]
        is_bare_zero = asked.own == 0.0 and asked.reach >= WHOLE_REACH and not one.slips
        return one.verdict == "wrong" or (one.verdict == "undecided" and is_bare_zero)

    def _carries_nothing(self, name: str, one: Followed) -> bool:
        """Whether an answer is a 0 that is not right, of which every multiple is 0."""
        return self.numbers[name].own == 0.0 and one.verdict != "right"

    def _is_nothing(self, name: str, one: Followed) -> bool:
        """Whether what an answer follows by is 0, or a weight that did not change."""
        asked = self.numbers[name]
        unchanged = self.at(asked.node).point if asked.kind == "new" else 0.0
        return one.verdict == "right" and one.found is not None and one.found.point == unchanged

    def _after_its_sources(self, name: str) -> tuple[int, int, int]:
        """A place for each answer after those that it may come from."""
        asked, leaf = self.numbers[name], len(self._rank)
        node, root = self._rank.get(asked.node, leaf), self._rank.get(asked.root, leaf)
        return {
            "value": (0, -node, 0),
            "local": (1, 0, 0),
            "gradient": (2, node, -root),
            "new": (3, 0, 0),
        }[asked.kind]

    def _readings(self) -> Iterator[Mapping[str, Carried]]:
        """What each answer is by the others, for each way in which a student may have gone on."""
        yield self.recomputed()
        if self.values:
            yield self.recomputed(_Form(self, self._by_operands))
            yield self.recomputed(_Form(self, values={}))
        differences = {name: self.by_difference(asked) for name, asked in self.numbers.items()}
        yield {name: found for name, found in differences.items() if found is not None}

    def _named(self, sources: int) -> tuple[str, ...]:
        """The answers of these bits whose numbers are not the engine's to the last digit."""
        every = [name for place, name in enumerate(self._names) if sources >> place & 1]
        return tuple(name for name in every if self.numbers[name].own != self.numbers[name].right)


class _Form:
    """Where local derivatives are taken: at the student's `values`, with the `outs` of the operations.

    Which are the student's own where nothing else is said.
    """

    def __init__(
        self, table: Table, outs: Mapping[Value, Carried] | None = None, values: Mapping[Value, Carried] | None = None
    ) -> None:
        self._values = table.values if values is None else values
        self._outs = self._values if outs is None else outs
        self._weights = table.weights
        self._table = table
        self._known: dict[Value, list[tuple[Value, Carried]]] = {}

    def derivatives(self, node: Value) -> list[tuple[Value, Carried]]:
        """The parents that the chain rule reaches, each with the local derivative."""
        if node not in self._outs and not any(
            parent in self._values or parent in self._weights for parent in node.parents
        ):
            return [(parent, exactly(derivative)) for parent, derivative in derivatives_by_parent(node)]
        if node not in self._known:
            operands = [self._values.get(parent) or exactly(parent.data) for parent in node.parents]
            found = self._partials(node, operands)
            if not self._weights.keys().isdisjoint(node.parents):
                updated = [self._weights.get(*pair) for pair in zip(node.parents, operands, strict=True)]
                for place, derivative in enumerate(self._partials(node, updated)):
                    if node.parents[place] not in self._weights:
                        found[place] = derivative
            pairs = zip(node.parents, found, strict=True)
            self._known[node] = [(parent, derivative) for parent, derivative in pairs if derivative is not None]
        return self._known[node]

    def _partials(self, node: Value, operands: Sequence[Carried]) -> list[Carried | None]:
        row, parents = node._row, node.parents
        if row in _LINEAR:
            return [None if d is None else exactly(d) for d in recorded_derivatives(node)]
        if row in PRODUCTS:
            pairs = len(parents) // 2
            partners = [*operands[pairs : 2 * pairs], *operands[:pairs], *[exactly(1.0)] * (len(parents) % 2)]
            return [None if parent.is_constant else one for parent, one in zip(parents, partners, strict=True)]

        def rule(numbers: Sequence[float]) -> list[float | None]:
            return partials(row, numbers[-1], numbers[:-1], parents, textbook=True)

        out = self._outs.get(node) or exactly(node.data)
        return _first_order(rule, [*operands, out], [*(parent.data for parent in parents), node.data])

    def local(self, node: Value, parent: Value) -> Carried:
        """∂node/∂parent along the ways on which no other node has a label."""
        received: dict[Value, Carried] = {node: exactly(1.0)}
        for inner in unlabelled_below(node, self._table._rank):
            for operand, derivative in self.derivatives(inner):
                amount = _times(received[inner], derivative)
                received[operand] = _plus(received[operand], amount) if operand in received else amount
        return received.get(parent, exactly(0.0))


def _first_order(
    rule: Callable[[Sequence[float]], Sequence[float | None]], at: Sequence[Carried], engine: Sequence[float]
) -> list[Carried | None]:
    """What a rule gives where each of its numbers lies between its ends, one of them moved at a time.

    A number is a source of a result that would be another at its ends or at the engine's number; where only several
    together make a result another than the engine's, all of them are.
    """
    points = [one.point for one in at]
    base = rule(points)
    found = [None if result is None else Carried(result, result, result) for result in base]
    for place, one in enumerate(at):
        if not one.sources:
            continue
        moved = [rule([*points[:place], end, *points[place + 1 :]]) for end in (one.low, one.high, engine[place])]
        for i, result in enumerate(found):
            if result is not None:
                changes = [(ends[i] or 0.0) - result.point for ends in moved]
                low, high = result.low + min(0.0, *changes[:2]), result.high + max(0.0, *changes[:2])
                found[i] = Carried(result.point, low, high, result.sources | (one.sources if any(changes) else 0))
    every = reduce(or_, [one.sources for one in at])
    return [
        result._replace(sources=every) if result and not result.sources and result.point != by_engine else result
        for result, by_engine in zip(found, rule(engine), strict=True)
    ]


def beside_each_other(
    table: Table, rows: Mapping[str, Row], words: Words, labels: Mapping[Value, str]
) -> dict[str, Row]:
    """The rows as they are judged beside each other: what follows from a slip is right, and so is what was rounded.

    The row of a slip has its own node, and is told what would follow from the student's numbers further on.
    """
    became = table.followed()
    judged = dict(rows)
    for name, one in became.items():
        asked = table.numbers[name]
        row = replace(rows[name], verdict=one.verdict, derivation=rows[name].derivation * (one.verdict == "wrong"))
        if one.verdict == "wrong":
            row = replace(row, node=labels[asked.node], message=_of_a_slip(table, one, row, asked, words))
        elif one.zeros:
            row = _of_zeros(table, one, row, words, labels)
        elif one.slips:
            first = labels[table.numbers[one.slips[0]].node]
            row = _excused(row, "follow_through", first, one.message, _following(table, one, became, words))
        elif one.found is not None:
            row = _excused(row, "early_rounding", labels[asked.node], one.message, _rounded(table, one, asked, words))
        judged[name] = row
    return judged


def _excused(row: Row, key: str, node: str, message: str, text: str) -> Row:
    """The row with what excuses it; where it is undecided, with the `message` that says why."""
    if row.verdict != "right":
        return replace(row, message=message)
    return replace(row, message=text, mistakes=(Mistake(key, node, text),))


def _of_zeros(table: Table, one: Followed, row: Row, words: Words, labels: Mapping[Value, str]) -> Row:
    """The row of what is a multiple of a wrong 0: it earns nothing, and no mistake of its own is looked for."""
    text = (
        f"It comes from your own 0 for {_names(table, one.zeros, words)}. Everything times 0 is 0: this tells nothing."
    )
    first = labels[table.numbers[(one.slips or one.zeros)[0]].node]
    return replace(row, message=text, mistakes=(Mistake("follow_through", first, text),))


def _of_a_slip(table: Table, one: Followed, row: Row, asked: Number, words: Words) -> str:
    """What a wrong row says: where there were slips before it, what would have followed from them."""
    if one.found is None or not one.slips:
        return row.message
    assert asked.judge is not None
    follows = f"From your own {_names(table, one.come, words)} it would be {number(asked.sign * one.found.point, 9)}."
    by_itself = asked.judge(asked.sign * asked.right)[1]
    return follows if row.message in ("", by_itself) else f"{row.message}\n{follows}"


def _following(table: Table, one: Followed, became: Mapping[str, Followed], words: Words) -> str:
    led = [source for source in one.come if became[source].verdict == "wrong" or became[source].slips]
    are = "is" if len(one.slips) == 1 else "are"
    slips = "slip" if len(one.slips) == 1 else "slips"
    if set(led) == set(one.slips):
        return f"Follows rightly from your own {_names(table, led, words)}, where the {slips} {are}."
    return (
        f"Follows rightly from your own {_names(table, led, words)}; "
        f"the {slips} {are} at {_names(table, one.slips, words)}."
    )


def _rounded(table: Table, one: Followed, asked: Number, words: Words) -> str:
    return (
        f"Follows from your own rounded {_names(table, one.come, words)}; unrounded it is "
        f"{number(asked.sign * asked.right, 9)}."
    )


def _names(table: Table, answers: Sequence[str], words: Words) -> str:
    return listed([question_of(table.numbers[name], words) for name in answers])


def question_of(asked: Number, words: Words) -> str:
    """What was asked, in words: `∂E/∂w`, `value of z`, `new w`."""
    if asked.kind in ("value", "new"):
        return f"{'value of' if asked.kind == 'value' else 'new'} {words.names[asked.node]}"
    return ("−" if asked.sign < 0.0 else "") + words.derivative(asked.root, asked.node)
