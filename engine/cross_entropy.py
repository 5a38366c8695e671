"""Mistakes at a softmax and at a cross-entropy, over all classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from engine import ops
from engine.rules import FUNCTIONS
from engine.situation import Guess, Situation, at_and_said, into_logarithm, is_like, saying
from engine.value import Value


class Classes(NamedTuple):
    """A softmax: its scores, shares p, the gradient of each p and each score, and the weight c of its loss."""

    scores: list[Value]
    shares: list[Any]
    by_share: list[Any]
    by_score: list[Any]
    weight: Any
    nodes: list[Value | None]
    where: Value
    of_cross_entropy: bool


def softmaxes(at: Situation) -> list[Classes]:
    """The softmaxes on the way, as rows of the table or written with exp, and the logarithms of such sums."""
    shares: dict[frozenset[Value], dict[Value, Value | None]] = {}
    logarithms: dict[Value, list[Value]] = {}
    where: dict[frozenset[Value], Value] = {}
    for node in at.batch.forward:
        if (found := _share_of(node)) is not None:
            score, scores = found
            key = frozenset(scores)
            shares.setdefault(key, dict.fromkeys(sorted(scores, key=at.reading.__getitem__)))[score] = node
            where.setdefault(key, node)
        elif node._row is ops.LOGSUMEXP:
            logarithms[node] = list(node.parents)
        elif node._row is ops.LOG and (scores := _exponentials(node.parents[0])):
            logarithms[node] = scores
    made = [_classes(at, nodes, where[key]) for key, nodes in shares.items()]
    made += [_classes(at, dict.fromkeys(scores), node) for node, scores in logarithms.items()]
    return [one for one in made if len(one.scores) > 1]


def _share_of(node: Value) -> tuple[Value, list[Value]] | None:
    """The score that a share of a softmax belongs to, and all scores; None for what is no such share."""
    if node._row is ops.SOFTMAX:
        return node.parents[0], list(node.parents)
    if node._row is ops.DIVIDE and node.parents[0]._row is ops.EXP and (scores := _exponentials(node.parents[1])):
        score = node.parents[0].parents[0]
        return (score, scores) if score in scores else None
    return None


def _exponentials(node: Value) -> list[Value]:
    """The exponents, where the node is a sum of exponentials."""
    found, stack = [], [node]
    while stack:
        one = stack.pop()
        if one._row in (ops.ADD, ops.TOTAL):
            stack += one.parents
        elif one._row is ops.EXP:
            found.append(one.parents[0])
        else:
            return []
    return found[::-1] if len(found) > 1 else []


def _classes(at: Situation, nodes: dict[Value, Value | None], where: Value) -> Classes:
    scores = list(nodes)
    largest = at.value(scores[0])
    for score in scores[1:]:
        largest = np.maximum(largest, at.value(score))
    powers = [np.exp(at.value(score) - largest) for score in scores]
    whole = sum(powers)
    shares = [power / whole for power in powers]
    by_score = [at.adjoint(score) for score in scores]
    if where._row in (ops.LOGSUMEXP, ops.LOG):
        weight = at.adjoint(where)
        by_share = [(score - weight * p) / p for p, score in zip(shares, by_score, strict=True)]
    else:
        by_share = [at.adjoint(node) if node is not None else 0.0 for node in nodes.values()]
        weight = -sum(by * p for by, p in zip(by_share, shares, strict=True))
    consumers = {edge.node._row for node in nodes.values() if node is not None for edge in at.into.get(node, [])}
    if any(node is at.target for node in nodes.values()):
        consumers |= {consumer._row for consumer, _ in at.words.feeds.get(at.target, [])}
    return Classes(
        scores, shares, by_share, by_score, weight, list(nodes.values()), where, consumers <= {ops.LOG, ops.LOG10}
    )


def softmax_rules(at: Situation) -> Iterator[Guess]:
    """The derivative of a softmax, or of its cross-entropy, taken wrongly for all classes or for one."""
    groups = softmaxes(at)
    totals: dict[tuple[str, float, str], Any] = {}
    for group in groups:
        reached = [k for k, score in enumerate(group.scores) if score in at.tangents]
        if not reached:
            yield from _given_for_share(at, group)
            continue
        for key, cost, said, mistaken in _softmax_patterns(group):
            changes = {k: at.batch.times(mistaken[k] - group.by_score[k], at.tangent(group.scores[k])) for k in reached}
            change = sum(changes.values())
            apart = [k for k in reached if not is_like(mistaken[k], group.by_score[k])] or reached
            wrong = at.earliest([at.first(group.scores[k]) for k in apart])
            if key == "ce_treated_as_squared":
                shares = [at.first(node) for node in group.nodes if node in at.tangents]
                wrong = at.earliest(shares or [wrong])
            text = at_and_said(at, group.where, said)
            yield Guess(at.gradient + change, key, cost, wrong, text)
            if len(groups) > 1:
                totals[key, cost, said] = totals.get((key, cost, said), 0.0) + change
            if len(reached) > 1:
                for k, alone in changes.items():
                    yield Guess(at.gradient + alone, key, cost + 0.3, at.first(group.scores[k]), text)
        if group.of_cross_entropy:
            yield from _share_as_squared(at, group)
    if totals:
        wrong = at.earliest([at.first(s) for group in groups for s in group.scores if s in at.tangents])
        for (key, cost, said), change in totals.items():
            yield Guess(at.gradient + change, key, cost, wrong, at_and_said(at, groups[0].where, said))


def _softmax_patterns(group: Classes) -> Iterator[tuple[str, float, str, list[Any]]]:
    """For each mistake its key, cost and words, and the gradients by the scores that it gives."""
    shares, by_share, by_score, weight = group.shares, group.by_share, group.by_score, group.weight
    slopes = [p * (1.0 - p) for p in shares]
    yield (
        "softmax_diagonal_only",
        0.9,
        "each score moves every p, since the shares add to 1: you took p_k·(1 − p_k) alone",
        [by * slope for by, slope in zip(by_share, slopes, strict=True)],
    )
    yield (
        "softmax_diagonal_only",
        1.0,
        "you left out the softmax's derivative: this is by p and not by its score",
        by_share,
    )
    if not group.of_cross_entropy:
        return
    yield "softmax_sign", 0.95, "by the score it is p − y, and you gave y − p", [-by for by in by_score]
    yield (
        "softmax_label_everywhere",
        0.9,
        "1 is subtracted for the class of the label alone, and you subtracted it for every class",
        [weight * (p - 1.0) for p in shares],
    )
    yield (
        "ce_double_derivative",
        1.1,
        "p − y holds the softmax's derivative already, and you multiplied by p·(1 − p) once more",
        [by * slope for by, slope in zip(by_score, slopes, strict=True)],
    )
    for scale in (1.0, 2.0):
        squared = [scale * by for by in by_score]  # p − y, taken for the gradient by p
        inner = sum(by * p for by, p in zip(squared, shares, strict=True))
        yield (
            "ce_treated_as_squared",
            1.3,
            "the loss is a cross-entropy, and you took p − y for its derivative by p, as for a squared error",
            [p * (by - inner) for by, p in zip(squared, shares, strict=True)],
        )


def _share_as_squared(at: Situation, group: Classes) -> Iterator[Guess]:
    """Of one class alone, p − y for ∂L/∂p."""
    for node, by_share, by_score in zip(group.nodes, group.by_share, group.by_score, strict=True):
        if node in at.tangents:
            said = (
                f"the loss is a cross-entropy, and you took {at.name(node)} − y for its derivative by {at.name(node)}"
            )
            change = at.batch.times(by_score - by_share, at.tangent(node))
            text = at_and_said(at, group.where, said)
            yield Guess(at.gradient + change, "ce_treated_as_squared", 1.6, at.first(node), text)


def _given_for_share(at: Situation, group: Classes) -> Iterator[Guess]:
    for node, by_score in zip(group.nodes, group.by_score, strict=True):
        if node is at.target:
            said = "p − y is the gradient by the score, and that by p was asked"
            yield Guess(by_score, "ce_treated_as_squared", 1.0, node, at_and_said(at, group.where, said))


def cross_entropy_rules(at: Situation) -> Iterator[Guess]:
    """−(y·log a + (1 − y)·log(1 − a)) differentiated as if it were another loss, or with a·(1 − a) once more."""
    outputs: list[tuple[Value, Any]] = []
    terms: list[tuple[Value, Any, Any]] = []  # −y·log a and −(1 − y)·log(1 − a)
    for node in at.order + ([at.target] if at.target.op else []):
        paths = at.into.get(node, [])
        if not paths or not all(into_logarithm(at, path) for path in paths) or _share_of(node):
            continue
        direct = sum((path.sent for path in paths if path.node._row is ops.LOG), start=0.0)
        below = sum((path.sent for path in paths if path.node._row is not ops.LOG), start=0.0)
        a = at.value(node)
        weight = below * (1.0 - a) - direct * a
        outputs.append((node, weight * a + direct * a))  # c·(a − y)
        if len(paths) > 1:
            terms.append((node, direct, below))
    for scale, cost in ((1.0, 1.0), (2.0, 1.4)):
        whole: Any = 0.0
        for node, error in outputs:
            name = at.name(node)
            said = f"The loss is a cross-entropy, and you took {name} − y, which a squared error has, for ∂L/∂{name}"
            change = at.batch.times(scale * error - at.adjoint(node), at.tangent(node))
            whole = whole + change
            yield Guess(at.gradient + change, "ce_treated_as_squared", cost, at.first(node), saying(said))
        if len(outputs) > 1:
            said = "The loss is a cross-entropy, and you differentiated it as a squared error"
            wrong = at.earliest([at.first(node) for node, _ in outputs])
            yield Guess(at.gradient + whole, "ce_treated_as_squared", cost, wrong, saying(said))
    twice: Any = 0.0
    met = []
    for node, _ in outputs:
        if node._row in FUNCTIONS and node.parents[0] in at.tangents:
            z = node.parents[0]
            slope = at.batch.local[node][0]
            change = at.batch.times(at.batch.times(at.adjoint(node), slope) * (slope - 1.0), at.tangent(z))
            function = node._row.symbol
            said = f"{at.name(node)} − y holds the derivative of {function} already, and you multiplied by it once more"
            twice = twice + change
            met.append(at.first(z))
            yield Guess(at.gradient + change, "ce_double_derivative", 0.9, at.first(z), saying(said))
    if len(met) > 1:
        said = (
            "a − y holds the derivative of the activation already, and you multiplied by it once more at every output"
        )
        yield Guess(at.gradient + twice, "ce_double_derivative", 0.9, at.earliest(met), saying(said))
    if len(terms) > 1:
        for dropped, left_out in ((1, "−y·log a"), (2, "−(1 − y)·log(1 − a)")):
            change = sum(at.batch.times(one[dropped], at.tangent(one[0])) for one in terms)
            wrong = at.earliest([at.first(node) for node, _, _ in terms])
            said = f"The loss has two terms for each output, and you left out {left_out}"
            yield Guess(at.gradient - change, "ce_one_term_only", 1.0, wrong, saying(said))
