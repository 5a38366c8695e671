"""DOT to SVG, with a layout program that pip installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PROGRAM_VARIABLE = "CHALKGRAD_DOT"
TIMEOUT = 300  # seconds for one layout
LONGEST_LABEL = 200  # characters

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INVISIBLE = re.compile("[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class LayoutError(RuntimeError):
    """No layout program is to be had, or it failed."""


def visible_text(text: str) -> str:
    """A line that XML can take and the eye can see, cut where it is too long for a label."""
    text = _INVISIBLE.sub("\ufffd", xml_text(text))
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def xml_text(text: str) -> str:
    """The text without the characters that XML 1.0 forbids."""
    return _NOT_XML.sub("\ufffd", text)


def dot_text(text: str) -> str:
    """A line of a label as DOT text: no escapes of its own, no entities."""
    return visible_text(text).replace("\\", "\\\\").replace("&", "&amp;")


def laid_out(source: str) -> str:
    """The SVG of the first layout program that manages. Raises LayoutError with what each one said."""
    said = []
    for program in dict.fromkeys(_programs()):
        try:
            ran = subprocess.run(
                [program, "-Kdot", "-Tsvg"],
                input=source.encode("utf-8"),
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said.append(f"{program} took more than {TIMEOUT} s")
        except OSError as error:
            said.append(f"{program} did not start ({error.strerror or error})")
        else:
            if ran.returncode == 0 and b"<svg" in ran.stdout:
                return ran.stdout.decode("utf-8")
            said.append(f"{program} ended with status {ran.returncode}: {ran.stderr.decode('utf-8', 'replace')[-400:]}")
    if said:
        raise LayoutError(f"The picture could not be laid out: {'; '.join(said)}.")
    raise LayoutError(
        "There is no layout program: `pip install graphviz-pure` brings one, "
        f"or set {PROGRAM_VARIABLE} to the path of Graphviz's dot."
    )


def _programs() -> Iterator[str]:
    """The layout programs to be had, in order: the one that pip installed, the variable's, the system's."""
    try:
        files = metadata.files("graphviz-pure") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == "graphviz-pure" and file.suffix in ("", ".exe"):
            located = Path(str(file.locate()))
            if located.exists():
                yield str(located)
    beside = shutil.which("graphviz-pure", path=str(Path(sys.executable).parent))
    if beside:
        yield beside
    if named := os.environ.get(PROGRAM_VARIABLE):
        yield named
    if system := shutil.which("dot"):
        yield system
