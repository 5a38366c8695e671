"""A student's worksheet judged cell by cell, as a good teacher would: one slip is one wrong cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from engine import Mistake, Row
from engine.printed import FLOAT_RTOL, ROUGH, half_unit, judge_number
from engine.report import Verdict
from engine.text import number
from nn.activations import Array
from nn.data import refuse_count
from nn.filled import Entry, Filled, Precision, arranged, exponent_of, of_both, read, with_zeros
from nn.following import At, Chapter, Known, Own, dependent
from nn.matrices import KINDS, Cell, Matrix
from nn.rounded import Rounded
from nn.sheet_report import DELTAS, OTHER_CONVENTION, SheetReport, Shown
from nn.sheets import Sheet
from nn.slips import Tried, tried
from nn.written_out import Lines

MOST_TOLD = 3  # mistakes that give the same number
MOST_ORIGINS = 40  # wrong cells that are looked for behind those that follow from one
FEWEST_DECIMALS = 3  # that a 0 is written with, for a small number that was rounded
NOISE = 1e-12  # of the largest number of a matrix: what rounding in floats may leave of 0
ALL_DIGITS = 15  # of a float that was not rounded
CONVENTIONS = ("gradient", "negative_gradient")


@dataclass
class Reading:
    """One way to read a sheet: which matrices are turned, and the kinds of signs that are turned too."""

    turned: frozenset[Matrix] = frozenset()
    signs: frozenset[str] = frozenset()


@dataclass
class Marked:
    """The verdict on one cell, and what it should be by the student's own numbers."""

    entry: Entry
    verdict: Verdict
    message: str = ""
    by_own: float | None = None
    mistakes: tuple[Mistake, ...] = ()
    lines: tuple[str, ...] = ()
    followed: bool = False
    few_digits: bool = False


def mark(
    student: Any, chapter: Chapter, sheets: Sequence[Sheet], title: str, *, shown: int, digits: int, convention: str
) -> SheetReport:
    """Judge a student's sheet; `shown` are the digits to which the worksheet was printed. Raises as `read` does."""
    refuse_count(digits=digits)
    if convention not in CONVENTIONS:
        raise ValueError(f'The convention is "gradient" or "negative_gradient", not {convention!r}.')
    filled = read(student, chapter.matrices, sheets)
    judged = _best(chapter, filled, _Options(shown, digits, convention))
    judged.explain()
    about = Shown(title, sheets, chapter.matrices, shown)
    return SheetReport(
        dict(judged.rows()), about, layout=judged.layout, convention=judged.convention, notes=judged.notes
    )


@dataclass(frozen=True)
class _Options:
    shown: int
    digits: int
    convention: str


# Which way to read it


def _best(chapter: Chapter, filled: Filled, options: _Options) -> _Judged:
    """The sheet in the layout and with the signs in which the fewest cells are wrong; as given where all are alike."""
    right = chapter.matrices.right
    by_shape = {
        matrix
        for matrix, grid in filled.grids.items()
        if arranged(grid, right[matrix].shape, turned=False) is None
        and arranged(grid, right[matrix].shape, turned=True) is not None
    }
    square = [m for m in filled.grids if m not in by_shape and right[m].shape[0] == right[m].shape[1] > 1]
    families = [[m for m in square if KINDS[m.kind].over == over] for over in ("inputs", "examples")]
    best = _Judged(chapter, filled, Reading(frozenset(by_shape)), options)
    if not best.wrong:
        return best
    for chosen in itertools.product((False, True), repeat=2):
        turned = by_shape.union(*(family for family, flag in zip(families, chosen, strict=True) if flag))
        if turned != best.reading.turned:
            best = min(best, _Judged(chapter, filled, Reading(frozenset(turned)), options), key=_Judged.badness)
    for matrix in square:
        if any(cell.matrix == matrix for cell in best.wrong):
            other = _Judged(chapter, filled, Reading(best.reading.turned ^ {matrix}), options)
            if not any(cell.matrix == matrix for cell in other.wrong):
                best = min(best, other, key=_Judged.badness)
    return _with_signs(best)


def _with_signs(best: _Judged) -> _Judged:
    """The same with the signs of δ turned, where that is what all of them are."""
    if not best.has_opposite_deltas():
        return best
    for signs in ({"delta"}, {"delta", "gradient"}, {"delta", "dA"}, {"delta", "dA", "gradient"}):
        reading = replace(best.reading, signs=frozenset(signs))
        best = min(best, _Judged(best.chapter, best.filled, reading, best.options), key=_Judged.badness)
    return best


class _Judged:
    """A sheet judged in one reading."""

    def __init__(self, chapter: Chapter, filled: Filled, reading: Reading, options: _Options) -> None:
        self.chapter, self.filled, self.reading, self.options = chapter, filled, reading, options
        self.marked: dict[Cell, Marked] = {}
        self.misshapen: dict[Matrix, str] = {}
        self._entries = self._cells()
        self._precision = Precision(self._rounded_numbers())
        self._own, self._mended = Own(chapter), Own(chapter)
        with np.errstate(all="ignore"):
            for matrix in chapter.matrices.right:
                self._judge(matrix)

    def _cells(self) -> dict[Cell, Entry | None]:
        """What was handed in, by cells, in the order of the derivation."""
        matrices = self.chapter.matrices
        found: dict[Cell, Entry | None] = {}
        for matrix, grid in self.filled.grids.items():
            shape = matrices.right[matrix].shape
            placed = arranged(grid, shape, turned=matrix in self.reading.turned)
            if placed is None:
                widths = sorted({len(row) for row in grid})
                size = f"{len(grid)} × {' or '.join(map(str, widths))}"
                wanted = f"{shape[0]} × {shape[1]}" if shape[1] > 1 else str(shape[0])
                self.misshapen[matrix] = f"{matrices.symbol(matrix)} has {wanted} numbers here, and yours is {size}."
            else:
                found |= {Cell(matrix, *place): entry for place, entry in placed.items()}
        for cell, entry in self.filled.cells.items():
            found[cell] = of_both(found.get(cell), entry)
        if self.filled.is_text:
            begun = {cell.matrix for cell, entry in found.items() if entry is not None}
            for matrix in [one for one in matrices.right if one in begun and one not in matrices.given]:
                found = dict.fromkeys(matrices.cells(matrix)) | found
        ordered = (cell for matrix in matrices.right for cell in matrices.cells(matrix))
        return {cell: found[cell] for cell in ordered if cell in found}

    def _rounded_numbers(self) -> Iterator[tuple[Entry, float]]:
        """The numbers that tell how the sheet was rounded, with what they should be; all digits of a float don't."""
        for cell, entry in self._entries.items():
            if entry is None or entry.problem or cell.matrix in self.chapter.matrices.given:
                continue
            if len(Decimal(entry.text).as_tuple().digits) < ALL_DIGITS:
                right = float(self.chapter.matrices.right[cell.matrix][cell.at])
                yield entry, math.copysign(right, float(entry.text))

    @property
    def wrong(self) -> list[Cell]:
        """The wrong cells, in the order of the derivation."""
        return [cell for cell, marked in self.marked.items() if marked.verdict == "wrong"]

    def badness(self) -> int:
        """How many cells are wrong."""
        return len(self.wrong)

    def _sign(self, matrix: Matrix) -> float:
        return -1.0 if KINDS[matrix.kind].sign in self.reading.signs else 1.0

    def _text(self, entry: Entry, matrix: Matrix) -> str:
        """The number of a cell, with the digits that it claims, and in the sign of a gradient."""
        claimed = self._precision.claimed(entry) if matrix not in self.chapter.matrices.given else entry.text
        if self._sign(matrix) > 0.0:
            return claimed
        return claimed.removeprefix("-") if claimed.startswith("-") else f"-{claimed}"

    # One matrix

    def _judge(self, matrix: Matrix) -> None:
        matrices = self.chapter.matrices
        right = matrices.right[matrix]
        candidates = [*self._own.by_formula(matrix), *self._mended.by_formula(matrix)]
        if matrix in matrices.given:
            candidates = [self._as_printed(right)]
        known = Known(np.zeros(right.shape), np.zeros(right.shape), np.zeros(right.shape, dtype=bool))
        sound = known.there.copy()
        for cell in matrices.cells(matrix):
            if cell not in self._entries:
                continue
            entry = self._entries[cell]
            if entry is None:
                continue
            if entry.problem:
                self.marked[cell] = Marked(entry, "invalid", entry.problem)
                continue
            marked = self._mark(cell, entry, float(right[cell.at]), candidates, float(np.max(abs(right))))
            self.marked[cell] = marked
            text = self._text(entry, matrix)
            known.there[cell.at], known.number[cell.at] = True, float(text)
            known.doubt[cell.at] = self._doubt(entry, text, [float(right[cell.at]), marked.by_own])
            sound[cell.at] = marked.verdict != "wrong"
        if matrix in matrices.given:
            self._give(matrix, known, sound, candidates[0])
            return
        self._own.know(matrix, known if known.there.any() else None)
        self._mended.know(matrix, Known(known.number, known.doubt, sound) if sound.any() else None)

    def _as_printed(self, right: Array) -> Rounded:
        """What the worksheet gives, as far as its printed digits tell."""
        doubts = [
            0.0 if float(text) == value else float(half_unit(text))
            for value in right.ravel()
            for text in [f"{value:.{self.options.shown}g}"]
        ]
        return Rounded(right, np.array(doubts).reshape(right.shape))

    def _give(self, matrix: Matrix, known: Known, sound: Array, printed: Rounded) -> None:
        """A matrix that is given: what a student has copied wrong is what they work on."""
        own = Known(
            np.where(sound, printed.number, known.number), np.where(sound, printed.doubt, known.doubt), known.there
        )
        for numbers, made in ((self._own, own.over(printed)), (self._mended, printed)):
            numbers.know(matrix, Known(made.number, made.doubt, np.ones(sound.shape, dtype=bool)))

    def _doubt(self, entry: Entry, text: str, exact: Iterable[float | None]) -> float:
        """How far a student's number may be from what they carried on."""
        if any(value is not None and abs(float(text) - value) <= 1e-12 * abs(value) for value in exact):
            return 0.0
        return min(float(half_unit(text)), float(half_unit(self._precision.to_its_digits(text))))

    def _mark(self, cell: Cell, entry: Entry, right: float, candidates: Sequence[Rounded], size: float) -> Marked:
        text = self._text(entry, cell.matrix)
        verdict, message = self._verdict(text, entry, right, NOISE * size)
        if verdict == "right" or cell.matrix in self.chapter.matrices.given:
            by_own = float(candidates[0].number[cell.at])
            if verdict == "undecided" and Decimal(text) == Decimal(f"{right:.{self.options.shown}g}"):
                verdict, message = "right", ""  # as the worksheet itself prints what it gives
            marked = Marked(entry, verdict, message, by_own if np.isfinite(by_own) else None)
            if verdict == "wrong":
                marked.message = f"This number is given: it is {number(right, 9)}."
            return self._in_other_convention(cell, marked)
        if not float(text) and (not self._is_rounded_to_zero(entry, right) or self._wrong_in_sources(cell)):
            by_own = float(candidates[0].number[cell.at])
            if verdict == "undecided" and self._is_rounded_to_zero(entry, right):
                return Marked(entry, verdict, message, by_own)
            said = "It is not 0." if by_own else "Whatever is multiplied by a wrong 0 is 0: that shows nothing."
            return Marked(entry, "wrong", said, by_own)
        own = self._following(text, entry, cell, candidates)
        if own is not None:
            return self._in_other_convention(cell, Marked(entry, "right", by_own=own, followed=True))
        by_own = float(candidates[0].number[cell.at])
        if verdict == "undecided":
            lost = self._precision.to_its_digits(text) != text  # zeros, or digits that the others have
            return Marked(entry, verdict, message, by_own, few_digits=lost and float(text) != 0.0)
        if any(
            abs(float(text) - one.number[cell.at]) <= float(half_unit(text)) + one.doubt[cell.at] for one in candidates
        ):
            message = "Your numbers further on are too rough, or this one is, to tell: give them more digits."
            return Marked(entry, "undecided", message, by_own)
        _, message = self._verdict(text, entry, by_own, NOISE * size) if math.isfinite(by_own) else ("wrong", "")
        return Marked(entry, "wrong", message, by_own)

    def _following(self, text: str, entry: Entry, cell: Cell, candidates: Sequence[Rounded]) -> float | None:
        """The number by the student's own, of which this is right to its digits; None where it is of none."""
        full = self._precision.to_its_digits(text)
        given, half = float(text), float(half_unit(full))
        for candidate in candidates:
            own, doubt = float(candidate.number[cell.at]), float(candidate.doubt[cell.at])
            slack = half + (FLOAT_RTOL if entry.is_float else 1e-9) * abs(own)
            near = abs(given - own) <= slack + (doubt if doubt <= ROUGH * abs(own) else 0.0)
            if near and (abs(given - own) <= 1e-12 * abs(own) or self._has_enough_digits(full)):
                return own
        return None

    def _is_rounded_to_zero(self, entry: Entry, right: float) -> bool:
        """Whether a number is so small that a 0 is right to the decimals of the sheet, or of the 0 as it is written.

        No other 0 is right by follow-through: whatever is multiplied by a wrong 0 is 0.
        """
        written = 0 if entry.is_float else -exponent_of(Decimal(entry.text))
        decimals = max(self._precision.decimals, written if written >= FEWEST_DECIMALS else 0)
        return decimals > 0 and abs(right) <= 10.0**-decimals

    def _to_digits(self, text: str) -> str:
        """A number with zeros up to as many digits as are needed: 0.25 is right for 0.25001."""
        value = Decimal(text)
        return with_zeros(text, value.adjusted() - self.options.digits + 1) if value else text

    def _has_enough_digits(self, text: str) -> bool:
        return len(Decimal(text).as_tuple().digits) >= self.options.digits or self._precision.has_its_decimals(text)

    def _verdict(self, text: str, entry: Entry, right: float, noise: float) -> tuple[Verdict, str]:
        """The verdict on a number by its digits, or by those that it has lost."""
        verdict, message = judge_number(text, right, self.options.digits, noise, is_float=entry.is_float)
        if verdict == "undecided":
            full = self._precision.to_its_digits(text) if self._precision.is_uniform else self._to_digits(text)
            judged, _ = judge_number(full, right, self.options.digits, noise)
            if judged == "right" or (judged == "undecided" and self._precision.has_its_decimals(full)):
                return "right", ""
        return verdict, message

    def _in_other_convention(self, cell: Cell, marked: Marked) -> Marked:
        """Undecided where a sign is right in another convention than what was asked for."""
        asked = self.options.convention == "negative_gradient"
        kind, found = KINDS[cell.matrix.kind].sign, "delta" in self.reading.signs
        if (
            marked.verdict == "right"
            and asked != found
            and kind
            and (kind in self.reading.signs or (asked and kind == "delta"))
        ):
            marked.verdict, marked.message = "undecided", OTHER_CONVENTION[self.convention]
        return marked

    # Signs and layout

    def has_opposite_deltas(self) -> bool:
        """Whether nearly every δ has the sign of its negative, and several are wrong."""
        signs = [
            np.sign(float(marked.entry.text)) * np.sign(self.chapter.matrices.right[cell.matrix][cell.at])
            for cell, marked in self.marked.items()
            if KINDS[cell.matrix.kind].sign == "delta" and marked.verdict != "invalid"
        ]
        decided = [sign for sign in signs if sign]
        return bool(decided) and sum(sign < 0.0 for sign in decided) >= 0.8 * len(decided)

    @property
    def convention(self) -> str:
        """The convention of the student's δ."""
        return CONVENTIONS["delta" in self.reading.signs]

    @property
    def layout(self) -> str:
        """In which layout the matrices were handed in."""
        matrices = self.chapter.matrices
        turned = [matrices.symbol(m) for m in matrices.right if m in self.reading.turned and m not in self.misshapen]
        return f"transposed: {', '.join(turned)}" if turned else "as given"

    @property
    def notes(self) -> list[str]:
        """What to say of the sheet as a whole."""
        notes = []
        if self.layout != "as given":
            notes.append(f"Read as {self.layout}. Here W[j, i] leads to unit j from unit i, and examples are columns.")
        if self.convention != self.options.convention:
            notes.append(
                f"Every δ is {DELTAS[self.convention]}: another convention, and not an error. "
                f'compare(…, convention="{self.convention}") takes it.'
            )
        return notes

    # What to say

    def explain(self) -> None:
        """Name the mistakes of wrong cells, and what the cells follow from that are right by follow-through."""
        self._name_mistakes()
        self._follow()
        for cell in self.wrong:
            if cell.matrix not in self.chapter.matrices.given:
                self.marked[cell].lines = tuple(self._lines(cell))

    def _name_mistakes(self) -> None:
        by_matrix: dict[Matrix, list[Cell]] = {}
        for cell, marked in self.marked.items():
            if (marked.verdict == "wrong" or marked.few_digits) and cell.matrix not in self.chapter.matrices.given:
                by_matrix.setdefault(cell.matrix, []).append(cell)
        for matrix, cells in by_matrix.items():
            with np.errstate(all="ignore"):
                hypotheses = self._hypotheses(matrix)
            fits = [{cell for cell in cells if self._fits(cell, hypothesis.number)} for hypothesis in hypotheses]
            for cell in cells:
                explained = [len(fitting) if cell in fitting else 0 for fitting in fits]
                most = max(explained, default=0)
                told: dict[str, str] = {}
                for place, many in enumerate(explained):
                    if many == most > 0:
                        told.setdefault(hypotheses[place].key, hypotheses[place].text)
                if told:
                    self.marked[cell].verdict = "wrong"  # of few digits: rounded it would be right, but this gives it
                if self.marked[cell].verdict == "wrong":
                    self._tell(cell, list(told.items())[:MOST_TOLD])

    def _tell(self, cell: Cell, told: Sequence[tuple[str, str]]) -> None:
        matrices, marked = self.chapter.matrices, self.marked[cell]
        said = [f"At {matrices.unit(cell)}, {text}." for _, text in told]
        node = matrices.node(cell)
        marked.mistakes = tuple(Mistake(key, node, text) for (key, _), text in zip(told, said, strict=True))
        others = [f"Or: {text}." for _, text in told[1:]]
        marked.message = "\n".join([*said[:1], *others]) or marked.message

    def _hypotheses(self, matrix: Matrix) -> list[Tried]:
        """What a matrix would be by each slip, at its own formula and at what that is made of; general ones last."""
        found = []
        for target in [matrix, *self._own.sources(matrix)]:
            if target in self.chapter.matrices.given:
                continue
            for slip in tried(At(self._own, target)):
                said = slip.text if target == matrix else f"in {self.chapter.matrices.symbol(target)}, {slip.text}"
                found.append(slip._replace(text=said, number=self._own.varied(target, slip.number, matrix)))
        return sorted(found, key=lambda slip: slip.general)

    def _fits(self, cell: Cell, made: Rounded) -> bool:
        """Whether a slip gives the number of a cell, and not that of the right formula."""
        marked = self.marked[cell]
        text = self._precision.to_its_digits(self._text(marked.entry, cell.matrix))
        given, own = float(text), marked.by_own
        hypothesis, doubt = float(made.number[cell.at]), float(made.doubt[cell.at])
        reach = 1e-9 * abs(hypothesis)
        if given and not marked.few_digits:  # a 0 is that of a slip that gives 0
            reach += float(half_unit(text)) + min(doubt, ROUGH * abs(hypothesis))
        near = bool(np.isfinite(hypothesis)) and abs(given - hypothesis) <= reach
        return near and (own is None or abs(hypothesis - own) > 1e-9 * abs(own))

    def _follow(self) -> None:
        """For what is right by the student's own numbers alone, the wrong cell that it follows from, or rounding."""
        following = {cell for cell, marked in self.marked.items() if marked.followed}
        if not following:
            return
        origin: dict[Cell, Cell] = {}

        def passes_on(matrix: Matrix) -> Array:
            shape = self.chapter.matrices.right[matrix].shape
            cells = self.chapter.matrices.cells(matrix)
            return np.array([cell in following or not self._is_number(cell) for cell in cells]).reshape(shape)

        with np.errstate(all="ignore"):
            for wrong in self.wrong[:MOST_ORIGINS]:
                cells = np.zeros(self.chapter.matrices.right[wrong.matrix].shape, dtype=bool)
                cells[wrong.at] = True
                for matrix, touched in dependent(self._own, wrong.matrix, cells, passes_on):
                    origin |= {Cell(matrix, int(row), int(column)): wrong for row, column in np.argwhere(touched)}
        for cell in self.marked:
            if cell in following:
                self._tell_following(cell, origin.get(cell))

    def _is_number(self, cell: Cell) -> bool:
        return (marked := self.marked.get(cell)) is not None and marked.verdict != "invalid"

    def _tell_following(self, cell: Cell, origin: Cell | None) -> None:
        matrices, marked = self.chapter.matrices, self.marked[cell]
        right = float(matrices.right[cell.matrix][cell.at]) * self._sign(cell.matrix)
        printed = number(right, max(len(Decimal(marked.entry.text).as_tuple().digits), self.options.digits))
        if origin is None and (beside := self._wrong_in_sources(cell)) is not None:
            origin = beside
        if origin is None:
            key, node = "early_rounding", matrices.node(cell)
            text = f"Right for your numbers, which were rounded on the way: without that it is {printed}."
        else:
            key, node = "follow_through", matrices.node(origin)
            wrong = matrices.written(origin)
            text = f"It follows rightly from your {wrong}, which is wrong: without that it is {printed}."
        marked.mistakes = (Mistake(key, node, text),)
        marked.message = marked.message or text

    def _wrong_in_sources(self, cell: Cell) -> Cell | None:
        """The first wrong cell in the same row of what a cell is made of."""
        sources = {*self._own.sources(cell.matrix)} - self.chapter.matrices.given
        return next((wrong for wrong in self.wrong if wrong.matrix in sources and wrong.row == cell.row), None)

    # The line in matrix terms

    def _lines(self, cell: Cell) -> Iterator[str]:
        """The line of the derivation that gives a cell, in the student's own numbers."""
        marked, lines = self.marked[cell], Lines(self._own, self.options.shown, self._sign)
        upstream = Cell(Matrix("dA", cell.matrix.layer), cell.row, cell.column)
        hidden = cell.matrix.layer < self.chapter.matrices.count
        if hidden and upstream not in self.marked and cell.matrix.kind in ("delta", "delta_N"):
            yield lines.line(upstream, float(self._own[upstream.matrix].number[upstream.at]))
        if marked.by_own is not None:
            yield lines.line(cell, marked.by_own)

    # The rows

    def rows(self) -> Iterator[tuple[str, Row]]:
        """A row for each cell that was handed in, left blank, or could not be read."""
        matrices = self.chapter.matrices
        for cell, entry in self._entries.items():
            name = matrices.label(cell)
            expected = float(matrices.right[cell.matrix][cell.at]) * self._sign(cell.matrix)
            if entry is None:
                if cell.matrix not in matrices.given:
                    yield name, Row(name, "", "undecided", expected, message="Not answered.")
                continue
            marked = self.marked[cell]
            yield (
                name,
                Row(
                    name,
                    entry.shown,
                    marked.verdict,
                    expected,
                    None if entry.problem else float(entry.text),
                    marked.message,
                    matrices.node(cell) if marked.verdict == "wrong" else None,
                    "\n".join(marked.lines),
                    marked.mistakes,
                ),
            )
        for matrix, said in self.misshapen.items():
            yield matrices.symbol(matrix), Row(matrices.symbol(matrix), "…", "invalid", message=said)
        for name, entry in self.filled.problems.items():
            yield name, Row(name, entry.shown, "invalid", message=entry.problem)
