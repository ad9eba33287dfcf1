"""The trading stage: signals and bars in, orders, fills and equity out.

It is sequential over time, with one account shared by all symbols, and streams the bars period by period, so it holds
one period in memory, not the history. What happens at a bar is told, and compiled, in `kernel`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars, read_periods
from pipeline.bars.store import Snapshot
from pipeline.errors import DataError, InvariantError
from pipeline.events import AccountMarked, Listener, Stage, StageProgress, ignore
from pipeline.modes import SizingMethod
from pipeline.options import TradingOptions
from pipeline.trading.actions import NO_ACTIONS, Actions
from pipeline.trading.benchmark import BuyAndHold, held_alone
from pipeline.trading.booking import end_open_orders
from pipeline.trading.books import check_books
from pipeline.trading.changes import Changes, first_of, read_changes
from pipeline.trading.kernel import RECORDS, walk
from pipeline.trading.ledger import Clock, Ledger, equity_frame, fills_frame, orders_frame, payments_frame
from pipeline.trading.listings import read_listings
from pipeline.trading.rules import BarSource, adjusted_closes, columns_for, rules_of
from pipeline.trading.state import (
    CLOSE,
    END_OF_DATA,
    NEVER,
    Bars,
    Events,
    Records,
    Signals,
    opened,
    records,
    with_room,
)

__all__ = ["Ledger", "trade", "trade_periods"]
ROOM = 20  # records per symbol beside one for each change of opinion: what a busy time may need
TOLD_AFTER = 250_000  # bars, some milliseconds: how often a listener hears of the account


def trade(
    snapshot: Snapshot,
    symbols: Sequence[str],
    changes: pd.DataFrame,
    options: TradingOptions,
    *,
    start: date | None,
    end: date | None,
    benchmark: str | None,
    actions: Actions | None = None,
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
    actions : Actions, optional
        Splits and dividends of `symbols` (`pipeline.trading.actions.read_actions`): the account trades at raw prices.
    listener : Listener
        Hears a StageProgress, in bars, and what the account is worth, every few milliseconds.

    Raises
    ------
    DataError
        No bar between `start` and `end`.
    StrategyError
        Signals for unknown symbols, or where there is no bar.
    InvariantError
        The equity is not a positive number any more, or the books do not balance.
    """
    columns = columns_for(options)
    scales = np.array([snapshot.by_symbol[symbol].scale for symbol in symbols])
    ledger = trade_periods(
        read_periods(snapshot, symbols, columns, start, end),
        symbols,
        scales,
        changes,
        options,
        earlier=_earlier(snapshot, symbols, columns, start, options),
        actions=actions,
        listed_until=read_listings(snapshot, symbols),
        listener=listener,
    )
    if benchmark is None:
        return ledger
    own = read_periods(snapshot, [benchmark], ["close", "factor"], start, end)
    sessions = ledger.equity["session"].to_numpy("datetime64[D]")
    return replace(ledger, benchmark=held_alone(own, snapshot.by_symbol[benchmark].scale, options.cash, sessions))


def trade_periods(
    periods: Iterable[PeriodBars],
    symbols: Sequence[str],
    scales: np.ndarray,
    changes: pd.DataFrame,
    options: TradingOptions,
    *,
    earlier: Iterable[PeriodBars] = (),
    actions: Actions | None = None,
    listed_until: np.ndarray | None = None,
    listener: Listener = ignore,
) -> Ledger:
    """Trade bars that come as consecutive periods, against an equal part of every symbol; else as `trade`.

    `periods` have the columns that `columns_for` names; `scales` is (symbols,). The periods `earlier`, of the same
    columns, only tell how much prices move. With `actions` the account trades at raw prices. `listed_until` is
    (symbols,), the last session of each as datetime64[D], NaT where it is not known.
    """
    account = _Account(symbols, scales, changes, options, earlier, actions, listed_until, listener)
    for period in periods:
        account.walk(period)
    return account.ledger()


class _Account:
    """An account on its way through the periods."""

    def __init__(
        self,
        symbols: Sequence[str],
        scales: np.ndarray,
        changes: pd.DataFrame,
        options: TradingOptions,
        earlier: Iterable[PeriodBars],
        actions: Actions | None,
        listed_until: np.ndarray | None,
        listener: Listener,
    ) -> None:
        self.symbols, self.scales, self.options, self.listener = symbols, scales, options, listener
        self.listed_until = np.full(len(symbols), np.datetime64("NaT", "D")) if listed_until is None else listed_until
        delists = not np.isnat(self.listed_until).all()
        self.rules = rules_of(options, len(symbols), delists=delists)
        self.opinions: Changes = read_changes(changes, symbols, short=options.short)
        self.events = NO_ACTIONS if actions is None else actions
        room = len(self.opinions.time) + ROOM * len(symbols)
        self.state = opened(options.cash, len(symbols), room, self.events.count)
        self.source = BarSource(options, scales, earlier, raw=actions is not None)
        self.rival = BuyAndHold(options.cash, len(symbols))
        self.periods: list[PeriodBars] = []  # without their bars
        self.closes: list[Records] = []
        self.values: list[np.ndarray] = []  # of the benchmark
        self.times = self.sessions = self.bars = self.taken = self.acted = 0  # so far

    def walk(self, period: PeriodBars) -> None:
        """Go through the next period."""
        before = self.periods[-1].sessions[-1] if self.periods else None
        due = first_of(self.options.rebalance, period.sessions, before)
        signals, happenings = self.opinions.within(period, self.taken, due), self.events.within(period, self.acted)
        adjusted = adjusted_closes(period, self.scales)
        self._note_ends(period)
        self.closes.append(records(CLOSE, len(period.sessions)))
        self.periods.append(replace(period, columns={}, starts=period.starts[:0], time=period.time[:0]))
        self._go(self.source.bars(period, adjusted), signals, happenings, period)
        self.values.append(self.rival.follow(period, adjusted))
        self.taken, self.acted = self.taken + len(signals.row), self.acted + len(happenings.symbol)
        self.times, self.sessions = self.times + len(period.times), self.sessions + len(period.sessions)
        self.bars += len(period.time)

    def ledger(self) -> Ledger:
        """End what is open, check the books, and return what the account did."""
        if not self.times:
            raise DataError("trading: no bars; a run needs at least one session. Check data.start and data.end.")
        if self.taken < len(self.opinions.time):
            raise self.opinions.without_bar(np.arange(self.taken, len(self.opinions.time)))
        self.state = with_room(self.state, 2 * int(self.state.account[0].active))
        end_open_orders(self.state, END_OF_DATA)
        clock, closes = _clock(self.periods), np.concatenate(self.closes).view(np.recarray)
        check_books(self.options.cash, clock, closes, self.state)
        account = self.state.account[0]
        return Ledger(
            equity=equity_frame(closes, clock),
            orders=orders_frame(self.state.orders[: account.orders], clock, self.symbols),
            fills=fills_frame(self.state.fills[: account.fills], clock, self.symbols),
            payments=payments_frame(self.state.payments[: account.payments], clock, self.symbols),
            benchmark=np.concatenate(self.values),
            bars=np.concatenate([period.bars for period in self.periods]),
            clipped=self.opinions.clipped,
        )

    def _note_ends(self, period: PeriodBars) -> None:
        """Note of the symbols that are listed no more before the period ends on which of its sessions that shows."""
        slots = self.state.slots
        ends = (self.listed_until < period.sessions[-1]) & (slots.gone == NEVER)
        after = np.searchsorted(period.sessions, self.listed_until[ends], side="right")
        slots.gone[ends] = self.sessions + after

    def _go(self, bars: Bars, signals: Signals, events: Events, period: PeriodBars) -> None:
        """Walk the times of a period some at a time, and tell the listener after each walk."""
        count = len(period.times)
        step = max(1, TOLD_AFTER * count // max(len(period.time), 1))
        done = told = 0
        while done < count:
            done = self._walked(bars, signals, events, (done, min(done + step, count)))
            closed = int(period.day[done]) if done < count else len(period.sessions)
            self._tell(period, slice(told, closed), done / count)
            told = closed

    def _walked(self, bars: Bars, signals: Signals, events: Events, span: tuple[int, int]) -> int:
        """Walk the times of `span`, with more room for records as it is needed; return where they end."""
        time, until = span
        while time < until:
            time = walk(bars, signals, events, (time, until), self.times, self.state, self.closes[-1], self.rules)
            if not 0.0 < self.state.account[0].equity < np.inf:
                raise self._broken(bars, time)
            if time < until:
                heard = signals.starts[time + 1] - signals.starts[time]
                self.state = with_room(self.state, RECORDS * int(self.state.account[0].active + heard))
        return until

    def _tell(self, period: PeriodBars, closed: slice, part: float) -> None:
        """Tell of the sessions of a period that are `closed` since the last time, a `part` of it being done."""
        account = self.state.account[0]
        self.listener(StageProgress(Stage.TRADING, self.bars + int(part * len(period.time))))
        self.listener(
            AccountMarked(
                sessions=period.sessions[closed],
                equity=self.closes[-1].equity[closed],
                filled=int(account.filled),
                refused=int(account.orders - account.filled),
            )
        )

    def _broken(self, bars: Bars, time: int) -> InvariantError:
        account, session = self.state.account[0], self.periods[-1].sessions[bars.day[time] - self.sessions]
        last = "before any fill"
        if account.fills:
            fill = self.state.fills[account.fills - 1]
            last = f"after fill #{account.fills} ({fill.quantity:g} {self.symbols[fill.symbol]} at {fill.price:g})"
        return InvariantError(
            f"trading: equity is {account.equity:g} on {session} {last}; it must stay a positive number. "
            f"Check the bars of that session, and the costs against trading.cash."
        )


def _earlier(
    snapshot: Snapshot, symbols: Sequence[str], columns: Sequence[str], start: date | None, options: TradingOptions
) -> Iterable[PeriodBars]:
    """Return the bars before `start` if anything needs to know them."""
    if start is None or options.sizing.method is not SizingMethod.RISK:
        return ()
    return read_periods(snapshot, symbols, columns, None, start - timedelta(days=1))


def _clock(periods: Sequence[PeriodBars]) -> Clock:
    """Return the times of consecutive periods."""
    firsts = np.cumsum([0, *(len(period.sessions) for period in periods)])
    return Clock(
        sessions=np.concatenate([period.sessions for period in periods]).astype("datetime64[ms]"),
        day=np.concatenate([period.day + first for period, first in zip(periods, firsts, strict=False)]),
        times=np.concatenate([period.times for period in periods]),
        has_times=periods[0].has_times,
    )
