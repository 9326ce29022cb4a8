from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop
from later import Later

from lakehouse.errors import BatchFailed, InputError

flows = Later("lakehouse.flows.notebooks")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_notebook_runs_over_a_grid_and_those_that_fail_are_named_at_the_end(tmp_path: Path) -> None:
    first = 'symbol: str = "A"  # one'
    cells = [first, "from lakehouse.notebooks import record", "assert symbol != 'B'", "record(s=symbol)"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, str(tmp_path / "small.ipynb"))
    name, output = str(tmp_path / "small.ipynb"), str(tmp_path / "out")
    loop = ensure_event_loop()  # as Jupyter leaves one in the context that the two threads get copies of
    with pytest.raises(BatchFailed, match=r"1 of 2 notebook\(s\) failed:\n  B: B failed in cell \[4\]: AssertionError"):
        flows.run_notebooks(name, {"symbol": ["A", "B"]}, output)
    runs = flows.run_notebooks(name, {"symbol": ["C"]}, output)
    assert runs.select("symbol", "s", "error").rows() == [("C", "C", None)]
    assert Path(runs["page"][0]).is_file()
    with pytest.raises(InputError, match="did you mean 'symbol'"):
        flows.run_notebooks(name, {"symbl": ["A"]}, output)
    loop.close()


def test_runs_have_names_of_their_own_that_stay_in_their_folder() -> None:
    words = [["../mix", "A"], ["/etc/passwd"], ["a-b", "c"], ["a", "b-c"], ["A-B", "C"], ["a-b-c-2"]]
    words += [[".."], [""], ["x" * 300], ["/a/very/long/path" * 9 + "/lake", "BTCUSDT", "1h"]]
    names = flows.name_runs(words)
    assert names[:7] == ["mix-A", "etc-passwd", "a-b-c", "a-b-c-2", "A-B-C-3", "a-b-c-2-2", "run"]
    assert names[-1].endswith("path-lake-BTCUSDT-1h")
    assert len({name.casefold() for name in names}) == len(words)
    assert not [name for name in names if Path(name).name != name or len(name) > 100]
