"""Fills -> trades."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_tables import FRIDAY, frame, sessions_from
from pipeline.results.trades import trades_of
from pipeline.schema import FILL_COLUMNS, TRADE_COLUMNS

ANSWERS = Path(__file__).parent / "answers"
MILLISECONDS = "datetime64[ms]"
quantities = st.integers(-300, 300).filter(bool).map(float)
prices = st.integers(1, 10_000).map(lambda cents: cents / 100)
drawn_fills = st.lists(st.tuples(st.integers(0, 20), st.sampled_from("ABC"), quantities, prices, prices), max_size=60)


def fills_of(drawn):
    """Return drawn (session, symbol, quantity, price, commission) as fills, oldest first, and their sessions."""
    sessions = sessions_from(FRIDAY, 22)
    ordered = sorted(drawn, key=lambda fill: fill[0])
    rows = [(sessions[day], symbol, *rest, 0.25, 0.0, "signal") for day, symbol, *rest in ordered]
    return frame(FILL_COLUMNS, rows), sessions


def closing(fills, sessions):
    """Return `fills` and one more for each symbol that is still held, on the last session at 7."""
    held = fills.groupby("symbol")["quantity"].sum()
    rows = [(sessions[-1], name, -left, 7.0, 1.0, 0.0, 0.0, "signal") for name, left in held.items() if left]
    return pd.concat([fills, frame(FILL_COLUMNS, rows)], ignore_index=True)


def test_trades_equal_the_hand_calculation():
    """Average entry, shared costs, partial exits, a short, a flip and an open position come out as by hand."""
    fills = pd.read_csv(ANSWERS / "fills.csv", parse_dates=["session"])
    expected = pd.read_csv(ANSWERS / "trades.csv").astype(
        dict.fromkeys(("entry_session", "exit_session"), MILLISECONDS)
    )
    days = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]

    trades = trades_of(fills, np.array(days, "datetime64[D]"))

    named = trades.assign(**{name: trades[name].astype("object") for name in ("symbol", "exit_reason")})
    pd.testing.assert_frame_equal(named, expected, check_dtype=False, rtol=1e-12)


def test_an_average_entry_moves_with_purchases_only():
    """10 at 10, 30 at 20 are 40 at 17.5; half sold leaves 17.5; 20 more at 27.5 make 22.5; costs follow the shares."""
    day = sessions_from(FRIDAY, 6)
    rows = [(10.0, 10.0, 4.0), (30.0, 20.0, 4.0), (-20.0, 30.0, 1.0), (20.0, 27.5, 2.0), (-40.0, 20.0, 4.0)]
    fills = [(day[n], "A", quantity, price, cost, 0.0, 0.0, "signal") for n, (quantity, price, cost) in enumerate(rows)]
    other = [(day[0], "B", -5.0, 8.0, 0.0, 0.0, 0.0, "signal"), (day[5], "B", -5.0, 4.0, 0.0, 0.0, 0.0, "signal")]

    trades = trades_of(frame(FILL_COLUMNS, [other[0], *fills, other[1]]), day)

    assert trades["entry_price"].tolist() == [17.5, 22.5, 6.0]
    assert trades["pnl"].tolist()[:2] == [20 * 12.5 - 4 - 1, -40 * 2.5 - (4 + 2) - 4]
    assert trades["quantity"].tolist() == [20.0, 40.0, -10.0]


def test_fractions_of_a_share_close_exactly():
    """What the account sold to the last fraction is no open trade, whatever float64 makes of the sums."""
    sold = 0.1 + 0.2
    fills, sessions = fills_of([(0, "B", 1.1, 5.0, 0.0), (0, "A", 0.1, 5.0, 0.0), (1, "A", 0.2, 5.0, 0.0)])
    last = frame(FILL_COLUMNS, [(sessions[2], "A", -sold, 5.0, 0.0, 0.0, 0.0, "signal")])

    trades = trades_of(pd.concat([fills, last], ignore_index=True), sessions)

    assert trades["exit_session"].isna().tolist() == [False, True]
    assert trades["symbol"].tolist() == ["A", "B"]


@given(drawn_fills)
def test_closed_trades_hold_all_the_money_that_moved(drawn):
    """Once everything is sold, the profits of the trades sum to what the fills did to the cash."""
    fills, sessions = fills_of(drawn)
    fills = closing(fills, sessions)
    cash = -(fills["quantity"] * fills["price"]).sum() - (fills["commission"] + fills["tax"]).sum()

    trades = trades_of(fills, sessions)

    assert trades["exit_session"].notna().all()
    assert trades["pnl"].sum() == pytest.approx(cash, rel=1e-9, abs=1e-6)


@given(drawn_fills)
def test_open_trades_are_what_is_still_held(drawn):
    """The open rows are one a symbol and hold the signed shares that the fills leave, with no exit and no profit."""
    fills, sessions = fills_of(drawn)
    held = fills.groupby("symbol")["quantity"].sum()

    trades = trades_of(fills, sessions)
    still = trades[trades["exit_session"].isna()]

    assert still.set_index("symbol")["quantity"].to_dict() == held[held != 0].to_dict()
    assert still[["exit_price", "pnl", "return", "exit_reason"]].isna().all(axis=None)
    assert (still["sessions_held"] >= 1).all()


@given(drawn_fills)
def test_trades_are_sorted_by_exit_then_symbol(drawn):
    """The order is that of exit sessions, then symbols, with the open ones last."""
    trades = trades_of(*fills_of(drawn))

    resorted = trades.sort_values(["exit_session", "symbol"], kind="stable", na_position="last", ignore_index=True)

    pd.testing.assert_frame_equal(trades, resorted)


def test_symbols_sort_as_text_however_they_are_coded():
    """Categories out of order change nothing."""
    fills, sessions = fills_of([(0, "B", 1.0, 5.0, 0.0), (0, "A", 1.0, 5.0, 0.0)])
    coded = fills.assign(symbol=pd.Categorical(fills["symbol"], categories=["B", "A"]))

    pd.testing.assert_frame_equal(trades_of(coded, sessions), trades_of(fills, sessions), check_categorical=False)


def test_no_fills_make_no_trades():
    """The empty table has the columns and dtypes of a full one."""
    sessions = sessions_from(FRIDAY, 3)
    full = trades_of(*fills_of([(0, "A", 1.0, 5.0, 0.0)]))

    none = trades_of(frame(FILL_COLUMNS, []), sessions)

    assert len(none) == 0
    assert tuple(none.columns) == TRADE_COLUMNS
    assert none.dtypes.astype(str).to_dict() == full.dtypes.astype(str).to_dict()


def test_symbols_and_reasons_are_categorical():
    """As in the tables they come from, with the categories in order."""
    fills, sessions = fills_of([(0, "B", 1.0, 5.0, 0.0), (0, "A", 1.0, 5.0, 0.0)])
    coded = fills.assign(symbol=pd.Categorical(fills["symbol"], categories=["C", "B", "A"]))

    trades = trades_of(coded, sessions)

    assert trades["symbol"].cat.categories.tolist() == ["A", "B", "C"]
    assert trades["exit_reason"].cat.categories.tolist() == ["signal"]
