"""What a student hands in of a worksheet: a dict, CSV, Markdown, or the blank filled in, read cell by cell.

A text is data: numbers are read by their digits, and what is none is kept with its place and why.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from engine.answers import is_left_out, read_answer
from engine.formula import FormulaError
from engine.text import RAISED, in_notation, nearest, shorten
from nn.matrices import Cell, Matrices, Matrix, kind_of
from nn.sheets import BLANK, Sheet

LONGEST = 1_000_000  # characters of a text that is read
MOST_DIGITS = 28  # of a number, as many as Decimal keeps
FEW, MANY = 4, 38  # numbers that tell how a sheet was rounded; of so many one ends in a 0, but for 1 in 50 times


@dataclass(frozen=True)
class Entry:
    """What stands in one cell: a number as text, or a problem; `shown` is as it was written."""

    shown: str
    text: str = ""
    is_float: bool = False
    problem: str = ""


@dataclass
class Filled:
    """What was handed in: cells, None where one was left blank, and whole matrices whose layout is not known yet.

    `is_text` for a sheet or a table, of whose matrices every cell was asked for; a dict may name single cells.
    """

    is_text: bool = False
    cells: dict[Cell, Entry | None] = field(default_factory=dict)
    grids: dict[Matrix, list[list[Entry | None]]] = field(default_factory=dict)
    problems: dict[str, Entry] = field(default_factory=dict)


def read(student: Any, matrices: Matrices, sheets: Sequence[Sheet]) -> Filled:
    """What a student hands in. Raises TypeError and ValueError where there is nothing to judge, OSError for a path."""
    reader = _Reader(matrices, sheets)
    if isinstance(student, Mapping):
        reader.read_mapping(student)
    elif isinstance(student, os.PathLike) or (isinstance(student, str) and _is_path(student)):
        reader.read_text(_text_of(Path(student)))
    elif isinstance(student, str):
        reader.read_text(student)
    else:
        raise TypeError(
            "A student's sheet is a dict such as {'delta1': [0.1, 0.2]}, the text of a filled-in worksheet, CSV or "
            f"Markdown, or the path of one, not {type(student).__name__}."
        )
    filled = reader.filled
    if not (any(filled.cells.values()) or filled.grids or filled.problems):
        raise ValueError(
            "No number of the worksheet was found. Write its names beside the numbers, such as `delta1_2, 0.25` as "
            "CSV, or fill in to_text(blank=True), to_markdown(blank=True) or to_csv(blank=True)."
        )
    return filled


def _text_of(path: Path) -> str:
    """The text of a file. Raises OSError, and ValueError where it is no text."""
    if path.is_dir():
        raise IsADirectoryError(f"{shorten(str(path))} is a folder: give the path of one student's file in it.")
    if path.is_file() and path.stat().st_size > 4 * LONGEST:
        raise ValueError(f"{shorten(str(path))} is longer than {LONGEST:,} characters: that is no worksheet.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{shorten(str(path))} is not UTF-8 text: it has the byte 0x{error.object[error.start]:02x}. Save it as "
            "CSV in UTF-8, Markdown or plain text; a spreadsheet's own file can't be read."
        ) from None


def _is_path(text: str) -> bool:
    return (
        "\n" not in text
        and len(text) < 1000
        and re.search(r"\.(csv|tsv|md|markdown|txt|text)$", text.strip(), re.I) is not None
    )


_BLANKS = {"", "?", "??", "???", "-", "—", "–", "−", "…", "...", ".", "n/a", "na", "nan", "none", "null"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,5})?", re.IGNORECASE | re.ASCII)
_POWER = re.compile(r"(?<=[\d.])\s*[·*×x]\s*10\s*(?:\^|\*\*)?\s*[({]?\s*([+-]?\d+|[⁺⁻]?[⁰¹²³⁴-⁹]+)\s*[)}]?$")


def entry_of(given: Any, *, where: str = "") -> Entry | None:
    """What stands in a cell, from text or a number; None where it is blank."""
    if given is None or given is np.ma.masked:
        return None
    if isinstance(given, str):
        return _entry_of_text(given, where)
    if hasattr(given, "data") and hasattr(given, "grad"):  # a Value
        given = given.data
    if isinstance(given, Decimal):
        return _entry_of_text(str(given), where)
    if isinstance(given, bool | np.bool_) or not isinstance(given, int | float | np.integer | np.floating):
        return Entry(shorten(str(given)), problem=f"{where}{shorten(repr(given))} is no number.")
    if isinstance(given, float | np.floating) and np.isnan(given):
        return None
    text = repr(given.item() if isinstance(given, np.generic) else given)
    if isinstance(given, np.floating) and given.dtype.itemsize < 8:
        text = str(given)  # the digits of its own precision
    if not _NUMBER.fullmatch(text) or len(text) > MOST_DIGITS:
        return Entry(shorten(text), problem=f"{where}{shorten(text)} is no number to compare with.")
    return Entry(text, text, not isinstance(given, int | np.integer))


def _entry_of_text(given: str, where: str) -> Entry | None:
    shown = re.sub(r"^[`*$\s]+|[`*$\s]+$", "", given)
    plain = re.sub(r"(?<![A-Za-z])_+|_+(?![A-Za-z])", "", shown).strip()
    if plain.casefold() in _BLANKS:
        return None
    shown = plain
    text = re.sub(r"[−–—‐]", "-", plain).replace("\u00a0", " ").replace("\u202f", " ")
    text = _POWER.sub(lambda power: f"e{power[1].translate(RAISED)}", re.sub(r"^([+-])\s+", r"\1", text))
    if re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", text, re.IGNORECASE):
        text = text.replace(",", ".")
    if len(text) <= MOST_DIGITS:
        if _NUMBER.fullmatch(text) and _is_in_floats(text):
            return Entry(shorten(shown), text.lstrip("+"))
        if fraction := re.fullmatch(r"([+-]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", text):
            with_sign, divisor = (Fraction(part) for part in fraction.groups())
            if divisor:
                return Entry(shorten(shown), repr(float(with_sign / divisor)), True)
    return _in_other_words(shown, where)


def _in_other_words(shown: str, where: str) -> Entry | None:
    """A number as `engine.compare` reads it too: with a unit, a percentage, a sign before it; None for "no idea"."""
    if is_left_out(shown):
        return None
    problem = f"{where}“{shorten(shown)}” is no number: write it as 0.25, 3/8 or 1.2e-3."
    try:
        text = read_answer(shown).text.strip()
    except FormulaError as error:
        return Entry(shorten(shown), problem=f"{where}“{shorten(shown)}”: {error.problem} {error.hint}".strip())
    if len(text) <= MOST_DIGITS and _NUMBER.fullmatch(text) and _is_in_floats(text):
        return Entry(shorten(shown), text.lstrip("+"))
    return Entry(shorten(shown), problem=problem)


def of_both(first: Entry | None, second: Entry | None) -> Entry | None:
    """What stands in a cell that is given twice: a problem where the numbers differ."""
    if first is None or second is None or first == second:
        return first if second is None else second
    if not (first.problem or second.problem) and Decimal(first.text) == Decimal(second.text):
        return first
    shown = f"{first.shown} and {second.shown}"
    return Entry(shorten(shown), problem=f"It is given twice, as {shorten(shown)}: take one of the two out.")


def _is_in_floats(text: str) -> bool:
    """Whether a number is neither too large nor too small for a float."""
    value = Decimal(text)
    return abs(value.adjusted() if value else exponent_of(value)) < 300


class _Reader:
    """One reading, by the names and the tables of one worksheet."""

    def __init__(self, matrices: Matrices, sheets: Sequence[Sheet]) -> None:
        self.matrices, self.sheets, self.filled = matrices, sheets, Filled()
        self._by_title = {_tidy(sheet.title): sheet for sheet in sheets}

    # A dict

    def read_mapping(self, given: Mapping[Any, Any], layer: str = "") -> None:
        """Names of cells or matrices with their numbers, or layers with such mappings."""
        for key, numbers in given.items():
            if isinstance(numbers, Mapping):
                digits = re.findall(r"\d+", str(key))
                if len(digits) != 1:
                    self.problem(
                        str(key), "", f"A mapping in a mapping is a layer's: write 'layer 1', not {shorten(repr(key))}."
                    )
                    continue
                self.read_mapping(numbers, digits[0])
            elif not isinstance(key, str):
                self.problem(str(key), "", f"A name is text such as 'delta1', not {shorten(repr(key))}.")
            else:
                self.read_named(f"{key} layer {layer}" if layer else key, numbers, key)

    def read_named(self, name: str, given: Any, shown: str = "", where: str = "") -> None:
        """One name with its number or numbers."""
        shown = shown or name
        try:
            found = self.matrices.find(name)
        except LookupError as error:
            hint = error.args[0] if error.args else nearest(shown, [*self.matrices.labels, *self._symbols()])
            self.problem(shown, _brief(given), f"{where}The worksheet has no `{shorten(shown)}`. {hint}")
            return
        if isinstance(found, Cell):
            while _is_list(given) and len(given) == 1:
                given = given[0]
            self.set(found, entry_of(given, where=where))
        elif isinstance(given, str) and not _has_several_numbers(given):
            self._set_grid(found, [[entry_of(given, where=where)]])
        else:
            self._read_grid(found, shown, given, where)

    def _read_grid(self, matrix: Matrix, name: str, given: Any, where: str) -> None:
        if isinstance(given, str):  # "0.1, 0.2; 0.3, 0.4" or "[[0.1, 0.2], [0.3, 0.4]]"
            rows_of_text = re.split(r"[;\n]|\]\s*,?\s*\[", given)
            given = [re.findall(r"[^\s,\[\]]+", row) for row in rows_of_text if row.strip(" []")]
        rows = list(given) if _is_list(given) else [given]
        grid = [list(row) if _is_list(row) else [row] for row in rows]
        place = f"{where}{name}"
        self._set_grid(
            matrix,
            [
                [entry_of(number, where=f"{place}, row {r}, column {c}: ") for c, number in enumerate(row, 1)]
                for r, row in enumerate(grid, 1)
            ],
        )

    def _symbols(self) -> Iterator[str]:
        return (self.matrices.symbol(matrix) for matrix in self.matrices.right)

    def set(self, cell: Cell, entry: Entry | None) -> None:
        """Keep what stands in a cell; a number is not lost to a blank, nor to another number."""
        self.filled.cells[cell] = of_both(self.filled.cells.get(cell), entry)

    def _set_grid(self, matrix: Matrix, grid: list[list[Entry | None]]) -> None:
        """Keep the numbers of a matrix; those of the same matrix under another name are not lost to them."""
        earlier = self.filled.grids.get(matrix)
        if earlier is None:
            self.filled.grids[matrix] = grid
        elif [len(row) for row in earlier] == [len(row) for row in grid]:
            self.filled.grids[matrix] = [
                [of_both(*pair) for pair in zip(*rows, strict=True)] for rows in zip(earlier, grid, strict=True)
            ]
        else:
            symbol = self.matrices.symbol(matrix)
            self.problem(symbol, "…", f"{symbol} is given twice, and not in one shape: take one of the two out.")

    def problem(self, name: str, shown: str, said: str) -> None:
        """Keep what belongs to no cell."""
        name = shorten(name) or "?"
        while name in self.filled.problems:
            name += "′"
        self.filled.problems[name] = Entry(shorten(shown), problem=said)

    # Texts

    def read_text(self, text: str) -> None:
        """The text of a worksheet filled in, of Markdown or of CSV."""
        if len(text) > LONGEST:
            raise ValueError(f"The text has {len(text):,} characters, and a worksheet fewer than {LONGEST:,}.")
        if r"\begin{tabular}" in text:
            raise ValueError("LaTeX is for printing: let students fill in the Markdown, the text or the CSV.")
        self.filled.is_text = True
        lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if any(line.strip().startswith("|") or re.match(r"\s*:?-{3,}:?\s*\|", line) for line in lines):
            self._read_markdown(lines)
        elif any(_tidy(line) in self._by_title or self._has_titles(line) for line in lines):
            self._read_layout(lines)
        else:
            self._read_csv(lines)

    def _read_markdown(self, lines: Sequence[str]) -> None:
        title, table = "", list[tuple[int, list[str]]]()
        for number, line in enumerate([*lines, ""], 1):
            if "|" in line:
                cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
                if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                    table.append((number, cells))
            else:
                if table:
                    self._read_aligned(title, table)
                    table = []
                said = line.strip().strip("#*_ :")
                title = said if _tidy(said) in self._by_title or re.match(r"#|\W*layer", line, re.I) else title

    def _read_aligned(self, title: str, table: list[tuple[int, list[str]]]) -> None:
        """A table whose titles may have lost the empty first one, with the pipe before it."""
        (number, header), rows = table[0], table[1:]
        widest = max((len(row) for _, row in rows), default=0)
        if widest == len(header) + 1 and _tidy(header[0]) not in ("", "unit", "layer", "name", "matrix"):
            header = ["", *header]
        fitting = [(line, row) for line, row in rows if len(row) <= len(header)]
        for line, row in rows:
            if len(row) > len(header):
                said = f"line {line}: it has {len(row)} columns, and their titles in line {number} are {len(header)}."
                self.problem(f"line {line}", " | ".join(row), said)
        self._read_table(title, [(number, header), *fitting])

    def _read_csv(self, lines: Sequence[str]) -> None:
        lines, separator = _separated(lines)
        reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True)
        try:
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        except csv.Error as error:
            raise ValueError(f"This CSV can't be read: line {reader.line_num}: {error}.") from None
        rows = [(number, row) for number, row in rows if any(row)]
        header = [_tidy(cell) for _, row in rows[:1] for cell in row]
        if "name" in header and "value" in header:
            self._read_names(header.index("name"), header.index("value"), len(header), rows[1:])
        elif rows and all(len(row) == 3 and row[1] in self.matrices.labels for _, row in rows):
            self._read_names(1, 2, 3, rows)  # the worksheet's own, without its first line
        else:
            self._read_table("", rows)

    def _read_names(self, name: int, value: int, width: int, rows: Iterable[tuple[int, list[str]]]) -> None:
        """Rows with a name and a value each."""
        for number, row in rows:
            where = f"line {number}: "
            if len(row) <= name or not row[name]:
                if len(row) > value and row[value]:
                    self.problem(where.strip(": "), row[value], f"{where}{row[value]} has no name.")
                continue
            extra = [cell for cell in row[width:] if cell]
            given = row[value] if len(row) > value else ""
            if extra:
                self._unreadable(row[name], ",".join([given, *extra]), where)
            else:
                self.read_named(row[name], given, where=f"{where}column {value + 1}: " if given else where)

    def _unreadable(self, name: str, shown: str, where: str) -> None:
        said = (
            f"{where}“{shorten(shown)}” is more than one column: write 0.25 with a point, or separate columns by `;`."
        )
        try:
            found = self.matrices.find(name)
        except LookupError:
            found = None
        if isinstance(found, Cell):
            self.set(found, Entry(shorten(shown), problem=said))
        else:
            self.problem(name, shown, said)

    def _read_table(self, title: str, rows: Sequence[tuple[int, list[str]]]) -> None:
        """Rows of cells, the first of which are their titles or names."""
        if not rows:
            return
        header = rows[0][1]
        plain = [_tidy(cell) for cell in header]
        is_sheet = _tidy(title) in self._by_title or any(map(kind_of, header[1:])) or {"gradient", "new"} & {*plain}
        if "name" in plain and "value" in plain:
            self._read_names(plain.index("name"), plain.index("value"), len(plain), rows[1:])
        elif is_sheet and plain[0] != "matrix":
            self._read_units(title, header, rows[1:])
        else:
            self._read_matrices(rows)

    def _read_units(self, title: str, header: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> None:
        """Rows of units or parameters, with matrices as columns."""
        plain = [_tidy(cell) for cell in header]
        layer = plain.index("layer") if "layer" in plain else None
        first = next((place for place, cell in enumerate(plain) if cell in ("", "unit")), 0)
        for number, row in rows:
            label = row[first] if first < len(row) else ""
            sheet = self._sheet_of(title, label, None if layer is None else "".join(row[layer : layer + 1]))
            cells = None if sheet is None else _row_of(sheet, label)
            if sheet is not None and cells is not None:
                for place, column in enumerate(header):
                    at = _column_of(sheet, column)
                    if at is not None and place not in (first, layer):
                        where = f"line {number}, column {place + 1} ({column}): "
                        given = row[place] if place < len(row) else ""
                        self.set(self.matrices.labels[cells[at - 1].name], entry_of(given, where=where))
            elif any(row):
                said = f"line {number}: it can't be told which layer and unit “{shorten(label)}” is."
                self.problem(f"line {number}", " ".join(row), said)

    def _sheet_of(self, title: str, label: str, layer: str | None) -> Sheet | None:
        """The table of the worksheet that a row is of, by the title above it, its layer, or its label alone."""
        found = self._by_title.get(_tidy(title) if layer is None else _tidy(f"layer {layer}"))
        return self._only_sheet(label) if found is None and not title else found

    def _only_sheet(self, label: str) -> Sheet | None:
        """The one table that has a row of that label."""
        found = [sheet for sheet in self.sheets if _row_of(sheet, label) is not None and len(sheet.rows[0][1]) > 1]
        return found[0] if len(found) == 1 or (found and self.matrices.count == 1) else None

    def _read_matrices(self, rows: Sequence[tuple[int, list[str]]]) -> None:
        """A name at the start of a row, then its numbers; rows without a name go on with the matrix above."""
        name, number, grid = "", 0, list[list[str]]()
        for line, row in [*rows, (0, ["end"])]:
            label, given = row[0], row[1:]
            if label or not line:
                if grid:
                    self.read_named(name, grid if len(grid) > 1 else _as_cell(grid[0]), where=f"line {number}: ")
                name, number, grid = label, line, []
            while given and not given[-1]:
                given = given[:-1]
            if line and (given or not self._is_title(label)):
                is_title = line == rows[0][0] and not any(entry and not entry.problem for entry in map(entry_of, given))
                if not is_title:
                    grid.append(given or [""])

    def _is_title(self, label: str) -> bool:
        try:
            self.matrices.find(label)
        except LookupError:
            return True
        return False

    # The worksheet as text, in columns

    def _read_layout(self, lines: Sequence[str]) -> None:
        sheet, edges = None, list[tuple[int, int]]()
        for number, line in enumerate(lines, 1):
            line = line.expandtabs(8).rstrip()
            if (titled := self._by_title.get(_tidy(line))) is not None:
                sheet, edges = titled, []
            elif sheet is not None and not edges and (found := _edges(sheet, line)):
                edges = found
            elif self._has_titles(line):  # of a table whose own title is not there
                sheet, edges = None, []
            elif sheet is not None and edges and (labelled := _labelled(sheet, line)) is not None:
                self._read_row(sheet, line, number, edges, labelled)
            elif self._is_row(line):
                said = (
                    f"line {number}: it can't be told which numbers of the worksheet these are. Keep the title of each "
                    f"table, such as “{self.sheets[1].title}”, the titles of its columns, and the names of its rows."
                )
                self.problem(f"line {number}", _brief(line), said)

    def _read_row(
        self, sheet: Sheet, line: str, number: int, edges: Sequence[tuple[int, int]],
        labelled: tuple[int, tuple[Any, ...]],
    ) -> None:  # fmt: skip
        label_end, cells = labelled
        columns = _columns_of(line, label_end, edges, len(cells))
        for cell, given, column in zip(cells, columns, sheet.columns[1:], strict=True):
            where = f"line {number}, column {column}: "
            entry = _lost(line, label_end, len(cells), number) if given is None else entry_of(given, where=where)
            self.set(self.matrices.labels[cell.name], entry)

    def _has_titles(self, line: str) -> bool:
        """Whether a line is that of the titles of several columns, as the worksheet prints it."""
        return not re.search(r"[,;\t]", line) and any(
            len(sheet.columns) > 2 and _edges(sheet, line) for sheet in self.sheets
        )

    def _is_row(self, line: str) -> bool:
        """Whether a line has numbers, as a row has; formulas and the settings of the worksheet have `=`."""
        if "=" in line:
            return False
        labelled = [found for sheet in self.sheets if (found := _labelled(sheet, line)) is not None]
        if any(re.match(r"\s+[-−+≈]?\s*[.\d_]", line[end:]) and re.search(r"\d", line[end:]) for end, _ in labelled):
            return True
        return re.search(r"(?<!\S)[-−+]?\d*[.,]\d+(?!\S)", line) is not None


def _separated(lines: Sequence[str]) -> tuple[Sequence[str], str]:
    """The lines of a CSV, and what separates its columns, which a spreadsheet may say in the first line."""
    start = next((place for place, line in enumerate(lines) if line.strip()), 0)
    first = lines[start]
    if said := re.fullmatch(r"\s*\"?sep=([;,\t|])\"?\s*", first, re.IGNORECASE):
        return ["" if place == start else line for place, line in enumerate(lines)], said[1]
    weights = {";": 10, "\t": 5, ",": 0}
    return lines, max(weights, key=lambda sign: (sign in first) * (first.count(sign) + weights[sign]))


def _lost(line: str, start: int, columns: int, number: int) -> Entry:
    shown = " ".join(line[start:].split())
    return Entry(
        shorten(shown),
        problem=f"line {number}: “{shorten(shown)}” can't be told apart into {columns} columns: put ______ for what is "
        "left blank.",
    )


def _edges(sheet: Sheet, line: str) -> list[tuple[int, int]]:
    """Where each title of the columns begins and ends, if the line is that of the titles."""
    found, start = [], 0
    for title in sheet.columns:
        if not title:
            continue
        at = re.compile(re.sub(r"(\\?\s)+", r"\\s+", re.escape(title))).search(line, start)
        if at is None or (line[start : at.start()].strip()):
            return []
        found.append(at.span())
        start = at.end()
    return found if not line[start:].strip() else []


def _labelled(sheet: Sheet, line: str) -> tuple[int, tuple[Any, ...]] | None:
    """Where the label of a row ends, and its cells."""
    for label, cells in sorted(sheet.rows, key=lambda row: -len(row[0])):
        for spelling in _spellings(label):
            pattern = r"\s*" + r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", spelling))) + r"(?=\s|$)"
            if (at := re.match(pattern, line, re.IGNORECASE)) is not None:
                return at.end(), cells
    return None


def _columns_of(line: str, start: int, edges: Sequence[tuple[int, int]], count: int) -> list[str | None]:
    """The texts of a row's columns; None for all of them where that can't be told."""
    text = re.sub(r"(?<=[\s|])([-−–+]) (?=[\d.])", r" \1", f"{line[:start]} {line[start:]}")[start:]
    text = re.sub(r" ?([·×*]) ?10", r"\g<1>10", text)
    tokens = [(start + at.start() - 1, start + at.end() - 1, at[0]) for at in re.finditer(r"\S+", text)]
    if len(tokens) == count:
        return [token for _, _, token in tokens]
    if not tokens:
        return [""] * count
    apart = re.split(r"\s{2,}", text.strip())
    if len(apart) == count:  # with a remark, or a space within a number
        return list(apart)
    columns: list[list[str]] = [[] for _ in range(count)]
    ends = [end for _, end in edges[-count:]]
    for begin, end, token in tokens:
        near = [place for place, edge in enumerate(ends) if end == edge or begin == edge - len(BLANK)]
        if len(near) != 1 or len(tokens) > count:
            return [None] * count
        columns[near[0]].append(token)
    return [" ".join(column) for column in columns]


def _spellings(label: str) -> Iterator[str]:
    yield label
    if " " not in label:
        yield in_notation(label, "unicode")


def _row_of(sheet: Sheet, label: str) -> tuple[Any, ...] | None:
    """The cells of the row of that label."""
    plain = _tidy(label)
    for name, cells in sheet.rows:
        if plain and plain in map(_tidy, _spellings(name)):
            return cells
    if plain.isdigit():
        return _row_of(sheet, f"unit {plain}")
    return None


_PARAMETER_COLUMNS = {"grad": "gradient", "dl/dw": "gradient", "updated": "new", "old": "value"}


def _column_of(sheet: Sheet, title: str) -> int | None:
    """The place of the column that a title means."""
    plain = _tidy(title)
    titles = [_tidy(column) for column in sheet.columns]
    for wanted in (plain, _PARAMETER_COLUMNS.get(plain, plain)):
        if wanted and wanted in titles:
            return titles.index(wanted)
    kind = kind_of(title)
    return next((place for place, column in enumerate(sheet.columns) if kind and kind_of(column) == kind), None)


def _tidy(text: str) -> str:
    return re.sub(r"[\s#*`:$]+", "", text).replace("′", "'").replace("’", "'").casefold().strip("_")


def _is_list(given: Any) -> bool:
    if isinstance(given, np.ndarray):
        return given.ndim > 0
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def _has_several_numbers(text: str) -> bool:
    entry = entry_of(text)
    return entry is not None and bool(entry.problem) and len(re.findall(r"[^\s,;\[\]]+", text)) > 1


def _as_cell(row: list[str]) -> Any:
    return row[0] if len(row) == 1 else row


def _brief(given: Any) -> str:
    return shorten(" ".join(str(given).split()))


def with_zeros(text: str, place: int) -> str:
    """A number with zeros down to a decimal place, where those are not too many."""
    value = Decimal(text)
    is_long = exponent_of(value) <= place or value.adjusted() - place >= MOST_DIGITS
    return text if is_long else str(value.quantize(Decimal(1).scaleb(place)))


class Precision:
    """To how many digits a sheet was rounded, where that can be told from all of its numbers.

    Floats, and what spreadsheets write, lose the zeros at their end: 0.75 among numbers of four digits is 0.7500.
    """

    def __init__(self, entries: Iterable[tuple[Entry, float]]) -> None:
        """Of the numbers and what they should be: a 0 that is missing there was lost."""
        broken = [(entry, right) for entry, right in entries if not _is_whole(entry.text)]
        numbers = [(Decimal(entry.text), right) for entry, right in broken]
        self.decimals = max((-exponent_of(number) for number, _ in numbers), default=0)
        self.digits = max((len(number.as_tuple().digits) for number, _ in numbers), default=0)
        full = sum(_reaches(number, self._exponent(number), right) for number, right in numbers)
        fixed = sum(_reaches(number, -self.decimals, right) for number, right in numbers)
        zeros = any(number.as_tuple().digits[-1] == 0 for number, _ in numbers)
        floats = all(entry.is_float for entry, _ in broken)
        self.is_uniform = full >= FEW and full >= 0.6 * len(numbers)
        self.is_fixed = self.is_uniform and self.decimals >= 3 and fixed >= 0.6 * len(numbers)
        self.drops_zeros = full >= (10 if floats else MANY) and full >= 0.8 * len(numbers) and (floats or not zeros)

    def _exponent(self, number: Decimal) -> int:
        """The last place to which the sheet gives such a number."""
        return max(-self.decimals, number.adjusted() - self.digits + 1) if number else -self.decimals

    def to_its_digits(self, text: str) -> str:
        """A number with the zeros at its end that it may have lost."""
        number = Decimal(text)
        place = self._exponent(number)
        if not self.is_uniform or exponent_of(number) <= place:
            return text
        return with_zeros(text, place)

    def claimed(self, entry: Entry) -> str:
        """A number with the digits that it claims."""
        return self.to_its_digits(entry.text) if self.drops_zeros else entry.text

    def has_its_decimals(self, text: str) -> bool:
        """Whether a number has as many decimals as all others, so that few of its digits may be significant."""
        return self.is_fixed and -exponent_of(Decimal(text)) >= self.decimals


def _reaches(number: Decimal, place: int, right: float) -> bool:
    """Whether a number goes down to a decimal place, or would with zeros at its end."""
    return exponent_of(number) <= place or abs(number - Decimal(right)) <= Decimal(1).scaleb(place)


def exponent_of(number: Decimal) -> int:
    """The power of ten of the last digit."""
    return int(number.as_tuple().exponent)


def _is_whole(text: str) -> bool:
    return Decimal(text) == Decimal(text).to_integral_value()


def arranged(
    grid: list[list[Entry | None]], shape: tuple[int, int], *, turned: bool
) -> dict[tuple[int, int], Entry | None] | None:
    """The entries of a grid by their places in a matrix of some shape, None where it has another shape."""
    rows, columns = shape[::-1] if turned else shape
    if len(grid) == 1 and rows > 1 and columns == 1 and len(grid[0]) == rows:
        grid = [[entry] for entry in grid[0]]
    elif columns > 1 and rows == 1 and len(grid) == columns and all(len(row) == 1 for row in grid):
        grid = [[row[0] for row in grid]]
    if len(grid) != rows or any(len(row) != columns for row in grid):
        return None
    places = itertools.product(range(rows), range(columns))
    return {((c, r) if turned else (r, c)): grid[r][c] for r, c in places}
