"""The player, in a browser, as a teacher and a student use it."""

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Backprop, Value, build, layout, total
from engine.cli import main
from engine.graph import nodes
from engine.player import WIDEST_INLINE, inline, page
from engine.text import factor, number, shorten
from nn import MLP, mse
from tests.strategies import case, graphs, worked

ROOT = Path(__file__).parents[1]
LABELS = case("hostile_inputs.json")["labels"]
DESK, PHONE, ZOOMED = (
    {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"},  # no waiting for what moves
    {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "is_mobile": True, "has_touch": True},
    {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},  # what 200 % makes of a 1280 × 800 screen
)
CLOCKED = {"locale": "en-GB"}  # a window of its own, since the clock that a test sets goes on to be set
BUTTONS = ["First", "Previous", "Next", "Last"]

# All frames of a player, as its Next button shows them.
FRAMES = """() => {
    const section = document.querySelector("section.player");
    const texts = (element, selector) => [...element.querySelectorAll(selector)].map((found) => found.textContent);
    const lines = (kind) => Object.fromEntries([...section.querySelectorAll(`.node ${kind}`)]
        .map((line) => [line.parentElement.id, line.textContent]));
    const frames = [];
    for (;;) {
        frames.push({
            count: section.querySelector(".count").textContent,
            grads: lines(".grad"),
            marks: lines(".mark"),
            amounts: [...section.querySelectorAll(".amount.now")].map((amount) => texts(amount, "text")),
            words: texts(section, ".words h2, .words p, .words dt, .words dd"),
        });
        const next = section.querySelector(".next");
        if (next.ariaDisabled === "true") return frames;
        next.click();
    }
}"""
# Everything that can be read on the page, the picture too.
SEEN = """() => {
    const seen = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const told = ["SCRIPT", "STYLE", "title"].includes(element.tagName);
        if (!told && element.getBoundingClientRect().width > 0) seen.push(walker.currentNode.data);
    }
    return seen.join("\\n");
}"""
# Whether what a step is about, the box that is applied, is in sight within the picture.
IN_SIGHT = """() => {
    const around = document.querySelector(".picture").getBoundingClientRect();
    const box = (document.querySelector(".node.now") ?? document.querySelector(".node.next")).getBoundingClientRect();
    return box.top >= around.top && box.bottom <= around.bottom && box.left >= around.left && box.right <= around.right;
}"""


def mazur():
    return Backprop(worked("mazur_2_2_2")["E"])


def grads(loss):
    """Every gradient, to the last bit and the sign of a zero."""
    return [node.grad.hex() for node in nodes(loss)]


@pytest.fixture(scope="module")
def mazur_page(tmp_path_factory):
    return mazur().save_html(tmp_path_factory.mktemp("pages") / "mazur.html")


class Reader:
    """Someone at a page, and whatever they hear of the console, of errors, dialogs and requests."""

    def __init__(self, context):
        self.page, self.heard, self.address, self.opened = context.new_page(), [], "", 0
        self.page.on("console", lambda message: self.heard.append(message.text))
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.heard.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: request.url == self.address or self.heard.append(request.url))

    def open(self, file, fragment=""):
        self.heard.clear()
        self.opened += 1
        self.address = f"{file.as_uri()}?{self.opened}"  # or another fragment would not load the file again
        self.page.goto(self.address + fragment)
        return self

    def player(self, place=0):
        return self.page.locator("section.player").nth(place)

    def at(self, place=0):
        """The step at which a player is."""
        count, told, step, last = self.page.evaluate(
            """(place) => {
                const section = document.querySelectorAll("section.player")[place];
                const slider = section.querySelector(".slider");
                return [section.querySelector(".count").innerText, slider.ariaValueText, slider.value, slider.max];
            }""",
            place,
        )
        assert count == told == f"Step {step} of {last}"
        return int(step)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        return self.at()

    def button(self, name, place=0):
        return self.player(place).get_by_role("button", name=name, exact=True)

    def click(self, name):
        self.button(name).dispatch_event("click")  # what a pointer does, without its way there
        return self.at()

    def predict(self, on=True, place=0):
        changed = self.page.evaluate(
            """([on, place]) => {
                const box = document.querySelectorAll("section.player")[place].querySelector(".predict");
                const before = box.checked;
                box.click();
                return before !== on && box.checked === on;
            }""",
            [on, place],
        )
        assert changed

    def node(self, name):
        """The box of a node, by the beginning of what it tells to a screen reader."""
        return self.page.locator(f'.node[aria-label^="{name} ="]')

    def text(self, selector, place=0):
        return self.page.evaluate(
            """([selector, place]) => {
                return document.querySelectorAll("section.player")[place].querySelector(selector).innerText;
            }""",
            [selector, place],
        )

    def seen(self):
        return self.page.evaluate(SEEN)

    def link(self):
        return self.page.evaluate("() => location.hash")

    def asks(self, step):
        """What the page asks of who predicts a step."""
        return json.loads(self.page.locator("script.walk").first.text_content())["steps"][step - 1]["asks"]

    def answer(self, question, text):
        """Type an answer to the question in that place, press Enter, and read what is said to it."""
        field = self.page.locator(".questions input").nth(question)
        field.fill(text)
        field.press("Enter")
        return self.page.locator(".questions .said").nth(question).text_content()

    def score(self):
        """How many were right at once, and of how many."""
        return tuple(map(int, re.search(r"(\d+) of (\d+)", self.text(".score")).groups()))


@pytest.fixture(scope="module")
def readers(browser):
    """Readers who wait for a page, by the screen and the system that they have."""
    waiting, contexts = {}, []

    class Readers:
        def come(self, **options):
            options = {**DESK, **options}
            if not waiting.get(repr(options)):
                contexts.append(browser.new_context(**options))
                contexts[-1].set_default_timeout(10_000)
                waiting[repr(options)] = [Reader(contexts[-1])]
            return waiting[repr(options)].pop()

        def go(self, reader, **options):
            waiting[repr({**DESK, **options})].append(reader)

    yield Readers()
    for context in contexts:
        context.close()


@pytest.fixture
def visit(readers, mazur_page):
    """Open a page. At the end nobody has heard of an error, a dialog or a request."""
    came = []

    def visit(file=mazur_page, fragment="", **options):
        came.append((readers.come(**options), options))
        return came[-1][0].open(file, fragment)

    yield visit
    for reader, options in came:
        readers.go(reader, **options)
    assert [said for reader, _ in came for said in reader.heard] == []


@pytest.fixture
def saved(tmp_path):
    """Write a walk as a page."""

    def saved(walk, **options):
        return walk.save_html(tmp_path / "page.html", **options)

    return saved


@pytest.fixture(scope="module")
def reader_of_links(readers, mazur_page):
    """One reader for many links."""
    reader = readers.come().open(mazur_page, "#step=1")
    yield reader
    readers.go(reader)
    assert reader.heard == []


# Moving


def test_buttons_go_to_the_first_previous_next_and_last_step(visit):
    reader = visit()
    assert reader.at() == 0
    for name, step in (("Next", 1), ("Next", 2), ("Previous", 1), ("Last", 15), ("First", 0)):
        reader.button(name).click()
        assert reader.at() == step
    assert "Before the first step" in reader.text(".words")
    reader.click("Next")
    assert reader.text(".words h2") == "E = E_o1 + E_o2"


def test_a_button_at_its_end_does_nothing_and_keeps_the_focus(visit):
    reader = visit()
    for end, buttons in ((0, ["First", "Previous"]), (15, ["Next", "Last"])):
        for name in BUTTONS:
            button = reader.button(name)
            assert button.get_attribute("aria-disabled") == str(name in buttons).lower()
        for name in buttons:
            reader.button(name).focus()
            assert reader.press("Enter") == end
            assert reader.press("ArrowLeft" if end else "ArrowRight") == (14 if end else 1)
            reader.press("End" if end else "Home")
        reader.press("End")


def test_the_slider_goes_to_its_step(visit):
    reader = visit()
    slider = reader.player().locator(".slider")
    slider.fill("7")
    assert reader.at() == 7
    slider.focus()
    assert reader.press("ArrowRight") == 8
    assert reader.press("ArrowUp") == 9
    assert reader.press("Home") == 0
    assert reader.press("End") == 15


def test_keys_step_where_the_player_has_the_focus(visit):
    reader = visit()
    assert reader.press("ArrowRight", "End", " ") == 0  # it has not
    reader.page.get_by_role("heading", level=1).click()
    assert reader.press("ArrowRight", "ArrowRight", "ArrowLeft") == 1
    assert reader.press("End") == 15
    assert reader.press("ArrowRight") == 15
    assert reader.press("Home") == 0
    assert reader.press("ArrowLeft") == 0
    assert reader.press("Control+ArrowRight") == 0
    reader.player().locator(".picture").focus()
    assert reader.press("ArrowRight") == 1


def test_keys_mean_what_they_always_do_in_a_field_a_list_and_the_table(visit):
    reader = visit(fragment="#step=12")
    reader.predict()
    field = reader.page.locator(".questions input").first
    field.fill("12")
    field.focus()
    assert reader.press("Home", "ArrowRight", " ", "End", "ArrowLeft", "3") == 12
    assert field.input_value() == "1 32"
    speed = reader.player().locator(".speed")
    speed.focus()
    assert reader.press("End") == 12
    assert speed.input_value() == "4"
    reader.predict(False)
    reader.player().locator(".scroll").focus()
    assert reader.press("ArrowRight") == 12
    reader.button("Next").focus()
    assert reader.press(" ") == 13  # the button that has the focus, not Play
    assert reader.button("Play").is_visible()


def test_play_goes_on_at_its_speed_until_the_end_or_a_pause(visit):
    reader = visit(**CLOCKED)
    reader.page.clock.install()
    reader.page.reload()
    run = reader.page.clock.run_for
    play = reader.player().locator(".play")
    play.click()
    assert (reader.at(), play.inner_text(), play.get_attribute("aria-label")) == (0, "❚❚ Pause", "Pause")
    run(1_600)
    assert reader.at() == 1
    reader.player().locator(".speed").select_option("4×")
    run(800)
    assert reader.at() == 3
    play.click()
    run(5_000)
    assert (reader.at(), play.inner_text(), play.get_attribute("aria-label")) == (3, "▶ Play", "Play")
    reader.player().locator(".picture").focus()
    assert reader.press(" ") == 3
    run(400 * 12)
    assert (reader.at(), play.inner_text()) == (15, "▶ Play")
    play.click()  # from the beginning
    assert reader.at() == 0
    run(400)
    assert reader.at() == 1


def test_play_waits_for_a_prediction(visit):
    reader = visit(**CLOCKED)
    reader.page.clock.install()
    reader.page.reload()
    reader.predict()
    reader.player().locator(".play").click()
    reader.page.clock.run_for(10_000)
    assert reader.at() == 1
    assert reader.player().locator(".play").inner_text() == "▶ Play"


@pytest.mark.parametrize(("fragment", "step"), [("#step=12", 12), ("#step=99", 15), ("#step=<b>", 0)])
def test_a_link_opens_the_page_at_its_step(visit, fragment, step):
    reader = visit(fragment=fragment)
    assert reader.at() == step
    assert reader.page.evaluate(IN_SIGHT)


@pytest.mark.parametrize(
    ("typed", "step"),
    [("#step=9", 9), ("#step=15", 15), ("#step=99", 15), (f"#step={'9' * 400}", 15), ("#step=0", 0), ("#step=007", 7)]
    + [(nonsense, 3) for nonsense in ("#step=,", "#step=-1", "#step=7.5", "#step=7x", "#step=<b>", "#step", "#7", "#")],
)
def test_a_link_that_is_typed_later_leads_to_its_step_and_nonsense_nowhere(reader_of_links, typed, step):
    page_of = reader_of_links.page
    page_of.evaluate("""(typed) => new Promise((resolve) => {
        location.hash = "#step=3";
        window.addEventListener("hashchange", () => setTimeout(() => {
            location.hash = typed;
            window.addEventListener("hashchange", () => setTimeout(resolve), { once: true });
        }), { once: true });
    })""", typed)  # fmt: skip
    assert reader_of_links.at() == step
    assert page_of.evaluate(IN_SIGHT)


def test_the_address_follows_the_steps_and_the_steps_the_address(visit):
    reader = visit(fragment="#step=7")
    reader.click("Next")
    assert reader.link() == "#step=8"
    reader.player().locator(".slider").fill("4")
    assert reader.link() == "#step=4"
    reader.page.reload()
    assert reader.at() == 4


def test_the_table_has_all_steps_and_its_links_lead_to_them(visit):
    reader = visit()
    rows = reader.page.get_by_role("row")
    assert rows.count() == 16
    assert "w5·out_h1 + w6·out_h2 + b2" in rows.nth(6).inner_text()
    assert "∂E/∂w5 += 0.138499 × 0.59327 = 0.082167" in rows.nth(6).inner_text()
    rows.nth(6).get_by_role("link", name="6").click()
    assert (reader.at(), reader.link()) == (6, "#step=6")
    assert "now" in rows.nth(6).get_attribute("class")
    assert reader.page.evaluate(IN_SIGHT)


# Numbers


def expected_frame(walk, step):
    """What a page must show after a step of a walk: gradients, amounts, and the numbers beside the picture."""
    every = nodes(walk.loss)
    shown = {
        "count": f"Step {walk.position} of {len(walk)}",
        "grads": {f"player1-n{n}": f"grad {number(x.grad)}" for n, x in enumerate(every) if not x.is_constant},
        "amounts": [],
    }
    if step is not None:
        shown["amounts"] = [
            [number(one.local_derivative), f"× {factor(step.grad)}", f"= {number(one.amount)}"]
            for one in step.contributions
        ]
    return shown


def assert_frames_are_those_of_the_walk(frames, loss):
    loss.zero_grad()
    walk = Backprop(loss)
    step, every = None, nodes(loss)
    for frame in frames:
        expected = expected_frame(walk, step)
        assert {part: frame[part] for part in expected} == expected
        for place, rank in ((walk.position - 1, "NOW"), (walk.position, "NEXT")):
            marked = [walk.order[place]] if 0 <= place < len(walk) else []
            assert [box for box, mark in frame["marks"].items() if mark == rank] == [
                f"player1-n{every.index(node)}" for node in marked
            ]
        if step is not None:
            assert frame["words"][-2 * len(step.rows.rows) :] == [
                text for left, sign, right in step.rows.rows for text in (f"{left} {sign}", right)
            ]
        step = walk.step()
    assert len(frames) == len(walk) + 1
    loss.zero_grad()
    loss.backward()
    assert frames[-1]["grads"] == expected_frame(walk, None)["grads"]


def test_every_frame_shows_the_numbers_of_the_walk_and_the_last_those_of_backward(visit):
    loss = worked("mazur_2_2_2")["E"]
    assert_frames_are_those_of_the_walk(visit().page.evaluate(FRAMES), loss)


def test_frames_of_random_graphs_show_the_numbers_of_their_walks(readers, tmp_path_factory):
    file, reader = tmp_path_factory.mktemp("random") / "page.html", readers.come()

    @settings(max_examples=8, deadline=None, database=None)
    @given(graphs(most=10))
    def hold(graph):
        loss, _ = graph
        loss.zero_grad()
        Backprop(loss).save_html(file)
        assert_frames_are_those_of_the_walk(reader.open(file).page.evaluate(FRAMES), loss)
        assert reader.heard == []

    hold()
    readers.go(reader)


def test_a_node_used_twice_has_two_edges_with_an_amount_each(visit, saved):
    x = Value(3.0, label="x")
    first, second = Backprop(x**x), Backprop(Value(3.0, label="x") * 2.0)
    frames = visit(saved(first)).page.evaluate(FRAMES)
    assert frames[1]["amounts"] == [["27", "× 1", "= 27"], ["29.6625", "× 1", "= 29.6625"]]
    assert frames[1]["grads"]["player1-n0"] == "grad 56.6625"
    assert visit(saved(second)).page.evaluate(FRAMES)[1]["amounts"] == [["2", "× 1", "= 2"]]  # and a constant none


def test_the_branch_that_a_condition_does_not_take_gets_nothing(visit, saved):
    walk = Backprop(build("a = 2*x\nb = 3*x\nL = a if x > 0 else b", x=1.5).loss)
    reader = visit(saved(walk))
    frames = reader.page.evaluate(FRAMES)
    assert len(frames) == 3
    assert frames[1]["amounts"] == [["1", "× 1", "= 1"]]
    reader.node("b").hover()
    assert "grad 0" in reader.text(".story")
    assert reader.node("b").locator(".mark").count() == 0


def test_a_node_of_a_hundred_parents_is_told_in_a_few_lines_and_drawn_whole(visit, saved):
    xs = [Value(float(i), label=f"x{i}") for i in range(1, 101)]
    reader = visit(saved(Backprop(total([x * 2.0 for x in xs]))), fragment="#step=1")
    assert "… and 88 parents more" in reader.text(".words")
    assert "… and 88 parents more" in reader.text(".all")
    assert reader.page.locator(".amount.now").count() == 100
    assert reader.player().locator(".words dt").count() == 25
    reader.predict()
    assert 1 <= reader.page.locator(".questions input").count() <= 25


def test_a_leaf_alone_is_a_page_of_no_steps(visit, saved):
    for leaf in (Value(2.0, label="x"), Value(2.0)):
        reader = visit(saved(Backprop(leaf)))
        assert reader.at() == 0
        reader.player().locator(".picture").focus()
        assert [reader.press(key) for key in ("ArrowRight", "ArrowLeft", "Home", "End", " ")] == [0] * 5
        reader.predict()
        assert reader.page.locator(".questions").is_hidden()
        assert reader.page.evaluate(FRAMES)[0]["grads"] == {"player1-n0": "grad 1"}


def test_a_walk_that_ends_in_a_nan_is_shown_as_far_as_it_goes(visit, saved):
    x = Value(0.0, label="x")
    loss = x.sqrt() * 0.0
    reader = visit(saved(Backprop(loss)))
    assert "The walk stops after step 1: The gradient of x has no value (nan): at v1" in reader.text(".summary")
    assert reader.click("Last") == 1
    reader.node("x").hover()
    assert "grad 0" in reader.text(".story")
    assert reader.page.get_by_role("row").count() == 2


def test_an_infinite_gradient_is_shown_and_not_asked_for(visit, saved):
    walk = Backprop(build("r = sqrt(x)\nL = 2*r", x=0.0).loss)
    with pytest.warns(RuntimeWarning, match="gradient of x is infinite"):
        file = saved(walk)
    reader = visit(file, fragment="#step=2")
    assert reader.page.locator(".amount.now text").all_text_contents() == ["inf", "× 2", "= inf"]
    assert "2 × inf = inf" in reader.text(".words")
    assert reader.node("x").locator(".grad").text_content() == "grad inf"
    reader.predict()
    assert not [ask for ask in reader.asks(2) if not math.isfinite(ask["expected"])]


def test_a_fold_shows_its_size_and_the_norm_of_its_gradients_so_far(visit, saved):
    model = MLP(2, [3, 1], seed=0)
    loss = mse(model([0.5, -1.0]), 1.0)
    loss.label = "L"
    reader = visit(saved(Backprop(loss), groups=model.groups(loss), collapse=1))
    frames = reader.page.evaluate(FRAMES)
    fold = reader.page.locator('.node.fold[aria-label^="layer1,"]')
    loss.zero_grad()
    walk = Backprop(loss)
    for frame in frames:
        norm = math.hypot(*[p.grad for p in model.layers[0].parameters()])
        assert frame["grads"][fold.get_attribute("id")] == f"‖grad‖ {number(norm)}"
        walk.step()
    assert norm > 0.0
    marks = list(dict.fromkeys(frame["marks"][fold.get_attribute("id")] for frame in frames))
    assert marks[0] == "LATER"
    assert marks[-1] == "NOW"
    assert {"NEXT", "1 OF 6 DONE"} & set(marks)
    fold.hover()
    assert "9 leaves" in reader.text(".story")
    assert reader.page.locator(".node").count() < 12
    reader.predict()
    step = next(k for k, frame in enumerate(frames) if frame["marks"][fold.get_attribute("id")] == "NOW")
    reader.player().locator(".slider").fill(str(step + 1))
    assert "‖grad‖ ?" in reader.seen()


# Stories


def test_a_node_that_is_pointed_at_tells_its_story(visit):
    reader = visit(fragment="#step=11")
    story = reader.page.locator(".story")
    assert story.is_hidden()
    reader.node("out_h1").hover()
    assert story.inner_text().startswith("out_h1 = σ(net_h1) = σ(0.3775) = 0.59327")
    assert "grad 0.0363503 (complete)" in story.inner_text()
    assert "∂E/∂out_h1 = 0.0363503, the sum over 2 paths" in story.inner_text()
    assert "E → E_o1 → v2 → v1 → out_o1 → net_o1 → out_h1" in story.inner_text()
    reader.click("Previous")
    reader.node("out_h1").hover()
    assert "grad 0.0553994 (so far; complete after step 11)" in story.inner_text()
    reader.page.get_by_role("heading", level=1).hover()
    assert story.is_hidden()


def test_a_click_keeps_a_story_and_another_lets_go(visit):
    reader = visit(fragment="#step=11")
    story, title = reader.page.locator(".story"), reader.page.get_by_role("heading", level=1)
    reader.node("out_h1").click()
    title.hover()
    assert story.locator("h2").inner_text().startswith("out_h1 =")
    assert reader.click("Next") == 12  # and it goes on with the steps
    reader.node("net_h1").hover()
    assert story.locator("h2").inner_text().startswith("out_h1 =")
    reader.node("net_h1").click()
    assert story.locator("h2").inner_text().startswith("net_h1 =")
    reader.node("net_h1").click()
    title.hover()
    assert story.is_hidden()


def test_stories_are_told_to_the_keyboard_and_enter_keeps_one(visit):
    reader = visit(fragment="#step=12")
    story = reader.page.locator(".story h2")
    reader.player().locator(".picture").focus()
    reader.press("ArrowDown")
    assert story.inner_text().startswith("out_h1 = ")  # what is applied now
    reader.press("ArrowDown")
    below = story.inner_text()
    assert not below.startswith("out_h1 = ")
    reader.press("ArrowUp")
    assert story.inner_text().startswith("out_h1 = ")
    reader.press("Tab")
    assert story.is_hidden()
    reader.player().locator(".picture").focus()
    reader.press("ArrowDown", "ArrowDown", "Enter", "Tab")
    assert story.inner_text() == below
    assert reader.press("Shift+Tab", "ArrowRight") == 13  # still within the picture
    assert reader.page.locator(".story").get_attribute("aria-live") == "polite"


def test_a_finger_gets_the_story_too(visit):
    reader = visit(fragment="#step=12", **PHONE)
    reader.node("out_h1").tap()
    assert reader.text(".story h2").startswith("out_h1 =")


# Size and colours


def test_the_picture_can_be_enlarged_and_fitted_and_what_is_now_stays_in_sight(visit):
    reader = visit(fragment="#step=6")
    picture = reader.page.locator(".picture")

    def width():
        return reader.page.locator(".picture svg").bounding_box()["width"]

    first = width()
    reader.click("Larger")
    assert width() == pytest.approx(1.25 * first, rel=1e-3)
    assert reader.page.evaluate(IN_SIGHT)
    reader.click("Smaller")
    reader.click("Smaller")
    assert width() == pytest.approx(first / 1.25, rel=1e-3)
    reader.click("Fit")
    assert picture.evaluate("(e) => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
    fitted = width()
    reader.click("Fit")
    assert width() == pytest.approx(first, rel=1e-3)  # large enough to read
    reader.click("Fit")
    assert width() == pytest.approx(fitted, rel=1e-3)
    often = "(selector) => { for (let time = 0; time < 40; time++) document.querySelector(selector).click(); }"
    reader.page.evaluate(often, ".smaller")
    assert width() > 20
    reader.page.evaluate(often, ".larger")
    assert width() < 20_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_the_systems_until_the_button_changes_them(visit, scheme):
    reader = visit(color_scheme=scheme)

    def is_dark():
        background = reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", background))) < 300

    assert is_dark() is (scheme == "dark")
    reader.click("Colours")
    assert is_dark() is (scheme == "light")
    reader.click("Colours")
    assert is_dark() is (scheme == "dark")


@pytest.mark.parametrize(("theme", "background"), [("dark", "rgb(21, 24, 28)"), ("print", "rgb(255, 255, 255)")])
def test_a_theme_is_the_page_s_own_on_any_system(visit, saved, theme, background):
    file = saved(mazur(), theme=theme)
    for scheme in ("light", "dark"):
        page_of = visit(file, color_scheme=scheme).page
        assert page_of.evaluate("() => getComputedStyle(document.body).backgroundColor") == background
        scheme_of = page_of.evaluate("() => getComputedStyle(document.documentElement).colorScheme")
        assert scheme_of == ("dark" if theme == "dark" else "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_differ_by_word_line_and_shape(visit, scheme):
    reader = visit(fragment="#step=12", color_scheme=scheme)
    looks = {}
    for mark in ("done", "now", "next", "later"):
        node = reader.page.locator(f".node.{mark}:not(.loss)").first
        looks[mark] = (
            node.locator(".mark").text_content(),
            *node.locator(".body").evaluate(
                "(e) => [getComputedStyle(e).strokeWidth, getComputedStyle(e).strokeDasharray]"
            ),
            [frame.get_attribute("class") for frame in node.locator(".frame").all() if frame.is_visible()],
        )
    words, widths, dashes, frames = zip(*looks.values(), strict=True)
    assert words == ("DONE", "NOW", "NEXT", "LATER")
    assert len(set(widths)) == 4
    assert [dash != "none" for dash in dashes] == [False, False, True, False]
    assert frames == ([], ["frame now"], ["frame next"], [])
    loss = reader.page.locator(".node.loss .body")
    assert loss.evaluate_all("(all) => all.map((e) => getComputedStyle(e).strokeDasharray)") == ["none", "none"]
    assert loss.nth(1).evaluate("(e) => getComputedStyle(e).fill") == "none"  # both lines of it are seen


# Prediction


@pytest.fixture
def student(visit):
    """A reader who predicts the step of σ at out_h1, one number after the other."""
    reader = visit(fragment="#step=12")
    reader.predict()
    return reader


STEP = 12


def settle(reader, step=STEP):
    for place, ask in enumerate(reader.asks(step)):
        reader.answer(place, f"{ask['expected']:.6g}")


def test_what_is_asked_is_in_the_step(student):
    walk = mazur()
    for step in walk:
        known = {step.grad}
        for one in step.contributions:
            known |= {one.local_derivative, one.amount, one.after}
        asks = student.asks(step.index)
        assert asks
        assert {ask["expected"] for ask in asks} <= known
        for ask in asks:
            assert ask["shown"] == walk.words.number(ask["expected"])


def test_predicting_hides_every_number_of_the_step_until_it_is_typed(student):
    box = student.page.get_by_label("Predict first")
    box.uncheck()
    box.check()
    hidden = {ask["shown"] for ask in student.asks(STEP)}
    assert hidden
    assert not [shown for shown in hidden if shown in student.seen().replace("\xa0", " ")]
    assert student.page.locator(".all").is_hidden()
    assert student.page.locator(".amount.now").first.is_hidden()
    assert student.node("net_h1").locator(".grad").text_content() == "grad ?"
    student.node("net_h1").hover()
    assert "yours to predict" in student.text(".story")
    assert not [shown for shown in hidden if shown in student.seen()]
    settle(student)
    assert not [shown for shown in hidden if shown not in student.seen()]
    assert student.page.locator(".amount.now").first.is_visible()
    assert student.node("net_h1").locator(".grad").text_content() == "grad 0.00877135"
    assert student.page.locator(".all").is_hidden()  # it would tell the next
    student.predict(False)
    assert student.page.locator(".all").is_visible()


def test_each_number_is_shown_when_it_was_typed_and_the_others_wait(student):
    def shown():
        return student.page.locator(".words dd").all_text_contents()

    for place, ask in enumerate(student.asks(STEP)):
        assert [text for text in shown() if text == "?"] == ["?"] * (len(student.asks(STEP)) - place)
        student.answer(place, repr(ask["expected"]))
        assert ask["shown"] in shown()[ask["row"]]
    assert "?" not in shown()


def test_a_sum_that_is_asked_for_later_is_not_told_by_the_step_that_completes_it(student):
    sum_of_paths = student.asks(STEP)[0]
    assert (sum_of_paths["kind"], sum_of_paths["shown"]) == ("sum of paths", "0.0363503")
    student.player().locator(".slider").fill(str(STEP - 1))
    student.click("Show me")
    assert "−0.0190491  (0.0553994 before, ? now)" in student.page.locator(".words dd").all_text_contents()[6]
    assert student.node("out_h1").locator(".grad").text_content() == "grad ?"
    assert "0.0363503" not in student.seen()
    student.click("Next")
    assert "0.0363503" not in student.seen()
    settle(student)
    student.click("Previous")
    assert "0.0363503 now" in student.text(".words")
    assert student.node("out_h1").locator(".grad").text_content() == "grad 0.0363503"


def test_a_mistake_that_is_known_is_named_and_others_are_not(student):
    named = 0
    for place, ask in enumerate(student.asks(STEP)):
        for near, _ in ask["near"][:2]:
            assert student.answer(place, repr(near)).startswith("Wrong. Perhaps ")
            named += 1
        assert student.answer(place, "17.25") == "Wrong."
    assert named > 3
    assert student.answer(1, f"{-student.asks(STEP)[1]['expected']:.4f}") == (
        "Wrong. Perhaps you turned the sign of out_h1·(1 − out_h1)."
    )
    student.player().locator(".slider").fill("6")
    for typed in ("0.4", "0.400", "0.400000000000001"):  # w5 itself, in any number of digits
        assert student.answer(0, typed).startswith("Wrong. Perhaps you took w5 itself")
    assert "you left out the factor w5" in student.answer(4, "1")
    assert student.answer(0, "0.3") == "Wrong."


def test_a_right_answer_is_told_so_and_the_next_step_is_one_key_away(student):
    asks = student.asks(STEP)
    for place, ask in enumerate(asks):
        assert student.answer(place, f"{ask['expected']:.4g}").startswith("Right")
    assert student.score() == (len(asks), len(asks))
    assert student.page.locator(".questions .said").first.is_visible()
    assert student.page.locator(".questions button").first.is_hidden()
    assert student.press("Enter") == STEP + 1
    assert student.page.locator(".questions input").first.input_value() == ""


def test_numbers_may_be_typed_as_people_write_them(student):
    ways = ["{:.3g}".format, "{:.6e}".format, repr, lambda x: f" {x:+.4g} ".replace("-", "−"), "{:.5f}".format,
            lambda x: f"{x * 1e3:.4g}·10^-3", lambda x: f"{x * 1e3:.4g} × 10^−3", lambda x: f"{x * 1e3:.4f}*10^-3",
            lambda x: f"{x:.4f}".replace("0.", "."), lambda x: f"{x:.5E}"]  # fmt: skip
    for step, write in enumerate(ways, 4):
        student.player().locator(".slider").fill(str(step))
        place, ask = max(enumerate(student.asks(step)), key=lambda asked: len(asked[1]["shown"]))
        typed = write(ask["expected"])
        digits = len(re.sub(r"[·×*].*|[eE][-+].*|[^\d]", "", typed).lstrip("0"))
        exact = len(ask["shown"]) <= 4  # as 0.5 is in any number of digits
        expected = "Right" if digits >= 3 or exact else "Right as far as it goes: three significant digits are needed."
        assert student.answer(place, typed).startswith(expected), typed


def test_a_wrong_answer_is_told_so_and_may_be_tried_again(student):
    ask, count = student.asks(STEP)[0], len(student.asks(STEP))
    assert student.answer(0, f"{3 * ask['expected'] + 1:.4g}").startswith("Wrong.")
    assert student.score() == (0, 1)
    assert student.answer(0, "17.25").startswith("Wrong.")
    assert student.score() == (0, 1)  # a question counts once
    settle(student)
    assert student.score() == (count - 1, count)
    assert student.page.locator(".questions button").first.is_hidden()


def test_an_answer_of_too_few_digits_or_that_is_no_number_is_not_counted(student):
    ask = student.asks(STEP)[0]
    assert "three significant digits" in student.answer(0, f"{ask['expected']:.1g}")
    for typed in ("about 3", "1,5", "1/3", "e", ".", "--1", "0x10", "nan", "Infinity"):
        assert student.answer(0, typed).startswith("Type a number")
    assert student.answer(0, "  ").startswith("Type a number")  # nothing was typed: as before
    assert student.text(".score") == ""
    assert student.page.locator(".questions input").first.is_editable()


def test_show_me_shows_all_and_counts_what_was_not_tried(student):
    count = len(student.asks(STEP))
    student.page.get_by_role("button", name="Show me").click()
    assert student.score() == (0, count)
    for ask in student.asks(STEP):
        assert ask["shown"] in student.text(".words")
        assert f"It is {ask['shown']}." in student.text(".questions")
    assert student.press("Enter") == STEP + 1


def test_next_shows_first_and_then_goes_on(student):
    student.player().locator(".picture").focus()
    assert student.press("ArrowRight") == STEP
    assert student.asks(STEP)[0]["shown"] in student.text(".words")
    assert student.press("ArrowRight") == STEP + 1  # the keys have stayed in the picture
    assert student.press("End", "ArrowRight") == 15
    assert "?" not in student.text(".words")
    assert student.button("Next").get_attribute("aria-disabled") == "true"


def test_what_was_typed_at_a_step_is_there_when_one_comes_back(student):
    student.answer(0, "17.25")
    student.page.locator(".questions input").first.fill("18.5")
    student.click("Previous")
    student.click("Show me")
    assert student.score()[0] == 0
    before = student.score()
    assert student.click("Next") == STEP
    assert student.page.locator(".questions input").first.input_value() == "18.5"
    assert student.page.locator(".questions .said").first.inner_text().startswith("Wrong.")
    student.predict(False)
    assert student.page.locator(".questions").is_hidden()
    student.predict()
    assert student.page.locator(".questions input").first.input_value() == "18.5"
    student.page.locator(".questions input").first.focus()
    student.page.evaluate(
        "() => new Promise((resolve) => {"
        "window.addEventListener('hashchange', () => setTimeout(resolve)); location.hash = '#step=12,'})"
    )
    student.page.keyboard.type("7")
    assert student.page.locator(".questions input").first.input_value() in ("18.57", "718.5")  # nobody took the focus
    settle(student)
    assert student.score()[0] == len(student.asks(STEP)) - 1  # the first guess counts
    assert student.score()[1] == before[1] + len(student.asks(STEP)) - 1
    student.click("Previous")
    assert "It is" in student.text(".questions")
    assert not student.page.locator(".questions input").first.is_editable()


def test_each_field_has_a_label_and_says_its_verdict_to_a_screen_reader(student):
    for field in student.page.locator(".questions input").all():
        assert "?" in field.evaluate("(e) => e.labels[0].innerText")
        said = student.page.locator(f"#{field.get_attribute('aria-describedby')}")
        assert said.get_attribute("role") == "status"


# Several players


def test_players_on_a_page_have_their_own_ids_steps_keys_and_links(visit, saved):
    file = saved(mazur(), beside=[Backprop(build("z = w*x\nL = tanh(z)", w=0.5, x=2.0).loss), mazur()])
    reader = visit(file, fragment="#step=3,2")
    assert [reader.at(place) for place in range(3)] == [3, 2, 0]
    ids = reader.page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids)) > 150
    for place in (1, 2):
        reader.player(place).locator(".picture").focus()
        reader.page.keyboard.press("ArrowLeft")
    assert [reader.at(place) for place in range(3)] == [3, 1, 0]
    assert reader.link() == "#step=3,1,0"
    reader.predict(place=2)
    assert reader.player(0).locator(".all").is_visible()
    assert reader.player(2).locator(".all").is_hidden()
    link = reader.player(1).get_by_role("link", name="2")
    assert link.get_attribute("href") == "#step=,2"  # for a new window
    link.click()
    assert [reader.at(place) for place in range(3)] == [3, 2, 0]
    assert reader.open(file, fragment="#step=,2").at(1) == 2
    assert reader.page.title() == "Backward pass of E and L and E"


def test_one_walk_beside_needs_no_list_and_stays_where_it_is(saved):
    first, second = mazur(), mazur()
    assert saved(first, beside=second).read_text(encoding="utf-8").count('<section class="player" id=') == 2
    assert second.position == 0
    with pytest.raises(TypeError, match=r"A page shows walks, such as Backprop\(loss\), not Value"):
        saved(first, beside=[second.loss])
    with pytest.raises(TypeError, match="not str"):
        saved(first, beside="E")


# What a page may do


def test_nothing_leaves_the_page_and_nothing_else_may_run_in_it(browser, mazur_page):
    """From a server as from disk; requests from disk are watched in every test."""
    context = browser.new_context(**DESK)
    asked, heard = [], []

    def serve(route):
        asked.append(route.request.url)
        route.fulfill(body=mazur_page.read_text(encoding="utf-8"), content_type="text/html; charset=utf-8")

    context.route("**/*", serve)
    opened = context.new_page()
    opened.on("console", lambda message: heard.append(message.text))
    opened.goto("http://school.example/mazur.html#step=3")
    opened.get_by_role("button", name="Last", exact=True).click()
    assert (asked, heard) == (["http://school.example/mazur.html"], [])
    assert opened.evaluate("() => location.hash") == "#step=15"
    opened.evaluate("""async () => {
        const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        const add = (tag, settings) => document.body.append(Object.assign(document.createElement(tag), settings));
        add("script", { textContent: "window.ran = true" });
        add("script", { src: "http://school.example/more.js" });
        add("img", { src: "http://school.example/pixel.png" });
        add("style", { textContent: "body { display: none }" });
        add("iframe", { src: "http://school.example/frame.html" });
        const button = document.createElement("button");
        button.setAttribute("onclick", "window.ran = true");
        document.body.append(button);
        button.click();
        await fetch("http://school.example/answers").catch(() => null);
        window.blocked = blocked;
    }""")
    opened.wait_for_function("() => window.blocked && window.blocked.length >= 7")
    assert opened.evaluate("() => window.ran") is None
    assert opened.evaluate("() => document.body.checkVisibility()")
    assert len(asked) == 1
    context.close()


def test_pages_of_200_steps_are_small_and_a_net_of_a_thousand_nodes_opens(visit, saved):
    x, y = Value(0.5, label="x"), Value(0.3, label="y")
    node = x
    for n in range(100):
        node = (node * y).tanh()
        node.label = f"layer_{n}"
    walk = Backprop(node)
    assert len(walk) == 200
    assert saved(walk).stat().st_size < 2_000_000
    model = MLP(2, [16, 16, 1], atomic=True, seed=0)
    loss = mse(model([0.5, -1.0]), 1.0)
    for options in ({}, {"groups": model.groups(loss)}):
        loss.zero_grad()
        walk = Backprop(loss)
        reader = visit(saved(walk, **options), fragment="#step=300")
        assert reader.at() == 300
        assert reader.press("ArrowRight") == 300
        reader.page.locator("button.next").focus()
        assert reader.press("ArrowRight", "ArrowRight") == 302
        assert reader.press("End") == len(walk) > 600
        assert reader.page.locator(".node").count() == (6 if options else len(nodes(loss)))


# Who reads it, and how


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, saved, scheme):
    axe = Axe()
    walk = Backprop(build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0).loss)
    reader = visit(saved(walk), color_scheme=scheme)

    def serious():
        found = axe.run(reader.page, options={"resultTypes": ["violations"]}).response["violations"]
        return [(one["id"], one["help"]) for one in found if one["impact"] in ("serious", "critical")]

    assert serious() == []
    reader.player().locator(".slider").fill("4")
    reader.node("a").click()
    assert serious() == []
    reader.predict()
    reader.answer(0, "17.25")
    assert serious() == []
    reader.predict(False)
    reader.click("Last")
    assert serious() == []


@pytest.mark.parametrize("screen", [PHONE, ZOOMED], ids=["a phone", "200 %"])
def test_all_can_be_reached_on_a_small_screen(visit, saved, screen):
    graph = worked("mazur_2_2_2")
    graph["net_h1"].label = "a_name_without_a_blank_that_is_longer_than_a_line_of_a_telephone" * 2
    reader = visit(saved(Backprop(graph["E"]), beside=[mazur()]), fragment="#step=12", **screen)
    wide = screen["viewport"]["width"]

    def fits():
        return reader.page.evaluate(
            "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )

    assert fits()
    reader.page.locator('.node[aria-label^="a_name"]').first.click()
    reader.predict()
    assert fits()
    controls = reader.page.evaluate("""() => {
        const controls = [...document.querySelector("section.player").querySelectorAll("button, input, select")];
        return controls.map((control) => {
            control.scrollIntoView({ block: "center" });
            const { left, right, width, height, x, y } = control.getBoundingClientRect();
            const hit = document.elementFromPoint(x + width / 2, y + height / 2);
            return { left, right, width, height, reached: control === hit };
        });
    }""")
    assert len(controls) > 13
    for control in controls:
        assert control["reached"]
        assert control["left"] >= 0
        assert control["right"] <= wide
        assert min(control["width"], control["height"]) >= 20
    size = reader.page.locator(".node.now text").first.evaluate("(e) => e.getBoundingClientRect().height")
    assert size >= 11  # pixels of the picture's letters
    assert reader.player(1).locator("table").bounding_box()["width"] < 900  # a few swipes
    assert reader.player(1).locator("td:last-child").first.bounding_box()["width"] > 250  # of whole words
    assert reader.page.evaluate(IN_SIGHT)


def test_paper_gets_the_picture_and_the_table_and_no_controls(visit):
    reader = visit(fragment="#step=12", color_scheme="dark")
    reader.page.locator(".all summary").click()
    assert reader.page.get_by_role("table").is_hidden()
    reader.page.emulate_media(media="print")
    reader.page.evaluate("() => { window.dispatchEvent(new Event('beforeprint')); }")
    for selector, shown in ((".controls", False), (".hint", False), (".questions", False), ("table", True),
                            (".picture svg", True), (".words", True), (".amount.now", True)):  # fmt: skip
        assert reader.page.locator(selector).first.is_visible() is shown, selector
    colours = reader.page.evaluate("""() => {
        const parts = ["color", "backgroundColor", "fill", "stroke"];
        const styled = [...document.querySelectorAll("body, .node .body, text, th, td, dt, dd")].map(getComputedStyle);
        return styled.flatMap((style) => parts.map((part) => style[part]));
    }""")
    parts = [re.findall(r"\d+", colour)[:3] for colour in set(colours) if colour.startswith("rgb")]
    assert [part for part in parts if len(set(part)) > 1] == []  # greys alone
    picture = reader.page.locator(".picture svg").bounding_box()
    assert picture["width"] <= 1280
    assert picture["height"] <= 800
    assert len(reader.page.pdf(format="A4")) > 10_000


# Click, and tell whether the picture has moved at once, and whether it has when nothing moves any more.
MOVED = """(names) => new Promise((resolve) => {
    const picture = document.querySelector(".picture");
    const before = picture.scrollTop;
    for (const name of names) document.querySelector(`button.${name}`).click();
    const at_once = picture.scrollTop !== before;
    let [last, still] = [picture.scrollTop, 0];
    const wait = () => {
        still = picture.scrollTop === last ? still + 1 : 0;
        last = picture.scrollTop;
        if (still < 12) requestAnimationFrame(wait);
        else resolve([at_once, last !== before]);
    };
    requestAnimationFrame(wait);
})"""
LOW = {"viewport": {"width": 900, "height": 420}}


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_the_picture_glides_from_step_to_step_but_for_who_asks_to_be_spared(visit, motion):
    reader = visit(fragment="#step=10", reduced_motion=motion, **LOW)
    assert reader.page.evaluate(IN_SIGHT)  # a link leads there at once
    assert reader.page.evaluate(MOVED, ["next", "next"]) == [motion == "reduce", True]
    assert reader.page.evaluate(IN_SIGHT)
    assert reader.page.evaluate(MOVED, ["first"]) == [True, True]
    assert reader.page.evaluate(IN_SIGHT)


def test_a_jump_ends_the_gliding(visit):
    reader = visit(fragment="#step=15", reduced_motion="no-preference", **LOW)
    assert reader.page.evaluate(MOVED, ["previous", "previous", "previous", "last"]) == [False, False]
    assert reader.page.evaluate(MOVED, ["previous", "previous", "previous"]) == [False, True]


def test_without_javascript_the_picture_and_the_table_are_there(visit):
    reader = visit(java_script_enabled=False)
    assert reader.page.get_by_role("table").is_visible()
    assert reader.page.get_by_role("row").count() == 16
    assert reader.node("out_h1").is_visible()
    assert reader.page.locator(".picture svg").bounding_box()["width"] > 300
    assert reader.page.locator(".story").is_hidden()
    assert reader.page.locator(".amount").count() == 0


# Hostile labels


class Outline(HTMLParser):
    """The tags of a page, in order, and the text of its title."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.title = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(name for name, _ in attributes)))
        if tag not in ("meta", "input", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "title" and not self.title:
            self.title = data


def hostile(label):
    x = Value(2.0, label=label)
    inner = (x * 3.0).tanh()
    inner.label = f"h{label}"
    loss = inner * x
    loss.label = f"L{label}"
    return loss


@pytest.mark.parametrize("label", [*LABELS, "x" * 10_000, "$loss ${style} $$"], ids=lambda label: ascii(label[:20]))
def test_a_page_has_the_same_shape_whatever_a_label_holds(label):
    loss = hostile(label)
    options = {"groups": lambda node: label if node is not loss else None, "collapse": 1} if "." not in label else {}
    for chosen in ({}, options):
        written = page([Backprop(loss)], **chosen)
        written.encode("utf-8")
        plain = Outline(page([Backprop(hostile("plain"))], **({**chosen, "groups": lambda _: "g"} if chosen else {})))
        outline = Outline(written)
        assert outline.open == []
        assert outline.tags == plain.tags
        assert outline.title == f"Backward pass of {shorten(f'L{label}', 200)}"
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2028\ufffe]", written)
        loss.zero_grad()


def test_labels_are_shown_and_nothing_in_them_is_done(visit, saved):
    xs = [Value(float(place + 1), label=label) for place, label in enumerate(LABELS)]
    products = [x * 0.5 for x in xs]
    loss = total(products)
    loss.label = "</title><script>alert(1)</script>"
    paths = {
        node: label
        for pair in zip(xs, products, strict=True)
        for node, label in zip(pair, (pair[0].label,) * 2, strict=True)
    }
    for options in ({}, {"groups": paths, "collapse": 1}):
        loss.zero_grad()
        reader = visit(saved(Backprop(loss), **options))
        reader.click("Last")
        shown = [re.sub(r"\s", " ", text) for text in reader.page.locator(".node text").all_text_contents()]
        for label in LABELS:
            readable = shorten(label, 200) if not options else layout.visible_text(label)
            assert re.sub(r"\s", " ", readable) in shown
        for place in range(0, len(LABELS), 5):
            reader.page.locator(".node.leaf, .node.fold").nth(place).dispatch_event("pointerenter")
            assert reader.page.locator(".story h2").is_visible()
        assert reader.page.locator("script").count() == 2
        assert reader.page.locator("img, iframe, object, embed, b, [onclick], [onload]").count() == 0
        assert set(
            reader.page.locator("a").evaluate_all("(all) => all.map((a) => a.getAttribute('href').slice(0, 6))")
        ) == {"#step="}
        assert "alert(1)" in reader.text("h1")


# The file and the walk


@settings(deadline=None, max_examples=40)
@given(graphs(most=6), st.data())
def test_writing_a_page_leaves_the_walk_where_it_was_bit_for_bit(graph, data):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    start = grads(loss)
    walk.goto(data.draw(st.integers(0, len(walk))))
    here, before = walk.position, grads(loss)
    page([walk])
    assert (walk.position, grads(loss)) == (here, before)
    assert grads(walk.goto(0).loss) == start
    assert len(list(walk)) == len(walk)


def test_a_walk_that_has_no_end_is_left_where_it_was_too():
    loss = Value(0.0, label="x").sqrt() * 0.0
    walk = Backprop(loss)
    walk.step()
    before = grads(loss)
    page([walk])
    assert (walk.position, grads(loss)) == (1, before)


def test_an_edited_graph_is_refused_in_words_and_the_walk_kept(saved, tmp_path):
    graph = build("z = w*x\nL = tanh(z)", w=0.5, x=2.0)
    walk = Backprop(graph.loss)
    walk.step()
    graph["w"].data = 0.6
    before = grads(graph.loss)
    with pytest.raises(
        ValueError, match=r"The graph was edited after the forward pass: z was computed as 1 .*refresh\(\)"
    ):
        saved(walk)
    assert list(tmp_path.iterdir()) == []
    assert (walk.position, grads(graph.loss)) == (1, before)
    assert "z was computed as 1 from its operands" in inline(walk)
    graph["w"].data = 0.5
    assert walk.step().node is graph["z"]


def test_a_graph_that_something_else_has_swept_is_shown_from_its_start(visit, saved):
    graph = build("z = w*x\nL = tanh(z)", w=0.5, x=2.0)
    walk = Backprop(graph.loss)
    walk.step()
    graph.loss.backward()
    before = grads(graph.loss)
    assert_frames_are_those_of_the_walk(
        visit(saved(walk)).page.evaluate(FRAMES), build("z = w*x\nL = tanh(z)", w=0.5, x=2.0).loss
    )
    assert grads(graph.loss) == before


@pytest.mark.parametrize("name", ["page.svg", "page", "page.htmlx", ".html", "page.html.txt"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"give the file a name that ends in \.html"):
        mazur().save_html(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_be_written_is_an_error_and_the_walk_kept(tmp_path):
    walk = mazur().goto(5)
    for path in (tmp_path / "none" / "page.html", tmp_path / "folder.html"):
        (tmp_path / "folder.html").mkdir(exist_ok=True)
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            walk.save_html(path)
    assert walk.position == 5
    assert walk.save_html(str(tmp_path / "PAGE.HTM")).read_bytes().startswith(b"<!doctype html>")


def test_options_without_meaning_are_refused(tmp_path):
    for options, error, said in (
        ({"theme": "drak"}, ValueError, r"There is no theme 'drak'\. Did you mean `dark`\?"),
        ({"rankdir": "UP"}, ValueError, "There is no rankdir 'UP'"),
        ({"notation": "html"}, ValueError, "There is no notation 'html'"),
        ({"thme": "dark"}, TypeError, r"A picture has no option 'thme'\. Did you mean `theme`\?"),
        ({"collapse": 1}, ValueError, "fold groups, and there are none"),
    ):
        with pytest.raises(error, match=said):
            mazur().save_html(tmp_path / "page.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_page_or_says_why_not(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "page.html"
    assert main(["step", "demos/mazur.txt", "--html", str(file), "--digits", "9", "--theme", "dark"]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert '<html lang="en" data-theme="dark">' in file.read_text(encoding="utf-8")
    assert "0.0821670406" in file.read_text(encoding="utf-8")
    for name, said in (
        ("page.svg", "ends in .html"),
        ("none/page.html", "can't be written: No such file"),
        (".", "ends in"),
    ):
        assert main(["step", "demos/mazur.txt", "--html", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("chalkgrad: ")
        assert said in captured.err


def test_two_processes_write_the_same_page(tmp_path):
    script = (
        "import sys; from engine import Backprop, build; from nn import MLP, mse\n"
        "model = MLP(2, [4, 4, 1], atomic=True, norm=None, seed=0); L = mse(model([0.5, -1.0]), 1.0)\n"
        "mazur = Backprop(build(open('demos/mazur.txt', encoding='utf-8').read()).loss)\n"
        "mazur.save_html(sys.argv[1], beside=mazur, theme='dark', notation='unicode')\n"
        "Backprop(L).save_html(sys.argv[1] + '.html', groups=model.groups(L), collapse=2)"
    )
    files = []
    for seed in ("0", "1"):
        files.append(tmp_path / f"{seed}.html")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, str(files[-1])], cwd=ROOT, env=environment, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert Path(f"{files[0]}.html").read_bytes() == Path(f"{files[1]}.html").read_bytes()


# A notebook


def notebook(tmp_path, *outputs):
    """A page with the outputs of some cells."""
    file = tmp_path / "notebook.html"
    cells = "".join(f'<div class="output">{output}</div>' for output in outputs)
    file.write_text(f'<!doctype html><meta charset="utf-8"><title>Cells</title>{cells}', encoding="utf-8")
    return file


def test_a_notebook_runs_the_player_in_a_frame_that_may_do_nothing_else(visit, tmp_path):
    walk = mazur()
    first = walk._repr_html_()
    reader = visit(notebook(tmp_path, first, walk.goto(3)._repr_html_()))
    reader.heard[:] = [said for said in reader.heard if not said.startswith("data:image/svg+xml")]
    frames = reader.page.locator("iframe")
    assert [frame.get_attribute("sandbox") for frame in frames.all()] == ["allow-scripts"] * 2
    assert not [name for name in ("src", "onload") if frames.first.get_attribute(name)]
    assert [image.is_visible() for image in reader.page.locator("img").all()] == [False, False]
    ids = reader.page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids)) == 2
    inner = reader.page.frame_locator("iframe").nth(1)
    assert inner.locator(".count").inner_text() == "Step 3 of 15"  # where the walk was
    inner.get_by_role("button", name="Last", exact=True).click()
    inner.get_by_role("button", name="Previous", exact=True).click()
    assert inner.locator(".count").inner_text() == "Step 14 of 15"
    assert reader.page.frame_locator("iframe").first.locator(".count").inner_text() == "Step 0 of 15"
    assert reader.page.frames[1].evaluate("() => window.origin") == "null"
    assert reader.page.evaluate("() => location.hash") == ""


@pytest.mark.parametrize("light", ["true", "false"])
def test_in_jupyterlab_the_player_is_dark_where_that_is(visit, tmp_path, light):
    output = f'<div data-jp-theme-light="{light}">{mazur()._repr_html_()}</div>'
    reader = visit(notebook(tmp_path, output), color_scheme="null")  # the browser's own, not one that is acted
    reader.heard[:] = [said for said in reader.heard if not said.startswith("data:image/svg+xml")]
    background = reader.page.frames[1].evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if light == "true" else "rgb(21, 24, 28)")


def test_an_untrusted_notebook_shows_the_picture(visit, tmp_path):
    output = mazur().run_to("out_h1")._repr_html_()
    cleaned = re.sub(r"<style>.*?</style>|<iframe.*?</iframe>", "", output, flags=re.S)
    reader = visit(notebook(tmp_path, cleaned))
    reader.heard[:] = [said for said in reader.heard if not said.startswith("data:image/svg+xml")]
    image = reader.page.get_by_role("img")
    assert image.is_visible()
    assert image.get_attribute("alt").startswith("<Backprop of E, at step 11 of 15")
    assert image.evaluate("(e) => e.naturalWidth") > 300


def test_a_long_walk_shows_its_picture_and_names_the_page():
    x = Value(1.0, label="x")
    for _ in range(WIDEST_INLINE + 1):
        x = x * 0.5
    shown = Backprop(x)._repr_html_()
    assert "iframe" not in shown
    assert "301 steps; as a page: walk.save_html(&quot;walk.html&quot;)" in shown


def test_without_a_layout_program_a_notebook_shows_text(monkeypatch):
    monkeypatch.setattr(layout, "_programs", list)
    assert mazur()._repr_html_() is None


# The browser itself


@pytest.mark.parametrize(("where", "outcome"), [({}, "1 skipped"), ({"CI": "1"}, "1 error")], ids=["anywhere", "CI"])
def test_a_missing_browser_is_told_and_is_an_error_where_ci_is_set(tmp_path, where, outcome):
    (tmp_path / "test_it.py").write_text("def test_a_page(browser):\n    assert browser.new_page()\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "CHALKGRAD_BROWSER")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", "-p", "no:cacheprovider", tmp_path],
        cwd=ROOT, env={**environment, **where, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"{outcome} in" in ran.stdout.splitlines()[-1]
    assert "no browser on the PATH (chromium-headless-shell, chromium," in ran.stdout
