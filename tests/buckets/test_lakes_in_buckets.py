"""A lake in a bucket is a lake in a folder, on a real object store on this machine."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import os
import random
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import obstore
import polars as pl
import pytest
from klines import hours, place
from obstore.store import from_url
from polars.testing import assert_frame_equal
from proxy import Proxy

from lakehouse import Lake, ingest, refresh_gold, refresh_silver, withdraw
from lakehouse.errors import InputError, LakeError
from lakehouse.lake import Table
from lakehouse.layers import clone, rehearse
from lakehouse.notebooks import read_results, run_notebook
from lakehouse.raw import files
from lakehouse.status import is_current, read_status

UNPACK = sys.modules["lakehouse.raw.unpack"]  # at its door the function has this name
SECRET = "s3cr3t"
DONE = 10**6  # seconds after the first bar: all bars are finished by then


def upload(url: str, root: Path) -> None:
    """Lay the raw files of a folder into a bucket, the oldest first: there the time of a file is its upload's."""
    store = from_url(url)
    for path in sorted((root / "raw").rglob("*.*"), key=lambda path: path.stat().st_mtime):
        obstore.put(store, f"raw/{path.relative_to(root / 'raw').as_posix()}", path.read_bytes())


def values(table: Table) -> pl.DataFrame:
    """The rows without what tells when they were uploaded and written: of two files of a second the path decides."""
    rows = table.scan().drop("_modified_at", "_ingested_at", "rejected_at", "why", strict=False).collect()
    return rows.sort(rows.columns)


def tables(lake: Lake) -> list[Table]:
    return [lake.bronze, lake.quarantine, lake.conflicts, lake.silver, lake.gaps, lake.gold, lake.monthly]


@pytest.mark.parametrize(
    "url",
    [
        f"s3://KEY:{SECRET}@bucket/lake",
        f"s3://KEY:{SECRET}/with/slashes@bucket",
        f"s3://{SECRET}@bucket",
        f"az://container/lake?sv=2024&sig={SECRET}",
        f"https://account.blob.core.windows.net/container?sig={SECRET}",
        f"abfss://container:{SECRET}@account.dfs.core.windows.net/lake",
        f"s3://bucket/lake#{SECRET}",
    ],
)
def test_keys_in_a_url_are_refused_and_not_repeated(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    monkeypatch.setenv("LAKEHOUSE_ROOT", url)
    for opened in (lambda: Lake(url), Lake, lambda: Lake(tmp_path, raw=url)):
        with pytest.raises(LakeError, match="must not hold keys") as caught:
            opened()
        assert SECRET not in str(caught.value)
        assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


@pytest.mark.parametrize("url", ["S3://bucket/lake", "s3:/bucket/lake", "s3:///lake", "https://host/lake", "abc://x"])
def test_a_url_that_names_no_bucket_says_what_is_expected(url: str) -> None:
    with pytest.raises(LakeError, match=f"^{url} names no bucket; a folder is expected, or a URL such as s3://bucket"):
        Lake(url)


@pytest.mark.slow
def test_what_is_wrong_with_a_bucket_is_one_sentence_within_seconds(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LakeError, match=r"^s3://nobucket/a cannot be opened: NoSuchBucket; make the bucket, or name"):
        Lake("s3://nobucket/a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(LakeError, match=r"^s3://lake/b cannot be opened: SignatureDoesNotMatch; set AWS_ACCESS_KEY_ID"):
        Lake("s3://lake/b")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(LakeError, match=r"^s3://lake/c cannot be opened: InvalidAccessKeyId; set AWS_ACCESS_KEY_ID"):
        Lake("s3://lake/c")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", closed)
        with pytest.raises(
            LakeError, match=f"^s3://lake/d cannot be opened: nothing answers at {closed}; look whether"
        ):
            Lake("s3://lake/d")
        silent.listen()
        began = dt.datetime.now(dt.UTC)
        with pytest.raises(
            LakeError, match=f"^s3://lake/e cannot be opened: nothing answers at {closed}; look whether"
        ):
            Lake("s3://lake/e")
        assert dt.datetime.now(dt.UTC) - began < dt.timedelta(seconds=20)  # deltalake alone waits for three minutes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bucket", "container"])
def test_a_lake_in_a_bucket_ends_as_one_in_a_folder(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root, url = tmp_path / "lake", request.getfixturevalue(kind)
    place(root, "one/AAA-1h.csv", [*hours(0, 40), "no,bar"], at=DONE)
    place(root, "one/z/AAA-1h.csv", hours(30, 60, 11.0), at=DONE + 5)
    place(root, "A%B C/AAB-1h.csv", hours(0, 5), at=DONE + 6)
    there, here = Lake(url), Lake(root)
    upload(url, root)
    for lake in (here, there):
        counts = ingest(lake)
        refresh_silver(lake)
        refresh_gold(lake)
    assert (counts.read, counts.rejected, len(counts.failed)) == (79, 1, 0)
    assert (ingest(there).untouched, is_current(there)) == (3, True)
    assert read_status(there).series.equals(read_status(here).series)
    for mine, other in zip(tables(here), tables(there), strict=True):
        assert_frame_equal(values(mine), values(other))
    place(root, "A%B C/AAB-1h.csv", hours(0, 5, 12.0), at=DONE + 7)
    obstore.put(from_url(url), "raw/A%B C/AAB-1h.csv", (root / "raw/A%B C/AAB-1h.csv").read_bytes())
    for lake in (here, there):
        assert (ingest(lake).updated, ingest(lake).read) == (6, 0)
        assert lake.bronze.diff(-2, -1)["market"].unique().to_list() == ["A%B C"]
        refresh_silver(lake)
        lake.bronze.restore(-2)
        withdraw(lake, "one/z/AAA-1h.csv")
        refresh_silver(lake)
        refresh_gold(lake)
        lake.bronze.optimize()
        lake.silver.vacuum()
    for mine, other in zip(tables(here), tables(there), strict=True):
        assert_frame_equal(values(mine), values(other))


@pytest.mark.slow
def test_a_lake_in_a_bucket_is_cloned_into_a_folder(bucket: str, tmp_path: Path) -> None:
    place(tmp_path / "lake", "A%B C/AAA-1h.csv", hours(0, 40))
    place(tmp_path / "lake", "A%B C/z/AAA-1h.csv", hours(30, 60, 11.0), at=5)
    upload(bucket, tmp_path / "lake")
    lake = Lake(bucket)
    ingest(lake)
    refresh_silver(lake)
    with pytest.raises(InputError, match="`lakehouse clone` downloads it"):
        rehearse(lake)
    (tmp_path / "trial").mkdir()
    trial = clone(lake, tmp_path / "trial")
    for mine, other in ((trial.bronze, lake.bronze), (trial.silver, lake.silver)):
        assert_frame_equal(values(mine), values(other))
    assert rehearse(trial)[0].files.is_empty()  # it knows the files by their times
    assert (tmp_path / "trial/raw/A%B C/AAA-1h.csv").read_bytes() == (
        tmp_path / "lake/raw/A%B C/AAA-1h.csv"
    ).read_bytes()
    trial.bronze.restore(0)
    assert trial.bronze.scan().collect().is_empty()
    assert lake.bronze.scan().collect().height == 61


def test_raw_files_may_lie_elsewhere_than_the_tables(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, "AAA-1h.csv", hours(0, 9))
    upload(bucket, tmp_path)
    (tmp_path / "tables").mkdir()
    mixed, reverse = Lake(tmp_path / "tables", raw=f"{bucket}/raw"), Lake(f"{bucket}/tables", raw=tmp_path / "raw")
    assert [ingest(lake).inserted for lake in (mixed, reverse)] == [10, 10]
    assert_frame_equal(values(mixed.bronze), values(reverse.bronze))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "tables"))
    monkeypatch.setenv("LAKEHOUSE_RAW", f"{bucket}/raw")
    assert [ingest(lake).untouched for lake in (Lake(), Lake(tmp_path / "tables"))] == [1, 1]
    assert Lake(tmp_path).raw_uri == str(tmp_path / "raw")  # another lake has raw files of its own


def test_files_of_a_bucket_are_read_in_every_packing(
    bucket: str, seaweed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = place(tmp_path, "x.csv", hours(0, 9)).read_bytes()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("CCC-1h.csv", text)
        archive.writestr("DDD-1h.csv", text)
        archive.writestr("notes.md", random.randbytes(2 * UNPACK.NAMES_BYTES))
        for number in range(100):
            archive.writestr(f"{1000 * 'long/'}{number}.md", "")  # more names than one look at the end can bring
    with zipfile.ZipFile(few := io.BytesIO(), "w") as archive:
        for number in range(5):
            archive.writestr(f"E{number}-1h.csv", text)
    store = from_url(bucket)
    obstore.put(store, "raw/AAA-1h.csv", text)
    obstore.put(store, "raw/BBB-1h.csv.gz", gzip.compress(text))
    obstore.put(store, "raw/some.zip", held.getvalue())
    obstore.put(store, "raw/few.zip", few.getvalue())
    lake = Lake(bucket)
    with Proxy(seaweed) as proxy, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert ingest(lake).inserted == 90
        # sources.toml, which is not there, and two files; of few.zip the end, and once all for its five; of some.zip
        # the end, five looks more, and all.
        assert proxy.count()["of a raw file"] == 3 + 2 + 7
    names = ("AAA", "BBB", "CCC", "DDD", *(f"E{number}" for number in range(5)))
    symbols = Lake(bucket).bronze.scan().collect()["symbol"].value_counts().sort("symbol")
    assert symbols.rows() == [(name, 10) for name in names]
    assert ingest(Lake(bucket)).read == 0


@pytest.mark.slow
def test_a_file_of_a_bucket_is_downloaded_once(
    bucket: str, seaweed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        place(tmp_path, f"AAA{number}-1h.csv", hours(0, 100))
    upload(bucket, tmp_path)
    monkeypatch.setattr(UNPACK, "SPOOLED_BYTES", 3_000)  # what is larger is held on the disk
    with Proxy(seaweed) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert ingest(Lake(bucket), batch_bytes=4_000).inserted == 606
        assert proxy.count()["of a raw file"] == 6 + 1  # and sources.toml, which is not there
        assert ingest(Lake(bucket)).read == 0
        again = proxy.count()
    assert (again["of a raw file"], again["PUT"]) == (1, 0)
    assert again["GET"] < 40


@pytest.mark.slow
def test_what_is_uploaded_again_unchanged_is_not_read(
    bucket: str, seaweed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, other = place(tmp_path, "AAA-1h.csv", hours(0, 9)), place(tmp_path, "x", hours(0, 9, 11.0)).read_bytes()
    upload(bucket, tmp_path)
    store = from_url(bucket)
    with Proxy(seaweed) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)

        def run(expected: int) -> dict[str, int]:
            """The counts of a run, if it asked the bucket so often for a file."""
            proxy.count()
            report = ingest(Lake(bucket))
            assert proxy.count()["of a raw file"] == expected + 1  # sources.toml, which is not there
            return {name: sum(report.files[name]) for name in ("inserted", "updated")} if report.files.height else {}

        assert run(1) == {"inserted": 10, "updated": 0}
        ledger = Lake(bucket).ledger
        before = ledger.scan().select("stated_at", "etag").collect().row(0)
        # As an older program left it: the time tells that nothing is new, or else the bytes do.
        ledger.at(-1).update({"etag": "null"})
        obstore.put(store, "raw/AAA-1h.csv", text.read_bytes())
        assert (run(1), run(0)) == ({}, {})
        ledger.restore(-2)
        assert ledger.scan().select("stated_at", "etag").collect().row(0) == before
        obstore.put(store, "raw/AAA-1h.csv", text.read_bytes())
        assert (run(0), run(0)) == ({}, {})
        # Uploaded in parts it has another etag: it is read, found to be the same, and not read again.
        obstore.put(store, "raw/AAA-1h.csv", text.read_bytes(), use_multipart=True)
        assert (run(1), run(0)) == ({}, {})
        obstore.put(store, "raw/AAA-1h.csv", other)  # of as many bytes: hashed and read
        assert (run(2), run(0)) == ({"inserted": 0, "updated": 10}, {})
        obstore.put(store, "raw/AAA-1h.csv", text.read_bytes() + b"no,bar\n")  # of more bytes: new in any case
        assert (run(1), run(0)) == ({"inserted": 0, "updated": 10}, {})


def test_an_etag_tells_what_the_second_of_an_upload_does_not() -> None:
    then = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    file, fresh = files.RawFile("a.csv", 5, then, etag="x"), dt.datetime.now(dt.UTC)
    assert [file.is_still(5, then, etag) for etag in ("x", "y", None)] == [True, False, True]
    assert file.is_still(5, fresh, "x")
    assert not file.is_still(6, then, "x")
    assert not files.RawFile("a.csv", 5, fresh, etag="x").is_still(5, fresh, None)


@pytest.mark.slow
def test_the_first_notebooks_work_on_a_bucket(
    bucket: str, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(bucket, Path(__file__).parents[2])
    monkeypatch.setenv("LAKEHOUSE_ROOT", bucket)
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    for name in ("00_quick_tour", "01_raw_to_bronze"):
        results = read_results(run_notebook(name, {}, tmp_path / f"{name}.ipynb"))
        assert (results["bars"], results["read"], results["rejected"]) == (2199, 4431, 5)
    assert Lake().bronze.scan().collect().height == 3706  # by the second one


@pytest.mark.slow
def test_nothing_that_a_run_leaves_holds_the_key(
    bucket: str, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the bucket, nor Prefect's database, nor a page, nor what was printed, also of runs that went wrong."""
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    place(tmp_path / "files", "AAA-1h.csv", hours(0, 200))
    place(tmp_path / "files", "bad/what.csv", ["a line that is no bar"])
    upload(bucket, tmp_path / "files")
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)

    def call(root: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "lakehouse", "run", "--verbose", "--root", root]
        done = subprocess.run(command, cwd=tmp_path / "work", capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout + done.stderr

    code, printed = call(bucket)
    assert (code, f"Lake:   {bucket}" in printed) == (1, True), printed  # one file is refused
    refused = call(bucket.replace("s3://", f"s3://{os.environ['AWS_ACCESS_KEY_ID']}:{secret}@"))
    assert refused[0] == 2
    listed = [meta["path"] for chunk in obstore.list(from_url(bucket)) for meta in chunk]
    left = {path: bytes(obstore.get(from_url(bucket), path).bytes()) for path in listed}
    kept = [
        *tmp_path.rglob("*"),
        *Path(os.environ["PREFECT_HOME"]).rglob("*"),
    ]  # the server's database is in the latter
    left |= {str(path): path.read_bytes() for path in kept if path.is_file()}
    assert [name for name in left if name.endswith(".html")]
    assert [name for name, held in left.items() if "prefect.db" in name and bucket.encode() in held]
    assert not [name for name, held in left.items() if secret.encode() in held]
    assert secret not in printed + refused[1]
