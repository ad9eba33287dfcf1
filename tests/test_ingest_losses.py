"""Nothing that is stored is lost silently, and what is doubtful is named, at once and as long as it lasts."""

import csv

import pytest

from crash import options_of
from csv_files import AS_OF, DAYS, VANTAGE, YAHOO, bars, closes, run, three_files, warned, write
from pipeline.bars.ingest import current_snapshot
from pipeline.bars.inventory import SourceGoneError
from pipeline.bars.quality import Rule
from pipeline.bars.store import open_snapshot
from pipeline.errors import ConfigError, DataError, StoreCorruptError
from pipeline.events import Warned
from pipeline.modes import Adjustment, Source


@pytest.mark.parametrize(
    ("days", "lacks"),
    [
        (DAYS[:6], f"{DAYS[9]} (it ends {DAYS[5]})"),
        (DAYS[2:], f"{DAYS[0]} (it begins {DAYS[2]})"),
        ([*DAYS[2:], "2021-01-11"], f"{DAYS[0]} (it begins {DAYS[2]})"),
        (DAYS[2:6], f"{DAYS[0]} (it begins {DAYS[2]}) and {DAYS[9]} (it ends {DAYS[5]})"),
    ],
)
def test_shortened_file_keeps_its_stored_bars(options, folder, days, lacks):
    """A file that lacks the first or last stored session changes nothing, is named, and degrades each ingest."""
    before = run(options).snapshot
    write(folder / "AAA.csv", bars(days, close=11.0))
    text = f"{folder / 'AAA.csv'}: AAA no longer reaches {lacks}; its 10 stored bars stay. "

    for _ in range(2):  # the second is idle
        result, warnings = warned(options)
        assert (closes(result.snapshot), result.degraded, result.counts["rows_in"]) == (closes(before), True, 30)
        assert warnings == [f"{text}`ingest --rebuild` takes the file as it is"]
    assert result.snapshot.content_id == before.content_id
    assert warnings[0] in result.snapshot.manifest.notes


def test_held_symbol_lets_the_others_go_on(options, folder):
    """Beside a shortened file the others are brought up to date; the notice stays until the file reaches again."""
    run(options)
    write(folder / "AAA.csv", bars(DAYS[:6]))
    write(folder / "BBB.csv", bars([*DAYS, "2021-01-11"], close=20.0))
    first, _ = warned(options)
    write(folder / "CCC.csv", bars([*DAYS, "2021-01-11"], close=30.0))
    second, warnings = warned(options)
    write(folder / "AAA.csv", bars([*DAYS, "2021-01-11"]))
    mended, none = warned(options)

    assert [len(rows) for rows in closes(first.snapshot).values()] == [10, 11, 10]
    assert [len(rows) for rows in closes(second.snapshot).values()] == [10, 11, 11]
    assert (len(warnings), second.degraded) == (1, True)
    assert (none, mended.degraded, mended.counts["stored"]) == ([], False, 33)


def test_rebuild_takes_the_shortened_file(options, folder):
    """`ingest --rebuild` believes the file, and says what that costs."""
    run(options)
    write(folder / "AAA.csv", bars(DAYS[:6]))
    run(options)
    result, warnings = warned(options, rebuild=True)

    assert (len(closes(result.snapshot)["AAA"]), result.degraded) == (6, True)
    assert warnings == [
        f"AAA: 4 of 10 stored bars otherwise in its files (4 dropped), first {DAYS[6]} dropped",
        f"4 stored bars of 1 symbol revised; see {options.store / 'revisions.csv'}",
    ]


def test_symbol_that_leaves_a_long_file_stays(tmp_path):
    """A long file without one of its symbols updates the rest; rows stay conserved, also when the file goes bad."""
    options = options_of(tmp_path / "bars", tmp_path / "store").model_copy(update={"fail_above": 1.0})
    header, longer = f"Symbol,{YAHOO}", [*DAYS, "2021-01-11"]
    write(tmp_path / "bars" / "other.csv", bars())
    twice = [*(f"X,{row}" for row in bars()), *(f"X,{row}" for row in bars()[:3])]
    write(tmp_path / "bars" / "long.csv", [*twice, *(f"Y,{row}" for row in bars())], header)
    run(options)
    write(tmp_path / "bars" / "long.csv", [f"Y,{row}" for row in bars(longer)], header)
    result, warnings = warned(options)
    write(tmp_path / "bars" / "long.csv", ["Y,x"], header)
    bad, _ = warned(options)
    write(tmp_path / "bars" / "long.csv", [f"{symbol},{row}" for symbol in "XY" for row in bars(longer)], header)
    mended, none = warned(options)

    assert {symbol: len(rows) for symbol, rows in closes(result.snapshot).items()} == {"X": 10, "Y": 11, "other": 10}
    assert (result.counts["rows_in"], result.counts["duplicates"], result.degraded) == (34, 3, True)
    assert warnings[0].startswith(f"{tmp_path / 'bars' / 'long.csv'}: X no longer reaches {DAYS[9]} (it has no good")
    assert closes(bad.snapshot) == closes(result.snapshot)
    assert (mended.counts["rows_in"], none) == (32, [])


def test_rows_that_now_contradict_each_other_take_no_bars(options, folder):
    """A download appended to an older one of other prices is quarantined; the stored bars stay."""
    before = run(options.model_copy(update={"fail_above": 1.0})).snapshot
    write(folder / "AAA.csv", [*bars(), *bars(close=5.0)])
    result, warnings = warned(options)

    assert closes(result.snapshot) == closes(before)
    assert f"AAA has rows that contradict each other for its newest stored session {DAYS[9]}, in " in warnings[0]
    assert (result.counts["rows_in"], result.counts["quarantined"]) == (40, 10)


def test_sessions_that_vanish_within_are_told(options, folder):
    """A file that reaches as far but lacks sessions between is taken; the symbol and their number are told."""
    run(options)
    write(folder / "AAA.csv", bars([*DAYS[:3], *DAYS[5:]]))
    result, warnings = warned(options)

    assert (len(closes(result.snapshot)["AAA"]), result.degraded) == (8, True)
    assert warnings == [
        f"AAA: 2 of 10 stored bars otherwise in its files (2 dropped), first {DAYS[3]} dropped",
        f"2 stored bars of 1 symbol revised; see {options.store / 'revisions.csv'}",
    ]


@pytest.mark.parametrize("change", ["path", "source", "missing path"])
def test_store_of_another_data_set_is_left_alone(options, folder, tmp_path, change):
    """Another source or path with the same store is refused by naming both; a rebuild replaces it."""
    run(options)
    other = three_files(tmp_path / "other")
    changes = {
        "path": {"path": other},
        "source": {"source": Source.SAMPLE, "path": None},
        "missing path": {"path": tmp_path / "nowhere"},
    }[change]
    changed = options.model_copy(update=changes)
    asked = f"{changed.source} {changed.path or ''}".rstrip()

    for refused in (run, lambda given: current_snapshot(given, AS_OF)):
        with pytest.raises(ConfigError) as caught:
            refused(changed)
        assert str(caught.value).startswith(f"store {options.store}: made from csv {folder}, not {asked}; one store")
    if change == "path":
        assert run(changed, rebuild=True).counts["stored"] == 30


def test_other_options_take_no_bars(options, folder):
    """A mapping or pattern under which symbols would lose bars is refused; the store is as it was."""
    before = run(options).snapshot
    for symbol in ("BBB", "CCC"):
        (folder / f"{symbol}.csv").rename(folder / f"US-{symbol}.csv")
    changed = options.model_copy(update={"file_pattern": "US-{symbol}.csv"})

    with pytest.raises(ConfigError, match=r"1 of its 3 symbols would lose bars, AAA 10 of 10; .*--rebuild"):
        run(changed)
    assert open_snapshot(options.store).manifest == before.manifest
    assert list(run(changed, rebuild=True).snapshot.by_symbol) == ["BBB", "CCC"]


def test_files_whose_rows_are_mostly_refused_are_named(options, folder):
    """More than half of a file's rows refused: the file, the count, the rule."""
    write(folder / "AAA.csv", [*bars(["2019-01-01"]), *(row.replace("-", "/", 2) for row in bars())])
    write(folder / "BBB.csv", [*bars(), "2021-02-01,nan,1,1,1,1,1"])
    expected = [
        (
            f"{folder / 'AAA.csv'}: 10 of 11 rows refused, most by rule session ({Rule.SESSION.sentence}), first "
            "line 3: 2020/12/28,10.0,11.0,9.0,10.0,10.0,100"
        ),
    ]

    assert [warned(options)[1], warned(options)[1]] == [expected, expected]


def test_quarantine_explains_its_rules(options, folder):
    """The last column of quarantine.csv says what the rule asks."""
    write(folder / "AAA.csv", [*bars(), "2021-02-01,nan,1,1,1,1,1"])
    (folder / "BBB.csv").write_text("<html>")
    run(options)
    with (options.store / "quarantine.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))

    assert list(rows[0])[-1] == "sentence"
    assert [row["sentence"] for row in rows] == [Rule.PRICE.sentence, Rule.NOT_BARS.sentence]


def test_notes_stay_with_the_snapshot(options, folder):
    """A jump of AAA and a file without its last newline are still known after BBB's update, and go when mended."""
    jump = [*bars(DAYS[:5]), *bars(DAYS[5:], close=30.0)]
    write(folder / "AAA.csv", jump)
    (folder / "CCC.csv").write_text((folder / "CCC.csv").read_text().rstrip())
    first = run(options)
    write(folder / "BBB.csv", bars([*DAYS, "2021-01-11"], close=20.0))
    notes = run(options).snapshot.manifest.notes
    write(folder / "AAA.csv", bars())
    left = run(options).snapshot.manifest.notes

    assert notes == first.snapshot.manifest.notes
    (warning,) = set(first.notes) - set(notes)
    assert warning.startswith(f"no newline at the end of 1 file: {folder / 'CCC.csv'}; the last bar of each may be cut")
    assert [note.split(":")[0] for note in notes] == [str(folder / "CCC.csv"), "AAA"]
    assert left == (f"{folder / 'CCC.csv'}: no newline at the end: the file may be truncated",)


def test_source_that_is_gone_is_told_from_a_corrupt_store(options, folder):
    """Whoever asks whether a store is current can tell the two apart."""
    snapshot = run(options).snapshot
    aside = folder.rename(folder.with_name("aside"))
    with pytest.raises(SourceGoneError):
        current_snapshot(options, AS_OF)
    aside.rename(folder)
    snapshot.path(snapshot.manifest.parts[0]).unlink()

    with pytest.raises(StoreCorruptError):
        current_snapshot(options, AS_OF)
    assert not issubclass(StoreCorruptError, SourceGoneError)


def test_who_asks_for_a_current_store_hears_of_deleted_files(options, folder):
    """A run ingests nothing when no file changed, but learns which are gone."""
    run(options)
    (folder / "BBB.csv").unlink()
    events = []

    assert current_snapshot(options, AS_OF, events.append)
    assert events == [Warned(f"{folder / 'BBB.csv'}: gone; the bars it gave stay. `ingest --rebuild` drops them")]


def test_two_adjustments_in_one_folder_are_counted(options, folder):
    """The refusal says how many files are of each kind, and what to do."""
    write(folder / "CCC.csv", [f"{day},10,11,9,10,10,100,0.5,1" for day in DAYS], VANTAGE)

    with pytest.raises(DataError, match=r"CCC\.csv: .*'none' \(1 file\).*'splits' \(2 files\).*a data\.store for each"):
        run(options)


def test_the_plainest_header_is_told_what_it_is_taken_for(tmp_path):
    """Of others than Stooq, too, so the first ingest says it; not where data.adjustment does, nor night after night."""
    plain = "date,open,high,low,close,volume"
    rows = [f"{day},10,11,9,10,100" for day in DAYS]
    for symbol in ("AAA", "BBB"):
        write(tmp_path / "bars" / f"{symbol}.csv", rows, plain)
    told = options_of(tmp_path / "bars", tmp_path / "told")
    options = options_of(tmp_path / "bars", tmp_path / "store")

    (note,) = run(options).notes
    assert note.startswith("2 files of layout stooq-web: prices are taken as adjusted for splits and dividends")
    assert run(told.model_copy(update={"adjustment": Adjustment.ALL})).notes == ()
    write(tmp_path / "bars" / "AAA.csv", [*rows, "2021-01-11,10,11,9,10,100"], plain)
    assert run(options).notes == ()
