"""Backpropagation by the matrix formulas of the chapter, on NumPy, without a look at the engine's derivatives.

A matrix has a row for each unit and a column for each example: Z = W·A + B, δ = ∂L/∂A ∘ f′(Z) at the output,
δ = (Wᵀ·δ of the next layer) ∘ f′(Z) before it, ∂L/∂W = δ·Aᵀ, and ∂L/∂B = δ summed over the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine import Value, gradcheck
from nn.activations import Activation, Array, sigmoid_of
from nn.layers import MLP, Layer, layers_of
from nn.losses import SMALLEST_LOGARITHM
from nn.norm import BatchNorm


@dataclass(frozen=True)
class LossRule:
    """A loss on arrays, its slope ∂L/∂A, and both as people write them, with `{}` for /n where it is a mean."""

    value: Callable[[Array, Array], Any]
    slope: Callable[[Array, Array], Array]
    formula: str
    rule: str


@dataclass
class Normalization:
    """Batch normalization in a layer: N = γ·X̂ + β with X̂ = (Z − μ)/√(σ² + ε), and δ_N = ∂L/∂N."""

    mean: Array
    var: Array
    gamma: Array
    beta: Array
    spread: Array
    X_hat: Array
    N: Array
    from_batch: bool
    eps: float
    delta_N: Array = field(init=False)
    dgamma: Array = field(init=False)
    dbeta: Array = field(init=False)
    new_gamma: Array | None = None
    new_beta: Array | None = None


@dataclass
class Softmax:
    """What stands between Z and cross-entropy: p, y, ∂L/∂p = −y/p, and that through the Jacobian, Σ ∂L/∂p·∂p/∂Z."""

    p: Array
    y: Array
    dp: Array
    through: Array


@dataclass
class LayerSheet:
    """One layer's numbers. W and dW have the shape (units, inputs), B and dB (units,), the others (units, examples).

    `f_prime` is f′(Z), or f′(N) where the layer is normalized; `dA` is ∂L/∂A and `delta` δ = ∂L/∂Z. `B` is None in a
    normalized layer, and the new parameters are where there is no lr.
    """

    activation: Activation
    W: Array
    B: Array | None
    A_in: Array
    Z: Array
    A: Array
    f_prime: Array
    norm: Normalization | None = None
    softmax: Softmax | None = None
    dA: Array = field(init=False)
    delta: Array = field(init=False)
    dW: Array = field(init=False)
    dB: Array | None = None
    new_W: Array | None = None
    new_B: Array | None = None


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _log(p: Array) -> Array:
    return np.log(np.maximum(p, np.exp(SMALLEST_LOGARITHM)))


def _reciprocal(p: Array) -> Array:
    """1/p, and 0 where the logarithm ends."""
    return np.where(p > np.exp(SMALLEST_LOGARITHM), 1.0, 0.0) / np.maximum(p, np.exp(SMALLEST_LOGARITHM))


LOSS_RULES: dict[str, LossRule] = {
    "mse": LossRule(
        lambda A, T: np.mean((A - T) ** 2), lambda A, T: 2.0 * (A - T) / A.size, "(Σ (t − A)²){}", "2·(A − t){}"
    ),
    "half_squared_error": LossRule(
        lambda A, T: 0.5 * np.sum((A - T) ** 2), lambda A, T: A - T, "½·Σ (t − A)²", "A − t"
    ),
    "mae": LossRule(
        lambda A, T: np.mean(np.abs(A - T)), lambda A, T: np.sign(A - T) / A.size, "(Σ |t − A|){}", "sign(A − t){}"
    ),
    "binary_cross_entropy": LossRule(
        lambda A, T: -np.mean(T * _log(A) + (1.0 - T) * _log(1.0 - A)),
        lambda A, T: ((1.0 - T) * _reciprocal(1.0 - A) - T * _reciprocal(A)) / A.size,
        "(−Σ (t·ln A + (1 − t)·ln(1 − A))){}",
        "((1 − t)/(1 − A) − t/A){}",
    ),
    "binary_cross_entropy_with_logits": LossRule(
        lambda A, T: np.mean(T * _softplus(-A) + (1.0 - T) * _softplus(A)),
        lambda A, T: ((1.0 - T) * sigmoid_of(A) - T * sigmoid_of(-A)) / A.size,
        "(−Σ (t·ln σ(A) + (1 − t)·ln(1 − σ(A)))){}",
        "(σ(A) − t){}",
    ),
    "hinge": LossRule(
        lambda A, T: np.mean(np.maximum(0.0, 1.0 - T * A)),
        lambda A, T: -T * np.heaviside(1.0 - T * A, 0.0) / A.size,
        "(Σ max(0, 1 − t·A)){}",
        "(−t if t·A < 1 else 0){}",
    ),
}
"""Every loss whose slope is one per output; cross-entropy has the softmax between."""


# The formulas of the chapter, each by itself.


def weighted_sum(W: Array, B: Array | None, A: Array) -> Array:
    """Z = W·A + B."""
    return W @ A if B is None else W @ A + B[:, None]


def normalize(norm: BatchNorm, Z: Array) -> Normalization:
    """N = γ·(Z − μ)/√(σ² + ε) + β, with the statistics of the batch or the running ones."""
    from_batch = norm.training
    mean = Z.mean(axis=1) if from_batch else np.array(norm.running_mean)
    var = Z.var(axis=1) if from_batch else np.array(norm.running_var)
    gamma, beta = numbers(norm.gamma), numbers(norm.beta)
    spread = np.sqrt(var + norm.eps)
    X_hat = (Z - mean[:, None]) / spread[:, None]
    N = gamma[:, None] * X_hat + beta[:, None]
    return Normalization(mean, var, gamma, beta, spread, X_hat, N, from_batch, norm.eps)


def through_normalization(norm: Normalization, delta_N: Array) -> Array:
    """δ = ∂L/∂Z from δ_N = ∂L/∂N, where μ and σ² depend on Z too. Ioffe and Szegedy 2015, section 3."""
    delta = delta_N
    if norm.from_batch:
        delta = delta_N - delta_N.mean(axis=1)[:, None] - norm.X_hat * (delta_N * norm.X_hat).mean(axis=1)[:, None]
    return delta * (norm.gamma / norm.spread)[:, None]


def softmax_step(A: Array, T: Array) -> tuple[Softmax, Array, float]:
    """The softmax of the logits A, δ = p − y and the cross-entropy, both the mean over the examples.

    Raises ValueError where the probability of a right class is 0 in floats.
    """
    examples = T.shape[1]
    shifted = A - A.max(axis=0)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=0))
    p = np.exp(log_p)
    if ((p == 0.0) & (T > 0.0)).any():
        raise ValueError(
            "The probability of a right class is 0 in floats, and ∂L/∂p = −y/p infinite: the logits are too far apart "
            "for a derivation step by step. Take smaller weights or inputs."
        )
    dp = np.where(T > 0.0, -T / p, 0.0) / examples
    through = p * (dp - (dp * p).sum(axis=0))  # Σ_k ∂L/∂p_k · p_k·(1[j = k] − p_j)
    return Softmax(p, T, dp, through), (p - T) / examples, float(-(T * log_p).sum() / examples)


def numbers(values: Sequence[Value]) -> Array:
    """The data of Values."""
    return np.array([value.data for value in values])


def on_arrays(activation: Activation) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
    """F and f′ on arrays; for a function of one's own f number by number, and f′ numerically, by the complex step."""
    if activation.on_arrays is not None and activation.derivative is not None:
        return activation.on_arrays, activation.derivative

    def f(z: float) -> float:
        return activation.function(Value(z)).data

    def slope(z: float) -> float:
        found = next(iter(gradcheck(activation.function, z).values()))
        if found.reason:
            raise ValueError(
                f"{activation.name} has no numeric derivative at Z = {z:.6g}, {found.reason}: the worksheet can't "
                "derive it there."
            )
        return found.numeric

    return np.vectorize(f, otypes=[float]), lambda z, a: np.vectorize(slope, otypes=[float])(z)


# The step, from the inputs to the new weights.


def exactly(matrix: Array) -> Array:
    """The matrix as it is."""
    return matrix


def derive(
    model: MLP | Layer,
    X: Array,
    T: Array,
    loss: str,
    lr: float | None,
    rounded: Callable[[Array], Array] = exactly,
) -> tuple[list[LayerSheet], float]:
    """The numbers of every layer, and the loss, for examples X and targets T, both as columns.

    Every matrix is `rounded` before the next one is made of it. Raises ValueError where they leave the floats.
    """
    sheets: list[LayerSheet] = []
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        A = X
        for layer in layers_of(model):
            sheets.append(_forward(layer, A, rounded))
            A = sheets[-1].A
        value = _output(sheets[-1], T, loss, rounded)
        for sheet, after in zip(reversed(sheets[:-1]), reversed(sheets[1:]), strict=True):
            _pass_back(sheet, after.W.T @ after.delta, rounded)
        for sheet in sheets:
            sheet.dW = sheet.delta @ sheet.A_in.T
            sheet.dB = None if sheet.B is None else sheet.delta.sum(axis=1)
            if lr is not None:
                _update(sheet, lr)
    for place, sheet in enumerate(sheets, 1):
        if not all(np.isfinite(matrix).all() for matrix in (sheet.Z, sheet.A, sheet.f_prime, sheet.delta, sheet.dW)):
            raise ValueError(f"The numbers of layer {place} leave the floats: take smaller inputs, targets or weights.")
    return sheets, value


def _forward(layer: Layer, A: Array, rounded: Callable[[Array], Array]) -> LayerSheet:
    W = np.array([[weight.data for weight in row] for row in layer.weights])
    B = numbers(layer.biases) if layer.biases else None
    Z = rounded(weighted_sum(W, B, A))
    norm = None if layer.norm is None else normalize(layer.norm, Z)
    if norm is not None:
        norm.X_hat, norm.N = rounded(norm.X_hat), rounded(norm.N)
    inner = Z if norm is None else norm.N
    f, slope = on_arrays(layer.activation)
    A_out = rounded(f(inner))
    return LayerSheet(layer.activation, W, B, A, Z, A_out, slope(inner, A_out), norm)


def _output(sheet: LayerSheet, T: Array, loss: str, rounded: Callable[[Array], Array]) -> float:
    """δ of the last layer; returns the loss."""
    if loss == "cross_entropy":
        sheet.softmax, sheet.delta, value = softmax_step(sheet.A, T)
        sheet.dA = sheet.delta
        return value
    rule = LOSS_RULES[loss]
    _pass_back(sheet, rule.slope(sheet.A, T), rounded)
    return float(rule.value(sheet.A, T))


def _pass_back(sheet: LayerSheet, upstream: Array, rounded: Callable[[Array], Array]) -> None:
    """δ from ∂L/∂A."""
    sheet.dA, norm = rounded(upstream), sheet.norm
    sheet.delta = rounded(sheet.dA * sheet.f_prime)
    if norm is not None:
        norm.delta_N = sheet.delta
        norm.dgamma, norm.dbeta = (norm.delta_N * norm.X_hat).sum(axis=1), norm.delta_N.sum(axis=1)
        sheet.delta = rounded(through_normalization(norm, norm.delta_N))


def _update(sheet: LayerSheet, lr: float) -> None:
    sheet.new_W = sheet.W - lr * sheet.dW
    if sheet.B is not None and sheet.dB is not None:
        sheet.new_B = sheet.B - lr * sheet.dB
    if sheet.norm is not None:
        sheet.norm.new_gamma = sheet.norm.gamma - lr * sheet.norm.dgamma
        sheet.norm.new_beta = sheet.norm.beta - lr * sheet.norm.dbeta
