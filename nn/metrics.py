"""Metrics: how good outputs are, in numbers that nobody differentiates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from engine import Value
from engine.text import nearest, shorten
from nn.losses import LOSSES, OF_LOGITS, as_targets, name_of, per_example

Metric: TypeAlias = Callable[[list[Any], list[Any]], float]
"""A function of outputs and targets, both lists of numbers (or of lists of them), an entry an example."""


def accuracy(outputs: Sequence[Any], targets: Sequence[Any], *, threshold: float = 0.5) -> float:
    """The share of examples told right: the largest of several outputs, or one that is above `threshold`.

    A target is a class, the probabilities of the classes, or for one output 0 and 1 (or −1 and 1).
    """
    if not len(outputs) or len(outputs) != len(targets):
        raise ValueError(f"Accuracy needs a target for each output; here are {len(outputs)} and {len(targets)}.")
    right = [
        _largest(output) == (target if np.ndim(target) == 0 else _largest(target))
        if np.size(output) > 1
        else bool(np.ravel(output)[0] > threshold) == _is_yes(target)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return sum(right) / len(right)


def _largest(numbers: Any) -> int:
    """Where the largest stands, the first of several."""
    listed = numbers.ravel().tolist() if isinstance(numbers, np.ndarray) else list(numbers)
    return listed.index(max(listed))


def _is_yes(target: Any) -> bool:
    number = float(np.ravel(target)[0])
    if number not in (-1.0, 0.0, 1.0):
        raise ValueError(f"Accuracy of one output needs targets 0 and 1, or −1 and 1, and one is {number:g}.")
    return number == 1.0


def as_metrics(
    given: Sequence[str | Metric] | str | Metric, loss: str, targets: Sequence[Any], outputs: int | None
) -> dict[str, Metric]:
    """The metrics by their names, for a loss of that name and such targets; accuracy takes the threshold that fits.

    Raises ValueError for an unknown name, for two metrics of one name and for one that can't judge such targets.
    """
    found: dict[str, Metric] = {}
    if given is None or not isinstance(given, Iterable | Callable):
        raise TypeError(f"metrics is a list of names and functions, not {given!r:.60}.")
    for metric in [given] if isinstance(given, str) or callable(given) else given:
        if callable(metric):
            name, metric = name_of(metric), _of_numbers(metric)
        elif metric == "accuracy":
            _refuse_no_classes(targets, outputs)
            of_scores = loss in ("hinge", *OF_LOGITS) or min(map(np.min, targets)) < 0.0
            name, metric = metric, partial(accuracy, threshold=0.0 if of_scores else 0.5)
        elif metric in LOSSES:
            as_targets(metric, targets, len(targets), outputs)  # refuses what it can't take
            name, metric = metric, _of_numbers(LOSSES[metric])
        else:
            raise ValueError(f"There is no metric {metric!r:.60}. {nearest(str(metric), ['accuracy', *LOSSES])}")
        if name in found:
            raise ValueError(f"Two metrics are called {name!r}: give one of them a name of its own, with def.")
        found[name] = metric
    return found


def _of_numbers(metric: Callable[..., Any]) -> Metric:
    """What a metric or a loss says, as a number for one example. Raises TypeError where it says none."""
    share = per_example(metric)

    def told(outputs: list[Any], targets: list[Any]) -> float:
        found = metric(outputs, targets)
        found = found.data if isinstance(found, Value) else found
        if isinstance(found, str) or not hasattr(found, "__float__"):
            raise TypeError(f"The metric {name_of(metric)} must return a number, and it returned {found!r:.60}.")
        return share(float(found), len(outputs))

    return told


def _refuse_no_classes(targets: Sequence[Any], outputs: int | None) -> None:
    """Raise ValueError for targets of which accuracy can't say whether they were met."""
    for row, target in enumerate(targets):
        if np.size(target) > 1:
            fits = sum(np.equal(target, np.max(target))) == 1
        else:
            number = float(np.ravel(target)[0])
            fits = number.is_integer() and (outputs != 1 or abs(number) <= 1.0)
        if not fits:
            raise ValueError(
                f"accuracy needs targets that name one class, and that of row {row} (counted from 0) is "
                f"{shorten(str(target))}."
            )
