from __future__ import annotations

import polars as pl
from drawing import drawn, fields, rows, says_nothing, subtitle

from lakehouse.charts.lines import FATES, MAX_FILES, fates, rejects


def account(count: int) -> pl.DataFrame:
    """Files 0, 1, …: 10 lines inserted each, and as many rejected as the file's number."""
    zero = {name: [0] * count for name in FATES}
    return pl.DataFrame(
        {"path": [f"f{n}.csv" for n in range(count)], **zero, "inserted": [10] * count, "rejected": list(range(count))}
    )


def test_fates_are_stacked_by_file() -> None:
    spec = drawn(fates(account(3), "a title"))
    assert {"path", "lines", "fate"} <= fields(spec)
    assert subtitle(spec) == "3 files: 30 inserted, 3 rejected"
    assert [row["words"] for row in rows(spec, "words")] == ["1 rejected", "2 rejected"]


def test_revisions_of_a_file_are_one_bar() -> None:
    spec = drawn(fates(pl.concat([account(1), account(1)]), "a title"))
    assert [(row["path"], row["lines"]) for row in rows(spec, "fate")] == [("f0.csv", 20)]


def test_of_many_files_the_worst_are_drawn() -> None:
    spec = drawn(fates(account(100), "a title"))
    assert {row["path"] for row in rows(spec, "fate")} == {f"f{n}.csv" for n in range(100 - MAX_FILES, 100)}
    assert subtitle(spec).startswith("100 files: 1,000 inserted, 4,950 rejected")  # 0 + 1 + … + 99


def test_rejects_come_commonest_first() -> None:
    reasons = pl.DataFrame({"reason": ["low is missing", "too few fields"], "lines": [2, 7]})
    spec = drawn(rejects(reasons, "a title"))
    assert {"reason", "lines"} <= fields(spec)
    assert [row["reason"] for row in rows(spec, "reason")] == ["too few fields", "low is missing"]
    assert subtitle(spec) == "2 reasons; the commonest: too few fields"


def test_rare_reasons_are_one_bar() -> None:
    reasons = pl.DataFrame({"reason": [f"r{n}" for n in range(30)], "lines": list(range(1, 31))})
    last = rows(drawn(rejects(reasons, "a title")), "reason")[-1]
    assert last == {"reason": "… 10 rarer reasons", "lines": 55}  # 1 + 2 + … + 10


def test_nothing_is_said_to_be_nothing() -> None:
    assert says_nothing(fates(account(0), "a title"))
    assert says_nothing(fates(account(1).with_columns(inserted=0), "a title"))
    assert says_nothing(rejects(pl.DataFrame(schema={"reason": pl.String, "lines": pl.Int64}), "a title"))
