"""Benchmark: plain Python for every bar, which holds the GIL all the time."""

import pandas as pd

COLUMNS = ("close",)


def signal(bars: pd.DataFrame, *, fast: int = 10, slow: int = 40, averages: int = 1) -> list[float]:
    """Return 1.0 while most of some adaptive averages rise, else 0.0; each takes another turn through the bars."""
    closes = bars["close"].tolist()
    votes = zip(*(rising(closes, fast, slow + number) for number in range(averages)), strict=True)
    return [1.0 if 2 * sum(each) > averages else 0.0 for each in votes]


def rising(closes: list[float], fast: int, slow: int) -> list[bool]:
    opinions = []
    average, before, energy = 0.0, 0.0, 0.0
    for place, close in enumerate(closes):
        step = abs(close - before)
        energy = energy + (step - energy) / fast
        change = abs(close - average)
        ratio = change / (energy * fast) if energy else 0.0
        ratio = min(max(ratio, 0.0), 1.0)
        rate = (ratio * (2 / (fast + 1) - 2 / (slow + 1)) + 2 / (slow + 1)) ** 2
        previous = average
        average = average + rate * (close - average) if place else close
        before = close
        opinions.append(average > previous)
    return opinions
