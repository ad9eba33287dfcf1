"""Bars by period: all symbols, consecutive sessions, in bounded memory."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from pipeline.bars.periods import read_periods
from pipeline.schema import STORED
from stores import make_store

SESSIONS = pd.to_datetime(["2020-12-29", "2020-12-30", "2021-01-04", "2021-01-05", "2021-01-06"])
BARS = {  # places in SESSIONS at which a symbol has a bar
    "A": [0, 1, 2, 3, 4],
    "B": [1, 3],
    "C": [0, 4],
}


@pytest.fixture(scope="module")
def frame():
    frames = [
        pd.DataFrame({"symbol": symbol, "session": SESSIONS[places]}).assign(
            open=10.0, high=20.0, low=5.0, close=[10.0 + place for place in places], volume=7.0, factor=2.0
        )
        for symbol, places in BARS.items()
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def snapshot(frame, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("bars") / "store", frame, blocks=2, tail="2021-01-04")


def test_periods_hold_every_bar_once(snapshot):
    """Sessions ascend over the periods; rows are symbol by symbol, in the order asked for."""
    first, second = read_periods(snapshot, ["A", "B", "C"], ["close"], None, None)

    assert first.sessions.astype(str).tolist() == ["2020-12-29", "2020-12-30"]
    assert first.starts.tolist() == [0, 2, 3, 4]
    assert first.time.tolist() == [0, 1, 1, 0]
    assert first.columns["close"].tolist() == [10.0, 11.0, 11.0, 10.0]
    assert second.sessions.astype(str).tolist() == ["2021-01-04", "2021-01-05", "2021-01-06"]
    assert second.starts.tolist() == [0, 3, 4, 5]
    assert second.time.tolist() == [0, 1, 2, 1, 2]
    assert second.columns["close"].tolist() == [12.0, 13.0, 14.0, 13.0, 14.0]


def test_sessions_are_those_of_the_symbols_asked_for(snapshot):
    """A session on which only other symbols traded is no session."""
    first, second = read_periods(snapshot, ["B"], STORED, None, None)

    assert [*first.sessions.astype(str), *second.sessions.astype(str)] == ["2020-12-30", "2021-01-05"]
    assert {name: values.tolist() for name, values in second.columns.items()} == {
        "open": [10.0],
        "high": [20.0],
        "low": [5.0],
        "close": [13.0],
        "volume": [7.0],
        "factor": [2.0],
    }


@pytest.mark.parametrize(
    ("start", "end", "places"),
    [
        (date(2020, 12, 30), None, [1, 2, 3, 4]),
        (None, date(2021, 1, 4), [0, 1, 2]),
        (date(2020, 12, 30), date(2021, 1, 5), [1, 2, 3]),
        (date(2021, 1, 1), date(2021, 1, 3), []),
        (date(2022, 1, 1), None, []),
        (None, date(2019, 1, 1), []),
    ],
)
def test_start_and_end_are_included(snapshot, start, end, places):
    """Only sessions between start and end are read, both of them too, and starts count what is left."""
    periods = list(read_periods(snapshot, ["A", "B", "C"], ["close"], start, end))
    closes = {
        symbol: [
            close
            for period in periods
            for close in period.columns["close"][period.starts[index] : period.starts[index + 1]].tolist()
        ]
        for index, symbol in enumerate("ABC")
    }

    assert [day for period in periods for day in period.sessions.tolist()] == SESSIONS[places].date.tolist()
    assert closes == {symbol: [10.0 + place for place in BARS[symbol] if place in places] for symbol in "ABC"}


def test_layout_does_not_matter(frame, tmp_path):
    """One block or three, one period or two: the same bars."""
    readings = []
    for number, (blocks, tail) in enumerate([(1, None), (3, "2020-12-30"), (2, "2020-12-29")]):
        snapshot = make_store(tmp_path / str(number), frame, blocks=blocks, tail=tail)
        periods = list(read_periods(snapshot, ["A", "B", "C"], ["close"], None, None))
        rows = [
            (symbol, str(period.sessions[place]), close)
            for period in periods
            for symbol, first, last in zip("ABC", period.starts, period.starts[1:], strict=False)
            for place, close in zip(period.time[first:last], period.columns["close"][first:last], strict=True)
        ]
        readings.append(sorted(rows))

    assert len(readings[0]) == 9
    assert readings[0] == readings[1] == readings[2]


def test_arrays_are_what_the_loop_compiles_for(snapshot):
    """Ordinals are int32, starts int64, columns float64 and contiguous."""
    period = next(read_periods(snapshot, ["A", "B", "C"], ["close"], None, None))

    assert (period.time.dtype, period.starts.dtype) == (np.int32, np.int64)
    assert period.columns["close"].dtype == np.float64
    assert period.columns["close"].flags.c_contiguous
