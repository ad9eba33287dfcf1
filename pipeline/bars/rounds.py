"""Rounds of tasks on a pool of threads, and the sentences that an ingest tells on the way."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


def _one(_: Any) -> int:
    return 1


@dataclass(frozen=True)
class Round:
    """Runs tasks on the pool."""

    pool: ThreadPoolExecutor
    listener: Listener
    notes: Notes

    def run(
        self,
        function: Callable[[Given], Made],
        given: Sequence[Given],
        unit: str,
        amount: Callable[[Given], int] = _one,
    ) -> list[Made]:
        """Return ``function`` of each of the `given`, in order, telling the listener of the `amount` that is done."""
        self.listener(StageStarted(Stage.INGEST, sum(map(amount, given)), unit))
        done = 0

        def tell(_: Any, result: tuple[int, Made], *__: Any) -> None:
            nonlocal done
            done += result[0]
            self.listener(StageProgress(Stage.INGEST, done))

        def work(place: int) -> tuple[int, Made]:  # not what is given itself: Dask would look for tasks in it
            return amount(given[place]), function(given[place])

        tasks = [delayed(work, pure=False, traverse=False)(place) for place in range(len(given))]
        with Callback(posttask=tell):
            answers = compute(*tasks, scheduler=threaded_get, pool=self.pool, traverse=False)
        return [made for _, made in answers]
