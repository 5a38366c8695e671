"""Two derivations, one answer: the chapter's formulas and the engine, number by number.

Each formula is given the engine's numbers to work on, so that what rounding has done before it does not count, and
must give the engine's result to 1e-12 of the terms that it sums. The numbers that the worksheet shows, which the
formulas have made from each other, must be the engine's as far as rounding lets them: to 1e-12, or to what changes when
every matrix on the way is changed at random in its 14th digit (La Porte and Vignes 1974, CESTAC).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import Value
from nn.activations import Array
from nn.derivation import (
    LOSS_RULES,
    LayerSheet,
    derive,
    normalize,
    on_arrays,
    softmax_step,
    through_normalization,
    weighted_sum,
)
from nn.layers import MLP, Activity, Layer, layers_of, unpacked
from nn.losses import LOSSES
from nn.module import undisturbed

RTOL = 1e-12
RTOL_OF_ONES_OWN = 1e-8
"""For an activation of one's own, whose slope is numeric."""
NUDGE = 1e-14
SMALLEST = 1e-290
"""How far matrices are shaken; and the size below which floats have no digits to compare."""
CANCELLING = ("gelu", "silu")
"""Activations whose slope is a sum that can cancel, of terms of about 1."""


class Disagreement(ArithmeticError):
    """The chapter's formulas and the engine's chain rule do not give the same number."""


class Compared(NamedTuple):
    """A matrix by its formula from the engine's numbers, as shown and as shaken, the engine's, and its terms."""

    what: str
    formula: Array
    shown: tuple[Array, ...]
    engine: Array
    terms: Array


def refuse_disagreement(
    model: MLP | Layer,
    rows: Sequence[Any],
    targets: Sequence[Any],
    T: Array,
    loss: str,
    lr: float | None,
    sheets: Sequence[LayerSheet],
    value: float,
) -> None:
    """Raise Disagreement, naming the number, unless formulas and engine agree; the model stays as it was."""
    X = np.array(rows).T
    shaken = _shaken(model, X, T, loss, lr) or [(sheets, value)]
    own = any(sheet.activation.is_own for sheet in sheets)
    with undisturbed(model), np.errstate(all="ignore"):
        model.zero_grad()
        activities = model.activities(rows)
        engines = LOSSES[loss]([unpacked(row) for row in activities[-1].A], targets)
        engines.backward()
        A = X
        for place, (layer, sheet, activity) in enumerate(zip(layers_of(model), sheets, activities, strict=True)):
            last = place == len(sheets) - 1
            after = None if last else (sheets[place + 1].W, _columns(activities[place + 1].Z, _grad))
            for compared in _of_layer(
                layer, (sheet, *(one[place] for one, _ in shaken)), activity, A, after, T, loss, lr
            ):
                _refuse(compared, f" of layer {place + 1}", own)
            A = _columns(activity.A, _data)
        by_formula = softmax_step(A, T)[2] if loss == "cross_entropy" else float(LOSS_RULES[loss].value(A, T))
        terms = np.array(abs(value) + (np.max(np.abs(A)) if loss in ("cross_entropy", "hinge") else 0.0))
        shown = tuple(map(np.array, (value, *(one for _, one in shaken))))
        _refuse(Compared("L", np.array(by_formula), shown, np.array(engines.data), terms), "", own)


def _shaken(
    model: MLP | Layer, X: Array, T: Array, loss: str, lr: float | None
) -> list[tuple[Sequence[LayerSheet], float]]:
    """The derivation, several times, with every matrix on the way changed in its 14th digit, up or down at random."""
    generator = np.random.default_rng(0)

    def rounded(matrix: Array) -> Array:
        return matrix * (1.0 + NUDGE * generator.choice([-1.0, 1.0], matrix.shape))

    with contextlib.suppress(ValueError):  # so close to the end of a domain that it is left
        return [derive(model, X, T, loss, lr, rounded) for _ in range(4)]
    return []


def _of_layer(
    layer: Layer,
    sheets: tuple[LayerSheet, ...],
    activity: Activity,
    A_in: Array,
    after: tuple[Array, Array] | None,
    T: Array,
    loss: str,
    lr: float | None,
) -> Iterator[Compared]:
    """Every matrix of one layer, as shown and as shaken; `after` has W and the engine's δ of the next one."""
    sheet = sheets[0]
    norms = [one.norm for one in sheets if one.norm is not None]
    softmaxes = [one.softmax for one in sheets if one.softmax is not None]
    W, B, size_in = sheet.W, sheet.B, np.abs(A_in)
    Z, delta = _columns(activity.Z, _data), _columns(activity.Z, _grad)
    A, dA = _columns(activity.A, _data), _columns(activity.A, _grad)
    biases = 0.0 if B is None else np.abs(B)[:, None]
    yield Compared("Z", weighted_sum(W, B, A_in), tuple(one.Z for one in sheets), Z, np.abs(W) @ size_in + biases)

    inner, delta_N = Z, delta
    norm = None if layer.norm is None else normalize(layer.norm, Z)
    if norm is not None and activity.N is not None:
        inner, delta_N = _columns(activity.N, _data), _columns(activity.N, _grad)
        blurred = 1.0 + np.max(np.abs(Z), axis=1, initial=0.0) / norm.spread  # what Z − μ cancels
        terms = np.abs(norm.gamma)[:, None] * blurred[:, None] * (1.0 + np.abs(norm.X_hat)) + np.abs(norm.beta)[:, None]
        yield Compared("N", norm.N, tuple(one.N for one in norms), inner, terms)

    f, slope = on_arrays(layer.activation)
    f_prime = slope(inner, A)
    yield Compared("A", f(inner), tuple(one.A for one in sheets), A, np.abs(A) + np.abs(f_prime * inner))

    if loss == "cross_entropy" and after is None:
        softmax, by_formula, _ = softmax_step(A, T)
        terms = (softmax.p + T) * (1.0 + np.max(np.abs(A), axis=0)) / T.shape[1]
        yield Compared("δ", by_formula, tuple(one.delta for one in sheets), delta, terms)
        yield Compared("Σ ∂L/∂p·∂p/∂Z", softmax.through, tuple(one.through for one in softmaxes), delta, terms)
    else:
        if after is None:
            upstream = LOSS_RULES[loss].slope(A, T)
            terms = np.abs(upstream) + (1.0 / A.size if "cross_entropy" in loss else 0.0)
        else:
            upstream, terms = after[0].T @ after[1], np.abs(after[0].T) @ np.abs(after[1])
        yield Compared("∂L/∂A", upstream, tuple(one.dA for one in sheets), dA, terms)
        terms = np.abs(dA) * (np.abs(f_prime) + (1.0 if layer.activation.name in CANCELLING else 0.0))
        if layer.norm is None or norm is None:
            yield Compared("δ", dA * f_prime, tuple(one.delta for one in sheets), delta, terms)
        else:
            yield Compared("δ_N", dA * f_prime, tuple(one.delta_N for one in norms), delta_N, terms)
            size, X_hat = np.abs(delta_N), np.abs(norm.X_hat) + blurred[:, None]
            terms = size + size.mean(axis=1)[:, None] + X_hat * (size * X_hat).mean(axis=1)[:, None]
            terms = terms * (np.abs(norm.gamma) / norm.spread)[:, None]
            yield Compared("δ", through_normalization(norm, delta_N), tuple(one.delta for one in sheets), delta, terms)
            terms = (size * X_hat).sum(axis=1)
            dgamma, dbeta = [one.dgamma for one in norms], [one.dbeta for one in norms]
            formula, terms = (delta_N * norm.X_hat).sum(axis=1), (size * X_hat).sum(axis=1)
            yield from _parameters("γ", layer.norm.gamma, formula, dgamma, [one.new_gamma for one in norms], terms, lr)
            formula, terms = delta_N.sum(axis=1), size.sum(axis=1)
            yield from _parameters("β", layer.norm.beta, formula, dbeta, [one.new_beta for one in norms], terms, lr)
    formula, terms = delta @ A_in.T, np.abs(delta) @ size_in.T
    yield from _parameters(
        "W", layer.weights, formula, [one.dW for one in sheets], [one.new_W for one in sheets], terms, lr
    )
    if B is not None:
        dB = [one.dB for one in sheets if one.dB is not None]
        formula, terms = delta.sum(axis=1), np.abs(delta).sum(axis=1)
        yield from _parameters("B", layer.biases, formula, dB, [one.new_B for one in sheets], terms, lr)


def _parameters(
    name: str,
    values: Sequence[Any],
    formula: Array,
    shown: Sequence[Array],
    new: Sequence[Array | None],
    terms: Array,
    lr: float | None,
) -> Iterator[Compared]:
    """A gradient and, where there is a rate, the new parameters."""
    parameters = np.array(values, dtype=object)
    engine = np.vectorize(_grad, otypes=[float])(parameters)
    yield Compared(f"∂L/∂{name}", formula, tuple(shown), engine, terms)
    if lr is not None:
        data = np.vectorize(_data, otypes=[float])(parameters)
        moved = tuple(one for one in new if one is not None)
        yield Compared(f"new {name}", data - lr * formula, moved, data - lr * engine, np.abs(data) + lr * terms)


def _refuse(compared: Compared, place: str, own: bool) -> None:
    what, formula, (shown, *shaken), engine, terms = compared
    rtol = RTOL_OF_ONES_OWN if own else RTOL
    moved = np.max(np.ptp(shaken, axis=0), initial=0.0)  # the most that any number of the matrix has moved
    rounding = 10.0 * moved + rtol * np.max(terms, initial=0.0)
    for derived, bound in ((formula, rtol * terms), (shown, rounding)):
        agrees = np.abs(derived - engine) <= bound + SMALLEST
        if not np.all(agrees):
            first = tuple(np.argwhere(~agrees)[0])
            raise Disagreement(
                f"{what}{place}: the chapter's formulas give {derived[first]:.17g} and the engine "
                f"{engine[first]:.17g}. One of them is wrong (check the activation's derivative with gradcheck), or a "
                "unit lies so close to a kink that rounding decides on its side."
            )


def _columns(rows: Sequence[Sequence[Value]], number_of: Callable[[Value], float]) -> Array:
    return np.array([[number_of(value) for value in row] for row in rows]).T


def _data(value: Value) -> float:
    return value.data


def _grad(value: Value) -> float:
    return value.grad
