"""Runs made up for the tests of the report: random ones of any size, and the smallest there can be."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.results.metrics import summary
from pipeline.results.tables import Tables
from pipeline.schema import EQUITY_COLUMNS, FILL_COLUMNS, ORDER_COLUMNS, PAYMENT_COLUMNS, SIGNALS, TRADE_COLUMNS

CASH = 1_000_000.0
HOSTILE = ("<script>alert(1)</script>", '"onload=alert(2) x="', "</script><img src=x onerror=alert(3)>", "{{ 7 * 7 }}")


def monitor_record(*, symbols: str = "AAPL..MSFT", worker: str = "here/11/strategy_0") -> dict[str, Any]:
    """Return what the monitor says of a run of two partitions, one of them of these `symbols` on this `worker`."""
    stage = {
        "cpu_seconds": 0.3,
        "cpu_utilisation": 0.75,
        "gil_contention": 0.5,
        "read_bytes": 2**20,
        "memory_mb": 150.0,
        "peak_memory_mb": 160.0,
        "workers_peak_memory_mb": None,
        "bars_per_second": 60_000,
    }
    return {
        "machine": {"host": "here", "cores": 2},
        "stages": {"signals": stage},
        "signals": {
            "busy_seconds": 0.4,
            "queued_seconds": 0.1,
            "read_seconds": 0.05,
            "gil_held": 0.25,
            "bars_bytes": 2**20,
            "sent_bytes": 0,
            "received_bytes": 0,
            "idle": 0.08,
        },
        "partitions": {
            "symbols": [symbols, "IBM"],
            "count": [4, 1],
            "worker": [worker, "here/11/strategy_1"],
            "bars": [10_000, 2_590],
            "began": [0.0, 0.01],
            "seconds": [0.2, 0.1],
        },
        "amdahl": {"sentence": "signals 44%, results 33% of 0.46 s: twice the cores would save at most 0.10 s"},
    }


def run_record(**changes: Any) -> dict[str, Any]:
    """Return a complete ``run.json``; `changes` replace whole keys."""
    record = {
        "schema_version": 1,
        "name": "sample",
        "run_key": "0123456789abcdef",
        "attempt": 1,
        "state": "committed",
        "started": "2026-01-05T22:30:00Z",
        "config": {
            "name": "sample",
            "data": {"source": "sample", "store": "var/store/sample", "symbols": "all"},
            "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 30}},
            "trading": {
                "cash": CASH,
                "market": "us",
                "fill": "next_open",
                "short": False,
                "sizing": {"method": "equal", "value": None},
                "commission": {"rate": 0.0005, "minimum": None, "fixed": None},
                "slippage": {"rate": 0.0002},
            },
            "output": {"dir": "runs", "benchmark": None},
        },
        "versions": {"pipeline": "0.1.0", "python": "3.11.2", "dask": "2026.8.0"},
        "symbols": 5,
        "orders": {"filled": {"signal": 390}, "rejected": {"cash": 12}},
        "costs": {"rate": 0.0005, "minimum": 0.0, "fixed": 0.0, "slippage": 0.0002},
        "snapshot": {
            "store": "var/store/sample",
            "number": 3,
            "content_id": "5f2c",
            "symbols": 5,
            "counts": {
                "files": 5,
                "files_refused": 0,
                "rows_in": 12_590,
                "stored": 12_590,
                "duplicates": 0,
                "quarantined": 0,
                "symbols": 5,
            },
            "adjustment": "all",
            "notes": ["prices come adjusted for splits and dividends"],
        },
        "strategy": {
            "name": "sma_cross",
            "file": "strategies/sma_cross.py",
            "sha256": "ab" * 32,
            "params": {"fast": 10, "slow": 30},
        },
        "scheduler": {
            "kind": "threads",
            "workers": 2,
            "reason": "5 symbols are more than 3 and at most 10",
            "predicted": {"synchronous": 0.21, "threads": 0.15, "processes": None},
        },
        "stages": {"open": 0.011, "signals": 0.203, "trading": 0.094, "results": 0.151},
        "rows": {"bars": 12_590, "changes": 402, "orders": 402, "fills": 390, "trades": 195},
        "peak_memory_mb": 241.5,
        "monitor": monitor_record(),
        "result_digest": "cd" * 32,
        "skipped": {},
        "warnings": [],
    }
    return record | changes


def random_tables(sessions: int = 2_500, symbols: int = 5, trades: int = 400, *, seed: int = 1) -> Tables:
    """Return tables that look like those of a real run; their books need not balance."""
    rng = np.random.default_rng(seed)
    names = [f"SYM{number:04d}" for number in range(symbols)]
    days = pd.Series(pd.bdate_range("2006-01-02", periods=sessions).as_unit("ms"))
    held = rng.integers(0, symbols + 1, sessions)
    equity = CASH * np.exp(np.cumsum(rng.normal(0.0004, 0.011, sessions)))
    entry = np.sort(rng.integers(0, max(sessions - 1, 1), trades))
    leave = np.minimum(entry + rng.integers(1, 60, trades), sessions - 1)
    price, quantity = rng.uniform(10, 400, trades), rng.integers(1, 500, trades) * 1.0
    gain = rng.normal(0.01, 0.06, trades)
    symbol = rng.choice(names, trades)
    still_open = np.arange(trades) >= trades - 3
    ended = rng.choice(["filled", "filled", "filled", "partial", "rejected"], trades)
    reason = np.where(ended == "filled", "signal", rng.choice(["cash", "lot", "no_bar"], trades))
    return Tables(
        equity=pd.DataFrame(
            {
                "session": days,
                "cash": equity * 0.2,
                "receivable": 0.0,
                "positions_value": equity * 0.8,
                "equity": equity,
                "gross_exposure": held / symbols,
                "net_exposure": held / symbols,
                "positions": held,
            }
        ),
        orders=pd.DataFrame(
            {
                "signal_session": days.to_numpy()[entry],
                "session": days.to_numpy()[leave],
                "symbol": symbol,
                "wanted": 1.0,
                "quantity": quantity,
                "filled": np.where(ended == "rejected", 0.0, quantity),
                "status": ended,
                "reason": reason,
            }
        ),
        fills=pd.DataFrame(
            {
                "session": days.to_numpy()[entry],
                "symbol": symbol,
                "quantity": quantity,
                "price": price,
                "commission": 1.0,
                "tax": 0.0,
                "slippage": 0.5,
                "reason": "signal",
            }
        ),
        trades=pd.DataFrame(
            {
                "symbol": symbol,
                "entry_session": days.to_numpy()[entry],
                "exit_session": np.where(still_open, np.datetime64("NaT"), days.to_numpy()[leave]),
                "quantity": quantity,
                "entry_price": price,
                "exit_price": np.where(still_open, np.nan, price * (1 + gain)),
                "pnl": np.where(still_open, np.nan, quantity * price * gain),
                "return": np.where(still_open, np.nan, gain),
                "sessions_held": leave - entry,
                "exit_reason": np.where(still_open, None, "signal"),
            }
        ),
        payments=typed(pd.DataFrame(columns=list(PAYMENT_COLUMNS))),
        signals=SIGNALS,
        benchmark=pd.DataFrame(
            {"session": days, "value": CASH * np.exp(np.cumsum(rng.normal(0.0003, 0.009, sessions)))}
        ),
    )


def smallest_tables() -> Tables:
    """Return one flat session without an order: what almost every statistic is undefined for."""
    empty = {
        "orders": ORDER_COLUMNS,
        "fills": FILL_COLUMNS,
        "trades": TRADE_COLUMNS,
        "payments": PAYMENT_COLUMNS,
    }
    day = pd.Series(pd.to_datetime(["2024-05-06"]).as_unit("ms"))
    flat = dict.fromkeys(EQUITY_COLUMNS, 0.0) | {"session": day, "cash": CASH, "equity": CASH, "positions": 0}
    return Tables(
        equity=pd.DataFrame(flat),
        signals=SIGNALS,
        benchmark=pd.DataFrame({"session": day, "value": CASH}),
        **{name: typed(pd.DataFrame(columns=list(columns))) for name, columns in empty.items()},
    )


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return an empty table with the dtypes of a full one."""
    text = {"symbol", "status", "reason", "exit_reason"}
    kinds = {
        name: "object" if name in text else "datetime64[ms]" if name.endswith("session") else "float64"
        for name in table
    }
    return table.astype(kinds)


def metrics_of(tables: Tables) -> dict[str, float | None]:
    """Return the metrics of `tables`."""
    return summary(tables, CASH)
