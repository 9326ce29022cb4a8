from __future__ import annotations

import json
import re
from pathlib import Path

import altair as alt
import nbformat
import polars as pl
import pytest

from lakehouse.notebooks import show_table
from lakehouse.notebooks.look import lab_is_dark
from lakehouse.notebooks.pages import CHART, HEADLESS, use_charts, write_page


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook with two charts, as a program that runs it would leave it."""
    monkeypatch.setenv(HEADLESS, "1")
    use_charts()
    chart = alt.Chart(pl.DataFrame({"x": [1, 2], "y": ["</script>", "b"]})).mark_bar().encode(x="x", y="y")
    data, _ = alt.renderers.get()(chart.to_dict())
    output = nbformat.v4.new_output("display_data", data)
    drawn = [nbformat.v4.new_code_cell("c", outputs=[output]) for _ in range(2)]
    cells = [nbformat.v4.new_markdown_cell("# A <title>"), *drawn]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), str(tmp_path / "book.ipynb"))
    return tmp_path / "book.ipynb"


def test_headless_charts_are_pictures_that_carry_their_specification(executed: Path) -> None:
    data = nbformat.read(str(executed), as_version=4).cells[1].outputs[0].data
    assert data["image/png"].startswith("iVBOR")
    assert json.loads(data[CHART])["mark"]["type"] == "bar"


def test_a_copy_whose_page_draws_its_charts_needs_no_pictures_but_whoever_makes_no_page_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chart = alt.Chart(pl.DataFrame({"x": [1]})).mark_bar().encode(x="x").to_dict()
    for headless, wanted in (("1", {CHART, "text/plain"}), ("", {CHART, "text/plain", "image/png"})):
        monkeypatch.setenv(HEADLESS, headless)
        use_charts(pictures=False)
        data, _ = alt.renderers.get()(chart)
        assert data.keys() == wanted


def test_a_page_carries_the_library_once_and_asks_nobody(executed: Path) -> None:
    text = write_page(executed).read_text(encoding="utf-8")
    assert len(re.findall(r"window\.vegaEmbed\s*=", text)) == 1
    drawn = re.findall(r'<script type="application/json" id="chart-(\d)-spec">(.*)</script>', text)
    assert [number for number, _ in drawn] == ["0", "1"]
    assert "<" not in drawn[0][1]
    assert "</script>" in str(json.loads(drawn[0][1])["datasets"])
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', text)
    assert "<title>A &lt;title&gt;</title>" in text


def test_a_page_may_leave_out_the_code(executed: Path) -> None:
    book = nbformat.read(str(executed), as_version=4)
    book.cells[1].source = book.cells[2].source = "secret_name = 1"
    book.metadata["hide_input"] = True
    nbformat.write(book, str(executed))
    assert "secret_name" not in write_page(executed).read_text(encoding="utf-8")


def test_the_head_of_a_column_of_numbers_stands_to_the_right_like_they_do_in_whatever_words_they_are() -> None:
    frame = pl.DataFrame({"when": ["2024-12"], "bars": [1507], "change": ["−0.50 %"], "gap": ["–"]})
    assert re.findall("<t[hd].*?>", show_table(frame).data) == [
        "<thead>",
        *["<th>", *['<th class="number">'] * 3],
        "<td>",
        *['<td class="number">'] * 3,
    ]


def test_charts_are_dark_where_jupyterlab_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(tmp_path))
    assert not lab_is_dark()
    told = tmp_path / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    told.parent.mkdir(parents=True)
    for name in ("JupyterLab Light", "JupyterLab Dark"):
        told.write_text(
            f'{{\n    // Selected "theme": "Some Dark"\n    "theme": "{name}"\n}}'
        )  # as JupyterLab writes it
        assert lab_is_dark() == name.endswith("Dark")
