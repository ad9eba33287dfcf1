"""The trading stage: signals and bars in, orders, fills and equity out.

It is sequential over sessions, with one account shared by all symbols, and streams the bars period by period, so it
holds one period in memory, not the history. What happens in a session is told, and compiled, in `kernel`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars, read_periods
from pipeline.bars.store import Snapshot
from pipeline.errors import ConfigError, DataError, InvariantError
from pipeline.events import Listener, Stage, StageProgress, ignore
from pipeline.modes import Prices, SizingMethod
from pipeline.options import TradingOptions
from pipeline.trading.actions import NO_ACTIONS, Actions, read_actions
from pipeline.trading.benchmark import BuyAndHold, held_alone
from pipeline.trading.booking import end_all
from pipeline.trading.books import check_books
from pipeline.trading.changes import first_of, read_changes
from pipeline.trading.kernel import room_for, walk
from pipeline.trading.ledger import Ledger, equity_frame, fills_frame, orders_frame, payments_frame
from pipeline.trading.rules import BarSource, columns_for, rules_of
from pipeline.trading.state import (
    CLOSE,
    END_OF_DATA,
    Bars,
    Events,
    Records,
    Rules,
    Signals,
    State,
    opened,
    records,
    with_room,
)

__all__ = ["Ledger", "trade", "trade_periods"]


def trade(
    snapshot: Snapshot,
    symbols: Sequence[str],
    changes: pd.DataFrame,
    options: TradingOptions,
    *,
    start: date | None,
    end: date | None,
    benchmark: str | None,
    prices: Prices = Prices.ADJUSTED,
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
    prices : Prices
        Which ones the account trades at; raw ones come with splits and dividends in cash.
    listener : Listener
        Hears a StageProgress, in bars, after every period.

    Raises
    ------
    ConfigError
        A benchmark that is not in the snapshot; raw prices of a store that does not have them, or no actions.
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
    columns = columns_for(options)
    scales = np.array([snapshot.by_symbol[symbol].scale for symbol in symbols])
    ledger = trade_periods(
        read_periods(snapshot, symbols, columns, start, end),
        symbols,
        scales,
        changes,
        options,
        earlier=_earlier(snapshot, symbols, columns, start, options),
        actions=read_actions(snapshot, symbols) if prices is Prices.RAW else None,
        listener=listener,
    )
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
    earlier: Iterable[PeriodBars] = (),
    actions: Actions | None = None,
    listener: Listener = ignore,
) -> Ledger:
    """Trade bars that come as consecutive periods, against an equal part of every symbol; else as `trade`.

    `periods` have the columns that `columns_for` names; `scales` is (symbols,). The periods `earlier`, of the same
    columns, only tell how much prices move. With `actions` the account trades at raw prices.
    """
    rules = rules_of(options, len(symbols))
    opinions = read_changes(changes, symbols, short=options.short)
    events = NO_ACTIONS if actions is None else actions
    state = opened(options.cash, len(symbols), len(opinions.day), events.count)
    source, rival = BarSource(options, scales, earlier, raw=actions is not None), BuyAndHold(options.cash, scales)
    sessions: list[np.ndarray] = []
    closes, values, taken, acted, walked, bars = [], [], 0, 0, 0, 0
    for period in periods:
        due = first_of(options.rebalance, period.sessions, sessions[-1][-1] if sessions else None)
        signals, happenings = opinions.within(period, taken, due), events.within(period, acted)
        closes.append(records(CLOSE, len(period.sessions)))
        state, done = _walked(source.bars(period), signals, happenings, walked, state, closes[-1], rules)
        if done < len(period.sessions):
            raise _broken(closes[-1][done].equity, period.sessions[done], state, symbols)
        sessions.append(period.sessions)
        values.append(rival.follow(period))
        taken, acted, walked = taken + len(signals.row), acted + len(happenings.symbol), walked + done
        bars += len(period.session)
        listener(StageProgress(Stage.TRADING, bars))
    if not walked:
        raise DataError("trading: no bars; a run needs at least one session. Check data.start and data.end.")
    if taken < len(opinions.day):
        raise opinions.without_bar(np.arange(taken, len(opinions.day)))
    state = with_room(state, 2 * len(symbols))
    _end_open_orders(state, walked - 1)
    days, every_close = np.concatenate(sessions), np.concatenate(closes).view(np.recarray)
    check_books(options.cash, days, every_close, state)
    account = state.account[0]
    return Ledger(
        equity=equity_frame(every_close, days),
        orders=orders_frame(state.orders[: account.orders], days, symbols),
        fills=fills_frame(state.fills[: account.fills], days, symbols),
        payments=payments_frame(state.payments[: account.payments], days, symbols),
        benchmark=np.concatenate(values),
        bars=bars,
        clipped=opinions.clipped,
    )


def _earlier(
    snapshot: Snapshot, symbols: Sequence[str], columns: Sequence[str], start: date | None, options: TradingOptions
) -> Iterable[PeriodBars]:
    """Return the bars before `start` if anything needs to know them."""
    if start is None or options.sizing.method is not SizingMethod.RISK:
        return ()
    return read_periods(snapshot, symbols, columns, None, start - timedelta(days=1))


def _walked(
    bars: Bars, signals: Signals, events: Events, first: int, state: State, closes: Records, rules: Rules
) -> tuple[State, int]:
    """Walk a period, with more room for records as it is needed; return how many of its sessions were walked."""
    done = 0
    while True:
        begun = done
        done = walk(bars, signals, events, begun, first, state, closes, rules)
        if done == len(closes):
            return state, done
        roomy = with_room(state, room_for(signals, done, state))
        if roomy.orders is state.orders and roomy.fills is state.fills:
            return state, done  # something else has ended it
        state = roomy


def _end_open_orders(state: State, last: int) -> None:
    """End what is still open after the last session."""
    for symbol in state.active[: state.account[0].active]:
        end_all(state.slots[symbol], last, END_OF_DATA, state.account[0], state.orders)


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
