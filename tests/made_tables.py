"""Small runs to take the measure of: equity, a benchmark, fills, and everything else that follows from them."""

import numpy as np
import pandas as pd

from pipeline.results.tables import Tables
from pipeline.results.trades import trades_of
from pipeline.schema import FILL_COLUMNS, ORDER_COLUMNS, PAYMENT_COLUMNS

CASH = 1000.0
FRIDAY = np.datetime64("2024-01-05")


def equity_of(returns, cash=CASH):
    """Return the equity that makes these returns; NaN is a session without one."""
    return cash * np.cumprod(1 + np.nan_to_num(returns))


def varies(returns):
    """Tell whether a series has a standard deviation worth dividing by."""
    return np.std(returns) > 1e-5


def sessions_from(first, count):
    """Return `count` week-days from `first` on."""
    return np.busday_offset(first, np.arange(count), roll="forward").astype("datetime64[ms]")


def frame(columns, rows, text=("symbol", "reason", "status")):
    """Return rows as a table with the dtypes of a run's tables, also when there are none."""
    made = pd.DataFrame(rows, columns=list(columns))
    for name in columns:
        kind = "datetime64[ms]" if name.endswith("session") else "str" if name in text else "float64"
        made[name] = made[name].astype(kind)
    return made


def coded(fills):
    """Return fills with categories, as the trading loop gives them, also where nothing was traded."""
    names = {"symbol": ["AAA", *fills["symbol"]], "reason": ["signal", *fills["reason"]]}
    return fills.assign(**{name: pd.Categorical(fills[name], sorted(set(found))) for name, found in names.items()})


def run_of(equity, *, benchmark=(), fills=(), orders=(), payments=(), positions_value=0.0):
    """Return the tables of a run with this equity; `positions_value` of it are shares, the rest is cash."""
    equity = np.asarray(equity, float)
    sessions = sessions_from(FRIDAY, len(equity))
    held = np.broadcast_to(positions_value, len(equity)).astype(float)
    fills = frame(FILL_COLUMNS, fills)
    return Tables(
        equity=pd.DataFrame(
            {
                "session": sessions,
                "cash": equity - held,
                "receivable": np.zeros(len(equity)),
                "positions_value": held,
                "equity": equity,
                "gross_exposure": np.divide(held, equity, out=np.zeros(len(equity)), where=equity != 0),
                "net_exposure": np.divide(held, equity, out=np.zeros(len(equity)), where=equity != 0),
                "positions": (held > 0).astype(np.int64),
            }
        ),
        orders=frame(ORDER_COLUMNS, orders),
        fills=fills,
        trades=trades_of(coded(fills), sessions),
        payments=frame(PAYMENT_COLUMNS, payments),
        signals=pd.DataFrame(
            {"symbol": pd.Categorical(["AAA"]), "session": sessions[:1], "signal": [1.0]} if len(equity) else []
        ),
        benchmark=pd.DataFrame({"session": sessions[: len(benchmark)], "value": np.asarray(benchmark, float)}),
    )
