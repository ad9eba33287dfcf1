"""Tasks computed on a Dask cluster, whoever started it and wherever it is."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from dask.delayed import Delayed
from distributed import Client, Future, KilledWorker, as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoWorkerError

from pipeline.compute.tasks import packed
from pipeline.errors import TemporaryError

LOST = (CancelledError, CommClosedError, KilledWorker, NoWorkerError, TimeoutError)
LOOK = 1.0  # seconds between two looks at the cluster
WAKE = 0.1  # seconds between two looks at what the last one found


def compute_on(client: Client, tasks: Sequence[Delayed], arrive: Callable[[Any, Any], None], patience: float) -> None:
    """Compute independent tasks on a cluster, telling `arrive` key and result of each as it comes in.

    Raises
    ------
    TemporaryError
        A task cost four workers their lives, the cluster is gone, or it is without workers for `patience` seconds.
    """
    graph, was = packed(tasks)
    futures = client.get(graph, list(graph), sync=False)
    try:
        with _looked_after(client, patience) as trouble:
            for future, result in _finished(client, futures, trouble):
                arrive(was[future.key], result)
    except LOST as error:
        raise TemporaryError(
            f"scheduler distributed: {type(error).__name__}: {error}; workers live until their tasks are done. Often "
            f"memory: give it more, or fewer scheduler.workers."
        ) from None
    except ImportError as error:
        raise TemporaryError(
            f"scheduler distributed: a worker has no {error.name or error}; a worker needs the packages of the "
            f"pipeline. It came too late to be checked: install requirements.lock there."
        ) from error
    finally:
        for future in futures:
            future.release()  # what still waits is not computed


def _finished(client: Client, futures: Sequence[Future], trouble: list[str]) -> Iterator[tuple[Future, Any]]:
    """Yield futures with their results as they finish, unless trouble comes first."""
    arriving = as_completed(futures, loop=client.loop, with_results=True)
    while arriving.count():
        if arriving.has_ready():
            future, result = next(arriving)
            if isinstance(result, CancelledError):  # Dask yields it as if it were a result
                raise result
            yield future, result
        elif trouble:
            raise TemporaryError(f"scheduler distributed: {trouble[0]}")
        else:
            with arriving.thread_condition:
                arriving.thread_condition.wait(WAKE)


@contextmanager
def _looked_after(client: Client, patience: float) -> Iterator[list[str]]:
    """Look at the cluster once a second; yield a list that will say what is wrong with it.

    Dask's own ``no-workers-timeout`` belongs to the scheduler, and is off in one that somebody else has started; and
    nothing of Dask notices a scheduler that is frozen.
    """
    trouble: list[str] = []
    loop: Any = client.loop
    looking = asyncio.run_coroutine_threadsafe(_look(client, patience, trouble), loop.asyncio_loop)
    try:
        yield trouble
    finally:
        looking.cancel()


async def _look(client: Client, patience: float, trouble: list[str]) -> None:
    well = time.monotonic()
    while time.monotonic() - well < patience:
        await asyncio.sleep(LOOK)
        try:
            found = await asyncio.wait_for(client.scheduler.identity(n_workers=0), patience)
        except TimeoutError:
            trouble.append(f"no answer for {patience:g} seconds; its scheduler hangs, or the network. Look after it.")
            return
        if found["n_workers"]:
            well = time.monotonic()
    trouble.append(f"no worker for {patience:g} seconds; tasks need one. Start workers, or raise scheduler.timeout.")
