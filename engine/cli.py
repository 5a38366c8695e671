"""The command `chalkgrad`: step, draw, check, grade, exercise."""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.answers import read_answers, read_questions
from engine.classroom import csv_target, files_of, grade
from engine.compare import judge
from engine.debugger import Debugger
from engine.drawing import RANKDIRS, Options, draw
from engine.exercise import Exercise, exercise, exercises_for, file_name, is_weight
from engine.files import UnreadableError, read_text, write_whole
from engine.formula import FormulaError, Graph, build
from engine.graph import nodes
from engine.layout import LayoutError
from engine.terminal import PLAIN, Screen
from engine.text import NOTATIONS, counted, shorten
from engine.themes import THEMES
from engine.value import Value
from engine.walk import Backprop, chapter

RIGHT, WRONG, UNREADABLE = 0, 1, 2
INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell reports them


class CommandError(Exception):
    """What the command tells before it ends with status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            status = run(options)
            sys.stdout.flush()
            return status
        except FloatingPointError as error:
            print(f"chalkgrad: {shorten(options.file)}: {error}", file=sys.stderr)
            return UNREADABLE
        except (CommandError, FormulaError, LayoutError) as error:
            print(f"chalkgrad: {error}", file=sys.stderr)
            return UNREADABLE
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:  # the reader, such as `head`, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except OSError as error:  # such as a full disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print(f"chalkgrad: the output can't be written: {_reason(error)}.", file=sys.stderr)
            return UNREADABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chalkgrad",
        description="Step through backpropagation, draw its graph, check derivations made by hand.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, file: str = "a formula file"
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run)
        added.add_argument("file", metavar="FILE", help=f"{file}: one assignment a line, the last is the loss")
        added.add_argument("--atomic", action="store_true", help="keep weighted sums as single products and sums")
        return added

    step = command("step", _step, "walk through the backward pass node by node")
    source = step.add_mutually_exclusive_group()
    source.add_argument("--all", action="store_true", help="print forward pass, loss and backward pass, and end")
    source.add_argument("--markdown", action="store_true", help="print the same as a solution sheet in Markdown")
    source.add_argument("--script", metavar="FILE", help="read the commands from a file")
    source.add_argument("--html", metavar="OUT.html", help="write the walk as a web page, and end")
    step.add_argument("--lr", type=_rate, help="learning rate: with --all or --markdown, the updates too")
    step.add_argument("--digits", type=_digits, default=6, help="significant digits of printed numbers (6)")
    drawing = command("draw", _draw, "draw the graph as SVG")
    drawing.add_argument("-o", "--output", metavar="OUT.svg", required=True, help="where to write the picture")
    for added in (step, drawing):
        added.add_argument("--rankdir", choices=RANKDIRS, help="the direction in which data flows in the picture")
        added.add_argument("--notation", choices=NOTATIONS, help="how the picture writes names (plain)")
        added.add_argument("--theme", choices=list(THEMES), help="the colours of the picture")
    check = command("check", _check, "check answers made by hand")
    check.add_argument("answers", metavar="ANSWERS", help="a line for each answer: `dE/dw5 = number or formula`")
    of_a_class = "a formula file, or a folder with one for each student, of the same name as the answers"
    grade = command("grade", _grade, "check the answers of a class", of_a_class)
    grade.add_argument("answers", metavar="ANSWERS", nargs="+", help="a file of answers for each student, or a pattern")
    grade.add_argument(
        "--csv",
        metavar="OUT.csv",
        help="write a table, with a row a student and a column a question; a file that is there is replaced",
    )
    grade.add_argument(
        "--questions",
        metavar="KEY",
        help="a file with a question a line, such as an answer key; without it all that someone answered is a question",
    )
    fresh = command("exercise", _exercise, "make an exercise: fresh numbers for the same graph")
    fresh.add_argument("--seed", type=int, default=0, help="another seed gives other numbers (0)")
    fresh.add_argument(
        "--students", metavar="NAMES", help="a file with a name a line: numbers for each of them, with -o"
    )
    fresh.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write the formulas, in DIR/answers a blank for them, and in DIR/keys the key and the solution; no "
        "file that is there is replaced",
    )
    fresh.add_argument("--lr", type=_rate, help="learning rate: ask for the updated weights too")
    fresh.add_argument("--digits", type=_digits, default=4, help="significant digits of the answers (4)")
    fresh.add_argument("--questions", metavar="KEY", help="a file with a question a line, instead of all gradients")
    shown = fresh.add_mutually_exclusive_group()
    shown.add_argument("--key", action="store_true", help="print the answer key instead")
    shown.add_argument("--solution", action="store_true", help="print the worked solution instead")
    for added in (check, grade):
        added.add_argument("--lr", type=_rate, help="learning rate, for answers to new(w)")
        added.add_argument("--digits", type=_digits, default=3, help="significant digits that a number needs (3)")
        added.add_argument("--seed", type=int, default=0, help="seed of the points at which formulas are compared (0)")
        added.add_argument(
            "--convention",
            choices=["gradient", "negative_gradient"],
            default="gradient",
            help="negative_gradient where the answers are δ = −∂L/∂z",
        )
    return parser


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not math.isfinite(rate):
        raise argparse.ArgumentTypeError(f"a learning rate is a number such as 0.5, not {text!r}")
    return rate


def _digits(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 17:
        raise argparse.ArgumentTypeError(f"digits are a whole number from 1 to 17, not {text!r}")
    return int(text)


def _read(path: str, empty: str = "Write one assignment a line, such as `z = w*x + b`.") -> str:
    """The text of a file. Raises CommandError, naming the file and what is wrong with it."""
    try:
        return read_text(path, empty=empty)
    except UnreadableError as error:
        raise CommandError(str(error)) from None


def _built(options: argparse.Namespace) -> Graph:
    try:
        graph = build(_read(options.file), atomic=options.atomic)
    except FormulaError as error:
        raise CommandError(f"{shorten(options.file)}, {error}") from None
    if not graph.loss.op:
        raise CommandError(
            f"{shorten(options.file)}: the last line gives {graph.loss.label} a number, so there is nothing to "
            "differentiate. The last line must be the formula of the loss."
        )
    for name in _unconnected(graph):
        print(f"note: {graph.loss.label} does not depend on {name}", file=sys.stderr)
    return graph


def _step(options: argparse.Namespace) -> int:
    graph = _built(options)
    if (looks := _looks(options)) and options.html is None:
        raise CommandError(f"--{next(iter(looks))} is for the page that --html writes: write --html OUT.html too.")
    if options.lr is not None and not (options.all or options.markdown):
        raise CommandError("--lr prints the updates at the end of a chapter: write --all or --markdown with it.")
    if options.lr is not None and not graph.parameters:
        raise CommandError(
            f"--lr needs to know which leaves are weights: add a line to {shorten(options.file)}, such as "
            f"`parameters: {_likely_parameters(graph)}`."
        )
    walk = Backprop(graph.loss, digits=options.digits)
    if options.all:
        screen = Screen(sys.stdout, terminal=sys.stdout.isatty())
        for line in chapter(walk, graph.values(), graph.parameters, options.lr):
            screen.say(line)
        return RIGHT
    if options.markdown:
        under = [node for node in graph.parameters if node in walk.words.names]
        print(walk.to_markdown(parameters=under if graph.parameters else None, lr=options.lr), end="")
        return RIGHT
    if options.html is not None:
        return _written(options.html, lambda: walk.save_html(options.html, **looks))
    if options.script is None:
        debugger = Debugger(walk, parameters=graph.parameters)
    else:
        commands = _read(options.script).rstrip().splitlines()
        debugger = Debugger(walk, commands=commands, parameters=graph.parameters)
    debugger.cmdloop()
    interactive = options.script is None and sys.stdin.isatty()
    return UNREADABLE if debugger.failed and not interactive else RIGHT


def _likely_parameters(graph: Graph) -> str:
    leaves = [name for name, node in graph.items() if not node.op]
    weights = [name for name in leaves if is_weight(name)]
    return " ".join((weights or leaves)[:8])


def _draw(options: argparse.Namespace) -> int:
    graph = _built(options)
    graph.loss.backward()
    return _written(options.output, lambda: draw(graph.loss, **_looks(options)).save(options.output))


def _looks(options: argparse.Namespace) -> Options:
    """How a picture is drawn, as far as it was said."""
    looks: Options = {}
    if options.notation is not None:
        looks["notation"] = options.notation
    if options.rankdir is not None:
        looks["rankdir"] = options.rankdir
    if options.theme is not None:
        looks["theme"] = options.theme
    return looks


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).rstrip(".")


def _written(path: str, write: Callable[[], Path]) -> int:
    """Write a file and say so. Raises CommandError where it can't be."""
    print(f"wrote {shorten(str(_checked(path, write)), 1000)}")
    return RIGHT


def _checked(path: str, write: Callable[[], Path]) -> Path:
    """The file that is written, or is to be. Raises CommandError where it can't be."""
    try:
        return write()
    except ValueError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{shorten(path)} can't be written: {_reason(error)}.") from None


def _check(options: argparse.Namespace) -> int:
    graph = _built(options)
    text = _read(options.answers)
    try:
        answers = read_answers(text)
    except FormulaError as error:
        raise CommandError(f"{shorten(options.answers)}, {error}") from None
    report = judge(
        graph.loss,
        answers,
        unconnected=_unconnected(graph),
        **_judging(options),
    )
    print(report)
    if any(row.verdict == "invalid" for row in report.values()):
        return UNREADABLE
    return RIGHT if report.ok else WRONG


def _judging(options: argparse.Namespace) -> dict[str, Any]:
    """The options by which answers are judged."""
    return {name: getattr(options, name) for name in ("lr", "digits", "seed", "convention")}


def _unconnected(graph: Graph) -> list[str]:
    """The names that the loss does not depend on."""
    under = set(nodes(graph.loss))
    return [name for name, node in graph.items() if node not in under]


def _grade(options: argparse.Namespace) -> int:
    files = files_of(options.answers)
    read = [options.file, *files.values(), *([options.questions] if options.questions else [])]
    if options.csv is not None and any(_is_same(options.csv, path) for path in read):
        raise CommandError(f"--csv {shorten(options.csv)} would replace a file that is read. Give it another name.")
    if options.csv is not None:  # before the work, which may take a while
        _checked(options.csv, lambda: csv_target(options.csv))
    loss: Value | dict[str, Value | ValueError]
    unconnected: list[str] = []
    if Path(options.file).is_dir():
        loss = {student: _loss_of(options, Path(path).stem) for student, path in files.items()}
    else:
        graph = _built(options)
        loss, unconnected = graph.loss, _unconnected(graph)
    try:
        grades = grade(
            loss,
            files,
            questions=_questions(options),
            unconnected=unconnected,
            **_judging(options),
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    print(grades if options.csv is None else grades.summary())
    if options.csv is not None:
        _written(options.csv, lambda: grades.to_csv(options.csv))
    return RIGHT if grades.readable else UNREADABLE


def _loss_of(options: argparse.Namespace, student: str) -> Value | ValueError:
    """The loss of a student's own graph, in a folder of them, or what is wrong with it."""
    path = str(Path(options.file, f"{student}.txt"))
    if not os.path.lexists(path):
        return UnreadableError(f"there is no exercise for {shorten(student)}: no file {shorten(path)}.")
    try:
        return build(read_text(path, empty="Write one assignment a line."), atomic=options.atomic).loss
    except FormulaError as error:
        return UnreadableError(f"{shorten(path)}, {error}")
    except UnreadableError as error:
        return error


def _questions(options: argparse.Namespace) -> list[str] | None:
    """The questions of the file that was named, if one was."""
    if options.questions is None:
        return None
    try:
        return read_questions(_read(options.questions, "Write a question a line, such as `dL/dw`."))
    except FormulaError as error:
        raise CommandError(f"{shorten(options.questions)}, {error}") from None


def _exercise(options: argparse.Namespace) -> int:
    if options.students is not None and options.output is None:
        raise CommandError("--students needs a folder to write to: write -o DIR too.")
    graph, questions = _built(options), _questions(options)

    def made(seed: int) -> Exercise:
        return exercise(graph, seed, digits=options.digits, lr=options.lr, questions=questions)

    try:
        if options.output is None:
            one = made(options.seed)
            print(one.answers if options.key else one.solution if options.solution else one.text, end="")
            return RIGHT
        students = ["exercise"] if options.students is None else _students(options)
        exercises = exercises_for(students, made, options.seed)
    except ValueError as error:
        raise CommandError(str(error)) from None
    files = {Path(options.output, p): text for name, one in exercises.items() for p, text in one.files(name).items()}
    if there := next((path for path in files if os.path.lexists(path)), None):
        raise CommandError(f"{shorten(str(there))} is there already. Write to another folder.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise CommandError(f"{shorten(str(path))} can't be written: {_reason(error)}.") from None
    for student in students:
        if (name := file_name(student)) != student:
            print(f"note: the files of {shorten(student)} are called {shorten(name)}", file=sys.stderr)
    print(f"wrote {counted(len(exercises), 'exercise')} to {shorten(options.output, 1000)}")
    return RIGHT


def _students(options: argparse.Namespace) -> list[str]:
    names = [line.split("#", 1)[0].strip() for line in _read(options.students, "Write a name a line.").splitlines()]
    return [name.lstrip("\ufeff") for name in names if name.strip("\ufeff ")]


def _is_same(path: str, other: str | Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
