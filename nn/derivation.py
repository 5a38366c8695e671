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
from nn.activations import Activation, Array
from nn.layers import MLP, Layer, layers_of
from nn.losses import SMALLEST_LOGARITHM
from nn.norm import BatchNorm

NUDGE = 1e-6


@dataclass(frozen=True)
class LossRule:
    """A loss on arrays, its slope ∂L/∂A, and both as people write them, with `{}` for /n where it is a mean."""

    value: Callable[[Array, Array], Any]
    slope: Callable[[Array, Array], Array]
    formula: str
    rule: str


@dataclass
class Normalization:
    """Batch normalization in a layer: N = γ·X̂ + β with X̂ = (Z − μ)/√(σ² + ε), and δ_N = ∂L/∂N.

    `size_N` and `size` are those of the terms of which N and δ_N are the sums.
    """

    mean: Array
    var: Array
    gamma: Array
    beta: Array
    X_hat: Array
    N: Array
    size_N: Array
    from_batch: bool
    eps: float
    delta_N: Array = field(init=False)
    size: Array = field(init=False)
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
    normalized layer, and the new parameters are where there is no lr. The sizes are those of the terms of which the
    numbers are sums, with what rounding before them adds: it is by these that rounding is to be measured.
    """

    activation: Activation
    W: Array
    B: Array | None
    A_in: Array
    Z: Array
    A: Array
    f_prime: Array
    size_A_in: Array
    size_Z: Array
    size_A: Array
    size_f_prime: Array
    norm: Normalization | None = None
    softmax: Softmax | None = None
    dA: Array = field(init=False)
    size_dA: Array = field(init=False)
    delta: Array = field(init=False)
    size: Array = field(init=False)
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
        lambda A, T: ((1.0 - T) / (1.0 + np.exp(-A)) - T / (1.0 + np.exp(A))) / A.size,
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


def derive(model: MLP | Layer, X: Array, T: Array, loss: str, lr: float | None) -> tuple[list[LayerSheet], float]:
    """The numbers of every layer, and the loss, for examples X and targets T, both as columns."""
    layers = layers_of(model)
    sheets: list[LayerSheet] = []
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        A, size = X, np.abs(X)
        for layer in layers:
            sheets.append(_forward(layer, A, size))
            A, size = sheets[-1].A, sheets[-1].size_A
        value = _output(sheets[-1], T, loss)
        for sheet, after in zip(reversed(sheets[:-1]), reversed(sheets[1:]), strict=True):
            _pass_back(sheet, after.W.T @ after.delta, np.abs(after.W.T) @ after.size)
        for sheet in sheets:
            sheet.dW = sheet.delta @ sheet.A_in.T
            sheet.dB = None if sheet.B is None else sheet.delta.sum(axis=1)
            if lr is not None:
                _update(sheet, lr)
    for place, sheet in enumerate(sheets, 1):
        if not all(np.isfinite(matrix).all() for matrix in (sheet.Z, sheet.A, sheet.f_prime, sheet.delta, sheet.dW)):
            raise ValueError(f"The numbers of layer {place} leave the floats: take smaller inputs, targets or weights.")
    return sheets, float(value)


def _numbers(values: Sequence[Value]) -> Array:
    return np.array([value.data for value in values])


def _forward(layer: Layer, A: Array, size_A: Array) -> LayerSheet:
    W = np.array([[weight.data for weight in row] for row in layer.weights])
    B = _numbers(layer.biases) if layer.biases else None
    Z = W @ A if B is None else W @ A + B[:, None]
    size_Z = np.abs(W) @ size_A if B is None else np.abs(W) @ size_A + np.abs(B)[:, None]
    norm = None if layer.norm is None else _normalized(layer.norm, Z, size_Z)
    inner, size = (Z, size_Z) if norm is None else (norm.N, norm.size_N)
    f, slope = _on_arrays(layer.activation)
    A_out = f(inner)
    f_prime = slope(inner, A_out)
    size_out = np.abs(A_out) + np.abs(f_prime) * size
    nudged = inner + NUDGE * size
    bend = 0.0 if layer.activation.is_own else np.nan_to_num(np.abs(slope(nudged, f(nudged)) - f_prime) / NUDGE)
    return LayerSheet(
        layer.activation, W, B, A, Z, A_out, f_prime, size_A, size_Z, size_out, np.abs(f_prime) + bend, norm
    )


def _normalized(norm: BatchNorm, Z: Array, size_Z: Array) -> Normalization:
    from_batch = norm.training
    mean = Z.mean(axis=1) if from_batch else np.array(norm.running_mean)
    var = Z.var(axis=1) if from_batch else np.array(norm.running_var)
    gamma, beta = _numbers(norm.gamma), _numbers(norm.beta)
    spread = np.sqrt(var + norm.eps)[:, None]
    X_hat = (Z - mean[:, None]) / spread
    N = gamma[:, None] * X_hat + beta[:, None]
    size = (size_Z + size_Z.mean(axis=1)[:, None]) * (1.0 + X_hat**2) / spread
    return Normalization(
        mean, var, gamma, beta, X_hat, N, np.abs(gamma)[:, None] * size + np.abs(beta)[:, None], from_batch, norm.eps
    )


def _on_arrays(activation: Activation) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
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


def _output(sheet: LayerSheet, T: Array, loss: str) -> Any:
    """δ of the last layer; returns the loss."""
    if loss != "cross_entropy":
        rule = LOSS_RULES[loss]
        slope = rule.slope(sheet.A, T)
        nudged = rule.slope(sheet.A + NUDGE * sheet.size_A, T)  # A − t loses digits where A is close to t
        _pass_back(sheet, slope, np.abs(slope) + np.abs(nudged - slope) / NUDGE)
        return rule.value(sheet.A, T)
    examples = T.shape[1]
    shifted = sheet.A - sheet.A.max(axis=0)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=0))
    p = np.exp(log_p)
    if ((p == 0.0) & (T > 0.0)).any():
        raise ValueError(
            "The probability of a right class is 0 in floats, and ∂L/∂p = −y/p infinite: the logits are too far apart "
            "for a derivation step by step. Take smaller weights or inputs."
        )
    dp = np.where(T > 0.0, -T / p, 0.0) / examples
    through = p * (dp - (dp * p).sum(axis=0))  # Σ_k ∂L/∂p_k · p_k·(1[j = k] − p_j)
    sheet.softmax = Softmax(p, T, dp, through)
    sheet.dA = sheet.delta = (p - T) / examples
    sheet.size_dA = sheet.size = (p * (1.0 + sheet.size_A + (p * sheet.size_A).sum(axis=0)) + T) / examples
    return -(T * log_p).sum() / examples


def _pass_back(sheet: LayerSheet, upstream: Array, size: Array) -> None:
    """δ from ∂L/∂A. Through batch normalization as in Ioffe and Szegedy 2015, section 3."""
    sheet.dA, sheet.size_dA = upstream, size
    delta, size = upstream * sheet.f_prime, size * np.abs(sheet.f_prime) + np.abs(upstream) * sheet.size_f_prime
    norm = sheet.norm
    if norm is not None:
        norm.delta_N, norm.size = delta, size
        norm.dgamma, norm.dbeta = (delta * norm.X_hat).sum(axis=1), delta.sum(axis=1)
        if norm.from_batch:
            delta = delta - delta.mean(axis=1)[:, None] - norm.X_hat * (delta * norm.X_hat).mean(axis=1)[:, None]
            sizes = size * (1.0 + np.abs(norm.X_hat)) * (1.0 + norm.size_N)
            size = size + (1.0 + np.abs(norm.X_hat)) * sizes.mean(axis=1)[:, None] * (1.0 + norm.size_N)
        scale = (norm.gamma / np.sqrt(norm.var + norm.eps))[:, None]
        delta, size = delta * scale, size * np.abs(scale)
    sheet.delta, sheet.size = delta, size


def _update(sheet: LayerSheet, lr: float) -> None:
    sheet.new_W = sheet.W - lr * sheet.dW
    if sheet.B is not None and sheet.dB is not None:
        sheet.new_B = sheet.B - lr * sheet.dB
    if sheet.norm is not None:
        sheet.norm.new_gamma = sheet.norm.gamma - lr * sheet.norm.dgamma
        sheet.norm.new_beta = sheet.norm.beta - lr * sheet.norm.dbeta
