"""The same work here, bars in memory to equity and fills: reads a line, works once, answers a JSON line, and so on.

``python ours.py CONF [KEY=VALUE ...]``; what is timed is the strategy
through its contract on every task's frame, as a run on one core divides them, and the trading loop on every period's
arrays, tables included; and, once, before the first line, the strategy alone, which nobody but Python calls.
"""

import json
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from pipeline import config
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.periods import read_periods
from pipeline.bars.split import split
from pipeline.bars.store import open_snapshot
from pipeline.garbage import settle
from pipeline.signals.build import by_session
from pipeline.signals.partition import signals_of_block
from pipeline.signals.probe import probe
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.trading.loop import trade_periods

PASSES = 5


def main() -> None:
    options = config.load(Path(sys.argv[1]), sys.argv[2:])
    snapshot = open_snapshot(options.data.store)
    symbols = list(snapshot.by_symbol)
    scales = np.array([snapshot.by_symbol[symbol].scale for symbol in symbols])
    strategy = load_strategy(options.strategy.name, options.strategy.params)
    blocks = blocks_of(snapshot, symbols)
    tasks = split(blocks, 1, probe(blocks, strategy, (None, None)).seconds_per_row)
    frames = [load_block(task, ("close",)) for task in tasks]
    periods = list(read_periods(snapshot, symbols, ["open", "close", "volume", "factor"], None, None))
    bars = sum(len(period.time) for period in periods)

    def work() -> dict[str, float]:
        began = perf_counter()
        parts = [signals_of_block(frame, strategy=strategy, known=("close",), span=(None, None)) for frame in frames]
        signals = perf_counter() - began
        began = perf_counter()
        trade_periods(periods, symbols, scales, by_session(parts), options.trading)
        return {"signals": signals, "loop": perf_counter() - began, "strategy": bare, "bars": bars}

    bare = alone(strategy, frames)
    work()  # loads the machine code
    settle()  # as commands do
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)


def alone(strategy: Strategy, frames: list[pd.DataFrame]) -> float:
    """Return the seconds that a strategy takes for the ready bars of every symbol, nothing of ours around it; median.

    No pipeline that asks symbol by symbol can take less.
    """
    signal = strategy.function()
    symbols = [
        bars
        for frame in frames
        for _, bars in frame.set_index("session")[["close"]].groupby(frame["symbol"].to_numpy(), observed=True)
    ]
    passes = []
    for _ in range(PASSES):
        began = perf_counter()
        for bars in symbols:
            signal(bars)
        passes.append(perf_counter() - began)
    return median(passes)


if __name__ == "__main__":
    main()
