"""The base of all pages, and inline plots."""

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

TEXT_COLOURS = ("ink", "quiet", "accent", "warn", "bad")


def written(tmp_path: Path, template: str = TEMPLATE, **values: Any) -> str:
    file = tmp_path / "page.html"
    file.write_text(template)
    given = {"camera": "7", "visits": 12345, "data": [], **values}
    write_page(tmp_path / "out.html", file, given)
    return (tmp_path / "out.html").read_text("utf-8")


def bars(name: str = "bars", description: str = "Three bars") -> str:
    figure = new_figure(440, 240)
    axes = plain_axes(figure)
    axes.bar([0, 1, 2], [3, 2, 5], color=SERIES[0], label="visits")
    axes.set_xlabel("hour")
    add_legend(axes)
    return inline_svg(figure, name, description)


# Pages


def test_values_are_escaped(tmp_path: Path) -> None:
    page = written(tmp_path, camera="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_script_data_cannot_end_the_script_element_and_is_unchanged(tmp_path: Path) -> None:
    data = ["</script><!--", "räv & 木", "\u2028", '"\\']
    page = written(tmp_path, data=data)
    found = re.search(r'id="data">(.*?)</script>', page)
    assert found
    assert json.loads(found[1]) == data
    assert "räv" in page


def test_the_content_security_policy_allows_only_the_page_s_script(tmp_path: Path) -> None:
    page = written(tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    assert policy and script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_a_page_refers_to_no_other_resource(tmp_path: Path) -> None:
    assert not re.search(r"https?:|@import|src=|<link", written(tmp_path))


def test_a_missing_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="missing_variable"):
        written(tmp_path, TEMPLATE.replace("{{ camera }}", "{{ missing_variable }}"))


def test_generators_are_consumed_lazily(tmp_path: Path) -> None:
    consumed: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(3):
            assert (tmp_path / "out.html").exists()
            consumed.append(number)
            yield number

    loop = TEMPLATE.replace("<h1>", "{% for each in data %}<i>{{ each }}</i>{% endfor %}<h1>")
    loop = loop.replace("{{ data | json }}", "")
    assert written(tmp_path, loop, data=pieces()).count("<i>") == len(consumed) == 3


def test_dark_mode_is_for_screens_only(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_bars_have_enough_contrast(tmp_path: Path, mode: str) -> None:
    """WCAG 2.2, level AA: 4.5 for text (1.4.3), 3 for graphics (1.4.11)."""
    light, dark = written(tmp_path).split("prefers-color-scheme: dark", 1)
    page = light if mode == "light" else dark
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", page))
    for background in (colours["paper"], colours["card"]):
        texts = {name: contrast(colours[name], background) for name in TEXT_COLOURS}
        bars = {name: contrast(colours[name], background) for name in colours if "series" in name}
        assert min(texts.values()) >= 4.5, texts
        assert len(bars) == 6 and min(bars.values()) >= 3, bars


# Plots


def test_a_plot_uses_only_the_colours_of_the_page() -> None:
    svg = bars()
    assert "var(--series-1)" in svg
    assert "var(--quiet)" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}", svg)
    base = Path("odins_ravne_assets/page/base.html").read_text("utf-8")
    assert all(f"{name}:" in base for name in PAGE_COLOURS.values())


def test_a_plot_is_xml_with_alternative_text() -> None:
    svg = ElementTree.fromstring(bars(description='Foxes < hares & "owls"'))
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == 'Foxes < hares & "owls"'
    assert "width" not in svg.attrib
    assert "hour" in {element.text for element in svg.iter() if element.tag.endswith("text")}


def test_plots_of_one_page_have_different_ids() -> None:
    first, second = (set(re.findall(r'\bid="([^"]+)"', bars(name))) for name in ("one", "two"))
    assert first
    assert not first & second
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', bars("one"))
    assert used
    assert set(used) <= first


def test_a_legend_names_each_colour_in_order_as_text() -> None:
    found = legend(["red fox", "<b>"])
    assert re.findall(r"--series-(\d)\)\"></i>([^<]*)<", found) == [
        ("1", "red fox"),
        ("2", "&lt;b&gt;"),
    ]


def test_equal_plots_give_equal_text() -> None:
    assert bars() == bars()


def test_a_clock_has_midnight_at_the_top_and_is_clockwise() -> None:
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
