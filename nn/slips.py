"""Which slip gives the numbers of a matrix: hypotheses about one application of a chapter's formula.

A slip is data: the kind of matrix whose formula it changes, its key (those of the taxonomy of mistakes where that has
one), what to tell the student, and what the matrix would be by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nn.activations import ACTIVATIONS
from nn.derivation import exactly
from nn.following import FROM_OUTPUT, At, Formula, formulas
from nn.rounded import Rounded, exact

MOST_TRIED = 16  # of the places where one slip can be made


@dataclass(frozen=True)
class Slip:
    """A slip at matrices of some kinds. `{k}` in the text is the place where it was made, one of those of `over`."""

    kinds: str
    key: str
    text: str
    formula: Callable[[At], Rounded] | Callable[[At, int], Rounded]
    when: Callable[[At], bool] = lambda at: True
    over: Callable[[At], Iterable[int]] | None = None
    general: bool = False  # so general that any other slip is likelier


class Tried(NamedTuple):
    """A slip that was tried: its key, what to tell, the matrix by it, and whether others are likelier."""

    key: str
    text: str
    number: Rounded
    general: bool


def tried(at: At) -> Iterator[Tried]:
    """What a matrix would be by each slip at its formula, the likeliest first."""
    for slip in SLIPS:
        if at.matrix.kind not in slip.kinds.split() or not slip.when(at):
            continue
        for place in [None] if slip.over is None else list(slip.over(at))[:MOST_TRIED]:
            arguments = (at,) if place is None else (at, place)
            with np.errstate(all="ignore"):
                number = slip.formula(*arguments)
            if number.shape == at.shape:
                text = slip.text.replace("{k}", "" if place is None else str(place + 1))
                yield Tried(slip.key, _named(text, at), number, slip.general)


def _named(text: str, at: At) -> str:
    """The text with the matrices' numbers put in: {before}, {layer}, {after}, and the activation's name."""
    numbers = at.chapter.matrices.count > 1
    places = {"{before}": at.layer - 1, "{layer}": at.layer, "{after}": at.layer + 1}
    for place, layer in places.items():
        text = text.replace(place, str(layer) if numbers else "")
    return text.replace("{A before}", "X" if at.layer == 1 else f"A{at.layer - 1}").replace("{f}", at.activation.name)


def _right(at: At) -> Rounded:
    return formulas(at)[0](at)


def _times(factor: Callable[[At], float]) -> Formula:
    return lambda at: _right(at) * factor(at)


def _is_hidden(at: At) -> bool:
    return not at.last


def _units_after(at: At) -> range:
    return range(at("W", 1).shape[0])


def _inputs(at: At) -> range:
    return range(at("A", -1).shape[0])


def _several_inputs(at: At) -> range:
    return _inputs(at) if len(_inputs(at)) > 1 else range(0)


def _examples(at: At) -> range:
    return range(at.examples) if at.examples > 1 else range(0)


def _is_mean(at: At) -> bool:
    return at.averaged > 1


def _loss_is(*names: str) -> Callable[[At], bool]:
    return lambda at: at.last and at.loss in names


def _one_term(at: At, k: int) -> Rounded:
    return at("W")[:, k : k + 1] @ at("A", -1)[k : k + 1]


def _one_path(at: At, k: int) -> Rounded:
    return at("W", 1)[k : k + 1].T @ at("delta", 1)[k : k + 1]


def _one_example(at: At, k: int) -> Rounded:
    return at("delta")[:, k : k + 1] @ at("A", -1)[:, k : k + 1].T


def _is_square(at: At, shift: int = 0) -> bool:
    rows, columns = at("W", shift).shape
    return rows == columns > 1


def _other_function(name: str) -> tuple[Formula, Callable[[At], bool]]:
    """Another activation at the same place, and where that is a mistake to be made."""
    f = ACTIVATIONS[name].on_arrays or exactly
    return lambda at: at.inner.apply(f), lambda at: at.activation.name != name


def _other_rule(name: str) -> tuple[Formula, Callable[[At], bool]]:
    """f′ of another activation at the same place, and where that is a mistake to be made."""
    slope = FROM_OUTPUT[name]
    return lambda at: at("A").apply(slope), lambda at: at.activation.name != name


def _rule_at(z: str) -> Formula:
    """The rule that is of A, applied to another number."""
    return lambda at: (at.inner if z == "Z" else at(z)).apply(FROM_OUTPUT[at.activation.name])


def _has_output_rule(at: At) -> bool:
    return at.activation.name in FROM_OUTPUT


def _is_curved(at: At) -> bool:
    return at.activation.name != "linear"


def _plain_difference(at: At) -> Rounded:
    return (at("A") - at.targets) / at.averaged


def _product_of_means(at: At) -> Rounded:
    return at("delta").total(1) @ at("A", -1).mean(1).T


def _softmax_derivative(at: At) -> Rounded:
    return at("p").apply(lambda p: p * (1.0 - p))


def _of_new(formula: Callable[[At, str], Rounded]) -> Formula:
    """A slip at the new parameters, whatever they are of."""
    return lambda at: formula(at, at.matrix.kind.removeprefix("new_"))


SLIPS = (
    # Z = W·A + B
    Slip("Z", "bias_missing", "B{layer} was left out", lambda at: at("W") @ at("A", -1), lambda at: at.has("B")),
    Slip(
        "Z",
        "threshold_sign",
        "B{layer} was subtracted, as a threshold, and it is added",
        lambda at: at("W") @ at("A", -1) - at("B"),
        lambda at: at.has("B"),
    ),
    Slip(
        "Z",
        "transposed_index",
        "W was taken for its transpose: W[j, i] leads to unit j from unit i",
        lambda at: at("W").T @ at("A", -1) + (at("B") if at.has("B") else 0.0),
        _is_square,
    ),
    Slip(
        "Z",
        "activation_missing",
        "Z{before} was taken for A{before}: the activation of the layer before was left out",
        lambda at: _right(at) + at("W") @ (at("Z", -1) - at("A", -1)),
        lambda at: at.layer > 1,
    ),
    Slip(
        "Z",
        "path_missing",
        "the term of input {k} is missing in the sum",
        lambda at, k: _right(at) - _one_term(at, k),
        over=_several_inputs,
    ),
    Slip(
        "Z",
        "sign_flipped",
        "the sign of the term of input {k} was turned",
        lambda at, k: _right(at) - _one_term(at, k) * 2.0,
        over=_inputs,
    ),
    # N, A, p
    Slip("N", "normalization_missing", "β{layer} was left out", lambda at: at("gamma") * at.standardized),
    Slip(
        "N",
        "normalization_missing",
        "Z was divided by σ² + ε and not by its root",
        lambda at: at("gamma") * at.standardized * at.narrowness + at("beta"),
    ),
    Slip(
        "var",
        "mean_twice",
        "the sum was divided by n − 1, and in the batch it is by n",
        lambda at: _right(at) * (at.examples / max(at.examples - 1, 1)),
    ),
    Slip(
        "A",
        "activation_missing",
        "the activation {f} was left out: this is what goes into it",
        lambda at: at.inner,
        _is_curved,
    ),
    Slip(
        "A",
        "value_for_gradient",
        "this is the derivative of {f}, and not {f} itself",
        lambda at: at.inner.apply(at.slope),
        _is_curved,
    ),
    *(
        Slip("A", "wrong_activation", f"{name} was taken, and the activation is {{f}}", *_other_function(name))
        for name in ("sigmoid", "tanh", "relu")
    ),
    Slip(
        "p",
        "normalization_missing",
        "exp(A) was not divided by the sum over all classes",
        lambda at: at("A").apply(np.exp),
    ),
    # f′(Z)
    Slip(
        "f_prime",
        "derivative_at_a_not_z",
        "f′ was taken at A{layer}, and it is taken at what goes into {f}",
        lambda at: at("A").apply(at.slope),
        _is_curved,
    ),
    Slip(
        "f_prime",
        "derivative_at_z_not_a",
        "what goes into {f} was put where A belongs in the rule of f′",
        _rule_at("Z"),
        _has_output_rule,
    ),
    Slip(
        "f_prime",
        "activation_derivative_missing",
        "the derivative was taken to be 1",
        lambda at: exact(np.ones(at.shape)),
        _is_curved,
    ),
    Slip(
        "f_prime",
        "activation_derivative_twice",
        "the derivative was used twice",
        lambda at: _right(at) * _right(at),
        _is_curved,
    ),
    Slip(
        "f_prime",
        "wrong_activation_derivative",
        "A itself was taken, and not the derivative",
        lambda at: at("A"),
        _is_curved,
    ),
    Slip("f_prime", "wrong_activation_derivative", "1 − A was taken", lambda at: 1.0 - at("A")),
    Slip(
        "f_prime",
        "wrong_activation_derivative",
        "1 − A², the derivative of tanh, was taken for that of {f}",
        *_other_rule("tanh"),
    ),
    Slip(
        "f_prime",
        "wrong_activation_derivative",
        "A·(1 − A), the derivative of σ, was taken for that of {f}",
        *_other_rule("sigmoid"),
    ),
    Slip(
        "f_prime",
        "wrong_activation_derivative",
        "the derivative of relu was taken for that of {f}",
        *_other_rule("relu"),
    ),
    # ∂L/∂A of the last layer
    Slip(
        "dA",
        "sign_flipped",
        "t − A was taken, and it is A − t",
        lambda at: -_right(at),
        _loss_is("mse", "half_squared_error"),
    ),
    Slip(
        "dA",
        "factor_2_missing",
        "the 2 of the square was not brought in front",
        _times(lambda at: 0.5),
        _loss_is("mse"),
    ),
    Slip(
        "dA",
        "factor_half_ignored",
        "the ½ of the loss was left out",
        _times(lambda at: 2.0),
        _loss_is("half_squared_error"),
    ),
    Slip(
        "dA",
        "factor_half_ignored",
        "the ½ of the loss was kept, and the 2 of the square takes it away",
        _times(lambda at: 0.5),
        _loss_is("half_squared_error"),
    ),
    Slip(
        "dA",
        "ce_one_term_only",
        "only −t/A was taken: the term (1 − t)/(1 − A) is missing",
        lambda at: at("A").apply(lambda A: -at.targets / A) / at.averaged,
        _loss_is("binary_cross_entropy"),
    ),
    Slip(
        "dA",
        "ce_treated_as_squared",
        "A − t was taken, which is the derivative of the squared error",
        _plain_difference,
        _loss_is("binary_cross_entropy", "binary_cross_entropy_with_logits"),
    ),
    Slip(
        "dA dp",
        "log10_for_ln",
        "the logarithm to base 10 was taken for the natural one",
        _times(lambda at: 1.0 / np.log(10.0)),
        _loss_is("binary_cross_entropy", "cross_entropy"),
    ),
    Slip(
        "dA",
        "abs_sign_missing",
        "the sign of A − t was left out",
        lambda at: exact(np.full(at.shape, 1.0 / at.averaged)),
        _loss_is("mae"),
    ),
    Slip(
        "dA",
        "path_missing",
        "−t was taken also where t·A is 1 or more, where the hinge is flat",
        lambda at: exact(-at.targets / at.averaged),
        _loss_is("hinge"),
    ),
    # ∂L/∂A of the layers before
    Slip(
        "dA",
        "weight_factor_missing",
        "δ{after} was passed back without the weights W{after}",
        lambda at: at("delta", 1).total(0).like(at.shape),
        _is_hidden,
    ),
    Slip(
        "dA",
        "transposed_index",
        "W{after}·δ{after} was taken for its transpose, W{after}ᵀ·δ{after}",
        lambda at: at("W", 1) @ at("delta", 1),
        lambda at: _is_hidden(at) and _is_square(at, 1),
    ),
    Slip(
        "dA",
        "path_missing",
        "only the path by unit {k} of layer {after} was taken, and all paths are added",
        _one_path,
        _is_hidden,
        lambda at: _units_after(at) if len(_units_after(at)) > 1 else range(0),
    ),
    Slip(
        "dA",
        "path_missing",
        "the path by unit {k} of layer {after} is missing in the sum",
        lambda at, k: _right(at) - _one_path(at, k),
        _is_hidden,
        lambda at: _units_after(at) if len(_units_after(at)) > 2 else range(0),
    ),
    Slip(
        "dA",
        "paths_multiplied_not_added",
        "the paths were multiplied, and they are added",
        lambda at: _paths_multiplied(at),
        lambda at: _is_hidden(at) and len(_units_after(at)) > 1,
    ),
    Slip(
        "dA",
        "updated_weights",
        "the new W{after} were taken, and δ is passed back by the old ones",
        lambda at: at("new_W", 1).T @ at("delta", 1),
        lambda at: _is_hidden(at) and at.has("new_W", 1),
    ),
    Slip(
        "dA",
        "activation_derivative_missing",
        "∂L/∂A{after} was passed back in place of δ{after}, without f′(Z{after})",
        lambda at: at("W", 1).T @ at("dA", 1),
        lambda at: _is_hidden(at) and at.has("dA", 1),
    ),
    Slip(
        "dA",
        "sign_flipped",
        "the sign of the path by unit {k} of layer {after} was turned",
        lambda at, k: _right(at) - _one_path(at, k) * 2.0,
        _is_hidden,
        _units_after,
    ),
    # δ
    Slip(
        "delta delta_N",
        "activation_derivative_missing",
        "f′(Z{layer}) was left out: this is ∂L/∂A{layer} alone",
        lambda at: at("dA"),
        lambda at: _inner_delta(at) and _is_curved(at),
    ),
    Slip(
        "delta delta_N",
        "ce_double_derivative",
        "this is (A − t)·f′, and A − t has the derivative of the sigmoid in it already",
        lambda at: _plain_difference(at) * at("f_prime"),
        lambda at: at.loss == "binary_cross_entropy" and at.last and _inner_delta(at),
    ),
    Slip(
        "delta delta_N",
        "activation_derivative_twice",
        "f′(Z{layer}) was multiplied in twice",
        lambda at: at("dA") * at("f_prime") * at("f_prime"),
        lambda at: _inner_delta(at) and _is_curved(at),
    ),
    Slip(
        "delta delta_N",
        "stopped_early",
        "∂L/∂A{layer} was left out: this is f′(Z{layer}) alone",
        lambda at: at("f_prime"),
        lambda at: _inner_delta(at),
    ),
    Slip(
        "delta",
        "path_missing",
        "μ and σ² were taken for constants, and they depend on Z too",
        lambda at: at("delta_N") * (at("gamma") * at.narrowness),
        lambda at: at.has("delta_N"),
    ),
    Slip(
        "delta",
        "chain_inner_missing",
        "the derivative of the normalization was left out: this is δ_N",
        lambda at: at("delta_N"),
        lambda at: at.has("delta_N"),
    ),
    # Softmax and cross-entropy
    Slip(
        "delta through",
        "softmax_sign",
        "y − p was taken, and it is p − y",
        lambda at: -_right(at),
        lambda at: at.has("p"),
    ),
    Slip(
        "delta through",
        "ce_double_derivative",
        "p − y was multiplied by p·(1 − p), which it has in it already",
        lambda at: _right(at) * _softmax_derivative(at),
        lambda at: at.has("p"),
    ),
    Slip(
        "delta through",
        "softmax_label_everywhere",
        "1 was subtracted for every class, and it is for the right one",
        lambda at: (at("p") - 1.0) / at.examples,
        lambda at: at.has("p"),
    ),
    Slip(
        "delta through",
        "softmax_diagonal_only",
        "only ∂p_j/∂Z_j was taken: each p depends on every Z",
        lambda at: at("dp") * _softmax_derivative(at),
        lambda at: at.has("p"),
    ),
    Slip(
        "delta through",
        "softmax_diagonal_only",
        "∂p/∂Z was left out: this is ∂L/∂p",
        lambda at: at("dp"),
        lambda at: at.has("p"),
    ),
    Slip(
        "delta through",
        "path_missing",
        "y was left out: this is p alone",
        lambda at: at("p") / at.examples,
        lambda at: at.has("p"),
    ),
    # The mean over a batch
    Slip(
        "dA dp delta delta_N dW dB dgamma dbeta L",
        "sum_for_mean",
        "the mean's 1/n was left out",
        _times(lambda at: at.averaged),
        _is_mean,
    ),
    Slip(
        "dA dp delta delta_N dW dB dgamma dbeta L",
        "mean_twice",
        "the mean's 1/n was used twice",
        _times(lambda at: 1.0 / at.averaged),
        _is_mean,
    ),
    Slip(
        "dA dp delta delta_N dW dB dgamma dbeta L",
        "sum_for_mean",
        "the mean was taken over the examples alone, and it is over all outputs",
        _times(lambda at: at.averaged / at.examples),
        lambda at: at.averaged > at.examples,
    ),
    Slip(
        "dA delta dW dB",
        "mean_twice",
        "it was divided by the number of examples, and the loss is a sum",
        _times(lambda at: 1.0 / at.examples),
        lambda at: at.averaged == 1 and at.examples > 1,
    ),
    # ∂L/∂W and ∂L/∂B
    Slip(
        "dW",
        "input_factor_missing",
        "the input was left out: this is δ{layer} alone",
        lambda at: at("delta").total(1).like(at.shape),
    ),
    Slip(
        "dW",
        "weight_for_input",
        "the weight was taken for the input: ∂Z/∂W is {A before}",
        lambda at: at("delta").total(1).like(at.shape) * at("W"),
    ),
    Slip(
        "dW",
        "derivative_at_z_not_a",
        "Z{before} was taken, and ∂Z/∂W is A{before}",
        lambda at: at("delta") @ at("Z", -1).T,
        lambda at: at.layer > 1,
    ),
    Slip(
        "dW",
        "wrong_variable",
        "A{layer} was taken, and ∂Z/∂W is the A of the layer before",
        lambda at: at("delta") @ at("A").T,
    ),
    Slip(
        "dW",
        "stopped_early",
        "δ{layer} was left out: this is the input alone",
        lambda at: at("A", -1).total(1).T.like(at.shape),
    ),
    Slip(
        "dW",
        "activation_derivative_missing",
        "∂L/∂A{layer} was taken for δ{layer}: f′(Z{layer}) is missing",
        lambda at: at("dA") @ at("A", -1).T,
        lambda at: at.has("dA") and _is_curved(at),
    ),
    Slip(
        "dW",
        "transposed_index",
        "{A before}·δ{layer}ᵀ was taken for its transpose, δ{layer}·{A before}ᵀ",
        lambda at: (at("delta") @ at("A", -1).T).T,
        _is_square,
    ),
    Slip(
        "dW", "one_example_only", "only example {k} was taken, and all of them are added", _one_example, over=_examples
    ),
    Slip(
        "dW",
        "one_example_only",
        "example {k} was left out",
        lambda at, k: _right(at) - _one_example(at, k),
        over=_examples,
    ),
    Slip(
        "dW",
        "product_of_means",
        "the means of δ and of the input were multiplied, and it is the mean of the products",
        _product_of_means,
        lambda at: at.examples > 1,
    ),
    Slip(
        "dB",
        "bias_chain",
        "this is the gradient of the weight from input {k}: the bias has the input 1",
        lambda at, k: (at("delta") @ at("A", -1).T)[:, k : k + 1],
        over=_inputs,
    ),
    Slip("dB", "bias_chain", "the bias was taken for the input, which is 1", lambda at: at("delta").total(1) * at("B")),
    Slip("dB", "bias_chain", "the bias was treated as a constant", lambda at: exact(np.zeros(at.shape))),
    Slip("dB", "bias_chain", "δ{layer} was left out", lambda at: exact(np.ones(at.shape))),
    Slip(
        "dB",
        "activation_derivative_missing",
        "∂L/∂A{layer} was taken for δ{layer}: f′(Z{layer}) is missing",
        lambda at: at("dA").total(1),
        lambda at: at.has("dA") and _is_curved(at),
    ),
    Slip("dB", "threshold_sign", "the sign is that of a threshold, and a bias is added", lambda at: -_right(at)),
    Slip(
        "dB dbeta",
        "one_example_only",
        "only example {k} was taken, and all of them are added",
        lambda at, k: at("delta_N" if at.matrix.kind == "dbeta" else "delta")[:, k : k + 1],
        over=_examples,
    ),
    Slip("dgamma", "input_factor_missing", "(Z − μ)/√(σ² + ε) was left out", lambda at: at("delta_N").total(1)),
    Slip(
        "dgamma", "weight_for_input", "N was taken for (Z − μ)/√(σ² + ε)", lambda at: (at("delta_N") * at("N")).total(1)
    ),
    # The loss
    Slip("L", "factor_half_ignored", "the ½ was left out", _times(lambda at: 2.0), _loss_is("half_squared_error")),
    Slip(
        "L",
        "log10_for_ln",
        "the logarithm to base 10 was taken for the natural one",
        _times(lambda at: 1.0 / np.log(10.0)),
        _loss_is("binary_cross_entropy", "cross_entropy"),
    ),
    # The new parameters
    Slip(
        "new_W new_B new_gamma new_beta",
        "sign_flipped",
        "lr·gradient was added, and it is subtracted: the step goes down the slope",
        _of_new(lambda at, name: at(name) + at(f"d{name}") * at.lr),
    ),
    Slip(
        "new_W new_B new_gamma new_beta",
        "learning_rate_missing",
        "the learning rate was left out",
        _of_new(lambda at, name: at(name) - at(f"d{name}")),
    ),
    Slip(
        "new_W new_B new_gamma new_beta",
        "stopped_early",
        "this is lr·gradient, which is still to be subtracted",
        _of_new(lambda at, name: at(f"d{name}") * at.lr),
    ),
    Slip(
        "new_W new_B new_gamma new_beta",
        "stopped_early",
        "this is −lr·gradient, which is still to be added",
        _of_new(lambda at, name: at(f"d{name}") * -at.lr),
    ),
    Slip(
        "new_W new_B new_gamma new_beta",
        "stopped_early",
        "this is the old number, not yet updated",
        _of_new(lambda at, name: at(name)),
    ),
    Slip(
        "new_W new_B new_gamma new_beta",
        "stopped_early",
        "this is the gradient, not the new number",
        _of_new(lambda at, name: at(f"d{name}")),
    ),
    # Any number
    Slip(
        "Z N A dA dp through delta delta_N dW dB dgamma dbeta f_prime L",
        "sign_flipped",
        "the sign was turned",
        lambda at: -_right(at),
        general=True,
    ),
    Slip(
        "Z A f_prime dA delta_N delta dW dB new_W new_B",
        "transposed_index",
        "this is the number of unit {k}",
        lambda at, k: _right(at)[k : k + 1].like(at.shape),
        over=lambda at: range(at.shape[0]),
        general=True,
    ),
)
"""Every slip that is known, in the order of how likely it is."""


def _inner_delta(at: At) -> bool:
    """Whether δ is ∂L/∂A·f′ at this matrix."""
    return at.has("dA") and (at.matrix.kind == "delta_N") == at.has("delta_N")


def _paths_multiplied(at: At) -> Rounded:
    product = exact(np.ones(at.shape))
    for k in _units_after(at):
        product = product * _one_path(at, k)
    return product
