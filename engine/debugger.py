"""A walk as a REPL: forward, back, break, ask why."""

from __future__ import annotations

import cmd
import io
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from engine.explain import forward_in_words
from engine.graph import named_nodes
from engine.layout import LayoutError
from engine.walk import Backprop


class Debugger(cmd.Cmd):
    """Step through the backward pass. Commands are methods, and their docstrings the help.

    `commands` are run in place of typed ones, without a prompt. `failed` tells whether a command was not
    understood or could not be done.
    """

    doc_header = "Commands (h NAME explains one; a blank line repeats the last):"

    def __init__(self, walk: Backprop, *, commands: Iterable[str] | None = None, stdout: IO[str] | None = None) -> None:
        super().__init__(
            stdin=None if commands is None else io.StringIO("".join(f"{c}\n" for c in commands)), stdout=stdout
        )
        self.walk = walk
        self.failed = False
        self._breakpoints: dict[str, int] = {}  # the name and the position at which its gradient is complete
        self._typed = commands is None and (sys.stdin.isatty() or "ipykernel" in sys.modules)
        self.use_rawinput = self._typed
        self.prompt = "(chalk) " if self._typed else ""
        if self._typed:
            self.intro = f"{self._where()}\nn: next line · s: one step · back · why NAME · h: help · q: quit"

    # The loop

    def cmdloop(self, intro: str | None = None) -> None:
        """Read and do commands until `q` or the end of the input; Ctrl-C gives a new prompt."""
        while True:
            try:
                super().cmdloop(intro)
                return
            except KeyboardInterrupt:
                self._say("(interrupted; q quits)")
                intro = self.intro = ""

    def onecmd(self, line: str) -> bool:
        """Do one command; an error is told, and the walk stays as it is."""
        try:
            command = re.sub(r"(^|\s)#.*", "", line).strip()
            if line.strip() and not command:  # a comment, which is no blank line
                return False
            return bool(super().onecmd(command))
        except OSError as error:
            self._fail(f"{error.filename or 'the file'} can't be written: {error.strerror or error}.")
        except (LookupError, ValueError, FloatingPointError, LayoutError) as error:
            self._fail(str(error.args[0]))
        return False

    def default(self, line: str) -> bool | None:  # type: ignore[override]
        """Say what is not a command."""
        if line == "EOF":
            if self._typed:
                self._say("")
            return True
        word = line.split()[0]
        self._fail(f"There is no command {word!r}. Commands: n, s, b, c, back, goto, p, why, l, draw, q, h.")
        return None

    def _say(self, text: str) -> None:
        self.stdout.write(text + "\n")

    def _fail(self, text: str) -> None:
        self.failed = True
        self._say(f"*** {text}")

    def _where(self) -> str:
        return repr(self.walk).strip("<>")

    def _count(self, text: str) -> int:
        if not text:
            return 1
        if not text.isdecimal() or not 0 < int(text) < 10**9:
            raise ValueError(f"{text!r} is not a number of times. Write a whole number from 1 on, or nothing for 1.")
        return int(text)

    # The commands

    def do_n(self, text: str) -> None:
        """n [TIMES]: go on to the next labelled node, a line of the derivation."""
        for _ in range(self._count(text)):
            steps = self.walk.next()
            self._say(str(steps) if steps else self._where())
            if not steps:
                break

    def do_s(self, text: str) -> None:
        """s [TIMES]: apply the chain rule at one node."""
        for _ in range(self._count(text)):
            step = self.walk.step()
            self._say(str(step) if step is not None else self._where())
            if step is None:
                break

    def do_b(self, text: str) -> None:
        """b [NAME]: stop where the gradient of NAME is complete; again takes it away; without NAME, list them."""
        if not text:
            self._say("stops at: " + (", ".join(self._breakpoints) or "nothing; b NAME sets one"))
        elif text in self._breakpoints:
            del self._breakpoints[text]
            self._say(f"no longer stops at {text}")
        else:
            node = self.walk.find(text)
            self._breakpoints[text] = position = self.walk.completed_at(node)
            passed = " (already passed: `back` or `goto` first)" if position <= self.walk.position else ""
            self._say(f"stops at {text}, after step {position}{passed}")

    def do_c(self, text: str) -> None:
        """c: go on to the next stop, or to the end."""
        ahead = [(at, name) for name, at in self._breakpoints.items() if at > self.walk.position]
        if not ahead:
            self.walk.run()
            self._say(self._where())
            return
        position, name = min(ahead)
        self.walk.goto(position)
        node = self.walk.find(name)
        words = self.walk.words
        self._say(
            f"{self._where()}\nstopped at {name}: {words.gradient_of(node)} = {words.number(node.grad)}, complete"
        )

    def do_back(self, text: str) -> None:
        """back [STEPS]: undo steps; every gradient is as it was."""
        if not self.walk.position:
            self._say("There is nothing to undo: the walk is at its start.")
            return
        self.walk.goto(max(0, self.walk.position - self._count(text)))
        self._say(self._where())

    def do_goto(self, text: str) -> None:
        """goto N: go forward or back to where N steps are done; `goto NAME` to where its gradient is complete."""
        if not text:
            raise ValueError(f"Where to? goto 0 … {len(self.walk)}, or goto NAME.")
        if text.lstrip("-").isdecimal():
            self.walk.goto(int(text[:20]))
        else:
            self.walk.run_to(text)
        self._say(self._where())

    def do_p(self, text: str) -> None:
        """p NAME: the node's data, what it is computed from, and its gradient so far."""
        if not text:
            raise ValueError("Print what? p NAME, such as " + ", ".join(self._names()[:3]) + ".")
        node, words = self.walk.find(text), self.walk.words
        complete = self.walk.completed_at(node) <= self.walk.position
        state = "complete" if complete else "so far"
        self._say(f"{words.forward_line(node)}\n{words.gradient_of(node)} = {words.number(node.grad)} ({state})")

    def do_why(self, text: str) -> None:
        """why NAME: the paths from the loss to NAME, their products, and the sum."""
        if not text:
            raise ValueError("Why what? why NAME, such as " + ", ".join(self._names()[:3]) + ".")
        self._say(str(self.walk.why(text)))

    def do_l(self, text: str) -> None:
        """l: the forward pass, and where the walk is in it."""
        words, walk = self.walk.words, self.walk
        lines = forward_in_words(words)
        self._say("\n".join([*(lines if len(lines) <= 40 else [*lines[:20], "…", *lines[-19:]]), self._where()]))
        done = ", ".join(words.names[node] for node in walk.order[: walk.position][-12:])
        self._say(f"done: {done or 'nothing yet'}")

    def do_draw(self, text: str) -> None:
        """draw [FILE]: the graph as it stands, as SVG; without FILE, to walk.svg."""
        path = self.walk.draw().save(Path(text or "walk.svg"))
        self._say(f"wrote {path}")

    def do_q(self, text: str) -> bool:
        """q: quit."""
        return True

    def do_h(self, text: str) -> None:
        """h [COMMAND]: this help."""
        self.do_help(text)

    def do_help(self, arg: str) -> None:
        """h [COMMAND]: this help."""
        if arg:
            super().do_help(arg)
            return
        lines = [str(getattr(self, f"do_{name}").__doc__) for name in "n s b c back goto p why l draw q h".split()]
        self._say("\n".join(["A blank line repeats the last command.", *lines]))

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """The commands, without the long name of help."""
        return [name for name in super().completenames(text, *ignored) if name != "help"]

    def _names(self) -> list[str]:
        labelled = [node.label for node in self.walk.words.names if node.label]
        return labelled or named_nodes(self.walk.words.names)

    def completedefault(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """The names of nodes that begin so."""
        return [name for name in self._names() if name.startswith(text)]
