"""Losses: one number that says how far outputs are from targets.

`outputs` are what a model gives: a Value or a list of them for one example, or a list over examples. `targets` are
numbers or Values in the same shape. Each loss has a term for each output (cross-entropy and the classroom's half
squared error, for each example); `reduction` takes their `"mean"` or their `"sum"`.
"""

from __future__ import annotations

import inspect
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

import engine
from engine import Value, dot, log, logsumexp, maximum, mean, softplus, total
from engine.text import nearest, shorten
from nn.data import as_array, refuse_not_finite

Reduction: TypeAlias = Literal["mean", "sum"]
Loss: TypeAlias = Callable[..., Value]

SMALLEST_LOGARITHM = -100.0
"""Where binary cross-entropy ends, as in PyTorch: a probability of 0 would cost ∞."""


def mse(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """Mean squared error, (o − t)² over all outputs."""
    return _reduced([(o - t) ** 2 for o, t in _pairs(outputs, targets)], reduction)


def half_squared_error(outputs: Any, targets: Any, reduction: Reduction = "sum") -> Value:
    """½·Σ (o − t)², the classroom's, whose derivative is o − t; the mean is that over examples, 1/(2n)·Σ (o − t)².

    A flat list with the `"mean"` is a list of examples with one output each.
    """
    halves = [0.5 * (t - o) ** 2 for o, t in _pairs(outputs, targets)]
    if reduction == "mean" and len(halves) > 1 and len(outputs) > 1:
        return total(halves) / len(outputs)
    return _reduced(halves, "sum" if reduction == "mean" else reduction)


def mae(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """Mean absolute error, |o − t| over all outputs."""
    return _reduced([abs(o - t) for o, t in _pairs(outputs, targets)], reduction)


def binary_cross_entropy(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """−t·log p − (1 − t)·log(1 − p) over all outputs, which are probabilities, as those of a sigmoid.

    Logarithms end at −100, as in PyTorch. The derivative is the formula's, and 0 there; PyTorch divides by p·(1 − p)
    or 1e-12, whichever is larger. Raises ValueError for outputs or targets outside 0 … 1.
    """
    terms = []
    for p, t in _pairs(outputs, targets):
        if not 0.0 <= _data(p) <= 1.0:
            raise ValueError(
                f"binary_cross_entropy takes probabilities, and one is {_data(p):.6g}{_of(p)}. Give the net "
                'output="sigmoid", or take binary_cross_entropy_with_logits, which has the sigmoid in it.'
            )
        _refuse_no_share("binary_cross_entropy", t)
        terms.append(-(t * _bounded_log(p) + (1.0 - t) * _bounded_log(1.0 - p)))
    return _reduced(terms, reduction)


def _bounded_log(p: Value) -> Value:
    return log(maximum(p, math.exp(SMALLEST_LOGARITHM)))


def binary_cross_entropy_with_logits(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """Binary cross-entropy of p = σ(o), as t·softplus(−o) + (1 − t)·softplus(o), which keeps its digits for any o.

    Raises ValueError for targets outside 0 … 1.
    """
    terms = []
    for o, t in _pairs(outputs, targets):
        _refuse_no_share("binary_cross_entropy_with_logits", t)
        terms.append(t * softplus(-o) + (1.0 - t) * softplus(o))
    return _reduced(terms, reduction)


def cross_entropy(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """−log softmax(o)[t] for each example, as logsumexp(o) − o[t]; the derivative by o is p − y.

    A target is the class, counted from 0, or a list with the probability of each class. Raises ValueError for one
    output alone, a class out of range, and probabilities that are negative or don't add up to 1.
    """
    if not _is_list(outputs):
        outputs = [outputs]
    if not len(outputs):
        raise ValueError("There are no outputs, and so there is no loss.")
    one_example = not _is_list(outputs[0])
    rows, wanted = ([outputs], [targets]) if one_example else (outputs, targets)
    _refuse_lengths(rows, wanted)
    return _reduced([_class_loss(row, target) for row, target in zip(rows, wanted, strict=True)], reduction)


def _class_loss(outputs: Sequence[Any], target: Any) -> Value:
    _refuse_one_class(len(outputs))
    logits = [_as_value(output) for output in outputs]
    whole = logsumexp(logits)
    if not _is_list(target):
        if isinstance(target, Value):
            return whole - dot(_one_hot(target, len(logits)), logits)
        return whole - logits[as_class(target, len(logits))]
    shares = list(target)
    if len(shares) != len(logits):
        raise ValueError(f"A target has {len(shares)} class probabilities, and there are {len(logits)} outputs.")
    _refuse_shares([_data(share) for share in shares])
    return dot(shares, [whole - logit for logit in logits])


def _refuse_one_class(outputs: int) -> None:
    if outputs < 2:
        raise ValueError(
            "cross_entropy needs an output for each class, at least two. For one output that says yes or no take "
            "binary_cross_entropy_with_logits."
        )


def _refuse_shares(shares: Sequence[float]) -> None:
    if not min(shares) >= 0.0 or not abs(sum(shares) - 1.0) <= 1e-6:
        raise ValueError(
            f"Class probabilities must not be negative and must add up to 1: {shorten(str(shares))} adds up to "
            f"{sum(shares):.6g}. A target that is no list is the number of the class."
        )


def _one_hot(target: Value, classes: int) -> list[Value]:
    """1 for the class that a Value names and 0 for the others, which follow it in a refresh."""
    as_class(target.data, classes)
    return [engine.step(0.5 - engine.abs(target - k)) for k in range(classes)]


def as_class(target: Any, classes: int) -> int:
    """The number of a class. Raises TypeError for what is none, and ValueError outside 0 … classes − 1."""
    if isinstance(target, str) or not hasattr(target, "__float__") or not float(target).is_integer():
        raise TypeError(f"A class is a whole number from 0 to {classes - 1}, not {shorten(repr(target))}.")
    if not 0 <= target < classes:
        raise ValueError(f"Class {int(target)} is out of range: there are {classes}, numbered 0 to {classes - 1}.")
    return int(target)


def hinge(outputs: Any, targets: Any, reduction: Reduction = "mean") -> Value:
    """Max-margin loss max(0, 1 − t·o) over all outputs, with targets −1 and 1. Cortes and Vapnik 1995."""
    terms = []
    for o, t in _pairs(outputs, targets):
        _refuse_no_sign("hinge", t)
        terms.append((1.0 - t * o).relu())
    return _reduced(terms, reduction)


LOSSES: dict[str, Loss] = {
    function.__name__: function
    for function in (
        mse,
        half_squared_error,
        mae,
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        hinge,
    )
}

OF_LOGITS = ("binary_cross_entropy_with_logits", "cross_entropy")
"""The losses that take any number as an output, and have a sigmoid or a softmax in them."""


def as_loss(given: str | Loss) -> tuple[str, Loss]:
    """The name of a loss, empty for one's own, and its function. Raises ValueError or TypeError where there is none."""
    if isinstance(given, str):
        if given not in LOSSES:
            raise ValueError(f"There is no loss {shorten(given)!r}. {nearest(given, LOSSES)}")
        return given, LOSSES[given]
    if not callable(given):
        raise TypeError(f"A loss is a name or a function of outputs and targets, not {type(given).__name__}.")
    inner = given.func if isinstance(given, partial) else given
    return next((name for name, function in LOSSES.items() if function is inner), ""), given


def is_sum(loss: Loss) -> bool:
    """Whether a loss of the table, as given, is the sum over its outputs and not the mean."""
    inner, keywords = (loss.func, loss.keywords) if isinstance(loss, partial) else (loss, {})
    if inner not in LOSSES.values():
        return False
    return bool(keywords.get("reduction", inspect.signature(inner).parameters["reduction"].default) == "sum")


def refuse_no_graph(loss: Any) -> None:
    """Raise TypeError for a loss that is no Value, and ValueError for one that does not come from the net."""
    if not isinstance(loss, Value):
        raise TypeError(f"The loss must return a Value, and it returned {type(loss).__name__} {loss!r:.60}.")
    if not loss.op:
        raise ValueError(
            f"The loss is the leaf {loss!r}: it no longer knows the net, and nothing could be learned from it. Compute "
            "it from the outputs themselves, not from their `.data`."
        )


_WARNINGS = threading.Lock()  # `catch_warnings` is one for all threads


def pass_back(loss: Value, *, infinite: Literal["error", "ignore"]) -> None:
    """The backward pass, where an infinite gradient is an error (RuntimeWarning, raised) or is let pass unsaid."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter(infinite, RuntimeWarning)
        loss.backward()


def per_example(loss: Loss) -> Callable[[float, int], float]:
    """What a loss or metric says of so many examples, told for one: a sum is divided by their number."""
    return (lambda value, examples: value / examples) if is_sum(loss) else (lambda value, examples: value)


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, also under `functools.partial`."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))


def refuse_activation(output: str, name: str) -> None:
    """Raise ValueError where an output with that activation does not fit the loss of that name."""
    if name in OF_LOGITS and output != "linear":
        inside = "a softmax" if name == "cross_entropy" else "a sigmoid"
        other = name == "binary_cross_entropy_with_logits" and output == "sigmoid"
        instead = " or take binary_cross_entropy with the sigmoid," if other else ""
        raise ValueError(
            f"{name} expects logits, any numbers, and has {inside} in it: after a {output} output they would be "
            f'squashed twice. Give the net output="linear",{instead} and the probabilities come out right.'
        )
    if name == "binary_cross_entropy" and output != "sigmoid":
        raise ValueError(
            f"binary_cross_entropy expects probabilities, and a {output} output gives other numbers. Give the net "
            'output="sigmoid", or a linear output and the loss binary_cross_entropy_with_logits, which has the sigmoid '
            "in it."
        )


def as_targets(loss: str, y: Any, n_examples: int, n_outputs: int | None, name: str = "y") -> list[Any]:
    """The targets as a list over examples, as the loss of that name takes them; those of a loss of one's own as given.

    Raises TypeError and ValueError for another number of them, another shape, and what the loss can't take, with the
    row where that stands.
    """
    if loss not in LOSSES:
        if not hasattr(y, "__len__") or len(y) != n_examples:
            given = f"has {len(y)} targets" if hasattr(y, "__len__") else f"is {shorten(repr(y))}"
            raise ValueError(f"There are {n_examples} examples, and {name} {given}.")
        return list(y)
    array = as_array(y, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have a target for each of the {n_examples} examples, and it is one number.")
    refuse_not_finite(array, name)
    if array.ndim == 2 and array.shape[1] == 1 and (n_outputs == 1 or loss == "cross_entropy"):
        array = array[:, 0]
    if len(array) != n_examples:
        raise ValueError(f"There are {n_examples} examples, and {name} has {len(array)} targets.")
    if loss == "cross_entropy":
        _refuse_one_class(n_outputs or 2)
    if loss == "cross_entropy" and array.ndim == 1:
        classes = n_outputs or sys.maxsize
        return [_at_row(row, name, as_class, target, classes) for row, target in enumerate(array.tolist())]
    expected = (n_examples,) if n_outputs == 1 else (n_examples, n_outputs)
    if n_outputs is not None and array.shape != expected:
        raise ValueError(
            f"The model has {n_outputs} output{'s' * (n_outputs > 1)}, so that {name} must have the shape {expected}, "
            f"and it has {array.shape}."
            + (" For classes counted from 0 take the loss cross_entropy." if array.ndim == 1 and n_outputs > 1 else "")
        )
    for row, numbers in enumerate(array.reshape(n_examples, -1).tolist()):
        if loss == "cross_entropy":
            _at_row(row, name, _refuse_shares, numbers)
        elif loss in _TARGETS:
            _at_row(row, name, _refuse_targets, loss, numbers)
    return array.tolist()  # type: ignore[no-any-return]


def _at_row(row: int, name: str, check: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return check(*arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}, row {row} (counted from 0): {error}") from None


def _refuse_targets(loss: str, targets: Sequence[float]) -> None:
    for target in targets:
        _TARGETS[loss](loss, target)


def _reduced(terms: list[Value], reduction: str) -> Value:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"There is no reduction {reduction!r:.60}: take 'mean' or 'sum'.")
    if len(terms) == 1:
        return terms[0]
    return mean(terms) if reduction == "mean" else total(terms)


def _pairs(outputs: Any, targets: Any) -> list[tuple[Any, Any]]:
    """Each output with its target, where both have the same shape. Raises ValueError otherwise."""
    pairs = list(_paired(outputs, targets))
    if not pairs:
        raise ValueError("There are no outputs, and so there is no loss.")
    return pairs


def _paired(outputs: Any, targets: Any) -> Iterator[tuple[Any, Any]]:
    if _is_list(outputs) and _is_list(targets):
        _refuse_lengths(outputs, targets)
        for output, target in zip(outputs, targets, strict=True):
            yield from _paired(output, target)
    elif _is_list(outputs) or _is_list(targets):
        shown = [f"a list of {len(x)}" if _is_list(x) else "one number" for x in (outputs, targets)]
        raise ValueError(f"Targets must have the shape of the outputs: here are {shown[0]} and {shown[1]}.")
    else:
        if not isinstance(targets, Value):
            targets = _as_number(targets)
        yield _as_value(outputs), targets


def _as_value(output: Any) -> Value:
    return output if isinstance(output, Value) else Value(output)


def _is_list(x: Any) -> bool:
    return isinstance(x, Sequence | np.ndarray) and not isinstance(x, str) and getattr(x, "ndim", 1) > 0


def _as_number(target: Any) -> float:
    if isinstance(target, str) or not hasattr(target, "__float__"):
        raise TypeError(f"A target is a number or a Value, not {type(target).__name__} {target!r:.60}.")
    try:
        number = float(target)
    except OverflowError:
        raise ValueError(f"A target is too large for a float: {shorten(str(target))}.") from None
    if math.isnan(number):
        raise ValueError("A target is nan. Leave that example out, or fill in a number.")
    return number


def _refuse_lengths(outputs: Any, targets: Any) -> None:
    if not _is_list(targets) or len(outputs) != len(targets):
        count = f"{len(targets)} targets" if _is_list(targets) else "one target"
        raise ValueError(f"Targets must have the shape of the outputs: here are {len(outputs)} outputs and {count}.")


def _refuse_no_share(loss: str, target: Any) -> None:
    if not 0.0 <= _data(target) <= 1.0:
        raise ValueError(f"{loss} takes targets from 0 to 1, and one is {_data(target):.6g}.")


def _refuse_no_sign(loss: str, target: Any) -> None:
    if abs(_data(target)) != 1.0:
        raise ValueError(f"{loss} takes targets −1 and 1, and one is {_data(target):.6g}. For 0 and 1 write 2*t − 1.")


_TARGETS: dict[str, Callable[[str, Any], None]] = {
    "binary_cross_entropy": _refuse_no_share,
    "binary_cross_entropy_with_logits": _refuse_no_share,
    "hinge": _refuse_no_sign,
}


def _data(x: Any) -> float:
    return x.data if isinstance(x, Value) else float(x)


def _of(x: Any) -> str:
    return f" ({shorten(x.label)})" if isinstance(x, Value) and x.label else ""
