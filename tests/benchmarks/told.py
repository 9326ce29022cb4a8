"""What was measured, as a table on the terminal and as a chart."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import polars as pl
from compare import CASES, FIRST, FLOOR, LIMIT
from rich.table import Table

from lakehouse.charts import theme
from lakehouse.charts.theme import BLUE, GREY

SPELLED = {FLOOR: "the floor", LIMIT: "limit of this machine"}
UNITS = {"seconds": "seconds of the clock", "cpu": "CPU seconds"}


def summary(measured: pl.DataFrame, by: str) -> pl.DataFrame:
    """side, case, took, ratio, least, most, peak, turns: medians, and ratios to the floor of the same turn."""
    floor = measured.filter(side=FLOOR).select("case", "turn", floor=by)
    ratio = pl.col(by) / pl.col("floor")
    return (
        measured.join(floor, on=["case", "turn"], how="left")
        .group_by("side", "case", maintain_order=True)
        .agg(
            pl.median(by).alias("took"),
            ratio.median().alias("ratio"),
            ratio.min().alias("least"),
            ratio.max().alias("most"),
            pl.max("peak"),
            pl.len().alias("turns"),
        )
    )


def table(measured: pl.DataFrame, by: str) -> Table:
    """A row for each side, a column for each case."""
    sums = summary(measured, by)
    cases = [case for case in CASES if case in sums["case"]]
    shown = Table("", *cases, "MiB", "turns", title=f"Medians in {UNITS[by]}; × the floor's same case")
    for side in sums["side"].unique(maintain_order=True):
        own = {row["case"]: row for row in sums.filter(side=side).iter_rows(named=True)}
        cells = [f"{own[c]['took']:.2f}, {_times(own[c]['ratio'])}" if c in own else "–" for c in cases]
        first = own[FIRST]
        shown.add_row(SPELLED.get(side, side), *cells, f"{first['peak']:.0f}", str(first["turns"]))
    return shown


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} ×" if ratio < 9.95 else f"{ratio:.0f} ×"


def steps(measured: pl.DataFrame, months: int) -> str:
    """The machine's limit, step by step."""
    alone = measured.filter(~pl.col("case").is_in(CASES), side=LIMIT).group_by("case", maintain_order=True)
    told = [f"{case} {1000 * cpu / months:.1f}" for case, cpu in alone.agg(pl.median("cpu")).iter_rows()]
    return f"CPU ms a month of 1m bars, each step alone: {', '.join(told)}"


def chart(measured: pl.DataFrame, by: str, what: str) -> alt.HConcatChart:
    """A panel for each case, a bar for each side."""
    theme()
    sums = summary(measured, by).filter(pl.col("case").is_in(CASES)).with_columns(pl.col("side").replace(SPELLED))
    order = sums["side"].unique(maintain_order=True).to_list()
    cases = [case for case in CASES if case in sums["case"]]
    panels = []
    for case in cases:
        rows = sums.filter(case=case).with_columns(label=pl.col("took").round_sig_figs(2).cast(pl.String))
        y = alt.Y("side:N", sort=order, title=None).scale(domain=order)
        y = y if case == cases[0] else y.axis(labels=False, ticks=False)
        most = 1.25 * float(rows["took"].max())  # type: ignore[arg-type]
        base = alt.Chart(rows).encode(x=alt.X("took:Q", title=None).scale(domainMax=most).axis(None), y=y)
        colour = alt.condition("indexof(datum.side, 'ours') == 0", alt.value(BLUE), alt.value(GREY))
        bars = base.mark_bar(height=14).encode(color=colour)
        panels.append(
            (bars + base.mark_text(align="left", dx=3).encode(text="label:N")).properties(title=case, width=130)
        )
    ours = sums.filter(side="ours", case=FIRST).row(0, named=True)
    floor = "what a bare parse and write take, without a check, an account or an upsert"
    title = f"A first load takes {ours['ratio']:.1f} × {floor}"
    subtitle = f"{UNITS[by]}, medians of {ours['turns']}; {what}; each panel has its own scale"
    drawn: alt.HConcatChart = alt.hconcat(*panels, spacing=8).properties(title=alt.Title(title, subtitle=subtitle))
    return drawn


def draw(measured: pl.DataFrame, by: str, what: str, path: Path) -> None:
    """Write the chart as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chart(measured, by, what).save(path, scale_factor=1.5)
