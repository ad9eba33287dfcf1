"""Long from the first bar to the last.

Source: the benchmark of every textbook; Malkiel (1973), A Random Walk Down Wall Street.
"""

import numpy as np
import pandas as pd

COLUMNS = ("close",)


def signal(bars: pd.DataFrame) -> np.ndarray:
    """Return the exposure wanted after each close: always 1.0.

    Parameters
    ----------
    bars : DataFrame, (sessions, fields), one symbol, sessions ascending
        Only its length is read.

    Returns
    -------
    array of float64, (sessions,)

    Examples
    --------
    >>> signal(pd.DataFrame({"close": [10.0, 11.0]})).tolist()
    [1.0, 1.0]
    """
    return np.ones(len(bars))
