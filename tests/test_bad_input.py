"""Whatever lies in raw/: each line is counted, each bad file is named, and the good file beside it loads."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from klines import HEADER, bar, hours, place
from systems import any_name

from lakehouse import Lake, ingest
from lakehouse.bronze.batch import BATCH_BYTES
from lakehouse.contracts import COUNTS
from lakehouse.raw.files import FileChanged, list_files
from lakehouse.recognise.opened import open_file
from lakehouse.recognise.sources import Declared

HEAD = HEADER.encode() + b"\n"


def text(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_csv", ".csv"), content)
    return packed.getvalue()


BARS = HEAD + text(*hours(0, 9))
LONG = gzip.compress(HEAD + text(*[bar(hour, close=5 + hour % 9) for hour in range(5000)]))
SECONDS = bar(1).replace("000,10.0", ",10.0", 1)
MICROS = bar(2).replace(",10.0", "000,10.0", 1)
NANOS = bar(3).replace(",10.0", "000000,10.0", 1)
QUOTED = "\n".join('"' + line.replace(",", '","') + '"' for line in (HEADER, bar(0), bar(1)))

# name → bytes, then what becomes of it: (read, rejected, skipped, reasons of the first rejected line)
COUNTED: dict[str, tuple[bytes, tuple[int, int, int], list[str]]] = {
    "empty": (b"", (0, 0, 0), []),
    "header only": (HEAD, (0, 0, 1), []),
    "blank lines only": (b"\n\n \n", (0, 0, 3), []),
    "a NUL byte in a price": (
        HEAD + text(bar(0), bar(1).replace("20.0", "2\x000.0")),
        (2, 1, 1),
        ["high is not a number"],
    ),
    "last line cut off": (HEAD + text(bar(0)) + bar(2)[:25].encode(), (2, 1, 1), ["4 fields, not 6"]),
    "no line feed at the end": (HEAD + bar(0).encode(), (1, 0, 1), []),
    "too few fields": (HEAD + text(bar(0), bar(1).rsplit(",", 1)[0], bar(2)), (3, 1, 1), ["5 fields, not 6"]),
    "too many fields": (HEAD + text(bar(0), bar(1) + ",7", bar(2)), (3, 1, 1), ["7 fields, not 6"]),
    "header repeated": (HEAD + text(bar(0)) + HEAD + text(bar(1)), (2, 0, 2), []),
    "bars before the header": (text(bar(0), bar(1)) + HEAD + text(bar(2)), (3, 0, 1), []),
    "NaN": (HEAD + text(bar(0).replace("20.0", "NaN"), bar(1)), (2, 1, 1), ["high is missing"]),
    "inf": (HEAD + text(bar(0).replace("20.0", "inf"), bar(1)), (2, 1, 1), ["high is not finite"]),
    "-inf": (HEAD + text(bar(0).replace("5.0", "-inf"), bar(1)), (2, 1, 1), ["low is not finite"]),
    "negative volume": (HEAD + text(bar(0, volume=-1), bar(1)), (2, 1, 1), ["volume is negative"]),
    "high below low": (
        HEAD + text(bar(0).replace("20.0", "2.0"), bar(1)),
        (2, 1, 1),
        ["high is below open, low or close"],
    ),
    "s, ms, µs and ns mixed": (HEAD + text(bar(0), SECONDS, MICROS, NANOS), (4, 0, 1), []),
    "the year 56971": (
        HEAD + text(bar(0), "56971-01-01 00:00:00,10,20,5,10,1"),
        (2, 1, 1),
        ["open_time is not a time"],
    ),
    "the number 5 as a time": (HEAD + text(bar(0), "5,10,20,5,10,1"), (2, 1, 1), ["open_time is not a time"]),
    "off the epoch": (HEAD + text(bar(0), "2101-01-01,10,20,5,10,1"), (2, 1, 1), ["open_time is off the epoch"]),
    "byte order mark": (b"\xef\xbb\xbf" + BARS, (10, 0, 1), []),
    "byte order mark without header": (b"\xef\xbb\xbf" + text(*hours(0, 9)), (10, 0, 0), []),
    "Windows line ends": (BARS.replace(b"\n", b"\r\n"), (10, 0, 1), []),
    "semicolons": (BARS.replace(b",", b";"), (10, 0, 1), []),
    "bars between": (BARS.replace(b",", b"|"), (10, 0, 1), []),
    "tabs": (BARS.replace(b",", b"\t"), (10, 0, 1), []),
    "bad UTF-8 in a column that is not kept": (
        HEAD.replace(b"volume", b"volume,note") + bar(0).encode() + b",\xff\xfe\n",
        (1, 0, 1),
        [],
    ),
    "bad UTF-8 in a price": (
        HEAD + text(bar(1)) + bar(0).encode().replace(b"20.0", b"2\xff.0"),
        (2, 1, 1),
        ["high is not a number"],
    ),
    "quotes around all fields": (QUOTED.encode(), (2, 0, 1), []),
    "a stray quote": (
        HEAD + text(bar(0), '"' + bar(1), bar(2)),
        (3, 1, 1),
        ["1 fields, not 6", "open_time is not a time"],
    ),
    "blanks around the fields": (HEAD + text(bar(0).replace(",", " , ")), (1, 0, 1), []),
    "exponents and signs": (HEAD + text(bar(0).replace("20.0", "2e1").replace("10.0", "+10.0")), (1, 0, 1), []),
    "decimal commas": (
        HEAD.replace(b",", b";") + text(bar(0).replace(",", ";").replace("20.0", "20,0"), bar(1).replace(",", ";")),
        (2, 1, 1),
        ["high is not a number"],
    ),
    "comments": (b"# by x\n" + HEAD + text(bar(0)), (1, 0, 2), []),
    "sep= line of Excel": (b"sep=,\n" + HEAD + text(bar(0)), (1, 0, 2), []),
    "a footer": (
        HEAD + text(bar(0), "© the vendor"),
        (2, 1, 1),
        ["1 fields, not 6", "open_time is not a time"],
    ),
    "a line of 200 KB": (
        HEAD + text(bar(0), "x" * 200_000, bar(1)),
        (3, 1, 1),
        ["1 fields, not 6", "open_time is not a time"],
    ),
    "capitals": (HEAD.upper() + text(bar(0)), (1, 0, 1), []),
    "a header in quotes": (b'"open_time","open","high","low","close"\n' + text(bar(0)[:-4]), (1, 0, 1), []),
    "header repeated, with a byte order mark": (BARS + b"\xef\xbb\xbf" + HEAD + text(bar(10)), (11, 0, 2), []),
    "a comment in the middle": (
        HEAD + text(bar(0), "# lunch", bar(1)),
        (3, 1, 1),
        ["1 fields, not 6", "open_time is not a time"],
    ),
    "the same header in other words": (HEAD + text(bar(0), "Time,Open,High,Low,Close,Vol", bar(1)), (2, 0, 2), []),
    "one time with too few digits among compact ones": (
        text("202403010000,10,20,5,10,1", "2024030101,10,20,5,10,1", "202403010200,10,20,5,10,1"),
        (3, 1, 0),
        ["open_time is not a time"],
    ),
    "one thousands separator": (
        HEAD + text(bar(0), bar(1).replace("20.0", '"20,000.0"')),
        (2, 0, 1),
        [],
    ),
    "thousands that are none": (
        HEAD + text(bar(0), bar(1).replace("20.0", '"20,00.0"')),
        (2, 1, 1),
        ["high is not a number"],
    ),
    "a currency sign": (HEAD + text(bar(0), bar(1).replace("20.0", "$20.0")), (2, 0, 1), []),
    "an epoch that has lost a digit": (
        HEAD + text(*hours(0, 2), bar(3).replace("1709262000000", "170926200000"), *hours(4, 5)),
        (6, 1, 1),
        ["open_time is years away from the lines around it"],
    ),
    "leading zeros and trailing blanks": (HEAD + text(bar(0).replace("20.0", "0020.0\u00a0")), (1, 0, 1), []),
    "Windows-1252": (
        (HEADER + ",note\n" + bar(0) + ",Käse\n").encode("cp1252") + text(bar(1) + ",x"),
        (2, 0, 1),
        [],
    ),
    "line ends of three kinds": (
        HEAD + f"{bar(0)}\r\n{bar(1)}\n{bar(2)}\r{bar(3)}\n".encode(),
        (3, 1, 1),
        ["11 fields, not 6", "volume is not a number"],
    ),
    "a form feed between pages": (HEAD + text(bar(0), "\x0c", bar(1)), (2, 0, 2), []),
    "the end-of-file mark of DOS": (
        BARS + b"\x1a",
        (11, 1, 1),
        ["1 fields, not 6", "open_time is not a time"],
    ),
    "two quotes that hold a line end between them": (
        HEAD + text(bar(0), bar(1) + '"', '"' + bar(2), bar(3)),
        (4, 2, 1),
        ["volume is not a number"],
    ),
    "a number too large for any price": (
        HEAD + text(bar(0).replace("20.0", "1e999"), bar(1)),
        (2, 1, 1),
        ["high is not finite"],
    ),
    "a separator at the very end": (HEAD + text(bar(0)) + bar(1).encode() + b",", (2, 1, 1), ["7 fields, not 6"]),
    "a zero bar": (HEAD + text("1709251200000,0,0,0,0,0"), (1, 0, 1), []),
    "compact dates, which are no epoch": (
        text("202403010000,10,20,5,10,1", "202403010100,10,20,5,10,1"),
        (2, 0, 0),
        [],
    ),
    "a date and a time in two columns": (
        b"<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\n2024.03.01\t00:00:00\t10\t20\t5\t10\n",
        (1, 0, 1),
        [],
    ),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "binary.csv": (bytes(range(256)) * 20, "binary data, not text"),
    "pointer.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "Git LFS pointer"),
    "page.csv": (b"\n<!DOCTYPE html><html></html>", "HTML or XML saved as .csv"),
    "utf16.csv": ((HEADER + "\n" + bar(0)).encode("utf-16"), "UTF-16 text; save it as UTF-8"),
    "mac.csv": (BARS.replace(b"\n", b"\r"), "carriage return alone"),
    "prose.csv": (b"hello world\nthis is text\n", "its first line is 'hello world'. If it holds bars, declare it"),
    "closes.csv": (b"date,close\n2024-01-01,5\n", "only a closing price"),
    "trades.csv": (b"time,price,qty,side\n1700000000000,5,1,buy\n", "trades, not candles"),
    "numbers.csv": (b"1700000000,5,1\n1700000001,5,1\n", "3 numbers a line and no header: trades"),
    "wide.csv": (b"date,BTC:open,BTC:close,ETH:open,ETH:close\n2024-01-01,1,2,3,4\n", "several assets side by side"),
    "unnamed.csv": (BARS, "neither the name nor a column tells the symbol"),
    "AAAUSDT.csv": (HEAD + text(bar(0)), "neither the name nor the spacing of the bars tells the interval"),
    "two.zip": (zipped(a_csv=BARS, b_csv=BARS), "neither the name nor a column tells the symbol"),
    "none.zip": (zipped(readme=b"x"), "a zip with 0 CSV files (it holds readme), not one"),
    "broken.zip": (zipped(a_csv=BARS)[:60], "cannot be unpacked"),
    "front cut off.zip": (zipped(a_csv=BARS)[50:], "cannot be unpacked"),
    "broken.csv.gz": (b"\x1f\x8b" + BARS, "cannot be unpacked"),
    "plain.csv.gz": (BARS, "cannot be unpacked (Not a gzipped file"),
    "days_first_AAAUSDT_1h.csv": (
        HEAD + text("01/03/2024 00:00,10,20,5,10,1", "01/03/2024 01:00,10,20,5,10,1"),
        "open_time is not a time, and so in all its lines",
    ),
    "commas_AAAUSDT_1h.csv": (
        BARS.replace(b",", b";").replace(b".0", b",000"),
        "open is not a number, and so in all its lines, such as '1709251200000;10,000;",
    ),
    "surplus_AAAUSDT_1h.csv": (HEAD + text(*[f"{line},9" for line in hours(0, 2)]), "7 fields, not 6, and so in all"),
    "german_AAAUSDT_1h.csv": (
        b"Datum,Start,Hoch,Tief,Schluss,Menge\n" + text(*hours(0, 2)),
        "its first line is 'Datum,Start,Hoch,Tief,Schluss,Menge'. If it holds bars, declare it",
    ),
    "twice_AAAUSDT_1h.csv": (
        HEAD.replace(b"volume", b"volume,close") + text(*[f"{line},9" for line in hours(0, 2)]),
        "its header names 'close' more than once",
    ),
    "joined_AAAUSDT_1h.csv": (
        HEAD + text(bar(0), "time,close,high,low,open,vol", bar(1)),
        "line 3 is another header, 'time,close,high,low,open,vol', and names other columns than the lines above it",
    ),
    "joined_wider_AAAUSDT_1h.csv": (
        text(*hours(0, 30)) + HEAD.replace(b"volume", b"volume,trades") + text(bar(31) + ",7"),
        "line 32 is another header, 'open_time,open,high,low,close,volume,trades'",
    ),
    "negative_AAAUSDT_1h.csv": (
        HEAD + text(bar(0, volume=-1), bar(1, volume=-1), bar(2).replace("20.0", "1.0")),
        "none of its lines is a bar: volume is negative in 2, such as '1709251200000,10.0,20.0,5.0,10.0,-1'",
    ),
    "unnamed_AAAUSDT_1h.csv": (
        b"Unnamed: 0,close,high,low,open,volume\n2024-01-02 00:00:00,1.105,1.11,1.09,1.10,10\n",
        "no layout that is known; its first line is 'Unnamed: 0,close",
    ),
    "AAAUSDT_1d.csv": (BARS, "the name tells bars of 1d, but they are 1h apart"),
    "words_AAAUSDT_1d.csv": (
        b"sep=,\nDatum,Schluss,Hoch,Tief,Start,Menge\n2024-03-01,11,20,5,9,1\n2024-03-02,11,20,5,9,1\n",
        "no layout that is known",
    ),
    "rounded_AAAUSDT_1h.csv": (
        HEAD + text("1.70925E+12,10,20,5,10,1", "1.70926E+12,10,20,5,10,1"),
        "open_time is not a time, and so in all its lines, such as '1.70925E+12",
    ),
    "lines_AAAUSDT_1h.csv": (b'[1709251200000,"10","20","5","10","1"]\n', "no layout that is known"),
    "limit_AAAUSDT_1h.csv": (b'{"code":-1003,"msg":"Too many requests"}', "no layout that is known"),
    "cut.csv.gz": (LONG[: len(LONG) // 2], "ended before the end-of-stream marker was reached"),
}


def ingest_beside_a_good_file(root: Path, name: str, content: bytes) -> tuple[Lake, dict[str, object]]:
    place(root, "GOODUSDT_1h.csv", hours(0, 9))
    path = root / "raw" / "in" / name
    path.parent.mkdir()
    path.write_bytes(content)
    lake = Lake(root)
    report = ingest(lake)
    assert lake.bronze.scan().filter(symbol="GOODUSDT").collect().height == 10
    for row in report.files.iter_rows(named=True):
        assert row["read"] == sum(row[fate] for fate in COUNTS[1:])
    return lake, report.files.filter(pl.col("path") != "GOODUSDT_1h.csv").row(0, named=True)


Together = tuple[Lake, dict[str, dict[str, object]]]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    """All of these in one lake, each in a market of its own; and what became of each file, by its market."""
    root = tmp_path_factory.mktemp("together")
    place(root, "GOODUSDT_1h.csv", hours(0, 9))
    files = {what: ("AAAUSDT_1h.csv", content) for what, (content, *_) in COUNTED.items()}
    files |= {name: (name, content) for name, (content, _) in REFUSED.items()}
    for number, (name, content) in enumerate(files.values()):
        path = root / "raw" / f"in{number}" / name
        path.parent.mkdir()
        path.write_bytes(content)
    lake = Lake(root)
    rows = {row["path"].split("/")[0]: row for row in ingest(lake).files.iter_rows(named=True)}
    assert rows.pop("GOODUSDT_1h.csv")["inserted"] == 10
    return lake, {what: rows[f"in{number}"] for number, what in enumerate(files)}


@pytest.mark.parametrize("what", COUNTED)
def test_bad_lines_are_counted_and_the_others_load(what: str, together: Together) -> None:
    _, (read, rejected, skipped), reasons = COUNTED[what]
    lake, row = together[0], together[1][what]
    assert (row["status"], row["error"]) == ("loaded" if read else "empty", None)
    assert (row["read"], row["rejected"], row["skipped"]) == (read, rejected, skipped)
    assert row["read"] == sum(int(str(row[fate])) for fate in COUNTS[1:])
    kept = lake.bronze.scan().filter(pl.col("_file") == row["path"]).collect()
    assert kept.height == read - rejected
    assert kept["symbol"].unique().to_list() == ["AAAUSDT"] * (kept.height > 0)
    if rejected:
        turned_away = lake.quarantine.scan().filter(pl.col("_file") == row["path"]).sort("_line").collect()
        assert turned_away["reasons"].to_list()[0] == reasons


@pytest.mark.parametrize("name", REFUSED)
def test_bad_files_are_refused_by_name_and_load_nothing(name: str, together: Together) -> None:
    lake, row = together[0], together[1][name]
    assert (row["status"], row["read"]) == ("failed", 0)
    assert REFUSED[name][1] in str(row["error"])
    assert lake.bronze.scan().filter(pl.col("_file") == row["path"]).collect().is_empty()


@pytest.mark.parametrize(
    ("name", "content"), [("AAAUSDT_1h.csv.gz", LONG), ("AAAUSDT_1h.zip", zipped(a_csv=BARS, readme=b"x"))]
)
def test_packed_files_are_read(name: str, content: bytes, tmp_path: Path) -> None:
    _, row = ingest_beside_a_good_file(tmp_path, name, content)
    assert row["inserted"] == (5000 if name.endswith("gz") else 10)


@pytest.mark.parametrize(
    "name", ["BT'C-1h-2024-03.csv", pytest.param('BT"C-1h-2024-03.csv', marks=any_name), "A%20#ü;DROP-1h-2024-03.csv"]
)
def test_odd_characters_in_a_name_break_nothing(name: str, tmp_path: Path) -> None:
    lake, row = ingest_beside_a_good_file(tmp_path, name, text(*hours(0, 4)))
    assert row["inserted"] == 5
    (tmp_path / "raw" / "in" / name).write_bytes(text(*hours(0, 4, close=12.0)))
    assert ingest(lake).updated == 5


@pytest.mark.parametrize(
    "name",
    [
        "__HIVE_DEFAULT_PARTITION__",
        *(pytest.param(name, marks=any_name) for name in (" ", "a ", "a\tb")),
        "\u200fa",
        "a\u2028b",
        "m" * 65,
    ],
)
def test_a_market_or_symbol_that_would_be_read_as_something_else_is_refused(name: str, tmp_path: Path) -> None:
    place(tmp_path, f"{name}/AAAUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "fine/BBBUSDT_1h.csv", hours(0, 4))
    place(tmp_path, "fine/declared.csv", hours(0, 4))
    place(tmp_path, "fine/CCC_1h.csv", [f"{bar(1)},{name}", f"{bar(2)},CCC"], header=False)
    columns = '["open_time", "open", "high", "low", "close", "volume", "symbol"]'
    word = json.dumps(name)
    (tmp_path / "raw" / "sources.toml").write_text(
        f'[[source]]\nglob = "fine/declared.csv"\nsymbol = {word}\n'
        f'[[source]]\nglob = "fine/CCC_1h.csv"\nmarket = "there"\ncolumns = {columns}\n',
        encoding="utf-8",
    )
    lake = Lake(tmp_path)
    errors = dict(ingest(lake).failed.select("path", "error").iter_rows())
    assert any(path.endswith("/AAAUSDT_1h.csv") for path in errors)
    said = ("is no name", "is too long", "neither the name", "cannot be read")  # the store itself refuses a tab
    assert all(any(words in error for words in said) for error in errors.values())
    kept = lake.bronze.scan().select("market", "symbol").unique().collect()
    assert kept.null_count().row(0) == (0, 0)
    assert set(kept["market"]) == {"fine", "there"}
    assert set(kept["symbol"]) <= {"BBBUSDT", "CCC", "A", "DECLARED"}


def test_a_folder_named_like_a_file_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "raw" / "folder.csv").mkdir(parents=True)
    ingest_beside_a_good_file(tmp_path, "AAAUSDT_1h.csv", BARS)


def test_a_file_that_grows_while_it_is_read_is_left_for_the_next_run(tmp_path: Path) -> None:
    path = place(tmp_path, "AAAUSDT_1h.csv", hours(0, 9))
    lake = Lake(tmp_path)
    (file,) = list_files(lake.raw)
    opened = open_file(lake.raw, file, lake.dataset, Declared(), {}, BATCH_BYTES)
    with path.open("a", encoding="utf-8") as grows:
        grows.write(bar(10) + "\n")
    with pytest.raises(FileChanged):
        list(opened.blocks)
    assert ingest(lake).inserted == 11
