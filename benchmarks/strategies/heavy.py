"""Benchmark: plain Python for every bar, which holds the GIL all the time."""

import pandas as pd

COLUMNS = ("close",)


def signal(bars: pd.DataFrame, *, fast: int = 10, slow: int = 40) -> list[float]:
    """Return 1.0 while an adaptive average rises, 0.0 while it falls."""
    opinions = []
    average, before, energy = 0.0, 0.0, 0.0
    for place, close in enumerate(bars["close"].tolist()):
        step = abs(close - before)
        energy = energy + (step - energy) / fast
        change = abs(close - average)
        ratio = change / (energy * fast) if energy else 0.0
        ratio = min(max(ratio, 0.0), 1.0)
        rate = (ratio * (2 / (fast + 1) - 2 / (slow + 1)) + 2 / (slow + 1)) ** 2
        previous = average
        average = average + rate * (close - average) if place else close
        before = close
        opinions.append(1.0 if average > previous else 0.0)
    return opinions
