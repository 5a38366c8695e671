"""Predict first: the numbers of a step are asked before they are shown."""

from __future__ import annotations

from collections.abc import Callable

from engine.blanks import Blank, blanks
from engine.explain import parents_more
from engine.formula import Source
from engine.prediction import Prediction, judge_blank
from engine.session import without_comment
from engine.value import Value
from engine.walk import Backprop

TRIES = 3  # wrong answers, after which the number is shown
LEAVE = "."  # no name, and no formula


class Quiz:
    """The predict mode of a session. While it is `on`, what would be asked next is hidden.

    `say` prints lines, and `ask` prints a question and returns what is typed, or None at the end of the input. `looks`
    does what is typed if that is a command to look at something, and tells whether it was.
    """

    def __init__(
        self,
        walk: Backprop,
        say: Callable[[str], None],
        ask: Callable[[str], str | None],
        looks: Callable[[str], bool],
    ) -> None:
        self.on = False
        self._walk, self._say, self._ask, self._looks = walk, say, ask, looks

    def hides(self, node: Value) -> bool:
        """Whether the node's gradient is a sum over paths that is complete and has not been asked yet."""
        rank, senders = self._walk.words.rank.get(node, -1), len(self._walk.words.feeds.get(node, []))
        return self.on and rank >= self._walk.position and senders > 1 and self._walk.is_complete(node)

    def tells(self, node: Value) -> bool:
        """Whether how the node's gradient comes about may be told."""
        return not self.on or (self._walk.is_complete(node) and not self.hides(node))

    def asked_step(self) -> bool:
        """Ask for every number of the next step; False where the student leaves it."""
        walk = self._walk
        step = walk.step()
        if step is None:
            return True
        walk.back()
        self._say(str(step).partition("\n")[0])
        rows = step.rows.rows
        wide = max(len(left) for left, _, _ in rows)
        asked = {blank.row: blank for blank in blanks(step)}
        for place, (left, sign, right) in enumerate(rows):
            begun = f"  {left:<{wide}} {sign:>2} "
            if place not in asked:
                self._say(begun + right)
            elif not self._filled_in(asked[place], begun, right):
                self._say("The step is not made; `s` asks again.")
                return False
        if more := parents_more(step.contributions):
            self._say(f"  {more}")
        return True

    def _filled_in(self, blank: Blank, begun: str, right: str) -> bool:
        """Ask until the number is right, shown, or wrong too often; False where the student leaves."""
        left = TRIES
        while left:
            typed = self._ask(f"{begun}? ")
            if typed is None or typed.strip() == LEAVE:
                return False
            text = without_comment(typed)
            if not text:
                self._walk.score.add(
                    Prediction(blank.question, "", "shown", blank.expected, kind=blank.operation, step=blank.step.index)
                )
                break
            try:
                prediction = judge_blank(self._walk, blank, text, Source(text))
            except ValueError as error:
                if not self._looks(text):
                    self._say(f"*** {error}\n  Type a number or a formula; a blank line shows it, `{LEAVE}` leaves.")
                continue
            self._walk.score.add(prediction)
            if prediction.verdict == "right":
                self._say(f"  ✓ {blank.line}")
                return True
            if prediction.verdict == "undecided":
                self._say(f"  {prediction.message}")
                continue
            left -= 1
            self._say("  ✗ " + " ".join([_tries(left), *prediction.message.splitlines()]))
        self._say(begun + right)
        return True


def _tries(left: int) -> str:
    return "Not right." if not left else f"Not right; {left} {'tries' if left > 1 else 'try'} left."
