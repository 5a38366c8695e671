"""A walk as a web page: one file without a network, forward and back, with predictions."""

from __future__ import annotations

import base64
import html
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Unpack

from engine.drawing import Drawing, Options
from engine.explain import formula_line, parents_more
from engine.folding import MANY_NODES, Box, Fold, members
from engine.graph import nodes, paths_to_all
from engine.mistakes import Hypothesis, likely_mistakes
from engine.picture import LINE_HEIGHT, Picture, texts
from engine.text import counted, shorten
from engine.themes import THEMES, Theme
from engine.walk import Backprop, Step, Why

MOST_DETAIL = 3  # paths in a node's story, and mistakes of one kind that a question knows; 1 in a large graph
WIDEST_INLINE = 300  # steps of a walk that a notebook shows as a player by itself
WIDEST_PICTURE = 1000  # steps of a walk that a notebook shows as a picture; megabytes would stay in it
INLINE_HEIGHT = 760  # pixels


def save_html(path: str | os.PathLike[str], walks: Sequence[Backprop], **options: Unpack[Options]) -> Path:
    """Write the players of some walks as one page. The walks stay where they are.

    Raises ValueError for a name that doesn't end in .html or .htm and for a graph that was edited after the forward
    pass, TypeError for what is no walk, LayoutError without a layout program, and OSError where the file can't be
    written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"A player is a web page: give the file a name that ends in .html; {target.name!r} does not.")
    target.write_bytes(page(walks, **options).encode("utf-8"))
    return target


def page(walks: Sequence[Backprop], **options: Unpack[Options]) -> str:
    """The page with a player for each walk, whole in itself: nothing is loaded, and nothing else may run.

    Without a `theme` the colours are those that the reader's system asks for.
    """
    return _page(walks, options)


def _page(walks: Sequence[Backprop], options: Options, *, opens: int = 0) -> str:
    """The page, which opens after so many steps."""
    for walk in walks:
        if not isinstance(walk, Backprop):
            raise TypeError(f"A page shows walks, such as Backprop(loss), not {type(walk).__name__} {walk!r:.60}.")
    if options.get("notation") == "latex":
        raise ValueError("A page typesets no LaTeX: its notation is 'plain' or 'unicode'. to_markdown() writes LaTeX.")
    style, script = _style(), _asset("player.js")
    sections = [_section(walk, number, options, opens) for number, walk in enumerate(walks)]
    losses = " and ".join(walk.words.names[walk.loss] for walk in walks)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("player.html")).substitute(
        policy=policy,
        theme=f' data-theme="{options["theme"]}"' if "theme" in options else "",
        title=html.escape(f"Backward pass of {losses}"),
        style=style,
        script=script,
        players="\n".join(sections),
    )


def inline(walk: Backprop) -> str:
    """The player for a notebook: a frame that may run scripts and nothing else, and the picture for where it may not.

    It opens where the walk is, and the picture shows that too; it is dark where JupyterLab is. An untrusted notebook
    takes away the frame and the style, which leaves the picture.
    """
    identifier = f"chalkgrad-{secrets.token_hex(6)}"
    if len(walk) > WIDEST_PICTURE:
        return f"<p>{html.escape(repr(walk))}: as a page, walk.save_html(&quot;walk.html&quot;)</p>"
    picture = base64.b64encode(walk.draw().svg().encode("utf-8")).decode("ascii")
    image = f'<img alt="{html.escape(repr(walk))}" src="data:image/svg+xml;base64,{picture}">'
    if len(walk) > WIDEST_INLINE:
        return _picture_and(image, f'{len(walk):,} steps; as a page: walk.save_html("walk.html")')
    try:
        player = _page([walk], {}, opens=walk.position)
    except ValueError as error:  # the graph was edited
        return _picture_and(image, str(error))
    return (
        f'<div id="{identifier}"><style>#{identifier} img {{ display: none }} #{identifier} iframe {{ border: 0 }} '
        f'[data-jp-theme-light="false"] #{identifier} iframe {{ color-scheme: dark }} '  # what the page then prefers
        f'[data-jp-theme-light="true"] #{identifier} iframe {{ color-scheme: light }}</style>{image}'
        f'<iframe title="{html.escape(repr(walk))}" sandbox="allow-scripts" width="100%" height="{INLINE_HEIGHT}" '
        f'srcdoc="{html.escape(player)}"></iframe></div>'
    )


def _picture_and(image: str, said: str) -> str:
    return f"<div>{image}<p>{html.escape(said)}</p></div>"


@cache
def _asset(name: str) -> str:
    return resources.files("engine").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _style() -> str:
    light, dark, paper = (_variables(THEMES[name]) for name in ("light", "dark", "print"))
    return (
        f":root {{ {light} }}\n"
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}\n'
        f':root[data-theme="dark"] {{ {dark} }}\n'
        f':root[data-theme="print"] {{ {paper} }}\n'
        f"@media print {{ :root:root, :root[data-theme] {{ {paper} }} }}\n"  # as specific as the dark of a system
        f"{_asset('player.css')}"
    )


def _variables(theme: Theme) -> str:
    named = {"background": theme.background, "text": theme.text, "edge": theme.edge}
    for part in ("fill", "outline", "mark"):
        named |= {f"{part}-{kind}": colour for kind, colour in getattr(theme, part).items()}
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())


@dataclass
class _Recording:
    """All steps of a walk, and what each box shows of its gradient after which step."""

    steps: list[Step] = field(default_factory=list)
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    failure: str = ""


@contextmanager
def _afresh(walk: Backprop) -> Iterator[Backprop]:
    """Another walk of the same loss, from its start. Then all gradients are as they were, and so is `walk`."""
    kept = [(node, node.grad) for node in nodes(walk.loss)]
    try:
        for node, _ in kept:
            node.grad = 0.0
        yield Backprop(walk.loss, digits=walk.words.digits)
    finally:
        for node, grad in kept:
            node.grad = grad


def _recorded(walk: Backprop, drawing: Drawing) -> _Recording:
    """Walk to the end, or to where it can't go on."""
    found = _Recording()
    for box, identifier in drawing.identifiers.items():
        if drawing.kind(box) != "constant":
            found.texts[identifier] = [(0, drawing.gradient_line(box))]
    try:
        for step in walk:
            found.steps.append(replace(step, words=drawing.words))
            for box in _reached(step, drawing):
                line = drawing.gradient_line(box)
                history = found.texts[drawing.identifiers[box]]
                if history[-1][1] != line:
                    history.append((step.index, line))
    except FloatingPointError as error:
        found.failure = str(error)
    return found


def _reached(step: Step, drawing: Drawing) -> list[Box]:
    return list(dict.fromkeys(drawing.box_of(one.parent) for one in step.contributions))


def _section(given: Backprop, place: int, options: Options, opens: int) -> str:
    """The player in that place of the page. The layout is computed once; frames differ by classes and texts alone."""
    options = {"rankdir": "TB", **options}  # room beside the picture for the words
    identifier = f"player{place + 1}"
    with _afresh(given) as walk:
        digits = walk.words.digits
        first = Drawing(walk.loss, order=walk.order, position=0, digits=digits, **options)
        recording = _recorded(walk, first)
        room = {name: max((line for _, line in history), key=len) for name, history in recording.texts.items()}
        drawing = Drawing(walk.loss, order=walk.order, position=0, digits=digits, room=room, **options)
        picture = drawing.picture(f"{identifier}-")
        told = _Telling(walk, drawing, recording)
        data = {"opens": opens} | told.data(picture)
        return Template(_asset("player_section.html")).substitute(
            id=identifier,
            loss=html.escape(drawing.words.names[walk.loss]),
            last=len(recording.steps),
            summary=html.escape(told.summary()),
            picture=picture.written(),
            rows="\n".join(_table_row(step, place) for step in recording.steps),
            data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        )


class _Telling:
    """What a player knows, as data for its script: steps, boxes and edges, by their numbers."""

    def __init__(self, walk: Backprop, drawing: Drawing, recording: _Recording) -> None:
        self.walk, self.drawing, self.recording = walk, drawing, recording
        self.words = drawing.words
        self.number = {box: number for number, box in enumerate(drawing.boxes)}
        self.texts: dict[str, int] = {}  # of mistakes, by their places
        self.detail = 1 if len(self.words.names) > MANY_NODES else MOST_DETAIL
        self.paths = {} if recording.failure else paths_to_all(walk.loss, limit=self.detail)
        self.gradient = {walk.loss: 1.0} | {
            one.parent: one.after for step in recording.steps for one in step.contributions
        }

    def summary(self) -> str:
        """What the page shows, in a sentence."""
        words = self.words
        counts = f"{counted(len(nodes(words.loss)), 'node')}, {counted(len(words.order), 'step')}"
        told = f"{words.forward_line(words.loss)}; {counts}. "
        failed = f"The walk stops after step {len(self.recording.steps)}: {self.recording.failure} "
        return told + (failed if self.recording.failure else "") + self.drawing.note

    def data(self, picture: Picture) -> dict[str, Any]:
        """Prepare the elements of the picture, and tell what the script needs to know of them."""
        picture.root.set("role", "group")
        picture.root.remove(picture.root[1])  # a description, as a tooltip, would be true of one moment alone
        picture.root.set("aria-labelledby", f"{picture.prefix}title")
        picture.leave_look_to_the_page()
        boxes = [self._box(box, picture) for box in self.drawing.boxes]
        sent: dict[int, list[int]] = {}  # the edges of each step
        elements = self.drawing.edge_elements(picture)
        edges = [self._edge(number, element, picture, sent) for number, element in enumerate(elements)]
        steps = []
        for step in self.recording.steps:
            here = sent.get(step.index, [])
            written = [
                (elements[number], self.drawing.amount_lines(self.drawing.edges[number], step.node, step.grad))
                for number in here
            ]
            amounts = [
                [round(part, 1) for part in (place.left, place.top, place.right - place.left)] + lines
                for place, (_, lines) in zip(picture.places(written), written, strict=True)
            ]
            steps.append(self._step(step, here, amounts))
        return {
            "line": LINE_HEIGHT,
            "mistakes": list(self.texts),
            "start": self._start(),
            "steps": steps,
            "boxes": boxes,
            "edges": edges,
        }

    def _box(self, box: Box, picture: Picture) -> dict[str, Any]:
        drawing, identifier = self.drawing, self.drawing.identifiers[box]
        group = picture.nodes[identifier]
        history = self.recording.texts.get(identifier, [])
        title = self._title(box)
        group.remove(group[0])  # its tooltip, for the same reason
        group.attrib |= {"id": f"{picture.prefix}{identifier}", "tabindex": "-1", "role": "img", "aria-label": title}
        lines = texts(group)
        ranks = drawing.ranks(box)
        if ranks:
            lines[0].set("class", "mark")
            for mark in ("now", "next"):
                picture.frame_node(identifier, mark)
        if history:
            lines[-1].set("class", "grad")
            lines[-1].text = history[0][1]
        return {
            "id": group.get("id"),
            "title": title,
            "ranks": ranks,
            "texts": history,
            "complete": max(map(self.words.complete_after, members(box))),
            "summed": self._summed(box),
            "why": self._why(box),
        }

    def _title(self, box: Box) -> str:
        if isinstance(box, Fold):
            return f"{shorten(box.path)}, {self.drawing.size(box)}"
        return self.words.forward_line(box) if not box.is_constant else f"the constant {self.words.number(box.data)}"

    def _summed(self, box: Box) -> int:
        """The step that asks for the node's gradient as a sum over paths; 0 where none does."""
        if isinstance(box, Fold) or box not in self.words.rank:
            return 0
        return self.words.rank[box] + 1 if len(self.words.feeds.get(box, [])) > 1 else 0

    def _why(self, box: Box) -> str:
        if isinstance(box, Fold) or box.is_constant or box not in self.paths:
            return ""
        found, count = self.paths[box]
        return str(Why(box, tuple(found), count, self.gradient.get(box, 0.0), self.words))

    def _edge(self, number: int, element: Any, picture: Picture, sent: dict[int, list[int]]) -> dict[str, Any]:
        element.remove(element[0])
        element.set("id", f"{picture.prefix}e{number}")
        operands = self.drawing.edges[number].operands
        ranks = [self.words.rank.get(node, -1) for _, node, derivative in operands if derivative is not None]
        for rank in dict.fromkeys(ranks):
            if rank >= 0:
                sent.setdefault(rank + 1, []).append(number)
        return {"id": element.get("id"), "last": max(ranks, default=-1)}

    def _start(self) -> dict[str, Any]:
        loss = self.words.names[self.words.loss]
        return {
            "now": self.number[self.drawing.box_of(self.words.loss)],
            "head": f"Before the first step: every gradient is 0, but that of {loss} by itself is 1.",
            "rows": [[self.words.gradient_of(self.words.loss), "=", "1"]],
            "edges": [],
            "amounts": [],
            "to": [],
            "asks": [],
        }

    def _step(self, step: Step, edges: list[int], amounts: list[Any]) -> dict[str, Any]:
        words = self.words
        formula, where = words.own_formula(step.node)
        return {
            "now": self.number[self.drawing.box_of(step.node)],
            "head": f"{words.names[step.node]} = {formula}",
            "where": f"where {where}" if where else "",
            "rows": step.rows.rows,
            "more": parents_more(step.contributions),
            "edges": edges,
            "amounts": amounts,
            "to": [self.number[self.drawing.box_of(one.parent)] for one in step.contributions],
            "asks": self._asked(step),
        }

    def _few(self, found: Sequence[Hypothesis]) -> list[Hypothesis]:
        """The likeliest of each kind of mistake."""
        met: Counter[str] = Counter()
        kept = []
        for one in found:
            met[one.mistake.key] += 1
            if met[one.mistake.key] <= self.detail:
                kept.append(one)
        return kept

    def _text(self, one: Hypothesis) -> int:
        """The place of a mistake's text among all, since many questions have the same."""
        return self.texts.setdefault(one.mistake.text, len(self.texts))

    def _asked(self, step: Step) -> list[dict[str, Any]]:
        """What is asked of who predicts, and the numbers that known mistakes would give."""
        return [
            {
                "text": blank.question,
                "row": blank.row,
                "expected": blank.expected,
                "noise": blank.noise,
                "shown": self.words.number(blank.expected),
                "kind": blank.operation,
                "near": [[float(f"{one.number:.9g}"), self._text(one)] for one in self._few(found)],
            }
            for blank, found in likely_mistakes(step)
        ]


def _table_row(step: Step, place: int) -> str:
    """A step in the table of all; its link opens the player in that place at the step."""
    (_, _, gradient), *rest = step.rows.rows
    sends = "".join(f"<div>{html.escape(' '.join(row))}</div>" for row in rest)
    sends += f"<div>{more}</div>" if (more := parents_more(step.contributions)) else ""
    formula = formula_line(step.words, step.node)
    cells = "".join(f"<td>{cell}</td>" for cell in (html.escape(formula), html.escape(gradient), sends))
    return f'<tr><th scope="row"><a href="#step={"," * place}{step.index}">{step.index}</a></th>{cells}</tr>'
