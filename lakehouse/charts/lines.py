"""Frame in, Altair chart out: lines counted. Charts know nothing of the lake, and aggregate in Polars first."""

from __future__ import annotations

import altair as alt
import polars as pl
from altair.typing import ChartType

from lakehouse.charts.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, amounts, nothing
from lakehouse.measures import counted

FATES = {"inserted": BLUE, "updated": ORANGE, "unchanged": GREEN, "superseded": GREY, "overruled": PURPLE}
FATES |= {"rejected": VERMILION}
MAX_FILES, MAX_REASONS = 30, 20  # bars that one reads at a glance
LONG_LABEL = "length(datum.label) > 44 ? '…' + slice(datum.label, -43) : datum.label"  # of a path the end tells most


def fates(files: pl.DataFrame, title: str, *, width: int = 480) -> ChartType:
    """Draw what became of each file's lines: law 1 as stacked bars.

    Args:
        files: path and the counts inserted, updated, unchanged, superseded, overruled, rejected; a
            row a file or file revision.
        title: What is seen.
        width: In pixels.

    Returns:
        The chart, a bar a path; of many paths the `MAX_FILES` with most rejected lines, then most lines.
    """
    names = list(FATES)
    if files.is_empty():
        return nothing(title, width)
    sums = files.group_by("path").agg(pl.col(names).sum()).filter(pl.sum_horizontal(names) > 0)
    if sums.is_empty():
        return nothing(title, width)
    size = pl.sum_horizontal(names)
    shown = sums.sort("rejected", size, "path", descending=[True, True, False]).head(MAX_FILES).sort("path")
    ranks = {name: rank for rank, name in enumerate(names)}
    long = shown.unpivot(on=names, index="path", variable_name="fate", value_name="lines").filter(pl.col("lines") > 0)
    labels = _labels("path", shown["path"].to_list())
    drawn = (
        alt.Chart(long.with_columns(order=pl.col("fate").replace_strict(ranks, return_dtype=pl.Int64)))
        .mark_bar()
        .encode(
            alt.X("lines:Q", title="lines", axis=amounts(6)),
            labels,
            alt.Color("fate:N", title=None, sort=names).scale(domain=names, range=list(FATES.values())),
            alt.Order("order:Q"),
            tooltip=[alt.Tooltip("path:N"), alt.Tooltip("fate:N"), alt.Tooltip("lines:Q", format=",")],
        )
    )
    bad = shown.filter(pl.col("rejected") > 0).select(
        "path", total=pl.sum_horizontal(names), words=pl.format("{} rejected", "rejected")
    )
    words = (
        alt.Chart(bad)
        .mark_text(align="left", dx=5, color=VERMILION)
        .encode(alt.X("total:Q"), labels, alt.Text("words:N"))
    )
    told = ", ".join(f"{count:,} {name}" for name in names if (count := int(sums[name].sum())))
    told = f"{counted(sums.height, 'file')}: {told}"
    if sums.height > MAX_FILES:
        told += f"; the {MAX_FILES} with most rejected lines, then most lines"
    return alt.layer(drawn, words).properties(width=width, title=alt.Title(title, subtitle=told))


def rejects(reasons: pl.DataFrame, title: str, *, width: int = 480) -> ChartType:
    """Draw the quarantine by reason.

    Args:
        reasons: reason, lines; a line with several reasons counts under each.
        title: What is seen.
        width: In pixels.

    Returns:
        The chart, the commonest reason first; beyond `MAX_REASONS` the rarer ones are one bar.
    """
    if reasons.is_empty():
        return nothing(title, width)
    ranked = reasons.group_by("reason").agg(pl.col("lines").sum()).filter(pl.col("lines") > 0)
    if ranked.is_empty():
        return nothing(title, width)
    ranked = ranked.sort("lines", "reason", descending=[True, False])
    more = ranked[MAX_REASONS:]
    if more.height > 1:
        row = {"reason": f"… {more.height:,} rarer reasons", "lines": more["lines"].sum()}
        ranked = pl.concat([ranked[:MAX_REASONS], pl.DataFrame([row], schema=ranked.schema)])
    base = alt.Chart(ranked).encode(
        alt.X("lines:Q", title="lines", axis=amounts(6)),
        _labels("reason", ranked["reason"].to_list()),
        tooltip=["reason:N", alt.Tooltip("lines:Q", format=",")],
    )
    numbers = base.mark_text(align="left", dx=4).encode(text=alt.Text("lines:Q", format=","))
    commonest = f"{reasons['reason'].n_unique():,} reasons; the commonest: {ranked['reason'][0]}"
    told = commonest if reasons["reason"].n_unique() > 1 else "one reason"
    return alt.layer(base.mark_bar(color=VERMILION), numbers).properties(
        width=width, title=alt.Title(title, subtitle=told)
    )


def _labels(field: str, order: list[str]) -> alt.Y:
    return alt.Y(f"{field}:N", title=None, sort=order, axis=alt.Axis(labelLimit=320, labelExpr=LONG_LABEL))
