"""What a table tells of itself, drawn: its versions, what changed between two of them, its files."""

from __future__ import annotations

import datetime as dt
import json

import altair as alt
import polars as pl

from lakehouse.charts.theme import (
    BLUE,
    CHANGES,
    CLOCK,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    amounts,
    nothing,
)
from lakehouse.measures import counted

MAX_COMMITS = 80  # that are drawn one by one
MAX_FILES, MAX_SERIES, MAX_LANES = 4000, 40, 8
MEBIBYTE = 2**20
KINDS = list(CHANGES)
OPERATIONS = [SKY, GREEN, PURPLE, YELLOW, GREY, "#666666", "#bbbbbb"]  # none of the colours of the kinds of change


def versions_timeline(versions: pl.DataFrame, title: str, *, width: int = 720) -> alt.VConcatChart:
    """Draw what each commit did: rows inserted, updated and deleted, raw files taken in, and its operation.

    Args:
        versions: version, at (UTC), operation, inserted, updated, deleted (rows), files; as `Table.versions` gives it.
        title: What is seen.
        width: In pixels.

    Returns:
        The chart, a column a commit, and a panel for each count that is not always zero, with a scale of its own.
        More than `MAX_COMMITS` commits are gathered, neighbours with neighbours.
    """
    if versions.is_empty():
        return alt.vconcat(nothing(title, width))
    rows = _gathered(versions.sort("version"))
    counts = [name for name in (*KINDS, "files") if rows[name].sum()]
    width = min(width, max(240, 48 * rows.height))
    column = alt.X("label:O", title=None, sort=rows["label"].to_list(), axis=None)
    base = alt.Chart(rows).encode(
        column,
        tooltip=[
            *[alt.Tooltip(f"{name}:N") for name in ("label", "at", "operation")],
            *[alt.Tooltip(f"{name}:Q", format=",") for name in (*KINDS, "files")],
        ],
    )
    panels = []
    for name in counts:
        y = alt.Y(f"{name}:Q", title=["raw files", "(count)"] if name == "files" else [name, "(rows)"], axis=amounts(3))
        y = y.scale(domainMin=0)
        panels.append(base.mark_bar(color=CHANGES.get(name, GREY)).encode(y).properties(width=width, height=64))
    kinds = rows["kind"].unique(maintain_order=True).to_list()
    axis = alt.Axis(labelAngle=0, labelOverlap=True, title="version")
    colour = alt.Color("kind:N", title="operation").scale(domain=kinds, range=OPERATIONS)
    strip = base.mark_rect(height=12, cornerRadius=2).encode(
        alt.X("label:O", sort=rows["label"].to_list(), axis=axis), colour
    )
    panels.append(strip.properties(width=width, height=16))
    at = versions["at"].sort()
    totals = [f"{int(versions[name].sum()):,} {name}" for name in KINDS]
    told = f"{counted(versions.height, 'version')}, {at[0]:%Y-%m-%d %H:%M} to {at[-1]:%Y-%m-%d %H:%M} UTC; "
    return alt.vconcat(*panels, spacing=10).properties(
        title=alt.Title(title, subtitle=told + ", ".join(totals) + " rows")
    )


def files_on_disk(files: pl.DataFrame, title: str, *, width: int = 720) -> alt.Chart:
    """Draw the Parquet files of a table: how long a time each spans, and how large it is.

    Args:
        files: path, size_bytes, num_records, market, symbol, interval, min.open_time, max.open_time (UTC); as
            `Table.files` gives it.
        title: What is seen, and of which version.
        width: In pixels.

    Returns:
        The chart, a row a series and a mark a file. Files that overlap in time lie below each other: a clustered
        series is one line. Of very many series or files some are drawn, and the subtitle says how many.
    """
    if files.is_empty() or files["min.open_time"].null_count() == files.height:
        return nothing(title, width)
    series = pl.concat_str("market", "symbol", "interval", separator=" ").alias("series")
    known = files.drop_nulls("min.open_time").with_columns(series)
    most = known.group_by("series").len().sort("len", "series", descending=[True, False])["series"][:MAX_SERIES]
    shown = known.filter(pl.col("series").is_in(most.implode())).sort("series", "min.open_time", "max.open_time")
    shown = shown.gather_every(-(-shown.height // MAX_FILES))
    rows = _laned(shown)
    small = files.filter(pl.col("size_bytes") < MEBIBYTE).height
    size = files["size_bytes"].sum() / MEBIBYTE
    told = (
        f"{counted(files.height, 'file')}, {f'{size:,.1f}' if size >= 1 else f'{size:.2g}'} MiB; {small:,} below 1 MiB"
    )
    if rows.height < files.height:
        told += f"; {rows.height:,} files of {most.len():,} series are drawn"
    heads = dict(rows.group_by("row", maintain_order=True).first().filter(lane=0).select("row", "series").iter_rows())
    names = ", ".join(f"{row}: {json.dumps(name)}" for row, name in heads.items())  # a name may hold quotes
    axis = alt.Axis(
        values=list(heads), labelExpr=f"{{{names}}}[datum.value]", labelLimit=240, ticks=False, domain=False
    )
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar(cornerRadius=1)
        .encode(
            alt.X("left:T", title="open time (UTC)", axis=alt.Axis(format=CLOCK, tickCount=8, labelOverlap=True)).scale(
                type="utc"
            ),
            alt.X2("right"),
            alt.Y("row:O", title=None, axis=axis).scale(paddingInner=0.3),
            _sized(),
            tooltip=[
                *[alt.Tooltip("series:N"), alt.Tooltip("file:N")],
                *[alt.Tooltip("size:Q", format=",.3~f", title="size (MiB)"), alt.Tooltip("rows:Q", format=",")],
                *[alt.Tooltip("first:N"), alt.Tooltip("last:N")],
            ],
        )
        .properties(width=width, height=alt.Step(20), title=alt.Title(title, subtitle=told))
    )
    return chart


def _sized() -> alt.Color:
    legend = alt.Legend(format=".2~r", values=[1 / 32, 1 / 4, 2, 16], gradientLength=90)
    return alt.Color("size:Q", title="size (MiB)", legend=legend).scale(
        type="log", domain=[1 / 64, 16], range=[VERMILION, ORANGE, SKY, BLUE], interpolate="lab", clamp=True
    )


def _laned(files: pl.DataFrame) -> pl.DataFrame:
    """Lay files that overlap in time into lanes below each other; leave a hair between neighbours."""
    begin, end = pl.col("min.open_time"), pl.col("max.open_time")
    ends: dict[str, list[dt.datetime]] = {}
    lanes = []
    for name, first, last in files.select("series", begin, end).iter_rows():
        taken = ends.setdefault(name, [])
        lane = next((place for place, until in enumerate(taken) if until < first), min(len(taken), MAX_LANES - 1))
        taken[lane : lane + 1] = [last]
        lanes.append(lane)
    left, right = begin.dt.epoch("ms"), end.dt.epoch("ms")
    hair = files.select(((right.max() - left.min()) / 700).clip(1000)).item()
    clock = "%Y-%m-%d %H:%M UTC"
    rows = files.with_columns(lane=pl.Series(lanes, dtype=pl.Int64)).sort("series", "lane", begin)
    return rows.select(
        "series",
        "lane",
        row=pl.struct("series", "lane").rle_id().cast(pl.Int64),
        file=pl.col("path").str.split("/").list.last(),
        size=pl.max_horizontal(pl.col("size_bytes"), 1) / MEBIBYTE,
        rows=pl.col("num_records"),
        first=begin.dt.strftime(clock),
        last=end.dt.strftime(clock),
        left=left,
        right=pl.max_horizontal(right - hair, left + 2 * hair),
    )


def _gathered(rows: pl.DataFrame) -> pl.DataFrame:
    """Prepare commits for drawing, neighbours together where they are too many."""
    per = -(-rows.height // MAX_COMMITS)
    kind = (
        pl.col("operation")
        .str.extract(r"^([A-Z]+(?: [A-Z]+)*?)(?: TO \d+| START| END)?$")
        .fill_null(pl.col("operation"))
    )
    rows = rows.with_columns(kind=kind)
    first, last = pl.col("version").first().cast(pl.String), pl.col("version").last().cast(pl.String)
    sums = [pl.col(name).sum() for name in (*KINDS, "files")]
    clock = pl.col("at").dt.strftime("%Y-%m-%d %H:%M:%S UTC")
    return rows.group_by(bin=pl.int_range(pl.len()) // per, maintain_order=True).agg(
        *sums,
        label=pl.when(pl.len() > 1).then(pl.format("v{} to v{}", first, last)).otherwise(pl.format("v{}", first)),
        at=clock.first(),
        operation=pl.col("operation").unique(maintain_order=True).str.join(", "),
        kind=pl.when(pl.col("kind").n_unique() == 1).then(pl.col("kind").first()).otherwise(pl.lit("several")),
    )
