"""What stages tell a listener while they work; the stages know nothing of terminals, logs or pages.

A listener is any function of one event. ``ignore`` is the listener of those who do not listen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from threading import Timer
from time import perf_counter
from typing import Any


class Stage(StrEnum):
    """The stages of a run, in order."""

    INGEST = "ingest"
    OPEN = "open"
    CHOOSE = "choose"
    START = "start"
    SIGNALS = "signals"
    TRADING = "trading"
    RESULTS = "results"
    REPORT = "report"


@dataclass(frozen=True)
class AttemptBegun:
    """A run begins; until it is published its files are in `folder`."""

    folder: str


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `total` is how many of `unit`, a noun in the singular, it will go through, 0 if unknown."""

    stage: Stage
    total: int = 0
    unit: str = ""


@dataclass(frozen=True)
class StageProgress:
    """`done` of the stage's total are finished."""

    stage: Stage
    done: int


@dataclass(frozen=True)
class AccountMarked:
    """The account at the closes of some more sessions."""

    sessions: Any  # array of datetime64[D], those since the event before
    equity: Any  # array of float64, currency, one per session
    filled: int  # orders that ended as filled so far
    refused: int  # orders that ended as partial or rejected so far


@dataclass(frozen=True)
class PartitionsStarted:
    """Signals are asked for; each of `partitions` is named by its symbols."""

    partitions: tuple[str, ...]


@dataclass(frozen=True)
class SymbolsProbed:
    """The strategy is asked about `symbols`, "AAPL..AMZN", before the others, to see what it takes."""

    symbols: str


@dataclass(frozen=True)
class SymbolSkipped:
    """A strategy failed on a symbol, and the run goes on without its signals."""

    symbol: str
    text: str


@dataclass(frozen=True)
class StageFinished:
    """A stage is over after `seconds` of wall time."""

    stage: Stage
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What the signals of one partition cost where they were computed."""

    worker: str  # process and thread, "4711" or "4711/strategy_0"; with its host where that is another one
    began: float  # seconds since the epoch
    wall: float  # seconds, the read included
    read: float  # seconds of it that reading the bars took
    cpu: float  # seconds of its thread
    queued: float  # seconds for which its thread waited for a core that others had
    rows: int  # bars
    loaded: int  # bytes of those bars in memory: what would have travelled, had the bars been sent
    read_bytes: int  # of files; 0 where the kernel does not tell
    knocks: int  # how often somebody asked for the GIL meanwhile, a hundred times a second ...
    taken: int  # ... and how often it was taken
    memory_mb: float  # resident memory of its process when it was done, 2**20 bytes
    peak_mb: float  # the most it ever was


@dataclass(frozen=True)
class PartitionFinished:
    """The signals of one partition are there."""

    symbols: str  # "AAPL..AMZN"
    count: int  # how many symbols
    cost: Cost


@dataclass(frozen=True)
class PartitionFailed:
    """The strategy failed in one partition, which ends the run once the partitions before it are known."""

    symbols: str  # "AAPL..AMZN"


@dataclass(frozen=True)
class Logged:
    """Something a strategy wrote to its log, wherever it ran."""

    symbols: str  # of the partition it was at
    level: str  # INFO, WARNING, ... as Python's logging names it
    text: str


@dataclass(frozen=True)
class Note:
    """A sentence worth telling: what was decided, and why."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A sentence the user must see: something was refused, clipped or doubtful."""

    text: str


@dataclass(frozen=True)
class Published:
    """The run directory is there, whole."""

    state: str  # committed | degraded
    path: str
    filled: int  # orders that ended as filled
    refused: int  # orders that ended as partial or rejected


Event = (
    AttemptBegun
    | StageStarted
    | StageProgress
    | AccountMarked
    | PartitionsStarted
    | PartitionFinished
    | PartitionFailed
    | SymbolsProbed
    | Logged
    | SymbolSkipped
    | StageFinished
    | Note
    | Warned
    | Published
)
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Hear nothing."""


@contextmanager
def stage(listener: Listener, name: Stage, *, total: int = 0, unit: str = "") -> Iterator[None]:
    """Tell `listener` that a stage starts, and how long it took if it ends well."""
    listener(StageStarted(name, total, unit))
    began = perf_counter()
    yield
    listener(StageFinished(name, perf_counter() - began))


@contextmanager
def noted_if_slow(listener: Listener, text: str, after: float = 2.0) -> Iterator[None]:
    """Tell `listener` a note, from another thread, if the block takes longer than `after` seconds."""

    def tell() -> None:
        with suppress(Exception):  # whatever it is, the block goes on and meets it too
            listener(Note(text))

    timer = Timer(after, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
