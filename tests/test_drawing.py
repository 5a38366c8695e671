"""The picture: whole, well-formed and the same each time, whatever a label holds."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Backprop, LayoutError, Value, build, draw, drawing, layout
from engine.folding import Fold
from engine.graph import nodes
from engine.picture import Frame
from engine.text import factor, number
from engine.themes import THEMES
from nn import MLP, mse
from tests.strategies import case, graphs, worked

LABELS = [*case("hostile_inputs.json")["labels"], "x" * 100_000, '"', "→ שלום", "<<b>x</b>>", "%s %n \\l \\E", " "]
SVG = "{http://www.w3.org/2000/svg}"
ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_dot(monkeypatch, tmp_path):
    """A machine without Graphviz, in an environment that is not activated."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(layout.PROGRAM_VARIABLE, raising=False)


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def shapes(svg):
    """For each node its title and what it is drawn with."""
    groups = [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if "node" in group.get("class").split()]
    return {
        group.find(f"{SVG}title").text: [child.tag.removeprefix(SVG) for child in group if "text" not in child.tag]
        for group in groups
    }


def test_nodes_show_label_data_and_gradient(no_dot):
    loss = build("z = w*x + b\nL = z**2", w=2.0, x=3.0, b=-1.0)["L"]
    loss.backward()
    shown = texts(draw(loss).svg())
    for text in ("z = w·x + b", "data 5", "grad 10", "L = z²", "w", "grad 30", "2"):
        assert text in shown


def test_kinds_of_nodes_are_told_apart_by_shape_and_by_colour(no_dot):
    loss = build("z = 2*x + b\nL = sigmoid(z)", x=3.0, b=-1.0)["L"]
    svg = draw(loss).svg()
    kinds = {title.split()[0]: tuple(tags[1:]) for title, tags in shapes(svg).items()}
    assert kinds == {
        "leaf": ("ellipse",),
        "constant": ("polygon",),  # filled white, without an outline
        "operation": ("path",),
        "loss": ("polygon", "polygon"),
    }
    assert 'stroke="none"' in svg[svg.index("constant 2") :][:200]
    for kind in ("leaf", "operation", "loss"):
        assert THEMES["light"].fill[kind].lower() in svg
        assert THEMES["light"].outline[kind].lower() in svg


def test_the_picture_has_a_title_and_a_description(no_dot):
    root = ElementTree.fromstring(draw(worked("mazur_2_2_2")["E"]).svg())
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "Computation graph of E"
    assert "14 leaves" in root[1].text
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title description")
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "∂out_h1/∂net_h1 = 0.241301" in titles
    assert not [title for title in titles if title.startswith("n") and title[1:2].isdigit()]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: ascii(label[:20]))
def test_any_label_gives_a_well_formed_picture(label, no_dot):
    x = Value(2.0, label=label)
    loss = (x * 3.0).tanh()
    loss.label = f"L{label}"
    svg = Backprop(loss).draw().svg()
    root = ElementTree.fromstring(svg.encode("utf-8"))
    assert not [element for element in root.iter() if element.tag.removeprefix(SVG) in ("script", "a", "image")]
    assert "\x1b" not in svg
    assert "\u202e" not in svg
    assert max(map(len, texts(svg))) < 250
    assert "data 2" in texts(svg)


def test_a_label_is_shown_as_it_was_written(no_dot):
    for label in ("a<b>&\"'", "\\N \\G \\L", "<b>x</b>", "&#60;", "{a|b}", "שלום", "a  b"):
        loss = Value(2.0, label=label) * 1.0
        assert label.replace("  ", " ") in [
            text.replace("\xa0", " ").replace("  ", " ") for text in texts(draw(loss).svg())
        ]


def test_a_walk_marks_what_is_done_now_and_next(no_dot):
    walk = Backprop(worked("mazur_2_2_2")["E"])
    walk.run_to("out_h1")
    svg = walk.draw().svg()
    assert texts(svg).count("DONE") == 10
    assert texts(svg)[texts(svg).index("NOW") + 1].startswith("net_o2")
    assert texts(svg)[texts(svg).index("NEXT") + 1].startswith("out_h1")
    assert "stroke-dasharray" in svg
    assert "has done 11 of 15 steps" in svg
    walk.run()
    assert "NEXT" not in texts(walk.draw().svg())


def test_a_drawing_keeps_the_numbers_of_its_moment(no_dot):
    x = Value(2.0, label="x")
    loss = x * 3.0
    picture = draw(loss)
    loss.backward()
    assert "grad 0" in texts(picture.svg())
    assert "grad 3" in texts(draw(loss).svg())


def test_the_file_is_the_same_from_run_to_run(tmp_path):
    script = (
        "from engine import Backprop, build, draw; from nn import MLP, mse; import sys\n"
        "L = build(open('demos/mazur.txt', encoding='utf-8').read()).loss\n"
        "walk = Backprop(L).run_to('out_h1'); walk.step()\n"
        "for theme in ('light', 'dark', 'print'): walk.draw(theme=theme).save(f'{sys.argv[1]}/{theme}.svg')\n"
        "model = MLP(2, [4, 3, 1], atomic=True, seed=0); L = mse(model([0.5, -1.0]), 1.0)\n"
        "draw(L, groups=model.groups(L), collapse=1, expand='layer2', rankdir='TB').save(f'{sys.argv[1]}/net.svg')"
    )
    folders = [tmp_path / seed for seed in ("0", "1")]
    for folder in folders:
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": folder.name, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, env=environment, check=True)
    for name in ("light.svg", "dark.svg", "print.svg", "net.svg"):
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second
        assert first.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')


def test_a_graph_of_5_000_nodes_is_drawn(no_dot):
    x = Value(0.5, label="x")
    nodes, layer = 1, [x]
    while nodes < 5_000:
        layer = [(left * 0.5 + right).tanh() for left, right in zip(layer, layer[1:] + layer[:1], strict=True)]
        layer = [*layer, layer[0] + 1.0] if len(layer) < 12 else layer
        nodes += 4 * len(layer)
    loss = sum(layer, start=Value(0.0))
    svg = draw(loss).svg()
    assert len(shapes(svg)) > 3_000
    assert svg.count('class="node ') > 5_000


def test_two_edges_between_the_same_nodes_have_their_own_descriptions(no_dot):
    x = Value(3.0, label="x")
    svg = draw(x**x).svg()
    assert "∂v1/∂x = 27" in svg
    assert "∂v1/∂x = 29.6625" in svg


def test_save_writes_svg_or_dot_and_refuses_other_endings(tmp_path, no_dot):
    picture = draw(Value(2.0, label="x") * 3.0)
    assert picture.save(tmp_path / "a.svg").read_text(encoding="utf-8") == picture.svg()
    assert picture.save(tmp_path / "a.dot").read_text(encoding="utf-8") == picture.source
    with pytest.raises(ValueError, match=r"'a\.png' is neither"):
        picture.save(tmp_path / "a.png")
    with pytest.raises(OSError, match="No such file"):
        picture.save(tmp_path / "none" / "a.svg")


def test_a_notebook_shows_the_picture(no_dot):
    shown = draw(Value(2.0, label="x") * 3.0)._repr_mimebundle_()
    assert shown["image/svg+xml"].startswith("<?xml")
    assert shown["text/plain"] == "<Drawing of v1: 3 nodes, 1 gradient edges>"


def test_a_notebook_shows_a_wide_picture_narrower_but_never_unreadable(no_dot):
    def sides(svg):
        root = ElementTree.fromstring(svg)
        return [float(root.get(side).removesuffix("pt")) for side in ("width", "height")], root.get("viewBox")

    scales = []
    for terms in (1, 5, 30):
        picture = draw(build("L = " + "sin(" * terms + "x" + ")" * terms, x=1.0).loss)
        (whole, space), (shown, same_space) = sides(picture.svg()), sides(picture._repr_mimebundle_()["image/svg+xml"])
        assert space == same_space
        assert shown[0] / whole[0] == pytest.approx(shown[1] / whole[1], rel=1e-3)
        scales.append((whole[0], shown[0] / whole[0]))
    (_, small), (medium_width, medium), (_, large) = scales
    assert (small, large) == (1.0, pytest.approx(0.75, rel=1e-4))
    assert medium_width * medium == pytest.approx(690)


def test_without_a_layout_program_a_notebook_shows_text_and_one_sentence(no_dot, monkeypatch):
    monkeypatch.setattr(layout.metadata, "files", lambda name: [])
    monkeypatch.setattr(layout.sys, "executable", "/nowhere/python")
    picture = draw(build("z = w*2\nL = z + 1", w=3.0)["L"])
    shown = picture._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert "z = 2·w" in shown["text/plain"] or "z = w·2" in shown["text/plain"]
    assert "`pip install graphviz-pure` brings one" in shown["text/plain"]
    with pytest.raises(LayoutError, match="no layout program"):
        picture.svg()


def test_a_layout_program_that_fails_is_quoted(no_dot, monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such option' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(layout, "_programs", lambda: [str(tmp_path / "gone"), str(broken)])
    with pytest.raises(LayoutError, match=r"gone did not start.*broken ended with status 3: no such option"):
        draw(Value(2.0) * 3.0).svg()


def test_the_variable_and_the_systems_dot_come_after_the_installed_program(monkeypatch, tmp_path):
    system = tmp_path / "dot"
    system.write_text("#!/bin/sh\n")
    system.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(layout.PROGRAM_VARIABLE, "/opt/mydot")
    programs = list(dict.fromkeys(layout._programs()))
    assert "graphviz-pure" in programs[0]
    assert programs[-2:] == ["/opt/mydot", str(system)]


def test_what_is_no_graph_is_refused():
    with pytest.raises(TypeError, match="a Value, not float"):
        draw(3.0)


# Themes and directions


def contrast(one, other):
    """The contrast of two colours, as the Web Content Accessibility Guidelines define it: from 1 to 21."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_measured_as_the_guidelines_do():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("name", THEMES)
def test_every_theme_can_be_read(name):
    theme = THEMES[name]
    for ground in (theme.background, *theme.fill.values()):
        assert contrast(theme.text, ground) >= 4.5
        for mark in theme.mark.values():  # a page writes words in them
            assert contrast(mark, ground) >= 4.5
    assert contrast(theme.outline["operation"], theme.background) >= 4.5  # and in this
    for line in (*theme.outline.values(), *theme.mark.values(), theme.edge):
        assert contrast(line, theme.background) >= 3.0
    for kind, outline in theme.outline.items():
        assert contrast(outline, theme.fill[kind]) >= 3.0
    assert set(theme.fill) == set(theme.outline) == set(drawing.SHAPE)


@pytest.mark.parametrize("name", THEMES)
def test_a_theme_gives_the_picture_its_colours(name, no_dot):
    walk = Backprop(worked("mazur_2_2_2")["E"]).goto(6)
    svg = walk.draw(theme=name).svg()
    used = {colour.lower() for colour in re.findall("#[0-9A-Fa-f]{6}", svg)}
    theme = THEMES[name]
    known = {theme.background, theme.text, theme.edge, *theme.fill.values(), *theme.outline.values()}
    assert used <= {colour.lower() for colour in (*known, *theme.mark.values())}
    assert {theme.text.lower(), theme.fill["leaf"].lower(), theme.mark["now"].lower()} <= used | {"#000000", "#ffffff"}
    if name == "print":
        assert [colour for colour in used if len({colour[1:3], colour[3:5], colour[5:7]}) > 1] == []


@pytest.mark.parametrize(
    ("rankdir", "ahead"),
    [("LR", lambda frame: frame.left), ("RL", lambda frame: -frame.left),
     ("TB", lambda frame: frame.top), ("BT", lambda frame: -frame.top)],
)  # fmt: skip
def test_data_flows_in_the_direction_that_is_asked_for(rankdir, ahead, no_dot):
    graph = worked("mazur_2_2_2")
    picture = draw(graph["E"], rankdir=rankdir)
    frames = picture.picture().frames
    order = [ahead(frames[picture.identifiers[graph[name]]]) for name in ("w1", "net_h1", "out_h1", "net_o1", "E")]
    assert order == sorted(order)
    start, end = {"LR": ("left", "right"), "RL": ("right", "left"), "TB": ("top", "bottom"), "BT": ("bottom", "top")}[
        rankdir
    ]
    assert f"From 14 leaves on the {start}, 15 operations lead to E = 0.298371 on the {end}." in picture.svg()


def test_marks_differ_by_word_line_and_shape_without_any_colour(no_dot):
    walk = Backprop(worked("mazur_2_2_2")["E"]).goto(11)
    root = ElementTree.fromstring(walk.draw(theme="print").svg())
    looks = {}
    for mark in ("done", "now", "next", "later"):
        group = next(g for g in root.iter(f"{SVG}g") if g.get("class") == f"node operation {mark}")
        body = group.find(f"{SVG}path")
        frames = [
            frame.get("points").count(",") for frame in group.iter(f"{SVG}polygon") if "frame" in frame.get("class")
        ]
        word = group.find(f"{SVG}text").text
        looks[mark] = (word, body.get("stroke-width", "1"), body.get("stroke-dasharray") is not None, frames)
    words, widths, dashed, frames = zip(*looks.values(), strict=True)
    assert words == ("DONE", "NOW", "NEXT", "LATER")
    assert len(set(widths)) == 4
    assert dashed == (False, False, True, False)
    assert frames == ([], [5], [4], [])  # an arrowhead, and a rectangle


# What an edge carries


def amounts(svg):
    """The lines on each edge along which a gradient passes, and where they stand."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") == "amount":
            left, top, width, height = (
                float(group.find(f"{SVG}rect").get(part)) for part in ("x", "y", "width", "height")
            )
            lines = [text.text for text in group.iter(f"{SVG}text")]
            found.append((lines, Frame(left, top, left + width, top + height)))
    return found


def amounts_of(step):
    return [
        [number(one.local_derivative), f"× {factor(step.grad)}", f"= {number(one.amount)}"]
        for one in step.contributions
    ]


@pytest.mark.parametrize("rankdir", ["LR", "RL", "TB", "BT"])
def test_amounts_hide_no_node_and_no_other_amount(rankdir, no_dot):
    walk = Backprop(worked("mazur_2_2_2")["E"])
    for step in walk:
        picture = walk.draw(rankdir=rankdir)
        placed = amounts(picture.svg())
        assert [lines for lines, _ in placed] == amounts_of(step)
        read = [frame.grown(-3.5) for _, frame in placed]  # without their margins
        boxes = picture.picture().frames.values()
        assert not [pair for pair in itertools.combinations(read, 2) if pair[0].overlap(pair[1])]
        assert not [(frame, box) for _, frame in placed for box in boxes if frame.overlap(box)]


@settings(deadline=None, max_examples=25)
@given(graphs(most=8), st.data())
def test_edges_carry_the_amounts_of_the_step(graph, data):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    assert amounts(walk.draw().svg()) == []
    if not len(walk):
        return
    walk.goto(data.draw(st.integers(0, len(walk) - 1)))
    step = walk.step()
    assert [lines for lines, _ in amounts(walk.draw().svg())] == amounts_of(step)


def test_a_node_used_twice_gets_two_amounts_and_a_constant_none(no_dot):
    x = Value(-3.0, label="x")
    walk = Backprop(x * x * 2.0)
    walk.step()
    assert [lines for lines, _ in amounts(walk.draw().svg())] == [["2", "× 1", "= 2"]]
    walk.step()
    for rankdir in ("LR", "TB"):
        (one, first), (other, second) = amounts(walk.draw(rankdir=rankdir).svg())
        assert one == other == ["−3", "× 2", "= −6"]
        assert not first.overlap(second)
    walk.goto(1).loss.grad = 1.0
    negative = Backprop(build("L = -(w*x)", w=2.0, x=3.0).loss)
    negative.step()
    negative.step()
    assert [lines for lines, _ in amounts(negative.draw().svg())] == [["3", "× (−1)", "= −3"], ["2", "× (−1)", "= −2"]]


def test_a_picture_has_the_digits_of_its_walk(no_dot):
    walk = Backprop(worked("mazur_2_2_2")["E"], digits=9)
    walk.run_to("net_o1").step()
    svg = walk.draw().svg()
    assert "grad 0.0821670406" in texts(svg)
    assert ["0.593269992", "× 0.138498562", "= 0.0821670406"] in [lines for lines, _ in amounts(svg)]


# Folding


@pytest.fixture
def neuron():
    """A net of two layers, and the parts of it."""
    graph = build(
        "z1 = w1*x + b1\nh1 = tanh(z1)\nz2 = w2*x + b2\nh2 = tanh(z2)\ny = v1*h1 + v2*h2\nL = (y - t)**2",
        w1=0.5, b1=0.1, w2=-0.3, b2=0.2, v1=1.5, v2=-0.7, x=2.0, t=1.0,
    )  # fmt: skip
    graph.loss.backward()
    groups = {name: f"hidden.unit{name[1]}" for name in ("w1", "b1", "z1", "h1", "w2", "b2", "z2", "h2")}
    return graph, groups | dict.fromkeys(["v1", "v2", "y"], "output")


def folds(picture):
    return {box.path: box for box in picture.boxes if isinstance(box, Fold)}


def test_groups_are_a_mapping_of_names_or_of_nodes_or_a_function(neuron):
    graph, groups = neuron
    by_name = draw(graph.loss, groups=groups, collapse=1)
    assert list(folds(by_name)) == ["hidden", "output"]
    of_nodes = {graph[name]: path for name, path in groups.items()}
    assert draw(graph.loss, groups=of_nodes, collapse=1).source == by_name.source
    assert draw(graph.loss, groups=of_nodes.get, collapse=1).source == by_name.source
    assert draw(graph.loss, groups=groups).source == draw(graph.loss).source  # small: nothing folds by itself
    larger = {**of_nodes, Value(1.0): "elsewhere"}
    assert draw(graph.loss, groups=larger, collapse=1).source == by_name.source


@pytest.mark.parametrize("notation", ["plain", "unicode", "latex"])
def test_names_of_groups_are_those_of_the_graph_in_every_notation(neuron, notation):
    graph, groups = neuron
    assert list(folds(draw(graph.loss, groups=groups, collapse=2, notation=notation))) == [
        "hidden.unit1", "hidden.unit2", "output",
    ]  # fmt: skip


def test_a_fold_tells_its_size_the_norm_of_its_gradients_and_what_is_in_it(neuron, no_dot):
    graph, groups = neuron
    picture = draw(graph.loss, groups=groups, collapse=1)
    hidden = folds(picture)["hidden"]
    assert set(hidden.leaves) == {graph[name] for name in ("w1", "b1", "w2", "b2")}
    norm = sum(leaf.grad**2 for leaf in hidden.leaves) ** 0.5
    assert hidden.gradient_norm == pytest.approx(norm, rel=1e-15)
    shown = texts(picture.svg())
    assert shown[(at := shown.index("hidden")) : at + 3] == ["hidden", "8 nodes, 4 leaves", f"‖grad‖ {number(norm)}"]
    titles = [title.text for title in ElementTree.fromstring(picture.svg()).iter(f"{SVG}title")]
    assert any(title.startswith("fold hidden: 8 nodes, 4 leaves; ‖grad‖") and "w1, b1" in title for title in titles)
    inner = draw(graph.loss, groups=dict.fromkeys(["z1", "h1"], "unit"), collapse=1)  # no leaf: the norm of all
    assert folds(inner)["unit"].gradient_norm == pytest.approx((graph["z1"].grad ** 2 + graph["h1"].grad ** 2) ** 0.5)
    assert "2 nodes" in texts(inner.svg())


def test_folds_are_opened_by_name_by_one_part_more(neuron):
    graph, groups = neuron

    def opened(expand, collapse=1):
        return list(folds(draw(graph.loss, groups=groups, collapse=collapse, expand=expand)))

    assert opened("hidden") == ["hidden.unit1", "hidden.unit2", "output"]
    assert opened("hidden.unit2") == ["hidden.unit1", "output"]
    assert opened(["hidden", "output"]) == ["hidden.unit1", "hidden.unit2"]
    assert opened(["output", "hidden.unit1", "hidden.unit2"]) == []
    assert opened("hidden.unit1", collapse=2) == ["hidden.unit2", "output"]
    assert opened("hidden", collapse=2) == ["hidden.unit1", "hidden.unit2", "output"]
    assert opened((), collapse=9) == ["hidden.unit1", "hidden.unit2", "output"]
    assert opened("output", collapse=None) == ["hidden"]


def test_arrows_between_the_same_folds_are_one(neuron, no_dot):
    graph, groups = neuron
    picture = draw(graph.loss, groups=groups, collapse=1)
    hidden, output = folds(picture).values()
    between = [edge for edge in picture.edges if (edge.tail, edge.head) == (hidden, output)]
    assert len(between) == 1
    assert [(parent.label, node.label) for parent, node, _ in between[0].operands] == [("h1", "y"), ("h2", "y")]
    titles = [title.text for title in ElementTree.fromstring(picture.svg()).iter(f"{SVG}title")]
    assert titles.count("2 edges") == 2  # from x and from the hidden layer
    assert "∂v3/∂y = 1" in titles


def test_a_walk_passes_through_a_fold_and_its_arrows(neuron, no_dot):
    graph, groups = neuron
    graph.loss.zero_grad()
    walk = Backprop(graph.loss)
    seen = {}
    for step in walk:
        svg = walk.draw(groups=groups, collapse=1).svg()
        shown = texts(svg)
        marks = tuple(shown[shown.index(fold) - 1] for fold in ("hidden", "output"))
        seen[walk.words.names[step.node]] = (*marks, [lines for lines, _ in amounts(svg)])
    assert seen == {
        "L": ("LATER", "LATER", [["0.933426", "× 1", "= 0.933426"]]),
        "v3": ("LATER", "NEXT", [["1", "× 0.933426", "= 0.933426"], ["−1", "× 0.933426", "= −0.933426"]]),
        "y": ("NEXT", "NOW", [["2 amounts"]]),
        "h1": ("NOW", "DONE", []),
        "z1": ("NOW", "DONE", [["0.5", "× 0.502932", "= 0.251466"]]),
        "h2": ("NOW", "DONE", []),
        "z2": ("NOW", "DONE", [["−0.3", "× (−0.559073)", "= 0.167722"]]),
    }


def test_a_fold_that_is_left_and_not_done_tells_how_far_it_is(no_dot):
    graph = build("a = 2*x\nb = a*y\nc = 3*b\nd = c*z\nL = d + 1", x=1.0, y=2.0, z=3.0)
    walk, marks = Backprop(graph.loss), []
    for _ in walk:
        shown = texts(walk.draw(groups=dict.fromkeys("adx", "odd"), collapse=1).svg())
        marks.append(shown[shown.index("odd") - 1])
    assert marks == ["NEXT", "NOW", "1 OF 2 DONE", "NEXT", "NOW"]


def test_the_loss_and_a_group_of_one_are_never_folded(neuron):
    graph, groups = neuron
    alone = draw(graph.loss, groups={**groups, "L": "output", "t": "target"}, collapse=1)
    assert graph.loss in alone.boxes
    assert graph["t"] in alone.boxes
    assert "target" not in folds(alone)
    everything = draw(graph.loss, groups=lambda node: "all", collapse=1)
    assert [type(box) for box in everything.boxes] == [Fold, Value]
    assert draw(Value(2.0, label="x"), groups=lambda node: "all", collapse=1).boxes[0].label == "x"


def test_folds_that_feed_each_other_in_a_circle_are_drawn(no_dot):
    graph = build("a = x*2\nb = a*y\nc = b*3\nd = c*z\nL = d + 1", x=1.0, y=2.0, z=3.0)
    picture = draw(graph.loss, groups={"x": "odd", "a": "odd", "c": "odd", "b": "even", "d": "even"}, collapse=1)
    odd, even = folds(picture).values()
    assert {(edge.tail, edge.head) for edge in picture.edges} >= {(odd, even), (even, odd)}
    assert len(shapes(picture.svg())) == len(picture.boxes)
    walk = Backprop(graph.loss)
    for _ in walk:
        assert walk.draw(groups={"x": "odd", "a": "odd", "c": "odd", "b": "even", "d": "even"}, collapse=1).svg()


def chain(length):
    """A chain of `3·length + 2` nodes, and the groups of its links."""
    x = node = Value(0.5, label="x")
    groups = {}
    for link in range(length):
        made = [node * 0.5, (node * 0.5).tanh()]
        node = made[0] + made[1]
        groups |= dict.fromkeys((*made, node), f"part{link // 40}.link{link}")
    return node * x, groups


def test_above_300_nodes_a_drawing_with_groups_folds_itself_and_says_so(no_dot):
    small, large = [(loss, groups) for loss, groups in (chain(49), chain(51))]
    assert len(nodes(small[0])) <= 300 < len(nodes(large[0]))
    assert draw(small[0], groups=small[1]).note == ""
    assert draw(large[0]).note == ""
    picture = draw(large[0], groups=large[1])
    note = f'{len(nodes(large[0]))} nodes, folded to depth 1 of 2: collapse=2 folds less, expand="part0" opens a box'
    assert picture.note.startswith(note)
    assert list(folds(picture)) == ["part0", "part1"]
    assert note in repr(picture)
    root = ElementTree.fromstring(picture.svg())
    assert note in root.find(f"{SVG}desc").text
    assert any(note in text for text in texts(picture.svg()))
    chosen = draw(large[0], groups=large[1], collapse=1)
    assert chosen.note == ""
    assert list(folds(chosen)) == ["part0", "part1"]


def test_what_is_opened_leaves_the_rest_of_a_drawing_that_folded_itself():
    model = MLP(2, [16, 4, 1], atomic=True, seed=0)
    loss = mse(model([0.5, -1.0]), 1.0)
    groups = model.groups(loss)
    by_itself = draw(loss, groups=groups)
    assert "folded to depth 2 of 2" in by_itself.note
    first = re.search('expand="(.*?)" opens', by_itself.note)[1]
    opened = draw(loss, groups=groups, expand=first)
    assert folds(opened).keys() == folds(by_itself).keys() - {first}


def test_a_drawing_that_can_fold_nothing_does_not_say_that_it_has():
    loss, _ = chain(51)
    assert draw(loss, groups=lambda node: None).note == ""
    assert draw(loss, groups={}).note == ""
    assert draw(loss, groups=lambda node: node.label or None).note == ""


@settings(deadline=None, max_examples=60)
@given(graphs(most=12), st.data())
def test_every_node_is_in_one_box_and_every_operand_on_one_arrow_or_inside_a_box(graph, data):
    loss, _ = graph
    every = nodes(loss)
    paths = data.draw(
        st.lists(
            st.sampled_from([None, "a", "a.b", "a.c", "a.b.c", "d", "d.e"]), min_size=len(every), max_size=len(every)
        )
    )
    groups = {node: path for node, path in zip(every, paths, strict=True) if path is not None}
    folding = {path for node, path in groups.items() if node is not loss}
    known = sorted({".".join(path.split(".")[:depth]) for path in folding for depth in (1, 2, 3)})
    expand = data.draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
    picture = draw(loss, groups=groups, collapse=data.draw(st.integers(1, 4)), expand=expand)
    held = [node for box in picture.boxes for node in (box.members if isinstance(box, Fold) else (box,))]
    assert sorted(map(id, held)) == sorted(map(id, every))
    assert loss in picture.boxes
    assert all(picture.box_of(node) in picture.boxes for node in every)
    drawn = [(parent, node) for edge in picture.edges for parent, node, _ in edge.operands]
    inside = [(p, n) for n in every for p in n.parents if picture.box_of(p) is picture.box_of(n)]
    assert len(drawn) + len(inside) == sum(len(node.parents) for node in every)
    assert all(edge.tail is not edge.head for edge in picture.edges)
    for fold in folds(picture).values():
        assert len(fold.members) > 1
        assert all(f"{groups[node]}.".startswith(f"{fold.path}.") for node in fold.members)


def test_a_fold_with_an_edited_node_is_marked(neuron, no_dot):
    graph, groups = neuron
    graph["w1"].data = 0.6
    shown = texts(draw(graph.loss, groups=groups, collapse=2).svg())
    assert shown[shown.index("hidden.unit1") - 1] == "OUTDATED"
    assert shown.count("OUTDATED") == 1
    assert texts(draw(graph.loss).svg()).count("OUTDATED") == 1


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"collapse": 0}, ValueError, "collapse is the depth to fold to, a whole number from 1 on, and it is 0"),
        ({"collapse": -1}, ValueError, "and it is -1"),
        ({"collapse": True}, ValueError, "and it is True"),
        ({"collapse": "1"}, ValueError, "and it is '1'"),
        ({"collapse": 1.0}, ValueError, "and it is 1.0"),
        ({"collapse": 1, "groups": None}, ValueError, "fold groups, and there are none: pass groups=model.groups"),
        ({"expand": "hidden", "groups": None}, ValueError, "fold groups, and there are none"),
        ({"expand": "hiden"}, ValueError, "No fold is called 'hiden'. Did you mean `hidden`"),
        ({"expand": ["hidden", "hidden.unit9"]}, ValueError, "No fold is called 'hidden.unit9'. Did you mean"),
        ({"expand": ""}, ValueError, "No fold is called ''. Known names: hidden, hidden.unit1"),
        ({"expand": 3}, TypeError, "expand names the folds to open, such as 'layer1' or ['layer1', 'layer2'], not 3"),
        ({"expand": [3]}, TypeError, "expand names the folds to open"),
        ({"expand": None}, TypeError, "not None"),
        ({"groups": "hidden"}, TypeError, "groups maps nodes or names to paths, or is a function of a node"),
        ({"groups": ["hidden"]}, TypeError, "is a function of a node, not ['hidden']"),
        ({"groups": {3: "hidden"}}, TypeError, "groups maps nodes or their names to paths, and 3 is neither"),
        ({"groups": {"w9": "hidden"}}, ValueError, "groups: no node is called 'w9'. Did you mean `w"),
        ({"groups": {"w1": "hidden", "nothing": "hidden"}}, ValueError, "groups: no node is called 'nothing'"),
        ({"groups": {Value(2.0): "hidden"}}, ValueError, "groups has no node of this graph: they are those of another"),
        ({"groups": {"w1": 3}}, ValueError, "The group of w1 is a dotted path such as 'layer1.unit2', not 3"),
        ({"groups": {"w1": ""}}, ValueError, "The group of w1 is a dotted path such as 'layer1.unit2', not ''"),
        ({"groups": {"w1": "a..b"}}, ValueError, "not 'a..b'"),
        ({"groups": {"w1": ".a"}}, ValueError, "not '.a'"),
        ({"groups": lambda node: 7}, ValueError, "is a dotted path such as 'layer1.unit2', not 7"),
        ({"theme": "drak"}, ValueError, "There is no theme 'drak'. Did you mean `dark`?"),
        ({"theme": None}, ValueError, "There is no theme 'None'. Known names: light, dark, print."),
        ({"rankdir": "lr"}, ValueError, "There is no rankdir 'lr'. Did you mean `LR`"),
        ({"notation": "tex"}, ValueError, "There is no notation 'tex': take 'plain', 'unicode' or 'latex'."),
    ],
)  # fmt: skip
def test_options_without_meaning_are_told_what_is_meant(neuron, options, error, said):
    graph, groups = neuron
    graph.loss.zero_grad()
    for drawn in (lambda **options: draw(graph.loss, **options), Backprop(graph.loss).draw):
        with pytest.raises(error, match=re.escape(said)):
            drawn(**{"groups": groups, **options})


def test_an_option_that_a_picture_does_not_have_is_named():
    walk = Backprop(worked("mazur_2_2_2")["E"])
    with pytest.raises(TypeError, match=r"A picture has no option 'colapse'\. Did you mean `collapse`\?"):
        walk.draw(colapse=1)


@pytest.mark.parametrize("path", [label for label in LABELS if "." not in label], ids=lambda path: ascii(path[:20]))
def test_any_path_of_a_group_gives_a_well_formed_picture(path, no_dot):
    loss, _ = chain(51)
    for options in ({}, {"collapse": 1}):
        picture = draw(loss, groups=lambda node: path, **options)
        root = ElementTree.fromstring(picture.svg().encode("utf-8"))
        assert not [element for element in root.iter() if element.tag.removeprefix(SVG) in ("script", "a", "image")]
        assert len(shapes(picture.svg())) == 2
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2028\ufffe\ud800-\udfff]", picture.svg() + repr(picture)
        )
        assert max(map(len, texts(picture.svg()))) < 250
        assert layout.visible_text(path).replace("  ", " ") in [
            text.replace("\xa0", " ").replace("  ", " ") for text in texts(picture.svg())
        ]


@pytest.mark.parametrize("length", [76, 110])  # with curves, and with straight lines
def test_a_leaf_that_feeds_a_long_chain_is_laid_out_in_seconds(no_dot, monkeypatch, length):
    monkeypatch.setattr(layout, "TIMEOUT", 5)  # it took ten seconds and a minute
    x, y = Value(0.5, label="x"), Value(0.3, label="y")
    node = x
    for _ in range(length):
        node = (node * y).tanh()
    assert draw(node).svg()
    assert Backprop(node).draw(rankdir="TB").svg()
