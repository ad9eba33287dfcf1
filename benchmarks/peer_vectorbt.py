"""The benchmark's work in vectorbt: SMA 10/30 level, next open, 20,000 per entry, 10 bp, one cash account.

``python peer_vectorbt.py BARS.parquet``: with ``--serve`` reads a line, works once, answers a JSON line, and so on;
without, works once and prints its orders to ORDERS.parquet. BARS has symbol, session, open, close (adjusted).
"""

import json
import sys
from time import perf_counter

import pandas as pd
import vectorbt as vbt

FAST, SLOW, VALUE, FEES, CASH = 10, 30, 20_000.0, 0.001, 10_000_000.0


def read(path: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    bars = pd.read_parquet(path)
    return tuple(bars.pivot(index="session", columns="symbol", values=name) for name in ("open", "close"))


def work(opened: pd.DataFrame, close: pd.DataFrame) -> tuple[vbt.Portfolio, pd.Series, dict[str, float]]:
    began = perf_counter()
    fast, slow = close.vbt.rolling_mean(FAST), close.vbt.rolling_mean(SLOW)
    entries = (fast > slow).vbt.signals.fshift(1)
    exits = (fast < slow).vbt.signals.fshift(1)
    signals = perf_counter() - began
    began = perf_counter()
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries,
        exits,
        price=opened,
        size=VALUE,
        size_type="value",
        init_cash=CASH,
        fees=FEES,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        size_granularity=1,
        freq="1D",
    )
    loop = perf_counter() - began
    began = perf_counter()
    equity = portfolio.value()
    return portfolio, equity, {"signals": signals, "loop": loop, "equity": perf_counter() - began}


def main() -> None:
    path, *rest = sys.argv[1:]
    opened, close = read(path)
    if "--serve" not in rest:
        portfolio, equity, _ = work(opened, close)
        orders = portfolio.orders.records_readable
        orders.columns = ["order", "symbol", "session", "quantity", "price", "fees", "side"]
        orders.to_parquet(rest[0])
        print(json.dumps({"final_equity": float(equity.iloc[-1]), "orders": len(orders)}))
        return
    work(opened, close)  # compiles
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(work(opened, close)[2]), flush=True)


if __name__ == "__main__":
    main()
