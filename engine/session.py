"""The loop of a REPL: reading, errors, the history, help and questions; the commands come from who extends it."""

from __future__ import annotations

import cmd
import inspect
import io
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, ClassVar

from engine.formula import FormulaError, Source
from engine.layout import LayoutError
from engine.terminal import History, Screen, history_path, input_aside
from engine.text import nearest, shorten


class Session(cmd.Cmd):
    """A loop of commands, typed at a terminal or in a notebook, from a pipe, or given as `commands`.

    A command is a method `do_…`, whose docstring is its help: `usage: meaning`, and more after a blank line.
    `groups` lists the commands that the help shows, and `failed` tells whether one was not understood or could not be
    done. Lines are coloured and fitted to a terminal only where a person types.
    """

    groups: ClassVar[list[str]] = []

    def __init__(self, commands: Iterable[str] | None, stdout: IO[str] | None) -> None:
        given = None if commands is None else io.StringIO("".join(f"{command}\n" for command in commands))
        super().__init__(stdin=given, stdout=stdout)
        self.failed = False
        self._line = ""  # the command that is being done
        self._busy = self._asking = False
        self._typed = commands is None and ((sys.stdin is not None and sys.stdin.isatty()) or in_notebook())
        self.use_rawinput = self._typed
        self.prompt = "(chalk) " if self._typed else ""
        self._screen = Screen(self.stdout, terminal=self._typed and self.stdout.isatty())
        self._history = History(history_path() if self._typed else None)

    def _greeting(self) -> str:
        """What is said to who types, before the first prompt."""
        raise NotImplementedError

    def cmdloop(self, intro: str | None = None) -> None:
        """Read and do commands until `q` or the end of the input; Ctrl-C gives a new prompt.

        Raises RuntimeError where nobody can type, as in a notebook that is run by a program.
        """
        with self._history.at_the_arrow_keys() if self._typed else nullcontext():
            if self._typed:
                self._say(self._greeting())
            while True:
                try:
                    super().cmdloop()
                    return
                except KeyboardInterrupt:
                    if not self._typed:
                        raise
                    if in_notebook() and not self._busy:  # the stop button, while it waits for a command
                        self._say("(left)")
                        return
                    self._busy = self._asking = False
                    self._say("\n(interrupted; q quits)")
                except RuntimeError as error:
                    if self._busy or not in_notebook():
                        raise
                    raise RuntimeError(
                        "Nobody can type in this notebook, since a program runs it: give the commands, as in "
                        "walk.interact(['n', 'why w5'])."
                    ) from error

    def precmd(self, line: str) -> str:
        """Remember a command."""
        self._busy = True
        if line != "EOF":
            self._history.add(line)
        return line

    def onecmd(self, line: str) -> bool:
        """Do one command; an error is told, and the walk stays as it is."""
        command = without_comment(line)
        if line.strip() and not command:  # a comment, which is no blank line
            return False
        self._line = command
        try:
            with self._warnings_told():
                return bool(super().onecmd(command))
        except OSError as error:
            self._fail(f"{error.filename or 'the file'} can't be written: {error.strerror or error}.")
        except FormulaError as error:
            self._fail(str(error))
        except (LookupError, ValueError, FloatingPointError, LayoutError) as error:
            self._fail(str(error.args[0] if isinstance(error, KeyError) else error))  # which quotes its message
        return False

    def postcmd(self, stop: bool, line: str) -> bool:
        """The command is done."""
        self._busy = False
        return stop

    @contextmanager
    def _warnings_told(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_, **__: self._say(f"warning: {message}")
            yield

    def default(self, line: str) -> bool | None:  # type: ignore[override]
        """Say what is not a command."""
        if line == "EOF":
            if self._typed:
                self._say("")
            return True
        word = line.split()[0]
        long_names = [name.removeprefix("do_") for name in self.get_names() if name.startswith("do_") and len(name) > 5]
        alike = nearest(word, long_names)
        known = f"Commands: {', '.join(' '.join(self.groups).split())}."
        self._fail(f"There is no command {shorten(word)!r}. {alike if alike.startswith('Did') else known}")
        return None

    def _say(self, text: str) -> None:
        self._screen.say(text)

    def _fail(self, text: str) -> None:
        self.failed = True
        self._say(f"*** {text}")

    def _ask(self, question: str) -> str | None:
        """What is typed after a question; None at the end of the input."""
        if not self._typed:
            self._say(question.rstrip())
            return self.stdin.readline() or None
        self._asking = True
        try:
            return input_aside(question)
        except EOFError:
            self._say("")
            return None
        finally:
            self._asking = False

    def _source(self, text: str) -> Source:
        """Where `text`, the last part of the command, stands in it."""
        return Source(self._line, None, len(self._line) - len(text))

    def _count(self, text: str) -> int:
        if not text:
            return 1
        if not text.isdecimal() or not 0 < int(text[:20]) < 10**9:
            raise ValueError(
                f"{shorten(text)!r} is not a number of times. Write a whole number from 1 on, or nothing for 1."
            )
        return int(text)

    def do_history(self, text: str) -> None:
        """history [N]: the last commands, of earlier sessions too."""
        lines = self._history.lines
        first = max(0, len(lines) - (self._count(text) if text else 20))
        self._say("\n".join(f"{place + 1:4}  {lines[place]}" for place in range(first, len(lines))))

    def do_q(self, text: str) -> bool:
        """q, quit, exit: end; the walk stays where it is."""
        return True

    def do_h(self, text: str) -> None:
        """h, help [COMMAND]: this help; more about a command."""
        if text:
            found = getattr(self, f"do_{text}", None)
            if found is None:
                self.default(text)
                return
            paragraphs = inspect.cleandoc(found.__doc__).split("\n\n")
            self._screen.say("\n\n".join(" ".join(lines.split()) for lines in paragraphs), prose=True)
            return
        rows = [[self._help_of(name) for name in group.split()] for group in self.groups]
        wide = max(len(usage) for group in rows for usage, _ in group)
        blocks = ["\n".join(f"  {usage:<{wide}}  {meaning}" for usage, meaning in group) for group in rows]
        self._say("\n\n".join([*blocks, "A blank line repeats the last command; h COMMAND tells more."]))

    def _help_of(self, name: str) -> tuple[str, str]:
        usage, _, meaning = inspect.cleandoc(getattr(self, f"do_{name}").__doc__).partition("\n")[0].partition(": ")
        return usage, meaning.removesuffix(".")

    do_quit, do_exit = do_q, do_q
    do_help = do_h  # type: ignore[assignment]

    def complete_h(self, text: str, *ignored: object) -> list[str]:
        """The commands that begin so."""
        return super().completenames(text, *ignored)

    complete_help = complete_h


def without_comment(line: str) -> str:
    """What is typed, without a comment and the spaces around it."""
    return re.sub(r"(^|\s)#.*", "", line).strip()


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which can be typed at though it has no terminal."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None
