"""A terminal for tests: a program in a pseudo-terminal, typed at as a person would."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect

ROOT = Path(__file__).parents[1]
PROMPT = "(chalk) "
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`arguments` for Python in a terminal of so many columns; `output` is all that it has printed."""

    def __init__(self, folder, *arguments, columns=80, history=None, **environment):
        (folder / "inputrc").write_text("set enable-bracketed-paste off\n", encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._program = pexpect.spawn(
            sys.executable,
            list(arguments),
            cwd=str(ROOT),
            env=kept
            | {
                "PYTHONPATH": str(ROOT),
                "PYTHONIOENCODING": "utf-8",
                "TERM": "xterm",
                "INPUTRC": str(folder / "inputrc"),
                "CHALKGRAD_HISTORY": str(history or ""),
                **environment,
            },
            dimensions=(24, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=60,
        )
        self._program.delaybeforesend = None
        self._program.logfile_read = self
        self.output = ""

    def write(self, text):
        """Called with all that the program prints."""
        self.output += text

    def flush(self):
        pass

    def wait(self, *texts):
        """Until each of the texts has come, one after the other; returns what came meanwhile."""
        came = ""
        for text in texts:
            self._program.expect_exact(text)
            came += self._program.before + text
        return came

    def keys(self, keys):
        """Press keys, without a return."""
        self._program.send(keys)

    def do(self, command):
        """Type a command at the prompt; returns what it prints, without colours."""
        self.keys(f"{command}\r")
        self.wait("\n")
        self.wait(PROMPT)
        return plain(self._program.before)

    def ctrl_c(self):
        """Press Ctrl-C until the session says that it was interrupted.

        One that comes in the moment before Python waits for a key is seen with the next key only.
        """
        for _ in range(30):
            self._program.sendintr()
            if self._program.expect_exact(["(interrupted; q quits)", pexpect.TIMEOUT], timeout=2) == 0:
                return
        raise AssertionError(f"Ctrl-C was never seen; printed {self.output!r}")

    def ctrl_d(self):
        self._program.sendeof()

    def resize(self, columns):
        self._program.setwinsize(24, columns)

    def end(self):
        """Until the program has ended; returns its exit status."""
        self._program.expect(pexpect.EOF)
        self._program.close()
        return self._program.exitstatus

    def close(self):
        self._program.close(force=True)


def plain(printed):
    """What was printed, without colours and with the line ends of a file."""
    return _CODES.sub("", printed).replace("\r\n", "\n")
