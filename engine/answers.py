"""What was asked and what was answered, also in other words than the project's own.

Where the meaning is plain it is understood; where there are two, both are told and none is guessed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from engine import ops
from engine.formula import CONSTANTS, FUNCTIONS, LONGEST_FORMULA, Formula, FormulaError, Source, lines_of, tidy_name
from engine.forward import as_float
from engine.graph import find, named_nodes
from engine.text import RAISED, shorten
from engine.value import Value

Kind = Literal["gradient", "local", "value", "new"]


@dataclass(frozen=True)
class Question:
    """What an answer is about: ∂root/∂node, the part of it that reaches node directly, a value, an updated weight."""

    kind: Kind
    root: Value
    node: Value


class Unanswerable(ValueError):
    """Why a row is invalid."""


@dataclass(frozen=True)
class Answer:
    """An answer as it was given, where it stands in a file, and what is wrong with its line."""

    name: str
    given: Any
    source: Source | None = None
    problem: FormulaError | None = None

    @property
    def shown(self) -> str:
        """The answer as text."""
        data = self.given.data if isinstance(self.given, Value) else self.given
        return str(data).strip()


# A file of answers

_LINE = re.compile(r"(?P<name>[^=≈:]*)(?P<sign>:=|=|≈|:)")  # `dL/dw = …`, `dL/dw: …`


def read_answers(text: str) -> list[Answer]:
    """The answers of a file: lines `name = number or formula`, or `name: …`; `#` for comments.

    A line that answers nothing, or answers again, is kept with its problem. Raises FormulaError for no answers.
    """
    found: dict[str, Answer] = {}
    for line_number, line, code in _lines(text):
        start = len(code) - len(code.lstrip())
        parts = _LINE.match(code)
        name, end = (parts["name"].strip(), parts.end()) if parts else ("", len(code))
        source, problem = Source(line, line_number, end), None
        if not name:
            problem = Source(line, line_number).error(
                "This line answers nothing.", start, "Write `dL/dw = number or formula`."
            )
        elif name in found and (earlier := found[name].source) is not None:
            problem = Source(line, line_number).error(
                f"`{shorten(name)}` is answered twice, first on line {earlier.line}.", start, "Take out one of the two."
            )
        key = name if problem is None else f"{name} (line {line_number})"
        found[key] = Answer(key, code[end:], source, problem)
    if not found:
        raise FormulaError("The file has no answers.", hint="Write one a line, such as `dL/dw = 0.25`.")
    return list(found.values())


def read_questions(text: str) -> list[str]:
    """The questions of a file: lines as of `read_answers`, whose answers are passed over, or may be left out.

    Raises FormulaError for no questions.
    """
    found = []
    for _, _, code in _lines(text):
        parts = _LINE.match(code)
        found.append((parts["name"] if parts else code).strip())
    if not found:
        raise FormulaError("The file has no questions.", hint="Write one a line, such as `dL/dw`.")
    return found


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """The lines that hold something: their numbers, themselves, and what stands before a comment."""
    for line_number, line in enumerate(lines_of(text), start=1):
        code = line.split("#", 1)[0]
        if code.strip():
            yield line_number, line, code


# An answer in other words

NOT_ANSWERED = "This is not answered."
_SIGNS_ALONE = re.compile(r"[\s?？¿!.…_/()\-–—−]*")  # ???, ( ), -
_NO_NUMBER = {"None", "nan", "NaN", "NaT", "<NA>"}  # what stands for one in Python and in tables
_LEFT_OUT = {  # without regard to capitals, and ß as ss
    "n/a", "na", "n.a", "none", "nothing", "idk", "dunno", "unknown", "skip", "skipped", "tbd", "todo", "empty",
    "blank", "not answered", "no answer", "no idea", "not sure", "i am not sure", "i'm not sure", "don't know",
    "dont know", "i don't know", "i dont know", "i do not know", "ka", "k.a", "k. a", "keine ahnung", "keine antwort",
    "keine angabe", "weiss nicht", "weiss ich nicht", "ich weiss nicht", "ich weiss es nicht", "nicht beantwortet",
    "unbekannt", "fehlt", "leer", "je ne sais pas", "aucune idée", "no sé", "no lo sé", "non so", "non lo so",
}  # fmt: skip

_INVISIBLE = "\ufeff\u200b\u2061"
_BEFORE = re.compile(  # `≈ 0.08`, `= ≈ 0.08`, `ca. 0.08`
    r"(?:\s*(?:[≈≃≅~]|=(?!=)|(?:ca|approx|circa|about|approximately|rund|etwa)\.?\s+(?=[-+−.,\d])))+", re.IGNORECASE
)
_EQUALS = re.compile(r"(?<![<>=!])=(?!=)|≈")  # `0.1*0.8 = 0.08`, but not `z == 0`

_MINUS = "−–—‐‑"
# What stands after 10^: -3, (-3), {-3}.
_POWER = rf"[(\{{]?\s*(?P<power>[-+{_MINUS}]?\s*\d+)\s*[)\}}]?"
# mV, and one of many: V, m², s^-1.
_BASE_UNIT = r"[fpnµμmcdhkMGT]?(?:Hz|mol|Pa|eV|bar|[VAWJNgmsΩ\u2126KCFHT])|rad|min|h|€|\$|units?"
_ONE_UNIT = rf"(?:{_BASE_UNIT})(?:\^?-?\d|[⁻²³¹]+)?(?![^\W\d])"
_NUMBER = re.compile(  # −1.234,5, 8.2e-2, 8,2·10⁻², 8.2 %, 0.08 m/s²
    rf"\s*(?P<sign>[-+{_MINUS}]?)\s*(?P<digits>\d[\d.,]*|[.,]\d+)"
    r"(?:(?P<e>[eE][-+−–]?\d+)"  # 1.2e-3
    r"|\s*(?P<times>[·×⋅∙∗•*xX]|\\cdot|\\times)\s*10\s*"  # 1.2·10^-3, 1.2·10⁻³
    rf"(?:(?:\^|\*\*)\s*{_POWER}|(?P<raised>[⁻⁺]?[⁰¹²³⁴-⁹]+)))?"
    rf"\s*(?:(?P<percent>%)|(?P<unit>{_ONE_UNIT}(?:\s*[/·*]\s*{_ONE_UNIT})*))?\s*"
)
_LOWERED = RAISED | str.maketrans(_MINUS, "-" * len(_MINUS), " ")

# 1 234.5: the space within it.
_PARTED = re.compile(rf"\s*[-+{_MINUS}]?\s*\d[\d.,]*(\s)\s*[\d.,][\d.,\s]*")
_LONGEST_NUMBER = 200  # characters, with all that stands around it

_PART = re.compile(  # of `max(0,5*w_5, x)`: max(  0,5  w_5  ,  x  )
    r"(?:(?P<call>[^\W\d]\w*)\s*)?(?P<opens>\()|(?P<closes>\))|(?<![\w.])(?P<digits>\d+(?:[.,]\d+)+)|(?P<name>[^\W\d]\w*)"
    r"|(?P<comma>,)"
)
_SEVERAL = {
    name
    for name, row in FUNCTIONS.items()
    if row.many or row in (ops.MAXIMUM, ops.MINIMUM) or len(row.partials) > 1  # type: ignore[arg-type]
}


@dataclass(frozen=True)
class Reading:
    """An answer as `Formula` reads it, where its characters stand, and what to tell of how it was understood."""

    text: str
    source: Source
    remark: str = ""


def read_answer(text: str, source: Source | None = None, known: Collection[str] = ()) -> Reading:
    """An answer in the words of a formula; `known` are the names that it may use.

    Understood are signs around it (`≈ 0.08`, `= 0.08`, `0.08.`), decimal commas, powers of ten, a percentage, a unit
    and other spellings of a name. Raises FormulaError for one that is left out, or has two meanings.
    """
    source = source or Source(text)
    if len(text) > LONGEST_FORMULA:  # for `Formula` to refuse
        return Reading(text, source)
    if is_left_out(text, known):
        raise _not_answered(source)
    writing = _Writing(text, source)
    _strip(writing)
    equals = _EQUALS.search(writing.text)
    if equals and not re.search(r"\bif\b", writing.text):
        raise writing.error("An answer is one number or one formula.", equals.start(), "Write one side alone.")
    if parted := _PARTED.fullmatch(writing.text):
        if comma := re.search(r",\s|\s,", writing.text.strip()):
            problem = "An answer is one number, and these could be several."
            raise writing.error(problem, comma.start(), "Write one, such as 0.25.")
        raise writing.error("A number has no spaces within.", parted.start(1), "Write 1234.5 for 1 234.5.")
    number = _NUMBER.fullmatch(writing.text) if len(writing.text) <= _LONGEST_NUMBER else None
    if number is not None and not _uses_names(number, known):
        remark = _read_number(writing, number)
    else:
        remark = ""
        _read_parts(writing, known)
    return Reading(writing.text, writing.source, remark)


def _not_answered(source: Source | None) -> FormulaError:
    line = source.line if source else None
    return FormulaError(NOT_ANSWERED, line=line, hint="Write a number or a formula: 0.25, or (a - y)*x.")


def is_left_out(text: str, known: Collection[str] = ()) -> bool:
    """Whether an answer is none: empty, `?`, `-`, `n/a`, `no idea` and the like."""
    plain = "".join(c for c in text if c not in _INVISIBLE).strip()
    if plain in known or len(plain) > 100:
        return False
    words = " ".join(plain.casefold().replace("’", "'").rstrip(".!?… ").split())
    return bool(_SIGNS_ALONE.fullmatch(plain)) or words in _LEFT_OUT


class _Writing:
    """A text while it is put in other words. Each character keeps the place that it came from."""

    def __init__(self, text: str, source: Source) -> None:
        self.text = text
        self._typed = source
        self._places = list(range(len(text) + 1))

    @property
    def source(self) -> Source:
        typed = self._typed
        return Source(typed.text, typed.line, typed.start, self._places)

    def put(self, start: int, end: int, words: str) -> None:
        """Write `words` in place of the characters from `start` to `end`."""
        self.text = self.text[:start] + words + self.text[end:]
        self._places[start:end] = [self._places[start]] * len(words)

    def error(self, problem: str, at: int, hint: str) -> FormulaError:
        return self.source.error(problem, at, hint)


def _strip(writing: _Writing) -> None:
    """Take away what stands around an answer and is no part of it."""
    if before := _BEFORE.match(writing.text):
        writing.put(0, before.end(), "")
    text = writing.text.rstrip()
    a_number = re.search(r"(?<![\w.,])\d+\.$", text)  # `8.`, as it stands
    if text[-1:] in (".", ",", ";") and text[-2:-1] not in (".", ",", ";") and not a_number:
        writing.put(len(text) - 1, len(writing.text), "")


def _uses_names(number: re.Match[str], known: Collection[str]) -> bool:
    """Whether what looks like a unit, or a sign of multiplication, is a name that was left without its `*`."""
    words = re.findall(r"[^\W\d]\w*", number["unit"] or "")
    words += ["x", "x10"] if number["times"] in ("x", "X") else []
    return any(word in known or word in CONSTANTS for word in words)


def _read_number(writing: _Writing, number: re.Match[str]) -> str:
    """Write a number on its own as Python does; returns what to tell."""
    digits = _digits(number["digits"], writing, number.start("digits"))
    raised = number["power"] or number["raised"]
    power = f"e{raised}" if raised else number["e"] or ""
    if number["percent"]:
        if power:
            raise writing.error("A percentage has no power of ten.", number.start("percent"), "Write it as a decimal.")
        power = "e-2"
    if not (power or number["unit"] or digits != number["digits"]):
        return ""
    sign = number["sign"].translate(_LOWERED).replace("+", "")
    written = f"{sign}{digits}{power.translate(_LOWERED)}"
    remark = ""
    if number["percent"]:
        remark = f"It is read as {float(written):.12g}: 1 % is 0.01."
    elif number["unit"]:
        remark = f"It is read as {written.replace('-', '−')}: the numbers here have no units, such as {number['unit']}."
    writing.put(0, len(writing.text), written)
    return remark


def _digits(typed: str, writing: _Writing, at: int) -> str:
    """Digits with commas and points as Python writes them. Raises FormulaError where they have two meanings."""
    if "," not in typed and typed.count(".") < 2:
        return typed
    whole = r"[1-9]\d{0,2}"
    if re.fullmatch(rf"{whole},\d{{3}}", typed):
        point, joined = typed.replace(",", "."), typed.replace(",", "")
        raise writing.error(f"`{typed}` could be {point} or {joined}.", at, f"Write {point} or {joined}.")
    if re.fullmatch(rf"{whole}(,\d{{3}})+(\.\d+)?", typed):  # 1,234,567.8
        return typed.replace(",", "")
    if re.fullmatch(rf"{whole}(\.\d{{3}})+,\d+|{whole}(\.\d{{3}}){{2,}}", typed):  # 1.234,5
        return typed.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d*,\d+", typed):
        return typed.replace(",", ".")
    raise writing.error(f"`{shorten(typed)}` is not one number.", at, "Write digits and one point, such as 1234.5.")


def _read_parts(writing: _Writing, known: Collection[str]) -> None:
    """Write decimal commas as points, and names as the graph has them.

    Between the arguments of a function of several a comma separates.
    """
    alike: dict[str, list[str]] = {}
    changes: list[tuple[int, int, str]] = []
    calls: list[_Call] = []
    for part in _PART.finditer(writing.text):
        if part["opens"]:
            calls.append(_Call(part["call"] in _SEVERAL and part["call"] not in known))
        elif part["closes"]:
            if calls:
                calls.pop().refuse_two_meanings(writing)
        elif part["comma"] and calls:
            calls[-1].spaced |= writing.text[part.end() : part.end() + 1].isspace()
        elif part["digits"]:
            if calls and calls[-1].several and "," in part["digits"]:
                calls[-1].tight = calls[-1].tight or part
            elif (digits := _digits(part["digits"], writing, part.start())) != part["digits"]:
                changes.append((*part.span(), digits))
        elif (name := part["name"]) and name not in known and name not in FUNCTIONS and name not in CONSTANTS:
            alike = alike or _by_spelling(known)
            if len(meant := alike.get(squeezed(tidy_name(name)), [])) == 1:
                changes.append((*part.span(), meant[0]))
    for start, end, words in reversed(changes):
        writing.put(start, end, words)


@dataclass
class _Call:
    """An open parenthesis, whether commas separate within it, and the commas that it has."""

    several: bool
    tight: re.Match[str] | None = None  # digits on both sides: 0,5
    spaced: bool = False

    def refuse_two_meanings(self, writing: _Writing) -> None:
        """Raise FormulaError for max(0,5, x)."""
        if self.tight is not None and self.spaced:
            problem = f"`{self.tight[0]}` could be one number or two."
            raise writing.error(problem, self.tight.start(), "Write decimals with a point: 0.5.")


def squeezed(name: str) -> str:
    """What is the same for `w5`, `w_5` and `w_{5}`."""
    return re.sub(r"(?<=[^\W\d_])_+(?=\{?\d)|[{}()\s]", "", name)


def _by_spelling(names: Iterable[str]) -> dict[str, list[str]]:
    """The names that are spelled alike, by what is the same for them."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(squeezed(name), []).append(name)
    return alike


# What was asked, and the formula that was answered

_LONGEST_KEY = 500  # characters
_FRACTION = re.compile(r"[d∂](.+?)\s*/\s*[d∂](.+)")  # dU/dV
_OF = r"[ _]*(?:of )?\s*"
_IN_OTHER_WORDS: list[tuple[Kind, re.Pattern[str]]] = [
    ("gradient", re.compile(rf"(?:gradient|grad|delta|d|δ|∂|∇){_OF}(.+)")),  # gradient of w, dw, δ_z
    ("gradient", re.compile(r"(.+?)\s*\.\s*grad")),  # w.grad
    ("value", re.compile(r"value\s+(?:of )?\s*(.+)")),  # value of z
    ("value", re.compile(r"(.+?)\s*\.\s*data")),  # z.data
    ("new", re.compile(r"(?:new|updated|neu)[ _]*(.+)")),  # new_w
    ("new", re.compile(r"(.+?)[ _]*(?:new|updated|neu)")),  # w_new
    ("new", re.compile(r"(.+?)\s*\+")),  # w+
]


_GRADIENT = re.compile(  # dL/da, ∂L/∂a, da, δ_a, grad(a), a.grad
    r"(?<!\w)(?:(?:(?:d|∂\s*)\(?(?P<root>[^\W\d]\w*)\)?\s*[/⁄∕÷]\s*)?"
    r"(?:delta_?|grad_?|d_?|∂\s*|δ_?\s*|∇_?\s*)(?P<opens>\()?(?P<node>[^\W\d]\w*)(?(opens)\)?)"
    r"|(?P<of>[^\W\d]\w*)\s*\.\s*grad\b)"
)


def nodes_by_name(named: dict[Value, str]) -> dict[str, Value]:
    """The nodes that a formula may use, by the names that no other has."""
    times = Counter(named_nodes(named))
    return {name: node for node, name in named.items() if times[name] == 1 and not node.is_constant}


class Reader:
    """Reads what was asked of one graph, and what was answered.

    `named` are the graph's names and `unconnected` those that its loss does not depend on; `direct_operands` tells
    what a node is computed from.
    """

    def __init__(
        self,
        loss: Value,
        named: dict[Value, str],
        lr: float | None,
        unconnected: Collection[str],
        direct_operands: Callable[[Value], Collection[Value]],
    ) -> None:
        self.loss, self.named, self.lr, self.unconnected = loss, named, lr, unconnected
        self._direct_operands = direct_operands
        counts = Counter(named_nodes(named))
        self._known = dict.fromkeys(counts)
        self._twice = {name: times for name, times in counts.items() if times > 1}
        self.by_name = nodes_by_name(named)
        self._alike = _by_spelling(self._known)
        self._usable = dict.fromkeys([*self.by_name, *(["lr"] if lr is not None else [])])
        self._met = dict.fromkeys([*self._usable, *self._twice, *unconnected, "lr"])

    def question(self, key: str) -> Question:
        """Read the key of an answer. Raises Unanswerable, FormulaError or LookupError."""
        if key in self._known:  # as it stands, whatever a label holds
            return Question("gradient", self.loss, find(self.named, key))
        tidy = tidy_name(key.replace("⁺", "+"))
        if tidy in self._known:
            return Question("gradient", self.loss, find(self.named, tidy))
        if len(tidy) > _LONGEST_KEY:
            return Question("gradient", self.loss, find(self.named, key))
        if call := re.fullmatch(r"(local|value|new)\s*\(\s*([^,]*?)\s*(?:,\s*(.*?)\s*)?\)", tidy):
            return self._called(*call.groups())
        if fraction := _FRACTION.fullmatch(tidy):
            return Question("gradient", self._find(fraction[1].strip()), self._find(fraction[2].strip()))
        if "/" in tidy:
            raise Unanswerable(f"`{shorten(key)}` asks for nothing. A derivative is written dU/dV, as in dL/dw.")
        if self._spelled(tidy):
            return Question("gradient", self.loss, self._find(tidy))
        return self._in_other_words(key, tidy)

    def key(self, question: Question) -> str:
        """The project's own words for a question."""
        root, node = self.named[question.root], self.named[question.node]
        if question.kind == "local":
            return f"local({root}, {node})"
        return f"d{root}/d{node}" if question.kind == "gradient" else f"{question.kind}({node})"

    def _called(self, kind: str, first: str, second: str | None) -> Question:
        if (kind == "local") != (second is not None):
            raise Unanswerable(f"{kind} takes {'two names: local(u, v)' if kind == 'local' else 'one name'}.")
        if second is not None:
            return self._local(self._find(first), self._find(second))
        return self._about(self._find(first), "value" if kind == "value" else "new")

    def _in_other_words(self, key: str, tidy: str) -> Question:
        """`dw5`, `grad(w5)`, `w5.grad`, `δ_z`, `new w5`, `w5+`: where one meaning fits."""
        fits: dict[Question, None] = {}
        for kind, words in _IN_OTHER_WORDS:
            if (match := words.fullmatch(tidy)) and self._spelled(match[1]):
                fits[self._about(self._find(match[1]), kind)] = None
        if len(fits) > 1:
            meanings = " or ".join(f"`{shorten(self.key(question))}`" for question in fits)
            raise Unanswerable(f"`{shorten(key)}` could be {meanings}: write which.")
        return next(iter(fits)) if fits else Question("gradient", self.loss, find(self.named, key))

    def _about(self, node: Value, kind: Kind) -> Question:
        """What is asked of one node."""
        if kind == "new" and self.lr is None:
            raise Unanswerable("An updated weight needs the learning rate: pass lr=0.5, or --lr 0.5.")
        if kind == "new" and node.op:
            raise Unanswerable(f"{shorten(self.named[node])} is computed; only a leaf is updated.")
        return Question(kind, self.loss, node)

    def _spelled(self, name: str) -> list[str]:
        """The names that are spelled so; there is more than one where it could be either."""
        if name in self._known:
            return [name]
        tidy = tidy_name(name)
        return [tidy] if tidy in self._known else self._alike.get(squeezed(tidy), [])

    def _find(self, name: str) -> Value:
        spelled = self._spelled(name)
        if len(spelled) > 1:
            either = " or ".join(f"`{shorten(one)}`" for one in spelled)
            raise Unanswerable(f"`{shorten(name)}` could be {either}: write which.")
        return find(self.named, spelled[0] if spelled else tidy_name(name))

    def _local(self, node: Value, parent: Value) -> Question:
        if parent not in self._direct_operands(node):
            u, v = shorten(self.named[node]), shorten(self.named[parent])
            raise Unanswerable(
                f"{u} is not computed from {v} directly, so there is no local derivative. "
                f"For the derivative along all paths ask d{u}/d{v}."
            )
        return Question("local", node, parent)

    def unconnected_name(self, key: str) -> str | None:
        """The name in a key that asks for the gradient of something the loss does not depend on."""
        if not self.unconnected:
            return None
        name = tidy_name(key)
        if name not in self.unconnected and (fraction := _FRACTION.fullmatch(name)):
            name = fraction[2].strip() if fraction[1].strip() == self.loss.label else name
        return name if name in self.unconnected else None

    def formula(self, given: Answer) -> tuple[Formula, str]:
        """The formula of an answer, and what to tell of how it was understood. Raises Unanswerable or FormulaError."""
        if isinstance(given.given, str):
            reading = read_answer(given.given, given.source, self._met)
        elif given.shown in _NO_NUMBER:
            raise _not_answered(given.source)
        else:
            text = _number_as_text(given)
            reading = Reading(text, Source(text))
        try:
            formula = Formula(reading.text, reading.source, self._usable)
            self._check_names(formula)
        except FormulaError:
            self._refuse_gradients(reading)
            raise
        return formula, reading.remark

    def _check_names(self, formula: Formula) -> None:
        """Raise Unanswerable or FormulaError at a name that an answer can't use."""
        for used in formula.names:
            if used in self._twice:
                raise Unanswerable(f"`{used}` names {self._twice[used]} nodes: give each a label of its own.")
            if used in self.unconnected:
                raise Unanswerable(f"{shorten(self.named[self.loss])} does not depend on {used}: leave it out.")
        if "lr" in formula.names and "lr" not in self._usable:
            raise Unanswerable("The formula uses lr, the learning rate: pass lr=0.5, or --lr 0.5.")
        formula.check_names(self._usable)

    def _refuse_gradients(self, reading: Reading) -> None:
        """Raise FormulaError at `dL/da`, `δ_z` and the like in a formula that can't be read."""
        if gradient := self.gradient_in(reading.text):
            raise reading.source.error(
                f"`{shorten(gradient[0])}` is a gradient: formulas here are of values and numbers.",
                gradient.start(),
                "Write in its place what you found for it, a formula or a number, in parentheses.",
            )

    def gradient_in(self, text: str) -> re.Match[str] | None:
        """The first gradient that a text speaks of, and that is no name of the graph."""
        for match in _GRADIENT.finditer(text[:LONGEST_FORMULA]):
            name = match["node"] or match["of"]
            own = [word for word in re.findall(r"\w+", match[0]) if word not in (name, match["root"])]
            if self._spelled(name) and not any(word in self._met for word in own):
                return match
        return None


def _number_as_text(answer: Answer) -> str:
    """A number of Python or NumPy as text that gives it back. Raises Unanswerable for what is none."""
    number = answer.given
    try:
        if isinstance(number, bool):
            raise TypeError(f"{number} is neither.")
        data = as_float(number.data if isinstance(number, Value) else number)
    except (TypeError, ValueError) as error:
        raise Unanswerable(f"An answer is a number or a formula as text. {error}") from None
    if not math.isfinite(data):
        raise Unanswerable(f"{data} is no number to compare with.")
    return answer.shown if re.fullmatch(r"[-+.\deE]+", answer.shown) else repr(data)
