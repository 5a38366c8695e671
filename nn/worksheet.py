"""The worksheet: one step of backpropagation in tables, derived by hand's formulas and checked against the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import Value
from engine.text import nearest, number
from nn import sheets
from nn.activations import Activation, Array
from nn.agreement import refuse_disagreement
from nn.data import as_array, as_examples, refuse_count, refuse_not_positive
from nn.derivation import LOSS_RULES, LayerSheet, Normalization, derive
from nn.following import Chapter
from nn.layers import MLP, Layer, layers_of, outputs_of, refuse_output
from nn.losses import LOSSES, Loss, as_loss, as_targets
from nn.marking import mark
from nn.matrices import Matrices
from nn.sheet_report import SheetReport
from nn.sheets import Cell, Sheet

if TYPE_CHECKING:
    from engine.text import Notation


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
        self._chapter = Chapter(
            Matrices(layers, X, T, value, one=one, numbered=isinstance(model, MLP)), self.layers, loss, lr
        )
        every = [cell for sheet in self._sheets for _, cells in sheet.rows for cell in cells]
        self._numbers = {cell.name: cell.value for cell in every if cell.value is not None}

    def __getitem__(self, name: str) -> float:
        if name not in self._numbers:
            raise KeyError(f"the worksheet has no {name!r}. {nearest(str(name), self._numbers)}")
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

    def compare(self, student: Any, *, convention: str = "gradient", digits: int = 3) -> SheetReport:
        """Judge a student's sheet cell by cell: one slip is one wrong cell, and what follows from it rightly is right.

        `student` is a dict from names of matrices or cells to numbers (`"delta1"`, `"dL/dW2"`, `"W2_new"`, `"z2_1"`),
        or the text or path of CSV, Markdown or the blank filled in. Cells left blank are not answered. Printed
        numbers are judged by their digits, of which `digits` significant ones are needed. With
        `convention="negative_gradient"` δ is expected as −∂L/∂Z.

        Raises TypeError for what is no sheet, ValueError for options without meaning and a sheet without a number,
        OSError for a path that can't be read.
        """
        return mark(
            student, self._chapter, self._sheets, self.title,
            shown=self.digits, digits=digits, convention=convention,
        )  # fmt: skip

    def _indices(self) -> list[str]:
        if not isinstance(self._model, MLP):
            return []
        layer = self._model.layers[-1]
        j, i, last = len(layer.neurons), layer.n_inputs, len(self._model.layers)
        name = f"w{last}_{j}_{i} is layer {last}'s weight to unit {j} from unit {i}"
        return [f"{name}: W_{i}{',' * (max(i, j) > 9)}{j}, where W_ij leads from i to j."]

    @property
    def _heading(self) -> tuple[str, ...]:
        return self.title, *self._indices()

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
    the engine's. The chapter's W_ij leads from unit i to unit j and is W[j, i] here, `w2_j_i` in layer 2. Neither the
    parameters nor their gradients are changed.

    Raises TypeError and ValueError for what does not fit together, Disagreement where a number is not the engine's.
    """
    if not isinstance(model, MLP | Layer):
        raise TypeError(
            f"A worksheet needs an MLP or a Layer, whose formulas it knows, not {type(model).__name__}. One neuron is "
            "MLP(n_inputs, [1], output=…)."
        )
    name, function = as_loss(loss)
    if not name or function is not LOSSES[name]:
        raise ValueError(f"The worksheet has the formulas of {', '.join(LOSSES)} as they stand, and of no other loss.")
    refuse_count(digits=digits)
    _refuse_changed(model)
    refuse_output(model, name)
    if lr is not None:
        refuse_not_positive(lr=lr)
    one = as_array(x, "x").ndim == 1
    outputs = outputs_of(model) or 1
    rows = as_examples([x] if one else x, model.n_inputs, "x")
    targets = as_targets(name, [target] if one else target, len(rows), outputs, "target")
    X, T = np.array(rows).T, _as_columns(targets, outputs, name)
    layers, value = derive(model, X, T, name, lr)
    refuse_disagreement(model, rows, targets, T, name, lr, layers, value)
    return Worksheet(model, name, lr, layers, value, X, T, one=one, digits=digits, blank=blank)


def _refuse_changed(model: MLP | Layer) -> None:
    """Raise ValueError for a net whose layers were changed since, so that one formula no longer holds for all units."""
    parameters: list[Value] = []
    for layer in layers_of(model):
        if not layer.alike or len(layer.biases) not in (0, len(layer.neurons)) or len({*map(len, layer.weights)}) > 1:
            raise ValueError(
                "The neurons of a layer differ in activation, weights or bias; its formulas are for all alike."
            )
        parameters += [parameter for row in [*layer.weights, layer.biases] for parameter in row]
    if len(set(parameters)) < len(parameters):
        raise ValueError("Some parameters are one and the same Value; the chapter's ∂L/∂W is that of each by itself.")


def _as_columns(targets: list[Any], outputs: int, loss: str) -> Array:
    if loss == "cross_entropy" and isinstance(targets[0], int):
        return np.eye(outputs)[:, targets]
    return np.array(targets, dtype=float).reshape(len(targets), -1).T


def _sheets(
    model: MLP | Layer, layers: list[LayerSheet], X: Array, T: Array, loss: str, value: float,
    *, one: bool, lr: float | None,
) -> Iterator[Sheet]:  # fmt: skip
    ends = [""] if one else [f"_ex{example + 1}" for example in range(X.shape[1])]
    given = [Cell(f"x{i + 1}{end}", float(X[i, e]), True) for e, end in enumerate(ends) for i in range(len(X))]
    wanted = [Cell(f"t{k + 1}{end}", float(T[k, e]), True) for e, end in enumerate(ends) for k in range(len(T))]
    yield Sheet("Inputs and targets", (), ("name", "value"), tuple((c.name, (c,)) for c in [*given, *wanted]))
    averaged = len(ends) if loss == "cross_entropy" else T.size
    over = f"/{averaged}" if averaged > 1 else ""
    for place, sheet in enumerate(layers, 1):
        layer = str(place) if isinstance(model, MLP) else ""
        title = f"Layer {place}" if layer else "Layer"
        last = place == len(layers)
        yield _units(title, layer, sheet, ends, loss if last else "", over)
        if sheet.norm is not None:
            yield _statistics(f"{title}, normalization", layer, sheet.norm)
        yield _parameters(f"{title}, parameters", layer, sheet, lr)
    formula = "(−Σ y·ln p){}" if loss == "cross_entropy" else LOSS_RULES[loss].formula
    yield Sheet("Loss", (f"L = {_over(formula, over)}",), ("name", "value"), (("L", (Cell("L", value),)),))


def _over(formula: str, over: str) -> str:
    """A formula with what it is divided by; without that it needs no parentheses around it."""
    return formula.format(over) if over or not formula.endswith("){}") else formula[: -len("){}")].removeprefix("(")


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
        yield "p = exp(A)/Σ exp(A)"
        yield f"∂L/∂p = −y/{f'({over[1:]}·p)' if over else 'p'}, ∂p_k/∂Z_j = p_k·(1 − p_k) if j = k else −p_k·p_j"
        yield f"δ_j = Σ ∂L/∂p_k·∂p_k/∂Z_j = {'(p_j − y_j)' if over else 'p_j − y_j'}{over}"
        return
    yield f"f′({inner}) = {sheet.activation.rule.replace('Z', inner)}"
    delta = "δ" if sheet.norm is None else "δ_N"
    if loss:
        yield f"∂L/∂A = {_over(LOSS_RULES[loss].rule, over)}"
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


def _statistics(title: str, layer: str, norm: Normalization) -> Sheet:
    """μ and σ² of every unit."""
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
