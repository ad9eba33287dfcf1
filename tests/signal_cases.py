"""What the tests of strategies, signals and schedulers share: small markets, and a way to run a strategy over them."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd

from pipeline.bars.blocks import blocks_of
from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.compute.scheduler import Scheduler
from pipeline.events import Cost, ignore
from pipeline.modes import Kind
from pipeline.signals import build
from pipeline.signals.build import by_session
from pipeline.signals.strategy import load_strategy
from stores import make_store

workers.PRELOADED = (*workers.PRELOADED, "distributed.nanny")  # the many clusters of the tests start warm, too
KINDS = [Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES, Kind.DISTRIBUTED]
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
LENGTHS = (250, 250, 3, 180, 1, 250)  # a symbol of one bar, and one that never warms up
COST = Cost(
    worker="far/1/a",
    began=100.0,
    wall=2.0,
    read=0.5,
    cpu=1.5,
    queued=0.25,
    rows=1_000,
    loaded=16_000,
    read_bytes=9_000,
    knocks=10,
    taken=4,
    memory_mb=100.0,
    peak_mb=120.0,
)


def bars_of(symbol: str, close, first: str = "2020-01-01") -> pd.DataFrame:
    """Return bars on business days from `first` whose other prices follow from the closes."""
    close = np.asarray(close, float)
    sessions = pd.bdate_range(first, periods=len(close)).astype("datetime64[ms]")
    return pd.DataFrame(
        {
            "symbol": symbol,
            "session": sessions,
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": 1000.0,
        }
    )


def market(seed: int = 1) -> pd.DataFrame:
    """Return random walks of `SYMBOLS`, of `LENGTHS` bars each."""
    random = np.random.default_rng(seed)
    walks = [100 * np.exp(np.cumsum(random.normal(0, 0.02, length))) for length in LENGTHS]
    return pd.concat([bars_of(*pair) for pair in zip(SYMBOLS, walks, strict=True)], ignore_index=True)


def blocks_in(folder: Path, frame: pd.DataFrame, blocks: int) -> list:
    """Lay `frame` out in a store of so many blocks and return them."""
    return blocks_of(make_store(folder, frame, blocks=blocks), sorted(frame["symbol"].unique()))


def write_strategy(folder: Path, name: str, text: str) -> str:
    """Write a strategy file and return its path, as a config would name it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text(dedent(text).lstrip())
    return str(file)


def choice(kind: Kind, count: int = 2) -> Choice:
    """Return the choice of so many workers of a kind."""
    return Choice(kind, count, "the test says so")


def signals_of(name: str, blocks: list, scheduler: Scheduler, listener=ignore, *, span=(None, None), **params):
    """Run a strategy over blocks on a scheduler, the way a run does."""
    strategy = load_strategy(name, params)
    return by_session(build.signals(blocks, strategy, span, scheduler, listener))
