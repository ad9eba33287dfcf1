"""A symbol that is behind the others, has ended, or lacks sessions is counted and named; none is an error."""

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from pipeline import config
from pipeline.bars.evenness import NOTHING, evenness
from pipeline.bars.freshness import sessions
from pipeline.bars.manifest import Symbol
from pipeline.batch.table import table
from pipeline.events import Note, Warned
from pipeline.options import FreshOptions
from pipeline.run import run
from pipeline.upkeep import ingest

SESSIONS = [  # of New York in January 2021, by its calendar: New Year and Martin Luther King's day are none
    str(day.date()) for day in pd.bdate_range("2021-01-04", "2021-01-29") if str(day.date()) != "2021-01-18"
]
NEWEST = date(2021, 1, 29)
ASKED = FreshOptions(calendar=None, warn_after=3, error_after=None)


def entry(symbol, days):
    return Symbol(symbol, 0, len(days), days[0], days[-1], 1.0)


WHOLE, LATE = entry("WHOLE", SESSIONS), entry("LATE", SESSIONS[:-4])
AT_THE_LIMIT, GAPPED = entry("LIMIT", SESSIONS[:-3]), entry("GAPPED", [*SESSIONS[:5], *SESSIONS[7:]])


def test_stale_symbols_and_gaps_are_counted_in_sessions():
    """More than warn_after sessions behind is stale; a holiday is no gap; what is told names those that miss most."""
    found = evenness([WHOLE, LATE, AT_THE_LIMIT, GAPPED], NEWEST, ASKED, "us")

    assert (found.stale, found.gaps) == ({"LATE": 4}, {"GAPPED": 2})
    assert found.warnings == (
        "stale symbols: 1 of 4 symbols end more than 3 sessions of XNYS before 2021-01-29: LATE 4",
        "gaps: 1 of 4 symbols lack sessions of XNYS between their first bar and their last: GAPPED 2",
    )


def test_only_the_first_are_named():
    """Of many, five are named, those that miss most first."""
    late = [entry(f"S{behind}", SESSIONS[:-behind]) for behind in range(4, 12)]
    (sentence,) = evenness([WHOLE, *late], NEWEST, ASKED, "us").warnings

    assert sentence.endswith("2021-01-29: S11 11, S10 10, S9 9, S8 8, S7 7 and 3 more")


GONE = [Symbol(f"G{month}", 0, 1, f"2019-{month:02}-04", f"2019-{month:02}-04", 1.0) for month in (2, 3, 4, 6, 9, 10)]


def test_what_ended_long_ago_is_told_apart():
    """A share that was delisted a year before will not come again: it is no stale one, and does not vanish either."""
    beside = evenness([WHOLE, LATE, GONE[0]], NEWEST, ASKED, "us")
    alone = evenness([WHOLE, *GONE], NEWEST, ASKED, "us")

    assert (beside.stale, beside.ended, beside.notes) == ({"LATE": 4}, {"G2": "2019-02-04"}, ())
    (late,) = beside.warnings
    assert late == (
        "stale symbols: 1 of 3 symbols end more than 3 sessions of XNYS before 2021-01-29: LATE 4; 1 ended more than "
        "250 sessions before it: G2 2019-02-04"
    )
    assert (alone.stale, alone.warnings, list(alone.ended)) == ({}, (), [entry.symbol for entry in GONE])
    (over,) = alone.notes
    assert over == (
        "ended symbols: 6 of 7 symbols ended more than 250 sessions of XNYS before 2021-01-29: G10 2019-10-04, "
        "G9 2019-09-04, G6 2019-06-04, G4 2019-04-04, G3 2019-03-04 and 1 more"
    )
    assert list(alone.events) == [Note(over)]


@pytest.mark.parametrize(("warn_after", "stale", "ended"), [(0, 250, 251), (300, 0, 301)])
def test_every_symbol_that_is_behind_is_told_once(warn_after, stale, ended):
    """250 sessions behind is stale, 251 ended; behind a higher threshold nothing is stale before it ended."""
    days = sessions("XNYS", date(2019, 1, 2), NEWEST)
    behind = {number: str(days[-1 - number]) for number in (250, 251, 300, 301)}
    entries = [Symbol(f"B{number}", 0, 1, day, day, 1.0) for number, day in behind.items()]
    asked = FreshOptions(calendar=None, warn_after=warn_after, error_after=None)
    found = evenness([WHOLE, *entries], NEWEST, asked, "us")

    assert list(found.stale) == [f"B{number}" for number in behind if number <= stale]
    assert list(found.ended) == [f"B{number}" for number in behind if number >= ended]


def test_a_threshold_of_no_session_is_told_in_plain_words():
    """Whatever lacks the newest session is behind."""
    asked = FreshOptions(calendar=None, warn_after=0, error_after=None)

    assert evenness([WHOLE, LATE, AT_THE_LIMIT], NEWEST, asked, "us").warnings == (
        "stale symbols: 2 of 3 symbols end before 2021-01-29 (XNYS): LATE 4, LIMIT 3",
    )


def test_an_evening_in_the_past_sees_no_later_bar():
    """As of the 22nd the late one is not late; gaps are not counted, as their place is not known: that is not none."""
    found = evenness([WHOLE, LATE, GAPPED], date(2021, 1, 22), ASKED, "us")

    assert found == NOTHING
    assert found.record == {"stale": {}, "gaps": None, "ended": {}}


@pytest.mark.parametrize(
    ("fresh", "has_times", "stale", "gaps"),
    [
        (FreshOptions(calendar=None, warn_after=None, error_after=None), False, {}, None),
        (FreshOptions(calendar=None, warn_after=None, error_after=3), False, {"LATE": 4}, {"GAPPED": 2}),
        (ASKED, True, {"LATE": 4}, None),
    ],
)
def test_it_is_asked_for_and_gaps_are_those_of_days(fresh, has_times, stale, gaps):
    """Without a threshold nothing is asked; of minute bars the number tells nothing about sessions."""
    found = evenness([WHOLE, LATE, GAPPED], NEWEST, fresh, "us", has_times=has_times)

    assert (found.stale, found.gaps) == (stale, gaps)


def test_a_calendar_that_begins_later_is_told():
    """Bars from before the first year that a calendar knows are no reason to end a run."""
    old = Symbol("OLD", 0, 1, "1989-01-03", "2021-01-29", 1.0)
    found = evenness([old], NEWEST, ASKED, "cn")

    assert (found.stale, found.gaps) == ({}, None)
    assert found.warnings[0].startswith("gaps: not counted. fresh.calendar: XSHG from 1989-01-03")
    assert evenness([Symbol("FIRST", 0, 1, "1990-12-19", "2021-01-29", 1.0)], NEWEST, ASKED, "cn").gaps


def test_ingest_run_and_batch_tell_of_them(tmp_path):
    """Both are warnings: exit code 0, in run.json by symbol, and beside the run in a batch's table."""
    (tmp_path / "bars").mkdir()
    gapped = [*SESSIONS[:5], *SESSIONS[7:]]
    for symbol, days in (("WHOLE", SESSIONS), ("LATE", SESSIONS[:-4]), ("GAPPED", gapped), ("OLD", ["2019-06-03"])):
        rows = [f"{day},10,11,9,10,10,1000" for day in days]
        (tmp_path / "bars" / f"{symbol}.csv").write_text(
            "\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows, ""])
        )
    own = ["data.source=csv", f"data.path={tmp_path}/bars", f"data.store={tmp_path}/store", "output.report=false"]
    own += [f"output.dir={tmp_path}/runs", "fresh.warn_after=3", "as_of=2021-01-29"]
    options = config.load(None, own, {})
    heard = []

    kept = ingest(options, heard.append)
    done = run(options)
    record = json.loads((Path(done.run_dir) / "run.json").read_text())

    warned = [event.text for event in heard if isinstance(event, Warned)]
    assert [text.partition(":")[0] for text in warned] == ["stale symbols", "gaps"]
    assert (int(kept.exit_code), int(done.exit_code), done.reason) == (0, 0, "")
    assert record["uneven"] == {"stale": {"LATE": 4}, "gaps": {"GAPPED": 2}, "ended": {"OLD": "2019-06-03"}}
    assert set(warned) <= set(record["warnings"])
    row = {"headline": {}, "label": "x", "as_of": "d", "state": "committed", "exit_code": 0, "attempts": 1}
    told = table([row | {"seconds": 1.0, "reason": "", "warnings": done.warnings}])
    assert "stale symbols: 1 of 4 symbols" in told
