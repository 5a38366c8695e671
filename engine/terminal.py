"""What a session prints and remembers: lines that fit the terminal, colours where it has them, and a history."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from engine.text import visible

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80  # columns, where the terminal doesn't tell
LONGEST_HISTORY = 1000  # commands

# The meaning of a line, by how it begins, and its style.
_STYLES = [
    (re.compile(r"\*\*\* "), "bold red"),
    (re.compile(r"warning: "), "yellow"),
    (re.compile(r"step \d+ of |together, from "), "bold cyan"),
    (re.compile(r"stop(s|ped) "), "magenta"),
    (re.compile(r"\s*✓"), "green"),
    (re.compile(r"\s*✗"), "red"),
    (re.compile(r"> "), "bold"),  # NOW
    (re.compile(r".* \+= "), "green"),  # what a gradient receives
]
_LEFT = re.compile(  # the left side of an equation, or the first of two columns
    r"\s*(?:[>✓✗] |new )?\S+\s+\+?= |\s*\S.*?\s{2,}"
)
_PIECE = re.compile(r"\s*(?:(?:[-−+×·=→<>]|\+=)\s+)*\S+")  # a word, with the signs before it


PLAIN = "chalkgrad.plain"  # the error handler of an encoding that lacks a character
# What a terminal without mathematics shows instead.
_PLAIN = dict(zip("−×·∂σ─✓✗Σδ⁻", ["-", "x", "*", "d", "sigmoid", "-", "+", "x", "sum", "delta", "^-"], strict=True))
_PLAIN |= {"→": "->", "…": "...", "π": "pi"} | {"⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]: f"^{digit}" for digit in range(10)}


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error(PLAIN, _plain)


class Screen:
    """Where a session prints. On a terminal lines are wrapped to its width and coloured, elsewhere they are neither.

    Nothing is printed raw: what is no visible character shows as its code.
    """

    def __init__(self, stream: IO[str], *, terminal: bool) -> None:
        self.stream = stream
        self.terminal = terminal
        self._console = _console(stream) if terminal else None

    def say(self, text: str, *, prose: bool = False) -> None:
        """Print lines; of `prose` what is wrapped does not hang."""
        lines = [visible(line) for line in text.split("\n")]
        if not self.terminal:
            self._write("\n".join(lines) + "\n")
            return
        width, failed = self.width(), lines[0].startswith("*** ")
        for line in _cropped(lines, width):
            self._print(wrapped(line, width, hang=not prose), _STYLES[0][1] if failed else style_of(line))

    def _print(self, lines: list[str], style: str) -> None:
        if self._console is None or not style:
            self._write("\n".join(lines) + "\n")
            return
        from rich.text import Text

        self.stream.flush()
        self._console.print(Text("\n".join(lines), style=style), soft_wrap=True)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:  # of a stream that the command did not prepare
            encoding = getattr(self.stream, "encoding", None) or "ascii"
            self.stream.write(text.encode(encoding, PLAIN).decode(encoding))

    def width(self) -> int:
        """The columns that the terminal has now."""
        with suppress(OSError, ValueError, AttributeError):
            if columns := os.get_terminal_size(self.stream.fileno()).columns:
                return columns
        given = os.environ.get("COLUMNS", "")
        return int(given) if given.isdecimal() and int(given) else WIDTH


def _console(stream: IO[str]) -> Console | None:
    """What colours the terminal, or None where it has no colours or they are not wanted."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return None
    from rich.console import Console

    return Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False, markup=False, emoji=False)


def style_of(line: str) -> str:
    """The style of a line by its meaning; empty for none."""
    return next((style for meaning, style in _STYLES if meaning.match(line)), "")


def wrapped(line: str, width: int, *, hang: bool = True) -> list[str]:
    """A line in lines of at most `width` columns, broken between words and before signs; numbers are never cut.

    What follows hangs under the right side of an equation or the second column, or else a little further in.
    """
    from rich.cells import cell_len

    if cell_len(line) <= width:
        return [line]
    start = len(line) - len(line.lstrip()) + 4
    left = _LEFT.match(line)
    hanging = cell_len(left[0]) if left and cell_len(left[0]) <= width // 2 else start
    hanging = hanging if hang else 0
    made, used = [""], 0
    for piece in _PIECE.findall(line):
        if used and used + cell_len(piece) > width:
            made.append(" " * hanging)
            piece, used = piece.lstrip(), hanging
        made[-1] += piece
        used += cell_len(piece)
    return made


def _cropped(lines: list[str], width: int) -> list[str]:
    """The lines, where one that a `^` points into is cut rather than wrapped, so that it still points there."""
    lines = list(lines)
    for place in range(1, len(lines)):
        if lines[place].strip() == "^" and max(len(lines[place - 1]), len(lines[place])) > width:
            start = max(0, len(lines[place]) - width + 4)
            lines[place - 1] = lines[place - 1][start:][:width]
            lines[place] = lines[place][start:]
    return lines


def history_path() -> Path | None:
    """Where commands are remembered: CHALKGRAD_HISTORY (empty for nowhere), or else the user's state directory."""
    chosen = os.environ.get("CHALKGRAD_HISTORY")
    if chosen is not None:
        return Path(chosen) if chosen else None
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:  # nobody's home
        return None
    return folder / "chalkgrad" / "history"


class History:
    """The commands of this session after those of earlier ones. That a file can't be read or written is no error."""

    def __init__(self, path: Path | None = None) -> None:
        self.lines: list[str] = []
        self._path = path
        if path is not None:
            with suppress(OSError, ValueError):
                self.lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            if len(self.lines) > LONGEST_HISTORY:
                self.lines = self.lines[-LONGEST_HISTORY:]
                with suppress(OSError, ValueError):
                    path.write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8")

    def add(self, line: str) -> None:
        """Remember a command."""
        line = visible(line.strip())
        if not line:
            return
        self.lines.append(line)
        if self._path is not None:
            with suppress(OSError, ValueError):
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with open(
                    os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
                ) as file:
                    file.write(f"{line}\n")

    @contextmanager
    def at_the_arrow_keys(self) -> Iterator[None]:
        """While it lasts, the arrow keys bring back these commands, and afterwards what they brought before."""
        try:
            import readline
        except ImportError:  # as on Windows, and no loss
            yield
            return
        before = [readline.get_history_item(place + 1) for place in range(readline.get_current_history_length())]
        _refill(readline, self.lines)
        try:
            yield
        finally:
            _refill(readline, before)


def input_aside(question: str) -> str:
    """What is typed after a question, which the arrow keys don't bring back. Raises EOFError."""
    answer = input(question)
    with suppress(ImportError, ValueError):
        import readline

        last = readline.get_current_history_length()
        if answer and readline.get_history_item(last) == answer:
            readline.remove_history_item(last - 1)
    return answer


def _refill(readline: object, lines: list[str]) -> None:
    readline.clear_history()  # type: ignore[attr-defined]
    for line in lines:
        readline.add_history(line)  # type: ignore[attr-defined]
