"""Text files: read with a word on what is wrong with them, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from engine.text import shorten

LARGEST_FILE = 10_000_000  # bytes


class UnreadableError(ValueError):
    """A file can't be read as text; the message names it, what is wrong with it, and what to do."""


def read_text(path: str | os.PathLike[str], *, empty: str) -> str:
    """The text of a file; `empty` is the advice for one that holds nothing. Raises UnreadableError."""
    shown = shorten(os.fspath(path))
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UnreadableError(f"there is no file {shown}. Is the path right, seen from {Path.cwd().name}/?") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{shown} can't be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(data) > LARGEST_FILE:
        raise UnreadableError(f"{shown} has more than {LARGEST_FILE:,} bytes; that is no file of formulas.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UnreadableError(
            f"{shown} is not UTF-8 text: line {line} has the byte 0x{data[error.start]:02x}. Save it as UTF-8."
        ) from None
    if not text.strip("\ufeff \t\r\n"):
        raise UnreadableError(f"{shown} is empty. {empty}")
    return text


def target_of(path: str | os.PathLike[str]) -> Path:
    """The file that is to be written, which need not be there. Raises OSError where its folder is not."""
    target = Path(os.path.realpath(path))  # a link keeps pointing at its file
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: give the name of a file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}: make it first.")
    return target


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a file, as UTF-8 and with line ends as they are in `text`: it is complete, or as it was before.

    Raises OSError where it can't be written.
    """
    target = target_of(path)
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(beside, target)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
