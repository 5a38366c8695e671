"""Numbers and names as people read and write them."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal, TypeAlias

    Notation: TypeAlias = Literal["plain", "unicode", "latex"]

NOTATIONS = ("plain", "unicode", "latex")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")  # what people write, to plain digits and signs
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_TABLE_WIDTH = 110  # characters


def number(x: float, digits: int = 6) -> str:
    """`x` to `digits` significant digits, as people write it: with a true minus sign."""
    return f"{x + 0.0:.{digits}g}".replace("-", "−")  # + 0.0 leaves no −0


def factor(x: float, digits: int = 6) -> str:
    """`x` as a factor, in parentheses where it is negative."""
    return f"({number(x, digits)})" if x < 0.0 else number(x, digits)


def counted(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(parts: Sequence[str], limit: int = 3) -> str:
    """`a`, `a and b`, `a, b and c`; of more than `limit` the rest is counted."""
    if len(parts) > limit:
        parts = [*parts[:limit], f"{len(parts) - limit} more"]
    return " and ".join([", ".join(parts[:-1]), *parts[-1:]]) if len(parts) > 1 else "".join(parts)


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


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under titles in Markdown, text on the left and numbers on the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def latex_number(x: float, digits: int = 6) -> str:
    """`x` to `digits` significant digits in a formula of LaTeX: powers of ten are written out."""
    if x != x or x in (float("inf"), float("-inf")):
        return {"nan": r"\mathrm{nan}", "inf": r"\infty", "-inf": r"-\infty"}[str(float(x))]
    mantissa, e, exponent = f"{x + 0.0:.{digits}g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else mantissa


def in_notation(label: str, notation: Notation) -> str:
    """A label in another notation: `w2_1_3` is w²₁,₃ in `"unicode"` and w^{2}_{1,3} in `"latex"`, for a formula.

    The number after the letter is the layer; then come the unit's number, the number of the unit it is fed from, and
    after `ex` that of the example. A name without `_` has its number as a subscript. Other names stay as they are in
    Unicode. In LaTeX words after a `_` are subscripts too, as in E_{o1}, a `_` that ends a name, as that of `lambda_`,
    is dropped, and what is no name is text. Raises ValueError for an unknown notation.
    """
    if notation not in NOTATIONS:
        raise ValueError(f"There is no notation {notation!r}: take 'plain', 'unicode' or 'latex'.")
    if notation == "plain":
        return label
    import re  # only where it is asked for, so that starting does not wait for it

    name = label.removesuffix("_") if notation == "latex" else label
    parts = re.fullmatch(r"(?P<letter>[^\W\d_]+)(?P<layer>\d*)(?P<indices>(_\d+)*)(_ex(?P<example>\d+))?", name)
    if parts is None:
        return label if notation == "unicode" else _other_name_in_latex(label)
    letter, layer, example = parts["letter"], parts["layer"], parts["example"]
    indices = parts["indices"][1:].split("_") if parts["indices"] else []
    if not indices:
        layer, indices = "", [layer] if layer else []
    if notation == "unicode":
        above = layer.translate(SUPERSCRIPTS) + (f"⁽{example.translate(SUPERSCRIPTS)}⁾" if example else "")
        return _GREEK.get(letter, letter) + above + ",".join(indices).translate(SUBSCRIPTS)
    above = layer + (f"({example})" if example else "")
    name = _letters_in_latex(letter)
    return name + (f"^{{{above}}}" if above else "") + (f"_{{{','.join(indices)}}}" if indices else "")


def _other_name_in_latex(label: str) -> str:
    """`E_o1` with a subscript, as E_{o1}; what is no such name as text."""
    import re

    parts = re.fullmatch(r"(?P<letter>[^\W\d_]+)(?P<number>\d*)(?P<words>(_[^\W_]+)+)_?", label)
    if parts is None:
        return in_latex_formula(label)
    words = [parts["number"]] * bool(parts["number"]) + parts["words"][1:].split("_")
    short = re.compile(r"[^\W\d_]?\d*")  # a letter and its number
    below = [_letters_in_latex(word) if word.isalpha() or not short.fullmatch(word) else word for word in words]
    return f"{_letters_in_latex(parts['letter'])}_{{{','.join(below)}}}"


def _letters_in_latex(word: str) -> str:
    """A Greek letter, by its name or itself; another letter; or a word, upright."""
    name = word if word in _GREEK else _GREEK_NAMES.get(word)
    return f"\\{name}" if name else word if len(word) == 1 else rf"\mathrm{{{word}}}"


_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_GREEK_NAMES = {letter: name for name, letter in _GREEK.items()}


def escaped_for_latex(text: str) -> str:
    """The text, for LaTeX outside of formulas."""
    return "".join(
        {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}.get(c, f"\\{c}" if c in "_{}$&#%" else c) for c in text
    )


def in_latex_formula(text: str) -> str:
    """The text, upright within a formula of LaTeX. No character of it has a meaning there, nor in Markdown or HTML.

    But for $, &, #, %, _ and `, which `in_markdown` takes care of.
    """
    return rf"\mathrm{{{''.join(_IN_LATEX_FORMULA.get(c, c) for c in text)}}}"


_IN_LATEX_FORMULA = (
    {c: f"\\{c}" for c in "$&#% _"}
    | {c: f"{{{c}}}" for c in "<>[]:@"}  # no tag, link or address is left of them
    | {"\\": r"\backslash{}", "{": r"\lbrace{}", "}": r"\rbrace{}", "^": r"{\wedge}", "~": r"{\sim}"}
    | {"*": r"{\ast}", "|": r"{\vert}", "-": r"\text{-}", "−": r"\text{-}", "…": r"\ldots{}"}
)


def in_markdown(latex: str) -> str:
    """A formula of LaTeX that any Markdown leaves alone, also one that looks for formulas only in the end.

    GitHub's does: it takes away the backslash before a sign, takes two _ for emphasis, and keeps the two backslashes
    that end a row at the end of a line only.
    """
    for character in "$&#%_":
        latex = latex.replace(f"\\{character}", chr(ord(character) + 0xFEE0))  # its twin of full width
    return latex.replace("`", "｀").replace("_{", "_ {").replace(r"\\ ", "\\\\\n")
