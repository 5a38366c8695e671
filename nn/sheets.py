"""Tables of named numbers, for the terminal, Markdown, LaTeX and CSV, filled in or blank."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.text import escaped_for_latex, in_notation, latex_number, markdown_table, number, table

if TYPE_CHECKING:
    from engine.text import Notation

BLANK = "______"


@dataclass(frozen=True)
class Cell:
    """A number under its name, None where it is to be filled in; what is `given` stands in a blank table too."""

    name: str
    value: float | None
    given: bool = False

    def shown(self, digits: int) -> str:
        """The number, or the place for it."""
        return BLANK if self.value is None else number(self.value, digits)


@dataclass(frozen=True)
class Sheet:
    """A table: its title, its formulas, the titles of its columns, and rows of a first text and cells."""

    title: str
    formulas: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    def blank(self) -> Sheet:
        """The table without its answers."""
        rows = [(n, tuple(c if c.given else replace(c, value=None) for c in cells)) for n, cells in self.rows]
        return replace(self, rows=tuple(rows))


def as_text(heading: Sequence[str], sheets: Iterable[Sheet], digits: int, notation: Notation) -> str:
    """Tables for the terminal."""
    parts = ["\n".join(heading)]
    for sheet in sheets:
        rows = [[_named(name, notation), *(cell.shown(digits) for cell in cells)] for name, cells in sheet.rows]
        body = table(sheet.columns, rows, justify="l" + "r" * (len(sheet.columns) - 1))
        parts.append("\n".join([sheet.title, *(f"  {formula}" for formula in sheet.formulas), body]))
    return "\n\n".join(parts)


def as_markdown(heading: Sequence[str], sheets: Iterable[Sheet], digits: int, notation: Notation) -> str:
    """Tables in Markdown."""
    title, *more = heading
    parts = [f"## {title}", *more]
    for sheet in sheets:
        rows = [[_named(name, notation), *(cell.shown(digits) for cell in cells)] for name, cells in sheet.rows]
        formulas = ["\n".join(f"- {formula}" for formula in sheet.formulas)] if sheet.formulas else []
        parts += [f"### {sheet.title}", *formulas, markdown_table(sheet.columns, rows)]
    return "\n\n".join(parts) + "\n"


def as_latex(heading: Sequence[str], sheets: Iterable[Sheet], digits: int) -> str:
    """Tables in LaTeX, for a document of any class, without packages."""
    title, *more = heading
    parts = ["\n".join([f"\\section*{{{_latex_text(title)}}}", *map(_latex_text, more)])]
    for sheet in sheets:
        lines = [" & ".join(_latex_title(column) for column in sheet.columns) + r" \\ \hline"]
        for name, cells in sheet.rows:
            numbers = [_latex_number(cell, digits) for cell in cells]
            lines.append(" & ".join([_latex_name(name), *numbers]) + r" \\")
        formulas = [f"\\[ {_latex_formula(formula)} \\]" for formula in sheet.formulas]
        body = [f"\\begin{{tabular}}{{l{'r' * (len(sheet.columns) - 1)}}}", *lines, r"\end{tabular}"]
        parts.append("\n".join([f"\\subsection*{{{_latex_text(sheet.title)}}}", *formulas, *body]))
    return "\n\n".join(parts) + "\n"


def as_csv(sheets: Iterable[Sheet]) -> str:
    """A line for each number: its table, its name and itself to the last digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "name", "value"])
    for sheet in sheets:
        for _, cells in sheet.rows:
            writer.writerows([sheet.title, cell.name, "" if cell.value is None else repr(cell.value)] for cell in cells)
    return out.getvalue()


def _named(name: str, notation: Notation) -> str:
    return name if " " in name else in_notation(name, notation)


_LATEX = {
    "−": "-", "½": r"\frac{1}{2}", "·": r"\cdot ", "′": "'", "²": "^2", "σ": r"\sigma ", "δ": r"\delta ", "Σ": r"\sum ",
    "∂": r"\partial ", "γ": r"\gamma ", "β": r"\beta ", "μ": r"\mu ", "ε": r"\varepsilon ",
    "φ": r"\varphi ", "Φ": r"\Phi ", "π": r"\pi ", "→": r"\to ",
}  # fmt: skip


def _latex_formula(formula: str) -> str:
    """Words upright with their spaces; symbols by their commands."""
    words = re.sub(r" ?\b(?:[a-z]{2,}|(?<=[0-9])[a-z])\b(?: [a-z]{2,}\b)* ?", _upright, formula)
    rooted = re.sub(r"√(?:\(([^()]*)\)|(\w))", r"\\sqrt{\1\2}", words)
    return "".join(_LATEX.get(letter, letter) for letter in rooted)


def _upright(found: re.Match[str]) -> str:
    text = found[0]
    if text.strip() in ("exp", "ln", "max", "tanh", "sinh", "cosh", "sin", "cos"):
        return f"\\{text.strip()} "
    return rf"\mathrm{{{text.replace(' ', '~')}}}"


def _latex_text(text: str) -> str:
    return "".join(f"${_LATEX[c].strip()}$" if c in _LATEX else escaped_for_latex(c) for c in text)


def _latex_title(column: str) -> str:
    return column if column in ("", "name", "value", "gradient", "new") else f"${_latex_formula(column)}$"


def _latex_name(name: str) -> str:
    return name if " " in name else f"${in_notation(name, 'latex')}$"


def _latex_number(cell: Cell, digits: int) -> str:
    return r"\_" * len(BLANK) if cell.value is None else f"${latex_number(cell.value, digits)}$"
