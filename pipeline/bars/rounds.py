"""Rounds of tasks on a pool of threads, and the sentences that an ingest tells on the way."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed
from dask.threaded import get as threaded_get

from pipeline.events import Listener, Note, Stage, StageProgress, StageStarted

Given = TypeVar("Given")
Made = TypeVar("Made")


class Notes:
    """Sentences for the listener and for the result."""

    def __init__(self, listener: Listener) -> None:
        """Have told nothing yet."""
        self.listener = listener
        self.texts: list[str] = []

    def tell(self, text: str, kind: Callable[[str], Any] = Note) -> None:
        """Tell one sentence."""
        self.texts.append(text)
        self.listener(kind(text))

    def tell_all(self, texts: Iterable[str], kind: Callable[[str], Any] = Note) -> None:
        """Tell several."""
        for text in texts:
            self.tell(text, kind)


@dataclass(frozen=True)
class Round:
    """Runs tasks on the pool."""

    pool: ThreadPoolExecutor
    listener: Listener
    notes: Notes

    def run(self, function: Callable[[Given], Made], given: Sequence[Given], unit: str) -> list[Made]:
        """Return ``function`` of each of the `given`, in order, telling the listener of each that is done."""
        self.listener(StageStarted(Stage.INGEST, len(given), unit))
        done = count(1)

        def tell(*_: Any) -> None:
            self.listener(StageProgress(Stage.INGEST, next(done)))

        tasks = [delayed(function, pure=False, traverse=False)(one) for one in given]
        with Callback(posttask=tell):
            return list(compute(*tasks, scheduler=threaded_get, pool=self.pool, traverse=False))
