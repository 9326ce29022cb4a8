"""Five thousand files: killed at random and resumed, complete and verified at the end, in memory that does not grow."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakehouse.download import StandIn
from lakehouse.download.standin import zipped

FILES, SYMBOLS, BYTES = 5_000, 20, 20_000
FETCH = """
import json, resource, sys
from lakehouse import Lake
from lakehouse.download import download
symbols = [f"S{at:02d}USDT" for at in range(int(sys.argv[2]))]
report = download(Lake(sys.argv[1]), symbols, ["1m"], archive=sys.argv[3])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB, where it is counted in KiB
print(json.dumps([report.files.height, report.untouched, report.complete, report.seconds, peak]))
"""


def start(root: Path, symbols: int, url: str) -> subprocess.Popen[str]:
    (root / "raw").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", FETCH, str(root), str(symbols), url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, int, bool, float, float]:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    fetched, untouched, complete, seconds, peak = json.loads(out)
    return fetched, untouched, complete, seconds, peak


def zips(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.zip") if not path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in another unit elsewhere")
def test_five_thousand_files_are_whole_after_kills_and_memory_does_not_grow_with_them(tmp_path: Path) -> None:
    chance = random.Random(0)
    with StandIn() as there:
        for at in range(FILES):
            name = f"S{at % SYMBOLS:02d}USDT-1m-{dt.date(2023, 1, 1) + dt.timedelta(days=at // SYMBOLS)}"
            content = zipped(f"{name}.csv", chance.randbytes(BYTES))
            there.publish(f"data/spot/daily/klines/{name.partition('-')[0]}/1m/{name}.zip", content)
        few = finish(start(tmp_path / "few", 2, there.url))
        assert few[:3] == (FILES * 2 // SYMBOLS, 0, True)
        many = finish(start(tmp_path / "many", SYMBOLS, there.url))
        assert many[:3] == (FILES, 0, True)
        root, kills = tmp_path / "killed", list[int]()
        while (before := len(zips(root))) < FILES * 3 // 4 and len(kills) < 6:
            process = start(root, SYMBOLS, there.url)
            until, end = before + chance.randrange(20, 900), time.monotonic() + 120
            while len(zips(root)) < until and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            process.kill()
            process.communicate()
            kills.append(len(zips(root)))
            for path in zips(root):  # whatever is there is whole, at any moment
                assert path.read_bytes() == there.files[path.relative_to(root / "raw").as_posix()]
        for part in root.rglob("*.part"):  # left by the kills; the next download sweeps those that are old
            os.utime(part, (0, 0))
        rest = finish(start(root, SYMBOLS, there.url))
        assert (rest[0] + rest[1], rest[1], rest[2]) == (FILES, kills[-1], True)
        assert len(zips(root)) == FILES
        assert all(path.read_bytes() == there.files[path.relative_to(root / "raw").as_posix()] for path in zips(root))
        assert not [*root.rglob("*.part")]
        assert finish(start(root, SYMBOLS, there.url))[:3] == (0, FILES, True)
    print(f"\n{FILES * BYTES / 1e6:.0f} MB in {many[3]:.0f} s, killed at {kills} files")
    print(
        f"peak MiB: {few[4]:.0f} for {few[0]} files, {many[4]:.0f} for {many[0]}, {rest[4]:.0f} for the last {rest[0]}"
    )
    assert many[4] < few[4] + 40  # MiB: the listing and the account of 5,000 files, and no bytes of theirs
