"""Numbers and names as people read and write them."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal, TypeAlias

    Notation: TypeAlias = Literal["plain", "unicode", "latex"]

NOTATIONS = ("plain", "unicode", "latex")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_TABLE_WIDTH = 110  # characters


def number(x: float, digits: int = 6) -> str:
    """`x` to `digits` significant digits, as people write it: with a true minus sign."""
    return f"{x + 0.0:.{digits}g}".replace("-", "−")  # + 0.0 leaves no −0


def factor(x: float, digits: int = 6) -> str:
    """`x` as a factor, in parentheses where it is negative."""
    return f"({number(x, digits)})" if x < 0.0 else number(x, digits)


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """One sentence that points from a name that is not there to those that are."""
    known = list(dict.fromkeys(known))
    import difflib  # only where a name is wrong, so that starting does not wait for it

    by_case = {candidate[:200].casefold(): candidate for candidate in reversed(known)}
    alike = difflib.get_close_matches(name[:200].casefold(), by_case, n=limit, cutoff=0.5)
    if alike:
        return f"Did you mean {' or '.join(f'`{shorten(by_case[found])}`' for found in alike)}?"
    if not known:
        return "There are no names."
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"Known names: {', '.join(map(shorten, known[:12]))}{more}."


def shorten(text: str, limit: int = 60) -> str:
    """`text` on one line and safe to print, cut in the middle where it is longer than `limit`.

    Control and direction characters become visible codes.
    """
    return visible(text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 4 :]}")


def visible(text: str) -> str:
    """The text with a visible code for every character that is none, which might change what is around it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, justify: str) -> str:
    """Rows under titles, for the terminal; `justify` has an `l` or an `r` for each column.

    Long text is folded; numbers, on the right, are never cut.
    """
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    wide = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    needed = sum(min(size, 44) if side == "l" else size for size, side in zip(wide, justify, strict=True))
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, side in zip(titles, justify, strict=True):
        if side == "l":
            made.add_column(Text(title), overflow="fold", max_width=44)
        else:
            made.add_column(Text(title), justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*map(Text, row))
    output, width = io.StringIO(), max(_TABLE_WIDTH, needed + 3 * len(wide))
    Console(file=output, width=width, color_system=None, legacy_windows=False, force_jupyter=False).print(made)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines() if line.strip())


def in_notation(label: str, notation: Notation) -> str:
    """A label in another notation: `w2_1_3` is w²₁,₃ in `"unicode"` and w^{2}_{1,3} in `"latex"`.

    The number after the letter is the layer; then come the unit's number, the number of the unit it is fed from, and
    after `ex` that of the example. A name without `_` has its number as a subscript. Other names stay as they are.
    Raises ValueError for an unknown notation.
    """
    if notation not in NOTATIONS:
        raise ValueError(f"There is no notation {notation!r}: take 'plain', 'unicode' or 'latex'.")
    if notation == "plain":
        return label
    import re  # only where it is asked for, so that starting does not wait for it

    parts = re.fullmatch(r"(?P<letter>[^\W\d_]+)(?P<layer>\d*)(?P<indices>(_\d+)*)(_ex(?P<example>\d+))?", label)
    if parts is None:
        return label if notation == "unicode" else rf"\mathrm{{{escaped_for_latex(label)}}}"
    letter, layer, example = parts["letter"], parts["layer"], parts["example"]
    indices = parts["indices"][1:].split("_") if parts["indices"] else []
    if not indices:
        layer, indices = "", [layer] if layer else []
    if notation == "unicode":
        above = layer.translate(SUPERSCRIPTS) + (f"⁽{example.translate(SUPERSCRIPTS)}⁾" if example else "")
        return _GREEK.get(letter, letter) + above + ",".join(indices).translate(SUBSCRIPTS)
    above = layer + (f"({example})" if example else "")
    name = f"\\{letter}" if letter in _GREEK else letter if len(letter) == 1 else rf"\mathrm{{{letter}}}"
    return name + (f"^{{{above}}}" if above else "") + (f"_{{{','.join(indices)}}}" if indices else "")


_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "lambda": "λ",
    "mu": "μ", "sigma": "σ", "phi": "φ", "omega": "ω",
}  # fmt: skip


def escaped_for_latex(text: str) -> str:
    """The text, for LaTeX outside of formulas."""
    return "".join(
        {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}.get(c, f"\\{c}" if c in "_{}$&#%" else c) for c in text
    )
