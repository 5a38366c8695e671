"""What a comparison found: rows, and the table that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from engine.text import number, shorten, table

Verdict = Literal["right", "wrong", "undecided", "invalid"]
MOST_TOLD = 10  # paragraphs of an error


@dataclass(frozen=True)
class Mistake:
    """A mistake that gives this answer: its key, the first node whose gradient goes wrong by it, and what to tell.

    The keys are listed in the README, under *Which mistake was it?*
    """

    key: str
    node: str | None
    text: str


@dataclass(frozen=True)
class Row:
    """One answer and what became of it.

    `expected` is the engine's number at the given values and `obtained` the answer's, `difference` obtained −
    expected; each None where there is none. `node` is the label of the first node on the backward path whose
    gradient went wrong. `derivation` is the right one, in symbols. `mistakes` are those that give this answer, the
    likeliest first. A row that is right only because it follows from a slip or from rounded numbers says so there:
    `follow_through`, `early_rounding`.
    """

    name: str
    answer: str
    verdict: Verdict
    expected: float | None = None
    obtained: float | None = None
    message: str = ""
    node: str | None = None
    derivation: str = ""
    mistakes: tuple[Mistake, ...] = ()

    @property
    def difference(self) -> float | None:
        """Obtained minus expected."""
        return None if self.obtained is None or self.expected is None else self.obtained - self.expected


R = TypeVar("R")


class Findings(Mapping[str, R]):
    """Rows by their names, which print as a table and can be demanded to be all right."""

    _row_is, _if_wrong = "row", "not all is right"  # what a row is called in an error, and what is said if one is wrong

    def __init__(self, rows: Mapping[str, R]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> R:
        if name not in self._rows:
            raise KeyError(f"no {self._row_is} is called {name!r}; there are {', '.join(map(repr, self._rows))}")
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ok(self) -> bool:
        """Whether all is right."""
        raise NotImplementedError

    def raise_if_wrong(self) -> None:
        """Raise AssertionError unless all is right, with what is not."""
        __tracebackhide__ = True  # pytest shows the line of the test
        if not self.ok:
            raise AssertionError(f"{self._if_wrong}\n{self._what_is_wrong()}")

    def _what_is_wrong(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


class Report(Findings[Row]):
    """The rows by the names of their answers; `str(report)` is a table, with the right derivation of wrong rows.

    `notes` are said once of all rows together.
    """

    _row_is, _if_wrong = "answer", "not every answer is right"

    def __init__(self, rows: Mapping[str, Row], notes: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.notes = tuple(notes)

    @property
    def ok(self) -> bool:
        """Whether every answer is right."""
        return all(row.verdict == "right" for row in self._rows.values())

    @property
    def credit(self) -> tuple[int, int]:
        """How many answers are right, those that follow from a slip too, and of how many.

        What could not be read, or is undecided, earns nothing.
        """
        return sum(row.verdict == "right" for row in self._rows.values()), len(self._rows)

    def __str__(self) -> str:
        told: set[str] = set()
        rows = list(self._rows.values())
        excused = "\n".join(f"{shorten(row.name)}: {row.message}" for row in rows if excuse(row))
        details = [_details(row, told) for row in rows if row.verdict != "right"]
        return "\n\n".join(part for part in (_table(rows), *self.notes, excused, *details) if part)

    def _what_is_wrong(self) -> str:
        """The answers that are not right, in a few lines each."""
        return in_short(_summary(list(self._rows.values())), map(briefly, self._rows.values()))


def briefly(row: Row) -> str:
    """A row that is not right in a few lines, without its derivation; empty for one that is."""
    if row.verdict == "right":
        return ""
    reason = row.mistakes[0].text if row.mistakes else row.message
    return "\n".join([_head(row), *(f"  {line}" for line in reason.splitlines())])


def in_short(head: str, told: Iterable[str]) -> str:
    """What there is to tell, up to `MOST_TOLD` paragraphs of it; the rest is counted."""
    every = [one for one in told if one]
    more = [f"and {len(every) - MOST_TOLD} more"] if len(every) > MOST_TOLD else []
    return "\n".join([head, *every[:MOST_TOLD], *more])


_MARK = {"right": "✓", "wrong": "✗", "undecided": "?", "invalid": "!"}
_EXCUSED = {"follow_through": "follows", "early_rounding": "rounded"}


def excuse(row: Row) -> str:
    """By what a row is right that is not the engine's number, `follow_through` or `early_rounding`; else empty."""
    keys = [mistake.key for mistake in row.mistakes if row.verdict == "right" and mistake.key in _EXCUSED]
    return keys[0] if keys else ""


def _marked(row: Row) -> str:
    """The verdict as the table shows it: `✓ right`, `✓ follows`, `✗ wrong`."""
    return f"{_MARK[row.verdict]} {_EXCUSED.get(excuse(row), row.verdict)}"


def _summary(rows: list[Row]) -> str:
    """`7 right (2 follow from a slip, 1 rounded early), 1 wrong of 8`."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in _MARK}
    excused = {key: sum(excuse(row) == key for row in rows) for key in _EXCUSED}
    said = []
    if count := excused["follow_through"]:
        said.append(f"{count} {'follows' if count == 1 else 'follow'} from a slip")
    if count := excused["early_rounding"]:
        said.append(f"{count} rounded early")
    told = [
        f"{count} {verdict}" + (f" ({', '.join(said)})" if said and verdict == "right" else "")
        for verdict, count in counts.items()
        if count
    ]
    return f"{', '.join(told)} of {len(rows)}"


def _table(rows: list[Row]) -> str:
    cells = []
    for row in rows:
        expected = "" if row.expected is None else number(row.expected, 9)
        difference = (
            "" if row.difference is None or (row.verdict == "right" and not excuse(row)) else number(row.difference, 3)
        )
        cells.append([shorten(row.name), shorten(row.answer), expected, difference, _marked(row)])
    shown = table(["answer to", "yours", "engine", "difference", "verdict"], cells, justify="llrrl")
    return f"{shown}\n\n{_summary(rows)}"


def _head(row: Row) -> str:
    """What was obtained and expected, in a line."""
    head = f"{shorten(row.name)} is {row.verdict}"
    if row.obtained is None or row.expected is None or row.difference is None:
        return head
    return (
        f"{head}: yours gives {number(row.obtained, 9)}, the engine {number(row.expected, 9)}, "
        f"difference {number(row.difference, 3)}"
    )


def _details(row: Row, told: set[str]) -> str:
    """What to say of a row that is not right; lines of a derivation that were `told` before are not repeated."""
    lines = [_head(row)]
    lines += [f"  {line}" for line in row.message.splitlines()]
    sentences = [mistake.text for mistake in row.mistakes if mistake.text not in row.message]
    lines += [f"  {'or: ' if place else ''}{sentence}" for place, sentence in enumerate(sentences)]
    if row.node:
        lines.append(f"  went wrong first at: {shorten(row.node)}")
    derivation_lines = row.derivation.splitlines()
    if derivation_lines:
        new = [line for line in derivation_lines if line not in told] or derivation_lines[-1:]
        lines.append(f"  the right derivation{'' if len(new) == len(derivation_lines) else ', after lines above'}:")
        lines += [f"  {line}" for line in new]
        told |= set(derivation_lines)
    return "\n".join(lines)
