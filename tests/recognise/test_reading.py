# ruff: noqa: E501  a kind of file is a line or two, and reads best as it stands
"""How files are written, kind by kind: header or data, clocks and labels, units, numbers. And each advice, followed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from klines import place

from lakehouse import IngestReport, Lake, ingest

Bar = tuple[str, float, float, float, float, float | None]  # when, open, high, low, close, volume
DAYS: list[Bar] = [
    ("2031-03-03 00:00", 100.5, 110.0, 90.5, 105.0, 11.0),
    ("2031-03-04 00:00", 105.0, 115.5, 95.0, 110.5, 12.0),
    ("2031-03-05 00:00", 110.5, 120.0, 99.0, 112.0, 13.0),
]
HOURS: list[Bar] = [(f"2031-03-03 0{hour}:00", *bar[1:]) for hour, bar in enumerate(DAYS, 7)]


def lines(bars: Sequence[Bar], template: str, header: str = "", sign: str = "") -> list[str]:
    """Lines of some bars: {t:%Y} is the time, {o} {h} {l} {c} {v} the numbers, with `sign` for the decimal mark."""
    written = []
    for when, *numbers in bars:
        words = {name: str(n).replace(".", sign or ".") for name, n in zip("ohlcv", numbers, strict=True)}
        written.append(template.format(t=dt.datetime.fromisoformat(when), **words))
    return [*([header] if header else []), *written]


COMMON = "{t:%Y-%m-%d},{o},{h},{l},{c},{v}"
CLHO = "{t:%Y-%m-%d},{c},{h},{l},{o},{v}"

# what → file name, lines, its entry in sources.toml, the bars
READ: dict[str, tuple[str, list[str], str, list[Bar]]] = {
    "yfinance with a ticker of digits": (
        "KUMA_1d.csv", lines(DAYS, CLHO, "Date,Close_9501.T,High_9501.T,Low_9501.T,Open_9501.T,Volume_9501.T"), "", DAYS
    ),
    "pandas with tuples": (
        "KUMA_1d.csv",
        lines(DAYS, CLHO, "Date,\"('Close', 'K9')\",\"('High', 'K9')\",\"('Low', 'K9')\",\"('Open', 'K9')\",\"('Volume', 'K9')\""),
        "",
        DAYS,
    ),
    "quantmod": (
        "KUMA_1d.csv",
        lines(DAYS, COMMON + ",{l}", "Index,KUMA.Open,KUMA.High,KUMA.Low,KUMA.Close,KUMA.Volume,KUMA.Adjusted"),
        'columns = { open_time = "Index" }',
        DAYS,
    ),
    "numbered names, an adjusted close between": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c},1.0,{v}", "date,1. open,2. high,3. low,4. close,5. adjusted close,6. volume"),
        "",
        DAYS,
    ),
    "a separator at the end of each line": (
        "KUMA_1d.csv", lines(DAYS, COMMON.replace(",", ";") + ";", "time;open;high;low;close;volume"), "", DAYS
    ),
    "a separator at the end of the header": (
        "KUMA_1d.csv", lines(DAYS, COMMON, "time,open,high,low,close,volume,"), "", DAYS
    ),
    "decimal commas": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%d.%m.%Y};{o};{h};{l};{c};{v}", "Date;Open;High;Low;Close;Volume", ","),
        "",
        DAYS,
    ),
    "decimal commas and no header": ("KUMA_1d.csv", lines(DAYS, "{t:%Y-%m-%d};{o};{h};{l};{c};{v}", "", ","), "", DAYS),
    "thousands": (
        "KUMA_1d.csv",
        lines([(t, o * 100, h * 100, low * 100, c * 100, 5e6) for t, o, h, low, c, _ in DAYS],
              '{t:%Y-%m-%d},"10,050.0","12,000.00","9,000.5","11,000.25","5,000,000"', "date,open,high,low,close,volume"),
        "",
        [(day[0], 10050.0, 12000.0, 9000.5, 11000.25, 5e6) for day in DAYS],
    ),
    "currency signs and powers of ten": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},${o},${h},${l},${c},1.25M", "date,open,high,low,close,volume"),
        "",
        [(*day[:5], 1.25e6) for day in DAYS],
    ),
    "date and time in two columns of ten, by place": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y/%m/%d}, {t:%H:%M:%S.%f}, {o}, {h}, {l}, {c}, {v}, 0, 0, 0"),
        'columns = ["open_time", "open_time", "open", "high", "low", "close", "volume", "", "", ""]',
        HOURS,
    ),
    "the same, by name": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y-%m-%d},{t:%H:%M},{o},{h},{l},{c},{v}", "Tag,Uhr,A,B,C,D,E"),
        'columns = { open_time = ["Tag", "Uhr"], open = "A", high = "B", low = "C", close = "D", volume = "E" }',
        HOURS,
    ),
    "the close that is meant": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},1.0,{v},{c}", "date,open,high,low,close,volume,Adj Close"),
        'columns = { close = "Adj Close" }',
        DAYS,
    ),
    "the day in the name": (
        "KUMA_2031-03-03.csv", lines(HOURS, "{t:%H:%M:%S},{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"),
        'symbol = "KUMA"\ndate_in_name = true', HOURS,
    ),
    "the day in the name, half days": (
        "KUMA_20310303.csv", lines(HOURS, "{t:%I:%M %p},{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"),
        'symbol = "KUMA"\ndate_in_name = true\ntime_format = "%I:%M %p"', HOURS,
    ),
    "Java's zones": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y-%m-%dT%H:%M:%S}Z[Etc/UTC],{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"),
        "",
        HOURS,
    ),
    "last days of months": (
        "KUMA_1mo.csv",
        lines([("2030-11-30", *DAYS[0][1:]), ("2030-12-31", *DAYS[1][1:]), ("2031-01-31", *DAYS[2][1:])], COMMON,
              "date,open,high,low,close,volume"),
        "",
        [(f"{day} 00:00", *bar[1:]) for day, bar in zip(("2030-11-01", "2030-12-01", "2031-01-01"), DAYS, strict=True)],
    ),
    "last working days of months": (
        "KUMA_1mo.csv",
        lines([("2031-01-31", *DAYS[0][1:]), ("2031-02-28", *DAYS[1][1:]), ("2031-03-28", *DAYS[2][1:])], COMMON,
              "date,open,high,low,close,volume"),
        "",
        [(f"{day} 00:00", *bar[1:]) for day, bar in zip(("2031-01-01", "2031-02-01", "2031-03-01"), DAYS, strict=True)],
    ),
    "ends of days": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d}T23:59:59.999Z,{o},{h},{l},{c},{v}", "date,open,high,low,close,volume"),
        "",
        DAYS,
    ),
    "close times alone": (
        "KUMA_1h.csv",
        lines([(f"2031-03-03 {8 + i:02}:00", *bar[1:]) for i, bar in enumerate(HOURS)],
              "{t:%Y-%m-%d %H:%M:%S},{o},{h},{l},{c},{v}", "close_time,open,high,low,close,volume"),
        "",
        HOURS,
    ),
    "HistData in summer": (
        "HISTDATA_COM_ASCII_EURUSD_M12031.csv",
        ["20310706 170000;1.10;1.20;1.05;1.12;0", "20310706 170100;1.12;1.20;1.05;1.12;0"],
        "",
        [("2031-07-06 21:00", 1.10, 1.20, 1.05, 1.12, 0.0), ("2031-07-06 21:01", 1.12, 1.20, 1.05, 1.12, 0.0)],
    ),
    "semicolons that are not HistData's": (
        "KUMA_1d.csv", lines(DAYS, COMMON.replace(",", ";")), "", DAYS
    ),
    "the doubled hour": (
        "KUMA_30m.csv",
        [f"2031-11-02 {at},10,20,5,12,{n}" for n, at in enumerate(("01:00", "01:30", "01:00", "01:30", "02:00"))],
        'time_zone = "America/New_York"',
        [(f"2031-11-02 0{5 + n // 2}:{30 * (n % 2):02}", 10.0, 20.0, 5.0, 12.0, float(n)) for n in range(5)],
    ),
    "the doubled hour, newest first": (
        "KUMA_1h.csv",
        [f"2031-11-02 {at},10,20,5,12,{n}" for n, at in enumerate(("02:00", "01:00", "01:00", "00:00"))],
        'time_zone = "America/New_York"',
        [(f"2031-11-02 0{7 - n}:00", 10.0, 20.0, 5.0, 12.0, float(n)) for n in (3, 2, 1, 0)],
    ),
    "Poloniex": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{c},{h},{l},{o},{v},1250.0", "date,close,high,low,open,quoteVolume,volume"),
        "",
        DAYS,
    ),
    "Huobi": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{c},{l},{h},{v},1250.0,7", "id_time,open,close,low,high,amount,vol,count"),
        'columns = { open_time = "id_time" }',
        DAYS,
    ),
    "OKX's contracts": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c},99000,{v},1250.0", "ts,open,high,low,close,vol,volCcy,volCcyQuote"),
        "",
        DAYS,
    ),
    "HitBTC": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{c},{l},{h},{v},1250.0", "timestamp,open,close,min,max,volume,volumeQuote"),
        "",
        DAYS,
    ),
    "contracts of a hundred dollars": (
        "BTCUSD_PERP-1d-2031-03.csv",
        [f"{1930262400000 + n * 86400000},100,120,90,110,{50 + n},{1930262400000 + n * 86400000 + 86399999},"
         f"{(50 + n) * 100 / 105},7,5,4.5,0" for n in range(3)],
        "",
        [(f"2031-03-0{3 + n} 00:00", 100.0, 120.0, 90.0, 110.0, (50 + n) * 100 / 105) for n in range(3)],
    ),
    "MetaTrader without real volumes": (
        "KUMA_D1.csv",
        lines(DAYS, "{t:%Y.%m.%d}\t00:00:00\t{o}\t{h}\t{l}\t{c}\t{v}\t0\t5",
              "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"),
        "",
        DAYS,
    ),
    "fixed point": (
        "KUMA_1d.csv",
        [f"{dt.datetime.fromisoformat(f'{t}+00:00').timestamp():.0f}000000000,35,1,9,{o * 1e9:.0f},{h * 1e9:.0f},{low * 1e9:.0f},"
         f"{c * 1e9:.0f},{v:.0f}" if n else "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume"
         for n, (t, o, h, low, c, v) in enumerate([DAYS[0], *DAYS])],
        "",
        DAYS,
    ),
    "the same with decimals": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},35,1,9,{o},{h},{l},{c},{v}",
              "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume"),
        "",
        DAYS,
    ),
    "cents": ("KUMA_1d.csv", lines(DAYS, COMMON, "date,open,high,low,close,volume"), "price_scale = 0.01",
              [(t, *(n / 100 for n in prices), v) for t, *prices, v in DAYS]),
    "tabs in a text file": ("KUMA_1d.txt", lines(DAYS, COMMON.replace(",", "\t")), "", DAYS),
}  # fmt: skip

# what → file name, lines, its entry, words of the refusal, the bars after the advice has been followed
REFUSED: dict[str, tuple[str, list[str], str, str, list[Bar]]] = {
    "a time column of an unknown name": (
        "KUMA_1d.csv", lines(DAYS, COMMON + ",Last", "stamp_utc,open,high,low,close,volume,kind"), "",
        "no layout that is known", DAYS,
    ),
    "Unnamed: 0": ("KUMA_1d.csv", lines(DAYS, CLHO, "Unnamed: 0,close,high,low,open,volume"), "", "no layout", DAYS),
    "three lines of header": (
        "KUMA_1d.csv",
        ["Price,Close,High,Low,Open,Volume", "Ticker,K,K,K,K,K", "Date,,,,,", *lines(DAYS, CLHO)], "", "no layout",
        DAYS,
    ),
    "names in another language": (
        "KUMA_1d.csv", lines(DAYS, "{t:%Y-%m-%d},{o},{c},{h},{l},{v}", "日期,开盘,收盘,最高,最低,成交量"), "", "no layout",
        DAYS,
    ),
    "declared columns in the wrong order": (
        "KUMA_1d.csv", lines(DAYS, "{t:%Y-%m-%d},{o},{c},{h},{l},{v}", "日期,开盘,收盘,最高,最低,成交量"),
        'columns = ["open_time", "open", "high", "low", "close", "volume"]', "high is below open, low or close, and so in",
        DAYS,
    ),
    "declared columns against the header": (
        "KUMA_1d.csv", lines(DAYS, CLHO, "date,close,high,low,open,volume"),
        'columns = ["open_time", "open", "high", "low", "close", "volume"]', "calls open what its header calls 'close'",
        DAYS,
    ),
    "too few declared": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y/%m/%d}, {t:%H:%M}, {o}, {h}, {l}, {c}, {v}", "Date, Time, Open, High, Low, Last, Volume"),
        'columns = ["open_time", "open", "high", "low", "close", "volume"]', "names 6 columns, and its lines have 7 fields",
        HOURS,
    ),
    "no header, close second": (
        "KUMA_1d.csv", [f"2031-01-{day:02},{50 + day},{51 + day},{59 + day},{41 + day},7" for day in range(1, 20)], "",
        "it has no header", [(f"2031-01-{d:02} 00:00", 50.0 + d, 59.0 + d, 41.0 + d, 51.0 + d, 7.0) for d in range(1, 20)],
    ),
    "years of two digits": (
        "KUMA_1d.csv", lines(DAYS, "{t:%d.%m.%y};{o};{h};{l};{c};{v}", "Date;Open;High;Low;Close;Volume"), "",
        "open_time is off the epoch", DAYS,
    ),
    "months in letters": (
        "KUMA_1d.csv", lines(DAYS, "{t:%d-%b-%Y},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"), "",
        "open_time is not a time", DAYS,
    ),
    "months first, by the spacing": (
        "KUMA_1d.csv", lines(DAYS, "{t:%m/%d/%Y},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"), "",
        "open_time is not a time", DAYS,
    ),
    "months first, and declared otherwise": (
        "KUMA_1d.csv", lines(DAYS, "{t:%m/%d/%Y},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"),
        'time_format = "%d/%m/%Y"', "its bars are a month apart, and 1d apart with the day", DAYS,
    ),
    "a format that was taken": (
        "KUMA_1h.csv", lines(HOURS, "{t:%Y%m%d %H:%M},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"),
        'time_format = "%d/%m/%Y %H:%M"', "open_time is not a time", HOURS,
    ),
    "hours alone, the day in the name": (
        "KUMAUSD_1h_2031-03-03.csv", lines(HOURS, "{t:%H:%M},{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"), "",
        "they tell hours and no day", HOURS,
    ),
    "a date without its time": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y/%m/%d}, {t:%H:%M}, {o}, {h}, {l}, {c}, {v}", "Date, Time, Open, High, Low, Last, Volume"),
        'columns = ["open_time", "", "open", "high", "low", "close", "volume"]', "the time is not whole", HOURS,
    ),
    "a date without its time, by name": (
        "KUMA_1h.csv",
        lines(HOURS, "{t:%Y-%m-%d},{t:%H:%M},{o},{h},{l},{c},{v}", "day,clock,open,high,low,close,volume"),
        'columns = { open_time = "day" }', "the time is not whole", HOURS,
    ),
    "one of the two hours": (
        "KUMA_1h.csv",
        [f"2031-11-02 0{hour}:00,10,20,5,12,{hour}" for hour in range(3)], 'time_zone = "America/New_York"',
        "twice, and the file has it once",
        [(f"2031-11-02 0{at}:00", 10.0, 20.0, 5.0, 12.0, v) for at, v in ((4, 0.0), (5, 1.0), (7, 2.0))],
    ),
    "weeks that end on Sunday": (
        "KUMA_1w.csv",
        lines([("2031-03-02", *DAYS[0][1:]), ("2031-03-09", *DAYS[1][1:])], COMMON, "date,open,high,low,close,volume"), "",
        "does it begin or end one?",
        [("2031-02-24 00:00", *DAYS[0][1:]), ("2031-03-03 00:00", *DAYS[1][1:])],
    ),
    "commas that may be either": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d};1,500;1,900;1,100;1,600;7", "date;open;high;low;close;volume"), "",
        "may be read in two ways", [(day[0], 1.5, 1.9, 1.1, 1.6, 7.0) for day in DAYS],
    ),
    "lots of a hundred": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c},5,52000", "date,open,high,low,close,volume,amount"), "",
        "its volumes are in another unit", [(*day[:5], 500.0) for day in DAYS],
    ),
    "contracts that nobody knows": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c},5,7", "date,open,high,low,close,volume,turnover"), "",
        "its volumes are in another unit", [(*day[:5], None) for day in DAYS],
    ),
    "contracts without a header": (
        "KUMAUSDT-1d-2031-03.csv",
        [f"{1930262400000 + n * 86400000},100,120,90,110,3,{1930262400000 + n * 86400000 + 86399999},5,7,1,2,0"
         for n in range(3)], "",
        "its volumes are in another unit", [(f"2031-03-0{3 + n} 00:00", 100.0, 120.0, 90.0, 110.0, None) for n in range(3)],
    ),
    "prices in billionths": (
        "KUMA_1d.csv",
        [f"{t[:10]},{o * 1e9:.0f},{h * 1e9:.0f},{low * 1e9:.0f},{c * 1e9:.0f},{v:.0f}" for t, o, h, low, c, v in DAYS], "",
        "if they count billionths", DAYS,
    ),
    "an interval that the bars belie": (
        "KUMA_1d.csv", lines(HOURS, "{t:%Y-%m-%d %H:%M},{o},{h},{l},{c},{v}", "date,open,high,low,close,volume"), "",
        "they are 1h apart", HOURS,
    ),
}  # fmt: skip


# refused, and there is nothing to paste: what the message says
HOPELESS: dict[str, tuple[str, list[str], str, str]] = {
    "times that are spoilt": (
        "KUMA_1d.csv", [f"-68400000000000,10,20,5,12,{n}" for n in range(3)], "", "is no date, and no time in seconds"
    ),
    "a zone that has no name": (
        "KUMA_1h.csv", lines(HOURS, "{t:%Y-%m-%d %H:%M} EST,{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"), "",
        "write times like 2024-01-31",
    ),
    "hours, and no day anywhere": (
        "KUMA_1h.csv", lines(HOURS, "{t:%H:%M},{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"), "",
        "which is read from a name such as",
    ),
    "a name without the declared day": (
        "KUMA_1h.csv", lines(HOURS, "{t:%H:%M},{o},{h},{l},{c},{v}", "time,open,high,low,close,volume"),
        "date_in_name = true", "in this name none does; expected one such as 2024-01-31",
    ),
    "bids and asks side by side": (
        "KUMA_1d.csv", lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c}", "date,bid_open,bid_high,bid_low,bid_close"), "",
        "or several prices of one",
    ),
    "names that are not there": (
        "KUMA_1d.csv", lines(DAYS, COMMON, "date,open,high,low,close,volume"), 'columns = { open = "Price" }',
        "names the columns Price, and none of its first 20 lines has these names",
    ),
    "names that do not suffice": (
        "KUMA_1d.csv", lines(DAYS, COMMON, "a,b,c,d,e,f"), 'columns = { open_time = "a" }', 'give its name too: open = "…"',
    ),
    "an advice that was pasted as it is, with its dots": (
        "KUMA_1d.csv", lines(DAYS, COMMON, "a,b,c,d,e,f"), 'columns = { open_time = "…", open = "…" }',
        "names the columns …, …, and none of its first 20 lines has these names",
    ),
    "the same, without a header": (
        "KUMA_1d.csv", ["a", "b"], 'columns = ["…", "…"]', "gives its columns as …, …; expected open_time, open"
    ),
    "declared volumes the wrong way round": (
        "KUMA_1d.csv",
        lines(DAYS, "{t:%Y-%m-%d},{o},{h},{l},{c},{v},1250.0", "date,open,high,low,close,x,y"),
        'columns = { quote_volume = "x", volume = "y" }', "its volumes are in another unit",
    ),
}  # fmt: skip


def put(root: Path, kinds: Mapping[str, Sequence[object]]) -> str:
    """Each kind in a folder of its own, k0, k1, …; what sources.toml says of them."""
    told = []
    for number, (name, text, said, *_) in enumerate(kinds.values()):
        place(root, f"k{number}/{name}", text, header=False)  # type: ignore[arg-type]
        told += [f'[[source]]\nglob = "k{number}/*"\n{said}\n'] if said else []
    (root / "raw" / "sources.toml").write_text("\n".join(told))
    return "\n".join(told)


def errors(report: IngestReport) -> dict[str, str]:
    return {path.split("/")[0]: error for path, error in report.files.select("path", "error").iter_rows() if error}


def bars(lake: Lake) -> dict[str, list[Bar]]:
    found: dict[str, list[Bar]] = {}
    for file, when, *numbers in (
        lake.bronze.scan().select("_file", "open_time", "open", "high", "low", "close", "volume").collect()
    ).sort("open_time").iter_rows():  # fmt: skip
        found.setdefault(file.split("/")[0], []).append((f"{when:%Y-%m-%d %H:%M}", *numbers))
    return found


def follow(told: str, advice: str) -> str:
    """Do with sources.toml what an advice says."""
    if "[[source]]" in advice:
        return f"{told}\n{advice[advice.index('[[source]]') :]}\n"
    glob, line = re.search(r"the one with (glob = .*):\n    (.*)$", advice, re.DOTALL).groups()  # type: ignore[union-attr]
    head, _, rest = told.partition(glob)
    entry, sign, others = rest.partition("[[source]]")
    kept = [kept for kept in entry.splitlines() if kept.split(" = ")[0] != line.split(" = ")[0]]
    return "\n".join([head + glob, line, *kept, sign + others])


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, list[Bar]]]:
    root = tmp_path_factory.mktemp("read")
    put(root, READ)
    return errors(ingest(Lake(root))), bars(Lake(root))


@pytest.mark.parametrize(("number", "what"), [*enumerate(READ)], ids=[*READ])
def test_a_kind_of_file_is_read_right(
    number: int, what: str, read: tuple[dict[str, str], dict[str, list[Bar]]]
) -> None:
    assert read[0].get(f"k{number}") is None
    assert read[1].get(f"k{number}") == READ[what][3]


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str], dict[str, list[Bar]]]:
    root = tmp_path_factory.mktemp("advised")
    told = put(root, REFUSED)
    refused = errors(ingest(Lake(root)))
    for advice in refused.values():
        told = follow(told, advice)
    (root / "raw" / "sources.toml").write_text(told)
    return refused, errors(ingest(Lake(root))), bars(Lake(root))


@pytest.mark.parametrize(("number", "what"), [*enumerate(REFUSED)], ids=[*REFUSED])
def test_whoever_follows_an_advice_gets_the_right_table(
    number: int, what: str, advised: tuple[dict[str, str], dict[str, str], dict[str, list[Bar]]]
) -> None:
    refused, again, table = advised
    assert REFUSED[what][3] in refused.get(f"k{number}", "it was not refused")
    assert again.get(f"k{number}") is None
    assert table.get(f"k{number}") == REFUSED[what][4]


# Where an advice leaves two things open, the other one: what → its line, which bar, and what that says then
OTHERS = {
    "weeks that end on Sunday": ('label = "start"', 0, ("2031-03-02 00:00", *DAYS[0][1:])),
    "commas that may be either": ('decimal = "."', 0, (DAYS[0][0], 1500.0, 1900.0, 1100.0, 1600.0, 7.0)),
    "one of the two hours": ('doubled_hour = "second"', 1, ("2031-11-02 06:00", 10.0, 20.0, 5.0, 12.0, 1.0)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_other_thing_that_an_advice_leaves_open_is_read_too(what: str, tmp_path: Path) -> None:
    (line, number, bar), (name, text, said, *_) = OTHERS[what], REFUSED[what]
    put(tmp_path, {what: (name, text, f"{said}\n{line}")})
    assert errors(ingest(Lake(tmp_path))) == {}
    assert bars(Lake(tmp_path))["k0"][number] == bar


def test_what_cannot_be_told_says_what_it_met(tmp_path: Path) -> None:
    put(tmp_path, HOPELESS)
    told = errors(ingest(Lake(tmp_path)))
    for number, (what, (*_, words)) in enumerate(HOPELESS.items()):
        assert words in told.get(f"k{number}", ""), what


def test_times_that_can_be_read_in_two_ways_are_left_to_whoever_knows(tmp_path: Path) -> None:
    bars_meant = [(bar[0].replace("03-03", "03-04"), *bar[1:]) for bar in HOURS]
    text = lines(bars_meant, "{t:%m/%d/%Y} {t:%I:%M %p},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume")
    put(tmp_path, {"": ("KUMA_1h.csv", text, "", "")})
    advice = errors(ingest(Lake(tmp_path)))["k0"]
    assert "%d/%m/%Y %I:%M %p or as %m/%d/%Y %I:%M %p, and nothing tells which is meant" in advice
    (tmp_path / "raw" / "sources.toml").write_text(follow("", advice))
    assert errors(ingest(Lake(tmp_path))).keys() == {"k0"}  # nothing is chosen by pasting
    meant = follow("", advice).replace('# time_format = "%m', 'time_format = "%m')
    (tmp_path / "raw" / "sources.toml").write_text(meant)
    ingest(Lake(tmp_path))
    assert bars(Lake(tmp_path))["k0"] == bars_meant


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    notes = {
        "close times alone": "carry the times at which they end",
        "last days of months": "carry the times at which they end",
        "HistData in summer": "read as America/New_York's, the clock of histdata",
        "Poloniex": "volume is 'quotevolume' and quote volume 'volume'",
        "contracts of a hundred dollars": "it counts contracts of 100",
        "MetaTrader without real volumes": "volume is its count of ticks",
    }
    kinds = {what: READ[what] for what in notes}
    kinds["a misspelt name"] = (
        "KUMA_1d.csv", lines(DAYS, COMMON, "date,open,high,low,close,volumne"), "", [],
    )  # fmt: skip
    notes["a misspelt name"] = "its column 'volumne' was not used; if it is volume"
    put(tmp_path, kinds)
    said = ingest(Lake(tmp_path)).notes
    for number, words in enumerate(notes.values()):
        assert any(words in note for path, note in said.iter_rows() if path.startswith(f"k{number}/")), words
