from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter
from klines import hours, place

from lakehouse import Lake, ingest
from lakehouse.errors import InputError
from lakehouse.notebooks import Picker


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two symbols; of one five hours, of the other thirty, from the first of March 2024 on."""
    place(tmp_path, "m/AAAUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "m/BBBUSDT_1h.csv", hours(0, 29))
    lake = Lake(tmp_path)
    ingest(lake)
    return lake


def test_parameters_hold_until_somebody_picks_otherwise(lake: Lake) -> None:
    picked = Picker(lake, "AAAUSDT", "1h")
    assert picked.bars()[0]["symbol"] == "AAAUSDT"
    widget = picked.widget()
    series, start, end = widget.children[0].children
    assert series.options == ("AAAUSDT 1h (m)", "BBBUSDT 1h (m)")
    assert (series.value, start.value, end.value) == ("AAAUSDT 1h (m)", None, None)
    series.value = "BBBUSDT 1h (m)"
    start.value = dt.date(2024, 3, 2)
    held, first, last = picked.bars()
    assert (held["symbol"], held["rows"], first, last) == ("BBBUSDT", 30, dt.date(2024, 3, 2), dt.date.max)
    assert picked.words["start"] == "2024-03-02"
    start.value = None
    assert picked.bars()[1] == dt.date.min


def test_days_that_were_given_are_picked_already(lake: Lake) -> None:
    _, start, end = Picker(lake, end="2024-03-02").widget().children[0].children
    assert (start.value, end.value) == (None, dt.date(2024, 3, 2))


def test_a_picker_is_silent_where_nobody_can_click_and_wrong_words_are_said_there_too(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("JPY_SESSION_NAME", "a notebook")
    monkeypatch.setenv("LAKEHOUSE_HEADLESS", "1")
    picked = Picker(lake)
    assert (DisplayFormatter().format(picked), shown) == (({}, {}), [])
    monkeypatch.delenv("LAKEHOUSE_HEADLESS")
    DisplayFormatter().format(picked)
    assert len(shown) == 1
    with pytest.raises(InputError, match="did you mean AAAUSDT"):
        Picker(lake, "AAAUSD")
