"""What is refused is named, counted and bounded."""

import csv

import pytest

from crash import options_of, signature
from csv_files import DAYS, VANTAGE, YAHOO, bars, run, warned, write
from pipeline.bars import inventory
from pipeline.errors import DataError
from pipeline.events import Warned
from pipeline.modes import Source


def test_too_much_refused_publishes_nothing(options, folder):
    """Above fail_above nothing is published, and quarantine.csv tells why."""
    for symbol in ("BBB", "CCC"):
        (folder / f"{symbol}.csv").write_text("<html>")

    with pytest.raises(DataError, match=r"2 of 3 files refused, more than data.fail_above = 0\.5.*quarantine\.csv"):
        run(options)
    assert signature(options.store) is None
    assert (options.store / "quarantine.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(("warn_above", "degraded"), [(0.05, True), (0.4, False)])
def test_some_refused_is_degraded(options, folder, warn_above, degraded):
    """Above warn_above the snapshot is published and marked; the second, idle ingest says the same."""
    options = options.model_copy(update={"warn_above": warn_above})
    (folder / "CCC.csv").write_text("<html>")

    assert [run(options).degraded, run(options).degraded] == [degraded, degraded]


def test_the_bars_of_a_file_that_breaks_stay(options, folder):
    """And that is said, unlike of a file that never was one. What is refused is no reason where it is little."""
    options = options.model_copy(update={"warn_above": 0.6})
    (folder / "DDD.csv").write_text("<html>")
    run(options)
    (folder / "CCC.csv").write_text("")
    write(folder / "AAA.csv", [*bars(DAYS[:9]), *bars(DAYS[9:], close=10.5)])
    result, warnings = warned(options)

    stay = [text for text in warnings if "The bars it gave stay." in text]
    where = options.store / "quarantine.csv"
    assert stay == [f"{folder / 'CCC.csv'}: refused: the file is empty. The bars it gave stay. See {where}"]
    assert result.why.startswith("stored bars of 1 symbol changed (AAA: 1 of 10 stored bars otherwise")
    assert result.why.endswith("revisions.csv")


def test_rows_refused_count_as_well(options, folder):
    """One row in four refused is above 5 % of the rows."""
    write(folder / "AAA.csv", [*bars(), *(f"2021-02-0{day},nan,1,1,1,1,1" for day in range(1, 9))])
    result = run(options)

    assert (result.counts["quarantined"], result.degraded) == (8, True)


def test_no_usable_symbol_is_told(options, folder):
    """If nothing is usable the message says where to look."""
    for path in folder.iterdir():
        path.write_text("nothing")

    with pytest.raises(DataError, match=r"no usable symbol.*quarantine\.csv"):
        run(options)


def test_prices_of_two_kinds_do_not_mix(options, folder):
    """A file with unadjusted and actions beside adjusted ones is refused by naming both."""
    write(folder / "AAA.csv", [row.replace(",10.0,100", ",100") for row in bars()], YAHOO.replace("Adj Close,", ""))
    write(folder / "BBB.csv", [f"{day},10,11,9,10,10,100,0.5,1" for day in DAYS], VANTAGE)

    with pytest.raises(DataError, match=r"\.csv: prices adjusted for .*\.csv for .*two stores"):
        run(options)


@pytest.mark.parametrize("path", ["missing", "empty", "*.csv"])
def test_nothing_to_read_is_told(tmp_path, path):
    """A path that is not there, an empty folder, a glob without a match: the path and what to do."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match=r"data\.path: .*Correct data\.path"):
        run(options_of(tmp_path / path, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_missing_sample_package_is_told(tmp_path, monkeypatch):
    """Without bokeh_sampledata the sample says how to get it."""
    monkeypatch.setattr(inventory, "find_spec", lambda _: None)

    with pytest.raises(DataError, match="not installed"):
        run(options_of(tmp_path, tmp_path / "store").model_copy(update={"source": Source.SAMPLE}))


def test_other_files_are_ignored_and_counted(options, folder):
    """Files of another suffix are not read, nor what folders hold, and a note names both; hidden ones are nothing."""
    (folder / "README.md").write_text("x")
    (folder / ".hidden.csv").write_text("x")
    (folder / "sub.csv").mkdir()
    result = run(options)

    assert result.counts["files"] == 3
    assert result.notes[:2] == (
        f"{folder}: ignored for their suffix: README.md; data.file_pattern is '{{symbol}}.csv'",
        f"{folder}: folders are not looked into: sub.csv; data.path: {folder}/**/*.csv does that",
    )


def test_a_folder_of_folders_says_how_to_read_them(options, folder, tmp_path):
    """One folder for each exchange or year is usual: the glob that reads them is named, and does."""
    (tmp_path / "all").mkdir()
    folder.rename(tmp_path / "all" / "2020")
    above = options.model_copy(update={"path": tmp_path / "all"})

    with pytest.raises(
        DataError, match=r"0 files, none like '\{symbol\}.csv', and 1 folder, .* a glob like \*\*/\*.csv"
    ):
        run(above)
    result = run(options.model_copy(update={"path": tmp_path / "all" / "**" / "*.csv"}))
    assert result.counts["files"] == 3


def test_many_ignored_files_are_named_in_one_line(options, folder):
    """The first five, and how many more."""
    for name in ("b.xls", "a.txt", "c.zip", "d", "e.pdf", "f.xlsx", "g.CSV"):
        (folder / name).write_text("x")
    result = run(options.model_copy(update={"fail_above": 1.0}))

    others = "a.txt, b.xls, c.zip, d, e.pdf and 1 more; data.file_pattern is '{symbol}.csv'"
    assert result.notes[0] == f"{folder}: ignored for their suffix: {others}"


def test_rows_that_are_all_refused_show_one(options, folder):
    """The error shows a row, and the form that was expected."""
    for symbol in ("AAA", "BBB", "CCC"):
        write(folder / f"{symbol}.csv", ["01/31/2020,1,1,1,1,1,1"])
    told = r"First .*AAA\.csv, line 2: 01/31/2020,1,1,1,1,1,1; The session must be a date: YYYY-MM-DD"

    with pytest.raises(DataError, match=told):
        run(options)


def test_a_file_that_lost_most_rows_shows_the_first(options, folder):
    """The warning names the rule, the form expected, and a row that broke it."""
    write(folder / "AAA.csv", [*(f"{day}/1/2020,1,1,1,1,1,1" for day in range(1, 13)), *bars()])
    told = []
    run(options, listener=told.append)
    (warning,) = [event.text for event in told if isinstance(event, Warned) and "more than half" not in event.text][:1]

    assert warning.startswith(f"{folder / 'AAA.csv'}: 12 of 22 rows refused, most by rule session (The session must be")
    assert warning.endswith(" also YYYYMMDD.), first line 2: 1/1/2020,1,1,1,1,1,1")


def test_file_whose_name_does_not_fit_is_refused(folder, tmp_path):
    """A file of the right suffix whose name gives no symbol is refused by name."""
    options = options_of(folder, tmp_path / "store").model_copy(update={"file_pattern": "US-{symbol}.csv"})
    for symbol in ("AAA", "BBB"):
        (folder / f"{symbol}.csv").rename(folder / f"US-{symbol}.csv")

    assert run(options).refused == (str(folder / "CCC.csv"),)


def test_glob_reads_what_it_names(options, folder):
    """A glob takes the files it matches and no other."""
    result = run(options.model_copy(update={"path": folder / "[AB]*.csv"}))

    assert list(result.snapshot.by_symbol) == ["AAA", "BBB"]


def test_case_twins_are_kept_apart_and_noted(options, folder):
    """Symbols aaa and AAA are two, and the user is told."""
    write(folder / "aaa.csv", bars(close=5.0))
    result = run(options)

    assert {"AAA", "aaa"} < set(result.snapshot.by_symbol)
    assert any("AAA, aaa differ in case only" in note for note in result.notes)


def test_quarantine_is_safe_in_a_spreadsheet(options, folder):
    """Text that a spreadsheet would run as a formula is stored as text."""
    write(folder / "AAA.csv", [*bars(), "=cmd|' /C calc'!A0,1,2,0.5,1,1,1"])
    run(options)
    with (options.store / "quarantine.csv").open(newline="") as source:
        row = next(csv.DictReader(source))

    assert row["text"].startswith("'=cmd")
