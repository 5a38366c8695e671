"""Text to Values, safely: formulas and files of formulas, read through a whitelist of Python's syntax.

Text from a student is data: nothing is ever executed, and length, depth and numbers are capped.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, NoReturn

from engine import ops
from engine.forward import DomainError, as_float, evaluate
from engine.text import RAISED, nearest, shorten
from engine.value import Value, record

LONGEST_FORMULA = 10_000  # characters
DEEPEST_FORMULA = 100  # levels of nesting, a sum or product of many terms counting as one
MOST_LINES = 200_000

_OWN_WRITING = {"neg", "identity", "constant", "dot", "softmax"}  # not called by name in a formula
FUNCTIONS: dict[str, ops.Primitive] = {
    name: row for name, row in ops.TABLE.items() if name.isidentifier() and name not in _OWN_WRITING
} | {
    "ln": ops.LOG,
    "σ": ops.SIGMOID,
    "max": ops.MAXIMUM,
    "min": ops.MINIMUM,
    "arcsin": ops.ASIN,
    "arccos": ops.ACOS,
    "arctan": ops.ATAN,
}
CONSTANTS = {"e": math.e, "pi": math.pi, "π": math.pi}

_OPERATORS: dict[type, ops.Primitive] = {
    ast.Add: ops.ADD,
    ast.Sub: ops.SUBTRACT,
    ast.Mult: ops.MULTIPLY,
    ast.Div: ops.DIVIDE,
    ast.Pow: ops.POWER,
}
_COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="}

# What a PDF or a keyboard with mathematics gives, and what it means.
_MEANING = dict.fromkeys("·×⋅∙∗•", "*") | dict.fromkeys("−–—‐‑", "-") | dict.fromkeys("÷∕⁄", "/")
_MEANING |= {"^": "**", "√": "sqrt", "≥": ">=", "≤": "<=", "≠": "!=", "𝜎": "σ", "ς": "σ"}
_MEANING |= {"\u2061": "", "\ufeff": "", "\u200b": "", "\t": " "}
_HINTS = {
    ";": "Begin a new line instead of writing `;`.",
    "=": "Give each name a line of its own.",
    "|": "For an absolute value write abs(x).",
    "%": "50 % is 0.5.",
    "!": "Multiply it out.",
    "@": "Multiply with `*`.",
    "&": "A condition has one comparison: `z > 0`.",
    "~": "A minus is `-`.",
    "′": "Write the derivative out.",
    "'": "A formula has numbers and names, and no text.",
    '"': "A formula has numbers and names, and no text.",
} | dict.fromkeys("[]{}", "Group with ( and ).")
_TOKEN = re.compile(r"\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([^\W\d]\w*)|(\*\*|[<>=!]=|.))")
_DECIMAL = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class FormulaError(ValueError):
    """A formula cannot be read or has no value. `line` and `column` count from 1; None where there is none."""

    def __init__(
        self, problem: str, *, text: str = "", line: int | None = None, column: int | None = None, hint: str = ""
    ) -> None:
        self.problem, self.text, self.line, self.column, self.hint = problem, text, line, column, hint
        super().__init__(problem)

    def __str__(self) -> str:
        place = ", ".join(
            f"{what} {where}" for what, where in (("line", self.line), ("column", self.column)) if where is not None
        )
        lines = [f"{place}: {self.problem}" if place else self.problem]
        if self.text and self.column is not None:
            start = max(0, self.column - 60)
            window = "".join(
                c if c.isprintable() else " " if c == "\t" else "�" for c in self.text[start : start + 100]
            )
            lead = "…" if start else ""
            lines.append(f"    {lead}{window}")
            wide = sum(_width(c) for c in lead + window[: self.column - 1 - start])
            lines.append(f"    {' ' * wide}^")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _formula_error, (self.problem, self.text, self.line, self.column, self.hint)


def _formula_error(problem: str, text: str, line: int | None, column: int | None, hint: str) -> FormulaError:
    return FormulaError(problem, text=text, line=line, column=column, hint=hint)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@dataclass(frozen=True)
class Source:
    """Where a piece of text stands in what a person typed, so that errors can point there."""

    text: str
    line: int | None = None
    start: int = 0
    places: Sequence[int] = ()  # of a piece that was put in other words: where each of its characters came from

    def error(self, problem: str, at: int = 0, hint: str = "") -> FormulaError:
        """The error at character `at` of the piece."""
        place = self.places[min(at, len(self.places) - 1)] if self.places else at
        return FormulaError(problem, text=self.text, line=self.line, column=self.start + place + 1, hint=hint)


def _normalised(text: str, source: Source) -> tuple[str, list[int]]:
    """The text as Python would write it, and for each of its characters the place in the original."""
    written: list[str] = []
    places: list[int] = []
    raised = ""  # the superscripts being read

    def put(piece: str, place: int) -> None:
        written.append(piece)
        places.extend([place] * len(piece))

    for place, character in enumerate(text):
        if ord(character) in RAISED:
            put(character.translate(RAISED) if raised else f"**({character.translate(RAISED)}", place)
            raised += character
            continue
        if raised:
            put(")", place - 1)
            raised = ""
        folded = unicodedata.normalize("NFKC", character)
        if "⁄" in folded[1:]:  # ½ is 1⁄2
            before, after = "".join(written).rstrip()[-1:], text[place + 1 :].lstrip()[:1]
            if before.isalnum() or before == ")":
                value = unicodedata.numeric(character)
                raise source.error(
                    f"`{character}` right after `{before}` could mean a sum or a product.",
                    place,
                    f"Write {value:.6g} added, as in 2.5, or multiplied, as in x*{value:.6g}.",
                )
            put(f"({folded.replace('⁄', '/')})" + ("*" if after.isalpha() or after == "(" else ""), place)
        elif character == "√" and not text[place + 1 :].lstrip().startswith("("):
            raise source.error("The root needs parentheses.", place, "Write √(x) or sqrt(x).")
        elif character in _MEANING:
            put(_MEANING[character], place)
        elif character.isspace():
            put(" ", place)
        elif not character.isprintable():
            named = unicodedata.name(character, "control character")
            raise source.error(
                f"There is an invisible character here, U+{ord(character):04X} ({named}).", place, "Delete it."
            )
        else:
            put(folded if folded.isascii() and folded.isprintable() else character, place)
    if raised:
        put(")", len(text) - 1)
    places.append(len(text))
    return "".join(written), places


def tidy_name(name: str) -> str:
    """A name as Python's parser would read it."""
    written, _ = _normalised(name.strip(), Source(name))
    return unicodedata.normalize("NFKC", written)


class Formula:
    """A formula that has been read: `names` are those it uses, each with the place of its first use.

    Raises FormulaError for what is not on the whitelist, with the place and a hint.
    """

    def __init__(self, text: str, source: Source | None = None, known: Collection[str] = ()) -> None:
        self.text = text.strip()
        self.source = source or Source(text)
        self.known = known  # not copied: a file has as many names as formulas
        if len(text) > LONGEST_FORMULA:
            raise FormulaError(
                f"The formula has {len(text):,} characters; the limit is {LONGEST_FORMULA:,}.",
                line=self.source.line,
                hint="Split it: give its parts names on lines of their own.",
            )
        if not text.strip():
            raise self.source.error("There is no formula here.", len(text), "Write a number or an expression.")
        written, places = _normalised(text, self.source)
        margin = len(written) - len(written.lstrip())
        self._written, self._places = written.strip(), places[margin:]
        if not self._written:
            raise self.source.error("There is no formula here.", 0, "Write a number or an expression.")
        self._bytes = self._written.encode("utf-8", "replace")
        self.names: dict[str, int] = {}
        self.literals: list[ast.Constant] = []
        self._check_tokens()
        self.tree = self._parsed()
        self._check(self.tree, 0)

    def _parsed(self) -> ast.expr:
        try:
            return _tree(self._written)
        except SyntaxError as error:
            at = min((error.offset or 1) - 1, len(self._written))
            problem = error.msg.lower()
            if "never closed" in problem or "unmatched" in problem:
                self._fail(f"{error.msg[:1].upper()}{error.msg[1:]}.", at, "Every ( needs its ).")
            if "nested parentheses" in problem:
                self._too_deep()
            if "digits" in problem:
                self._fail("The number is too long.", at, "17 digits say all that a float holds.")
            if "leading zeros" in problem:
                self._fail("A number does not begin with 0, except before a point.", at)
            if len(re.findall(r"\bif\b", self._written)) != len(re.findall(r"\belse\b", self._written)):
                self._fail("A condition needs both its parts.", at, "Write `a if z > 0 else b`.")
            if self._written[-1] in "+-*/(,":
                self._fail("The formula breaks off here.", len(self._written), "Something must follow the last sign.")
            self._fail("This is not a formula.", at, self._product_hint())
        except (RecursionError, MemoryError, ValueError):
            self._too_deep()

    def _too_deep(self) -> NoReturn:
        raise self.source.error(
            "The formula has too many terms or is nested too deeply to be read "
            f"(more than {DEEPEST_FORMULA} levels, or some thousand terms).",
            0,
            "Split it: give its parts names on lines of their own.",
        )

    def _fail(self, problem: str, at: int, hint: str = "") -> NoReturn:
        raise self.source.error(problem, self._places[min(at, len(self._places) - 1)], hint)

    def _at(self, node: ast.AST) -> int:
        """The character of the written text where the node starts; ast counts bytes."""
        return len(self._bytes[: getattr(node, "col_offset", 0)].decode("utf-8", "ignore"))

    def _segment(self, node: ast.expr) -> str:
        return self._bytes[node.col_offset : node.end_col_offset].decode("utf-8", "ignore")

    def _check_tokens(self) -> None:
        """What Python's parser would misread or answer in terms of Python."""
        depth, before, conditional = 0, "", False
        for match in _TOKEN.finditer(self._written):
            group = match.lastindex or 3
            token, at = match[group], match.start(group)
            depth += {"(": 1, ")": -1}.get(token, 0)
            conditional = conditional or token == "if"
            if group == 2 and keyword.iskeyword(token) and token not in ("if", "else", "True", "False", "None"):
                if token in ("and", "or", "not", "is", "in"):
                    self._fail(f"`{token}` is not part of a formula.", at, "A condition has one comparison: `z > 0`.")
                self._fail(f"`{token}` is a word of Python and cannot be a name.", at, f"Call it `{token}_`.")
            if token == "," and depth == 0:
                self._fail("A comma stands between the arguments of a function.", at, "Decimals have a point: 0.5.")
            if token == "=" and conditional:
                self._fail("A comparison for equality is written `==`.", at)
            if token in _HINTS or (token == "/" and before == "/" and self._written[at - 1] == "/"):
                self._fail(f"`{token}` is not part of a formula.", at, _HINTS.get(token, "Divide with one `/`."))
            before = token

    def _product_hint(self) -> str:
        """The formula with the missing `*` signs written, if that is what it lacks."""
        if re.search(r"['\"]|\w\s*\.\s*[^\W\d]|\.\S*\.", self._written):  # a program, or 1.2.3
            return ""
        if wrong := re.search(r"\b([^\W\d]\w*)\s*(\*\*\([-0-9]+\)|(?=\s\w))\s*(\w+|\([^()]*\))", self._written):
            function, power, argument = wrong.groups()
            if function in FUNCTIONS and function not in self.known:  # sin²(x), sin x
                argument = argument if argument.startswith("(") else f"({argument})"
                return f"did you mean `{function}{argument}{power.replace('(', '').replace(')', '')}`?"
        pieces: list[str] = []
        changed = False
        before, was_call, last_end = "", False, 0
        for match in _TOKEN.finditer(self._written):
            group = match.lastindex or 3
            token = match[group]
            value_ends = before in ("number", "name", ")")
            value_starts = (group in (1, 2) and token not in ("if", "else")) or token == "("
            if value_ends and value_starts and not (token == "(" and was_call):
                pieces.append("*")
                changed = True
            else:
                pieces.append(self._written[last_end : match.start(group)])
            pieces.append(token)
            last_end = match.end()
            before = {1: "number", 2: "name"}.get(group, token) if token not in ("if", "else") else token
            was_call = group == 2 and token in FUNCTIONS and token not in self.known
        meant = "".join(pieces)
        return f"did you mean `{shorten(meant, 200)}`?" if changed and _is_expression(meant) else ""

    def _check(self, node: ast.AST, depth: int) -> None:
        if depth > DEEPEST_FORMULA:
            self._too_deep()
        while isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Pow):  # down the spine of a chain
            if type(node.op) not in _OPERATORS:
                self._refuse(node)
            self._check(node.right, depth + 1)
            node = node.left
        if isinstance(node, ast.BinOp):
            self._check(node.left, depth + 1)
            self._check(node.right, depth + 1)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self._check(node.operand, depth + 1)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            self._check_literal(node)
        elif isinstance(node, ast.Name):
            self.names.setdefault(node.id, self._at(node))
        elif isinstance(node, ast.Call):
            self._check_call(node, depth)
        elif isinstance(node, ast.IfExp):
            test = node.test
            if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _COMPARISONS):
                self._fail("A condition needs one comparison.", self._at(test), "Write `a if z > 0 else b`.")
            for part in (test.left, test.comparators[0], node.body, node.orelse):
                self._check(part, depth + 1)
        else:
            self._refuse(node)

    def _refuse(self, node: ast.AST) -> NoReturn:
        what = {
            ast.Attribute: "A dot after a name",
            ast.Subscript: "An index in brackets",
            ast.Compare: "A comparison by itself",
            ast.Constant: "This",
            ast.Lambda: "A lambda",
            ast.Tuple: "A comma",
        }.get(type(node), f"{type(node).__name__}")
        hint = self._product_hint()
        if isinstance(node, ast.BinOp):
            what = f"The operator `{type(node.op).__name__}`"
        if isinstance(node, ast.Tuple):
            hint = "Write decimals with a point: 0.5."
        if isinstance(node, ast.Compare):
            hint = "A comparison belongs in a condition: `a if z > 0 else b`."
        self._fail(
            f"{what} is not part of a formula.",
            self._at(node),
            hint or "Formulas have numbers, names, + - * / **, functions, parentheses, and `a if x > y else b`.",
        )

    def _check_literal(self, node: ast.Constant) -> None:
        text = self._segment(node)
        if not _DECIMAL.fullmatch(text):
            self._fail(
                f"`{shorten(text)}` is not a decimal number.", self._at(node), "Write digits and a point: 1000.5."
            )
        mantissa, _, exponent = text.lower().partition("e")
        if len(text) > 400 or math.isinf(float(text)):
            self._fail(f"`{shorten(text)}` is too large or too long a number.", self._at(node), "The limit is 1.8e308.")
        if len(exponent) > 4 or (float(text) == 0.0 and mantissa.strip("0.")):
            self._fail(f"`{shorten(text)}` is too small a number.", self._at(node), "The limit is 5e-324; or write 0.")
        self.literals.append(node)

    def _check_call(self, node: ast.Call, depth: int) -> None:
        if not isinstance(node.func, ast.Name):
            hint = self._product_hint()
            self._fail("Only a function can stand before `(…)`.", self._at(node), hint)
        name = node.func.id
        if name not in FUNCTIONS:
            if name in self.known or name in CONSTANTS or len(name) == 1:
                self._fail(f"`{name}` is not a function.", self._at(node), self._product_hint())
            self._fail(f"There is no function `{shorten(name)}`.", self._at(node), nearest(name, FUNCTIONS))
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self._fail("Functions take plain arguments here.", self._at(node), f"Write {name}(x).")
        row = FUNCTIONS[name]
        most = 1 if row.many else len(row.partials)  # type: ignore[arg-type]
        fewest = most - len(row.defaults)
        several = row.many or row in (ops.MAXIMUM, ops.MINIMUM)
        if len(node.args) < fewest or (len(node.args) > most and not several):
            plural = "argument" if most == 1 else "arguments"
            count = f"at least {fewest}" if several else f"{fewest}" if fewest == most else f"{fewest} or {most}"
            self._fail(f"{name} takes {count} {plural}, not {len(node.args)}.", self._at(node))
        for argument in node.args:
            self._check(argument, depth + 1)

    @cached_property
    def size(self) -> int:
        """How many numbers, names and operations it has, which is the work of evaluating it."""
        return sum(isinstance(node, ast.expr) for node in ast.walk(self.tree))

    def literal_text(self, node: ast.Constant) -> str:
        """The literal as it was typed."""
        return self._segment(node)

    def check_names(self, known: Iterable[str]) -> None:
        """Raise FormulaError at the first name that is neither known nor a constant."""
        known = dict.fromkeys(known)
        for name, at in self.names.items():
            if name not in known and name not in CONSTANTS:
                if name in FUNCTIONS:
                    self._fail(f"`{name}` is a function.", at, f"Write {name}(x).")
                if name.casefold() in ("nan", "inf", "infinity"):
                    self._fail(f"`{name}` is no number to calculate with.", at, "Write a finite number.")
                self._fail(f"Nothing is called `{shorten(name)}`.", at, nearest(name, known))

    def place_of(self, name: str) -> int:
        """The character of the piece where `name` is first used."""
        return self._places[self.names[name]]

    def evaluate(
        self,
        environment: Mapping[str, Any],
        *,
        apply: Callable[[ops.Primitive, tuple[Any, ...]], Any] = lambda row, operands: row(*operands),
        literal: Callable[[ast.Constant], Any] | None = None,
        observe: Callable[[ast.AST, ops.Primitive, tuple[Any, ...]], None] | None = None,
        atomic: bool = True,
    ) -> Any:
        """The formula over numbers, Values or symbols, whatever the `environment` holds.

        `apply` performs each operation, `literal` gives what a number in the text stands for, and `observe` is told
        of each operation and where it stands. Of a condition over plain numbers only the branch taken is evaluated;
        over arrays both are.
        Unless `atomic`, a sum of products is one node.
        """
        return _Evaluation(self, environment, apply, literal, observe, atomic).of(self.tree)


def _tree(text: str) -> ast.expr:
    """The text as Python's parser reads it. Raises what that raises."""
    with warnings.catch_warnings():  # of `2if`, in words for programmers
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval").body


def _is_expression(text: str) -> bool:
    """Whether Python's parser reads the text, so that it may be suggested."""
    try:
        _tree(text)
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class _Evaluation:
    formula: Formula
    environment: Mapping[str, Any]
    apply: Callable[[ops.Primitive, tuple[Any, ...]], Any]
    literal: Callable[[ast.Constant], Any] | None
    observe: Callable[[ast.AST, ops.Primitive, tuple[Any, ...]], None] | None
    atomic: bool

    def of(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            return float(node.value) if self.literal is None else self.literal(node)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return self.environment[node.id] if node.id in self.environment else CONSTANTS[node.id]
        if isinstance(node, ast.UnaryOp):
            operand = self.of(node.operand)
            return self._applied(ops.NEGATE, (operand,), node) if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.Call):
            row = FUNCTIONS[node.func.id]  # type: ignore[attr-defined]
            operands = [self.of(argument) for argument in node.args]
            if row in (ops.MAXIMUM, ops.MINIMUM):
                return reduce(lambda x, y: self._applied(row, (x, y), node), operands)
            left_out = row.defaults if not row.many and len(operands) < len(row.partials) else ()  # type: ignore[arg-type]
            return self._applied(row, (*operands, *left_out), node)
        if isinstance(node, ast.IfExp):
            return self._conditional(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return self._applied(ops.POWER, (self.of(node.left), self.of(node.right)), node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            return self._product(node)
        return self._sum(node)

    def _sum(self, node: ast.AST) -> Any:
        """A sum, along its spine and not by recursion."""
        node, spine = _spine(node, (ast.Add, ast.Sub))
        used = 0 if self.atomic else _weighted_terms(node, spine)
        if used:
            terms = [node, *(binary.right for binary in spine[:used])]
            products = [term for term in terms if isinstance(term, ast.BinOp)]
            operands = [self.of(product.left) for product in products]
            operands += [self.of(product.right) for product in products]
            operands += [self.of(term) for term in terms if not isinstance(term, ast.BinOp)]
            left = self._applied(ops.DOT, tuple(operands), node)
        else:
            left = self.of(node)
        return self._folded(left, spine[used:])

    def _product(self, node: ast.AST) -> Any:
        """A product or quotient, along its spine."""
        node, spine = _spine(node, (ast.Mult, ast.Div))
        return self._folded(self.of(node), spine)

    def _folded(self, left: Any, spine: Iterable[ast.BinOp]) -> Any:
        for binary in spine:
            left = self._applied(_OPERATORS[type(binary.op)], (left, self.of(binary.right)), binary)
        return left

    def _conditional(self, node: ast.IfExp) -> Any:
        test: Any = node.test  # a comparison: `Formula` has seen to it
        row = ops.CONDITIONALS[_COMPARISONS[type(test.ops[0])]]
        x, y = self.of(test.left), self.of(test.comparators[0])
        numbers = [side.data if isinstance(side, Value) else side for side in (x, y)]
        taken = self._applied(row, (*numbers, 1.0, 0.0), node)
        if getattr(taken, "shape", ()):  # at many points, and each takes its own branch
            return self.apply(row, (x, y, self.of(node.body), self.of(node.orelse)))
        chosen, other = (node.body, node.orelse) if taken else (node.orelse, node.body)
        result = self.of(chosen)
        if not isinstance(x, Value) and not isinstance(y, Value):
            return result
        # Both branches are recorded, so that they show and can be taken later; the other need not have a value now.
        aside = replace(self, apply=_record_untaken).of(other)
        return self._applied(row, (x, y, *((result, aside) if taken else (aside, result))), node)

    def _applied(self, row: ops.Primitive, operands: tuple[Any, ...], node: ast.AST) -> Any:
        if self.observe is not None:
            self.observe(node, row, operands)
        try:
            return self.apply(row, operands)
        except DomainError as error:
            formula = self.formula
            raise formula.source.error(str(error), formula._places[formula._at(node)]) from error


def _spine(node: ast.AST, operators: tuple[type[ast.operator], ...]) -> tuple[ast.AST, list[ast.BinOp]]:
    """The first operand of a chain of these operators, and its links from left to right."""
    spine: list[ast.BinOp] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, operators):
        spine.append(node)
        node = node.left
    spine.reverse()
    return node, spine


def _weighted_terms(first: ast.AST, spine: list[ast.BinOp]) -> int:
    """How many of the added terms make Σ w·x + bias with the first: products of two, and at most one bias."""
    products = biases = used = 0
    for count, term in enumerate([first, *(binary.right for binary in spine)]):
        if count and not isinstance(spine[count - 1].op, ast.Add):
            break
        if isinstance(term, ast.BinOp) and isinstance(term.op, ast.Mult):
            if not (_is_plain(term.left) and _is_plain(term.right)):
                break
            products += 1
        elif _is_plain(term) and not biases:
            biases += 1
        else:
            break
        used = count
    return used if products else 0


def _is_plain(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Constant)


def record_or_compute(row: ops.Primitive, operands: tuple[Any, ...]) -> Any:
    """A node where a Value takes part, else a number, which must be finite."""
    if any(isinstance(operand, Value) for operand in operands):
        return record(row, operands)
    out = evaluate(row, operands)
    if not math.isfinite(out):
        raise DomainError(f"{row.name} of {', '.join(f'{x:.6g}' for x in operands)} is too large for a number.")
    return out


def _record_untaken(row: ops.Primitive, operands: tuple[Any, ...]) -> Any:
    """The same in a branch that its condition does not take, where nothing needs to have a value."""
    if any(isinstance(operand, Value) for operand in operands):
        return record(row, operands, untaken=True)
    out = row(*operands)
    return out if math.isfinite(out) else record(row, operands, untaken=True)  # 1/0 is shown as it was written


class Graph(dict[str, Value]):
    """Labelled Values by name, in order. `loss` is the last of the text; `parameters` those named in its line."""

    def __init__(self, values: Mapping[str, Value], loss: Value, parameters: tuple[Value, ...]) -> None:
        super().__init__(values)
        self.loss = loss
        self.parameters = parameters


@dataclass(frozen=True)
class _Assignment:
    name: str
    formula: Formula
    line: int


_GIVEN = "The values given to build"


def build(text: str, values: Mapping[str, Any] | None = None, /, *, atomic: bool = False, **more: Any) -> Graph:
    """The graph of a text of formulas: one assignment a line, `#` for comments, the last name is the loss.

    `values` and `more` are leaves by name, numbers or Values. A line without names on its right, `w = 0.4`, is
    a leaf too. `w1*x1 + w2*x2 + b` is one weighted-sum node, or single products and sums where `atomic`. A line
    `parameters: w1 w2` names the leaves that an update changes.

    Raises FormulaError, with line and column, for what cannot be read or has no value.
    """
    if not isinstance(text, str):
        raise TypeError(f"build reads a text of formulas, not {type(text).__name__} {text!r:.60}.")
    graph: dict[str, Value] = {}
    for name, data in {**(values or {}), **more}.items():
        if not isinstance(name, str):
            raise TypeError(f"{_GIVEN} are named by text, not by {type(name).__name__} {name!r:.60}.")
        tidy = tidy_name(name)
        if not tidy.isidentifier() or tidy in graph:
            raise FormulaError(f"{_GIVEN} name {shorten(name)!r}, which is {'twice' if tidy in graph else 'no name'}.")
        graph[tidy] = _given(tidy, data)
    assignments, parameters_line = _assignments(text, graph)
    lines = {assignment.name: assignment for assignment in assignments}
    for assignment in assignments:
        _check_names(assignment, graph, lines)
        result = assignment.formula.evaluate(graph, apply=record_or_compute, atomic=atomic)
        if not isinstance(result, Value):
            result = Value(result)
        elif result.label or not result.op:  # another name for a node that has one already
            result = record(ops.IDENTITY, (result,))
        result.label = assignment.name
        graph[assignment.name] = result
    if not assignments:
        raise FormulaError("The text has no formula.", hint="Write one assignment a line, such as `z = w*x + b`.")
    parameters = _parameters(parameters_line, graph)
    for name, node in graph.items():  # at the end: a text that is refused leaves the Values given as they were
        node.label = name
    return Graph(graph, graph[assignments[-1].name], parameters)


def _given(name: str, data: Any) -> Value:
    if isinstance(data, Value):
        if data.label not in ("", name):
            raise FormulaError(f"{_GIVEN} call a Value `{name}` that has the label `{shorten(data.label)}` already.")
        return data
    try:
        return Value(as_float(data), name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{_GIVEN} have no number for `{name}`: {error}") from None


def lines_of(text: str) -> list[str]:
    """The lines of a text from any machine. Raises FormulaError where there are too many."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise FormulaError(f"The text has {len(lines):,} lines; the limit is {MOST_LINES:,}.")
    return lines


def _assignments(text: str, given: Mapping[str, Value]) -> tuple[list[_Assignment], Source | None]:
    """The assignments of a text, and its `parameters:` line."""
    lines = lines_of(text)
    found: list[tuple[str, Source, str]] = []
    parameters: Source | None = None
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        code = line.split("#", 1)[0]
        if not code.strip():
            continue
        if re.match(r"\s*parameters\s*:", code):
            if parameters is not None:
                raise Source(line, number).error("There is a `parameters:` line already.", 0, "Name them all in one.")
            parameters = Source(line, number, code.index(":") + 1)
            continue
        equals = re.search(r"(?<![<>=!])=(?!=)", code)
        if equals is None:
            raise Source(line, number).error(
                "This line assigns nothing.", len(code) - len(code.lstrip()), "Write `name = formula`."
            )
        name = _left_side(code[: equals.start()], Source(line, number))
        start = len(code[: equals.start()]) - len(code[: equals.start()].lstrip())
        if name in first_line:
            raise Source(line, number).error(
                f"`{name}` is assigned twice, first on line {first_line[name]}.", start, "Give this one another name."
            )
        if name in given:
            raise Source(line, number).error(
                f"`{name}` is assigned here and also given a value.", start, "Take out one of the two."
            )
        first_line[name] = number
        found.append((name, Source(line, number, equals.end()), code[equals.end() :]))
    known = {*given, *first_line}
    read = [_Assignment(name, Formula(code, source, known), source.line or 0) for name, source, code in found]
    return read, parameters


def _left_side(text: str, source: Source) -> str:
    at = len(text) - len(text.lstrip())
    if not text.strip():
        raise source.error("There is no name before `=`.", at, "Write `name = formula`.")
    _normalised(text, source)
    name = tidy_name(text)
    if keyword.iskeyword(name):
        raise source.error(f"`{name}` is a word of Python and cannot be a name.", at, f"Call it `{name}_`.")
    if not name.isidentifier():
        raise source.error(
            f"`{shorten(text.strip())}` is not a name.", at, "A name has letters, digits and _, and no digit first."
        )
    return name


def _check_names(assignment: _Assignment, graph: Mapping[str, Value], lines: Mapping[str, _Assignment]) -> None:
    formula = assignment.formula
    for name in formula.names:
        if name in graph or (name in CONSTANTS and name not in lines):
            continue
        at = formula.place_of(name)
        if name in lines:
            cycle = _cycle(assignment.name, name, lines)
            if cycle:
                raise formula.source.error(
                    f"The assignments go in a circle: {' needs '.join(cycle)}.",
                    at,
                    "A graph has a direction: one of these names must come from the others, not give to them.",
                )
            raise formula.source.error(
                f"`{name}` is used before it is assigned on line {lines[name].line}.", at, "Move that line up."
            )
        if name in FUNCTIONS or name.casefold() in ("nan", "inf", "infinity"):
            formula.check_names(graph)
        alike = nearest(name, [known for known in (*graph, *lines) if known != assignment.name])
        raise formula.source.error(
            f"`{shorten(name)}` has no value.", at, f"{alike} To give it one, write a line `{shorten(name)} = …`."
        )


def _cycle(start: str, name: str, lines: Mapping[str, _Assignment]) -> list[str]:
    """The names from `start` by way of `name` back to `start`, where each needs the next; else empty."""
    came_from = {name: start}
    stack = [name]
    while stack:
        here = stack.pop()
        if here == start:
            route = [start]
            while (route[-1] != start or len(route) == 1) and route[-1] in came_from:
                route.append(came_from[route[-1]])
            return list(reversed(route))
        for needed in lines[here].formula.names if here in lines else ():
            if needed not in came_from:
                came_from[needed] = here
                stack.append(needed)
    return []


def _parameters(source: Source | None, graph: Mapping[str, Value]) -> tuple[Value, ...]:
    if source is None:
        return ()
    parameters: dict[str, Value] = {}
    for match in re.finditer(r"[^\s,]+", source.text[source.start :].split("#", 1)[0]):
        name = tidy_name(match[0])
        if name not in graph:
            raise source.error(f"Nothing is called `{shorten(name)}`.", match.start(), nearest(name, graph))
        if graph[name].op:
            raise source.error(
                f"`{name}` is computed, and only a leaf can be a parameter.",
                match.start(),
                "Name leaves: lines with a number on the right.",
            )
        parameters[name] = graph[name]
    if not parameters:
        raise source.error("The line names no parameter.", 0, "Write `parameters: w1 w2`.")
    return tuple(parameters.values())
