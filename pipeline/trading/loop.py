"""The trading stage: signals and bars in, orders, fills and equity out.

It is sequential over sessions, with one account shared by all symbols, and streams the bars period by period, so it
holds one period in memory, not the history. What happens in a session is told, and compiled, in `kernel`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars, read_periods
from pipeline.bars.store import Snapshot
from pipeline.errors import ConfigError, DataError, InvariantError
from pipeline.events import Listener, Stage, StageProgress, ignore
from pipeline.options import CashShort, Fill, TradingOptions
from pipeline.trading.benchmark import BuyAndHold, held_alone
from pipeline.trading.books import check_books
from pipeline.trading.changes import read_changes
from pipeline.trading.kernel import walk
from pipeline.trading.ledger import Ledger, equity_frame, fills_frame, orders_frame
from pipeline.trading.market import costs
from pipeline.trading.sizing import sizing
from pipeline.trading.state import CLOSE, END_OF_DATA, REJECTED, Bars, Rules, State, opened, records

__all__ = ["Ledger", "trade", "trade_periods"]

FILL_PRICE = {Fill.NEXT_OPEN: "open", Fill.CLOSE: "close"}


def trade(
    snapshot: Snapshot,
    symbols: Sequence[str],
    changes: pd.DataFrame,
    options: TradingOptions,
    *,
    start: date | None,
    end: date | None,
    benchmark: str | None,
    listener: Listener = ignore,
) -> Ledger:
    """Trade the bars of a snapshot on the strategy's changes of opinion.

    Parameters
    ----------
    snapshot : Snapshot
        Where the bars are.
    symbols : sequence of str
        What is traded, ascending.
    changes : DataFrame, (changes, 3)
        ``symbol session signal`` as in `pipeline.schema.SIGNALS`, any row order, sessions between `start` and `end`.
    options : TradingOptions
        The account and its rules.
    start, end : date or None
        First and last session; None is the snapshot's own.
    benchmark : str or None
        A symbol of the snapshot to buy and hold instead; None is an equal part of every one of `symbols`.
    listener : Listener
        Hears a StageProgress, in bars, after every period.

    Raises
    ------
    ConfigError
        A benchmark that is not in the snapshot.
    DataError
        No bar between `start` and `end`.
    StrategyError
        Signals for unknown symbols, or where there is no bar.
    InvariantError
        The equity is not a positive number any more, or the books do not balance.
    """
    if benchmark is not None and benchmark not in snapshot.by_symbol:
        raise ConfigError(
            f"output.benchmark: {benchmark!r} is not in the store; a benchmark needs bars. Ingest it, or take null: "
            f"an equal part of every symbol."
        )
    columns = list(dict.fromkeys([FILL_PRICE[options.fill], "close", "volume", "factor"]))
    periods = read_periods(snapshot, symbols, columns, start, end)
    scales = np.array([snapshot.by_symbol[symbol].scale for symbol in symbols])
    ledger = trade_periods(periods, symbols, scales, changes, options, listener=listener)
    if benchmark is None:
        return ledger
    own = read_periods(snapshot, [benchmark], ["close", "factor"], start, end)
    sessions = ledger.equity["session"].to_numpy("datetime64[D]")
    value = held_alone(own, snapshot.by_symbol[benchmark].scale, options.cash, sessions)
    return replace(ledger, benchmark=value)


def trade_periods(
    periods: Iterable[PeriodBars],
    symbols: Sequence[str],
    scales: np.ndarray,
    changes: pd.DataFrame,
    options: TradingOptions,
    *,
    listener: Listener = ignore,
) -> Ledger:
    """Trade bars that come as consecutive periods, against an equal part of every symbol; else as `trade`.

    `periods` have the columns open (unless orders fill at the close), close, volume, factor; `scales` is (symbols,).
    """
    rules = _rules(options, len(symbols))
    opinions = read_changes(changes, symbols, short=options.short)
    state, rival = opened(options.cash, len(symbols), len(opinions.day)), BuyAndHold(options.cash, scales)
    sessions, closes, values, taken, walked, bars = [], [], [], 0, 0, 0
    for period in periods:
        signals = opinions.within(period, taken)
        closes.append(records(CLOSE, len(period.sessions)))
        done = walk(_bars(period, scales, options.fill), signals, walked, state, closes[-1], rules)
        if done < len(period.sessions):
            raise _broken(closes[-1][done].equity, period.sessions[done], state, symbols)
        sessions.append(period.sessions)
        values.append(rival.follow(period))
        taken, walked, bars = taken + len(signals.row), walked + done, bars + len(period.session)
        listener(StageProgress(Stage.TRADING, bars))
    if not walked:
        raise DataError("trading: no bars; a run needs at least one session. Check data.start and data.end.")
    if taken < len(opinions.day):
        raise opinions.without_bar(np.arange(taken, len(opinions.day)))
    _end_open_orders(state, walked - 1)
    days, every_close = np.concatenate(sessions), np.concatenate(closes).view(np.recarray)
    check_books(options.cash, days, every_close, state)
    return Ledger(
        equity=equity_frame(every_close, days),
        orders=orders_frame(state.orders[: state.account[0].orders], days, symbols),
        fills=fills_frame(state.fills[: state.account[0].fills], days, symbols),
        benchmark=np.concatenate(values),
        bars=bars,
        clipped=opinions.clipped,
    )


def _rules(options: TradingOptions, symbols: int) -> Rules:
    return Rules(
        costs=costs(options),
        sizing=sizing(options, symbols),
        at_close=options.fill is Fill.CLOSE,
        shrink=options.orders.cash is CashShort.SHRINK,
        valid_sessions=options.orders.valid_sessions,
    )


def _bars(period: PeriodBars, scales: np.ndarray, fill: Fill) -> Bars:
    columns = period.columns
    return Bars(
        period.starts,
        period.session,
        columns[FILL_PRICE[fill]],
        columns["close"],
        columns["volume"],
        columns["factor"],
        scales,
    )


def _end_open_orders(state: State, last: int) -> None:
    """Reject what is still open after the last session."""
    symbols = np.flatnonzero(state.slots.signal_session >= 0)
    account, slots = state.account[0], state.slots[symbols]
    ended = state.orders[account.orders : account.orders + len(symbols)]
    account.orders += len(symbols)
    ended.signal_session, ended.session, ended.symbol = slots.signal_session, last, symbols
    ended.wanted, ended.quantity = slots.wanted, slots.asked
    ended.status, ended.reason = REJECTED, END_OF_DATA


def _broken(equity: float, session: np.datetime64, state: State, symbols: Sequence[str]) -> InvariantError:
    count = int(state.account[0].fills)
    last = "before any fill"
    if count:
        fill = state.fills[count - 1]
        last = f"after fill #{count} ({fill.quantity:g} {symbols[fill.symbol]} at {fill.price:g})"
    return InvariantError(
        f"trading: equity is {equity:g} on {session} {last}; it must stay a positive number. "
        f"Check the bars of that session, and the costs against trading.cash."
    )
