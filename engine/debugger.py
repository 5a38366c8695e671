"""A walk as a REPL: forward, back, stop, ask why, change a number, predict. The commands are those of pdb."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, ClassVar

from engine.explain import MOST_LINES, forward_in_words, line_in_words, update_in_words
from engine.expression import Expression
from engine.formula import FormulaError, Source
from engine.graph import named_nodes, paths
from engine.quiz import LEAVE, Quiz
from engine.session import Session, in_notebook
from engine.stops import AtNode, Stop, Where, read_stop
from engine.text import number, shorten, table
from engine.value import Value
from engine.walk import Backprop, Step, Steps

_LOOKING = "p print why w where bt l list h help".split()
_MOST_LISTED = 40  # lines of a listing that are still read


class Debugger(Session):
    """Step through the backward pass. Commands are methods, and their docstrings the help.

    `commands` are run in place of typed ones, without a prompt. `failed` tells whether a command was not
    understood or could not be done. `parameters` are the leaves that `update` changes; those on which the loss does
    not depend stay as they are.
    """

    groups: ClassVar = [
        "n s c until",
        "b tbreak clear",
        "back goto restart",
        "p why w up down l draw",
        "display undisplay",
        "set update",
        "predict score",
        "history h q",
    ]

    def __init__(
        self,
        walk: Backprop,
        *,
        commands: Iterable[str] | None = None,
        parameters: Iterable[Value | str] = (),
        stdout: IO[str] | None = None,
    ) -> None:
        super().__init__(commands, stdout)
        self.walk = walk
        named = [walk.find(parameter) if isinstance(parameter, str) else parameter for parameter in parameters]
        self._parameters = [parameter for parameter in named if parameter in walk.names]
        self._stops: dict[int, Stop] = {}  # by the numbers that `b` lists
        self._once: set[int] = set()
        self._stops_made = 0
        self._displays: list[Expression] = []
        self._leaf: Value | None = None  # that the walk has stopped at, since no step comes to one
        self._up = 0  # how far above that, or above the node that comes next, the person looks
        self._quiz = Quiz(walk, self._say, self._ask, self._looks)

    def _greeting(self) -> str:
        return f"{self._where()}\nn: next line · s: one step · back · why NAME · h: help · q: quit"

    def _where(self) -> str:
        text = repr(self.walk).strip("<>")
        following = self._next_node()
        return text.rpartition(", with ∂")[0] if following is not None and self._quiz.hides(following) else text

    def _next_node(self) -> Value | None:
        return self.walk.order[self.walk.position] if self.walk.position < len(self.walk) else None

    def _looks(self, line: str) -> bool:
        """Do a command that only looks, in the middle of another, or say that it is another; False for no command."""
        word = line.split()[0]
        if word not in _LOOKING:
            if not hasattr(self, f"do_{word}"):
                return False
            self._say(f"*** {word} is a command. Answer first, or leave the step with `{LEAVE}`.")
            return True
        before = self.lastcmd, self._line
        self.onecmd(line)
        self.lastcmd, self._line = before
        return True

    # Going on

    def do_n(self, text: str) -> None:
        """n, next [TIMES]: the next labelled node: a line of the derivation."""
        self._go_on(self._count(text), whole_lines=True)

    def do_s(self, text: str) -> None:
        """s, step [TIMES]: the chain rule at one node."""
        self._go_on(self._count(text), whole_lines=False)

    def _go_on(self, times: int, *, whole_lines: bool) -> None:
        """Make steps or lines until one of them stops."""
        for time in range(times):
            if time and self._next_node() is not None:
                self._say("")
            if not self._advanced(whole_line=whole_lines):
                break

    def _advanced(self, *, whole_line: bool) -> bool:
        """Make one step, or those of a line, and show them; whether nothing says to stop there."""
        made = Steps()
        hits: list[Stop] = []
        self._look_ahead()
        try:
            while (step := self._step(following=bool(made))) is not None:
                made.append(step)
                hits = self._hits()
                following = self._next_node()
                if hits or not whole_line or following is None or following.label:
                    break
        finally:  # an error in the middle of a line, or Ctrl-C, leaves the steps before it
            self._tell_steps(made)
        if not made:
            if self._next_node() is None:
                self._say(self._where())
            return False
        self._tell_stops(hits)
        self._show_displays()
        return not hits and step is not None

    def _tell_steps(self, made: Steps) -> None:
        """Show steps, or where their numbers have been asked what they are together."""
        if not made:
            return
        if not self._quiz.on:
            self._say(str(made))
        elif together := line_in_words(self.walk.words, made):
            self._say(together)

    def _step(self, *, following: bool) -> Step | None:
        """Make a step; None at the end, or where its numbers were asked and the person has left."""
        if self._quiz.on and following:
            self._say("")
        return self.walk.step() if not self._quiz.on or self._quiz.asked_step() else None

    def do_c(self, text: str) -> None:
        """c, cont, continue: on to the next stop, or to the end."""
        self._run()

    def do_until(self, text: str) -> None:
        """until, unt [WHERE]: on to WHERE; alone, like n but without its lines.

        WHERE is what `b` takes. Stops on the way hold.
        """
        if not text:
            self._run(whole_line=True)
            return
        stop = read_stop(text, self.walk, self._source(text))
        self._refuse_passed(stop)
        self._run(stop)

    def _run(self, until: Stop | None = None, *, whole_line: bool = False) -> None:
        """Go on to a stop, to `until`, to the end of the line or of the walk, and tell where that is."""
        self._look_ahead()
        hits: list[Stop] = []
        if not (self._stops or until or whole_line):
            self.walk.run()
        self.walk.goto(self.walk.position)  # looks the whole graph over once, and each step at its own node
        while self._next_node() is not None and not hits:
            self.walk.step()
            hits = self._hits()
            if until is not None and until.reached(self.walk) and until not in hits:
                hits.append(until)
            if whole_line and (following := self._next_node()) is not None and following.label:
                break
        self._say(self._where())
        self._tell_stops(hits)
        self._show_displays()

    def _look_ahead(self) -> None:
        """Look at the node that comes next."""
        self._leaf, self._up = None, 0

    def _moved(self) -> None:
        """Tell where the walk is now."""
        self._look_ahead()
        self._say(self._where())
        self._show_displays()

    # Stops

    def do_b(self, text: str) -> None:
        """b, break [WHERE]: stop there; again, no longer; alone, list the stops.

        WHERE is the name of a node (where its gradient is complete), the number of a step (before it), an operation
        such as tanh or * (before each of its nodes), or a condition such as abs(grad) > 1 or w5.grad < 0.05. In a
        condition grad, data and step are of the node that comes next.
        """
        if not text:
            self._list_stops()
            return
        stop = read_stop(text, self.walk, self._source(text))
        if taken := self._numbers_of(stop):
            self._remove(taken)
            self._say(f"no longer stops {stop.title}")
        else:
            self._add(stop)

    def do_tbreak(self, text: str) -> None:
        """tbreak WHERE: stop there once."""
        if not text:
            raise ValueError("Stop where, once? tbreak WHERE, such as " + self._examples() + ".")
        stop = read_stop(text, self.walk, self._source(text))
        self._refuse_passed(stop)
        self._once.add(self._add(stop))

    def do_clear(self, text: str) -> None:
        """clear, cl [N or WHERE]: take a stop away; alone, all of them.

        N is the number that `b` gives it in its list.
        """
        if text.isdecimal():
            taken = [int(text[:20])] if int(text[:20]) in self._stops else []
        else:
            taken = self._numbers_of(read_stop(text, self.walk, self._source(text))) if text else list(self._stops)
        if not taken:
            raise ValueError(f"There is no stop {shorten(text)}; b lists them." if text else "There are no stops.")
        titles = [self._stops[number].title for number in taken]
        self._remove(taken)
        self._say(f"no longer stops {', '.join(titles)}")

    def _add(self, stop: Stop) -> int:
        self._stops_made += 1
        self._stops[self._stops_made] = stop
        when = f", {stop.when(self.walk)}" if stop.when(self.walk) else ""
        passed = " (already passed: `back` or `goto` first)" if stop.passed(self.walk) else ""
        self._say(f"stops {stop.title}{when}{passed}")
        return self._stops_made

    def _remove(self, numbers: Iterable[int]) -> None:
        for taken in numbers:
            del self._stops[taken]
            self._once.discard(taken)

    def _numbers_of(self, stop: Stop) -> list[int]:
        return [number for number, known in self._stops.items() if known == stop]

    def _list_stops(self) -> None:
        if not self._stops:
            self._say("stops nowhere; b WHERE sets a stop")
            return
        rows = [
            [str(number), stop.title + (", once" if number in self._once else ""), stop.when(self.walk)]
            for number, stop in self._stops.items()
        ]
        self._say(table(["", "stops", "when"], rows, justify="rll"))

    def _refuse_passed(self, stop: Stop) -> None:
        if stop.passed(self.walk):
            raise ValueError(f"The walk has already passed there ({stop.title}): `back` or `goto` first.")

    def _hits(self) -> list[Stop]:
        """The stops that are reached here; those that stop once are gone then."""
        hit = [number for number, stop in self._stops.items() if stop.reached(self.walk)]
        stops = [self._stops[number] for number in hit]
        self._remove([number for number in hit if number in self._once])
        return stops

    def _tell_stops(self, hits: Iterable[Stop]) -> None:
        """Say what was reached, and look at it."""
        words = self.walk.words
        for stop in hits:
            following = self._next_node()
            hidden = isinstance(stop, Where) and following is not None and self._quiz.hides(following)
            told = f"stopped {stop.title if hidden else stop.reached(self.walk)}"
            if isinstance(stop, AtNode):
                self._leaf = stop.node if not stop.node.op else self._leaf
                if not self._quiz.hides(stop.node):
                    told += f": {words.gradient_of(stop.node)} = {words.number(stop.node.grad)}, complete"
            self._say(told)

    # Going back

    def do_back(self, text: str) -> None:
        """back [STEPS]: undo steps: every gradient is as it was."""
        if not self.walk.position:
            self._say("There is nothing to undo: the walk is at its start.")
            return
        self.walk.goto(max(0, self.walk.position - self._count(text)))
        self._moved()

    def do_goto(self, text: str) -> None:
        """goto N or NAME: to where N steps are done; where NAME is complete."""
        if not text:
            raise ValueError(f"Where to? goto 0 … {len(self.walk)}, or goto NAME.")
        if text.lstrip("-").isdecimal():
            self.walk.goto(int(text[:20]))
        else:
            self.walk.run_to(text)
        self._moved()

    def do_restart(self, text: str) -> None:
        """restart: to the start, all values anew from the leaves.

        This also ends what something else has done to the graph.
        """
        self.walk.restart()
        self._moved()

    # Looking

    def do_p(self, text: str) -> None:
        """p, print [NAME or EXPR]: data, formula, gradient so far; or an expression.

        Alone it tells of the node looked at. An expression is a formula over names, such as w5 - 0.5*w5.grad;
        w5.grad, dE/dw5 and ∂E/∂w5 are the gradient of w5 so far. grad, data and step are of the node that comes next.
        """
        if not text or self._is_name(text):
            node = self.walk.find(text) if text else self._looked_at()
            self._say(f"{self.walk.words.forward_line(node)}\n{self._gradient_line(node)}")
            return
        expression = Expression(text, self.walk, self._source(text))
        hidden = self._hidden_in(expression)
        self._say(f"{text} = {hidden or self.walk.words.number(expression.value())}")

    def _is_name(self, text: str) -> bool:
        """Whether a node is called so, or should be."""
        return text in self.walk.names.values() or (text.isidentifier() and text not in ("grad", "data", "step"))

    def _gradient_line(self, node: Value) -> str:
        words = self.walk.words
        if self._quiz.hides(node):
            return f"{words.gradient_of(node)} = ? (to be predicted)"
        state = "complete" if self.walk.is_complete(node) else "so far"
        return f"{words.gradient_of(node)} = {words.number(node.grad)} ({state})"

    def _hidden_in(self, expression: Expression) -> str:
        return "? (to be predicted)" if any(map(self._quiz.hides, expression.gradients)) else ""

    def do_why(self, text: str) -> None:
        """why [NAME]: the paths behind a gradient, and their sum."""
        node = self.walk.find(text) if text else self._looked_at()
        if not self._quiz.tells(node):
            raise ValueError(
                f"That would tell what you are asked: why {self.walk.words.names[node]} answers when its gradient is "
                "done, or after `predict off`."
            )
        self._say(str(self.walk.why(node)))

    def do_w(self, text: str) -> None:
        """w, where, bt: the path from the loss to where the walk is.

        Of several paths it is that of the largest product.
        """
        way = self._way()
        here = len(way) - 1 - self._up
        shown = _around(here, len(way))
        gradients = {place: self._way_gradient(way[place]) for place in shown}
        wide = max(map(len, gradients.values()))
        before = -1
        for place, gradient in gradients.items():
            if place > before + 1:
                self._say(f"  … {place - before - 1} nodes …")
            self._say(f"{'>' if place == here else ' '} {gradient:<{wide}}   {self._own_line(way[place])}")
            before = place

    def do_up(self, text: str) -> None:
        """up, u [N]: look further up that path, towards the loss.

        p and why, alone, tell of the node that one looks at.
        """
        way = self._way()
        if self._up == len(way) - 1:
            raise ValueError(f"{self.walk.words.names[self.walk.loss]} is the loss: nothing is above it.")
        self._up = min(self._up + self._count(text), len(way) - 1)
        self._look()

    def do_down(self, text: str) -> None:
        """down, d [N]: look further down again."""
        way = self._way()
        if not self._up:
            raise ValueError(f"{self.walk.words.names[way[-1]]} is where the walk is: nothing is below it yet.")
        self._up = max(self._up - self._count(text), 0)
        self._look()

    def _way(self) -> Sequence[Value]:
        """The path of largest product from the loss to where the walk is."""
        target = self._next_node() if self._leaf is None else self._leaf
        if target is None:
            raise ValueError("The walk is at its end, and no node comes next: give a NAME, or go back.")
        found, _ = paths(self.walk.loss, target, limit=1)
        return tuple(found[0].nodes) if found else (target,)

    def _looked_at(self) -> Value:
        way = self._way()
        return way[len(way) - 1 - self._up]

    def _look(self) -> None:
        """Tell of the node looked at."""
        node = self._looked_at()
        self._say(f"> {self._way_gradient(node)}   {self._own_line(node)}")

    def _way_gradient(self, node: Value) -> str:
        words = self.walk.words
        return f"{words.gradient_of(node)} = {'?' if self._quiz.hides(node) else words.number(node.grad)}"

    def _own_line(self, node: Value) -> str:
        words = self.walk.words
        return f"{words.names[node]} = {words.own_formula(node)[0]}" if node.op else words.forward_line(node)

    def do_l(self, text: str) -> None:
        """l, list: the forward pass, and where the walk is in it."""
        words, walk = self.walk.words, self.walk
        lines = forward_in_words(words)
        half = _MOST_LISTED // 2
        shown = lines if len(lines) <= _MOST_LISTED else [*lines[:half], "…", *lines[1 - half :]]
        done = ", ".join(words.names[node] for node in walk.order[: walk.position][-12:])
        self._say("\n".join([*shown, self._where(), f"done: {done or 'nothing yet'}"]))

    def do_display(self, text: str) -> None:
        """display [EXPR]: show an expression after every step; alone, all now."""
        if text:
            expression = Expression(text, self.walk, self._source(text))
            self._displays = [*(one for one in self._displays if one.text != expression.text), expression]
            self._say(self._display_line(expression))
        elif self._displays:
            self._show_displays()
        else:
            self._say("displays nothing; display EXPR shows an expression after every step")

    def do_undisplay(self, text: str) -> None:
        """undisplay [EXPR]: no longer; alone, none of them."""
        kept = [one for one in self._displays if text and one.text != text]
        if len(kept) == len(self._displays):
            raise ValueError(f"{shorten(text)!r} is not displayed." if text else "Nothing is displayed.")
        self._displays = kept
        self._say(f"no longer displays {shorten(text) if text else 'anything'}")

    def _show_displays(self) -> None:
        for expression in self._displays:
            self._say(self._display_line(expression))

    def _display_line(self, expression: Expression) -> str:
        try:
            shown = self._hidden_in(expression) or self.walk.words.number(expression.value())
        except FormulaError as error:
            return f"display {expression}: {error.problem}"
        return f"display {expression} = {shown}"

    def do_draw(self, text: str) -> None:
        """draw [FILE]: the graph as it stands, as SVG.

        Alone it goes to walk.svg; in a notebook it is shown.
        """
        if self._quiz.on:
            raise ValueError("The picture would tell what you are asked; draw it after `predict off`.")
        drawing = self.walk.draw()
        if text or not in_notebook():
            self._say(f"wrote {drawing.save(Path(text or 'walk.svg'))}")
            return
        import_module("IPython.display").display(drawing)

    # Changing

    def do_set(self, text: str) -> None:
        """set NAME = EXPR: give a leaf another value, and stay.

        Every gradient is as if it had been so from the start. EXPR may use the old value: set w5 = w5 - 0.1.
        """
        sides = re.fullmatch(r"(?P<name>.*?[^<>=!\s])\s*=(?!=)(?P<value>.*)", text)
        if sides is None:
            raise ValueError("Set what? set NAME = number or formula, such as " + self._setting() + ".")
        leaf = self.walk.find(sides["name"])
        words, before, loss = self.walk.words, leaf.data, self.walk.loss.data
        order, following = self.walk.order, self._next_node()
        self.walk.set(leaf, Expression(sides["value"], self.walk, self._source(sides["value"])).value())
        told = [f"{words.names[leaf]} = {words.number(leaf.data)}, was {words.number(before)}; {self._loss_line(loss)}"]
        if self.walk.order != order:
            told.append(f"A condition takes its other branch now: the walk has {len(self.walk)} steps.")
        if following is not None and following not in self.walk.order:
            told.append(f"{words.names[following]} is not part of it any more.")
        self._say("\n".join(told))
        self._moved()

    def _setting(self) -> str:
        leaf = next((node for node in self.walk.names if not node.op and not node.is_constant), self.walk.loss)
        return f"set {self.walk.words.names[leaf]} = {leaf.data:.6g}"

    def _loss_line(self, before: float) -> str:
        words, loss = self.walk.words, self.walk.loss
        return f"{words.names[loss]} = {words.number(loss.data)}, was {words.number(before)}"

    def do_update(self, text: str) -> None:
        """update LR [NAMES]: the gradient step at the end; begin the next walk.

        The parameters are the leaves named here, or those of the file's line `parameters: w1 w2 …`, or those given to
        walk.interact(parameters=[…]).
        """
        rate, *names = text.replace(",", " ").split() or [""]
        if not rate:
            raise ValueError("With which learning rate? update LR, such as update 0.5.")
        expression = Expression(rate, self.walk, Source(self._line, None, self._line.rindex(text) if text else 0))
        if not expression.is_of_numbers:
            raise ValueError(f"The learning rate comes first, a number: update 0.5 {' '.join([rate, *names])}.")
        lr = expression.value()
        parameters = list(map(self.walk.find, names)) if names else self._parameters
        if not parameters and self._next_node() is None:
            raise ValueError(
                f"Which leaves are the parameters? Name them, update {rate} {self._likely_parameters()}; or add a line "
                f"`parameters: …` to the file, or pass walk.interact(parameters=[…])."
            )
        words, before = self.walk.words, self.walk.loss.data
        told = [update_in_words(words, leaf, lr, words.digits) for leaf in parameters[:MOST_LINES]]
        more = [f"  … and {len(parameters) - MOST_LINES} parameters more"] if len(parameters) > MOST_LINES else []
        if self._next_node() is not None:
            raise ValueError(
                f"An update needs the gradients of a whole walk, and this one is at step {self.walk.position} of "
                f"{len(self.walk)}: `c` goes on to the end."
            )
        self.walk.update(lr, parameters)
        head = f"Updates, learning rate {number(lr)}"
        self._say("\n".join([head, *told, *more, f"{self._loss_line(before)}; l shows the forward pass"]))
        self._moved()

    def _likely_parameters(self) -> str:
        leaves = [name for node, name in self.walk.names.items() if not node.op and not node.is_constant]
        return " ".join(map(shorten, leaves[:2]))

    # Predicting

    def do_predict(self, text: str) -> None:
        """predict [on or off]: be asked for each number before it is shown.

        Type a number, of which three digits are needed, or a formula. A blank line shows the number, as does the third
        wrong answer, and a dot leaves the step. p, l, w and why work in between; what will be asked they hide.
        `predict w5 = 0.08` judges the gradient of the loss by w5, wherever the walk is.
        """
        name, equals, answer = text.partition("=")
        if equals and name.strip():
            prediction = self.walk.predict(name.strip(), answer.strip())
            mark = {"right": "✓", "wrong": "✗"}.get(prediction.verdict, "?")
            self._say(f"{mark} {prediction}")
            return
        if text not in ("", "on", "off"):
            raise ValueError("predict on, predict off, or predict NAME = number or formula.")
        self._quiz.on = text == "on" or (not text and not self._quiz.on)
        self._say(
            "predict is on: s and n ask for each number before they show it.\n"
            f"Type a number or a formula; a blank line shows the number, `{LEAVE}` leaves the step."
            if self._quiz.on
            else "predict is off"
        )

    def do_score(self, text: str) -> None:
        """score [FILE.json]: how the predictions went; or save it for a teacher."""
        self._say(f"wrote {self.walk.score.save(text)}" if text else str(self.walk.score))

    do_next, do_step, do_cont, do_continue, do_unt = do_n, do_s, do_c, do_c, do_until
    do_break, do_cl = do_b, do_clear
    do_print, do_where, do_bt, do_u, do_d, do_list = do_p, do_w, do_w, do_up, do_down, do_l

    # Completion

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """The commands that begin so; while a number is asked, the names."""
        return self._names_beginning(text) if self._asking else super().completenames(text, *ignored)

    def completedefault(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """The names of nodes that begin so."""
        typed = line[:endidx].partition(" ")[2].lstrip()  # a name may hold what parts words
        found = [name[len(typed) - len(text) :] for name in self._names_beginning(typed)]
        if line[begidx - 1 : begidx] == "/" and text.startswith("d"):
            found += [f"d{name}" for name in self._names_beginning(text[1:])]
        return list(dict.fromkeys([*found, *self._names_beginning(text)]))

    def _names_beginning(self, text: str) -> list[str]:
        names = [name for name in self._names() if name.isprintable()]
        if "." in text:
            names = [f"{name}.grad" for name in names]
        return [name for name in names if name.startswith(text)]

    def _names(self) -> list[str]:
        labelled = [node.label for node in self.walk.names if node.label]
        return labelled or named_nodes(self.walk.names)

    def _complete_stop(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        operations = dict.fromkeys(node.op for node in self.walk.order)
        found = self.completedefault(text, line, begidx, endidx)
        return [*found, *(name for name in operations if name.startswith(text))]

    complete_b = complete_break = complete_tbreak = complete_clear = complete_cl = _complete_stop
    complete_until = complete_unt = _complete_stop

    def complete_set(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """The leaves, and after `=` all names."""
        found = self.completedefault(text, line, begidx, endidx)
        leaves = {name for node, name in self.walk.names.items() if not node.op}
        return found if "=" in line[:begidx] else [name for name in found if name in leaves]

    complete_update = complete_set

    def complete_predict(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """on, off, and the names."""
        ways = [way for way in ("on", "off") if way.startswith(text)]
        return [*ways, *self.completedefault(text, line, begidx, endidx)]

    def _examples(self) -> str:
        return ", ".join(map(shorten, self._names()[:3]))


def _around(here: int, count: int) -> list[int]:
    """The places of a listing that are shown: all of a short one, else the first, those around `here`, and the last."""
    if count <= _MOST_LISTED:
        return list(range(count))
    near = range(max(0, here - 12), min(count, here + 13))
    return sorted({*range(5), *near, *range(count - 5, count)})
