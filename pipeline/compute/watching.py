"""What happens to a Dask cluster while it computes for us, and what Dask itself would not tell or not notice."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client

from pipeline.compute.arrivals import LOST
from pipeline.events import Event, Note, Warned

LOOK = 1.0  # seconds between two looks at the cluster
EVERYTHING = "all"  # Dask's topic of what happens to workers


class Watch:
    """What has become of a cluster since its tasks were handed out; written by the client's thread, read by ours.

    Parameters
    ----------
    client : distributed.Client
        Connected to it.
    where : str
        What messages begin with.
    waiting : collection of keys
        Of the tasks that have not come in; it shrinks as they do.
    patience : float
        Seconds for which the cluster may be without workers, without an answer, or without beginning a task of ours.
    """

    def __init__(self, client: Client, where: str, waiting: Collection[Hashable], patience: float) -> None:
        """Look at nothing yet."""
        self.client = client
        self.where = where
        self.waiting = waiting
        self.tasks = len(waiting)
        self.patience = patience
        self.trouble = ""  # why there is nothing to wait for
        self.news: deque[Event] = deque()
        self._asked_for = time.monotonic()
        self._told_again = patience
        self._left = self.tasks

    def tell(self, listener: Callable[[Event], None]) -> None:
        """Pass on what has happened since."""
        while self.news:
            listener(self.news.popleft())

    def hear(self, event: tuple[Any, Any]) -> None:
        """Take an event of the scheduler: of a worker's death that cost us something, there is something to tell."""
        _, told = event
        if not isinstance(told, dict) or told.get("action") != "remove-worker" or told.get("expected"):
            return
        was_at = {*told.get("processing-tasks", ()), *told.get("lost-computed-tasks", ())}
        if was_at.intersection(list(self.waiting)):
            text = LOST.format(where=self.where, left=len(self.waiting), tasks=self.tasks)
            self.news.append(Warned(text))

    async def look(self) -> None:
        """Look at the cluster once a second until there is trouble.

        Dask's own ``no-workers-timeout`` belongs to the scheduler, and is off in one that somebody else has started;
        nothing of Dask notices a scheduler that is frozen, or workers that are busy for ever with others' tasks.
        """
        well, patience = time.monotonic(), self.patience
        while time.monotonic() - well < patience:
            await asyncio.sleep(LOOK)
            try:
                found = await asyncio.wait_for(self.client.scheduler.identity(n_workers=0), patience)
            except TimeoutError:
                self.trouble = (
                    f"no answer for {patience:g} seconds; its scheduler hangs, or the network. Look after it."
                )
                return
            if found["n_workers"]:
                well = time.monotonic()
                await self._look_for_ours(found["n_workers"])
        self.trouble = f"no worker for {patience:g} seconds; tasks need one. Start workers, or raise scheduler.timeout."

    async def _look_for_ours(self, workers: int) -> None:
        """Tell, ever more rarely, that workers are there and none of them is at a task of ours."""
        left, now = len(self.waiting), time.monotonic()
        if left != self._left:
            self._left, self._asked_for, self._told_again = left, now, self.patience
        waited = now - self._asked_for
        if waited < self._told_again or await self._is_at_ours():
            return
        self._told_again = 2 * waited
        self.news.append(
            Note(
                f"{self.where}: no worker of {self.client.scheduler.address} has begun a task of this run for "
                f"{waited:.0f} s; all of them ({workers}) are busy with tasks of other runs, or hang in them. "
                f"docs/dashboard.md says how to free them"
            )
        )

    async def _is_at_ours(self) -> bool:
        """Ask the workers whether one of them computes for us; one that does not answer may."""
        try:
            asked = self.client.scheduler.call_stack(keys=list(self.waiting))
            return bool(await asyncio.wait_for(asked, self.patience))
        except (OSError, TimeoutError):
            return True


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Watch a cluster during the block."""
    client: Any = watch.client
    client.subscribe_topic(EVERYTHING, watch.hear)
    looking = asyncio.run_coroutine_threadsafe(watch.look(), client.loop.asyncio_loop)
    try:
        yield
    finally:
        looking.cancel()
        if client.status == "running":
            client.unsubscribe_topic(EVERYTHING)
