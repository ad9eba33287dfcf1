"""Columns and dtypes of every table that stages hand to each other, and the reasons an order can end with.

Prices are currency per share, money is currency, sessions are midnights without a zone, rates are fractions.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.modes import Frequency

NAMES = pd.StringDtype("python", na_value=np.nan)
"""`str` to pandas, kept as Python's own strings: made and found in half the time, which counts once per symbol."""

SESSION = pa.timestamp("ms")
MOMENT = pa.timestamp("ms", "UTC")
PRICES = ("open", "high", "low", "close")
RAW_PRICES = tuple(f"raw_{name}" for name in PRICES)
STORED = (*PRICES, "volume", "factor")
"""Numeric columns of every stored bar: prices as traded, shares, cumulative adjustment factor."""

BARS = pa.schema([("symbol", pa.string()), ("session", SESSION), *((name, pa.float64()) for name in STORED)])
"""One row per (symbol, session), sorted so; further float64 columns of the source may follow."""
MINUTE_BARS = pa.schema([BARS.field("symbol"), BARS.field("session"), ("time", MOMENT), *list(BARS)[2:]])
"""One row per (symbol, time); the time is the end of the bar, the session its date at the exchange."""


def bars_schema(extras: Sequence[str], frequency: Frequency) -> pa.Schema:
    """Return the columns of stored bars of a frequency with some further ones."""
    bars = BARS if frequency is Frequency.DAILY else MINUTE_BARS
    return pa.schema([*bars, *((name, pa.float64()) for name in extras)])


ACTIONS = pa.schema(
    [
        ("symbol", pa.string()),
        ("ex_date", SESSION),
        ("pay_date", SESSION),  # null where the source does not tell
        ("dividend", pa.float64()),  # currency per share, 0 for none
        ("split", pa.float64()),  # shares after / shares before, 1 for none
    ]
)

INSTRUMENTS = pa.schema(
    [
        ("symbol", pa.string()),
        ("from", SESSION),  # first session on which the row holds
        ("to", SESSION),  # last one, null while it holds
        ("listed", SESSION),  # first session of trading, null if that is before the bars begin
        ("delisted", SESSION),  # last session of trading, null while it is listed
    ]
)
"""What is known of a symbol beside its bars; a source that does not tell gives no row."""

QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),  # 1-based line of the file; 0 refuses the whole file
        ("symbol", pa.string()),  # null where it could not be told
        ("rule", pa.string()),
        ("text", pa.string()),  # the row as it came, at most 200 characters
    ]
)


REVISIONS = pa.schema(
    [
        ("snapshot", pa.int64()),  # number of the snapshot that took the change
        ("symbol", pa.string()),
        ("kind", pa.string()),
        ("first", SESSION),  # session, or minute in UTC, of the stored bar, or of the first of several ...
        ("last", SESSION),  # ... and of the last
        ("bars", pa.int64()),
        ("column", pa.string()),  # "bar" for the whole of it
        ("before", pa.float64()),  # null where there was none
        ("after", pa.float64()),
    ]
)
"""Stored bars, dividends and splits that a vendor changed, and what became of them."""


class Status(StrEnum):
    """How an order ended."""

    FILLED = "filled"
    PARTIAL = "partial"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why an order ended as it did, or what caused a fill or an exit."""

    SIGNAL = "signal"  # filled as the strategy asked
    HELD = "held"  # filled with nothing to do: the account already holds what is wanted
    CASH = "cash"  # not enough cash for all or any of it
    LOT = "lot"  # less than one lot
    NO_BAR = "no_bar"  # the symbol had no bar while the order was valid
    VOLUME = "volume"  # the bar's volume was zero, or its share too small
    MAX_POSITIONS = "max_positions"  # as many symbols were held as may be
    RISK = "risk"  # the average true range was not known yet, or zero
    SUPERSEDED = "superseded"  # the opinion changed, or a stop closed the position, before the order could fill
    END_OF_DATA = "end_of_data"  # the data ended first
    STOP_LOSS = "stop_loss"  # the price fell so far below the average entry (shorts: rose above it)
    TAKE_PROFIT = "take_profit"  # the price rose so far above the average entry (shorts: fell below it)
    TRAILING_STOP = "trailing_stop"  # the price fell so far below the highest one since the entry (shorts: mirrored)
    DELISTED = "delisted"  # no bar for too long: paid at a part of the last mark
    SPLIT = "split"  # a fraction of a share, paid in cash
    DIVIDEND = "dividend"  # cash for what was held at the close before the ex-date


SIGNALS = pd.DataFrame(
    {
        "symbol": pd.Categorical([], categories=[]),
        "session": pd.Series([], dtype="datetime64[ms]"),
        "signal": pd.Series([], dtype="float64"),
    }
)
"""The sessions on which a symbol's wanted exposure (-1 ... 1) changes; also the Dask ``meta`` of the signal stage."""
MINUTE_SIGNALS = SIGNALS.assign(time=pd.Series([], dtype="datetime64[ms, UTC]"))[
    ["symbol", "session", "time", "signal"]
]
"""The same with minute bars: the ends of the bars after which it changes."""

EQUITY_COLUMNS = (
    "session",
    "cash",
    "receivable",
    "positions_value",
    "equity",
    "gross_exposure",  # sum of |shares x mark| / equity, a fraction
    "net_exposure",  # sum of shares x mark / equity, a fraction
    "positions",  # how many symbols are held
)
ORDER_COLUMNS = (
    "signal_session",
    "session",  # where it ended
    "symbol",
    "wanted",  # exposure, -1 ... 1
    "quantity",  # signed shares asked; 0 where no price was ever known
    "filled",  # signed shares got
    "status",
    "reason",
)
FILL_COLUMNS = (
    "session",
    "symbol",
    "quantity",  # signed shares
    "price",  # slippage included
    "commission",
    "tax",
    "slippage",  # currency, already inside the price
    "reason",
)
PAYMENT_COLUMNS = (
    "session",
    "symbol",
    "shares",  # the change of the position
    "ratio",  # shares after / before, as the split says
    "cash",  # for a fraction of a share, or a dividend; negative is paid by a short position
    "reason",  # split | dividend
)
TRADE_COLUMNS = (
    "symbol",
    "entry_session",
    "exit_session",
    "quantity",
    "entry_price",
    "exit_price",
    "pnl",  # net of the commissions of both sides
    "return",  # pnl / (|quantity| x entry price)
    "sessions_held",
    "exit_reason",
)
