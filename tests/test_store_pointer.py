"""A store without its CURRENT goes on from the newest snapshot that is whole: nothing that it holds is lost."""

import shutil

import pytest

from crash import options_of, signature
from csv_files import AS_OF, DAYS, bars, closes, one_run, run, three_files, warned, write
from pipeline import config, failpoints
from pipeline.bars.ingest import current_snapshot
from pipeline.bars.manifest import read_manifest
from pipeline.bars.store import open_snapshot, verify
from pipeline.errors import DataError, ExitCode, StoreCorruptError, TemporaryError
from pipeline.events import Warned
from pipeline.run import run as run_backtest
from pipeline.upkeep import verify as verify_all

LONGER = [*DAYS, "2021-01-11"]


@pytest.fixture
def folder(tmp_path):
    return three_files(tmp_path / "bars")


@pytest.fixture
def options(folder, tmp_path):
    """Return those of a store with two snapshots of three symbols."""
    options = options_of(folder, tmp_path / "store")
    run(options)
    write(folder / "AAA.csv", bars(LONGER))
    run(options)
    return options


def lose(options) -> str:
    """Remove CURRENT; return how what is told of it begins."""
    (options.store / "CURRENT").unlink()
    return f"store {options.store}: CURRENT is missing"


def damage(options, number: int) -> None:
    """Change the last byte but one of a manifest."""
    path = options.store / "snapshots" / f"{number}.json"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"8" + content[-1:])


def content(options) -> dict[str, bytes]:
    """Return every file of a store."""
    return {str(path): path.read_bytes() for path in options.store.rglob("*") if path.is_file()}


def test_bars_that_only_the_store_has_outlive_a_lost_pointer(options, folder):
    """The next ingest takes in what is new, keeps the rest, says which snapshot it went on from, and points to it."""
    told = lose(options)
    (folder / "AAA.csv").unlink()
    write(folder / "BBB.csv", bars(LONGER))
    result, (first, *_) = warned(options)
    _, later = warned(options)

    assert first.startswith(told)
    assert "snapshot 2 is taken, the newest that is whole: 3 symbols, last session 2021-01-11. `ingest` writes" in first
    assert {symbol: len(rows) for symbol, rows in closes(result.snapshot).items()} == {"AAA": 11, "BBB": 11, "CCC": 10}
    assert (options.store / "CURRENT").read_text() == "3\n"
    assert not [text for text in later if "CURRENT" in text]


def test_a_pointer_is_written_again_where_nothing_is_new(options):
    """Without a new snapshot, and every byte of the old one stays."""
    before = content(options)
    told = lose(options)
    result, (first,) = warned(options)

    assert (first.startswith(told), result.changed) == (True, False)
    assert {**content(options), str(options.store / "lock"): before[str(options.store / "lock")]} == before


def test_readers_take_the_same_snapshot_and_write_nothing(options):
    """A run is told the same, and opens what the pointer named."""
    opened = open_snapshot(options.store)
    told = lose(options)
    before, heard = content(options), []
    stored, _ = current_snapshot(options, AS_OF, heard.append)

    assert stored.manifest == opened.manifest == open_snapshot(options.store).manifest
    assert [type(event) for event in heard] == [Warned]
    assert heard[0].text.startswith(told)
    assert content(options) == before


def test_the_commands_tell_a_lost_pointer(tmp_path):
    """`run` goes on with a warning; `verify` names it, with the remedy that loses nothing."""
    one_run(tmp_path)
    options = config.load(tmp_path / "one.yaml")
    run_backtest(options)
    told, heard = lose(options.data), []
    run_backtest(options, heard.append)
    found = verify_all([options])

    assert any(isinstance(event, Warned) and event.text.startswith(told) for event in heard)
    assert (found.exit_code, len(found.problems)) == (ExitCode.DATA, 1)
    assert found.problems[0].startswith(told)
    assert "rebuild" not in str(found.summary)


@pytest.mark.parametrize("what", ["manifest", "part"])
def test_a_damaged_snapshot_is_passed_over_and_named(options, what):
    """Where the newest one is not whole, the one before it is taken, and the files bring what it lacks."""
    wanted = signature(options.store)
    if what == "manifest":
        damage(options, 2)
    else:
        newest = open_snapshot(options.store).manifest
        kept = {part.file for part in read_manifest(options.store, 1).parts}
        next(options.store / "parts" / part.file for part in newest.parts if part.file not in kept).unlink()
    told = lose(options)
    result, (first,) = warned(options)

    assert first.startswith(told)
    assert "snapshot 1 is taken" in first
    assert "newer and damaged, so that `ingest` removes it: snapshots/2.json" in first
    assert signature(options.store) == wanted
    assert len(closes(result.snapshot)["AAA"]) == 11


def test_a_store_of_which_no_snapshot_is_whole_is_no_new_one(options):
    """Readers and the next ingest end with exit code 4 and leave every byte; a rebuild goes on."""
    damage(options, 1)
    damage(options, 2)
    lose(options)
    before = content(options)
    said = r"no snapshot is whole \(snapshots/2.json differs from its sha256, snapshots/1.json differs"
    with pytest.raises(StoreCorruptError, match=said):
        open_snapshot(options.store)
    with pytest.raises(StoreCorruptError, match=said):
        run(options)

    assert content(options) == before
    result, warnings = warned(options, rebuild=True)
    assert [text.partition(": ")[2].partition(" (")[0] for text in warnings] == ["nothing of what it held can be read"]
    assert len(closes(result.snapshot)) == 3


def test_a_rebuild_that_fails_leaves_the_snapshots_that_no_pointer_names(options, monkeypatch):
    """What is there is swept after the commit of what takes its place, not before."""
    wanted = signature(options.store)
    lose(options)
    failpoints._passed.clear()
    monkeypatch.setenv(failpoints.VARIABLE, "store.before_manifest:eio")
    with pytest.raises(TemporaryError):
        run(options, rebuild=True)

    assert signature(options.store) == wanted


def test_a_first_ingest_that_was_killed_before_its_pointer_is_taken_up(folder, tmp_path, monkeypatch):
    """Its snapshot is whole: the next ingest reads no file again, and writes the pointer."""
    options = options_of(folder, tmp_path / "store")
    failpoints._passed.clear()
    monkeypatch.setenv(failpoints.VARIABLE, "store.before_pointer:eio")
    with pytest.raises(TemporaryError):
        run(options)
    monkeypatch.delenv(failpoints.VARIABLE)
    result, (told,) = warned(options)

    assert "a first ingest was killed; snapshot 1 is taken" in told
    assert result.changed is False
    assert verify(open_snapshot(options.store)) > 0


def test_a_store_of_parts_without_snapshots_is_a_new_one(options, tmp_path):
    """Nobody committed anything there: a first ingest was killed before its manifest."""
    lose(options)
    shutil.rmtree(options.store / "snapshots")
    with pytest.raises(DataError, match="not found"):
        open_snapshot(options.store)
    result, warnings = warned(options)

    assert (result.snapshot.manifest.number, warnings) == (1, [])
