from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import pytest
from drawing import drawn, subtitle

from lakehouse.charts.theme import counted, nothing, spoken, theme


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = alt.theme.active
    yield
    alt.theme.enable(before)


def config(chart: alt.Chart) -> dict[str, str]:
    return chart.to_dict()["config"]


def test_light_and_dark_differ_in_paper_and_ink() -> None:
    theme()
    light = config(nothing("a title", 300))
    theme(dark=True)
    dark = config(nothing("a title", 300))
    assert alt.theme.active == "lakehouse"
    assert light["background"] == "#ffffff"
    assert dark["background"] != light["background"]
    assert dark["title"]["color"] != light["title"]["color"]


def test_the_chart_of_nothing_says_so() -> None:
    theme()
    assert "nothing to show" in subtitle(drawn(nothing("a title", 300)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (60, "1 minute"),
        (5400, "90 minutes"),
        (86400, "1 day"),
        (604800, "1 week"),
        (7776000, "3 months"),
        (7, "7 seconds"),
    ],
)
def test_lengths_are_spoken_in_their_largest_whole_unit(seconds: int, words: str) -> None:
    assert spoken(seconds) == words


def test_one_is_no_plural() -> None:
    assert [counted(1, "bar"), counted(2000, "bar")] == ["1 bar", "2,000 bars"]
