"""What the account is measured against, beside the same sums in plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars.periods import PeriodBars
from pipeline.trading.benchmark import BuyAndHold

CASH = 1_000.0
SYMBOLS = 3
CLOSES = st.sampled_from([None, 7.0, 10.0, 12.5, 13.3])  # None is no bar
TIME = st.tuples(*[CLOSES] * SYMBOLS).filter(any)
SESSION = st.lists(TIME, min_size=1, max_size=2)
"""The closes of each symbol at the times of a session, of which daily bars have one."""


def period_of(sessions: list[list[tuple[float | None, ...]]]) -> tuple[PeriodBars, np.ndarray]:
    """Return the bars of consecutive sessions and their closes."""
    times = [row for session in sessions for row in session]
    rows = [[(time, row[symbol]) for time, row in enumerate(times) if row[symbol]] for symbol in range(SYMBOLS)]
    period = PeriodBars(
        sessions=np.arange(len(sessions)).astype("datetime64[D]"),
        times=np.arange(len(times)).astype("datetime64[ms]"),
        day=np.repeat(np.arange(len(sessions)), [len(session) for session in sessions]),
        starts=np.cumsum([0, *map(len, rows)]),
        time=np.array([time for own in rows for time, _ in own], np.int32),
        columns={},
        bars=np.array([sum(close is not None for row in session for close in row) for session in sessions]),
        has_times=False,
    )
    return period, np.array([close for own in rows for _, close in own])


def expected(sessions: list[list[tuple[float | None, ...]]]) -> list[float]:
    """Return the value at the end of each session, every share bought at its symbol's first close."""
    shares, worth, values = [0.0] * SYMBOLS, [CASH / SYMBOLS] * SYMBOLS, []
    for session in sessions:
        for row in session:
            for symbol, close in enumerate(row):
                if close:
                    shares[symbol] = shares[symbol] or worth[symbol] / close
                    worth[symbol] = shares[symbol] * close
        values.append(sum(worth))
    return values


@given(sessions=st.lists(SESSION, min_size=1, max_size=8), cut=st.integers(0, 8), gapless=st.booleans())
def test_buy_and_hold_is_what_it_says(sessions, cut, gapless):
    """With gaps or without, one bar a session or several, in one period or two: to the last bit."""
    if gapless:
        sessions = [[tuple(close or 10.0 for close in row) for row in session[:1]] for session in sessions]
    account, values = BuyAndHold(CASH, SYMBOLS), []
    for part in filter(None, (sessions[:cut], sessions[cut:])):
        period, closes = period_of(part)
        values += account.follow(period, closes).tolist()

    assert values == expected(sessions)


def test_a_symbol_that_comes_late_is_cash_until_then():
    """And keeps its last mark when it goes early."""
    period, closes = period_of([[(10.0, None, None)], [(20.0, 10.0, None)], [(None, 20.0, None)]])

    assert BuyAndHold(CASH, SYMBOLS).follow(period, closes).tolist() == pytest.approx([1000, 4000 / 3, 5000 / 3])
