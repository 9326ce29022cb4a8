"""From a file's name and its first lines to what it is: layout, market, symbol, interval."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import tomllib
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import polars as pl

from lakehouse.errors import FileRefused, LakeError
from lakehouse.layouts import INTERVAL_SECONDS, INTERVAL_WORDS, SEPARATORS, Dataset, Form, Positional, fold
from lakehouse.parse import fits_format, normal_symbol, split_line

HEAD_LINES = 20  # banner lines and a header, or a few bad lines, are looked for in these
HINT = (
    "declare it in raw/sources.toml, for example\n"
    '    [[source]]\n    glob = "{path}"\n    columns = ["open_time", "open", "high", "low", "close", "volume"]'
)


@dataclass(frozen=True, slots=True)
class Declared:
    """What `raw/sources.toml` says of the files that match one glob; empty where it says nothing."""

    glob: str = "*"
    market: str = ""
    symbol: str = ""
    interval: str = ""
    time_zone: str = "UTC"
    time_format: str = ""
    columns: tuple[str, ...] = ()
    ignore: bool = False


def read_sources(text: str) -> list[Declared]:
    """Read `raw/sources.toml`.

    Args:
        text: A TOML document with an array of tables `source`; each needs `glob`, and may give
            `market`, `symbol`, `interval`, `time_zone`, `time_format`, `columns`, `ignore`.

    Returns:
        The declarations in their order; the first glob that matches a file wins.

    Raises:
        LakeError: The document is not TOML, or says what is not known.
    """
    known = {field.name: type(field.default) for field in fields(Declared)}
    try:
        entries: list[dict[str, Any]] = tomllib.loads(text).get("source", [])
        for entry in entries:
            for name, value in entry.items():
                if name not in known:
                    raise ValueError(f"unknown key '{name}'; known are {', '.join(known)}")
                if not isinstance(value, list if name == "columns" else known[name]):
                    raise ValueError(f"'{name}' is {value!r}; expected a {known[name].__name__}")
            if "glob" not in entry:
                raise ValueError("an entry has no 'glob', which says which files it is about")
            if entry.get("interval", "1m") not in (*INTERVAL_SECONDS, "1mo"):
                raise ValueError(f"interval '{entry['interval']}'; expected one of {', '.join(INTERVAL_SECONDS)}, 1mo")
            zoneinfo.ZoneInfo(entry.get("time_zone", "UTC"))
            if entry.get("time_format"):
                fits_format("", entry["time_format"])
    except (ValueError, zoneinfo.ZoneInfoNotFoundError, pl.exceptions.PolarsError) as error:
        raise LakeError(f"raw/sources.toml: {str(error).splitlines()[0]}") from error
    return [Declared(**{**entry, "columns": tuple(entry.get("columns", ()))}) for entry in entries]


def declared_for(path: str, sources: Sequence[Declared]) -> Declared:
    """Find the first declaration whose glob matches a path; an empty one if none does."""
    return next((s for s in sources if fnmatch.fnmatchcase(path, s.glob)), Declared())


def recognise(path: str, inner: str, head: bytes, dataset: Dataset, declared: Declared) -> Form:
    """Tell how a file is to be read.

    Args:
        path: The path below raw/.
        inner: The name of the member, if the file is a zip; else the path's last part.
        head: The first bytes of the unpacked file, whole lines.
        dataset: What is looked for.
        declared: What sources.toml says of this file.

    Returns:
        The form, its interval still empty if only the spacing of the bars can tell it.

    Raises:
        FileRefused: It is something else, or its symbol cannot be told; the message says what to do.
    """
    _refuse_non_text(head)
    lines = head.decode("utf-8", "backslashreplace").removeprefix("\ufeff").split("\n")[:HEAD_LINES]
    lines = [line.rstrip("\r") for line in lines]
    form = _declared_form(lines, declared) or _by_header(lines, dataset) or _by_position(lines, dataset)
    if form is None:
        raise FileRefused(_why_not(path, lines, dataset))
    symbol, interval = _names_in([inner, path.rsplit("/", 1)[-1]], dataset)
    folder = path.split("/", maxsplit=1)[0] if "/" in path else ""
    form = replace(
        form,
        market=declared.market or folder or form.market,
        symbol=declared.symbol or ("" if "symbol" in form.columns else symbol or form.symbol),
        interval=declared.interval or interval,
        time_zone=declared.time_zone,
        time_format=declared.time_format,
    )
    if not form.symbol and "symbol" not in form.columns:
        raise FileRefused(
            f"neither the name nor a column tells the symbol; rename the file (BTCUSDT_1h.csv) or "
            f'declare it in raw/sources.toml:\n    [[source]]\n    glob = "{path}"\n    symbol = "BTCUSDT"'
        )
    return form


def spacing(times: pl.Series) -> str:
    """Infer the interval from the commonest distance between neighbouring times; empty if it is no interval."""
    steps = times.drop_nulls().unique().sort().diff().drop_nulls()
    if steps.is_empty():
        return ""
    commonest = steps.value_counts(sort=True).sort("count", times.name, descending=[True, False])[times.name][0]
    days, seconds = divmod(commonest, dt.timedelta(days=1))
    if 28 <= days <= 31 and not seconds:
        return "1mo"
    return {v: k for k, v in INTERVAL_SECONDS.items()}.get(int(commonest.total_seconds()), "")


def _refuse_non_text(head: bytes) -> None:
    start = head[:4096]
    if start.startswith(b"version https://git-lfs"):
        raise FileRefused("a Git LFS pointer, not the data; run `git lfs pull` and copy the real file")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileRefused("UTF-16 text; save it as UTF-8 (Excel: 'CSV UTF-8')")
    if start.startswith(b"PAR1"):
        raise FileRefused("a Parquet file under a .csv name; export it as CSV")
    if re.match(rb"(\xef\xbb\xbf)?\s*<", start):
        raise FileRefused("HTML or XML saved as .csv, probably an error page; download the file again")
    if b"\r" in start and b"\n" not in start:
        raise FileRefused(
            "lines that end in a carriage return alone, as on old Macintoshes; convert them to line feeds"
        )
    control = len(re.findall(rb"[\x00-\x08\x0e-\x1f]", start))
    if control > len(start) // 20:
        raise FileRefused(f"binary data, not text (it starts with {start[:8]!r}); is it packed under a wrong name?")


def _declared_form(lines: Sequence[str], declared: Declared) -> Form | None:
    if not declared.columns:
        return None
    fits = {s: sum(len(split_line(line, s)) == len(declared.columns) for line in lines) for s in SEPARATORS}
    separator = max(SEPARATORS, key=lambda s: fits[s])
    header = next((line for line in lines[:1] if not any(map(str.isdigit, line))), "")
    return Form("declared", separator, declared.columns, len(lines[:1]) if header else 0, header, "default")


def _by_header(lines: Sequence[str], dataset: Dataset) -> Form | None:
    for number, line in enumerate(lines):
        if line.isascii() and not any(map(str.isalpha, line)):
            continue  # numbers alone
        for separator in SEPARATORS:
            folded = [fold(name) for name in split_line(line, separator)]
            columns = _header_columns(folded, dataset)
            if columns:
                layout = next(h for h in dataset.headed if h.signature <= set(folded))
                # Exports that were joined have bars before a header; only what is no bar is a banner.
                bars = (i for i, early in enumerate(lines[:number]) if _is_bar(early, separator, columns, dataset))
                banner = next(bars, number + 1)
                return Form(layout.name, separator, columns, banner, line, layout.market, layout.symbol)
    return None


def _is_bar(line: str, separator: str, columns: Sequence[str], dataset: Dataset) -> bool:
    fields = split_line(line, separator)
    return len(fields) == len(columns) and any(map(str.isdigit, fields[columns.index(dataset.time)]))


def _header_columns(folded: Sequence[str], dataset: Dataset) -> tuple[str, ...] | None:
    """Name each field of a header; None if a required column is not there."""
    found: dict[int, str] = {}
    for column, words in dataset.synonyms.items():
        place = next((folded.index(word) for word in words if word in folded), None)
        if place is not None:
            found[place] = column
    # CryptoDataDownload writes the asset into the name: the first such volume is the base asset's.
    assets = [i for i, name in enumerate(folded) if re.fullmatch(r"volume[a-z]{3,5}", name)]
    if (assets and "symbol" in found.values()) or len(assets) == 1:
        volumes = [i for i, name in enumerate(folded) if i in assets or name in ("volume", "volumecurrency")]
        found = {i: c for i, c in found.items() if c not in ("volume", "quote_volume")}
        found |= dict(zip(volumes, ("volume", "quote_volume"), strict=False))
    if not set(dataset.required) <= set(found.values()):
        return None
    return tuple(found.get(i, "") for i in range(len(folded)))


def _by_position(lines: Sequence[str], dataset: Dataset) -> Form | None:
    """Take the layout that the most of the first lines fit: as many fields, and a number wherever one is due."""

    def fits(fields: Sequence[str], layout: Positional) -> bool:
        if len(fields) != len(layout.fields):
            return False
        return all(
            any(map(str.isdigit, f)) if c == dataset.time else _is_number(f)
            for f, c in zip(fields, layout.fields, strict=True)
            if c
        )

    forms = {Form(p.name, s, p.fields, market=p.market): p for p in dataset.positional for s in p.separators}
    fit = {form: sum(fits(split_line(line, form.separator), p) for line in lines) for form, p in forms.items()}
    best = max(fit, key=lambda form: fit[form])
    return best if fit[best] else None


def _is_number(word: str) -> bool:
    try:
        float(word or "0")
    except ValueError:
        return False
    return True


def _names_in(candidates: Sequence[str], dataset: Dataset) -> tuple[str, str]:
    for name in candidates:
        stem = re.sub(r"(\.csv)?(\.gz|\.zip)?$", "", name, flags=re.IGNORECASE)
        for pattern in dataset.names:
            if match := pattern.search(stem):
                told = match.groupdict()
                symbol = pl.select(normal_symbol(pl.lit(told["symbol"]))).item()
                return symbol, INTERVAL_WORDS.get(told.get("interval", ""), "")
    return "", ""


def _why_not(path: str, lines: Sequence[str], dataset: Dataset) -> str:
    first = next((line for line in lines if line.strip()), "")
    for line in lines[:3]:
        folded = [fold(name) for name in split_line(line, max(SEPARATORS, key=line.count))]
        for refusal in dataset.refusals:
            met = all(any(re.search(p, name) for name in folded) for p in refusal.patterns)
            if met and not any(re.search(refusal.unless, name) for name in folded):
                return refusal.message
        numbers = [name for name in folded if name.isdigit()]
        if len(folded) in (3, 4) and len(numbers) == len(folded):
            return (
                f"{len(folded)} numbers a line and no header: trades, not candles? (first line: {first[:120]!r}) "
                "Aggregate them to open, high, low, close, volume per interval first"
            )
    return f"no layout that is known; its first line is {first[:120]!r}. If it holds bars, {HINT.format(path=path)}"
