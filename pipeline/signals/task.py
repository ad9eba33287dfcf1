"""A task as workers see it: ask the strategy, and say what that cost and what the strategy logged.

Workers import this module and no more of ours than it needs, so that they start soon: no Dask DataFrame, no pydantic.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pandas as pd

from pipeline.compute import gil
from pipeline.compute.meter import METER, Meter
from pipeline.errors import PipelineError
from pipeline.events import Cost
from pipeline.modes import OnError
from pipeline.signals.partition import Span, signals_of_block
from pipeline.signals.source import load
from pipeline.signals.strategy import Strategy
from pipeline.words import counted

MOST_LINES = 100  # of a strategy's log that a task brings home
LONGEST = 500  # characters of such a line
COST, LOG = "cost", "log"  # names in the attrs of a frame, which travel with it


class Line(NamedTuple):
    """Something a strategy logged."""

    level: str
    text: str


def measured_signals(
    frame: pd.DataFrame,
    *,
    strategy: Strategy,
    known: Sequence[str],
    span: Span,
    on_error: OnError = OnError.FAIL,
) -> pd.DataFrame | PipelineError:
    """Return what `signals_of_block` does; the attrs of the frame hold the task's `Cost` and the strategy's log."""
    meter = frame.attrs.pop(METER, None) or Meter()  # pandas would copy it with every column
    with gil.watched(), overheard(strategy) as lines:
        answer = signals_of_block(frame, strategy=strategy, known=known, span=span, on_error=on_error)
    if isinstance(answer, pd.DataFrame):
        answer.attrs.update({COST: meter.cost(), LOG: lines})
    return answer


def cost_of(answer: pd.DataFrame) -> Cost:
    """Return what a task cost, from its answer."""
    return answer.attrs[COST]


def log_of(answer: pd.DataFrame) -> list[Line]:
    """Return what the strategy logged in a task, from its answer."""
    return answer.attrs[LOG]


@contextmanager
def overheard(strategy: Strategy) -> Iterator[list[Line]]:
    """Yield a list that takes what this thread logs, from INFO on where the strategy does not choose otherwise."""
    own = logging.getLogger(_module_name(strategy))
    if own.level == logging.NOTSET:
        own.setLevel(logging.INFO)
    listener = _Overhearing()
    logging.getLogger().addHandler(listener)
    try:
        yield listener.lines
    finally:
        logging.getLogger().removeHandler(listener)
        if listener.missed:
            listener.lines.append(Line("WARNING", f"{counted(listener.missed, 'more line')} not kept"))


def _module_name(strategy: Strategy) -> str:
    try:
        return load(strategy.code).__name__
    except Exception:  # noqa: BLE001 - asking the strategy will fail the same way, and tell where
        return strategy.name


class _Overhearing(logging.Handler):
    """Keep the records of the thread that made this, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.lines: list[Line] = []
        self.missed = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self.thread:
            return
        if len(self.lines) < MOST_LINES:
            self.lines.append(Line(record.levelname, self.format(record)[:LONGEST]))
        else:
            self.missed += 1
