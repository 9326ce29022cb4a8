"""The synthetic files that the project keeps in raw/: hourly bars, and the faults of real life."""

from __future__ import annotations

from pathlib import Path

from lakehouse.sample import write_sample


def write_example_raw(dest: Path, scratch: Path) -> list[Path]:
    """Write them; returns the seven files in order of name.

    The faults: nine hours are missing from BTCUSDT on 2024-12-17 from 03:00; `BTCUSDT-1h-2024-11 (1).csv` is a
    copy; the daily file of ETHUSDT for 2025-02-01 has five bad lines (5, 9, 13, 17 and 21) among its 24.
    """
    paths = write_sample(dest, symbols=["BTCUSDT"], last="2025-01")
    paths += write_sample(dest, symbols=["ETHUSDT"], first="2024-12", last="2025-01")
    (february,) = write_sample(scratch, symbols=["ETHUSDT"], first="2025-02")
    december = paths[1].read_bytes().splitlines(keepends=True)
    lost_from = 16 * 24 + 3  # lines before 03:00 of the 17th
    paths[1].write_bytes(b"".join(december[:lost_from] + december[lost_from + 9 :]))
    copy, broken = dest / "BTCUSDT-1h-2024-11 (1).csv", dest / "ETHUSDT-1h-2025-02-01.csv"
    copy.write_bytes(paths[0].read_bytes())
    broken.write_bytes(_break_lines(february.read_bytes().splitlines(keepends=True)[:24]))
    return sorted([*paths, copy, broken])


def _break_lines(lines: list[bytes]) -> bytes:
    """Break five lines, each in another way; a line's number is its index plus one."""
    fields = [line.decode().rstrip().split(",") for line in lines]
    fields[4][1] = "n/a?"  # text in a price
    fields[8][2], fields[8][3] = fields[8][3], fields[8][2]  # high below low
    del fields[12][7:]  # too few fields
    fields[16][5] = "-" + fields[16][5]  # negative volume
    fields[20][4] = "NaN"
    return "".join(",".join(words) + "\n" for words in fields).encode()
