"""Benchmark: NumPy over sliding windows, in many short calls; each gives the GIL back and asks for it again."""

import numpy as np
import pandas as pd

COLUMNS = ("close",)


def signal(bars: pd.DataFrame, *, window: int = 60) -> np.ndarray:
    """Return 1.0 above the last window's mean plus one deviation or at its highest, 0.0 below the mean, else NaN."""
    close = bars["close"].to_numpy()
    opinions = np.full(len(close), np.nan)
    if len(close) < window:
        return opinions
    views = np.lib.stride_tricks.sliding_window_view(close, window)
    mean, deviation, highest = views.mean(axis=1), views.std(axis=1), views.max(axis=1)
    now = close[window - 1 :]
    is_high = (now > mean + deviation) | (now == highest)
    opinions[window - 1 :] = np.where(is_high, 1.0, np.where(now < mean, 0.0, np.nan))
    return opinions
