"""Benchmark: many small pandas operations on each symbol, as strategies in notebooks are written."""

import numpy as np
import pandas as pd

COLUMNS = ("open", "high", "low", "close", "volume")


def signal(bars: pd.DataFrame, *, window: int = 20) -> pd.Series:
    """Return 1.0 where trend, momentum and volume agree, 0.0 where none of them does, else NaN."""
    close = bars["close"]
    returns = close.pct_change()
    middle = close.rolling(window).mean()
    band = close.rolling(window).std()
    z = (close - middle) / band
    gain = returns.clip(lower=0).ewm(alpha=1 / window, adjust=False).mean()
    loss = (-returns.clip(upper=0)).ewm(alpha=1 / window, adjust=False).mean()
    strength = 100 - 100 / (1 + gain / loss)
    true_range = pd.concat(
        [bars["high"] - bars["low"], (bars["high"] - close.shift()).abs(), (bars["low"] - close.shift()).abs()], axis=1
    ).max(axis=1)
    calm = true_range.rolling(window).mean() / close < 0.05
    busy = bars["volume"] > bars["volume"].rolling(window).median()
    votes = (z > 0).astype(int) + (strength > 50).astype(int) + (calm & busy).astype(int)
    return pd.Series(np.where(votes == 3, 1.0, np.where(votes == 0, 0.0, np.nan)), index=bars.index)
