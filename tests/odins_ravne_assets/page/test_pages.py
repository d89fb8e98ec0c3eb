"""The frame of all pages, and the drawings in it."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

from odins_ravne_assets.page.pages import write_page
from odins_ravne_assets.page.plots import (
    ACCENT,
    PAGE_COLOURS,
    SERIES,
    add_legend,
    clock_axes,
    inline_svg,
    legend,
    new_figure,
    plain_axes,
)

TEMPLATE = """{% extends "base.html" %}
{% block title %}Camera {{ camera }}{% endblock %}
{% block content %}<h1>{{ camera }}</h1><p>{{ visits | count }}</p>
<script type="application/json" id="data">{{ data | json }}</script>{% endblock %}
{% block script %}document.title = "x < y && {{ visits }}";{% endblock %}
"""

WORDS = ("ink", "quiet", "accent", "warn", "bad")


def written(tmp_path: Path, template: str = TEMPLATE, **values: Any) -> str:
    file = tmp_path / "page.html"
    file.write_text(template)
    given = {"camera": "7", "visits": 12345, "data": [], **values}
    write_page(tmp_path / "out.html", file, given)
    return (tmp_path / "out.html").read_text("utf-8")


def bars(name: str = "bars", says: str = "Three bars") -> str:
    figure = new_figure(440, 240)
    axes = plain_axes(figure)
    axes.bar([0, 1, 2], [3, 2, 5], color=SERIES[0], label="visits")
    axes.set_xlabel("hour")
    add_legend(axes)
    return inline_svg(figure, name, says)


# Pages


def test_what_comes_from_footage_cannot_become_markup(tmp_path: Path) -> None:
    page = written(tmp_path, camera="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_data_for_the_script_cannot_end_it_and_arrives_as_it_was(tmp_path: Path) -> None:
    data = ["</script><!--", "räv & 木", "\u2028", '"\\']
    page = written(tmp_path, data=data)
    found = re.search(r'id="data">(.*?)</script>', page)
    assert found
    assert json.loads(found[1]) == data
    assert "räv" in page


def test_the_browser_may_run_the_page_s_own_script_and_load_nothing(tmp_path: Path) -> None:
    page = written(tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    assert policy and script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_a_page_names_nothing_that_lies_elsewhere(tmp_path: Path) -> None:
    assert not re.search(r"https?:|@import|src=|<link", written(tmp_path))


def test_a_value_that_is_missing_is_an_error_and_no_gap(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="nothing_of_the_name"):
        written(tmp_path, TEMPLATE.replace("{{ camera }}", "{{ nothing_of_the_name }}"))


def test_long_values_are_written_piece_by_piece(tmp_path: Path) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(3):
            assert (tmp_path / "out.html").exists()
            taken.append(number)
            yield number

    loop = TEMPLATE.replace("<h1>", "{% for each in data %}<i>{{ each }}</i>{% endfor %}<h1>")
    loop = loop.replace("{{ data | json }}", "")
    assert written(tmp_path, loop, data=pieces()).count("<i>") == len(taken) == 3


def test_paper_is_white_at_night(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "@media screen and (prefers-color-scheme: dark)" in page
    assert "@media print" in page


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (#rrggbb), from 1 to 21: WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("look", ["by day", "at night"])
def test_words_and_bars_stand_out_from_what_is_behind_them(tmp_path: Path, look: str) -> None:
    """As WCAG 2.2 asks at level AA: 4.5 for words (1.4.3), 3 for drawings (1.4.11)."""
    by_day, at_night = written(tmp_path).split("prefers-color-scheme: dark", 1)
    page = by_day if look == "by day" else at_night
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", page))
    for behind in (colours["paper"], colours["card"]):
        words = {name: contrast(colours[name], behind) for name in WORDS}
        bars = {name: contrast(colours[name], behind) for name in colours if "series" in name}
        assert min(words.values()) >= 4.5, words
        assert len(bars) == 6 and min(bars.values()) >= 3, bars


# Drawings


def test_a_drawing_is_in_the_page_s_colours_alone() -> None:
    svg = bars()
    assert "var(--series-1)" in svg
    assert "var(--quiet)" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}", svg)
    frame = Path("odins_ravne_assets/page/base.html").read_text("utf-8")
    assert all(f"{name}:" in frame for name in PAGE_COLOURS.values())


def test_a_drawing_is_xml_that_says_what_it_shows() -> None:
    svg = ElementTree.fromstring(bars(says='Foxes < hares & "owls"'))
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == 'Foxes < hares & "owls"'
    assert "width" not in svg.attrib
    assert "hour" in {element.text for element in svg.iter() if element.tag.endswith("text")}


def test_drawings_of_one_page_share_no_names() -> None:
    first, second = (set(re.findall(r'\bid="([^"]+)"', bars(name))) for name in ("one", "two"))
    assert first
    assert not first & second
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', bars("one"))
    assert used
    assert set(used) <= first


def test_a_legend_names_each_colour_in_its_order_as_text() -> None:
    found = legend(["red fox", "<b>"])
    assert re.findall(r"--series-(\d)\)\"></i>([^<]*)<", found) == [
        ("1", "red fox"),
        ("2", "&lt;b&gt;"),
    ]


def test_the_same_drawing_is_the_same_text() -> None:
    assert bars() == bars()


def test_a_clock_has_midnight_above_and_goes_round_to_the_right() -> None:
    figure = new_figure(300, 300)
    axes = clock_axes(figure)
    axes.bar([0.0], [1.0], width=0.1, color=ACCENT)
    svg = ElementTree.fromstring(inline_svg(figure, "clock", "a clock"))
    places = {
        element.text: (float(element.attrib["x"]), float(element.attrib["y"]))
        for element in svg.iter()
        if element.tag.endswith("text")
    }
    assert places["0 h"][1] < places["6 h"][1] < places["12 h"][1]
    assert places["18 h"][0] < places["0 h"][0] < places["6 h"][0]
