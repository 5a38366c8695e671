"""The picture: whole, well-formed and the same each time, whatever a label holds."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine import Backprop, LayoutError, Value, build, draw, layout
from engine.themes import THEMES
from tests.strategies import case, worked

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
        "from engine import build, draw; import sys\n"
        "L = build(open('demos/mazur.txt', encoding='utf-8').read()).loss; L.backward()\n"
        "draw(L).save(sys.argv[1])"
    )
    files = []
    for seed in ("0", "1"):
        files.append(tmp_path / f"{seed}.svg")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, str(files[-1])], cwd=ROOT, env=environment, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(b'<?xml version="1.0" encoding="UTF-8"?>')


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
