"""A vendor that changes history is told: which symbols, how many bars, what was and what is; nothing is silent."""

import csv
import time

import pytest

from crash import options_of
from csv_files import DAYS, VANTAGE, bars, closes, night_is_over, run, three_files, write
from pipeline import failpoints
from pipeline.bars import lately
from pipeline.errors import TemporaryError
from pipeline.events import Note, Warned
from pipeline.modes import Revisions

NEXT = "2021-01-11"


@pytest.fixture
def options(tmp_path):
    return options_of(three_files(tmp_path / "bars"), tmp_path / "store")


def told(options, kind=Warned, **given):
    """Ingest; return what it did, and what it told."""
    events = []
    result = run(options, listener=events.append, **given)
    return result, [event.text for event in events if isinstance(event, kind)]


def listed(options) -> list[tuple[str, ...]]:
    """Return the lines of revisions.csv."""
    with (options.store / "revisions.csv").open(newline="") as source:
        return [tuple(row.values()) for row in csv.DictReader(source)]


def vantage(days=DAYS, close=10.0, acts=None) -> list[str]:
    """Return lines of Alpha Vantage: as traded, with the dividend and split of some days."""
    return [f"{day},{close},{close},{close},{close},{close},100,{(acts or {}).get(day, '0,1')}" for day in days]


def test_corrected_bars_are_named(options):
    """A close and a volume of old bars: symbol, day, column, old and new value; exit 3 for that night, not the next.

    Who asks later that night is told, too, since the first to know may have died of something; a warning stays.
    """
    first = run(options).snapshot
    rows = bars([*DAYS, NEXT])
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    rows[4] = f"{DAYS[4]},10.0,11.0,9.0,10.0,10.0,250"
    write(options.path / "AAA.csv", rows)
    result, warnings = told(options)
    again = told(options)
    night_is_over(options.store)
    later = told(options)

    assert warnings == [
        f"AAA: 2 of 10 stored bars otherwise in its files (2 corrected), first {DAYS[2]}: close 10 -> 10.5",
        f"2 stored bars of 1 symbol revised; see {options.store / 'revisions.csv'}",
    ]
    number = str(first.manifest.number + 1)
    assert listed(options) == [
        (number, "AAA", "corrected", DAYS[2], DAYS[2], "1", "close", "10", "10.5"),
        (number, "AAA", "corrected", DAYS[4], DAYS[4], "1", "volume", "100", "250"),
    ]
    assert closes(result.snapshot)["AAA"][2] == (DAYS[2], 10.5)
    assert (result.degraded, again[0].degraded, later[0].degraded) == (True, True, False)
    assert again[1] == later[1] == warnings[:1]


def test_a_revision_is_listed_before_it_is_in_the_store(options, monkeypatch):
    """Whoever dies between the two has told; `revisions.csv` outlives a rebuild."""
    run(options)
    rows = bars()
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    write(options.path / "AAA.csv", rows)
    monkeypatch.setenv(failpoints.VARIABLE, "store.before_manifest:eio")
    with pytest.raises(TemporaryError):
        run(options)
    monkeypatch.delenv(failpoints.VARIABLE)

    assert [line[1] for line in listed(options)] == ["AAA"]
    run(options)
    assert [line[1] for line in listed(options)] == ["AAA"]
    assert run(options, rebuild=True).degraded  # the night is not over
    assert [line[1] for line in listed(options)] == ["AAA"]


def test_later_bars_do_not_hide_a_revision(options, monkeypatch):
    """Who took it in may have been killed: it is told for the night, whatever comes; the next night it is history."""
    run(options)
    write(options.path / "AAA.csv", [*bars(DAYS[:9]), *bars(DAYS[9:], close=10.5)])
    run(options)
    write(options.path / "BBB.csv", bars([*DAYS, NEXT], close=20.0))
    one, warnings = told(options)
    write(options.path / "CCC.csv", [*bars(DAYS[:9], close=30.0), *bars(DAYS[9:], close=30.5)])
    both, _ = told(options)
    lists = [list(lately.revised_lately(each.snapshot)) for each in (one, both)]
    assert len(both.snapshot.manifest.lately) == 1  # that of BBB has nothing to tell
    (options.store / lately.HEARD).write_text("99")
    monkeypatch.setattr(lately, "time", lambda: time.time() + lately.NIGHT.total_seconds())
    write(options.path / "BBB.csv", bars([*DAYS, NEXT, "2021-01-12"], close=20.0))
    history, none = told(options)

    assert lists == [["AAA"], ["CCC", "AAA"]]
    assert (one.degraded, both.degraded, history.degraded, none) == (True, True, False, [])
    assert [text.partition(":")[0] for text in warnings] == ["AAA"]


def test_what_nobody_told_outlives_the_night(options):
    """A batch that took a revision in died, and the next one comes a day later: it tells it, and the one after not."""
    run(options)
    write(options.path / "AAA.csv", [*bars(DAYS[:9]), *bars(DAYS[9:], close=10.5)])
    write(options.path / "DDD.csv", bars())
    run(options)
    night_is_over(options.store, told=False)
    write(options.path / "BBB.csv", bars([*DAYS, NEXT], close=20.0))
    late, warnings = told(options)
    night_is_over(options.store, told=False)
    still, _ = told(options)
    lately.acknowledge(still.snapshot)
    history, none = told(options)

    assert [text.partition(":")[0] for text in warnings] == ["AAA", "1 new symbol"]
    assert (late.degraded, still.degraded, history.degraded, none) == (True, True, False, [])


def test_a_rebuild_tells_what_becomes_of_stored_bars(options):
    """Symbols that no file has any more, and bars that are others now; as far as the parts can be read."""
    run(options)
    (options.path / "BBB.csv").unlink()
    write(options.path / "AAA.csv", [*bars(DAYS[:9]), *bars(DAYS[9:], close=10.5)])
    write(options.path / "CCC.csv", bars([*DAYS, NEXT], close=30.0))
    result, warnings = told(options, rebuild=True)
    known, _ = told(options)
    for part in (options.store / "parts").glob("block-*"):
        part.write_bytes(part.read_bytes()[:-9] + bytes(9))
    write(options.path / "CCC.csv", bars([*DAYS, NEXT], close=30.5))
    _, blind = told(options, rebuild=True)

    damaged = "of 2 symbols are damaged and were not compared with those of the files: AAA, CCC. "
    assert [text.partition(":")[0] for text in warnings[:2]] == ["AAA", "BBB"]
    assert warnings[1] == f"BBB: no file has its 10 stored bars, {DAYS[0]} to {DAYS[9]}, any more"
    assert (result.degraded, known.degraded) == (True, True)
    assert {line[1] for line in listed(options)} == {"AAA", "BBB"}
    assert any(damaged in text for text in blind)


@pytest.mark.parametrize("harm", ["junk", "changed", "missing"])
def test_a_rebuild_of_a_damaged_store_goes_by_the_newest_whole_snapshot(options, harm):
    """Or says that nothing can be compared; what was known of revisions is kept in any case."""
    run(options)
    write(options.path / "AAA.csv", [*bars(DAYS[:9]), *bars(DAYS[9:], close=10.5)])
    number = run(options).snapshot.manifest.number
    before = listed(options)
    manifest = options.store / "snapshots" / f"{number}.json"
    spoil = {
        "junk": lambda: (options.store / "CURRENT").write_text("junk"),
        "changed": lambda: manifest.write_bytes(manifest.read_bytes().replace(b"2021-01-08", b"2021-01-07")),
        "missing": manifest.unlink,
    }
    spoil[harm]()
    (options.path / "BBB.csv").unlink()
    result, warnings = told(options, rebuild=True)
    for each in (options.store / "snapshots").iterdir():
        each.write_bytes(b"{}")
    _, blind = told(options, rebuild=True)

    assert result.degraded
    assert any(text.startswith("BBB: no file has its 10 stored bars") for text in warnings)
    assert {line[1] for line in before} == {"AAA"}
    assert any("nothing of what it held can be read" in text for text in blind)
    assert (options.store / "revisions.old.csv").read_text().count("AAA") >= 1


def test_a_revision_outlives_a_refused_file_that_is_removed(options):
    """What brings nothing, and makes a snapshot all the same, takes back no news."""
    run(options)
    rows = bars()
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    write(options.path / "AAA.csv", rows)
    (options.path / "DDD.csv").write_text("<html>")
    before = run(options)
    (options.path / "DDD.csv").unlink()
    after, warnings = told(options)

    assert after.snapshot.manifest.number > before.snapshot.manifest.number
    assert after.degraded
    assert [text.partition(" ")[0] for text in warnings] == ["AAA:"]


@pytest.mark.parametrize(
    ("acts", "words"),
    [
        ({DAYS[5]: "0,2"}, f"(1 action), first {DAYS[5]}: split 1 -> 2"),
        ({DAYS[3]: "0.5,1"}, f"(1 action), first {DAYS[3]}: dividend 0 -> 0.5"),
    ],
    ids=["split", "dividend"],
)
def test_new_actions_in_old_bars_are_named(tmp_path, acts, words):
    """A split or dividend that appears on a stored session is told with its day and value."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    write(tmp_path / "bars" / "AAA.csv", vantage(), VANTAGE)
    run(options)
    write(tmp_path / "bars" / "AAA.csv", vantage([*DAYS, NEXT], acts=acts), VANTAGE)
    result, warnings = told(options)

    assert warnings[0] == f"AAA: 1 of 10 stored bars otherwise in its files {words}"
    assert result.degraded


def test_new_action_in_a_new_bar_is_no_revision(tmp_path):
    """A split on the night's own session changes no stored bar, though all adjusted closes before it halve."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    write(tmp_path / "bars" / "AAA.csv", vantage(), VANTAGE)
    run(options)
    halved = [line.replace("10.0,100", "5.0,100") for line in vantage()]
    write(tmp_path / "bars" / "AAA.csv", [*halved, *vantage([NEXT], close=5.0, acts={NEXT: "0,2"})], VANTAGE)
    result, warnings = told(options)

    assert (result.changed, result.degraded, warnings) == (True, False, [])


def test_bars_between_are_named(options):
    """Bars that come, or go, between those that are stored are told with their number."""
    run(options)
    write(options.path / "AAA.csv", bars([*DAYS[:4], "2021-01-02", *DAYS[4:7], *DAYS[8:]]))
    result, warnings = told(options)

    assert warnings[0] == (
        "AAA: 2 of 10 stored bars otherwise in its files (1 added, 1 dropped), first 2021-01-02 added"
    )
    assert len(closes(result.snapshot)["AAA"]) == 10


def test_adjusted_prices_that_move_as_a_whole_are_expected(options):
    """All prices of a split-adjusted file halved: told with the span and the ratio, but no reason for exit 3."""
    run(options)
    write(options.path / "AAA.csv", [f"{day},5.0,5.5,4.5,5.0,5.0,200" for day in [*DAYS, NEXT]])
    result, warnings = told(options)
    (row,) = listed(options)

    assert (result.degraded, warnings) == (False, [])
    assert row[1:7] == ("AAA", "rescaled", DAYS[0], DAYS[-1], "10", "prices")
    assert float(row[8]) == pytest.approx(0.5)
    assert closes(result.snapshot)["AAA"][0] == (DAYS[0], 5.0)


def test_prices_as_traded_that_move_are_corrections(tmp_path):
    """Where prices are as traded nothing explains that they halve: every bar is listed."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    write(tmp_path / "bars" / "AAA.csv", vantage(), VANTAGE)
    run(options)
    write(tmp_path / "bars" / "AAA.csv", vantage([*DAYS, NEXT], close=5.0), VANTAGE)
    result, warnings = told(options)

    assert warnings[0].startswith("AAA: 10 of 10 stored bars otherwise in its files (40 corrected), first ")
    assert (result.degraded, len(listed(options))) == (True, 40)  # open, high, low, close of ten bars


def test_a_correction_among_rescaled_bars_is_told(options):
    """One bar that does not move with the others is a correction, whatever its size."""
    run(options)
    rows = [f"{day},5.0,5.5,4.5,5.0,5.0,200" for day in DAYS]
    rows[6] = f"{DAYS[6]},5.0,5.5,4.5,5.3,5.3,200"
    write(options.path / "AAA.csv", rows)
    result, _ = told(options)

    assert result.degraded
    assert (DAYS[6], "close", "10", "5.3") in [(row[3], *row[6:]) for row in listed(options)]


def test_refused_revisions_wait_until_they_are_accepted(options):
    """With data.revisions: refuse the symbol stays as stored, named every night; others go on; accept takes it."""
    refuse = options.model_copy(update={"revisions": Revisions.REFUSE})
    before = run(refuse).snapshot
    rows = bars([*DAYS, NEXT])
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    write(options.path / "AAA.csv", rows)
    write(options.path / "BBB.csv", bars([*DAYS, NEXT], close=20.0))
    held, warnings = told(refuse)
    idle, again = told(refuse)
    accepted, _ = told(options)

    assert closes(held.snapshot)["AAA"] == closes(before)["AAA"]
    assert len(closes(held.snapshot)["BBB"]) == 11
    assert warnings == again
    assert warnings[0] == (
        f"{options.path / 'AAA.csv'}: AAA: 1 of 10 stored bars otherwise in its files (1 corrected), first "
        f"{DAYS[2]}: close 10 -> 10.5; all 10 stay, since data.revisions is refuse. Set it to accept to take them"
    )
    assert (held.degraded, idle.degraded, idle.changed) == (True, True, False)
    assert closes(accepted.snapshot)["AAA"] == [(day, 10.5 if day == DAYS[2] else 10.0) for day in [*DAYS, NEXT]]
    assert [row[1:3] for row in listed(options)] == [("AAA", "corrected")]


def test_rounding_leaves_the_past_alone(tmp_path):
    """An adjusted close that a new dividend shifts by less than its last decimal moves no stored factor."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    days, header = [*DAYS, NEXT], "Date,Open,High,Low,Close,Volume,Adj Close"
    prices = [10.0 + number for number in range(len(days))]

    def lines(count, ratio):
        return [
            f"{day},{price},{price},{price},{price},100,{price * ratio:.2f}"
            for day, price in zip(days[:count], prices, strict=False)
        ]

    write(tmp_path / "bars" / "AAA.csv", lines(10, 1.0), header)
    first = run(options).snapshot
    write(tmp_path / "bars" / "AAA.csv", [*lines(10, 0.987), f"{NEXT},20,20,20,20,100,20"], header)
    result, warnings = told(options)

    assert (result.degraded, warnings) == (False, [])
    changed = {part.file for part in result.snapshot.manifest.parts} - {part.file for part in first.manifest.parts}
    assert len(changed) == 1  # the tail, with its new bar


def test_many_revised_symbols_are_counted(tmp_path):
    """The first are named one by one, the rest by their number, all in revisions.csv; and the total is told."""
    options = options_of(tmp_path / "bars", tmp_path / "store")
    for close in (10.0, 12.0):
        for number in range(30):
            path = write(tmp_path / "bars" / f"S{number:02d}.csv", vantage(DAYS[:4], close), VANTAGE)
        if close == 10.0:
            run(options)
    result, warnings = told(options)

    assert path.exists()
    assert warnings[-1] == f"120 stored bars of 30 symbols revised; see {options.store / 'revisions.csv'}"
    assert warnings[-2].endswith("more symbols revised")
    assert len({row[1] for row in listed(options)}) == 30
    assert len(result.snapshot.manifest.revised) == 30


def test_notes_say_what_is_expected(options):
    """What is rescaled is told as a note, with the number of bars and symbols."""
    run(options)
    write(options.path / "AAA.csv", [f"{day},5.0,5.5,4.5,5.0,5.0,200" for day in [*DAYS, NEXT]])
    _, notes = told(options, Note)

    assert f"10 stored bars of 1 symbol rescaled, as vendors do; see {options.store / 'revisions.csv'}" in notes
