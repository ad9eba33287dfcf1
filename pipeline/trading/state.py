"""What the compiled day loop works on: the account as a few arrays of records, and the codes in them.

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
SUPERSEDED, END_OF_DATA = (Code(REASONS.index(r)) for r in (Reason.SUPERSEDED, Reason.END_OF_DATA))
NEVER = 2**62  # the last session of a standing order
NO_ORDER = -1  # the signal session of a symbol without an open order

ACCOUNT = np.dtype(
    [
        ("cash", "f8"),
        ("equity", "f8"),  # at the last close
        ("active", "i8"),  # how many symbols have a position or an open order
        ("open_orders", "i8"),
        ("orders", "i8"),  # how many have ended
        ("fills", "i8"),
    ]
)
SLOT = np.dtype(
    [
        ("held", "f8"),  # shares
        ("mark", "f8"),  # last close while held, adjusted
        ("wanted", "f8"),  # the latest opinion, exposure
        ("asked", "f8"),  # shares the open order asks, 0 until its turn to trade came
        ("signal_session", "i8"),  # of the open order, or NO_ORDER
        ("last_session", "i8"),  # in which the open order may fill, or NEVER
        ("cursor", "i8"),  # row of the period, at most the one of this session; kept while active
        ("active", "i8"),  # 1 if among the active symbols
    ]
)
ORDER = np.dtype(
    [
        ("signal_session", "i8"),
        ("session", "i8"),
        ("symbol", "i4"),
        ("wanted", "f8"),
        ("quantity", "f8"),
        ("filled", "f8"),
        ("status", "i1"),
        ("reason", "i1"),
    ]
)
FILL = np.dtype(
    [
        ("session", "i8"),
        ("symbol", "i4"),
        ("quantity", "f8"),
        ("price", "f8"),
        ("commission", "f8"),
        ("slippage", "f8"),
        ("reason", "i1"),
    ]
)
CLOSE = np.dtype(
    [
        ("cash", "f8"),
        ("positions_value", "f8"),  # sum of shares x mark
        ("gross", "f8"),  # sum of |shares x mark|
        ("equity", "f8"),
        ("positions", "i8"),
    ]
)


class Rules(NamedTuple):
    """What does not change during a run."""

    costs: Costs
    sizing: Sizing
    at_close: bool  # orders fill at the close that made them
    shrink: bool  # a buy that cash does not cover shrinks
    valid_sessions: int


class Bars(NamedTuple):
    """The bars of a period; rows ``starts[i]:starts[i + 1]`` are symbol i's, sessions ascending."""

    starts: np.ndarray  # int64 (symbols + 1,)
    session: np.ndarray  # int32 (rows,), counted from the period's first
    price: np.ndarray  # float64 (rows,), as traded: what orders fill at
    close: np.ndarray  # float64 (rows,), as traded
    volume: np.ndarray  # float64 (rows,), shares
    factor: np.ndarray  # float64 (rows,)
    scale: np.ndarray  # float64 (symbols,)


class Signals(NamedTuple):
    """The changes of opinion in a period; ``starts[s]:starts[s + 1]`` are those of session s, symbols ascending."""

    starts: np.ndarray  # int64 (sessions + 1,)
    symbol: np.ndarray  # int64 (changes,)
    wanted: np.ndarray  # float64 (changes,)
    row: np.ndarray  # int64 (changes,), of the bar whose close made it


class State(NamedTuple):
    """The account, and what it has done so far. Sessions are counted from the first of the run."""

    account: Records  # ACCOUNT (1,)
    slots: Records  # SLOT (symbols,)
    active: np.ndarray  # int64 (symbols,), the active symbols, ascending, account.active of them
    orders: Records  # ORDER (capacity,), as they ended, account.orders of them
    fills: Records  # FILL (capacity,), as they happened, account.fills of them


def opened(cash: float, symbols: int, capacity: int) -> State:
    """Return an account of `cash`, with room for `capacity` orders, each filled at most once."""
    account, slots = records(ACCOUNT, 1), records(SLOT, symbols)
    account.cash = account.equity = cash
    slots.signal_session = NO_ORDER
    return State(account, slots, np.zeros(symbols, np.int64), records(ORDER, capacity), records(FILL, capacity))


def records(kind: np.dtype, count: int) -> Records:
    """Return `count` records of zeros."""
    return np.zeros(count, kind).view(np.recarray)
