"""A day on which the exchange was closed, or on which few symbols have a bar, is named; it stays a session."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config
from pipeline.bars.odd_sessions import AROUND, COUNTED, odd_sessions
from pipeline.bars.periods import read_periods
from pipeline.bars.store import open_snapshot
from pipeline.batch.doubts import news
from pipeline.options import FreshOptions
from pipeline.run import run
from pipeline.words import counted

SATURDAY, HOLIDAY = "2021-01-16", "2021-01-18"  # Martin Luther King's day
SESSIONS = [str(day.date()) for day in pd.bdate_range("2021-01-04", "2021-01-29") if str(day.date()) != HOLIDAY]
UNASKED = FreshOptions(calendar=None, warn_after=None, error_after=None)
ASKED = FreshOptions(calendar=None, warn_after=3, error_after=None)


def odd(bars: dict[str, int], fresh=UNASKED):
    """Return the odd ones of some sessions, whose number of bars is given by day."""
    days = sorted(bars)
    return odd_sessions(np.array(days, "datetime64[D]"), np.array([bars[day] for day in days]), fresh, "us")


WHOLE = dict.fromkeys(SESSIONS, 100)


def test_a_session_of_few_bars_is_named():
    """Less than a quarter of those of the sessions around it; a quarter is not few."""
    found = odd(WHOLE | {HOLIDAY: 1, "2021-01-07": 24, "2021-01-08": 25})

    assert found.record == {"calendar": None, "closed": None, "weekend": {}, "few": {"2021-01-07": 24, HOLIDAY: 1}}
    assert found.warnings == [
        (
            "odd sessions: 2021-01-18 (1 bar), 2021-01-07 (24 bars): less than a quarter of the bars of the sessions "
            f"around; {COUNTED}"
        )
    ]


@pytest.mark.parametrize("bars", [1, 4])
def test_a_rare_weekend_is_named_however_few_symbols_there_are(bars):
    """One bar is not few where there are four symbols, or one; but it is on a Saturday."""
    found = odd(dict.fromkeys(SESSIONS, 4) | {SATURDAY: bars})

    assert found.record == {"calendar": None, "closed": None, "weekend": {SATURDAY: bars}, "few": {}}
    assert found.warnings == [f"odd sessions: 2021-01-16 ({counted(bars, 'bar')}): on a weekend; {COUNTED}"]


@pytest.mark.parametrize("days", ["0123456", "01236", "4", "5"])
def test_markets_that_trade_on_weekends_are_not_odd(days):
    """Coins trade on all days, Riyadh from Sunday to Thursday; and bars of weeks stand on one day of each."""
    every = pd.date_range("2021-01-01", "2021-03-31")
    chosen = [str(day.date()) for day in every if str(day.weekday()) in days]

    assert odd(dict.fromkeys(chosen, 3)).record == {"calendar": None, "closed": None, "weekend": {}, "few": {}}


def test_days_on_which_the_exchange_was_closed_are_told_apart():
    """However many bars they have, and once."""
    found = odd(WHOLE | {SATURDAY: 1, HOLIDAY: 100, "2021-01-07": 3}, ASKED)

    assert found.record == {
        "calendar": "XNYS",
        "closed": {SATURDAY: 1, HOLIDAY: 100},
        "weekend": {},
        "few": {"2021-01-07": 3},
    }
    assert found.warnings == [
        f"odd sessions: 2021-01-18 (100 bars), 2021-01-16 (1 bar): no session of XNYS; {COUNTED}",
        f"odd sessions: 2021-01-07 (3 bars): less than a quarter of the bars of the sessions around; {COUNTED}",
    ]


@pytest.mark.parametrize("place", [0, 1, len(SESSIONS) - 1])
def test_the_first_and_the_last_session_are_compared_too(place):
    """The last is that of a night on which most files did not come."""
    assert list(odd(WHOLE | {SESSIONS[place]: 9}).few) == [SESSIONS[place]]


@pytest.mark.parametrize("grown", [0, *range(AROUND + 1, len(SESSIONS) - AROUND)])
def test_a_market_that_grows_or_shrinks_is_not_odd(grown):
    """One symbol that has years more of history than the others is no fault; of a week more it is told."""
    bars = [1] * grown + [100] * (len(SESSIONS) - grown)

    assert odd(dict(zip(SESSIONS, bars, strict=True))).warnings == []
    assert odd(dict(zip(SESSIONS, bars[::-1], strict=True))).warnings == []


def test_whole_sessions_are_not_odd():
    """And a calendar that does not reach back so far, which `gaps` tells, is none."""
    assert odd(WHOLE, ASKED).record == {"calendar": "XNYS", "closed": {}, "weekend": {}, "few": {}}
    assert odd({"1985-01-02": 3}, FreshOptions(calendar="XSHG", warn_after=3, error_after=None)).closed is None


def test_a_standing_one_is_no_news():
    """A batch tells which warnings are new; one more odd session is one."""
    (before,) = odd(WHOLE | {SATURDAY: 1}).warnings
    (after,) = odd(WHOLE | {SATURDAY: 1, "2021-02-01": 100, "2021-02-02": 100}).warnings
    (more,) = odd(WHOLE | {SATURDAY: 1, "2021-01-23": 2}).warnings

    assert (news([after], [before]), news([more], [before])) == ([], [more])


@pytest.fixture
def options_of(tmp_path):
    """Return a function that gives options of a store of five stocks, one of which has a bar on a Saturday."""
    (tmp_path / "bars").mkdir()
    for symbol in "ABCDE":
        days = sorted([*SESSIONS, SATURDAY]) if symbol == "C" else SESSIONS
        rows = [f"{day},10,11,9,10,10,1000" for day in days]
        (tmp_path / "bars" / f"{symbol}.csv").write_text(
            "\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows, ""])
        )
    own = ["data.source=csv", f"data.path={tmp_path}/bars", f"data.store={tmp_path}/store", "output.report=false"]
    own.append("strategy.name=buy_and_hold")
    return lambda *more: config.load(None, [*own, f"output.dir={tmp_path}/runs", *more], {})


def test_a_run_tells_of_a_stray_row(options_of):
    """As a warning, in `run.json` by day, and the account was marked on it all the same."""
    done = run(options_of())
    record = json.loads((Path(done.run_dir) / "run.json").read_text())
    odd_one = {"calendar": None, "closed": None, "weekend": {SATURDAY: 1}, "few": {}}
    equity = pd.read_parquet(Path(done.run_dir) / "equity.parquet")

    assert (int(done.exit_code), record["odd_sessions"]) == (0, odd_one)
    assert record["warnings"] == [f"odd sessions: 2021-01-16 (1 bar): on a weekend; {COUNTED}"]
    assert len(equity) == len(SESSIONS) + 1
    assert record["rows"]["bars"] == 5 * len(SESSIONS) + 1

    found = run(options_of(), once=True)
    assert (found.state, found.warnings) == ("complete", done.warnings)


def test_sessions_that_a_run_does_not_trade_are_not_told(options_of):
    """From a later start on the day is none of the account's."""
    done = run(options_of("data.start=2021-01-19"))

    assert done.warnings == []


def test_bars_of_a_session_are_counted_whatever_span_is_read(options_of):
    """By period as by span, the counts are those of the bars read."""
    options = options_of()
    run(options)
    snapshot = open_snapshot(options.data.store)
    for start, end in ((None, None), (pd.Timestamp("2021-01-15").date(), pd.Timestamp("2021-01-19").date())):
        (period,) = read_periods(snapshot, list("ABCDE"), ["close"], start, end)

        assert period.bars.tolist() == np.bincount(period.time).tolist()
        assert period.bars.sum() == len(period.time)
