"""Benchmark: NumPy over sliding windows, in few calls that take long and give the GIL back meanwhile."""

import numpy as np
import pandas as pd

COLUMNS = ("close",)


def signal(bars: pd.DataFrame, *, window: int = 60) -> np.ndarray:
    """Return 1.0 above the upper quartile of the last window's closes, 0.0 below the lower one, else NaN."""
    close = bars["close"].to_numpy()
    opinions = np.full(len(close), np.nan)
    if len(close) < window:
        return opinions
    views = np.lib.stride_tricks.sliding_window_view(close, window)
    quarter = window // 4
    ordered = np.partition(views, [quarter, window - 1 - quarter], axis=1)
    lower, upper = ordered[:, quarter], ordered[:, window - 1 - quarter]
    now = close[window - 1 :]
    opinions[window - 1 :] = np.where(now > upper, 1.0, np.where(now < lower, 0.0, np.nan))
    return opinions
