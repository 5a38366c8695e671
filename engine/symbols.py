"""Symbols: formulas as text, which take part in arithmetic and in every row of the table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from engine.text import SUPERSCRIPTS, in_latex_formula, latex_number, number

if TYPE_CHECKING:
    from typing import Self

    from engine.ops import Primitive

CASES, SUM, PRODUCT, POWER, ATOM = range(5)  # how tightly a piece of text holds together
_PI = {math.pi: "π", 2.0 * math.pi: "2·π"}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A formula as text, `coefficient · text`; no text stands for the number alone.

    Symbols take part in arithmetic and in every row of the table, so a partial applied to them writes itself. What
    signs, fractions, powers and functions look like is said by the methods at the end, and otherwise by `Latex`.
    """

    text: str
    binding: int = ATOM
    coefficient: float = 1.0

    MINUS: ClassVar[str] = "−"
    DOT: ClassVar[str] = "·"
    ELLIPSIS: ClassVar[str] = "…"

    @classmethod
    def of(cls, operand: Any) -> Self:
        """`operand` itself if it is a symbol, else the symbol of a number."""
        return operand if isinstance(operand, cls) else cls("", ATOM, float(operand))

    @classmethod
    def figure(cls, x: float, digits: int) -> Self:
        """The number to so many digits, which arithmetic leaves as it stands."""
        text = cls.number(x, digits)
        return cls(text, cls._binding_of(text))

    @classmethod
    def unreadable(cls) -> Self:
        """What stands for a formula that nobody would read."""
        return cls(cls.ELLIPSIS)

    def __str__(self) -> str:
        return self._signed()[0]

    def _signed(self) -> tuple[str, int]:
        """The text with its coefficient, and how tightly that holds."""
        if not self.text:
            numeral = self._numeral(self.coefficient)
            return numeral, self._binding_of(numeral)
        if self.coefficient == 1.0:
            return self.text, self.binding
        inner = self._bare().within(PRODUCT)
        if self.coefficient == -1.0:
            return f"{self.MINUS}{inner}", SUM
        return f"{self._numeral(self.coefficient)}{self.DOT}{inner}", PRODUCT if self.coefficient >= 0.0 else SUM

    def _bare(self) -> Self:
        """The symbol without its coefficient."""
        return type(self)(self.text, self.binding)

    def within(self, binding: int) -> str:
        """The text, in parentheses where it holds less tightly than `binding`."""
        text, own = self._signed()
        return text if own >= binding else self._enclosed(text)

    def __add__(self, other: Any) -> Self:
        right = self.of(other)
        if not (self.text or right.text):
            return self.of(self.coefficient + right.coefficient)
        if right._is_zero():
            return self
        if self._is_zero():
            return right
        if right.coefficient < 0.0:
            return type(self)(f"{self.within(SUM)} {self.MINUS} {(-right).within(PRODUCT)}", SUM)
        added = right.within(PRODUCT if str(right).startswith(self.MINUS) else SUM)
        return type(self)(f"{self.within(SUM)} + {added}", SUM)

    def _is_zero(self) -> bool:
        return not self.text and self.coefficient == 0.0

    def __radd__(self, other: Any) -> Self:
        return self.of(other) + self

    def __neg__(self) -> Self:
        return type(self)(self.text, self.binding, -self.coefficient)

    def __sub__(self, other: Any) -> Self:
        return self + -self.of(other)

    def __rsub__(self, other: Any) -> Self:
        return self.of(other) + -self

    def __mul__(self, other: Any) -> Self:
        right = self.of(other)
        coefficient = self.coefficient * right.coefficient
        if coefficient == 0.0 or not (self.text and right.text):
            kept = self if self.text else right
            return type(self)(kept.text if coefficient else "", kept.binding, coefficient)
        one = self.of(1.0)._above()
        if right.binding >= PRODUCT and right.text.startswith(one) and self._fits_above():
            return type(self)(self._bare()._above() + right.text[len(one) :], PRODUCT, coefficient)
        factors = [symbol._bare().within(PRODUCT) for symbol in (self, right)]
        return type(self)(self.DOT.join(factors), PRODUCT, coefficient)

    def __rmul__(self, other: Any) -> Self:
        return self.of(other) * self

    def __truediv__(self, other: Any) -> Self:
        below = self.of(other)
        if below.text == "" and below.coefficient == 1.0:
            return self
        above = self._bare() if self.text else self.of(abs(self.coefficient))
        sign = self.coefficient if self.text else 1.0 if self.coefficient >= 0.0 else -1.0
        return type(self)(above._above() + below._below(), PRODUCT, sign)

    def __rtruediv__(self, other: Any) -> Self:
        return self.of(other) / self

    def __pow__(self, other: Any) -> Self:
        exponent = self.of(other)
        if not exponent.text and exponent.coefficient in (0.0, 1.0):
            return self if exponent.coefficient else self.of(1.0)
        return type(self)(self._raised(exponent), POWER)

    def __rpow__(self, other: Any) -> Self:
        return self.of(other).__pow__(self)

    @classmethod
    def __primitive__(cls, row: Primitive, operands: tuple[Any, ...]) -> Self:
        return cls._applied(row, [cls.of(operand) for operand in operands])

    # What people see.

    @staticmethod
    def number(x: float, digits: int = 6) -> str:
        """`x` to so many significant digits."""
        return number(x, digits)

    @classmethod
    def _numeral(cls, x: float) -> str:
        """A number of the formula itself."""
        return _PI.get(x) or cls.number(x)

    @staticmethod
    def _binding_of(figure: str) -> int:
        """How tightly a written number holds."""
        return SUM if figure.startswith("−") else PRODUCT if "·" in figure else ATOM

    @staticmethod
    def _enclosed(text: str) -> str:
        return f"({text})"

    def _above(self) -> str:
        """The beginning of a fraction, as its numerator."""
        return f"{self.within(PRODUCT)}/"

    def _fits_above(self) -> bool:
        """Whether it may become the numerator of a fraction that it is multiplied by."""
        return True

    def _below(self) -> str:
        """The rest of a fraction, as its denominator."""
        return self.within(POWER)

    def _raised(self, exponent: Self) -> str:
        if not exponent.text and exponent.coefficient == int(exponent.coefficient) and abs(exponent.coefficient) < 1000:
            return f"{self.within(ATOM)}{str(int(exponent.coefficient)).translate(SUPERSCRIPTS)}"
        return f"{self.within(ATOM)}^{exponent.within(ATOM)}"

    @classmethod
    def _applied(cls, row: Primitive, operands: list[Self]) -> Self:
        if callable(row.notation):
            return cls.of(row.notation(*operands))
        if row.notation is not None:
            return cls(row.notation.format(*operands))
        return cls(f"{row.symbol}({', '.join(map(str, operands))})")

    @staticmethod
    def derivative(of: str, by: str) -> str:
        """∂of/∂by, of two names."""
        return f"∂{of}/∂{by}"

    @classmethod
    def cut_short(cls, operation: str, first: list[str], count: int) -> str:
        """An operation on so many operands, of which the `first` are named."""
        return f"{operation}({', '.join(first)}, … {count} operands)"

    @property
    def length(self) -> int:
        """How many characters a reader sees."""
        return len(self.text)


class Latex(Symbol):
    """A formula of LaTeX, with the commands of amsmath, on one line."""

    __slots__ = ()

    MINUS = "-"
    DOT = r" \cdot "
    ELLIPSIS = r"\ldots"

    @staticmethod
    def number(x: float, digits: int = 6) -> str:
        """`x` to so many significant digits."""
        return latex_number(x, digits)

    @classmethod
    def _numeral(cls, x: float) -> str:
        """A number of the formula itself; a half, and 1/n that no short decimal gives, as a fraction."""
        if x in _PI:
            return _PI[x].replace("·", cls.DOT).replace("π", r"\pi")
        divisor = round(1.0 / x) if 1e-3 <= abs(x) <= 0.5 else 0
        if divisor and x == 1.0 / divisor and (abs(divisor) == 2 or float(f"{x:.6g}") != x):
            return rf"{'-' if x < 0.0 else ''}\frac{{1}}{{{abs(divisor)}}}"
        return cls.number(x)

    @staticmethod
    def _binding_of(figure: str) -> int:
        if figure.startswith("-"):
            return SUM
        return PRODUCT if r"\cdot" in figure or r"\frac" in figure else ATOM

    @staticmethod
    def _enclosed(text: str) -> str:
        tall = r"\frac" in text or r"\begin" in text
        return rf"\left({text}\right)" if tall else f"({text})"

    def _above(self) -> str:
        return rf"\frac{{{self._within_fraction()}}}"

    def _within_fraction(self) -> str:
        """The text, with 0.5 as it is: no fraction within a fraction."""
        return str(self) if self.text or self.coefficient in _PI else self.number(self.coefficient)

    def _fits_above(self) -> bool:
        return r"\frac" not in self.text

    def _below(self) -> str:
        return f"{{{self._within_fraction()}}}"

    def _raised(self, exponent: Self) -> str:
        base = self.within(ATOM)
        if base.endswith("}") and ("^" in base or r"\sqrt" in base):  # w^{2}_{1,3}: what would the exponent belong to?
            base = self._enclosed(base)
        return f"{base}^{{{exponent}}}"

    @classmethod
    def _applied(cls, row: Primitive, operands: list[Self]) -> Self:
        written = row.latex
        if written is None:
            written = row.notation if callable(row.notation) else in_latex_formula(row.symbol.replace("_", " "))
        if callable(written):
            return cls.of(written(*operands))
        if "{0}" in written:
            return cls(written.format(*operands), CASES if written.startswith(r"\begin") else ATOM)
        return cls(written + cls._enclosed(", ".join(map(str, operands))))

    @staticmethod
    def derivative(of: str, by: str) -> str:
        """∂of/∂by, of two names."""
        return rf"\frac{{\partial {of}}}{{\partial {by}}}"

    @classmethod
    def cut_short(cls, operation: str, first: list[str], count: int) -> str:
        """An operation on so many operands, of which the `first` are named."""
        return rf"{in_latex_formula(operation)}({', '.join(first)}, \ldots\ {count}\text{{ operands}})"

    @property
    def length(self) -> int:
        """About how many characters a reader sees: what is left without commands and braces."""
        return len(_COMMAND.sub("", self.text.replace(self.DOT, Symbol.DOT)))


_COMMAND = re.compile(r"\\(mathrm|frac|left|right|text|begin|end|partial)\b ?|[\\{}^_]")
