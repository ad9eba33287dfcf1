"""A second ingest changes what changed and no more; bars of files that go, or go bad, stay."""

import json
import os
from hashlib import sha256

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crash import options_of
from csv_files import AS_OF, DAYS, VANTAGE, YAHOO, bars, closes, files_of, run, tree, write
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.ingest import current_snapshot
from pipeline.bars.parquet import parquet_bytes
from pipeline.bars.sealing import sealed
from pipeline.bars.store import open_snapshot, verify
from pipeline.errors import DataError
from pipeline.events import StageStarted, Warned


def test_unchanged_files_are_left_alone(options, folder):
    """A second ingest writes nothing and says so; a touched file is still the same file."""
    run(options)
    before = tree(options.store)
    os.utime(folder / "AAA.csv", (1, 1))
    result = run(options)

    assert current_snapshot(options, AS_OF)
    assert not result.changed
    assert "unchanged" in result.notes[0]
    assert tree(options.store) == before


def test_grown_file_rewrites_one_tail(options, folder):
    """One file longer by a day: one file is read, one part is new, the other bars stay where they are."""
    before = run(options).snapshot
    write(folder / "BBB.csv", bars([*DAYS, "2021-01-11"], close=20.0))
    events = []

    assert not current_snapshot(options, AS_OF)
    result = run(options, listener=events.append)

    assert [event.total for event in events if isinstance(event, StageStarted) and event.unit] == [1, 1]
    new = [part for part in result.snapshot.manifest.parts if part.file not in files_of(before)]
    assert [(part.block, part.period, part.symbols) for part in new] == [(1, 1, ("BBB",))]
    assert len(files_of(before) & files_of(result.snapshot)) == 5
    assert closes(result.snapshot)["BBB"] == [(day, 20.0) for day in [*DAYS, "2021-01-11"]]
    assert result.counts["stored"] == 31


def test_scale_is_kept_by_updates(tmp_path):
    """A split in a later bar changes no stored part: scale and past factors stay, the new bar's factor tells."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    old = [f"{day},10,11,9,10,10,100,0,1" for day in DAYS]
    write(tmp_path / "bars" / "AAA.csv", old, VANTAGE)
    first = run(options).snapshot
    halved = [f"{day},10,11,9,10,5,100,0,1" for day in DAYS]
    write(tmp_path / "bars" / "AAA.csv", [*halved, "2021-01-11,5,6,4,5,5,200,0,2"], VANTAGE)
    second = run(options).snapshot
    adjusted = load_block(blocks_of(second, ["AAA"])[0], ["close"])["close"].tolist()

    assert second.by_symbol["AAA"].scale == first.by_symbol["AAA"].scale == 1.0
    assert len(files_of(first) & files_of(second)) == 1
    assert adjusted == pytest.approx([10.0] * 11)  # 5 after a 2:1 split is 10 before it
    assert run(options, rebuild=True).snapshot.by_symbol["AAA"].scale == pytest.approx(2.0)


def test_an_appended_split_beyond_all_reason_changes_nothing_stored(tmp_path):
    """A line that makes the factor 1e102 is not taken: what is stored stays, and is said to; other files go on."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    days = [str(day.date()) for day in pd.bdate_range("2020-12-01", periods=18)]
    rows = [f"{day},10,11,9,10,10,100,0,1e6" for day in days]
    write(tmp_path / "bars" / "AAA.csv", rows[:-1], VANTAGE)
    plain = [f"{day},10,11,9,10,10,100,0,1" for day in days]
    write(tmp_path / "bars" / "BBB.csv", plain[:-1], VANTAGE)
    before = run(options).snapshot
    write(tmp_path / "bars" / "AAA.csv", rows, VANTAGE)
    write(tmp_path / "bars" / "BBB.csv", plain, VANTAGE)
    after = run(options)

    assert after.snapshot.by_symbol["AAA"] == before.by_symbol["AAA"]
    assert list(after.snapshot.manifest.held) == ["AAA"]
    assert after.snapshot.by_symbol["BBB"].rows == before.by_symbol["BBB"].rows + 1
    assert after.degraded


def test_new_symbol_gets_its_own_block(options, folder):
    """A new file adds parts and changes none."""
    before = run(options).snapshot
    write(folder / "ABB.csv", bars())
    after = run(options).snapshot

    assert files_of(before) < files_of(after)
    assert [(entry.symbol, entry.block) for entry in after.manifest.symbols] == [
        *(("AAA", 0), ("ABB", 3), ("BBB", 1), ("CCC", 2)),
    ]


def test_a_block_gets_its_first_bars_of_a_period(options, folder):
    """A symbol that rested at the turn of the year goes on; its block had no part of that year."""
    write(folder / "AAA.csv", bars(DAYS[:4]))
    run(options)
    write(folder / "AAA.csv", bars())
    updated = run(options).snapshot
    rebuilt = run(options, rebuild=True).snapshot

    assert updated.by_symbol["AAA"].rows == len(DAYS)
    assert closes(updated) == closes(rebuilt)


def test_new_column_pads_what_was_there(options, folder):
    """A column that only a new file has is NaN in the older bars."""
    run(options)
    write(folder / "DDD.csv", [f"{row},7.5" for row in bars()], f"{YAHOO},pe")
    snapshot = run(options).snapshot
    loaded = {block.symbols[0]: load_block(block, ["pe"])["pe"] for block in blocks_of(snapshot, ["AAA", "DDD"])}

    assert loaded["AAA"].isna().all()
    assert (loaded["DDD"] == 7.5).all()


def test_files_that_share_symbols_are_read_together(tmp_path):
    """When one of two files of a symbol changes, both are read; files of other symbols are not."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    header = f"Symbol,{YAHOO}"
    write(tmp_path / "bars" / "2020.csv", [f"{symbol},{row}" for symbol in "XY" for row in bars(DAYS[:4])], header)
    write(tmp_path / "bars" / "2021.csv", [f"{symbol},{row}" for symbol in "YZ" for row in bars(DAYS[4:])], header)
    write(tmp_path / "bars" / "other.csv", [f"W,{row}" for row in bars()], header)
    run(options)
    write(tmp_path / "bars" / "2021.csv", [f"{symbol},{row}" for symbol in "YZ" for row in bars(DAYS[4:], 11)], header)
    events = []
    result = run(options, listener=events.append)

    assert [event.total for event in events if isinstance(event, StageStarted) and event.unit == "file"] == [1, 1]
    assert closes(result.snapshot) == {
        "W": [(day, 10.0) for day in DAYS],
        "X": [(day, 10.0) for day in DAYS[:4]],
        "Y": [*((day, 10.0) for day in DAYS[:4]), *((day, 11.0) for day in DAYS[4:])],
        "Z": [(day, 11.0) for day in DAYS[4:]],
    }


def test_big_files_are_recorded_without_names(tmp_path, monkeypatch):
    """A file of too many symbols to name is taken to share symbols with every other."""
    monkeypatch.setattr("pipeline.bars.intake.NAMED_SYMBOLS", 1)
    rows = [f"{symbol},{row}" for symbol in "XY" for row in bars()]
    options = options_of(tmp_path / "bars", tmp_path / "store")
    write(tmp_path / "bars" / "big.csv", rows, f"Symbol,{YAHOO}")
    write(tmp_path / "bars" / "Z.csv", bars())
    run(options)
    write(tmp_path / "bars" / "Z.csv", bars(close=11.0))
    result = run(options)

    assert {symbol: rows[0][1] for symbol, rows in closes(result.snapshot).items()} == {"X": 10.0, "Y": 10.0, "Z": 11.0}


def test_years_that_pass_fold_the_tail(tmp_path):
    """An update over the years gives the bars a rebuild gives, and one open tail."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    days = [str(day.date()) for day in pd.bdate_range("2017-06-01", "2021-03-01", freq="17B")]
    for count in (10, 20, 30, 40, len(days)):
        for symbol in ("AAA", "BBB"):
            write(tmp_path / "bars" / f"{symbol}.csv", bars(days[:count]))
        snapshot = run(options).snapshot
        periods = snapshot.manifest.periods

        assert closes(snapshot) == {symbol: [(day, 10.0) for day in days[:count]] for symbol in ("AAA", "BBB")}
        assert [period.open for period in periods] == [*([False] * (len(periods) - 1)), True]
        assert sum(part.rows for part in snapshot.manifest.parts) == 2 * count
        verify(snapshot)
    assert len(periods) == 2


UPDATES = st.lists(
    st.dictionaries(
        st.sampled_from(["A", "B", "C"]), st.sets(st.sampled_from(DAYS), min_size=1), min_size=1, max_size=3
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(updates=UPDATES)
def test_updates_come_to_what_a_rebuild_gives(updates, tmp_path_factory):
    """Whatever changes in whatever files, the store's bars are those of the files as they are now, if they reach."""
    home = tmp_path_factory.mktemp("updates")
    options = options_of(home / "bars", home / "store")
    now = {}
    for update in updates:
        for symbol, days in update.items():
            write(home / "bars" / f"{symbol}.csv", bars(sorted(days)))
            before = [day for day, _ in now.get(symbol, [])]
            if not before or (min(days) <= before[0] and max(days) >= before[-1]):
                now[symbol] = [(day, 10.0) for day in sorted(days)]
        snapshot = run(options).snapshot

        assert closes(snapshot) == now
        verify(snapshot)


def test_changed_options_build_afresh(options, folder):
    """Another file_pattern or mapping makes another store content: everything is read again, with a note."""
    run(options)
    for path in list(folder.iterdir()):
        path.rename(folder / f"US-{path.name}")
    result = run(options.model_copy(update={"file_pattern": "US-{symbol}.csv"}))

    assert list(result.snapshot.by_symbol) == ["AAA", "BBB", "CCC"]
    assert any("other options" in note for note in result.notes)


def test_a_refused_ingest_does_not_say_that_it_built_afresh(options, folder):
    """What is told has happened: other options under which nothing can be read leave the store as it was."""
    before = run(options).snapshot
    told = []
    with pytest.raises(DataError, match="no usable symbol"):
        run(options.model_copy(update={"file_pattern": "US-{symbol}.csv"}), listener=told.append)

    assert not any("afresh" in str(event) for event in told)
    assert open_snapshot(options.store).content_id == before.content_id


def test_bars_of_a_vanished_file_stay(options, folder):
    """A file that disappears is named in a warning, its bars stay; a rebuild drops them."""
    run(options)
    (folder / "BBB.csv").unlink()
    events = []
    result = run(options, listener=events.append)

    assert (result.changed, list(closes(result.snapshot))) == (False, ["AAA", "BBB", "CCC"])
    assert [event.text for event in events if isinstance(event, Warned)] == [
        f"{folder / 'BBB.csv'}: gone; the bars it gave stay. `ingest --rebuild` drops them"
    ]
    write(folder / "AAA.csv", bars([*DAYS, "2021-01-11"]))
    assert run(options).counts["stored"] == 31
    assert list(closes(run(options, rebuild=True).snapshot)) == ["AAA", "CCC"]


def test_file_under_a_new_name_takes_over(folder, tmp_path):
    """A vendor's dated file names change every day; the new file replaces the one that went."""
    options = options_of(folder, tmp_path / "store").model_copy(update={"file_pattern": "{symbol}-{date}.csv"})
    (folder / "AAA.csv").rename(folder / "AAA-2021-01-08.csv")
    (folder / "BBB.csv").unlink()
    (folder / "CCC.csv").unlink()
    run(options)
    (folder / "AAA-2021-01-08.csv").unlink()
    write(folder / "AAA-2021-01-11.csv", bars([*DAYS, "2021-01-11"]))
    result = run(options)

    assert result.counts["files"] == 1
    assert len(closes(result.snapshot)["AAA"]) == 11


def test_update_drops_no_bars(folder, tmp_path):
    """If the file that went had older bars than the one that came, the stored bars stay, and both are named."""
    options = options_of(folder, tmp_path / "store").model_copy(update={"file_pattern": "{symbol}-{date}.csv"})
    for path in list(folder.iterdir()):
        path.rename(folder / f"{path.stem}-1.csv")
    before = run(options).snapshot
    (folder / "AAA-1.csv").unlink()
    write(folder / "AAA-2.csv", bars(DAYS[3:]))
    result = run(options)

    assert closes(result.snapshot) == closes(before)
    assert (result.degraded, result.counts["rows_in"], result.counts["files"]) == (True, 30, 4)
    assert result.notes[-2:] == (
        f"{folder / 'AAA-1.csv'}: gone; the bars it gave stay. `ingest --rebuild` drops them",
        (
            f"{folder / 'AAA-2.csv'}: AAA no longer reaches {DAYS[0]} (it begins {DAYS[3]}); its 10 stored bars stay. "
            f"`ingest --rebuild` takes the file as it is"
        ),
    )
    assert len(closes(run(options, rebuild=True).snapshot)["AAA"]) == 7


def test_file_that_turns_bad_keeps_its_bars(options, folder):
    """An error page over a good file is refused and named, yet the symbol's bars stay; the next good file mends it."""
    options = options.model_copy(update={"warn_above": 0.5})
    run(options)
    (folder / "BBB.csv").write_text('{"Error Message": "limit reached"}')
    result = run(options)

    assert result.refused == (str(folder / "BBB.csv"),)
    assert result.counts["stored"] == 30
    assert "BBB.csv,0," in (options.store / "quarantine.csv").read_text()
    assert not run(options).changed
    write(folder / "BBB.csv", bars([*DAYS, "2021-01-11"]))
    mended = run(options)
    assert (mended.refused, mended.counts["stored"], mended.counts["files_refused"]) == ((), 31, 0)
    assert "BBB.csv" not in (options.store / "quarantine.csv").read_text()


def test_quarantine_of_unchanged_files_is_carried_over(options, folder):
    """An update keeps what was refused in files it does not read, line by line."""
    bad = [*bars(), "2021-01-11,1,2,3,nan,1,1"]
    write(folder / "AAA.csv", bad)
    run(options)
    before = (options.store / "quarantine.csv").read_text()
    write(folder / "BBB.csv", bars([*DAYS, "2021-01-11"]))
    result = run(options)

    assert result.counts["quarantined"] == 1
    assert "AAA.csv,12,AAA," in before
    assert (options.store / "quarantine.csv").read_text() == before


def older(snapshot, columns=("strays", "stray_day", "stray")):
    """Make a snapshot one of format 5, whose ends had fewer columns."""
    ends = snapshot.manifest.ends
    data = bytes(parquet_bytes(snapshot.table(ends).drop_columns(list(columns))))
    snapshot.path(ends).write_bytes(data)
    text = snapshot.manifest_file.read_text().replace('"format":6', '"format":5')
    text = text.replace(ends.sha256, sha256(data).hexdigest()).replace(f'"bytes":{ends.bytes}', f'"bytes":{len(data)}')
    rest = text.partition(",")[2]  # behind its own sha256
    snapshot.manifest_file.write_bytes(sealed(b"{" + rest.encode()))


def test_a_store_of_the_format_before_is_read_and_goes_over(options, folder, tmp_path):
    """Its ends lack what later ones count; the next new bars write this format, and come to what one ingest does."""
    older(run(options).snapshot)
    before = open_snapshot(options.store)
    for symbol, close in (("AAA", 10.0), ("BBB", 20.0)):
        write(folder / f"{symbol}.csv", bars([*DAYS, "2021-01-11"], close=close))
    after = run(options).snapshot
    anew = run(options_of(folder, tmp_path / "anew")).snapshot

    assert [int(json.loads(each.manifest_file.read_text())["format"]) for each in (before, after)] == [5, 6]
    verify(after)
    assert after.table(after.manifest.ends).equals(anew.table(anew.manifest.ends))
    assert closes(after) == closes(anew)
