"""What an update brings and refuses is judged by itself: one night drowns in the counts of all of history."""

import csv
import time

import pytest

from csv_files import AS_OF, DAYS, VANTAGE, YAHOO, append, bars, closes, run, unseal, warned, write
from pipeline.bars import lately
from pipeline.bars.ingest import current_snapshot
from pipeline.bars.lately import poor
from pipeline.bars.quality import Rule
from pipeline.bars.store import open_snapshot
from pipeline.events import Note, Warned

NEXT = "2021-01-11"
BAD = f"{NEXT},10,9,11,10,10,100"  # high below low


def test_a_conflict_of_the_newest_session_is_named_and_in_the_books(options, folder):
    """A second row for the last stored session: file and lines are told, and every row is in the books, once."""
    run(options)
    append(folder / "AAA.csv", f"{DAYS[9]},10.0,11.0,9.0,10.5,10.5,100")
    for _ in range(2):  # the second is idle
        result, warnings = warned(options)
        assert closes(result.snapshot)["AAA"][-1] == (DAYS[9], 10.0)
        assert (result.degraded, result.counts["rows_in"], result.counts["quarantined"]) == (True, 31, 1)
        assert (
            f"{folder / 'AAA.csv'}: AAA has rows that contradict each other for its newest stored session {DAYS[9]}, "
            f"in {folder / 'AAA.csv'} lines 11 and 12; its 10 stored bars stay. Correct the file: one row for a session"
        ) in warnings
    with (options.store / "quarantine.csv").open(newline="") as source:
        assert [(row["line"], row["rule"]) for row in csv.DictReader(source)] == [("12", "conflict")]


def test_the_books_of_a_conflict_go_on_and_end(options, folder):
    """Others are updated beside it; where no row is the stored one both are refused; the corrected file is taken."""
    run(options)
    both = [f"{DAYS[9]},{price},11.0,9.0,{price},{price},100" for price in ("10.5", "10.6")]
    write(folder / "AAA.csv", [*bars(DAYS[:9]), *both])
    append(folder / "BBB.csv", *bars([NEXT], close=20.0))
    first, _ = warned(options)
    append(folder / "CCC.csv", *bars([NEXT], close=30.0))
    second, _ = warned(options)
    write(folder / "AAA.csv", bars([*DAYS, NEXT]))
    mended, none = warned(options)

    assert [first.counts[name] for name in ("rows_in", "stored", "quarantined")] == [33, 31, 2]
    assert [second.counts[name] for name in ("rows_in", "stored", "quarantined")] == [34, 32, 2]
    assert [mended.counts[name] for name in ("rows_in", "stored", "quarantined")] == [33, 33, 0]
    assert (none, mended.degraded) == ([], False)


@pytest.mark.parametrize("rewrites", [False, True])
def test_a_night_of_bad_rows_is_told_with_symbols_and_rule(options, folder, rewrites):
    """All of tonight's rows refused: degraded, however long history is, until the next bars come."""
    options = options.model_copy(update={"warn_above": 0.2})
    run(options)
    for close, symbol in ((10.0, "AAA"), (20.0, "BBB"), (30.0, "CCC")):
        if rewrites:
            write(folder / f"{symbol}.csv", [*bars(close=close), BAD])
        else:
            append(folder / f"{symbol}.csv", BAD)
    for _ in range(2):
        result, warnings = warned(options)
        assert result.degraded
        assert warnings == [
            (
                f"3 rows newly refused, 0 new bars stored: AAA, BBB, CCC; most by rule ohlc "
                f"({Rule.OHLC.sentence}). See "
                f"{options.store / 'quarantine.csv'}, then correct the files"
            ),
        ]
    for close, symbol in ((10.0, "AAA"), (20.0, "BBB"), (30.0, "CCC")):
        write(folder / f"{symbol}.csv", bars([*DAYS, NEXT], close=close))
    mended, none = warned(options)
    assert (mended.degraded, none, mended.counts["stored"]) == (False, [], 33)


def test_new_bars_are_counted_beside_dropped_ones(options, folder):
    """A bar that a vendor drops, and one that comes in the same night, are not none."""
    run(options)
    write(folder / "AAA.csv", [*bars(DAYS[:3]), *bars([*DAYS[5:], NEXT]), BAD.replace(NEXT, "2021-01-12")])
    append(folder / "BBB.csv", *bars([NEXT], close=20.0))
    result, _ = warned(options)

    assert result.snapshot.manifest.news.refused.startswith("1 row newly refused, 2 new bars stored: AAA; ")


def test_rows_refused_before_are_no_news(options, folder):
    """Yesterday's bad row does not count against tonight; one mended row does not hide another bad one."""
    write(folder / "AAA.csv", [*bars(), BAD])
    run(options)
    append(folder / "BBB.csv", *bars([NEXT], close=20.0))
    quiet, none = warned(options)
    write(folder / "AAA.csv", bars([*DAYS, NEXT]))
    append(folder / "CCC.csv", BAD)
    swapped, warnings = warned(options)

    assert (quiet.degraded, none) == (False, [])
    assert swapped.degraded
    assert warnings[0].startswith("1 row newly refused, 1 new bar stored: CCC; ")


def test_a_new_file_that_is_refused_counts_against_new_files(options, folder):
    """A vendor's file of the night is an error page: degraded, though it is one of many files."""
    for number in range(30):
        write(folder / f"S{number}.csv", bars())
    run(options)
    (folder / "DDD.csv").write_text("<html>")
    result, _ = warned(options)

    assert (result.snapshot.manifest.news.files, result.snapshot.manifest.news.files_refused) == (1, 1)
    assert result.degraded


def test_refused_files_that_disappear_are_forgotten(options, folder):
    """Copies that gave no bar are told as long as they are there; removed, nothing is left of them but the bars."""
    before = run(options).snapshot
    write(folder / "DDD.csv", [f"AAA,{row}" for row in bars()], f"Symbol,{YAHOO}")
    (folder / "BBB (1).csv").write_bytes((folder / "BBB.csv").read_bytes())
    refused, told = warned(options)
    (folder / "BBB (1).csv").unlink()
    half, rest = warned(options)
    (folder / "DDD.csv").unlink()
    assert current_snapshot(options, AS_OF) is None  # so that a run ingests, too
    mended, none = warned(options)

    assert [(each.degraded, each.counts["files_refused"]) for each in (refused, half, mended)] == [
        (True, 2),
        (True, 1),
        (False, 0),
    ]
    assert [poor(each.snapshot, 0.05) for each in (refused, half, mended)] == [
        "2 of 2 new files refused",
        "1 of 1 new file refused",
        "",
    ]
    assert [len(each) for each in (told, rest, none)] == [2, 1, 0]
    assert (options.store / "quarantine.csv").read_text().count("\n") == 1
    assert mended.snapshot.content_id == before.content_id
    assert current_snapshot(options, AS_OF)


def test_what_else_a_night_brought_outlives_a_refused_file(options, folder):
    """A refused file is removed: refused rows of others are told still; those of a file of nothing else go with it."""
    run(options)
    append(folder / "AAA.csv", BAD)
    (folder / "DDD.csv").write_text("<html>")
    _, (page, rows) = warned(options)
    (folder / "DDD.csv").unlink()
    still, left = warned(options)
    assert (page.startswith(f"{folder / 'DDD.csv'}: refused"), left, still.degraded) == (True, [rows], True)

    write(folder / "AAA.csv", bars())
    write(folder / "EEE.csv", [BAD])
    assert warned(options)[0].degraded
    (folder / "EEE.csv").unlink()
    mended, none = warned(options)
    assert (mended.degraded, none, mended.counts["quarantined"]) == (False, [], 0)


@pytest.mark.parametrize("rewrites", [False, True])
def test_a_jump_of_a_new_bar_is_a_warning_until_the_next_night(options, folder, rewrites, monkeypatch):
    """A split that nobody declared, in a row that was appended, and in a file written anew; then it is history."""
    options = options.model_copy(update={"warn_above": 1.0})
    for close, symbol in ((10.0, "AAA"), (20.0, "BBB")):
        write(folder / f"{symbol}.csv", [f"{row},0,1" for row in bars(close=close)], VANTAGE)
    (folder / "CCC.csv").unlink()
    run(options)
    halved = [f"{row},0,1" for row in bars([NEXT], close=5.1)]
    declared = [f"{row},0,2" for row in bars([NEXT], close=10.1)]
    for symbol, close, rows in (("AAA", 10.0, halved), ("BBB", 20.0, declared)):
        if rewrites:
            write(folder / f"{symbol}.csv", [*(f"{row},0,1" for row in bars(close=close)), *rows], VANTAGE)
        else:
            append(folder / f"{symbol}.csv", *rows)
    expected = (
        f"AAA: the close of {NEXT} moves by -49.0% without a corporate action that explains it. Look whether the file "
        f"lacks a split, or has an error, and correct it"
    )
    assert [warned(options)[1] for _ in range(2)] == [[expected], [expected]]

    append(folder / "BBB.csv", *(f"{row},0,1" for row in bars(["2021-01-12"], close=10.1)))
    assert warned(options)[1] == [expected]
    (options.store / lately.HEARD).write_text("99")
    monkeypatch.setattr(lately, "time", lambda: time.time() + lately.NIGHT.total_seconds())
    append(folder / "BBB.csv", *(f"{row},0,1" for row in bars(["2021-01-13"], close=10.1)))
    events = []
    later = run(options, listener=events.append)
    assert not [event for event in events if isinstance(event, Warned)]
    assert any("AAA: the close moves by more than 40%" in note for note in later.snapshot.manifest.notes)
    assert not any(isinstance(event, Note) and "AAA" in event.text for event in events)


@pytest.mark.parametrize("rewrites", [False, True])
def test_a_new_bar_that_reaches_far_beyond_its_closes_is_a_warning(options, folder, rewrites):
    """Its high alone is wrong, so a profit would fill there: in a row that was appended, and in a file written anew."""
    run(options)
    spiked = f"{NEXT},10,100,9,10,10,100"
    if rewrites:
        write(folder / "AAA.csv", [*bars(), spiked])
    else:
        append(folder / "AAA.csv", spiked)
    result, warnings = warned(options)

    assert warnings == [
        (
            f"AAA: the bar of {NEXT} reaches +900.0% beyond both its close and the one before, and stops fill there. "
            f"Look whether its open, high or low is wrong, and correct it"
        )
    ]
    assert any("AAA: 1 bar reached more than 40%" in note for note in result.snapshot.manifest.notes)


def test_later_bars_do_not_hide_what_the_night_refused(options, folder):
    """Whoever took them in may have been killed: it holds for the night, or until nothing of them is refused."""
    options = options.model_copy(update={"warn_above": 0.6})
    run(options)
    append(folder / "AAA.csv", BAD)
    first, _ = warned(options)
    append(folder / "BBB.csv", *bars([NEXT], close=20.0))
    later, warnings = warned(options)
    write(folder / "AAA.csv", bars([*DAYS, NEXT]))
    mended, none = warned(options)

    told = "1 row newly refused, 0 new bars stored: AAA; "
    assert [result.degraded for result in (first, later, mended)] == [True, True, False]
    assert poor(later.snapshot, options.warn_above).startswith(told)
    assert [text.startswith(told) for text in warnings] == [True]
    assert none == []


def test_jumps_of_history_are_notes(options, folder):
    """Those of a first ingest, and of a symbol that comes later, warn nobody."""
    jump = [*bars(DAYS[:5]), *bars(DAYS[5:], close=30.0)]
    write(folder / "AAA.csv", jump)
    _, first = warned(options)
    write(folder / "DDD.csv", jump)
    result, later = warned(options)

    assert (first, later) == ([], ["1 new symbol: DDD; runs of `data.symbols: all` trade more than before"])
    assert len([note for note in result.snapshot.manifest.notes if "moves by more than" in note]) == 2


def test_new_symbols_are_told_until_the_next_night(options, folder, monkeypatch):
    """Those of a first ingest are all of them; later ones change runs of all symbols: a warning, and nothing more."""
    _, first = warned(options)
    for number in range(6):
        write(folder / f"N{number}.csv", bars())
    (folder / "page.csv").write_text("<html>")
    options = options.model_copy(update={"warn_above": 0.5})
    told = "6 new symbols: N0, N1, N2, N3, N4 and 1 more; runs of `data.symbols: all` trade more than before"
    for _ in range(2):  # the second is idle
        result, (page, text) = warned(options)
        assert (text, result.degraded) == (told, False)
    (folder / "page.csv").unlink()
    heard = []
    _, same = warned(options)
    assert current_snapshot(options, AS_OF, heard.append)  # as a run does
    write(folder / "N6.csv", bars())
    _, more = warned(options)
    (options.store / lately.HEARD).write_text("99")
    monkeypatch.setattr(lately, "time", lambda: time.time() + lately.NIGHT.total_seconds())
    append(folder / "AAA.csv", *bars([NEXT]))
    _, later = warned(options)

    assert (first, same, [event.text for event in heard]) == ([], [told], [told])
    assert (more, later) == ([told.replace("6 new", "7 new").replace("and 1", "and 2")], [])
    assert page.startswith(f"{folder / 'page.csv'}: refused")


def test_snapshots_of_before_have_no_news(options):
    """A manifest that was written before news were kept opens as one without any."""
    snapshot = run(options).snapshot
    text = snapshot.manifest_file.read_text()
    start = text.index(',"news":')
    unseal(snapshot.manifest_file, text[start : text.index("}", start) + 1])

    assert open_snapshot(options.store).manifest == snapshot.manifest


def test_what_an_older_version_kept_of_news_is_passed_over(options):
    """It counted the refused files where this one names them."""
    snapshot = run(options).snapshot
    unseal(snapshot.manifest_file, '"refused_files":[]', '"files_refused":2')

    assert open_snapshot(options.store).manifest == snapshot.manifest
