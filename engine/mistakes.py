"""Which mistake gives this number: hypotheses about one application of the chain rule.

A hypothesis is data: the number that a known mistake would give, and the mistake, with its key from the taxonomy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.blanks import Blank, blanks
from engine.explain import Words
from engine.report import Mistake
from engine.rules import FUNCTIONS, Local, Rule, cost_of, subsets, tried_rules
from engine.value import Value
from engine.walk import Step

SAME = 1e-9  # relative difference within which two numbers are taken for one
UNLIKELIER = 0.7  # of mistakes that give one number, those that cost so much more than the likeliest are not told


class Hypothesis(NamedTuple):
    """The number that a mistake would give, and the mistake."""

    number: float
    mistake: Mistake


def local_mistakes(words: Words, node: Value, operand: int) -> list[Hypothesis]:
    """What ∂node/∂parent would be by each mistake, for one operand of the node, the likeliest first."""
    local = Local(node, operand, node.data, tuple([p.data for p in node.parents]), node.local_derivatives)
    parent = words.names[local.parent]
    likeliest: dict[str, float] = {}  # the lowest cost of each number
    found = []
    for rule, at in sorted(tried_rules(local), key=lambda one: cost_of(*one)):
        number, cost = _number(rule, at), cost_of(rule, at)
        if cost <= likeliest.setdefault(f"{number:.9g}", cost) + UNLIKELIER:
            found.append(Hypothesis(number, Mistake(rule.key, parent, at.said(rule.text, words))))
    if node._row not in FUNCTIONS:
        value = f"you gave the value of {words.names[node]}"
        found.append(Hypothesis(node.data, Mistake("value_for_gradient", parent, value)))
    return _told_apart(found, local.derivative)


def _number(rule: Rule, at: Local) -> float:
    """What a mistaken rule gives; nan where it has no value."""
    try:
        return float(rule.gives(at))
    except (ArithmeticError, TypeError, ValueError):  # 1/0, or the root of a negative number
        return math.nan


def contribution_mistakes(
    words: Words, node: Value, operand: int, grad: float, before: float = 0.0
) -> list[Hypothesis]:
    """What one operand would receive by each mistake at its local derivative, and by those of the chain rule itself.

    `grad` is the gradient of the node, and `before` what the operand has received from others.
    """
    parent, derivative = node.parents[operand], node.local_derivatives[operand]
    here, there = words.names[node], words.names[parent]
    local = [one for one in local_mistakes(words, node, operand) if one.mistake.key != "value_for_gradient"]
    found = [Hypothesis(grad * number + 0.0, mistake) for number, mistake in local]
    alone = f"you left out {words.gradient_of(node)}: this is ∂{here}/∂{there} alone"
    found.append(Hypothesis(derivative, Mistake("stopped_early", there, alone)))
    if all(number != 1.0 for number, _ in local):  # else it is said already what was left out
        unchanged = f"you gave {words.gradient_of(node)}, not yet carried on to {there}"
        found.append(Hypothesis(grad, Mistake("stopped_early", there, unchanged)))
    received = "you added what was received before, and what this step adds was asked"
    found.append(Hypothesis(before + grad * derivative, Mistake("no_accumulation_reset", there, received)))
    if all(number != parent.data for number, _ in found):
        found.append(Hypothesis(parent.data, Mistake("value_for_gradient", there, f"you gave the value of {there}")))
    return _told_apart(found, grad * derivative)


def sum_mistakes(words: Words, node: Value, received: Sequence[float]) -> list[Hypothesis]:
    """What a node's gradient would be by each mistake at the sum of what its consumers sent."""
    here, right = words.names[node], sum(received)
    senders = _told_apart_by_amount([words.names[consumer] for consumer, _ in words.feeds[node]], received, words)
    found = [
        Hypothesis(sum(received[place] for place in kept), Mistake("path_missing", here, _missing(kept, senders)))
        for kept in subsets(len(received))
    ]
    found.append(
        Hypothesis(
            math.prod(received),
            Mistake("paths_multiplied_not_added", here, "you multiplied the paths, and they are added"),
        )
    )
    found.append(Hypothesis(-right, Mistake("sign_flipped", here, "you turned the sign of the sum")))
    found += [
        Hypothesis(right - 2.0 * term, Mistake("sign_flipped", here, f"you turned the sign of the path by {sender}"))
        for term, sender in zip(received, senders, strict=True)
    ]
    found.append(Hypothesis(node.data, Mistake("value_for_gradient", here, f"you gave the value of {here}")))
    return _told_apart(found, right)


def _told_apart_by_amount(senders: Sequence[str], received: Sequence[float], words: Words) -> list[str]:
    """The names of the senders, with what they sent where one sent by several paths."""
    pairs = zip(senders, received, strict=True)
    return [f"{name} ({words.number(term)})" if senders.count(name) > 1 else name for name, term in pairs]


def _missing(kept: Sequence[int], senders: Sequence[str]) -> str:
    if len(kept) == 1:
        return f"you took the path by {senders[kept[0]]} alone, and paths are added"
    left_out = [sender for place, sender in enumerate(senders) if place not in kept]
    return f"you left out the path{'s' if len(left_out) > 1 else ''} by {' and '.join(left_out)}"


def _told_apart(found: Iterable[Hypothesis], right: float) -> list[Hypothesis]:
    """The hypotheses whose number is one, and not that of the right answer; none twice."""
    apart = [one for one in found if math.isfinite(one.number) and abs(one.number - right) > SAME * abs(right)]
    return list(dict.fromkeys(apart))


def mistakes_at(blank: Blank) -> list[Hypothesis]:
    """The numbers that known mistakes would give for a blank, the likeliest first."""
    step, words = blank.step, blank.step.words
    if blank.contribution is None:
        return sum_mistakes(words, blank.node, step.received)
    if blank.asks == "local":
        return local_mistakes(words, blank.node, blank.operand)
    return contribution_mistakes(words, blank.node, blank.operand, step.grad, blank.contribution.before)


def likely_mistakes(step: Step) -> list[tuple[Blank, list[Hypothesis]]]:
    """For everything that can be asked at a step, the numbers that known mistakes would give."""
    return [(blank, mistakes_at(blank)) for blank in blanks(step)]
