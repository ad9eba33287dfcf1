"""What holds for every account in every market: money is conserved, nobody looks ahead, and order does not matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import bars, changes, equity_of, fills_of, options, orders_of, run
from pipeline.options import Fill, SizingMethod
from pipeline.trading.loop import Ledger
from random_markets import Case, cases, random_bars

CENT = 1e-9  # of the money that was moved


def trade_case(case: Case, **changed) -> Ledger:
    """Trade a random case, some of its parts replaced."""
    case = replace(case, **changed)
    return run(case.frame, case.signals, case.options, cuts=case.cuts, **case.more)


@given(cases())
def test_money_is_conserved(case):
    """I1: cash and positions of every session follow from the fills and the closes, in a ledger of a few lines."""
    ledger = trade_case(case)
    fills, equity = ledger.fills, ledger.equity.set_index("session")
    closes = _adjusted(case, "close").reindex(equity.index).ffill()
    value = fills["quantity"] * fills["price"] + fills["commission"] + fills["tax"]
    spent = value.groupby(fills["session"]).sum().reindex(equity.index, fill_value=0.0).cumsum()
    held = fills.pivot_table(
        index="session", columns="symbol", values="quantity", aggfunc="sum", fill_value=0.0, observed=False
    )
    held = held.reindex(index=equity.index, columns=closes.columns, fill_value=0.0).cumsum()
    moved = case.options.cash + value.abs().sum()

    assert np.abs(equity["cash"] - (case.options.cash - spent)).max() <= CENT * moved
    positions = (held * closes).sum(axis=1)
    assert np.abs(equity["positions_value"] - positions).max() <= CENT * (moved + positions.max())
    assert (equity["cash"] + equity["positions_value"] == equity["equity"]).all()


@given(cases())
def test_cash_and_shares_are_never_negative(case):
    """I2: no margin and no short position, whatever the costs, the prices and the sizing."""
    ledger = trade_case(case)
    held = ledger.fills.groupby("symbol", observed=True)["quantity"].cumsum()

    assert (ledger.equity["cash"] >= 0).all()
    assert held.empty or held.min() >= -CENT * ledger.fills["quantity"].abs().max()
    assert (ledger.equity["positions_value"] >= 0).all()


@given(cases())
def test_commissions_add_up(case):
    """I4: each fill pays max(minimum, fixed + rate x value), and the sum is what the account lost beside the prices."""
    ledger = trade_case(case)
    charge = case.options.commission
    value = (ledger.fills["quantity"] * ledger.fills["price"]).abs()
    expected = np.maximum(charge.minimum or 0, (charge.fixed or 0) + (charge.rate or 0) * value)
    lost = case.options.cash - ledger.equity["cash"].iloc[-1] - (ledger.fills["quantity"] * ledger.fills["price"]).sum()

    assert ledger.fills["commission"].tolist() == expected.tolist()
    assert lost == pytest.approx(expected.sum(), abs=CENT * (case.options.cash + value.sum()))


@given(st.integers(0, 2**32))
def test_dearer_is_never_richer(seed):
    """I4: with the same shares traded, a higher commission never leaves more."""
    frame = random_bars(np.random.default_rng(seed), 3, 40, calm=True)
    opinions = [(symbol, 0.0 + n % 2) for symbol, part in frame.groupby("symbol") for n in range(len(part))]
    signals = frame[["symbol", "session"]].assign(signal=[signal for _, signal in opinions])
    cheap, dear = (
        run(frame, signals, options(cash=1e9, sizing={"method": "shares", "value": 5}, commission={"rate": rate}))
        for rate in (0.001, 0.002)
    )

    assert cheap.fills["quantity"].tolist() == dear.fills["quantity"].tolist()
    assert cheap.equity["equity"].iloc[-1] >= dear.equity["equity"].iloc[-1]


@given(cases())
def test_fills_happen_in_bars(case):
    """I5: a fill has a bar with volume, its price before slippage is that bar's, and its signal was known before."""
    ledger = trade_case(case)
    price = "close" if case.options.fill is Fill.CLOSE else "open"
    prices, low, high = (_adjusted(case, name) for name in (price, "low", "high"))
    volume = case.frame.pivot_table(index="session", columns="symbol", values="volume")
    filled = ledger.orders[ledger.orders["filled"] != 0]
    known = filled["signal_session"] <= filled["session"]
    if case.options.fill is Fill.NEXT_OPEN:
        known = filled["signal_session"] < filled["session"]

    assert known.all()
    for fill in ledger.fills.itertuples():
        side = 1 + np.sign(fill.quantity) * case.options.slippage.rate
        bar_price = prices.loc[fill.session, fill.symbol]
        assert fill.price == bar_price * side
        assert low.loc[fill.session, fill.symbol] <= bar_price <= high.loc[fill.session, fill.symbol]
        assert volume.loc[fill.session, fill.symbol] > 0
        assert fill.slippage == abs(fill.quantity) * abs(fill.price - bar_price)


@given(cases(), st.floats(0, 1), st.integers(0, 2**32))
def test_never_looks_ahead(case, share, seed):
    """I6: cutting or scrambling the future changes nothing of the past, bit for bit."""
    calendar = sorted(case.frame["session"].unique())
    last = calendar[int(share * (len(calendar) - 1))]
    past = case.frame["session"] <= last
    signals = case.signals[case.signals["session"] <= last]
    scrambled = case.frame.copy()
    noise = np.random.default_rng(seed).uniform(0.5, 2.0, (~past).sum())
    for name in ("open", "high", "low", "close", "volume"):
        scrambled.loc[~past, name] *= noise
    whole = trade_case(case)

    for other in (trade_case(case, frame=case.frame[past], signals=signals), trade_case(case, frame=scrambled)):
        assert _until(whole, last) == _until(other, last)


def _until(ledger: Ledger, last: pd.Timestamp) -> tuple:
    orders = ledger.orders[(ledger.orders["session"] <= last) & (ledger.orders["reason"] != "end_of_data")]
    known = replace(
        ledger,
        equity=ledger.equity[ledger.equity["session"] <= last],
        orders=orders,
        fills=ledger.fills[ledger.fills["session"] <= last],
    )
    return equity_of(known), orders_of(known), fills_of(known), ledger.benchmark[: len(known.equity)].tolist()


@given(cases())
def test_periods_do_not_matter(case):
    """The same ledger, bit for bit, in one period, in one per session, and in any other."""
    calendar = case.frame["session"].nunique()
    ledgers = [trade_case(case, cuts=cuts) for cuts in ((), range(calendar), case.cuts)]

    assert _all(ledgers[0]) == _all(ledgers[1]) == _all(ledgers[2])


@given(cases())
def test_row_order_of_signals_does_not_matter(case):
    """Signals may come in any row order, with any categories."""
    other = case.signals.sort_values("session", ascending=False)
    other["symbol"] = other["symbol"].cat.set_categories(["unused", *reversed(case.symbols)])

    assert _all(trade_case(case)) == _all(trade_case(case, signals=other))


@given(cases(), st.integers(0, 2**32))
def test_a_silent_symbol_changes_nothing(case, seed):
    """I10: a symbol without signals, or a zero signal while nothing is held or wanted, leaves the account as it was."""
    if case.options.sizing.method is SizingMethod.EQUAL and case.options.max_positions is None:
        return
    calendar = case.frame["session"].unique()
    silent = random_bars(np.random.default_rng(seed), 1, 60).assign(symbol="S1a")
    more = pd.concat([case.frame, silent[silent["session"].isin(calendar)]], ignore_index=True)
    symbols = sorted([*case.symbols, "S1a"])
    scales = np.insert(case.scales, symbols.index("S1a"), 3.0)
    plain = trade_case(case)
    joined = trade_case(case, frame=more, symbols=symbols, scales=scales)

    assert _all(plain)[:3] == _all(joined)[:3]


def test_a_zero_signal_of_a_flat_account_changes_nothing():
    """I10: wanting nothing while nothing is wanted is no order."""
    frame = bars(A=[10, 11, 12, 13])

    assert _all(run(frame, changes(("A", 0, 0), ("A", 1, 1)), options())) == _all(
        run(frame, changes(("A", 1, 1)), options())
    )


@given(cases())
def test_always_flat_is_cash(case):
    """I11: without signals the account is its cash."""
    ledger = trade_case(case, signals=case.signals[:0])

    assert set(ledger.equity["equity"]) == {case.options.cash}
    assert ledger.orders.empty


@given(st.lists(st.floats(1, 1000), min_size=3, max_size=50), st.floats(0, 0.01), st.floats(0, 0.01))
def test_buy_and_hold_has_a_closed_form(closes, rate, slippage):
    """I11: all in at the second open, then shares x close and what is left."""
    chosen = options(
        cash=10_000,
        market="free",
        sizing={"method": "all_in"},
        commission={"rate": rate},
        slippage={"rate": slippage},
    )
    ledger = run(bars(A=closes), changes(("A", 0, 1)), chosen)
    shares = 10_000 / (closes[1] * (1 + slippage)) / (1 + rate)

    assert ledger.equity["equity"].iloc[1:].tolist() == pytest.approx([shares * close for close in closes[1:]])


def test_there_and_back_costs_the_commissions():
    """I11: buying and selling at the same price loses exactly the commissions."""
    chosen = options(cash=10_000, sizing={"method": "shares", "value": 100}, commission={"rate": 0.001, "minimum": 5})
    ledger = run(bars(A=[64, 64, 64]), changes(("A", 0, 1), ("A", 1, 0)), chosen)

    assert ledger.equity["equity"].iloc[-1] == pytest.approx(10_000 - 2 * 6.4)


def _all(ledger: Ledger) -> tuple:
    return equity_of(ledger), orders_of(ledger), fills_of(ledger), ledger.benchmark.tolist(), ledger.clipped


def _adjusted(case: Case, price: str) -> pd.DataFrame:
    """Return adjusted prices as (sessions, symbols), NaN where there is no bar."""
    scales = case.frame["symbol"].map(dict(zip(case.symbols, case.scales, strict=True)))
    adjusted = case.frame[price] * case.frame["factor"] / scales
    return case.frame.assign(price=adjusted).pivot_table(index="session", columns="symbol", values="price")
