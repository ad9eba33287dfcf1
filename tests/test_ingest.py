"""Files become bars, whatever their order; the ingest tells what it does, and no crash leaves half a store."""

import csv
import gc
import gzip
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crash import options_of, signature
from csv_files import DAYS, YAHOO, bars, closes, run, write
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.ingest import Ingested
from pipeline.bars.store import open_snapshot, verify, writing
from pipeline.errors import DataError, LockedError, StoreCorruptError, TemporaryError
from pipeline.events import StageFinished, StageProgress, StageStarted
from pipeline.modes import Source


def test_files_become_bars(options):
    """Three files of ten bars become three symbols in three blocks and two periods, bar by bar."""
    result = run(options)

    assert result.counts == {
        "files": 3,
        "files_refused": 0,
        "rows_in": 30,
        "stored": 30,
        "duplicates": 0,
        "quarantined": 0,
        "symbols": 3,
    }
    assert (result.changed, result.degraded, result.refused) == (True, False, ())
    assert closes(result.snapshot) == {
        "AAA": [(day, 10.0) for day in DAYS],
        "BBB": [(day, 20.0) for day in DAYS],
        "CCC": [(day, 30.0) for day in DAYS],
    }
    assert len(result.snapshot.manifest.parts) == 6
    assert verify(open_snapshot(options.store)) == 11


def test_sample_is_five_stocks(tmp_path):
    """The packaged sample gives AAPL FB GOOG IBM MSFT, 12,154 bars, without bokeh being imported."""
    options = options_of(tmp_path, tmp_path / "store").model_copy(update={"source": Source.SAMPLE, "path": None})
    result = run(options)

    assert list(result.snapshot.by_symbol) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert result.counts["rows_in"] == result.counts["stored"] == 12_154
    assert result.snapshot.by_symbol["AAPL"].first == "2000-03-01"


def test_parquet_and_gzip_give_the_same_bars(options, folder, tmp_path):
    """Parquet files and gzipped CSV files of the same bars give the same snapshot as plain CSV."""
    for kind in ("gz", "pq"):
        (tmp_path / kind).mkdir()
    for path in folder.iterdir():
        (tmp_path / "gz" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        pd.read_csv(path, parse_dates=["Date"]).to_parquet(tmp_path / "pq" / f"{path.stem}.parquet", index=False)
    plain = run(options).snapshot.content_id
    zipped = run(options_of(tmp_path / "gz", tmp_path / "s2")).snapshot.content_id
    parquet = run(options_of(tmp_path / "pq", tmp_path / "s3").model_copy(update={"source": Source.PARQUET}))

    assert plain == zipped == parquet.snapshot.content_id


def test_long_file_gives_the_same_bars(options, tmp_path):
    """One file with a symbol column, in any order of rows, gives the same snapshot as a file per symbol."""
    rows = [
        f"{symbol},{row}"
        for symbol, close in (("AAA", 10.0), ("BBB", 20.0), ("CCC", 30.0))
        for row in bars(close=close)
    ]
    random.Random(1).shuffle(rows)
    long = write(tmp_path / "long.csv", rows, f"Symbol,{YAHOO}")

    assert run(options_of(long, tmp_path / "s2")).snapshot.content_id == run(options).snapshot.content_id


def test_order_of_files_rows_and_readers_is_nothing(options, folder, tmp_path):
    """Names in another order, rows reversed, other mtimes, 1 or 4 readers: the same content_id."""
    expected = run(options).snapshot.content_id
    for readers in (1, 4):
        other = tmp_path / f"other{readers}"
        for path in sorted(folder.iterdir(), reverse=True):
            header, *rows = path.read_text().splitlines()
            written = write(other / path.name, rows[::-1], header)
            os.utime(written, (readers, readers))

        assert run(options_of(other, tmp_path / f"store{readers}"), readers=readers).snapshot.content_id == expected


DIRTY = st.sampled_from(
    [
        *("{day},1,2,0.5,1,1,5", "{day},1,2,0.5,1,1,5", "{day},1,2,0.5,1.5,1.5,5"),
        *("{day},nan,2,0.5,1,1,5", "{day},1,0.1,0.5,1,1,5", "{day},0,2,0,1,1,5", "{day},1,2,0.5,1,1,-5"),
        *("{day},1,2", "2039-01-01,1,2,0.5,1,1,5", "soon,1,2,0.5,1,1,5", "{day},1,inf,0.5,1,1,5"),
    ]
)
DIRTY_ROWS = st.lists(
    st.tuples(st.sampled_from(DAYS), DIRTY).map(lambda pair: pair[1].format(day=pair[0])), max_size=12
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(DIRTY_ROWS, min_size=1, max_size=4), later=DIRTY_ROWS)
def test_rows_are_conserved(files, later, tmp_path_factory):
    """Rows in = stored + duplicates + quarantined, counted apart from the code, also after an update."""
    home = tmp_path_factory.mktemp("rows")
    options = options_of(home / "bars", home / "store").model_copy(update={"fail_above": 1.0})
    write(home / "bars" / "GOOD.csv", bars())
    for number, rows in enumerate(files):
        write(home / "bars" / f"F{number}.csv", [*bars(["2019-01-01"]), *rows])
    check_books(run(options), 10 + sum(len(rows) + 1 for rows in files))
    write(home / "bars" / "F0.csv", [*bars(["2019-01-01"]), *files[0], *later])
    check_books(run(options), 10 + sum(len(rows) + 1 for rows in files) + len(later))


def check_books(result: Ingested, rows_in: int) -> None:
    counts, snapshot = result.counts, result.snapshot
    stored = sum(len(load_block(block, [])) for block in blocks_of(snapshot, list(snapshot.by_symbol)))
    with (snapshot.root / "quarantine.csv").open(newline="") as source:
        quarantined = sum(int(row["line"]) > 0 for row in csv.DictReader(source))

    assert counts["rows_in"] == rows_in == stored + counts["duplicates"] + quarantined
    assert (counts["stored"], counts["quarantined"]) == (stored, quarantined)


def test_progress_is_told_from_the_calling_thread(options):
    """The listener hears of every file and every block, in the thread that called."""
    from threading import get_ident

    events = []
    run(options, listener=lambda event: events.append((event, get_ident())))
    started = [(event.total, event.unit) for event, _ in events if isinstance(event, StageStarted)]

    assert {thread for _, thread in events} == {get_ident()}
    assert started == [(0, ""), (3, "file"), (3, "block")]
    assert [event.done for event, _ in events if isinstance(event, StageProgress)] == [3, 1, 2, 3]
    assert isinstance(events[-1][0], StageFinished)


def test_second_ingest_is_locked_out(options):
    """While one ingest runs another fails at once."""
    with writing(options.store), pytest.raises(LockedError):
        run(options)


def test_corrupt_store_is_mended_by_rebuild(options):
    """A damaged store refuses to be updated and says how to mend it; the rebuild does."""
    snapshot = run(options).snapshot
    expected = snapshot.content_id
    snapshot.path(snapshot.manifest.parts[0]).unlink()

    with pytest.raises(StoreCorruptError, match="ingest --rebuild"):
        run(options)
    assert run(options, rebuild=True).snapshot.content_id == expected
    assert signature(options.store) == expected


def test_full_disk_leaves_the_old_snapshot(options, folder):
    """When the disk refuses more bytes the ingest ends as temporary, the old snapshot is whole, a retry succeeds."""
    before = run(options).snapshot
    for symbol in ("AAA", "BBB", "CCC"):
        days = [str(day.date()) for day in pd.bdate_range("2012-01-01", "2021-01-11")]
        write(folder / f"{symbol}.csv", bars(days))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(TemporaryError, match=r"store .*File too large.*free space"):
            run(options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert signature(options.store) == before.content_id
    assert run(options).changed


@pytest.mark.parametrize("kind", ["first", "update", "pointer lost"])
def test_kill_at_any_step_leaves_old_or_new(kind, tmp_path):
    """SIGKILL before any fsync, rename, unlink or mkdir leaves a whole snapshot, and the next ingest completes.

    That of an update whose CURRENT somebody removed before, too.
    """
    folder, base = tmp_path / "bars", tmp_path / "store"
    old = None
    write(folder / "BBB.csv", bars(DAYS[2:6]))
    if kind != "first":
        for close in (9.0, 10.0):  # two snapshots and one to come, so that there is something to sweep
            write(folder / "AAA.csv", bars(DAYS[2:6], close=close))
            run(options_of(folder, base))
        old = signature(base)
        write(folder / "BBB.csv", bars(DAYS[2:7]))
    if kind == "pointer lost":
        (base / "CURRENT").unlink()
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crash.py"), base, folder],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    new = results[-1][1]

    assert done.returncode == 0, done.stderr
    assert len(results) > 20
    assert {left for left, _, _ in results} == {old, new}
    assert {after for _, after, _ in results} == {new}
    assert {tuple(names) for left, _, names in results if left == old} == {
        ("CURRENT", "lock", "parts", "quarantine.csv", *(["revisions.csv"] * (kind != "first")), "snapshots")
    }


def test_the_search_for_cycles_is_as_before_after_an_ingest(options, folder):
    """Python looks for them less often while files are read, and as often as it did after that, also after an error."""
    before, seen = gc.get_threshold(), set()
    run(options, listener=lambda _: seen.add(gc.get_threshold()))
    for path in folder.iterdir():
        path.write_text("no bars")
    other = options.model_copy(update={"store": options.store.with_name("other")})
    with pytest.raises(DataError):
        run(other)

    assert {threshold[0] for threshold in seen} == {100_000}
    assert gc.get_threshold() == before
