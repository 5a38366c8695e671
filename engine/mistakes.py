"""Which mistake gives this number: hypotheses about one application of the chain rule.

A hypothesis is data: the number that a known mistake would give, and the mistake, with its key from the taxonomy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from engine import ops
from engine.blanks import Blank, blanks
from engine.explain import Words
from engine.ops import Primitive
from engine.report import Mistake
from engine.text import shorten
from engine.value import Value
from engine.walk import Step

MOST_PATHS = 4  # of which every choice is tried; of more, one and all but one
SAME = 1e-9  # relative difference within which two numbers are taken for one


class Hypothesis(NamedTuple):
    """The number that a mistake would give, and the mistake."""

    number: float
    mistake: Mistake


@dataclass(frozen=True)
class _Local:
    """One operand of a node, and all that a mistaken rule might use. `other` is another operand."""

    words: Words
    node: Value
    operand: int
    other: int = -1

    @property
    def row(self) -> Primitive:
        return self.node._row

    @property
    def parent(self) -> Value:
        return self.node.parents[self.operand]

    @property
    def out(self) -> float:
        return self.node.data

    @property
    def x(self) -> float:
        return self.parent.data

    @property
    def operands(self) -> tuple[float, ...]:
        return tuple([parent.data for parent in self.node.parents])

    @property
    def derivative(self) -> float:
        return self.node.local_derivatives[self.operand]

    @property
    def other_derivative(self) -> float:
        return self.node.local_derivatives[self.other]

    def rule(self, out: float, x: float) -> float:
        """The textbook derivative of a function of one operand, at other numbers than its own."""
        return float(self.row.derivatives(out, (x,), textbook=True)[0])

    def said(self, text: str) -> str:
        """The text with the names put in."""
        names = self.words.names
        return text.format(
            node=names[self.node],
            parent=names[self.parent],
            other=str(self.words.symbol(self.node.parents[self.other])),
            function=self.row.symbol,
            right=self._right() if "{right}" in text else "",
        )

    def _right(self) -> str:
        return shorten(str(self.words.local_derivatives(self.node)[self.operand]))


@dataclass(frozen=True)
class _Rule:
    """A mistake at a local derivative: for which rows and operands, the number that it gives, and how to say it."""

    key: str
    text: str
    number: Callable[[_Local], float]
    rows: Collection[Primitive] = ops.TABLE.values()
    operands: Callable[[_Local], bool] = lambda at: True
    others: Callable[[_Local], Iterable[int]] = lambda at: (-1,)  # the other operands that it is tried with


_LINEAR = (ops.NEGATE, ops.IDENTITY)
_FUNCTIONS = [  # of one operand, with a derivative to be forgotten
    row
    for row in ops.TABLE.values()
    if isinstance(row.partials, tuple) and len(row.partials) == 1 and row not in (*_LINEAR, ops.ABS)
]
_PRODUCTS = (ops.MULTIPLY, ops.DOT)
_SUMS = (ops.ADD, ops.SUBTRACT, ops.TOTAL, ops.DOT)


def _partner(at: _Local) -> tuple[int, ...]:
    """The other factor of a product; none for the bias of a weighted sum."""
    half = len(at.node.parents) // 2
    return () if at.operand >= 2 * half else ((at.operand + half) % (2 * half),)


def _is_term(at: _Local) -> bool:
    return at.row is not ops.DOT or not _partner(at)


def _other_operands(at: _Local) -> list[int]:
    """The other operands that a gradient reaches; but not the other factor, whose derivative is this one's value."""
    partners = _partner(at) if at.row in _PRODUCTS else ()
    others = [place for place, parent in enumerate(at.node.parents) if place != at.operand and not parent.is_constant]
    return [place for place in others if place not in partners and at.node.parents[place] is not at.parent][:12]


_RULES = (
    _Rule("sign_flipped", "the sign of ∂{node}/∂{parent} was turned", lambda at: -at.derivative),
    _Rule(
        "activation_derivative_missing",
        "the derivative of {function} was left out, which is {right}",
        lambda at: 1.0,
        _FUNCTIONS,
    ),
    _Rule(
        "derivative_at_a_not_z",
        "the derivative of {function} was taken at {node} and not at {parent}",
        lambda at: at.rule(at.row.forward(at.out), at.out),
        _FUNCTIONS,
    ),
    _Rule(
        "derivative_at_z_not_a",
        "{parent} was put where {node} belongs in {right}",
        lambda at: at.rule(at.x, at.x),
        _FUNCTIONS,
    ),
    _Rule(
        "wrong_activation_derivative",
        "{node} itself was taken, and not the derivative of {function}",
        lambda at: at.out,
        _FUNCTIONS,
    ),
    _Rule(
        "wrong_activation_derivative",
        "1 − {node}², the derivative of tanh, was taken for that of σ",
        lambda at: 1.0 - at.out**2,
        (ops.SIGMOID,),
    ),
    _Rule(
        "wrong_activation_derivative",
        "{node}·(1 − {node}), the derivative of σ, was taken for that of tanh",
        lambda at: at.out * (1.0 - at.out),
        (ops.TANH,),
    ),
    _Rule(
        "wrong_activation_derivative",
        "1 − {node} was taken for {right}",
        lambda at: 1.0 - at.out,
        (ops.SIGMOID, ops.TANH),
    ),
    _Rule(
        "activation_derivative_twice",
        "the derivative of {function} was used twice",
        lambda at: at.derivative**2,
        _FUNCTIONS,
    ),
    _Rule("abs_sign_missing", "the sign of {parent} was left out", lambda at: 1.0, (ops.ABS,)),
    _Rule(
        "log10_for_ln",
        "the logarithm to base 10 was taken for the natural one",
        lambda at: at.derivative / math.log(10.0),
        (ops.LOG,),
    ),
    _Rule(
        "log10_for_ln",
        "the natural logarithm was taken for that to base 10",
        lambda at: at.derivative * math.log(10.0),
        (ops.LOG10,),
    ),
    _Rule(
        "factor_2_missing",
        "the exponent was not brought in front",
        lambda at: at.derivative / at.operands[1],
        (ops.POWER,),
        lambda at: at.operand == 0 and at.operands[1] != 0.0,
    ),
    _Rule(
        "power_exponent_kept",
        "the exponent was not lowered by 1",
        lambda at: at.operands[1] * at.out,
        (ops.POWER,),
        lambda at: at.operand == 0,
    ),
    _Rule(
        "integrated_instead",
        "this is the integral and not the derivative",
        lambda at: at.x * at.out / (at.operands[1] + 1.0),
        (ops.POWER,),
        lambda at: at.operand == 0 and at.operands[1] != -1.0,
    ),
    _Rule(
        "power_rule_on_exponential",
        "the rule for a power of {other} was taken, and {parent} is the exponent",
        lambda at: at.other_derivative or at.x * at.out / at.operands[0],
        (ops.POWER,),
        lambda at: at.operand == 1 and at.operands[0] != 0.0,
        lambda at: (0,),
    ),
    _Rule(
        "quotient_rule",
        "the divisor was not squared",
        lambda at: -at.out,
        (ops.DIVIDE,),
        lambda at: at.operand == 1,
    ),
    _Rule(
        "quotient_rule",
        "{other} was multiplied by and not divided by",
        lambda at: at.operands[1],
        (ops.DIVIDE,),
        lambda at: at.operand == 0,
        lambda at: (1,),
    ),
    _Rule(
        "weight_for_input",
        "{parent} itself was taken, and the derivative is the other factor, {other}",
        lambda at: at.x,
        _PRODUCTS,
        others=_partner,
    ),
    _Rule(
        "input_factor_missing",
        "the factor {other} was left out",
        lambda at: 1.0,
        _PRODUCTS,
        lambda at: not at.parent.op,
        _partner,
    ),
    _Rule(
        "weight_factor_missing",
        "the factor {other} was left out",
        lambda at: 1.0,
        _PRODUCTS,
        lambda at: bool(at.parent.op),
        _partner,
    ),
    _Rule(
        "bias_chain",
        "the term {parent} was treated as a constant",
        lambda at: 0.0,
        _SUMS,
        _is_term,
    ),
    _Rule(
        "value_for_gradient",
        "{parent} itself was taken, and the derivative by a term is {right}",
        lambda at: at.x,
        _SUMS,
        _is_term,
    ),
    _Rule("sum_for_mean", "the mean's 1/n was left out", lambda at: 1.0, (ops.MEAN,)),
    _Rule("mean_twice", "the mean's 1/n was used twice", lambda at: at.derivative**2, (ops.MEAN,)),
    _Rule(
        "softmax_diagonal_only",
        "{parent} was treated as if {node} did not depend on it",
        lambda at: 0.0,
        (ops.SOFTMAX,),
        lambda at: at.operand > 0,
    ),
    _Rule(
        "softmax_diagonal_only",
        "{node}·(1 − {node}) was taken, which is the derivative by {other}",
        lambda at: at.out * (1.0 - at.out),
        (ops.SOFTMAX,),
        lambda at: at.operand > 0,
        lambda at: (0,),
    ),
    _Rule(
        "wrong_variable",
        "this is the derivative by {other}, and not by {parent}",
        lambda at: at.other_derivative,
        [row for row in ops.TABLE.values() if row not in (ops.ADD, ops.SUBTRACT, ops.TOTAL)],
        others=_other_operands,
    ),
    _Rule(
        "value_for_gradient",
        "this is the value of {node}",
        lambda at: at.out,
        [row for row in ops.TABLE.values() if row not in _FUNCTIONS],
    ),
)
"""Mistakes at a local derivative, the likeliest first."""


def local_mistakes(words: Words, node: Value, operand: int) -> list[Hypothesis]:
    """What ∂node/∂parent would be by each mistake, for one operand of the node."""
    at = _Local(words, node, operand)
    found = []
    for rule in _RULES:
        if node._row in rule.rows and rule.operands(at):
            for other in rule.others(at):
                tried = replace(at, other=other)
                mistake = Mistake(rule.key, words.names[node], tried.said(rule.text))
                found.append(Hypothesis(rule.number(tried), mistake))
    return _told_apart(found, at.derivative)


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
    alone = f"{words.gradient_of(node)} was left out: this is ∂{here}/∂{there} alone"
    found.append(Hypothesis(derivative, Mistake("stopped_early", here, alone)))
    if all(number != 1.0 for number, _ in local):  # else it is said already what was left out
        unchanged = f"this is {words.gradient_of(node)}, not yet carried on to {there}"
        found.append(Hypothesis(grad, Mistake("stopped_early", here, unchanged)))
    received = "what was received before was added; asked is what this step adds"
    found.append(Hypothesis(before + grad * derivative, Mistake("no_accumulation_reset", there, received)))
    if all(number != parent.data for number, _ in found):
        found.append(Hypothesis(parent.data, Mistake("value_for_gradient", there, f"this is the value of {there}")))
    return _told_apart(found, grad * derivative)


def sum_mistakes(words: Words, node: Value, received: Sequence[float]) -> list[Hypothesis]:
    """What a node's gradient would be by each mistake at the sum of what its consumers sent."""
    here, right = words.names[node], sum(received)
    senders = _told_apart_by_amount([words.names[consumer] for consumer, _ in words.feeds[node]], received, words)
    found = [
        Hypothesis(sum(received[place] for place in kept), Mistake("path_missing", here, _missing(kept, senders)))
        for kept in _subsets(len(received))
    ]
    found.append(
        Hypothesis(
            math.prod(received),
            Mistake("paths_multiplied_not_added", here, "the paths were multiplied, and they are added"),
        )
    )
    found.append(Hypothesis(-right, Mistake("sign_flipped", here, "the sign of the sum was turned")))
    found += [
        Hypothesis(right - 2.0 * term, Mistake("sign_flipped", here, f"the sign of the path by {sender} was turned"))
        for term, sender in zip(received, senders, strict=True)
    ]
    found.append(Hypothesis(node.data, Mistake("value_for_gradient", here, f"this is the value of {here}")))
    return _told_apart(found, right)


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Proper choices of the paths, the largest first: every one of a few, and of many all but one, and one."""
    sizes = range(count - 1, 0, -1) if count <= MOST_PATHS else (count - 1, 1)
    for size in sizes:
        yield from combinations(range(count), size)


def _told_apart_by_amount(senders: Sequence[str], received: Sequence[float], words: Words) -> list[str]:
    """The names of the senders, with what they sent where one sent by several paths."""
    pairs = zip(senders, received, strict=True)
    return [f"{name} ({words.number(term)})" if senders.count(name) > 1 else name for name, term in pairs]


def _missing(kept: Sequence[int], senders: Sequence[str]) -> str:
    if len(kept) == 1:
        return f"this is the path by {senders[kept[0]]} alone, and paths are added"
    left_out = [sender for place, sender in enumerate(senders) if place not in kept]
    paths = "path" if len(left_out) == 1 else "paths"
    return f"the {paths} by {' and '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} missing"


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
