"""Long while the fast moving average is above the slow one, else flat.

Source: Brock, Lakonishok & LeBaron (1992), Journal of Finance 47(5), 1731-1764, variable-length moving average
rule, band 0 %; long side only. Averages that are equal but for the rounding of their sums are equal: not above.
"""

import numpy as np
import pandas as pd
import talib

COLUMNS = ("close",)
TIE = 1e-10  # fraction of the slow average, a millionth of a basis point; TA-Lib's running sums err by far less


def signal(bars: pd.DataFrame, *, fast: int = 10, slow: int = 30) -> np.ndarray:
    """Return the exposure wanted after each close: 1.0 long, 0.0 flat.

    Parameters
    ----------
    bars : DataFrame, (sessions, fields), one symbol, sessions ascending
        Reads `close` [currency per share, adjusted].
    fast, slow : int [sessions]
        Window lengths.

    Returns
    -------
    array of float64, (sessions,)
        NaN in the first ``slow - 1`` sessions: no average, no opinion.

    Raises
    ------
    ValueError
        If not ``1 < fast < slow``.

    Examples
    --------
    >>> signal(pd.DataFrame({"close": [1.0, 1.0, 1.0, 2.0, 3.0, 1.0, 1.0]}), fast=2, slow=3).tolist()
    [nan, nan, 0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if not 1 < fast < slow:
        raise ValueError(f"sma_cross needs 1 < fast < slow, got {fast=} and {slow=}")
    close = bars["close"].to_numpy()
    above = talib.SMA(close, slow)
    above *= 1 + TIE
    wanted = (talib.SMA(close, fast) > above).astype(np.float64)
    wanted[: slow - 1] = np.nan
    return wanted
