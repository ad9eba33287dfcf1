"""What would not fit on the disk is refused before anything is written; the estimate is no less than what it takes."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from crash import options_of, signature
from csv_files import bars, run, three_files, write
from pipeline import config
from pipeline.bars import ingest
from pipeline.bars.inventory import find_sources
from pipeline.bars.room import needed
from pipeline.bars.store import open_snapshot
from pipeline.disks import RESERVE
from pipeline.errors import TemporaryError
from pipeline.modes import Source
from pipeline.results.attempts import read_record
from pipeline.run import run as run_backtest

YEARS = [str(day.date()) for day in pd.bdate_range("2008-01-01", "2021-01-08")]
NIGHT = [*YEARS, "2021-01-11"]


@pytest.fixture
def options(tmp_path):
    folder = three_files(tmp_path / "bars")
    for symbol in ("AAA", "BBB", "CCC"):
        write(folder / f"{symbol}.csv", bars(YEARS))
    return options_of(folder, tmp_path / "store")


@pytest.fixture
def free(monkeypatch):
    """Return a function that says how many bytes the disk has free."""

    def free(count):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=count))

    return free


def text_of(options) -> int:
    return sum(path.stat().st_size for path in options.path.iterdir())


def test_a_first_ingest_that_would_not_fit_writes_nothing(options, free):
    """Three times the text and the reserve are asked for; with a byte less not even the store's folder is made."""
    free(3 * text_of(options) + RESERVE - 1)
    with pytest.raises(TemporaryError, match=r"store .*MB are free, about .* MB are needed.*nothing was written"):
        run(options)
    assert not options.store.exists()

    free(3 * text_of(options) + RESERVE)
    assert run(options).changed


def test_an_update_needs_room_for_what_is_new_only(options, free):
    """A line more of each file asks for the parts of the open period, not for all the files; the old store stays."""
    run(options)
    manifest = open_snapshot(options.store).manifest
    tail = sum(part.bytes for part in manifest.parts if part.period == len(manifest.periods) - 1)
    before, text = signature(options.store), text_of(options)
    for symbol in ("AAA", "BBB", "CCC"):
        write(options.path / f"{symbol}.csv", bars(NIGHT))
    need = 3 * (text_of(options) - text) + tail
    assert 0 < need < text

    free(need + RESERVE - 1)
    with pytest.raises(TemporaryError, match="nothing was written"):
        run(options)
    assert signature(options.store) == before

    free(need + RESERVE)
    assert run(options).changed


def test_an_ingest_takes_no_more_than_it_asks_for(options, monkeypatch):
    """Rows put aside and parts together, at the moment before the first of them is removed."""
    taken = []

    def publish(writer, *arguments):
        taken.append(sum(path.stat().st_size for path in Path(writer.root).rglob("*") if path.is_file()))
        return real(writer, *arguments)

    real = ingest.publish
    monkeypatch.setattr(ingest, "publish", publish)
    asked = needed(options, find_sources(options), None)
    run(options)

    assert 0.3 * asked < taken[0] < asked


@pytest.mark.parametrize(("suffix", "factor"), [(".csv", 3), (".csv.gz", 12), (".parquet", 6)])
def test_packed_files_need_more_than_their_bytes(options, tmp_path, suffix, factor):
    """Gzip packs text of bars about four times, Parquet twice."""
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / f"A{suffix}").write_bytes(bytes(1000))
    source = Source.PARQUET if suffix == ".parquet" else Source.CSV
    packed = options.model_copy(update={"path": folder, "source": source})

    assert needed(packed, find_sources(packed), None) == 1000 * factor


@pytest.mark.parametrize(("frequency", "bars_a_day"), [("daily", 1), ("minute", 390)])
def test_a_made_up_market_needs_room_for_its_bars(frequency, bars_a_day):
    """It has no files: symbols x sessions x 23 bytes, of minutes 390 times as much."""
    own = ["data.source=synthetic", f"data.frequency={frequency}", "data.synthetic.symbols=7"]
    options = config.load(None, [*own, "data.synthetic.sessions=11"], {}).data

    assert needed(options, find_sources(options), None) == 7 * 11 * 23 * bars_a_day


def test_a_run_that_would_not_fit_ends_before_it_computes(options, free, tmp_path):
    """It is told as temporary, with the record of a failed attempt, and nothing is published."""
    run(options)
    source = ["data.source=csv", f"data.path={options.path}", f"data.store={options.store}"]
    own = config.load(None, [*source, f"output.dir={tmp_path}/runs"], {})
    free(RESERVE)

    with pytest.raises(TemporaryError, match=r"run directory .*/runs: 16\.0 MB are free, about 4\.0 MB") as caught:
        run_backtest(own)

    (note,) = caught.value.__notes__
    record = read_record(Path(note.removeprefix("record: ")))
    assert (record["state"], record["exit_code"]) == ("failed", 75)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [".failed", ".staging"]
