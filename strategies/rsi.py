"""Buy when the relative strength index leaves its oversold zone, sell when it leaves its overbought zone.

Source: Wilder (1978), New Concepts in Technical Trading Systems, section VI: RSI of 14 periods, levels 30 and 70;
the crossing back is the signal. Long side only.
"""

import numpy as np
import pandas as pd
import talib

COLUMNS = ("close",)


def signal(bars: pd.DataFrame, *, period: int = 14, lower: float = 30.0, upper: float = 70.0) -> np.ndarray:
    """Return the exposure wanted after each close: 1.0 long, 0.0 flat, NaN keeps what is held.

    Parameters
    ----------
    bars : DataFrame, (sessions, fields), one symbol, sessions ascending
        Reads `close` [currency per share, adjusted].
    period : int [sessions]
        Wilder's smoothing length.
    lower, upper : float [0 ... 100]
        Long when the index rises through `lower`, flat when it falls through `upper`.

    Returns
    -------
    array of float64, (sessions,)

    Raises
    ------
    ValueError
        If not ``period > 1`` and ``0 < lower < upper < 100``.

    Examples
    --------
    >>> signal(pd.DataFrame({"close": [5.0, 4.0, 3.0, 4.0, 5.0, 6.0, 3.0]}), period=2).tolist()
    [nan, nan, nan, 1.0, nan, nan, 0.0]
    """
    if not (period > 1 and 0 < lower < upper < 100):  # noqa: PLR2004 - the index runs from 0 to 100
        raise ValueError(f"rsi needs period > 1 and 0 < lower < upper < 100, got {period=}, {lower=}, {upper=}")
    index = talib.RSI(bars["close"].to_numpy(), period)
    before = np.concatenate([[np.nan], index])[:-1]
    rises = (before <= lower) & (index > lower)
    falls = (before >= upper) & (index < upper)
    return np.select([rises, falls], [1.0, 0.0], np.nan)
