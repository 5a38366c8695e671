"""Mistaken rules for a local derivative, as data: over floats, arrays of points, or symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from engine import ops
from engine.explain import Words
from engine.graph import search
from engine.ops import Primitive
from engine.text import counted, shorten
from engine.value import Value

MOST_PATHS = 4  # of which every choice is tried; of more, one and all but one


@dataclass(frozen=True)
class Local:
    """One operand of a node, and all that a mistaken rule might use. `other` is another operand.

    `out`, `operands` and `derivatives` are of one number type: floats, arrays or symbols.
    """

    node: Value
    operand: int
    out: Any
    operands: tuple[Any, ...]
    derivatives: tuple[Any, ...]
    other: int = -1

    @property
    def row(self) -> Primitive:
        """The operation of the node."""
        return self.node._row

    @property
    def parent(self) -> Value:
        """The operand's node."""
        return self.node.parents[self.operand]

    @property
    def x(self) -> Any:
        """The operand's value."""
        return self.operands[self.operand]

    @property
    def derivative(self) -> Any:
        """The right derivative."""
        return self.derivatives[self.operand]

    @property
    def other_value(self) -> Any:
        """The other operand's value."""
        return self.operands[self.other]

    @property
    def other_derivative(self) -> Any:
        """The derivative by the other operand."""
        return self.derivatives[self.other]

    def rule(self, out: Any, x: Any) -> Any:
        """The textbook derivative of a function of one operand, at other numbers than its own."""
        return self.row.derivatives(out, (x, *self.operands[1:]), textbook=True)[0]

    def again(self, x: Any) -> Any:
        """The function of one operand, at another number than its own."""
        return self.row(x, *self.operands[1:])

    def said(self, text: str, words: Words) -> str:
        """The text with the names put in."""
        return text.format(
            node=written(words, self.node),
            parent=written(words, self.parent),
            other=written(words, self.node.parents[self.other]),
            function="the power" if self.row is ops.POWER else self.row.symbol,
            right=_right(words, self.node, self.operand) if "{right}" in text else "",
            slope=_slope(words, self.node) if "{slope}" in text else "",
            terms=counted(round(share(self)) or len(self.node.parents), "term"),
        )


def written(words: Words, node: Value) -> str:
    """The node as its consumers write it: by its name, or by its formula where it has none of its own."""
    return shorten(str(words.in_names[node]))


def _slope(words: Words, node: Value) -> str:
    """`σ′(z) = a·(1 − a)`."""
    operands = ", ".join(written(words, parent) for parent in node.parents[:1])
    if node._row is ops.POWER:
        return f"the derivative of {written(words, node)}, which is {_right(words, node, 0)}"
    return f"{node._row.symbol}′({operands}) = {_right(words, node, 0)}"


def _right(words: Words, node: Value, operand: int) -> str:
    return shorten(str(words.local_derivatives(node, words.in_names)[operand]))


@dataclass(frozen=True, eq=False)
class Rule:
    """A mistake at a local derivative: for which rows and operands, what it gives, and how to say it to who made it.

    Of several that fit, the one of the lowest `cost` is the likeliest.
    """

    key: str
    text: str
    gives: Callable[[Local], Any]
    rows: Collection[Primitive] = ops.TABLE.values()
    operands: Callable[[Local], bool] = lambda at: True
    others: Callable[[Local], Iterable[int]] = lambda at: (-1,)  # the other operands that it is tried with
    cost: float = 2.0


LINEAR = (ops.NEGATE, ops.IDENTITY)
FUNCTIONS = [  # of one operand, with a derivative to be forgotten
    row
    for row in ops.TABLE.values()
    if isinstance(row.partials, tuple) and len(row.partials) == 1 + len(row.defaults) and row not in (*LINEAR, ops.ABS)
]
ACTIVATIONS = (
    ops.SIGMOID, ops.TANH, ops.RELU, ops.LEAKY_RELU, ops.ELU, ops.GELU, ops.SILU, ops.SOFTPLUS, ops.SOFTSIGN,
    ops.SIN, ops.COS, ops.ATAN, ops.ERF,
)  # fmt: skip
PRODUCTS = (ops.MULTIPLY, ops.DOT)
SUMS = (ops.ADD, ops.SUBTRACT, ops.TOTAL, ops.DOT)
STEEP = [row for row in FUNCTIONS if row not in (ops.STEP, ops.SIGN)]


def partner(at: Local) -> tuple[int, ...]:
    """The other factor of a product; none for the bias of a weighted sum."""
    half = len(at.node.parents) // 2
    return () if at.operand >= 2 * half else ((at.operand + half) % (2 * half),)


def is_curve(at: Local) -> bool:
    """Whether a function of one operand is taken, or a power of it."""
    return at.operand == 0 and (at.row is not ops.POWER or at.node.parents[1].is_constant)


def is_weight(node: Value, place: int) -> bool:
    """Whether a factor of a product counts as a weight: by its name, or else because it is a leaf and stands first."""
    if node.op:
        return False
    letter = node.label[:1]
    return letter in "wWθ" or (place == 0 and letter not in "xXiayYtT")


def is_parameter(leaf: Value, consumer: Value) -> bool:
    """Whether a leaf counts as a parameter: a weight of this product, or a bias by its name."""
    if consumer._row in PRODUCTS:
        for factor, other, place in factors(consumer):
            if factor is leaf:
                return is_weight(leaf, place) and not is_weight(other, 1 - place)
    return leaf.label[:1] in "bBwWθ"


def _of_weight(at: Local) -> bool:
    """Whether the operand is a weight, and the factor beside it an input."""
    other = [(at.node.parents[place], int(place > at.operand)) for place in partner(at)]
    mine = is_weight(at.parent, 1 - other[0][1]) if other else False
    theirs = is_weight(*other[0]) if other else False
    return mine if mine != theirs else not at.parent.op


def is_term(at: Local) -> bool:
    """Whether the operand stands in a sum as a term."""
    return at.row is not ops.DOT or not partner(at)


def summands(node: Value) -> list[Value]:
    """The terms of a sum that was written with + and −, also of one with a sign or a constant factor before it."""
    while node._row in (ops.NEGATE, ops.MULTIPLY, ops.DIVIDE) and not node.label:
        operands = [parent for parent in node.parents if not parent.is_constant]
        if len(operands) != 1:
            break
        node = operands[0]
    found, stack = [], [node]
    while stack:
        one = stack.pop()
        if one._row in (ops.ADD, ops.SUBTRACT, ops.TOTAL) and (one is node or not one.label):
            stack += reversed(one.parents)
        else:
            found.append(one)
    return found


def are_examples(found: Sequence[Value]) -> bool:
    """Whether the terms of a sum are examples, which share all weights, and not the outputs of one example."""
    searched = [search(term) for term in found]
    shared = set.intersection(*({leaf for leaf in leaves if not leaf.is_constant} for _, leaves, _ in searched))
    weights = {
        factor
        for computed, _, _ in searched
        for node in computed
        if node._row in PRODUCTS
        for factor, other, place in factors(node)
        if is_weight(factor, place) and not is_weight(other, 1 - place)
    }
    return weights <= shared


def factors(node: Value) -> Iterator[tuple[Value, Value, int]]:
    """The factors of a product or a weighted sum, each with that beside it, and whether it is the first or second."""
    half = len(node.parents) // 2
    for place in range(2 * half):
        yield node.parents[place], node.parents[(place + half) % (2 * half)], place // half


def constant_factor(at: Local) -> float | None:
    """The constant that a node multiplies the operand by."""
    if at.row is ops.MULTIPLY and (factor := at.node.parents[1 - at.operand]).is_constant:
        return factor.data
    if at.row is ops.DIVIDE and at.operand == 0 and (divisor := at.node.parents[1]).is_constant and divisor.data:
        return 1.0 / divisor.data
    return None


def share(at: Local) -> float:
    """How many examples a mean is over: n of a constant factor 1/n, or 1/2n, before a sum of them; else 0."""
    factor, count = constant_factor(at), len(summands(at.parent))
    if not factor or count < 2:
        return 0.0
    divisor = round(1.0 / factor)
    if abs(divisor) < 2 or abs(divisor * factor - 1.0) > 1e-9:
        return 0.0
    if divisor % count == 0:
        return float(count)
    return float(abs(divisor)) if count % divisor == 0 else 0.0  # several terms for each


def _half(at: Local) -> bool:
    factor = constant_factor(at)
    return factor is not None and factor != 0.0 and (1.0 / factor) % 2.0 == 0.0


def _inner(at: Local) -> bool:
    """A constant factor that is no half, no two and no mean."""
    factor = constant_factor(at)
    return factor is not None and factor not in (0.5, 2.0, 1.0, -1.0) and not share(at)


def _other_operands(at: Local) -> list[int]:
    """The other operands that a gradient reaches; but not the other factor, whose derivative is this one's value."""
    partners = partner(at) if at.row in PRODUCTS else ()
    others = [place for place, parent in enumerate(at.node.parents) if place != at.operand and not parent.is_constant]
    return [place for place in others if place not in partners and at.node.parents[place] is not at.parent][:12]


def _inputs(at: Local) -> range:
    """The second factors of a weighted sum."""
    half = len(at.node.parents) // 2
    return range(half, 2 * half)


def _weights(at: Local) -> range:
    return range(len(at.node.parents) // 2)


def _variable(at: Local) -> bool:
    """Whether the factor beside the operand is a variable."""
    return all(not at.node.parents[place].is_constant for place in partner(at))


_OTHER_CURVES = [ops.SIGMOID, ops.TANH, ops.RELU, ops.SOFTPLUS, ops.EXP, ops.LOG, ops.SQRT, ops.SIN, ops.COS]


def _of_another(row: Primitive) -> Rule:
    return Rule(
        "wrong_activation_derivative",
        f"you took the derivative of {row.symbol} for {{slope}}",
        lambda at: row.derivatives(row(at.x), (at.x,), textbook=True)[0],
        [one for one in FUNCTIONS if one is not row],
        lambda at: at.operand == 0,
        cost=1.9,
    )


_IN_TERMS_OF_OUT: list[tuple[Callable[[Any], Any], str, Collection[Primitive]]] = [
    (
        lambda a: 1.0 - a**2,
        "1 − {node}², which is the derivative of tanh,",
        [row for row in STEEP if row is not ops.TANH],
    ),
    (
        lambda a: a * (1.0 - a),
        "{node}·(1 − {node}), which is the derivative of σ,",
        [r for r in STEEP if r is not ops.SIGMOID],
    ),
    (lambda a: 1.0 - a, "1 − {node}", STEEP),
    (lambda a: a * (1.0 + a), "{node}·(1 + {node})", (ops.SIGMOID,)),
    (lambda a: 1.0 + a**2, "1 + {node}²", (ops.TANH,)),
]


def _over_out(gives: Callable[[Any], Any]) -> Callable[[Local], Any]:
    return lambda at: gives(at.out)


RULES: tuple[Rule, ...] = (
    Rule(
        "sign_flipped",
        "you lost the minus before {parent}",
        lambda at: -at.derivative,
        (ops.SUBTRACT, ops.NEGATE),
        lambda at: at.row is ops.NEGATE or at.operand == 1,
        cost=1.0,
    ),
    Rule(
        "sign_flipped",
        "you turned the sign of {right}",
        lambda at: -at.derivative,
        [row for row in ops.TABLE.values() if row is not ops.NEGATE],
        lambda at: at.row not in SUMS or not is_term(at),
        cost=2.2,
    ),
    Rule(
        "sign_flipped",
        "you turned the sign of the term {parent}",
        lambda at: -at.derivative,
        SUMS,
        lambda at: is_term(at) and (at.row is not ops.SUBTRACT or at.operand == 0),
        cost=2.2,
    ),
    Rule(
        "activation_derivative_missing",
        "you left out {slope}",
        lambda at: 1.0,
        [*FUNCTIONS, ops.POWER],
        is_curve,
        cost=1.0,
    ),
    Rule(
        "derivative_at_a_not_z",
        "you took the derivative of {function} at {node} and not at {parent}",
        lambda at: at.rule(at.again(at.out), at.out),
        [*FUNCTIONS, ops.POWER],
        is_curve,
        cost=1.1,
    ),
    Rule(
        "derivative_at_z_not_a",
        "you put {parent} where {node} belongs in {right}",
        lambda at: at.rule(at.x, at.x),
        [row for row in FUNCTIONS if row is not ops.EXP],
        lambda at: at.operand == 0,
        cost=1.2,
    ),
    Rule(
        "derivative_at_z_not_a",
        "you took {parent} for {slope}",
        lambda at: at.x,
        (ops.EXP,),
        cost=1.2,
    ),
    Rule(
        "wrong_activation_derivative",
        "you took {node} itself for {slope}",
        lambda at: at.out,
        FUNCTIONS,
        lambda at: at.operand == 0,
        cost=1.5,
    ),
    *[
        Rule(
            "wrong_activation_derivative",
            f"you took {text} for {{slope}}",
            _over_out(gives),
            rows,
            lambda at: at.operand == 0,
            cost=1.6,
        )
        for gives, text, rows in _IN_TERMS_OF_OUT
    ],
    *map(_of_another, _OTHER_CURVES),
    Rule(
        "wrong_activation_derivative",
        "you took max(0, {parent}) for {slope}",
        lambda at: ops.RELU(at.x),
        [row for row in FUNCTIONS if row is not ops.RELU],
        lambda at: at.operand == 0,
        cost=2.2,
    ),
    Rule(
        "activation_derivative_twice",
        "you used {slope} twice",
        lambda at: at.derivative**2,
        [*FUNCTIONS, ops.POWER],
        is_curve,
        cost=1.3,
    ),
    Rule(
        "activation_derivative_twice",
        "you multiplied {slope} by {node} once more",
        lambda at: at.derivative * at.out,
        (ops.SIGMOID,),
        cost=2.6,
    ),
    Rule("abs_sign_missing", "you left out the sign of {parent}", lambda at: 1.0, (ops.ABS,), cost=1.0),
    Rule(
        "log10_for_ln",
        "you took the logarithm to base 10 for the natural one",
        lambda at: at.derivative / math.log(10.0),
        (ops.LOG, ops.LOG1P),
        cost=1.4,
    ),
    Rule(
        "log10_for_ln",
        "you took the natural logarithm for that to base 10",
        lambda at: at.derivative * math.log(10.0),
        (ops.LOG10, ops.LOG),
        cost=1.4,
    ),
    Rule(
        "log10_for_ln",
        "you took the logarithm of {other} to base 10, and {right} has the natural one",
        lambda at: at.derivative / math.log(10.0),
        (ops.POWER,),
        lambda at: at.operand == 1,
        lambda at: (0,),
        cost=1.4,
    ),
    Rule(
        "factor_2_missing",
        "you did not bring the exponent {other} in front",
        lambda at: at.derivative / at.operands[1],
        (ops.POWER,),
        lambda at: at.operand == 0 and at.node.parents[1].data not in (0.0, 1.0),
        lambda at: (1,),
        cost=1.0,
    ),
    Rule(
        "factor_2_missing",
        "you brought the exponent {other} in front and dropped the power of {parent}",
        lambda at: at.operands[1],
        (ops.POWER,),
        lambda at: at.operand == 0 and at.node.parents[1].data not in (0.0, 1.0),
        lambda at: (1,),
        cost=2.4,
    ),
    Rule(
        "factor_half_ignored",
        "you left out the ½ of {slope}",
        lambda at: 2.0 * at.derivative,
        (ops.SQRT,),
        cost=1.2,
    ),
    Rule(
        "power_exponent_kept",
        "you did not lower the exponent {other} by 1",
        lambda at: at.operands[1] * at.out,
        (ops.POWER,),
        lambda at: at.operand == 0,
        lambda at: (1,),
        cost=1.1,
    ),
    Rule(
        "power_exponent_kept",
        "you did not lower the exponent ½ of the square root by 1",
        lambda at: 0.5 * at.out,
        (ops.SQRT,),
        cost=1.7,
    ),
    Rule(
        "integrated_instead",
        "you integrated {node}, and its derivative was asked",
        lambda at: at.x * at.out / (at.operands[1] + 1.0),
        (ops.POWER,),
        lambda at: at.operand == 0 and at.node.parents[1].data != -1.0,
        cost=1.6,
    ),
    *[
        Rule("integrated_instead", "you integrated {function}, and its derivative was asked", gives, (row,), cost=1.6)
        for row, gives in (
            (ops.LOG, lambda at: at.x * at.out - at.x),
            (ops.SQRT, lambda at: at.x * at.out * (2.0 / 3.0)),
            (ops.SIGMOID, lambda at: ops.SOFTPLUS(at.x)),
            (ops.TANH, lambda at: ops.LOG(ops.COSH(at.x))),
        )
    ],
    *[
        Rule("integrated_instead", "you integrated {function}, and its derivative was asked", gives, (row,), cost=2.0)
        for row, gives in ((ops.SIN, lambda at: -ops.COS(at.x)), (ops.COS, lambda at: ops.SIN(at.x)))
    ],
    Rule(
        "power_rule_on_exponential",
        "you took the rule for powers of {other}, and {parent} is the exponent",
        lambda at: at.x * ops.POWER(at.operands[0], at.x - 1.0),
        (ops.POWER,),
        lambda at: at.operand == 1,
        lambda at: (0,),
        cost=1.0,
    ),
    Rule(
        "power_rule_on_exponential",
        "you left out the factor log({other}), which the derivative of a power by its exponent has",
        lambda at: at.out,
        (ops.POWER,),
        lambda at: at.operand == 1,
        lambda at: (0,),
        cost=1.8,
    ),
    Rule(
        "power_rule_on_exponential",
        "you took the rule for powers, and {parent} is the exponent",
        lambda at: at.x * ops.EXP(at.x - 1.0),
        (ops.EXP,),
        cost=1.2,
    ),
    Rule(
        "quotient_rule",
        "you did not square the divisor {parent} in the derivative of {node}",
        lambda at: -at.out,
        (ops.DIVIDE,),
        lambda at: at.operand == 1,
        cost=1.2,
    ),
    Rule(
        "quotient_rule",
        "you turned the difference in the quotient rule around",
        lambda at: -at.derivative,
        (ops.DIVIDE,),
        lambda at: at.operand == 1,
        cost=1.9,
    ),
    Rule(
        "quotient_rule",
        "you left out the dividend in the derivative of {node} by its divisor {parent}",
        lambda at: at.derivative / at.operands[0],
        (ops.DIVIDE,),
        lambda at: at.operand == 1 and not at.node.parents[0].is_constant,
        cost=2.1,
    ),
    Rule(
        "quotient_rule",
        "you multiplied by {other}, and {parent} is divided by it",
        lambda at: at.operands[1],
        (ops.DIVIDE,),
        lambda at: at.operand == 0 and not at.node.parents[1].is_constant,
        lambda at: (1,),
        cost=2.0,
    ),
    Rule(
        "quotient_rule",
        "you left out the divisor {other}",
        lambda at: 1.0,
        (ops.DIVIDE,),
        lambda at: at.operand == 0 and not at.node.parents[1].is_constant,
        lambda at: (1,),
        cost=2.0,
    ),
    Rule(
        "weight_for_input",
        "you took {parent} itself, and the derivative is the other factor, {other}",
        lambda at: at.x,
        PRODUCTS,
        lambda at: _variable(at) and _of_weight(at),
        partner,
        cost=1.3,
    ),
    Rule(
        "weight_for_input",
        "you took {parent} itself, and the derivative is the other factor, {other}",
        lambda at: at.x,
        PRODUCTS,
        lambda at: _variable(at) and not _of_weight(at),
        partner,
        cost=1.9,
    ),
    Rule(
        "input_factor_missing",
        "you left out the factor {other}",
        lambda at: 1.0,
        PRODUCTS,
        lambda at: _variable(at) and _of_weight(at),
        partner,
        cost=1.1,
    ),
    Rule(
        "weight_factor_missing",
        "you left out the factor {other}",
        lambda at: 1.0,
        PRODUCTS,
        lambda at: _variable(at) and not _of_weight(at),
        partner,
        cost=1.1,
    ),
    Rule(
        "factor_half_ignored",
        "you left out the factor ½",
        lambda at: 2.0 * at.derivative,
        (ops.MULTIPLY, ops.DIVIDE),
        _half,
        cost=1.0,
    ),
    Rule(
        "factor_half_ignored",
        "you used the factor ½ twice",
        lambda at: 0.5 * at.derivative,
        (ops.MULTIPLY, ops.DIVIDE),
        _half,
        cost=1.8,
    ),
    Rule(
        "factor_2_missing",
        "you left out the factor 2",
        lambda at: 0.5 * at.derivative,
        (ops.MULTIPLY,),
        lambda at: constant_factor(at) == 2.0,
        cost=1.2,
    ),
    Rule(
        "chain_inner_missing",
        "you left out the inner derivative {right}",
        lambda at: 1.0,
        (ops.MULTIPLY, ops.DIVIDE),
        _inner,
        cost=1.1,
    ),
    Rule(
        "sum_for_mean",
        "you left out the 1/n of the mean over {terms}",
        lambda at: at.derivative * share(at),
        (ops.MULTIPLY, ops.DIVIDE),
        lambda at: share(at) > 0.0,
        cost=0.9,
    ),
    Rule(
        "mean_twice",
        "you used the 1/n of the mean over {terms} twice",
        lambda at: at.derivative / share(at),
        (ops.MULTIPLY, ops.DIVIDE),
        lambda at: share(at) > 0.0,
        cost=1.2,
    ),
    Rule("sum_for_mean", "you left out the mean's 1/n", lambda at: 1.0, (ops.MEAN,), cost=0.9),
    Rule("mean_twice", "you used the mean's 1/n twice", lambda at: at.derivative**2, (ops.MEAN,), cost=1.2),
    Rule(
        "bias_chain",
        "you treated the term {parent} as a constant",
        lambda at: 0.0,
        SUMS,
        is_term,
        cost=1.9,
    ),
    Rule(
        "bias_chain",
        "you took {parent} itself, and the derivative by a term is {right}",
        lambda at: at.x,
        SUMS,
        is_term,
        cost=2.1,
    ),
    Rule(
        "bias_chain",
        "you multiplied by {other}, and {parent} stands alone in the sum",
        lambda at: at.other_value,
        (ops.DOT,),
        is_term,
        _inputs,
        cost=1.3,
    ),
    Rule(
        "bias_chain",
        "you multiplied by {other}, and {parent} stands alone in the sum",
        lambda at: at.other_value,
        (ops.DOT,),
        is_term,
        _weights,
        cost=1.8,
    ),
    Rule(
        "threshold_sign",
        "you lost the sign of the threshold {parent}, which is subtracted",
        lambda at: -at.derivative,
        (ops.SUBTRACT,),
        lambda at: at.operand == 1 and not at.parent.op,
        cost=2.0,
    ),
    Rule(
        "threshold_sign",
        "you subtracted {parent}, as a threshold, and it is added",
        lambda at: -at.derivative,
        (ops.ADD, ops.TOTAL, ops.DOT),
        lambda at: not at.parent.op and is_term(at),
        cost=2.6,
    ),
    Rule(
        "softmax_diagonal_only",
        "you treated {node} as if it did not depend on {parent}",
        lambda at: 0.0,
        (ops.SOFTMAX,),
        lambda at: at.operand > 0,
        cost=1.2,
    ),
    Rule(
        "softmax_diagonal_only",
        "you took {node}·(1 − {node}), which is the derivative by {other}",
        lambda at: at.out * (1.0 - at.out),
        (ops.SOFTMAX,),
        lambda at: at.operand > 0,
        lambda at: (0,),
        cost=1.4,
    ),
    Rule(
        "softmax_diagonal_only",
        "you left out the softmax's derivative, {right}",
        lambda at: 1.0,
        (ops.SOFTMAX,),
        lambda at: at.operand == 0,
        cost=1.4,
    ),
    Rule(
        "wrong_variable",
        "you took the derivative by {other}, and not by {parent}",
        lambda at: at.other_derivative,
        [row for row in ops.TABLE.values() if row not in (ops.ADD, ops.SUBTRACT, ops.TOTAL)],
        others=_other_operands,
        cost=2.5,
    ),
)
"""Mistakes at a local derivative. A rule gives a derivative of the number type that it is asked in."""

_RULES_OF = {row: [rule for rule in RULES if row in rule.rows] for row in ops.TABLE.values()}


def tried_rules(local: Local) -> Iterator[tuple[Rule, Local]]:
    """The rules for an operand, each with the operand beside it that it uses."""
    for rule in _RULES_OF[local.row]:
        if rule.operands(local):
            for other in rule.others(local):
                yield rule, local if other < 0 else replace(local, other=other)


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Proper choices of the paths, the largest first: every one of a few, and of many all but one, and one."""
    sizes: Iterable[int] = range(count - 1, 0, -1) if count <= MOST_PATHS else (count - 1, 1)
    for size in sizes:
        yield from combinations(range(count), size)


def cost_of(rule: Rule, local: Local) -> float:
    """A sign is lost where there is one: at a derivative of −1, or of another sign than a plain factor."""
    if rule.key == "threshold_sign":
        return 0.9 if local.parent.label.casefold().startswith(("th", "θ")) else rule.cost
    if rule.key in ("sum_for_mean", "mean_twice") and share(local) == 2.0:  # or is it the ½ of a square?
        return rule.cost if are_examples(summands(local.parent)) else rule.cost + 1.0
    if local.row is ops.POWER and rule.key.startswith(("activation", "derivative_at")):
        return 2.6
    if rule.key == "bias_chain" and local.parent.op:
        return rule.cost + 0.6
    if rule.key != "sign_flipped" or rule.cost == 1.0:
        return rule.cost
    return 1.8 if local.row in (ops.SIN, ops.COS, ops.DIVIDE) else rule.cost
