"""The matrices of a worksheet: what they are called, which cells they have, and in which order they are worked out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from engine.text import in_notation
from nn.activations import Array
from nn.derivation import LayerSheet


class Matrix(NamedTuple):
    """A matrix of a layer, which are counted from 1; the A of layer 0 are the inputs."""

    kind: str
    layer: int


@dataclass(frozen=True)
class Kind:
    """What matrices of a kind are called: a cell in the worksheet, the matrix, and the net's node that it is about.

    `{}` stands for the place of a cell, the number of a layer, and the place of a node. `over` is what its columns
    are: examples, the units of the layer before (of weights), or nothing.
    """

    label: str
    symbol: str
    node: str
    over: Literal["examples", "inputs", ""]
    sign: Literal["", "delta", "dA", "gradient"] = ""


KINDS = {
    "T": Kind("t{}", "t", "t{}", "examples"),
    "W": Kind("w{}", "W{}", "w{}", "inputs"),
    "B": Kind("b{}", "B{}", "b{}", ""),
    "gamma": Kind("gamma{}", "γ{}", "gamma{}", ""),
    "beta": Kind("beta{}", "β{}", "beta{}", ""),
    "Z": Kind("z{}", "Z{}", "z{}", "examples"),
    "mu": Kind("mu{}", "μ{}", "n{}", ""),
    "var": Kind("var{}", "σ²{}", "n{}", ""),
    "N": Kind("n{}", "N{}", "n{}", "examples"),
    "A": Kind("a{}", "A{}", "a{}", "examples"),
    "f_prime": Kind("f'(z{})", "f′(Z{})", "z{}", "examples"),
    "p": Kind("p{}", "p{}", "p{}", "examples"),
    "y": Kind("y{}", "y{}", "y{}", "examples"),
    "L": Kind("L", "L", "L", ""),
    "dp": Kind("dL/dp{}", "∂L/∂p{}", "p{}", "examples", "dA"),
    "through": Kind("jacobian{}", "Σ ∂L/∂p·∂p/∂Z{}", "z{}", "examples", "delta"),
    "dA": Kind("dL/da{}", "∂L/∂A{}", "a{}", "examples", "dA"),
    "delta_N": Kind("dL/dn{}", "δ_N{}", "n{}", "examples", "delta"),
    "delta": Kind("delta{}", "δ{}", "z{}", "examples", "delta"),
    "dW": Kind("dL/dw{}", "∂L/∂W{}", "w{}", "inputs", "gradient"),
    "dB": Kind("dL/db{}", "∂L/∂B{}", "b{}", "", "gradient"),
    "dgamma": Kind("dL/dgamma{}", "∂L/∂γ{}", "gamma{}", "", "gradient"),
    "dbeta": Kind("dL/dbeta{}", "∂L/∂β{}", "beta{}", "", "gradient"),
    "new_W": Kind("new(w{})", "new W{}", "w{}", "inputs"),
    "new_B": Kind("new(b{})", "new B{}", "b{}", ""),
    "new_gamma": Kind("new(gamma{})", "new γ{}", "gamma{}", ""),
    "new_beta": Kind("new(beta{})", "new β{}", "beta{}", ""),
}
"""Every kind of matrix. `sign` says with which others its sign is turned where δ = −∂L/∂Z."""

FORWARD = ("W", "B", "gamma", "beta", "Z", "mu", "var", "N", "A", "f_prime", "p", "y")
BACKWARD = (
    "dp", "through", "dA", "delta_N", "delta",
    "dW", "dB", "dgamma", "dbeta", "new_W", "new_B", "new_gamma", "new_beta",
)  # fmt: skip
PARAMETERS = ("W", "B", "gamma", "beta")


class Cell(NamedTuple):
    """A place in a matrix, counted from 0: a unit, and an example or an input."""

    matrix: Matrix
    row: int
    column: int

    @property
    def at(self) -> tuple[int, int]:
        """Its index."""
        return self.row, self.column


class Matrices:
    """The right numbers of every matrix, all of two dimensions, in the order in which a person works them out.

    `given` are those that the worksheet tells; `labels` leads from the worksheet's names to cells.
    """

    def __init__(
        self, layers: Sequence[LayerSheet], X: Array, T: Array, value: float, *, one: bool, numbered: bool
    ) -> None:
        self.count = len(layers)
        self.examples: int = X.shape[1]
        self._layers, self._one, self._numbered = layers, one, numbered
        self.right: dict[Matrix, Array] = {}
        self.given: set[Matrix] = set()
        for matrix, numbers in self._in_order(X, T, value):
            self.right[matrix] = numbers.reshape(len(numbers), -1)
            static = (layer := layers[matrix.layer - 1]).norm is not None and not layer.norm.from_batch
            if matrix.kind in ("T", *PARAMETERS) or not matrix.layer or (static and matrix.kind in ("mu", "var")):
                self.given.add(matrix)
        self.labels = {self.label(cell): cell for matrix in self.right for cell in self.cells(matrix)}

    def _in_order(self, X: Array, T: Array, value: float) -> Iterator[tuple[Matrix, Array]]:
        yield Matrix("A", 0), X
        yield Matrix("T", self.count), T
        parts = [_parts(sheet) for sheet in self._layers]
        for kinds, places in ((FORWARD, range(self.count)), (BACKWARD, reversed(range(self.count)))):
            if kinds is BACKWARD:
                yield Matrix("L", self.count), np.array([value])
            for place in places:
                for kind in kinds:
                    if (found := parts[place].get(kind)) is not None:
                        yield Matrix(kind, place + 1), found

    def cells(self, matrix: Matrix) -> Iterator[Cell]:
        """Every cell, row by row."""
        rows, columns = self.right[matrix].shape
        return (Cell(matrix, row, column) for row in range(rows) for column in range(columns))

    def label(self, cell: Cell) -> str:
        """The worksheet's name of a cell."""
        return self._named(cell, self._kind(cell.matrix).label)

    def node(self, cell: Cell) -> str:
        """The name of the net's node that a cell is about."""
        return self._named(cell, self._kind(cell.matrix).node)

    def _named(self, cell: Cell, form: str) -> str:
        (kind, layer), row, column = cell
        if kind == "L":
            return form
        number = str(layer) if self._numbered else ""
        end = f"_ex{column + 1}" if KINDS[kind].over == "examples" and not self._one else ""
        if not layer:
            return f"x{row + 1}{end}"
        if kind == "T":
            return f"t{row + 1}{end}"
        return form.format(f"{number}_{row + 1}" + (f"_{column + 1}" if KINDS[kind].over == "inputs" else end))

    def _kind(self, matrix: Matrix) -> Kind:
        kind = KINDS[matrix.kind]
        if matrix.kind == "f_prime" and self._layers[matrix.layer - 1].norm is not None:
            return Kind("f'(n{})", "f′(N{})", "n{}", kind.over)
        return kind

    def symbol(self, matrix: Matrix) -> str:
        """How a matrix is written: δ2."""
        if matrix == Matrix("A", 0):
            return "X"
        return self._kind(matrix).symbol.format(matrix.layer if self._numbered else "")

    def written(self, cell: Cell) -> str:
        """How a cell is written in formulas: δ2[1], and of the second example δ2[1, 2]."""
        symbol, over = self.symbol(cell.matrix), KINDS[cell.matrix.kind].over
        if cell.matrix.kind == "L":
            return symbol
        index = f"[{cell.row + 1}, {cell.column + 1}]"
        if not (over == "inputs" or (over == "examples" and not self._one)):
            index = f"[{cell.row + 1}]"
        return f"{symbol[:-1]}{index})" if symbol.endswith(")") else f"{symbol}{index}"

    def unit(self, cell: Cell) -> str:
        """Where a cell stands, in words."""
        if cell.matrix.kind == "L":
            return "the loss"
        example = f", example {cell.column + 1}" * (KINDS[cell.matrix.kind].over == "examples" and not self._one)
        layer = f" of layer {cell.matrix.layer}" if self._numbered else ""
        return f"unit {cell.row + 1}{layer}{example}"

    # Names that people write

    def find(self, name: str) -> Matrix | Cell:
        """The matrix or cell that a name means, in the worksheet's spelling or a like one. Raises LookupError."""
        if name in self.labels:
            return self.labels[name]
        folded = _folded(name)
        if folded in self._spellings:
            return self._spellings[folded]
        index = re.fullmatch(r"(.*\w.*?)\[([^\[\]]*)\](\)?)", name.strip())
        if (
            index is not None
            and not index[1].rstrip().endswith("^")
            and (self.count == 1 or re.search(r"\d", _digits(index[1])))
        ):
            return self._cell(self._matrix(index[1] + index[3]), index[2], name)
        return self._matrix(name)

    @cached_property
    def _spellings(self) -> dict[str, Cell]:
        found: dict[str, Cell] = {}
        for label, cell in self.labels.items():
            for spelling in (label, in_notation(label, "unicode"), label.replace("delta", "dL/dz")):
                found.setdefault(_folded(spelling), cell)
        return found

    def _matrix(self, name: str) -> Matrix:
        plain = re.sub(r"[\s_^{}\[\]()*$`\\,.:]|layer|\bof\b", "", _digits(name))
        numbers = re.findall(r"\d+", plain)
        word = re.sub(r"\d+", "", plain)
        kind = _kind_of(word)
        if kind is None or len(numbers) > 1:
            raise LookupError
        if kind in ("L", "T"):
            return Matrix(kind, self.count)
        if kind == "X":
            return Matrix("A", 0)
        if not numbers and self.count > 1:
            raise LookupError(
                f"It does not say of which layer: write {name.strip()[:20]}1, …, {name.strip()[:20]}{self.count}."
            )
        found = Matrix(kind, int(numbers[0]) if numbers else 1)
        if found not in self.right:
            known = [self.symbol(matrix) for matrix in sorted(self.right) if matrix.kind == kind]
            raise LookupError(f"There is no such matrix here{'; there is ' + ', '.join(known) if known else ''}.")
        return found

    def _cell(self, matrix: Matrix, index: str, name: str) -> Cell:
        numbers = [int(number) for number in re.findall(r"\d+", index)]
        rows, columns = self.right[matrix].shape
        if columns == 1 and len(numbers) == 1:
            numbers.append(1)
        if len(numbers) != 2 or not (1 <= numbers[0] <= rows and 1 <= numbers[1] <= columns):
            raise LookupError(f"{self.symbol(matrix)} has {rows} rows and {columns} columns, counted from 1.")
        return Cell(matrix, numbers[0] - 1, numbers[1] - 1)


def _parts(sheet: LayerSheet) -> dict[str, Array | None]:
    """The matrices of a layer by their kinds, None for those that it does not have."""
    parts: dict[str, Array | None] = {"W": sheet.W, "B": sheet.B, "Z": sheet.Z, "A": sheet.A, "delta": sheet.delta}
    parts |= {"dW": sheet.dW, "dB": sheet.dB, "new_W": sheet.new_W, "new_B": sheet.new_B}
    softmax, norm = sheet.softmax, sheet.norm
    if softmax is not None:
        parts |= {"p": softmax.p, "y": softmax.y, "dp": softmax.dp, "through": softmax.through}
    else:
        parts |= {"f_prime": sheet.f_prime, "dA": sheet.dA}
    if norm is not None:
        parts |= {"mu": norm.mean, "var": norm.var, "N": norm.N, "delta_N": norm.delta_N}
        parts |= {"gamma": norm.gamma, "dgamma": norm.dgamma, "new_gamma": norm.new_gamma}
        parts |= {"beta": norm.beta, "dbeta": norm.dbeta, "new_beta": norm.new_beta}
    return parts


_LETTERS = str.maketrans(
    {"δ": "delta", "∂": "d", "′": "'", "’": "'", "`": "'", "σ": "sigma", "γ": "gamma", "β": "beta", "μ": "mu"}
    | {"∇": "d", "−": "-", "–": "-"}
)


def _digits(name: str) -> str:
    """A name in small plain letters; raised and lowered digits are digits."""
    return unicodedata.normalize("NFKC", name.replace("σ²", "var")).casefold().translate(_LETTERS)


def _folded(name: str) -> str:
    """A cell's name without what spellings differ in: the letter of the loss, spaces, small and capital letters."""
    plain = _digits(_LAYERS.sub(lambda found: f"{found[0]}_", name))
    plain = re.sub(r"[\s,{}$*\\]+", lambda found: "_" if "," in found[0] else "", plain)
    plain = re.sub(r"\bd[a-z]/d", "dl/d", plain)
    return re.sub(r"_+", "_", plain)


_LAYERS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+(?=[₀₁₂₃₄₅₆₇₈₉])")  # w²₁,₃ is w2_1_3

_PARAMETER = {"w": "W", "weight": "W", "weights": "W", "b": "B", "bias": "B", "biases": "B"} | {
    name: name for name in ("gamma", "beta")
}
_WORDS = {
    "z": "Z", "net": "Z", "n": "N", "a": "A", "out": "A", "activation": "A", "activations": "A",
    "fprime": "f_prime", "fprimez": "f_prime", "fprimen": "f_prime", "derivative": "f_prime",
    "da": "dA", "delta": "delta", "deltas": "delta", "dz": "delta", "deltaz": "delta", "dn": "delta_N",
    "deltan": "delta_N", "p": "p", "softmax": "p", "y": "y", "dp": "dp", "jacobian": "through", "dpdpdz": "through",
    "mu": "mu", "mean": "mu", "var": "var", "variance": "var", "l": "L", "loss": "L", "e": "L", "cost": "L", "j": "L",
    "x": "X", "input": "X", "inputs": "X", "t": "T", "target": "T", "targets": "T",
}  # fmt: skip
for _word, _kind in _PARAMETER.items():
    _WORDS[_word] = _kind
    _WORDS |= {f"{before}{_word}": f"d{_kind}" for before in ("d", "grad", "gradient")}
    _WORDS |= {f"new{_word}": f"new_{_kind}", f"{_word}new": f"new_{_kind}"}
    _WORDS |= {f"updated{_word}": f"new_{_kind}", f"{_word}updated": f"new_{_kind}"}


def _kind_of(word: str) -> str | None:
    """The kind that a word in small plain letters means, without digits, spaces and parentheses."""
    word = re.sub(r"^d[a-z]*/d", "d", word)
    if re.fullmatch(r"[a-z]+'(z|n|net)?", word):
        return "f_prime"
    return _WORDS.get(word)


def kind_of(title: str) -> str | None:
    """The kind of matrix that the title of a column means, None for no known one."""
    plain = re.sub(r"[\s_^{}\[\]()*$`\\,.:]", "", _digits(title))
    return _kind_of("through" if plain.startswith(("sigmadl", "σdl", "∑dl")) else plain) or (
        "through" if "dp/dz" in plain else None
    )
