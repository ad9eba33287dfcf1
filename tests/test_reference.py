"""The compiled loop does what the slow reference loop does, order by order and fill by fill, bit for bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import (
    equity_of,
    fills_of,
    in_minutes,
    numbers_of,
    options,
    orders_of,
    payments_of,
    reasons_of,
    reference,
    run,
)
from pipeline.errors import InvariantError
from pipeline.modes import Fill
from pipeline.schema import ACTIONS, STORED
from random_markets import Case, cases
from reference_loop import BrokenEquityError

DATES = ("ex_date", "pay_date")


def assert_same(case: Case):
    """Compare both loops on a case."""
    expected = reference(case.frame, case.signals, case.options, **case.more)
    try:
        expected.run()
    except BrokenEquityError:
        with pytest.raises(InvariantError, match="equity is"):
            run(case.frame, case.signals, case.options, cuts=case.cuts, **case.more)
        return
    ledger = run(case.frame, case.signals, case.options, cuts=case.cuts, **case.more)
    numbers = numbers_of(case.frame) if "time" in case.frame else None

    assert orders_of(ledger, numbers) == expected.orders
    found = zip(fills_of(ledger, numbers), reasons_of(ledger), strict=True)
    assert list(found) == [(fill[:6], fill[6]) for fill in expected.fills]
    assert equity_of(ledger) == [row[:4] for row in expected.equity]
    assert ledger.equity["receivable"].tolist() == [row[4] for row in expected.equity]
    assert payments_of(ledger, numbers) == expected.payments


@settings(max_examples=2 * settings.default.max_examples)
@given(cases())
def test_agrees_on_random_markets(case):
    """Random bars, signals and rules: same orders, same fills, same equity, however the bars are cut into periods."""
    assert_same(case)


@settings(max_examples=2 * settings.default.max_examples)
@given(cases(), st.integers(1, 9))
def test_agrees_on_random_minutes(case, count):
    """The same with minute bars, several of them in a session: validity, delisting, rebalancing go by session."""
    frame, signals = in_minutes(case.frame, count), in_minutes(case.signals, count)
    happenings = case.actions
    if happenings is not None:
        dates = {
            name: in_minutes(pd.DataFrame({"session": happenings[name].dropna()}), count)["session"] for name in DATES
        }
        happenings = happenings.assign(**{name: dates[name].astype("datetime64[ms]") for name in DATES})
    assert_same(replace(case, frame=frame, signals=signals, actions=happenings))


@pytest.fixture(scope="module")
def real_market(real_files) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars of 40 real stocks and the signals of an SMA 10/30 cross on them."""
    frames = []
    for path in sorted(real_files.glob("*.csv"))[:41]:
        bars = pd.read_csv(path)
        if "timestamp" in bars:
            factor = bars["adjusted_close"] / bars["close"]
            session = bars["timestamp"].astype("datetime64[ms]")
            frames.append(bars.assign(symbol=path.name.split("-")[1], session=session, factor=factor))
    frame = pd.concat(frames)[["symbol", "session", *STORED]].sort_values(["symbol", "session"], ignore_index=True)
    return frame, pd.concat([_sma_cross(part) for _, part in frame.groupby("symbol")], ignore_index=True).astype(
        {"symbol": "category"}
    )


@pytest.fixture(scope="module")
def real_actions(real_files, real_market) -> pd.DataFrame:
    """Return splits and dividends of the same stocks, every other dividend paid 30 days later."""
    frames = []
    for path in sorted(real_files.glob("*.csv"))[:41]:
        rows = pd.read_csv(path)
        if "timestamp" in rows:
            names = {"timestamp": "ex_date", "dividend_amount": "dividend", "split_coefficient": "split"}
            frames.append(rows.rename(columns=names).assign(symbol=path.name.split("-")[1]))
    table = pd.concat(frames, ignore_index=True).astype({"ex_date": "datetime64[ms]"})
    table = table[(table["dividend"] != 0) | (table["split"] != 1)].sort_values(["symbol", "ex_date"])
    late = np.where(np.arange(len(table)) % 2, np.timedelta64(30, "D"), np.timedelta64("NaT", "D"))
    return table.assign(pay_date=table["ex_date"] + late)[ACTIONS.names].reset_index(drop=True)


def _sma_cross(bars: pd.DataFrame) -> pd.DataFrame:
    close = (bars["close"] * bars["factor"]).to_numpy()
    total = np.concatenate([[0.0], np.cumsum(close)])
    fast, slow = ((total[30:] - total[30 - n : len(total) - n]) / n for n in (10, 30))
    wanted = np.concatenate([np.zeros(29), fast > slow])
    return bars.loc[np.diff(wanted, prepend=0.0) != 0, ["symbol", "session"]].assign(
        signal=wanted[np.diff(wanted, prepend=0.0) != 0]
    )


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize(("method", "value"), [("equal", None), ("fraction", 0.2), ("all_in", None)])
def test_agrees_on_real_stocks(real_market, fill, method, value):
    """SMA 10/30 on 40 real stocks over 21 years: same orders, fills and equity."""
    frame, signals = real_market
    chosen = options(
        fill=fill,
        cash=1_000_000,
        sizing={"method": method, "value": value},
        commission={"rate": 0.0005, "minimum": 1.0},
        slippage={"rate": 0.0002},
    )
    symbols = sorted(frame["symbol"].unique())
    assert_same(Case(frame, symbols, np.ones(len(symbols)), signals, chosen, cuts=(1000, 1001, 4000)))


@pytest.mark.parametrize("fill", list(Fill))
def test_agrees_on_real_stocks_with_every_rule(real_market, real_actions, fill):
    """Long and short at raw prices, with stops, limits, rebalancing and the stocks' own splits and dividends."""
    frame, signals = real_market
    chosen = options(
        fill=fill,
        cash=1_000_000,
        short=True,
        max_positions=30,
        commission={"rate": 0.0005, "minimum": 1.0},
        slippage={"rate": 0.0002},
        volume_cap=0.001,
        stops={"loss": 0.08, "profit": 0.3, "trailing": 0.12},
        orders={"valid_sessions": 2},
        rebalance="monthly",
        delist_after=5,
        recovery=0.7,
    )
    symbols = sorted(frame["symbol"].unique())
    turned = signals.assign(signal=2 * signals["signal"] - 1)
    assert_same(Case(frame, symbols, np.ones(len(symbols)), turned, chosen, (1000, 1001, 4000), real_actions))
