"""The trading loop tried on nothing, so that its machine code is loaded by the time it is needed (0.3 s)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from pipeline.bars.periods import PeriodBars
from pipeline.options import TradingOptions
from pipeline.schema import SIGNALS
from pipeline.trading.compiled import is_warm
from pipeline.trading.loop import trade_periods
from pipeline.trading.rules import columns_for


def rehearse(options: TradingOptions) -> None:
    """Trade one bar of nothing."""
    day = np.array(["2020-01-02"], "datetime64[D]")
    columns = {name: np.ones(1) for name in columns_for(options)}
    bar = PeriodBars.of_days(day, np.array([0, 1]), np.zeros(1, np.int32), columns)
    trade_periods([bar], ["rehearsal"], np.ones(1), SIGNALS, options)


@contextmanager
def rehearsed(options: TradingOptions) -> Iterator[None]:
    """Rehearse beside the block, while other processes compute; what fails here fails in earnest, too, and is told.

    Without effect as long as the loop is not compiled: that takes longer, and is announced where it happens.
    """
    if not is_warm():
        yield
        return
    with ThreadPoolExecutor(1, "rehearsal") as beside:
        beside.submit(rehearse, options)
        yield
