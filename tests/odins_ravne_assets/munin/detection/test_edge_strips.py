"""Strips at the edges of single pictures: composed ones, with noise and JPEG compression."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from odins_ravne_assets.munin.detection.edge_strips import MAX_DEPTH, edge_strips

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 768, 1024
STRIP = 24  # pixels


def scene(brightness: float = 110, seed: int = 1) -> Picture:
    """A landscape of blotches and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(brightness, brightness / 3, (24, 32, 3)).clip(0, 255).astype(np.float32)
    fine = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.asarray((fine + noise).clip(0, 255), np.uint8)


def with_strip(picture: Picture, edge: str, level: int, letters: bool = True) -> Picture:
    """Print a strip over an edge, as cameras do, and compress the picture."""
    turns = {"top": 0, "left": 1, "bottom": 2, "right": 3}[edge]
    printed = np.ascontiguousarray(np.rot90(picture, -turns))
    printed[:STRIP] = level
    if letters:
        text = "2026-05-01 04:14:15   M 1/3   o   12 C   54 F   CAM 7" * 2
        colour = (255,) * 3 if level < 128 else (0,) * 3
        cv2.putText(printed, text, (4, STRIP - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 2)
    upright = np.ascontiguousarray(np.rot90(printed, turns))
    return compressed(upright)


def compressed(picture: Picture) -> Picture:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def lettered(picture: Picture) -> list[dict[str, Any]]:
    return [strip for strip in edge_strips(picture) if strip["lettered"]]


@pytest.mark.parametrize("edge", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize(
    ("brightness", "level"),
    # Levels that differ from the brightness of the scene.
    [(35, 0), (35, 90), (35, 255), (110, 0), (110, 255), (200, 0), (200, 90), (200, 255)],
)
def test_a_strip_is_found_at_its_edge(edge: str, level: int, brightness: float) -> None:
    (strip,) = lettered(with_strip(scene(brightness), edge, level))
    side = HEIGHT if edge in ("top", "bottom") else WIDTH
    assert strip["edge"] == edge
    assert strip["depth"] == pytest.approx(STRIP / side, abs=2 / side)
    assert strip["level"] == pytest.approx(level, abs=2)


def test_two_strips_are_two() -> None:
    picture = with_strip(with_strip(scene(), "top", 0), "bottom", 0)
    assert [strip["edge"] for strip in lettered(picture)] == ["top", "bottom"]


def test_a_picture_without_a_strip_has_none() -> None:
    assert lettered(compressed(scene())) == []


def test_a_bar_without_letters_is_recorded_but_not_as_lettered() -> None:
    strips = edge_strips(with_strip(scene(), "top", 0, letters=False))
    top = next(strip for strip in strips if strip["edge"] == "top")
    assert top["depth"] == pytest.approx(STRIP / HEIGHT, abs=2 / HEIGHT)
    assert not top["lettered"]


@pytest.mark.parametrize("level", [4, 255], ids=["a dark sky", "snow or an overcast sky"])
def test_uniform_rows_that_end_in_a_hilly_line_are_not_lettered(level: int) -> None:
    picture = scene()
    hills = (60 + 30 * np.sin(np.arange(WIDTH) / 70)).astype(int)
    for column, height in enumerate(hills):
        picture[:height, column] = level
    branches = picture.copy()
    for x in range(0, WIDTH, 60):
        cv2.line(branches, (x, 0), (x + 30, 120), (120, 120, 120), 2)
    for each in (picture, branches, picture[::-1].copy()):
        assert lettered(compressed(each)) == []


def test_a_picture_that_is_dark_to_its_middle_has_rows_without_an_end() -> None:
    picture = scene()
    picture[: HEIGHT // 2] = np.random.default_rng(2).integers(3, 9, (HEIGHT // 2, WIDTH, 3))
    top = next(strip for strip in edge_strips(compressed(picture)) if strip["edge"] == "top")
    assert top["depth"] == pytest.approx(MAX_DEPTH, abs=0.01)
    assert not top["lettered"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (60, 106, 3), (99, 2000, 3)])
def test_tiny_pictures_have_no_strips(shape: tuple[int, int, int]) -> None:
    assert edge_strips(np.zeros(shape, np.uint8)) == []


def test_a_black_picture_has_no_lettered_strip() -> None:
    assert lettered(np.zeros((HEIGHT, WIDTH, 3), np.uint8)) == []
