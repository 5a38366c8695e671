"""A class at a time: the answers of many students to the same questions, and what the class got wrong."""

from __future__ import annotations

import csv
import glob
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from engine.answers import NOT_ANSWERED, Answer, Unanswerable, read_answers
from engine.compare import Comparison, check_options
from engine.files import UnreadableError, read_text, target_of, write_whole
from engine.formula import FormulaError
from engine.forward import as_float, refuse_outdated
from engine.report import Findings, Report, Row, briefly, in_short
from engine.text import counted, number, shorten, table
from engine.value import Value

OUTCOMES = ("right", "wrong", "undecided", "not answered", "unreadable")
UNNAMED = "not recognised"
MOST_SHOWN = 40  # lines of a table in the summary
Given = str | os.PathLike[str] | Mapping[str, Any]


def grade(
    loss: Value | Mapping[str, Value | ValueError],
    answers: Mapping[str, Given],
    *,
    lr: float | None = None,
    digits: int = 3,
    seed: int = 0,
    convention: str = "gradient",
    questions: Iterable[str] | None = None,
    unconnected: Collection[str] = (),
    progress: bool | None = None,
) -> Grades:
    """Check the answers of a class, as `compare` checks those of one student.

    `answers` maps each student to the text of their answers, a path to it, or a mapping as `compare` takes it. The
    questions are those of `questions`, or all that someone answered, in the order of first appearance. What a student
    left out is not answered, and what was not asked is passed over. What can't be read of one student is kept as that
    student's error, and the others are graded. `unconnected` are names of the graph that the loss does not depend on.
    `progress` shows a bar on the standard error; by default where that is a terminal. Where each student has numbers of
    their own, `loss` maps students to their losses, or to the error for one that can't be read.

    Raises TypeError and ValueError for arguments without meaning, and for questions that can't be read.
    """
    if not isinstance(answers, Mapping):
        raise TypeError(f"grade needs a mapping from students to their answers, not {type(answers).__name__}.")
    losses = loss if isinstance(loss, Mapping) else dict.fromkeys(answers, loss)
    for one in dict.fromkeys(losses.values()):
        if not isinstance(one, ValueError):
            check_options("grade", one, lr, digits, convention)
            refuse_outdated(one, "grade")
    if not answers:
        raise ValueError("There are no students to grade.")
    rate = None if lr is None else as_float(lr)

    @cache
    def comparison_of(one: Value) -> Comparison:
        return Comparison(one, rate, digits, seed, convention, unconnected)

    with _progress(progress, 2 * len(answers)) as told:
        sheets: dict[str, _Sheet | ValueError] = {}
        for student, given in answers.items():
            own = losses.get(student, UnreadableError(f"There is no graph for {shorten(student)}."))
            sheets[student] = own if isinstance(own, ValueError) else _read(comparison_of(own), given)
            told()
        read = [sheet for sheet in sheets.values() if isinstance(sheet, _Sheet)]
        asked = _union(read) if questions is None else _given_questions(read, questions)
        found: dict[str, Report | ValueError] = {}
        for student, sheet in sheets.items():
            found[student] = sheet.report(asked) if isinstance(sheet, _Sheet) else sheet
            told()
    unread = {student: sheet.unread for student, sheet in sheets.items() if isinstance(sheet, _Sheet)}
    return Grades(found, tuple(asked.values()), unread)


Key = str
"""A question in the project's own words, whatever a student's are."""


@dataclass
class _Sheet:
    """The answers of one student by what they answer, and the lines that answer no question."""

    comparison: Comparison
    answers: dict[Key, Answer] = field(default_factory=dict)
    unread: list[Row] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Keep an answer, to its question or as one to none."""
        try:
            if answer.problem is not None:
                raise answer.problem
            key = _key(self.comparison, answer.name)
            if key in self.answers:
                earlier = shorten(self.answers[key].name)
                raise Unanswerable(f"The same is answered as `{earlier}` before. Take out one of the two.")
            self.answers[key] = answer
        except (Unanswerable, LookupError, FormulaError) as error:
            self.unread.append(Row(answer.name, answer.shown, "invalid", message=_where(answer, error)))

    def report(self, asked: Mapping[Key, str]) -> Report | ValueError:
        """The answers to what was asked, by the names of the questions, or the error for all of them."""
        try:
            return self.comparison.report(
                replace(self.answers[key], name=name) if key in self.answers else Answer(name, "")
                for key, name in asked.items()
            )
        except (ValueError, TypeError, ArithmeticError) as error:
            return _of_one_student(error)


def _read(comparison: Comparison, given: Given) -> _Sheet | ValueError:
    """The answers of a student, or the error for all of them."""
    sheet = _Sheet(comparison)
    try:
        for answer in _answers(given):
            sheet.add(answer)
    except (ValueError, TypeError, ArithmeticError) as error:
        return _of_one_student(error)
    return sheet


def _of_one_student(error: Exception) -> ValueError:
    """An error that ends with the student whose answers met it."""
    return error if isinstance(error, ValueError) else UnreadableError(str(error) or type(error).__name__)


def _answers(given: Given) -> list[Answer]:
    """The answers of a student. Raises UnreadableError, FormulaError, or TypeError for what holds none."""
    if isinstance(given, Mapping):
        if not given:
            raise UnreadableError("There are no answers.")
        return [Answer(key if isinstance(key, str) else repr(key), answer) for key, answer in given.items()]
    if isinstance(given, str):
        return read_answers(given)
    if not isinstance(given, os.PathLike):
        raise TypeError(f"The answers of a student are text, a path or a mapping, not {type(given).__name__}.")
    shown = shorten(os.fspath(given))
    if os.path.isdir(given):
        raise UnreadableError(
            f"{shown} is a folder. For the files in it write {shorten(str(Path(given, '*.txt')), 200)}."
        )
    if os.path.exists(given) and not os.path.isfile(given):  # a pipe: it may never end
        raise UnreadableError(f"{shown} is no regular file.")
    return read_answers(read_text(given, empty="Write an answer a line, such as `dL/dw = 0.25`."))


def _where(answer: Answer, error: Exception) -> str:
    line = f"line {answer.source.line}: " if answer.source and not isinstance(error, FormulaError) else ""
    return f"{line}{error if isinstance(error, FormulaError) else error.args[0]}"


def _key(comparison: Comparison, name: str) -> Key:
    """What a name asks. Raises Unanswerable, LookupError or FormulaError."""
    reader = comparison.reader
    return reader.unconnected_name(name) or reader.key(reader.question(name))


def _given_questions(sheets: Sequence[_Sheet], names: Iterable[str]) -> dict[Key, str]:
    """The questions that are given, each once, read by a graph of the class, if there is one.

    Raises ValueError for a question that can't be read, and for none.
    """
    asked: dict[Key, str] = {}
    for name in names:
        try:
            asked.setdefault(_key(sheets[0].comparison, name) if sheets else name, name)
        except (Unanswerable, LookupError, FormulaError) as error:
            raise ValueError(f"The question {shorten(name)!r} can't be read. {error.args[0]}") from None
    if not asked:
        raise ValueError("There are no questions.")
    return asked


def _union(sheets: Iterable[_Sheet]) -> dict[Key, str]:
    """The questions that someone answered, named as by the first who did."""
    asked: dict[Key, str] = {}
    for sheet in sheets:
        for key, answer in sheet.answers.items():
            asked.setdefault(key, answer.name)
    return asked


@contextmanager
def _progress(wanted: bool | None, steps: int) -> Iterator[Callable[[], None]]:
    """A function to tell of each step."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("grading", total=steps)
        yield lambda: bar.update(task, advance=1)


def outcome(row: Row) -> str:
    """What became of an answer: its verdict, but for an invalid one whether it was left out or can't be read."""
    if row.verdict != "invalid":
        return row.verdict
    return "not answered" if NOT_ANSWERED in row.message else "unreadable"


class Grades(Findings["Report | ValueError"]):
    """The report of each student, or the error where nothing could be read; `str(grades)` is a table.

    `questions` are the names of what was asked, `unread[student]` that student's lines of which this can't be told.
    """

    _row_is, _if_wrong = "student", "not every answer of the class is right"

    def __init__(
        self,
        found: Mapping[str, Report | ValueError],
        questions: tuple[str, ...],
        unread: Mapping[str, Sequence[Row]],
    ) -> None:
        super().__init__(found)
        self.questions = questions
        self.unread = {student: tuple(unread.get(student, ())) for student in found}

    @property
    def ok(self) -> bool:
        """Whether every student could be read and has every answer right."""
        return all(isinstance(found, Report) and found.ok for found in self._rows.values())

    @property
    def readable(self) -> bool:
        """Whether all that was given could be read; to leave something out is no error."""
        rows = [row for report in self.reports.values() for row in report.values()]
        errors = len(self.reports) < len(self) or any(self.unread.values())
        return not errors and all(outcome(row) != "unreadable" for row in rows)

    @property
    def reports(self) -> dict[str, Report]:
        """The students whose answers could be read."""
        return {student: found for student, found in self._rows.items() if isinstance(found, Report)}

    def credit(self, student: str) -> tuple[float, int]:
        """What a student earned, by what follows from a slip too, and what there was to earn."""
        found = self[student]
        return found.credit if isinstance(found, Report) else (0, len(self.questions))

    @property
    def mistakes(self) -> dict[str, Counter[str]]:
        """For each mistake, the commonest first, at which question how many students made it.

        It is the mistake that was named first for a wrong answer; "not recognised" where none was.
        """
        made: dict[str, Counter[str]] = {}
        for report in self.reports.values():
            for question, key in _named_first(report):
                made.setdefault(key, Counter())[question] += 1
        return dict(sorted(made.items(), key=lambda item: (item[0] == UNNAMED, -self._students_with(item[0]))))

    def _students_with(self, mistake: str) -> int:
        return sum(any(key == mistake for _, key in _named_first(report)) for report in self.reports.values())

    @property
    def outcomes(self) -> dict[str, Counter[str]]:
        """For each question how many students are right, wrong, undecided, not answered or unreadable."""
        counts: dict[str, Counter[str]] = {question: Counter() for question in self.questions}
        for report in self.reports.values():
            for question, row in report.items():
                counts[question][outcome(row)] += 1
        return counts

    def __str__(self) -> str:
        rows = []
        for student, found in self._rows.items():
            counts = Counter(map(outcome, found.values())) if isinstance(found, Report) else Counter[str]()
            credit = _points(self.credit(student)) if isinstance(found, Report) else "not read"
            rows.append([shorten(student), credit, *(_count(counts[one]) for one in OUTCOMES)])
        return f"{table(['student', 'credit', *OUTCOMES], rows, justify='lrrrrrr')}\n\n{self.summary()}"

    def summary(self) -> str:
        """How the class did, the commonest mistakes, the questions, the hardest first, and what could not be read."""
        reports, asked = self.reports.values(), len(self.questions)
        unread = f" ({len(self) - len(reports)} not read)" if len(reports) < len(self) else ""
        head = f"{counted(len(self), 'student')}{unread}, {counted(asked, 'question')}"
        if reports:
            mean = sum(report.credit[0] for report in reports) / len(reports)
            head += f", mean credit {number(mean, 3)} of {asked}"
        hardest = dict(sorted(self.outcomes.items(), key=lambda item: item[1]["right"]))
        parts = [
            head,
            *_listed(
                ["mistake", "students", "at"],
                [[shorten(key), str(self._students_with(key)), _most_common(at)] for key, at in self.mistakes.items()],
                justify="lrl",
            ),
            *_listed(
                ["question", *OUTCOMES],
                [[shorten(name), *(_count(counts[one]) for one in OUTCOMES)] for name, counts in hardest.items()],
                justify="lrrrrr",
            ),
        ]
        if errors := self._errors():
            parts.append("\n".join(["Not read", *errors[:MOST_SHOWN], *_more(len(errors))]))
        return "\n\n".join(parts)

    def _errors(self) -> list[str]:
        """A line for each student, or line of a student, that could not be read."""
        lines = []
        for student, found in self._rows.items():
            if not isinstance(found, Report):
                lines.append(f"  {shorten(student)}: {_first_line(found)}")
            lines += [f"  {shorten(student)}, {_what_is_unread(row)}" for row in self.unread[student]]
        return lines

    def _what_is_wrong(self) -> str:
        told = []
        for student, found in self._rows.items():
            if not isinstance(found, Report):
                told.append(f"{shorten(student)}: {found}")
            elif not found.ok:
                wrong = [paragraph for row in found.values() if (paragraph := briefly(row))]
                told.append(in_short(f"{shorten(student)}: {_points(found.credit)}", wrong).replace("\n", "\n  "))
        right = len(self) - len(told)
        return in_short(f"{right} of {counted(len(self), 'student')} have every answer right", told)

    def as_csv(self) -> str:
        """A line for each student: credit, what became of each question, the mistakes named first, notes and errors.

        No cell is taken for a formula by a spreadsheet: one that begins as a formula does is given a `'` before it.
        """
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\r\n")
        writer.writerow(map(_cell, ["student", "credit", "possible", *self.questions, "mistakes", "notes", "error"]))
        for student, found in self._rows.items():
            earned, possible = self.credit(student)
            outcomes, named, notes = [""] * len(self.questions), "", ""
            if isinstance(found, Report):
                outcomes = [outcome(row) for row in found.values()]
                named = "; ".join(f"{question}: {key}" for question, key in _named_first(found))
                notes = " ".join(" ".join(found.notes).split())
            said = [] if isinstance(found, Report) else [str(found)]
            said += map(_what_is_unread, self.unread[student])
            cells = [
                student,
                f"{earned:.6g}",
                str(possible),
                *outcomes,
                named,
                notes,
                " ".join("; ".join(said).split()),
            ]
            writer.writerow(map(_cell, cells))
        return output.getvalue()

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `as_csv()` as UTF-8 with a byte order mark, which spreadsheets want, in place of what was there.

        The file is complete, or as it was before. Raises ValueError for a name without .csv, OSError where it can't
        be written.
        """
        target = csv_target(path)
        write_whole(target, "\ufeff" + self.as_csv())
        return target


def csv_target(path: str | os.PathLike[str]) -> Path:
    """The file for a table of grades. Raises ValueError for a name without .csv, OSError where its folder is not."""
    if Path(path).suffix.lower() != ".csv":
        raise ValueError(f"Grades are saved as .csv; {shorten(Path(path).name)!r} does not end so.")
    target_of(path)
    return Path(path)


def _named_first(report: Report) -> list[tuple[str, str]]:
    """For each wrong answer its question, and the key of the mistake that was named first."""
    wrong = [(name, row) for name, row in report.items() if row.verdict == "wrong"]
    return [(name, row.mistakes[0].key if row.mistakes else UNNAMED) for name, row in wrong]


def _points(credit: tuple[float, int]) -> str:
    return f"{number(credit[0])} of {credit[1]}"


def _count(count: int) -> str:
    return str(count or "")


def _listed(titles: Sequence[str], rows: Sequence[Sequence[str]], *, justify: str) -> list[str]:
    """A table of the first rows, and how many more there are; nothing where there are none."""
    return ["\n".join([table(titles, rows[:MOST_SHOWN], justify=justify), *_more(len(rows))])] if rows else []


def _more(count: int) -> list[str]:
    return [f"  and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []


def _most_common(at: Counter[str], limit: int = 4) -> str:
    """`dE/dw1 (9), dE/dw2 (3)`."""
    told = [f"{shorten(question)} ({count})" for question, count in at.most_common(limit)]
    return ", ".join(told) + (f" and {len(at) - limit} more" if len(at) > limit else "")


def _what_is_unread(row: Row) -> str:
    """A line that answers no question: what is wrong with it, and what to write, without the line itself."""
    told = (line.strip() for line in row.message.splitlines() if not line.startswith("    "))
    return f"{shorten(row.name)}: {' '.join(told)}"


def _first_line(error: Exception) -> str:
    return shorten(" ".join(str(error).split()), 200)


_BLANK, _BEGINS_FORMULA = tuple("\t\r\n"), tuple("=+-@＝＋－＠")


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in _BLANK or text.lstrip()[:1] in _BEGINS_FORMULA else text


# Files of a class


def files_of(patterns: Sequence[str]) -> dict[str, Path]:
    """The files of a class by the names of the students: those of the files, or whole paths where two are the same.

    A pattern such as `answers/*.txt`, which not every shell replaces, stands for the files that fit it.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        fitting = (
            sorted(glob.glob(pattern, recursive=True))
            if glob.has_magic(pattern) and not os.path.lexists(pattern)
            else []
        )
        paths.update(dict.fromkeys(map(Path, fitting or [pattern])))
    times = Counter(path.stem for path in paths)
    names = [path.stem if times[path.stem] == 1 else path.as_posix() for path in paths]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in paths]
    return dict(zip(names, paths, strict=True))
