"""Follow-through: each matrix of a worksheet by the chapter's formula, from a student's own numbers further on.

The formulas are those of `nn.derivation`, on numbers with the doubt that their rounding leaves; what a student does not
give is worked out from what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nn.activations import Activation, Array
from nn.derivation import LOSS_RULES, LayerSheet, on_arrays
from nn.matrices import PARAMETERS, Matrices, Matrix
from nn.rounded import Rounded, exact


class Chapter:
    """What does not depend on the student: the matrices, the layers and their activations, the loss and the rate."""

    def __init__(self, matrices: Matrices, layers: Sequence[LayerSheet], loss: str, lr: float | None) -> None:
        self.matrices, self.layers, self.loss, self.lr = matrices, layers, loss, lr


@dataclass
class Known:
    """What a student gives of a matrix: numbers, their doubts, and where there are any."""

    number: Array
    doubt: Array
    there: Array

    def over(self, made: Rounded) -> Rounded:
        """The student's numbers where there are any, and the others as they are made."""
        return Rounded(np.where(self.there, self.number, made.number), np.where(self.there, self.doubt, made.doubt))


class Own:
    """Every matrix in a student's numbers, in whose place the formulas stand where there are none."""

    def __init__(self, chapter: Chapter) -> None:
        self.chapter = chapter
        self.known: dict[Matrix, Known] = {}
        self.inputs: dict[Matrix, dict[Matrix, None]] = {}
        self._found: dict[Matrix, Rounded] = {}

    def know(self, matrix: Matrix, known: Known | None) -> None:
        """Take in a matrix of the student, None for one without numbers; what it is made of must be known before."""
        self._found[matrix] = self.with_known(matrix, known)
        if known is not None:
            self.known[matrix] = known

    def with_known(self, matrix: Matrix, known: Known | None) -> Rounded:
        """A matrix with the student's numbers, made by its first formula where there are none."""
        if known is not None and known.there.all():
            made = Rounded(known.number, known.doubt)
            self.by_formula(matrix)  # for what it is made of
            return made
        made = self.by_formula(matrix)[0]
        return made if known is None else known.over(made)

    def by_formula(self, matrix: Matrix) -> list[Rounded]:
        """A matrix by each of its formulas, the first of which is the chapter's."""
        at = At(self, matrix)
        made = [formula(at) for formula in formulas(at)]
        self.inputs[matrix] = at.asked
        return made

    def __getitem__(self, matrix: Matrix) -> Rounded:
        return self._found[matrix]

    def __contains__(self, matrix: Matrix) -> bool:
        return matrix in self._found

    def varied(self, target: Matrix, number: Rounded, matrix: Matrix) -> Rounded:
        """What the formula of a matrix gives if what it goes back to had another number, through what is not given."""
        if target == matrix:
            return number
        other = Varied(self, {target: number})
        between = self._between(target, matrix)
        for step in between:
            made = formulas(At(other, step))[0](At(other, step))
            known = self.known.get(step)
            other.changed[step] = made if known is None or step == matrix else known.over(made)
        return other.changed[matrix]

    def _between(self, target: Matrix, matrix: Matrix) -> list[Matrix]:
        """What stands between a matrix and one that its formula goes back to, and it itself, in order."""
        reached = {target}
        found = []
        for step in self.chapter.matrices.right:
            hidden = step == matrix or (step != target and not self.is_complete(step))
            if hidden and any(asked in reached for asked in self.inputs.get(step, ())):
                reached.add(step)
                found.append(step)
            if step == matrix:
                break
        return found

    def is_complete(self, matrix: Matrix) -> bool:
        """Whether the student gives all numbers of a matrix, or the worksheet does."""
        known = self.known.get(matrix)
        return known is not None and bool(known.there.all())

    def sources(self, matrix: Matrix) -> list[Matrix]:
        """What a matrix is made of, the nearest first, and through what is not given also that."""
        found = dict(self.inputs.get(matrix, {}))
        waiting = [asked for asked in found if not self.is_complete(asked)]
        while waiting:
            for asked in self.inputs.get(waiting.pop(0), {}):
                if asked not in found:
                    found[asked] = None
                    waiting += [asked] * (not self.is_complete(asked))
        return list(found)


class Varied:
    """A student's numbers with some of them changed."""

    def __init__(self, own: Own, changed: dict[Matrix, Rounded]) -> None:
        self.own, self.changed, self.chapter = own, changed, own.chapter

    def __getitem__(self, matrix: Matrix) -> Rounded:
        return self.changed[matrix] if matrix in self.changed else self.own[matrix]


class At:
    """What the formula of one matrix can ask for: `at("A", -1)` is the A of the layer before."""

    def __init__(self, numbers: Own | Varied, matrix: Matrix) -> None:
        self.matrix, self.layer, self.chapter = matrix, matrix.layer, numbers.chapter
        self.asked: dict[Matrix, None] = {}
        self._numbers = numbers

    def __call__(self, kind: str, shift: int = 0) -> Rounded:
        """The matrix of a kind, of this layer or of one so many further on."""
        matrix = Matrix(kind, self.layer + shift)
        self.asked[matrix] = None
        return self._numbers[matrix]

    def has(self, kind: str, shift: int = 0) -> bool:
        """Whether there is such a matrix."""
        return Matrix(kind, self.layer + shift) in self.chapter.matrices.right

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of this matrix."""
        rows, columns = self.chapter.matrices.right[self.matrix].shape
        return rows, columns

    @property
    def last(self) -> bool:
        """Whether it is of the last layer."""
        return self.layer == self.chapter.matrices.count

    @property
    def activation(self) -> Activation:
        """The layer's activation."""
        return self.chapter.layers[self.layer - 1].activation

    @property
    def loss(self) -> str:
        """The loss's name."""
        return self.chapter.loss

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.chapter.lr or 0.0

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self.chapter.matrices.examples

    @property
    def averaged(self) -> int:
        """Over how many terms the loss is a mean, 1 where it is a sum."""
        if self.loss == "half_squared_error":
            return 1
        outputs, _ = self._targets.shape
        return self.examples if self.loss == "cross_entropy" else self.examples * outputs

    @property
    def targets(self) -> Array:
        """The targets."""
        return self._targets.number

    @property
    def _targets(self) -> Rounded:
        return self._numbers[Matrix("T", self.chapter.matrices.count)]

    @property
    def inner(self) -> Rounded:
        """What the activation is of: Z, or N where it is normalized."""
        return self("N" if self.has("N") else "Z")

    def f(self, z: Array) -> Array:
        """The layer's activation."""
        return on_arrays(self.activation)[0](z)

    def slope(self, z: Array) -> Array:
        """The activation's derivative."""
        f, slope = on_arrays(self.activation)
        return slope(z, f(z))

    @property
    def standardized(self) -> Rounded:
        """(Z − μ)/√(σ² + ε)."""
        return (self("Z") - self("mu")) * self.narrowness

    @property
    def narrowness(self) -> Rounded:
        """1/√(σ² + ε)."""
        norm = self.chapter.layers[self.layer - 1].norm
        eps = 0.0 if norm is None else norm.eps
        return self("var").apply(lambda var: 1.0 / np.sqrt(var + eps))


Formula: TypeAlias = Callable[[At], Rounded]

FROM_OUTPUT: Mapping[str, Callable[[Array], Array]] = {
    "sigmoid": lambda a: a * (1.0 - a),
    "tanh": lambda a: 1.0 - a * a,
    "relu": lambda a: np.heaviside(a, 0.0),
    "leaky_relu": lambda a: np.where(a > 0.0, 1.0, 0.01),
    "elu": lambda a: np.where(a > 0.0, 1.0, a + 1.0),
    "exp": lambda a: a,
    "expm1": lambda a: a + 1.0,
    "sqrt": lambda a: 0.5 / a,
    "cbrt": lambda a: 1.0 / (3.0 * a * a),
    "tan": lambda a: 1.0 + a * a,
}
"""f′ as people compute it from A = f(Z) alone."""


# The formulas of the chapter.


def formulas(at: At) -> tuple[Formula, ...]:
    """Every formula of a matrix, the chapter's first; one that is told is itself."""
    kind = at.matrix.kind
    if at.matrix in at.chapter.matrices.given:
        return (lambda at: exact(at.chapter.matrices.right[at.matrix]),)
    if kind == "f_prime" and at.activation.name in FROM_OUTPUT:
        return (_f_prime, lambda at: at("A").apply(FROM_OUTPUT[at.activation.name]))
    if kind == "delta" and at.has("through"):
        return (lambda at: (at("p") - at("y")) / at.examples, lambda at: at("through"))
    return (_FORMULAS[kind],)


def _weighted_sum(at: At) -> Rounded:
    weighted = at("W") @ at("A", -1)
    return weighted + at("B") if at.has("B") else weighted


def _normalized(at: At) -> Rounded:
    return at("gamma") * at.standardized + at("beta")


def _variance(at: At) -> Rounded:
    return (at("Z") - at("mu")).apply(np.square).mean(1)


def _activated(at: At) -> Rounded:
    return at.inner.apply(at.f)


def _f_prime(at: At) -> Rounded:
    return at.inner.apply(at.slope)


def _softmax(at: At) -> Rounded:
    A = at("A")
    exponentials = np.exp(A.number - A.number.max(axis=0))
    p = exponentials / exponentials.sum(axis=0)
    return Rounded(p, p * ((1.0 - 2.0 * p) * A.doubt + (p * A.doubt).sum(axis=0)))


def _slope_of_loss_by_p(at: At) -> Rounded:
    T = at.targets
    return at("p").apply(lambda p: np.where(T > 0.0, -T / (p * at.examples), 0.0))


def _through_softmax(at: At) -> Rounded:
    p, dp = at("p"), at("dp")
    return p * (dp - (p * dp).total(0))


def _loss(at: At) -> Rounded:
    T = at.targets
    with np.errstate(all="ignore"):
        if at.loss == "cross_entropy":
            p = at("p")
            value = -np.sum(np.where(T > 0.0, T * np.log(p.number), 0.0)) / at.examples
            doubt = np.sum(np.where(T > 0.0, T * p.doubt / p.number, 0.0)) / at.examples
        else:
            A, rule = at("A"), LOSS_RULES[at.loss]
            value, doubt = rule.value(A.number, T), np.sum(abs(_slope_of_loss(at, A.number)) * A.doubt)
    return Rounded(np.full((1, 1), value), np.full((1, 1), doubt))


def _upstream(at: At) -> Rounded:
    if at.last:
        return at("A").apply(lambda A: _slope_of_loss(at, A))
    return at("W", 1).T @ at("delta", 1)


def _slope_of_loss(at: At, A: Array) -> Array:
    T = at.targets
    if at.loss == "binary_cross_entropy":  # as written, also where a student's A is no probability
        return ((1.0 - T) / (1.0 - A) - T / A) / A.size
    return LOSS_RULES[at.loss].slope(A, T)


def _inner_delta(at: At) -> Rounded:
    return at("dA") * at("f_prime")


def _delta(at: At) -> Rounded:
    if not at.has("delta_N"):
        return _inner_delta(at)
    norm, delta = at.chapter.layers[at.layer - 1].norm, at("delta_N")
    if norm is not None and norm.from_batch:
        X_hat = at.standardized
        delta = delta - delta.mean(1) - X_hat * (delta * X_hat).mean(1)
    return delta * (at("gamma") * at.narrowness)


def _updated(parameter: str) -> Formula:
    return lambda at: at(parameter) - at(f"d{parameter}") * at.lr


_FORMULAS: Mapping[str, Formula] = {
    "Z": _weighted_sum,
    "mu": lambda at: at("Z").mean(1),
    "var": _variance,
    "N": _normalized,
    "A": _activated,
    "f_prime": _f_prime,
    "p": _softmax,
    "y": lambda at: exact(at.targets),
    "L": _loss,
    "dp": _slope_of_loss_by_p,
    "through": _through_softmax,
    "dA": _upstream,
    "delta_N": _inner_delta,
    "delta": _delta,
    "dW": lambda at: at("delta") @ at("A", -1).T,
    "dB": lambda at: at("delta").total(1),
    "dgamma": lambda at: (at("delta_N") * at.standardized).total(1),
    "dbeta": lambda at: at("delta_N").total(1),
} | {f"new_{parameter}": _updated(parameter) for parameter in PARAMETERS}


def dependent(
    own: Own, source: Matrix, cells: Array, passes_on: Callable[[Matrix], Array]
) -> Iterator[tuple[Matrix, Array]]:
    """Every matrix later on with the cells that numbers of a source reach, through those that pass them on."""
    reached = {source: cells}
    for matrix in own.chapter.matrices.right:
        if matrix == source or not any(asked in reached for asked in own.inputs.get(matrix, ())):
            continue
        marked = {
            asked: Rounded(own[asked].number, np.where(where, 1e-6 * np.fmax(abs(own[asked].number), 1e-3), 0.0))
            for asked, where in reached.items()
        }
        plain = {
            asked: Rounded(own[asked].number, np.zeros_like(own[asked].number))
            for asked in own.inputs[matrix]
            if asked not in marked
        }
        at = At(Varied(own, marked | plain), matrix)
        touched = np.logical_or.reduce([formula(at).doubt > 0.0 for formula in formulas(at)])
        yield matrix, touched
        if (on := touched & passes_on(matrix)).any():
            reached[matrix] = on
