"""What all answers of a student show together: a sign by convention, weights updated too early, old gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from engine.explain import Words
from engine.follow import ENGINE_RTOL, Carried, Number, Table, beside_each_other, exactly, question_of
from engine.graph import backward_order, derivatives_by_parent
from engine.ops import DIVIDE, MEAN, MULTIPLY
from engine.report import Mistake, Report, Row
from engine.rules import PRODUCTS, factors
from engine.text import listed, number
from engine.value import Value

MOST_LAYERS = 16  # through which weights that were updated too early are followed
MOST_NODES = 20_000  # of a graph in which they are looked for
ROUNDED_ON_THE_WAY = 2e-3  # how far numbers rounded to three digits may lead away
CLEARLY_NEARER = 0.1  # of the way from what a mistake gives to what is right
NEARER = 1.0 / 3.0  # the same, where other answers have shown the mistake


def judged_together(table: Table, rows: Mapping[str, Row], words: Words, labels: Mapping[Value, str]) -> Report:
    """The report on rows that were judged one by one: what they say beside each other, and what all of them show.

    `labels` are the names of all nodes.
    """
    rows, table = _weights_in_the_plain_convention(rows, table, words)
    turned = _in_the_other_convention(table)
    judged = beside_each_other(turned or table, rows, words, labels)
    judged |= _updated_too_early(turned or table, judged, words, labels)
    judged |= _never_reset(turned or table, judged, labels)
    if turned is None:
        return Report(judged)
    excused, note = _told_the_convention(turned, table, judged, words, labels)
    return Report(judged | excused, [note])


# The sign


def _is_gradient(asked: Number, *, of_leaf: bool) -> bool:
    """Whether an answer is a gradient whose sign says something, of a leaf or of an inner node."""
    inner = bool(asked.node.op) and asked.node is not asked.root
    return asked.kind == "gradient" and asked.right != 0.0 and (not asked.node.op if of_leaf else inner)


def _has_other_sign(asked: Number) -> bool:
    return asked.verdict == "wrong" and asked.own * asked.right < 0.0


def _turned(numbers: Mapping[str, Number], which: Collection[str]) -> dict[str, Number]:
    return {name: asked.with_sign_turned() if name in which else asked for name, asked in numbers.items()}


def _gradients(numbers: Mapping[str, Number], *, of_leaves: bool) -> list[str]:
    return [name for name, asked in numbers.items() if _is_gradient(asked, of_leaf=of_leaves)]


def _in_the_other_convention(table: Table) -> Table | None:
    """The table with the sign of every δ turned, where that makes all of them right; weights may be turned along."""
    numbers = table.numbers
    inner, weights = _gradients(numbers, of_leaves=False), _gradients(numbers, of_leaves=True)
    if len(inner) < 2 or not all(_has_other_sign(numbers[name]) for name in inner):
        return None
    along = weights if all(_has_other_sign(numbers[name]) for name in weights) else []
    turned = Table(table.loss, _turned(numbers, [*inner, *along]), table.lr)
    became = turned.followed()
    return turned if all(became[name].verdict == "right" and not became[name].slips for name in inner) else None


def _weights_in_the_plain_convention(
    rows: Mapping[str, Row], table: Table, words: Words
) -> tuple[Mapping[str, Row], Table]:
    """Where δ = −∂E/∂z is asked for, and every weight's gradient is ∂E/∂w all the same, that is as good."""
    numbers = table.numbers
    weights = _gradients(numbers, of_leaves=True)
    inner = [numbers[name] for name in _gradients(numbers, of_leaves=False)]
    known = any(asked.verdict == "right" and asked.sign < 0.0 for asked in inner)
    if not known or not all(_has_other_sign(numbers[name]) for name in weights):
        return rows, table
    turned = _turned(numbers, weights)
    plain = {
        name: replace(
            rows[name],
            verdict=turned[name].verdict,
            expected=turned[name].right,
            message=f"This is {question_of(turned[name], words)} itself; the convention is about δ.",
            derivation=rows[name].derivation if turned[name].verdict == "wrong" else "",
        )
        for name in weights
    }
    return {**rows, **plain}, Table(table.loss, turned, table.lr)


def _told_the_convention(
    table: Table, given: Table, rows: Mapping[str, Row], words: Words, labels: Mapping[Value, str]
) -> tuple[dict[str, Row], str]:
    """The rows whose sign was turned and are right so, told of the convention, and what to say of all of them."""
    turned = [name for name, asked in table.numbers.items() if asked is not given.numbers[name]]
    right = [name for name in turned if rows[name].verdict == "right"]
    negative = table.numbers[right[0]].sign < 0.0
    convention = "negative_gradient" if negative else "gradient"
    why = f"δ = −{words.kind.derivative(words.names[table.loss], 'z')}" if negative else "the gradient itself"
    accept = f'With convention="{convention}" (chalkgrad check --convention {convention})'
    told = {}
    for name in right:
        asked = table.numbers[name]
        text = f"This is {question_of(asked, words)}, right by another convention: {why}."
        mistake = Mistake("sign_flipped", labels[asked.node], f"{text} {accept} it is accepted.")
        told[name] = replace(rows[name], verdict="undecided", message=text, mistakes=(mistake,), derivation="")
    return told, f"Every δ has the other sign: another convention, {why}, and no error. {accept} they are accepted."


# Weights that were updated before the backward pass was done


def _updated_too_early(
    table: Table, rows: Mapping[str, Row], words: Words, labels: Mapping[Value, str]
) -> dict[str, Row]:
    """The wrong rows that come of a backward pass through weights already updated, so named."""
    wrong = [
        name
        for name, asked in table.numbers.items()
        if rows[name].verdict == "wrong" and asked.kind in ("gradient", "new") and asked.root is table.loss
    ]
    if table.lr is None or not wrong or len(words.order) > MOST_NODES:
        return {}
    given = {asked.node: asked.carried(0) for asked in table.numbers.values() if asked.kind == "new"}
    found: dict[str, bool] = {}  # whether it is that to the last digit
    weights: dict[Value, float] = {}
    for tried in [_updated(table, weights) for weights in _weights(table)]:
        own = {weight: given.get(weight) or exactly(data) for weight, data in tried.items()}
        recomputed = Table(table.loss, table.numbers, table.lr, own).recomputed()
        fits = _those_that_fit({name: (table.numbers[name], recomputed[name]) for name in wrong if name in recomputed})
        if len(fits) > len(found):
            weights, found = tried, fits
    first = _first_wrong(table, weights) if found else {}
    named = {}
    for name, exact in found.items():
        node = first.get(table.numbers[name].node, table.numbers[name].node)
        text = _passed_through(node, weights, table, words)
        if not exact:
            text = f"{text} That gives your number, but for rounding."
        mistake = Mistake("updated_weights", labels[node], text)
        named[name] = replace(rows[name], node=labels[node], message=text, mistakes=(mistake,))
    return named


def _those_that_fit(expected: Mapping[str, tuple[Number, Carried]]) -> dict[str, bool]:
    """Which answers are what was expected, and whether to the last digit or but for rounding on the way."""
    exact = {name for name, pair in expected.items() if _fits(*pair)}
    nearly = {name for name, pair in expected.items() if _is_nearly(*pair, known=bool(exact))}
    return {name: name in exact for name in expected if name in exact or name in nearly}


def _fits(asked: Number, expected: Carried) -> bool:
    return asked.judged_by(expected)[0] == "right"


def _is_nearly(asked: Number, expected: Carried, *, known: bool) -> bool:
    """Whether an answer is what was expected but for numbers rounded on the way, and is clearly not the right one.

    Where a mistake is `known` from other answers, it may be cut off after its last digit.
    """
    if asked.judge is None or not math.isfinite(expected.point):
        return False
    if expected.sources:  # of the student's own numbers, whose rounding is seen to
        return False
    size = abs(expected.point - asked.node.data * (asked.kind == "new"))
    slack = ROUNDED_ON_THE_WAY * size + asked.reach * (2.0 if known else 1.0)
    near = (NEARER if known else CLEARLY_NEARER) * abs(asked.right - expected.point)
    return abs(asked.own - expected.point) <= min(slack, near)


def _weights(table: Table) -> Iterator[set[Value]]:
    """Which leaves may be the weights: those with new values and others of their names, or every factor."""
    through = {factor for factor, _ in _factors_of_inner_nodes(table.loss)}
    given = {asked.node for asked in table.numbers.values() if asked.kind == "new"}
    kinds = {_kind_of(weight) for weight in given}
    alike = given | {weight for weight in through if _kind_of(weight) in kinds}
    yield alike
    if not through <= alike:
        yield given | through


def _factors_of_inner_nodes(loss: Value) -> Iterator[tuple[Value, Value]]:
    """Every leaf that is multiplied by a computed node, and that node."""
    for node in backward_order(loss):
        for factor, beside, _ in factors(node) if node._row in PRODUCTS else ():
            if not factor.op and not factor.is_constant and beside.op:
                yield factor, beside


def _kind_of(leaf: Value) -> str:
    """What the labels of one kind of weight begin with in every layer, such as the w of w1 and w2_1_3."""
    return re.split(r"[\d_₀-₉]", leaf.label, maxsplit=1)[0]


def _updated(table: Table, weights: Collection[Value]) -> dict[Value, float]:
    """The weights after a step in which each layer is updated before the gradient is passed on through it."""
    assert table.lr is not None
    grads = table.engine
    updated: dict[Value, float] = {}
    for _ in range(MOST_LAYERS):  # each time one layer more is as it will be
        before, updated = updated, {w: w.data - table.lr * grads.get(w, 0.0) for w in weights}
        if updated == before:
            break
        grads = _through(table, updated)
    return updated


def _through(table: Table, weights: Mapping[Value, float]) -> dict[Value, float]:
    """The gradients of the loss, passed back through these weights."""
    return Table(table.loss, {}, table.lr, {weight: exactly(data) for weight, data in weights.items()}).engine


def _first_wrong(table: Table, weights: Mapping[Value, float]) -> dict[Value, Value]:
    """For each node the first, in backward order, of those that its gradient comes from and that go wrong."""
    mistaken = _through(table, weights)
    place = {node: at for at, node in enumerate(mistaken)}
    first: dict[Value, Value] = {}
    for node, grad in mistaken.items():
        if node not in first and abs(grad - table.engine[node]) > ENGINE_RTOL * abs(table.engine[node]):
            first[node] = node
        if node in first:
            for parent, _ in derivatives_by_parent(node):
                first[parent] = min(first.get(parent, first[node]), first[node], key=place.__getitem__)
    return first


def _passed_through(node: Value, weights: Collection[Value], table: Table, words: Words) -> str:
    """What to tell of weights by which the gradient of a node went wrong."""
    pairs = _factors_of_inner_nodes(table.loss)
    through = dict.fromkeys(words.names[leaf] for leaf, other in pairs if leaf in weights and other is node)
    which = listed(list(through)) or "weights"
    return (
        f"The gradient was passed back to {words.names[node]} through {which} as already updated. Take {which} as in "
        "the forward pass, and update all weights when the backward pass is done."
    )


# Gradients that were not set back to 0


def _never_reset(table: Table, rows: Mapping[str, Row], labels: Mapping[Value, str]) -> dict[str, Row]:
    """The rows of all leaves, where each is the same multiple of its gradient, or has an old one added."""
    asked_of = {
        name: asked
        for name, asked in table.numbers.items()
        if _is_gradient(asked, of_leaf=True) and asked.root is table.loss and asked.judge
    }
    if not asked_of or any(rows[name].verdict != "wrong" or rows[name].mistakes for name in asked_of):
        return {}
    every = list(asked_of.values())
    times = every[0].own / every[0].right
    times = round(times) if math.isfinite(times) else 0
    multiples = len(every) > 1 and times >= 2 and all(_fits(asked, exactly(times * asked.right)) for asked in every)
    if multiples and (_inner_are_right(table, rows) or not _has_factor(table.loss, times)):
        text = f"Every leaf's gradient is {times} times too large: it was added to that of an earlier backward pass."
        texts = dict.fromkeys(asked_of, text)
    elif all(asked.node.grad and _fits(asked, exactly(asked.right + asked.node.grad)) for asked in every):
        texts = {
            name: f"This is the gradient, {number(asked.sign * asked.right)}, added to what {labels[asked.node]} held "
            f"of an earlier backward pass, {number(asked.sign * asked.node.grad)}."
            for name, asked in asked_of.items()
        }
    else:
        return {}
    advice = "Every backward pass starts from 0: zero_grad() before backward()."
    named = {}
    for name, text in texts.items():
        mistake = Mistake("no_accumulation_reset", labels[asked_of[name].node], f"{text} {advice}")
        named[name] = replace(rows[name], message=mistake.text, mistakes=(mistake,))
    return named


def _inner_are_right(table: Table, rows: Mapping[str, Row]) -> bool:
    """Whether gradients of inner nodes were answered, and none of them has a factor too much."""
    inner = [rows[name] for name in _gradients(table.numbers, of_leaves=False)]
    return bool(inner) and all(row.verdict == "right" for row in inner)


def _has_factor(loss: Value, times: int) -> bool:
    """Whether a constant factor of the loss, or a mean, makes its gradients so many times as large if forgotten."""
    return any(
        factor and _is_multiple(1.0 / factor, times)
        for node in backward_order(loss)
        if node._row is MEAN or (node._row in (MULTIPLY, DIVIDE) and any(one.is_constant for one in node.parents))
        for _, factor in derivatives_by_parent(node)
    )


def _is_multiple(x: float, of: int) -> bool:
    return math.isfinite(x) and round(x) != 0 and round(x) % of == 0 and math.isclose(x, round(x), rel_tol=ENGINE_RTOL)
