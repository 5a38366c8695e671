"""What became of a student's worksheet: rows, credit, and the tables that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from engine import Row
from engine.report import Findings
from engine.text import number, shorten, table
from nn.matrices import Cell, Matrices
from nn.sheets import BLANK, Sheet

MOST_DETAILED = 30  # wrong cells that are told of one by one
DELTAS = {"gradient": "∂L/∂Z", "negative_gradient": "−∂L/∂Z"}
OTHER_CONVENTION = {
    name: f"Right for δ = {delta}, another convention than was asked for." for name, delta in DELTAS.items()
}


class Shown(NamedTuple):
    """The worksheet that a report is about: its title, tables, matrices, and the digits it was printed to."""

    title: str
    sheets: Sequence[Sheet]
    matrices: Matrices
    digits: int


class SheetReport(Findings[Row]):
    """A row for each cell that was handed in, by the worksheet's names; `δ1[2]` and `W2[1, 3]` find them too.

    `credit` is (earned, possible) with follow-through, `layout` "as given" or what was transposed, `convention` that
    of the student's δ, and `unanswered` the cells that were left blank.
    """

    _row_is, _if_wrong = "cell", "not every cell is right"

    def __init__(
        self, rows: Mapping[str, Row], shown: Shown, *, layout: str, convention: str, notes: Sequence[str]
    ) -> None:
        super().__init__(rows)
        self.layout, self.convention = layout, convention
        self._shown_as, self._matrices, self._notes = shown, shown.matrices, tuple(notes)

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            try:
                found = self._matrices.find(name)
            except LookupError:
                return super().__getitem__(name)
            name = self._matrices.label(found) if isinstance(found, Cell) else name
        return super().__getitem__(name)

    @property
    def ok(self) -> bool:
        """Whether every cell is right."""
        return all(row.verdict == "right" for row in self._rows.values())

    @property
    def credit(self) -> tuple[int, int]:
        """How many cells are right, also by follow-through, and how many there are; given ones don't count."""
        asked = [row for name, row in self._rows.items() if not self._is_given(name)]
        return sum(row.verdict == "right" for row in asked), len(asked)

    def _is_given(self, name: str) -> bool:
        cell = self._matrices.labels.get(name)
        return cell is not None and cell.matrix in self._matrices.given

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The cells that were left blank."""
        return tuple(name for name, row in self._rows.items() if not row.answer)

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The wrong cells, in the order of the derivation."""
        return tuple(row for row in self._rows.values() if row.verdict == "wrong")

    def __str__(self) -> str:
        earned, possible = self.credit
        parts = [
            "\n".join([self._shown_as.title, f"{earned} of {possible} right. {self._counted()}".rstrip(), *self._notes])
        ]
        parts += [self._said(row) for row in self.wrong[:1]]
        parts += self._tables()
        parts += [self._said(row) for row in self.wrong[1:MOST_DETAILED]]
        if len(self.wrong) > MOST_DETAILED:
            parts.append(f"and {len(self.wrong) - MOST_DETAILED} more wrong numbers, marked in the tables")
        unclear = [row for row in self._rows.values() if row.verdict in ("invalid", "undecided") and row.answer]
        parts += [self._said(row) for row in unclear if row.message not in OTHER_CONVENTION.values()]
        return "\n\n".join(parts)

    def _counted(self) -> str:
        rows = self._rows.values()
        counts = {
            "wrong": sum(row.verdict == "wrong" for row in rows),
            "undecided": sum(row.verdict == "undecided" and bool(row.answer) for row in rows),
            "not answered": len(self.unanswered),
            "not read": sum(row.verdict == "invalid" for row in rows),
            "right by what follows from a wrong one": sum(_has(row, "follow_through") for row in rows),
            "right with early rounding": sum(_has(row, "early_rounding") for row in rows),
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{told[:1].upper()}{told[1:]}." if told else ""

    def _said(self, row: Row) -> str:
        first = " is the first wrong number" if self.wrong[:1] == (row,) else f" is {row.verdict}"
        yours = f": yours is {shorten(row.answer)}" if row.obtained is not None else ""
        lines = [f"{row.name}{first}{yours}", *(f"  {line}" for line in row.message.splitlines())]
        return "\n".join([*lines, *(f"  {line}" for line in row.derivation.splitlines())])

    def _tables(self) -> Iterator[str]:
        for sheet in self._shown_as.sheets:
            cells = [cell.name for _, row in sheet.rows for cell in row]
            if not any(
                name in self._rows and (not self._is_given(name) or _is_bad(self._rows[name])) for name in cells
            ):
                continue
            filled = [[label, *(self._shown(cell.name, cell.value) for cell in row)] for label, row in sheet.rows]
            body = table(sheet.columns, filled, justify="l" + "r" * (len(sheet.columns) - 1))
            yield f"{sheet.title}\n{body}"

    def _shown(self, name: str, value: float | None) -> str:
        row = self._rows.get(name)
        if row is None:
            return f"{number(value or 0.0, self._shown_as.digits)}  " if self._is_given(name) else "  "
        mark = "→" if _has(row, "follow_through") else "≈" if _has(row, "early_rounding") else _MARK[row.verdict]
        return f"{shorten(row.answer, 24) or BLANK} {mark if row.answer else ' '}"


_MARK = {"right": " ", "wrong": "✗", "undecided": "?", "invalid": "!"}


def _has(row: Row, key: str) -> bool:
    return row.verdict == "right" and any(mistake.key == key for mistake in row.mistakes)


def _is_bad(row: Row) -> bool:
    return row.verdict != "right"
