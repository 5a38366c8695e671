"""What a gradient would be by each known mistake, anywhere in a graph and at many points at once.

One reverse sweep gives the adjoints A = ∂root/∂node and one forward sweep the tangents T = ∂node/∂target. With them
most mistakes are one line: a derivative m in place of d on the edge from a node to its parent changes the gradient
by (m − d)·A_node·T_parent, and another sum Ã at a node by (Ã − A)·T.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import ops
from engine.arrays import Array
from engine.explain import Words, through_unlabelled, unlabelled_below, upstream_of
from engine.rules import (
    FUNCTIONS,
    PRODUCTS,
    STEEP,
    SUMS,
    Local,
    Rule,
    cost_of,
    factors,
    is_term,
    is_weight,
    partner,
    subsets,
    summands,
    tried_rules,
)
from engine.situation import (
    MOST_SIBLINGS,
    Edge,
    Guess,
    Situation,
    at_and_said,
    flattened,
    into_logarithm,
    is_like,
    is_mean,
    saying,
    text_of,
)
from engine.text import counted, shorten
from engine.value import Value

MOST_INNER = 50  # nodes without a label between two with one

# One edge


def edges(at: Situation) -> Iterator[Guess]:
    """A mistaken rule at one operand of one node."""
    for edge in at.edges:
        node, parent = edge.node, edge.parent
        reach = at.batch.times(at.adjoint(node), at.tangent(parent))
        local = at.local(node, edge.operand)
        wrong = at.first(parent)
        for rule, tried in tried_rules(local):
            change = rule.gives(tried) - local.derivative
            yield Guess(
                at.gradient + at.batch.times(change, reach),
                rule.key,
                cost_of(rule, tried),
                wrong,
                _EdgeText(at, rule, tried),
            )


@dataclass(frozen=True, slots=True)
class _EdgeText:
    """The sentence about a mistaken rule, made when it is read."""

    at: Situation
    rule: Rule
    local: Local

    def __call__(self) -> str:
        at, local = self.at, self.local
        said = local.said(self.rule.text, at.words)
        return f"{at.at(local.node)} {said}{self._answer()}."

    def _answer(self) -> str:
        """`: your answer is ∂L/∂a·x`, where all of the gradient passes here and it is not too long to read."""
        at, node, parent = self.at, self.local.node, self.local.parent
        if not (node.label or node is at.root) or not (parent.label or parent is at.target):
            return ""
        if not is_like(
            at.batch.times(at.adjoint(node), at.batch.times(self.local.derivative, at.tangent(parent))), at.gradient
        ):
            return ""
        words = at.words
        symbols = Local(
            node,
            self.local.operand,
            words.symbol(node),
            tuple(map(words.symbol, node.parents)),
            tuple(words.local_derivatives(node, words.in_names)),
            self.local.other,
        )
        given = words.kind.of(self.rule.gives(symbols))
        product = upstream_of(words, at.root, node) * given * _onward(words, parent, at.target)
        return f": your answer is {product}" if len(str(product)) <= 80 else ""


def _onward(words: Words, node: Value, target: Value) -> Any:
    """∂node/∂target: written out where that takes one line."""
    if node is target:
        return words.kind.of(1.0)
    below = through_unlabelled(words, node)
    return below[target] if target in below else words.kind(words.derivative(node, target))


def siblings(at: Situation) -> Iterator[Guess]:
    """At one edge the value, the derivative or the gradient of another node of the family is taken."""
    for edge in at.edges:
        local = at.local(edge.node, edge.operand)
        wrong = at.first(edge.parent)
        adjoint, tangent = at.adjoint(edge.node), at.tangent(edge.parent)
        reach = at.batch.times(adjoint, tangent)
        if local.row in PRODUCTS:
            for place in partner(local):
                factor = edge.node.parents[place]
                for other in at.family(factor):
                    change = at.value(other) - local.derivative
                    text = text_of("{at} you took {other} for {this}", at, edge.node, other=other, this=factor)
                    yield Guess(at.gradient + at.batch.times(change, reach), "transposed_index", 1.7, wrong, text)
        elif local.row in FUNCTIONS and edge.operand == 0:
            for other in at.family(edge.node):
                if other._row is local.row:
                    change = at.batch.local[other][0] - local.derivative
                    text = text_of("{at} you took the derivative at {other}", at, edge.node, other=other)
                    yield Guess(at.gradient + at.batch.times(change, reach), "transposed_index", 1.9, wrong, text)
        for other in at.family(edge.node):
            if other in at.adjoints:
                change = at.batch.times(at.adjoint(other) - adjoint, at.batch.times(local.derivative, tangent))
                text = text_of(
                    "{at} you took ∂{root}/∂{other} for ∂{root}/∂{this}", at, edge.node, other=other, this=edge.node
                )
                yield Guess(at.gradient + change, "transposed_index", 2.0, wrong, text)


# Sums


def fan_out(at: Situation) -> Iterator[Guess]:
    """A node that is used more than once, whose paths are not added as they should be."""
    for node, paths in at.into.items():
        if len(paths) < 2:
            continue
        total = sum(path.sent for path in paths)
        wrong = at.first(node)
        for kept in subsets(len(paths)):
            change = sum(paths[place].sent for place in kept) - total
            key, cost = _missing_key(at, node, paths, kept)
            yield Guess(at.with_change(node, change), key, cost, wrong, _MissingText(at, node, paths, kept))
        product = paths[0].sent
        for path in paths[1:]:
            product = at.batch.times(product, path.sent)
        text = text_of("At {this} you multiplied the paths, and they are added", at, node, this=node)
        yield Guess(at.with_change(node, product - total), "paths_multiplied_not_added", 1.2, wrong, text)
        for path in paths:
            text = text_of(f"At {{this}} you lost the sign of the path by {at.sender(path)}", at, node, this=node)
            yield Guess(at.with_change(node, -2.0 * path.sent), "sign_flipped", 2.4, wrong, text)
        yield from _products_of_means(at, node, paths, wrong)


def _missing_key(at: Situation, node: Value, paths: Sequence[Edge], kept: Sequence[int]) -> tuple[str, float]:
    if len({path.node for path in paths}) == 1 and len(paths) == 2 and paths[0].node._row is ops.MULTIPLY:
        return "factor_2_missing", 1.1  # x·x is x²
    if all(into_logarithm(at, path) for path in paths):
        return "ce_one_term_only", 0.9
    if not node.op and len(kept) == 1 and _by_examples(at, paths):
        return "one_example_only", 0.9
    return "path_missing", 1.0


def _by_examples(at: Situation, paths: Sequence[Edge]) -> bool:
    """Whether each path comes by an example of its own, of a mean over examples."""
    examples = [at.examples.get(path.node, frozenset()) for path in paths]
    return all(len(one) == 1 for one in examples) and len(set(examples)) == len(paths)


def _sizes(at: Situation) -> set[int]:
    """How many terms the means and sums on the way have."""
    sizes = {len(node.parents) for node in at.order if node._row in (ops.MEAN, ops.TOTAL)}
    sizes |= {len(summands(node)) for node in at.order if node._row in (ops.ADD, ops.SUBTRACT)}
    return {size for size in sizes if size > 1}


@dataclass(frozen=True, slots=True)
class _MissingText:
    """The sentence about paths that are missing, made when it is read."""

    at: Situation
    node: Value
    paths: Sequence[Edge]
    kept: Sequence[int]

    def __call__(self) -> str:
        at = self.at
        senders = [at.sender(path) for path in self.paths]
        if len(set(senders)) < len(senders):
            senders = [f"{at.name(path.parent)} in {at.term(path)}" for path in self.paths]
        count = counted(len(self.paths), "path")
        if len(self.kept) == 1 and len(self.paths) > 2:
            told = f"you took the path by {senders[self.kept[0]]} alone"
        else:
            left_out = [sender for place, sender in enumerate(senders) if place not in self.kept]
            told = f"you left out the path{'s' if len(left_out) > 1 else ''} by {' and '.join(left_out)}"
        return f"{at.name(self.node)} reaches {at.words.names[at.root]} by {count}, which are added: {told}."


def _products_of_means(at: Situation, node: Value, paths: Sequence[Edge], wrong: Value) -> Iterator[Guess]:
    """Σ δ·x as Σδ·Σx/n: the mean of products as the product of means."""
    paths = [path for path in paths if path.node._row in PRODUCTS and partner(at.local(path.node, path.operand))]
    if len(paths) < 2:
        return
    deltas = sum(at.adjoint(path.node) for path in paths)
    inputs = sum(at.batch.local[path.node][path.operand] for path in paths)
    product = at.batch.times(deltas, inputs) / len(paths)
    text = text_of("At {this} you multiplied two means, and the mean is of the products", at, node, this=node)
    yield Guess(at.with_change(node, product - sum(path.sent for path in paths)), "product_of_means", 1.0, wrong, text)


def sums(at: Situation) -> Iterator[Guess]:
    """Terms of a sum that were left out, through nodes without a label."""
    for node in at.order:
        flat = flattened(at, node)
        if len(flat) < 2:
            continue
        for kept in subsets(len(flat)):
            dropped = [flat[place] for place in range(len(flat)) if place not in kept]
            change = sum(at.batch.times(sent, at.tangent(term)) for term, sent in dropped)
            key = "path_missing"
            if len(flat) == 2 and all(_has_logarithm(term) for term, _ in flat):
                key = "ce_one_term_only"
            elif len(kept) == 1 and is_mean(at, node):
                key = "one_example_only"
            wrong = at.earliest([at.first(term) for term, _ in dropped])
            names = " and ".join(at.name(term) for term, _ in dropped)
            text = text_of(f"{{at}} you left out {shorten(names, 80)}", at, node)
            yield Guess(at.gradient - change, key, 1.5, wrong, text)


def _has_logarithm(node: Value) -> bool:
    return node._row is ops.LOG or any(parent._row is ops.LOG for parent in node.parents)


# The whole answer


def value_given(at: Situation) -> Iterator[Guess]:
    """The value of the node where its gradient was asked."""
    name = at.name(at.target)
    said = f"You gave the value of {name}, and its gradient was asked"
    yield Guess(at.value(at.target), "value_for_gradient", 1.4, at.target, saying(said))


def adjoints_of_others(at: Situation) -> Iterator[Guess]:
    """The gradient of another node is given, or the derivative of a node on the way."""
    target = at.target
    above = {edge.node for edge in at.into.get(target, [])}
    beside = _weights_beside(at) if not target.op else set()
    root = at.words.names[at.root]
    for node, adjoint in at.adjoints.items():
        if node is target or node.is_constant or node is at.root:
            continue
        name, wrong = at.name(node), target
        if node in at.tangents:
            if not node.label:
                wrong = at.first(node)
                key, cost = "chain_inner_missing", 1.6 if wrong is target else 2.0
                said = f"{at.at(node)} you left out the derivative of {name} by {at.name(wrong)}"
            else:
                key, cost = "stopped_early", (1.7 if node in above else 1.9)
                said = f"You stopped early: this is ∂{root}/∂{name}, not yet carried on to {at.name(target)}"
        elif node in beside:
            key, cost = "bias_chain", 1.8
            said = f"You copied ∂{root}/∂{name}: {at.name(target)} stands alone in its sum and has no factor"
        elif node.label:
            key, cost = "wrong_variable", (1.8 if not node.op else 2.4)
            said = f"This is ∂{root}/∂{name}, and ∂{root}/∂{at.name(target)} was asked"
        else:
            continue
        yield Guess(adjoint, key, cost, wrong, saying(said))
    for node, tangent in at.tangents.items():
        if node not in (at.root, target) and node.label:
            said = f"You left out ∂{root}/∂{at.name(node)}: this is ∂{at.name(node)}/∂{at.name(target)} alone"
            yield Guess(tangent, "stopped_early", 2.6, at.first(at.root), saying(said))


def _weights_beside(at: Situation) -> set[Value]:
    """The factors of the products in the sums in which the target stands alone."""
    edges = [edge for edge in at.into.get(at.target, []) if is_term(at.local(edge.node, edge.operand))]
    return {one for edge in edges for one in _factors_beside(at, edge) if is_weight(one, 0)}


def _factors_beside(at: Situation, edge: Edge) -> list[Value]:
    """The leaves that are factors in the sum in which an operand stands alone."""
    if edge.node._row not in SUMS:
        return []
    products = [one for one in unlabelled_below(at.owner(edge.node), at.words.rank) if one._row in PRODUCTS]
    found = [p for one in products for p in one.parents if not p.is_constant and p is not edge.parent]
    return list(dict.fromkeys(found))


def biases(at: Situation) -> Iterator[Guess]:
    """A term that stands alone in a sum is given a factor of another term."""
    for edge in at.edges:
        if edge.parent.op or edge.node._row is ops.DOT or not is_term(at.local(edge.node, edge.operand)):
            continue
        for factor in _factors_beside(at, edge)[:MOST_SIBLINGS]:
            change = at.batch.times(edge.sent, at.value(factor) - 1.0)
            text = text_of(
                "{at} you multiplied by {other}, and {this} stands alone in the sum",
                at,
                edge.node,
                other=factor,
                this=edge.parent,
            )
            yield Guess(at.with_change(edge.parent, change), "bias_chain", 1.4, edge.parent, text)


def whole_answers(at: Situation) -> Iterator[Guess]:
    """The whole answer by a factor that people lose, wherever they lost it."""
    top = at.first(at.root)
    if at.own:  # where all that is not known to be right comes together
        through = (one for one in at.order if one.label and is_like(at.adjoint(one) * at.tangent(one), at.gradient))
        top = next((one for one in through if one is not at.root and one not in at.own), at.target)
    sizes = sorted(_sizes(at) | _divisors(at))
    known = [
        (-1.0, "sign_flipped", 2.6, "The sign is lost: your answer is the right one times −1"),
        (2.0, "factor_half_ignored", 2.8, "A factor ½ is missing: your answer is twice the right one"),
        (0.5, "factor_2_missing", 2.8, "A factor 2 is missing: your answer is half the right one"),
        (math.log(10.0), "log10_for_ln", 2.9, "Your answer is the right one times ln 10: which logarithm is meant?"),
        (1 / math.log(10.0), "log10_for_ln", 2.9, "Your answer is the right one over ln 10: which logarithm is meant?"),
    ]
    for size in sizes:
        known.append((float(size), "sum_for_mean", 2.7, f"Your answer is {size} times the right one: a sum for a mean"))
        known.append((1.0 / size, "mean_twice", 2.9, f"Your answer is the right one over {size}: a mean taken twice"))
    for factor, key, cost, said in known:
        yield Guess(factor * at.gradient, key, cost, top, saying(said))


def _divisors(at: Situation) -> set[int]:
    found = set()
    for node in at.order:
        if node._row is ops.DIVIDE and node.parents[1].is_constant:
            divisor = node.parents[1].data
            if divisor == int(divisor) and 2 < divisor < 1000:
                found.add(int(divisor))
    return found


# Rules of whole operations


def operations(at: Situation) -> Iterator[Guess]:
    """The product rule, the quotient rule and the chain rule taken wrongly, with the derivatives by the target."""
    for node in at.order:
        row = node._row
        if row in (ops.MULTIPLY, ops.DIVIDE):
            yield from _two_operands(at, node)
        elif row is ops.DOT:
            yield from _weighted_sum(at, node)
        elif row in STEEP or row is ops.ABS or (row is ops.POWER and node.parents[1].is_constant):
            yield from _inner(at, node, 0)
        elif row is ops.POWER and node.parents[0].is_constant:
            yield from _inner(at, node, 1)


def _two_operands(at: Situation, node: Value) -> Iterator[Guess]:
    """The product rule and the quotient rule."""
    (u, v), (above, below) = at.batch.operands(node), node.parents
    du, dv = at.tangent(above), at.tangent(below)
    times, right = at.batch.times, at.tangent(node)
    both = [parent for parent in node.parents if parent in at.tangents]
    tried: list[tuple[Any, str, float, str, list[Value]]] = []
    if node._row is ops.MULTIPLY and len(both) == 2:
        product = f"({at.name(above)}·{at.name(below)})′"
        tried = [
            (
                times(du, dv),
                "paths_multiplied_not_added",
                1.1,
                f"you took u′·v′ for {product}, which is u′·v + u·v′",
                both,
            ),
            (times(du, v) - times(u, dv), "sign_flipped", 2.3, f"the two terms of {product} are added", [below]),
        ]
    elif node._row is ops.DIVIDE and below in at.tangents:
        difference = times(du, v) - times(u, dv)
        quotient = at.words.in_names[above] / at.words.in_names[below]
        said = f"the derivative of {quotient} is (u′v − uv′)/v²"
        tried = [
            (difference / v, "quotient_rule", 1.1, f"{said}: you did not square the divisor", both),
            (-difference / v**2, "quotient_rule", 1.5, f"{said}: you turned the difference around", both),
            (difference, "quotient_rule", 1.7, f"{said}: you left out the divisor", both),
            (difference / v**3, "quotient_rule", 2.3, f"{said}: you divided once too often", both),
        ]
        if len(both) == 2:
            tried += [
                ((times(du, v) + times(u, dv)) / v**2, "quotient_rule", 1.4, f"{said}: you added the terms", [below]),
                (du / dv, "quotient_rule", 1.5, f"{said}, and not u′/v′", both),
                (-difference / v, "quotient_rule", 2.2, f"{said}: you turned it around and did not square v", both),
            ]
    for tangent, key, cost, text, parents in tried:
        wrong = at.earliest([at.first(parent) for parent in parents])
        change = times(at.adjoint(node), tangent - right)
        yield Guess(at.gradient + change, key, cost, wrong, at_and_said(at, node, text))


def inner_left_out(at: Situation) -> Iterator[Guess]:
    """The derivative of an operand by the target was left out, at whatever operation."""
    for edge in at.edges:
        if edge.parent is not at.target and edge.parent.op:
            below = [] if edge.parent.label else [at.first(one) for one in _directly_under(at, edge.parent)]
            wrong = at.earliest(below or [at.target])
            change = at.batch.times(edge.sent, 1.0 - at.tangent(edge.parent))
            said = f"you left out the inner derivative, that of {at.name(edge.parent)} by {at.name(at.target)}"
            text = at_and_said(at, edge.node, said)
            yield Guess(at.gradient + change, "chain_inner_missing", 2.3, wrong, text)


def _weighted_sum(at: Situation, node: Value) -> Iterator[Guess]:
    """A product of two variables within a weighted sum, whose derivative was taken as a product."""
    for first, second, place in factors(node):
        if place == 0 and first in at.tangents and second in at.tangents:
            u, v, du, dv = at.value(first), at.value(second), at.tangent(first), at.tangent(second)
            change = at.batch.times(at.adjoint(node), du * dv - du * v - u * dv)
            wrong = at.earliest([at.first(first), at.first(second)])
            said = f"you took u′·v′ for ({at.name(first)}·{at.name(second)})′, which is u′·v + u·v′"
            text = at_and_said(at, node, said)
            yield Guess(at.gradient + change, "paths_multiplied_not_added", 1.3, wrong, text)


def _inner(at: Situation, node: Value, operand: int) -> Iterator[Guess]:
    """f′(g′) for f′(g)·g′, and g′ left out, by what is next on the way or by the target."""
    inner = node.parents[operand]
    if inner not in at.tangents or inner is at.target:
        return
    times, slope = at.batch.times, at.batch.local[node][operand]
    nearest = _directly_under(at, inner)
    f, g = at.name(node), at.name(inner)
    for source, tangent in (nearest | {at.target: at.tangent(inner)}).items():
        far = 0.0 if source in nearest else 0.5
        wrong = at.first(inner) if inner.label else source
        rest = times(at.adjoint(node), at.tangent(source))
        operands = list(at.batch.operands(node))
        operands[operand] = tangent + np.zeros(at.batch.size).view(Array)
        at_derivative = node._row.derivatives(node._row(*operands), tuple(operands), textbook=True)[operand]
        said = f"you took the derivative of {f} at the inner derivative, and it is taken at {g}"
        for change, cost in (
            (at_derivative - times(slope, tangent), 1.6),
            (times(at_derivative - slope, tangent), 1.7),
        ):
            gradient = at.gradient + times(change, rest)
            yield Guess(gradient, "chain_inner_at_derivative", cost + far, wrong, at_and_said(at, node, said))
        said = f"you left out the inner derivative of {f}, that of {g} by {at.name(source)}"
        gradient = at.gradient + times(times(slope, 1.0 - tangent), rest)
        cost = 1.8 if inner.label else 1.5
        yield Guess(gradient, "chain_inner_missing", cost + far, source, at_and_said(at, node, said))
    if len(nearest) > 1:
        said = f"you left out the inner derivative of {f}, that of {g}"
        changes = [times(times(slope, 1.0 - by), times(at.adjoint(node), at.tangent(x))) for x, by in nearest.items()]
        wrong = at.earliest(map(at.first, nearest))
        yield Guess(at.gradient + sum(changes), "chain_inner_missing", 1.7, wrong, at_and_said(at, node, said))


def _directly_under(at: Situation, node: Value) -> dict[Value, Any]:
    """The labelled nodes and leaves next under a node, with its derivative by each; none where that takes too long."""
    inner, stack = {node}, [node]
    while stack and len(inner) <= MOST_INNER:
        for parent in stack.pop().parents:
            if parent in at.place and parent.op and not parent.label and parent not in inner:
                inner.add(parent)
                stack.append(parent)
    if stack:
        return {}
    found: dict[Value, Any] = {}
    pending: dict[Value, Any] = {node: 1.0}
    for one in sorted(inner & at.place.keys(), key=at.place.__getitem__):
        outer = pending.pop(one)
        for parent, derivative in zip(one.parents, at.batch.local[one], strict=True):
            if derivative is not None and parent in at.tangents:
                into = pending if parent in inner else found
                amount = at.batch.times(outer, derivative)
                into[parent] = into[parent] + amount if parent in into else amount
    return found
