"""What the compiled loop works on: the account as a few arrays of records, and the codes in them.

Numba takes named tuples of arrays and numbers. A run has one `State`, made by `opened`, changed in place by `kernel`
and `execution` and carried from period to period.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pipeline.schema import Reason, Status
from pipeline.trading.market import Costs
from pipeline.trading.sizing import Sizing

Code = np.int8  # and not int: Numba would compile a function anew for every literal int it is called with
Records: TypeAlias = Any  # np.recarray of one of the dtypes below; its fields are attributes
STATUSES, REASONS = tuple(Status), tuple(Reason)
FILLED, PARTIAL, REJECTED = (Code(STATUSES.index(s)) for s in (Status.FILLED, Status.PARTIAL, Status.REJECTED))
SIGNAL, HELD, CASH = (Code(REASONS.index(r)) for r in (Reason.SIGNAL, Reason.HELD, Reason.CASH))
LOT, NO_BAR, VOLUME = (Code(REASONS.index(r)) for r in (Reason.LOT, Reason.NO_BAR, Reason.VOLUME))
MAX_POSITIONS, RISK, DELISTED = (Code(REASONS.index(r)) for r in (Reason.MAX_POSITIONS, Reason.RISK, Reason.DELISTED))
STOP_LOSS, TAKE_PROFIT, TRAILING_STOP = (
    Code(REASONS.index(r)) for r in (Reason.STOP_LOSS, Reason.TAKE_PROFIT, Reason.TRAILING_STOP)
)
SPLIT, DIVIDEND = (Code(REASONS.index(r)) for r in (Reason.SPLIT, Reason.DIVIDEND))
SUPERSEDED, END_OF_DATA = (Code(REASONS.index(r)) for r in (Reason.SUPERSEDED, Reason.END_OF_DATA))
NEVER = 2**62  # the last session of a standing order
NO_ORDER = -1  # the signal time of a symbol without an open order

ACCOUNT = np.dtype(
    [
        ("cash", "f8"),  # the proceeds of short sales included
        ("shorted", "f8"),  # value of the short positions, unsigned; at their last marks, or at their fills since then
        ("receivable", "f8"),  # dividends due and not paid yet
        ("unpaid", "i8"),  # how many they are
        ("equity", "f8"),  # at the last close
        ("now", "i8"),  # the time at which things happen, counted from the first of the run
        ("day", "i8"),  # its session, likewise
        ("closing", "i8"),  # 1 if it is the last time of its session
        ("active", "i8"),  # how many symbols have a position or an open order
        ("positions", "i8"),  # how many symbols have a position
        ("open_orders", "i8"),
        ("orders", "i8"),  # how many have ended
        ("filled", "i8"),  # how many of them got all they asked for
        ("fills", "i8"),
        ("payments", "i8"),
    ]
)
SLOT = np.dtype(
    [
        # what every close needs, in one line of the processor's cache
        ("held", "f8"),  # shares, negative if short
        ("mark", "f8"),  # last close while held
        ("shift", "i8"),  # time - row, in the run of bars without a gap from row `run_first` to before `run_stop`
        ("run_stop", "i8"),
        ("run_first", "i8"),
        ("signal_time", "i8"),  # of the open order, or NO_ORDER
        ("exit_time", "i8"),  # of the order that closes all before the open one (flip, rest of a stop), or NO_ORDER
        ("active", "i8"),  # 1 if among the active symbols
        # the rest
        ("shorted", "f8"),  # its part of the account's
        ("wanted", "f8"),  # the latest opinion, exposure
        ("asked", "f8"),  # shares the open order asks, what it got included; 0 until its turn to trade came
        ("filled", "f8"),  # shares the open order got
        ("change", "f8"),  # signed shares that the position shall give up at this time
        ("last_session", "i8"),  # in which the open order may fill, or NEVER
        ("exit_asked", "f8"),
        ("exit_filled", "f8"),
        ("exit_why", "i8"),  # SIGNAL for a flip, else the stop
        ("stopped", "i8"),  # 1 if a stop or a profit sold of it since the latest opinion
        ("true_range", "f8"),  # average true range at the close of the open order's signal
        ("entry", "f8"),  # average price of the shares held
        ("extreme", "f8"),  # highest price since the entry, lowest if short; only followed if there are stops
        ("price", "f8"),  # at which orders fill at this time, before slippage
        ("room", "f8"),  # shares that the bar of the time below still takes
        ("room_time", "i8"),
        ("bar_session", "i8"),  # of the last bar while held
        ("gone", "i8"),  # first session on which it is listed no more, or NEVER
        ("symbol", "i8"),  # its own place
    ]
)
ORDER = np.dtype(
    [
        ("wanted", "f8"),
        ("quantity", "f8"),
        ("filled", "f8"),
        ("signal_time", "i4"),
        ("time", "i4"),
        ("symbol", "i4"),
        ("status", "i1"),
        ("reason", "i1"),
    ],
    align=True,
)
FILL = np.dtype(
    [
        ("quantity", "f8"),
        ("price", "f8"),
        ("commission", "f8"),
        ("slippage", "f8"),
        ("time", "i4"),
        ("symbol", "i4"),
        ("reason", "i1"),
    ],
    align=True,
)
PAYMENT = np.dtype(
    [
        ("shares", "f8"),  # the change of the position
        ("ratio", "f8"),  # shares after / before, whole or not
        ("cash", "f8"),  # for a fraction of a share, or a dividend
        ("time", "i4"),
        ("symbol", "i4"),
        ("reason", "i1"),
    ],
    align=True,
)
CLOSE = np.dtype(
    [
        ("cash", "f8"),
        ("receivable", "f8"),
        ("positions_value", "f8"),  # sum of shares x mark
        ("gross", "f8"),  # sum of |shares x mark|
        ("equity", "f8"),
        ("positions", "i8"),
    ]
)


class Stops(NamedTuple):
    """At which fraction of the entry, or of the extreme since then, a position is closed; infinite is never."""

    loss: float
    profit: float
    trailing: float


class Rules(NamedTuple):
    """What does not change during a run."""

    costs: Costs
    sizing: Sizing
    stops: Stops
    has_stops: bool
    in_bar: bool  # orders fill in the bar (its mean or its close), and not at its open
    at_signal: bool  # orders fill at the close that made them
    shrink: bool  # an entry that cash does not cover shrinks
    valid_sessions: int
    max_positions: int  # NEVER is no limit
    volume_cap: float  # fraction of the bar's volume, infinite is no limit
    delists: bool  # positions may end so, by the next rule or by what is known of the symbols
    delist_after: int  # sessions without a bar, NEVER is never
    recovery: float  # fraction of the last mark


class Bars(NamedTuple):
    """The bars of a period; rows ``starts[i]:starts[i + 1]`` are symbol i's, times ascending.

    Columns that no rule reads may be any array, see `pipeline.trading.rules`.
    """

    day: np.ndarray  # int64 (times,), session of each time, counted from the first of the run
    closing: np.ndarray  # bool (times,), whether a time is the last of its session
    starts: np.ndarray  # int64 (symbols + 1,)
    time: np.ndarray  # int32 (rows,), counted from the period's first
    price: np.ndarray  # float64 (rows,), as traded: what orders fill at
    open: np.ndarray  # float64 (rows,), as traded; for stops
    high: np.ndarray  # float64 (rows,), as traded; for stops
    low: np.ndarray  # float64 (rows,), as traded; for stops
    close: np.ndarray  # float64 (rows,), in the account's prices
    volume: np.ndarray  # float64 (rows,), shares
    factor: np.ndarray  # float64 (rows,), 1 if the account trades at raw prices
    true_range: np.ndarray  # float64 (rows,), average, in the account's prices; for sizing by risk
    scale: np.ndarray  # float64 (symbols,), 1 if the account trades at raw prices


class Signals(NamedTuple):
    """The changes of opinion in a period; ``starts[t]:starts[t + 1]`` are those of time t, symbols ascending."""

    starts: np.ndarray  # int64 (times + 1,)
    symbol: np.ndarray  # int64 (changes,)
    wanted: np.ndarray  # float64 (changes,)
    row: np.ndarray  # int64 (changes,), of the bar whose close made it
    rebalance: np.ndarray  # bool (times,), whether the close makes an order for every position
    hears: np.ndarray  # bool (times,), whether there is a change, or a rebalance


class Events(NamedTuple):
    """The corporate actions in a period; ``starts[t]:starts[t + 1]`` are those of time t, symbols ascending."""

    starts: np.ndarray  # int64 (times + 1,)
    symbol: np.ndarray  # int64 (events,)
    action: np.ndarray  # int64 (events,), place in the account's `due`
    split: np.ndarray  # float64 (events,), shares after / before
    dividend: np.ndarray  # float64 (events,), currency per share after the split
    kind: np.ndarray  # int64 (events,), one of those in `pipeline.trading.actions`


class State(NamedTuple):
    """The account, and what it has done so far. Times and sessions are counted from the first of the run."""

    account: Records  # ACCOUNT (1,)
    slots: Records  # SLOT (symbols,)
    active: np.ndarray  # int64 (symbols,), the active symbols, ascending, account.active of them
    reducing: np.ndarray  # int64 (symbols,), whose orders give shares up at this time
    entering: np.ndarray  # int64 (symbols,), whose orders may enter
    due: np.ndarray  # float64 (actions,), dividends not paid yet
    orders: Records  # ORDER (capacity,), as they ended, account.orders of them
    fills: Records  # FILL (capacity,), as they happened, account.fills of them
    payments: Records  # PAYMENT (2 x actions,), as they happened, account.payments of them


def opened(cash: float, symbols: int, capacity: int, actions: int = 0) -> State:
    """Return an account of `cash`, with room for `capacity` orders and fills, and for all payments of `actions`."""
    account, slots = records(ACCOUNT, 1), records(SLOT, symbols)
    account.cash = account.equity = cash
    slots.signal_time = slots.exit_time = slots.room_time = NO_ORDER
    slots.symbol = np.arange(symbols)
    slots.gone = NEVER
    return State(
        account,
        slots,
        np.zeros(symbols, np.int64),
        np.zeros(symbols, np.int64),
        np.zeros(symbols, np.int64),
        np.zeros(actions),
        records(ORDER, capacity),
        records(FILL, capacity),
        records(PAYMENT, 2 * actions),
    )


def with_room(state: State, room: int) -> State:
    """Return `state` with room for so many more orders and fills, at least doubled where it had less."""
    account = state.account[0]
    return state._replace(
        orders=_longer(state.orders, int(account.orders), room), fills=_longer(state.fills, int(account.fills), room)
    )


def records(kind: np.dtype, count: int) -> Records:
    """Return `count` records of zeros."""
    return np.zeros(count, kind).view(np.recarray)


def _longer(rows: Records, used: int, room: int) -> Records:
    if used + room <= len(rows):
        return rows
    longer = records(rows.dtype, 2 * used + room)
    longer[:used] = rows[:used]
    return longer
