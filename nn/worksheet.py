"""The worksheet: one step of backpropagation in tables, derived by hand's formulas and checked against the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import Value
from engine.text import number
from nn import sheets
from nn.activations import Activation, Array
from nn.data import as_array, as_examples, refuse_not_positive
from nn.derivation import LOSS_RULES, LayerSheet, derive
from nn.layers import MLP, Layer, outputs_of, refuse_output
from nn.losses import LOSSES, Loss, as_loss, as_targets
from nn.module import undisturbed
from nn.sheets import Cell, Sheet

if TYPE_CHECKING:
    from engine.text import Notation

RTOL = 1e-9
"""How far derivation and engine may be apart, relative to the largest term that a matrix is summed of."""
INDICES = "w2_1_3 is layer 2's weight to unit 1 from unit 3; where W_ij leads from i to j, it is W_31."


class Disagreement(ArithmeticError):
    """The derivation by the chapter's formulas and the engine's chain rule do not give the same number."""


class Worksheet(Mapping[str, float]):
    """One step of backpropagation: a number for each name, and tables that show them.

    Names are those of the net, such as `z2_1`, `a2_1`, `f'(z2_1)`, `delta2_1`, `dL/dw2_1_3`, `dL/db2_1`,
    `new(w2_1_3)` and `L`, with `_ex3` for example 3 of a batch. `layers` has the matrices, examples as columns.
    `blank` worksheets print without the answers.
    """

    def __init__(
        self, model: MLP | Layer, loss: str, lr: float | None, layers: list[LayerSheet], value: float,
        X: Array, T: Array, *, one: bool, digits: int, blank: bool,
    ) -> None:  # fmt: skip
        self.layers = tuple(layers)
        self.loss = value
        self.lr = lr
        self.digits = digits
        self.blank = blank
        self._model, self._loss_name = model, loss
        self._sheets = tuple(_sheets(model, layers, X, T, loss, value, one=one, lr=lr))
        every = [cell for sheet in self._sheets for _, cells in sheet.rows for cell in cells]
        self._numbers = {cell.name: cell.value for cell in every if cell.value is not None}

    def __getitem__(self, name: str) -> float:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def title(self) -> str:
        """What was worked out."""
        rate = "" if self.lr is None else f", lr = {number(self.lr, self.digits)}"
        return f"Worksheet of {self._model!r}, {self._loss_name}{rate}"

    def to_text(self, *, blank: bool | None = None, notation: Notation = "plain") -> str:
        """Tables for the terminal."""
        return sheets.as_text(self._heading, self._shown(blank), self.digits, notation)

    def to_markdown(self, *, blank: bool | None = None, notation: Notation = "plain") -> str:
        """Tables in Markdown."""
        return sheets.as_markdown(self._heading, self._shown(blank), self.digits, notation)

    def to_latex(self, *, blank: bool | None = None) -> str:
        """Tables in LaTeX, for a document of any class, without packages."""
        return sheets.as_latex(self._heading, self._shown(blank), self.digits)

    def to_csv(self, *, blank: bool | None = None) -> str:
        """A line for each number: its table, its name and itself to the last digit."""
        return sheets.as_csv(self._shown(blank))

    @property
    def _heading(self) -> tuple[str, str]:
        return self.title, INDICES

    def _shown(self, blank: bool | None) -> list[Sheet]:
        hide = self.blank if blank is None else blank
        return [sheet.blank() if hide else sheet for sheet in self._sheets]

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.to_markdown(notation="unicode")


def worksheet(
    model: MLP | Layer,
    x: Any,
    target: Any,
    loss: str | Loss = "half_squared_error",
    lr: float | None = None,
    *,
    digits: int = 6,
    blank: bool = False,
) -> Worksheet:
    """One step of backpropagation for an example or a batch, by the matrix formulas of the chapter.

    Per layer Z, A, f′(Z), δ, ∂L/∂W and ∂L/∂B, and with `lr` the new W and B, computed on NumPy and then compared with
    the engine's; the loss is the mean over the examples. The chapter's W_ij leads from unit i to unit j and is
    W[j, i] here, `w2_j_i` in layer 2. Neither the parameters nor their gradients are changed.

    Raises TypeError and ValueError for what does not fit together, Disagreement where a number is not the engine's.
    """
    if not isinstance(model, MLP | Layer):
        raise TypeError(
            f"A worksheet needs an MLP or a Layer, whose formulas it knows, not {type(model).__name__}. One neuron is "
            "MLP(n_inputs, [1], output=…)."
        )
    name, _ = as_loss(loss)
    if name not in LOSSES:
        raise ValueError(f"The worksheet has the formulas of {', '.join(LOSSES)}; {name} is none of them.")
    refuse_output(model, name)
    if lr is not None:
        refuse_not_positive(lr=lr)
    one = as_array(x, "x").ndim == 1
    outputs = outputs_of(model) or 1
    rows = as_examples([x] if one else x, model.n_inputs, "x")
    targets = as_targets(name, [target] if one else target, len(rows), outputs, "target")
    X, T = np.array(rows).T, _as_columns(targets, outputs, name)
    layers, value = derive(model, X, T, name, lr)
    _compare_with_engine(model, rows, targets, name, layers, value)
    return Worksheet(model, name, lr, layers, value, X, T, one=one, digits=digits, blank=blank)


def _as_columns(targets: list[Any], outputs: int, loss: str) -> Array:
    if loss == "cross_entropy" and isinstance(targets[0], int):
        return np.eye(outputs)[:, targets]
    return np.array(targets, dtype=float).reshape(len(targets), -1).T


def _compare_with_engine(
    model: MLP | Layer, rows: list[Any], targets: list[Any], loss: str, layers: list[LayerSheet], value: float
) -> None:
    """Raise Disagreement unless every number is that of the engine."""
    with undisturbed(model):
        model.zero_grad()
        activities = model.activities(rows)
        outputs = [row[0] if len(row) == 1 else row for row in activities[-1].A]
        _, function = as_loss(loss)
        engines = function(outputs, targets)
        engines.backward()
        parts = model.layers if isinstance(model, MLP) else [model]
        _compare("L", np.array([value]), [[engines.data]], abs(value))
        for place, (sheet, layer, activity) in enumerate(zip(layers, parts, activities, strict=True), 1):
            at = f"of layer {place}"
            inputs = np.abs(sheet.A_in)
            _compare(f"Z {at}", sheet.Z.T, _data(activity.Z), np.abs(sheet.W) @ inputs)
            _compare(f"A {at}", sheet.A.T, _data(activity.A), np.abs(sheet.A))
            _compare(f"δ {at}", sheet.delta.T, _grad(activity.Z), sheet.size)
            _compare(f"∂L/∂W {at}", sheet.dW, _grad(layer.weights), sheet.size @ inputs.T)
            if sheet.dB is not None:
                _compare(f"∂L/∂B {at}", sheet.dB, _grad([layer.biases]), sheet.size)
            if sheet.norm is not None and layer.norm is not None:
                _compare(f"∂L/∂γ {at}", sheet.norm.dgamma, _grad([layer.norm.gamma]), sheet.norm.size)
                _compare(f"∂L/∂β {at}", sheet.norm.dbeta, _grad([layer.norm.beta]), sheet.norm.size)


def _data(rows: list[list[Value]]) -> list[list[float]]:
    return [[value.data for value in row] for row in rows]


def _grad(rows: list[list[Value]]) -> list[list[float]]:
    return [[value.grad for value in row] for row in rows]


def _compare(what: str, derived: Array, engines: list[list[float]], size: Any) -> None:
    expected = np.array(engines).reshape(derived.shape)
    off = np.abs(derived - expected)
    if not (off <= RTOL * max(float(np.max(size)), float(np.max(np.abs(expected))))).all():
        place = np.unravel_index(np.argmax(off), off.shape)
        raise Disagreement(
            f"{what}: the chapter's formulas give {derived[place]:.17g} and the engine {expected[place]:.17g}. One of "
            "them is wrong (check the activation's derivative with gradcheck), or a unit lies so close to a kink that "
            "rounding decides on its side."
        )


def _sheets(
    model: MLP | Layer, layers: list[LayerSheet], X: Array, T: Array, loss: str, value: float,
    *, one: bool, lr: float | None,
) -> Iterator[Sheet]:  # fmt: skip
    ends = [""] if one else [f"_ex{example + 1}" for example in range(X.shape[1])]
    given = [Cell(f"x{i + 1}{end}", float(X[i, e]), True) for e, end in enumerate(ends) for i in range(len(X))]
    wanted = [Cell(f"t{k + 1}{end}", float(T[k, e]), True) for e, end in enumerate(ends) for k in range(len(T))]
    yield Sheet("Inputs and targets", (), ("name", "value"), tuple((c.name, (c,)) for c in [*given, *wanted]))
    averaged = len(ends) if loss in ("half_squared_error", "cross_entropy") else T.size
    over = f"/{averaged}" if averaged > 1 else ""
    for place, sheet in enumerate(layers, 1):
        layer = str(place) if isinstance(model, MLP) else ""
        title = f"Layer {place}" if layer else "Layer"
        last = place == len(layers)
        yield _units(title, layer, sheet, ends, loss if last else "", over)
        if sheet.norm is not None:
            yield _unit_parameters(f"{title}, normalization", layer, sheet)
        yield _parameters(f"{title}, parameters", layer, sheet, lr)
    yield Sheet("Loss", (), ("name", "value"), (("L", (Cell("L", value),)),))


def _units(title: str, layer: str, sheet: LayerSheet, ends: list[str], loss: str, over: str) -> Sheet:
    """Z, A, f′(Z) and δ of every unit and example; a loss is that of the last layer, `over` what it is divided by."""
    norm, softmax = sheet.norm, sheet.softmax
    inner, letter = ("N", "n") if norm is not None else ("Z", "z")
    matrices: list[tuple[str, str, Array]] = [("Z", "z{}", sheet.Z)]
    if norm is not None:
        matrices.append(("N", "n{}", norm.N))
    matrices.append(("A", "a{}", sheet.A))
    if softmax is not None:
        matrices += [("p", "p{}", softmax.p), ("y", "y{}", softmax.y), ("∂L/∂p", "dL/dp{}", softmax.dp)]
        matrices.append(("Σ ∂L/∂p·∂p/∂Z", "jacobian{}", softmax.through))
    else:
        matrices.append((f"f′({inner})", f"f'({letter}{{}})", sheet.f_prime))
        matrices.append(("∂L/∂A", "dL/da{}", sheet.dA))
    if norm is not None:
        matrices.append(("δ_N", "dL/dn{}", norm.delta_N))
    matrices.append(("δ", "delta{}", sheet.delta))
    rows = []
    for unit in range(len(sheet.Z)):
        for example, end in enumerate(ends):
            place = f"{layer}_{unit + 1}{end}"
            cells = tuple(Cell(name.format(place), float(matrix[unit, example])) for _, name, matrix in matrices)
            rows.append((f"unit {unit + 1}" + (f", example {example + 1}" if end else ""), cells))
    columns = ("", *(column for column, _, _ in matrices))
    return Sheet(title, tuple(_formulas(sheet, inner, loss, over)), columns, tuple(rows))


def _formulas(sheet: LayerSheet, inner: str, loss: str, over: str) -> Iterator[str]:
    yield "Z = Σ W·A of the layer before" + ("" if sheet.B is None else " + B")
    if sheet.norm is not None:
        yield "N = γ·(Z − μ)/√(σ² + ε) + β"
    yield f"A = {_applied(sheet.activation, inner)}"
    if loss == "cross_entropy":
        yield f"p = exp(A)/Σ exp(A), L = −Σ y·ln p{over}"
        yield f"∂L/∂p = −y/p{over}, ∂p_k/∂Z_j = p_k·(1 − p_k) if j = k else −p_k·p_j"
        yield f"δ_j = Σ ∂L/∂p_k·∂p_k/∂Z_j = {'(p_j − y_j)' if over else 'p_j − y_j'}{over}"
        return
    yield f"f′({inner}) = {sheet.activation.rule.replace('Z', inner)}"
    delta = "δ" if sheet.norm is None else "δ_N"
    if loss:
        slope = LOSS_RULES[loss].rule.format(over)
        slope = slope[1:-1] if slope.startswith("(") and not over else slope
        yield f"∂L/∂A = {slope}"
    else:
        yield "∂L/∂A = Σ W·δ of the layer after"
    yield f"{delta} = ∂L/∂A·f′({inner})"
    if sheet.norm is not None:
        yield (
            "δ = γ/√(σ² + ε)·(δ_N − mean δ_N − (Z − μ)/√(σ² + ε)·mean(δ_N·(Z − μ)/√(σ² + ε)))"
            if sheet.norm.from_batch
            else "δ = γ/√(σ² + ε)·δ_N"
        )


def _applied(activation: Activation, inner: str) -> str:
    return {"linear": inner, "sigmoid": f"σ({inner})"}.get(activation.name, f"{activation.name}({inner})")


def _unit_parameters(title: str, layer: str, sheet: LayerSheet) -> Sheet:
    norm = sheet.norm
    assert norm is not None
    rows = tuple(
        (
            f"unit {unit + 1}",
            (
                Cell(f"mu{layer}_{unit + 1}", float(norm.mean[unit]), not norm.from_batch),
                Cell(f"var{layer}_{unit + 1}", float(norm.var[unit]), not norm.from_batch),
            ),
        )
        for unit in range(len(norm.gamma))
    )
    origin = "over the batch" if norm.from_batch else "the running ones"
    return Sheet(title, (f"μ and σ² are {origin}, ε = {norm.eps:g}",), ("", "μ", "σ²"), rows)


def _parameters(title: str, layer: str, sheet: LayerSheet, lr: float | None) -> Sheet:
    """Every parameter of a layer with its gradient and, where there is a rate, its new number."""
    found: list[tuple[str, float, float, float | None]] = []
    for unit in range(len(sheet.W)):
        for i in range(sheet.W.shape[1]):
            new = None if sheet.new_W is None else float(sheet.new_W[unit, i])
            found.append((f"w{layer}_{unit + 1}_{i + 1}", float(sheet.W[unit, i]), float(sheet.dW[unit, i]), new))
        if sheet.B is not None and sheet.dB is not None:
            new = None if sheet.new_B is None else float(sheet.new_B[unit])
            found.append((f"b{layer}_{unit + 1}", float(sheet.B[unit]), float(sheet.dB[unit]), new))
    norm = sheet.norm
    if norm is not None:
        for name, numbers, slopes, news in (
            ("gamma", norm.gamma, norm.dgamma, norm.new_gamma),
            ("beta", norm.beta, norm.dbeta, norm.new_beta),
        ):
            for unit in range(len(numbers)):
                new = None if news is None else float(news[unit])
                found.append((f"{name}{layer}_{unit + 1}", float(numbers[unit]), float(slopes[unit]), new))
    rows = []
    for name, value, slope, new in found:
        cells = [Cell(name, value, True), Cell(f"dL/d{name}", slope)]
        rows.append((name, tuple(cells if new is None else [*cells, Cell(f"new({name})", new)])))
    formulas = ["∂L/∂W = δ·A of the layer before" + ("" if sheet.B is None else ", ∂L/∂B = δ")]
    if norm is not None:
        formulas.append("∂L/∂γ = Σ δ_N·(Z − μ)/√(σ² + ε), ∂L/∂β = Σ δ_N")
    if lr is not None:
        formulas.append("new = value − lr·gradient")
    columns = ("", "value", "gradient", *(["new"] if lr is not None else []))
    return Sheet(title, tuple(formulas), columns, tuple(rows))
