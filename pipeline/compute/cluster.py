"""Tasks computed on a Dask cluster, whoever started it and wherever it is."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

from dask.delayed import Delayed
from distributed import Client, Future, KilledWorker, as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoWorkerError

from pipeline.compute.tasks import packed
from pipeline.compute.watching import Watch, watched
from pipeline.errors import TemporaryError
from pipeline.events import Listener, ignore

CANCELLED = (CancelledError, CommClosedError, NoWorkerError, TimeoutError)
CUT_OFF = "scheduler-connection-lost"  # why Dask cancels what a scheduler that is gone was asked for
WAKE = 0.1  # seconds between two looks at what has happened


def compute_on(
    client: Client,
    tasks: Sequence[Delayed],
    arrive: Callable[[Any, Any], None],
    patience: float,
    *,
    where: str = "scheduler distributed",
    listener: Listener = ignore,
) -> None:
    """Compute independent tasks on a cluster, telling `arrive` key and result of each as it comes in.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    tasks : sequence of Delayed
        Pure ones: what a worker that dies was at is computed again.
    arrive : function of (key, result)
        Told each result.
    patience : float
        Seconds for which the cluster may be without workers or without an answer.
    where : str
        What messages begin with.
    listener : Listener
        Told of workers that die, and of long waits.

    Raises
    ------
    TemporaryError
        A task cost four workers their lives, the cluster is gone, or it is without workers for `patience` seconds.
    """
    graph, was = packed(tasks)
    address = client.scheduler.address
    watch = Watch(client, where, waiting := dict.fromkeys(graph), patience)
    with watched(watch):
        futures = client.get(graph, list(graph), sync=False)
        try:
            for future, result in _finished(client, futures, watch, listener):
                waiting.pop(future.key, None)
                arrive(was[future.key], result)
        except KilledWorker as error:
            raise TemporaryError(f"{where}: {_deadly(error)}") from None
        except CANCELLED as error:
            raise TemporaryError(f"{where}: {_cancelled(error, address)}") from None
        except ImportError as error:
            raise TemporaryError(
                f"{where}: a worker has no {error.name or error}; a worker needs the packages of the pipeline. It came "
                f"too late to be checked: install requirements.lock there."
            ) from error
        finally:
            for future in futures:
                future.release()  # what still waits is not computed
            watch.tell(listener)


def _finished(
    client: Client, futures: Sequence[Future], watch: Watch, listener: Listener
) -> Iterator[tuple[Future, Any]]:
    """Yield futures with their results as they finish, unless trouble comes first."""
    arriving = as_completed(futures, loop=client.loop, with_results=True)
    while arriving.count():
        watch.tell(listener)
        if arriving.has_ready():
            future, result = next(arriving)
            if isinstance(result, CancelledError):  # Dask yields it as if it were a result
                raise result
            yield future, result
        elif watch.trouble:
            raise TemporaryError(f"{watch.where}: {watch.trouble}")
        else:
            with arriving.thread_condition:
                arriving.thread_condition.wait(WAKE)


def _deadly(error: KilledWorker) -> str:
    key: Any = error.task
    symbols = f" ({key[-1]})" if isinstance(key, tuple) and key[-1] else ""
    return (
        f"a task{symbols} cost {error.allowed_failures + 1} workers their lives; workers live until their tasks are "
        f"done. Often memory: give it more, or fewer scheduler.workers; or the strategy kills its own process."
    )


def _cancelled(error: BaseException, address: str) -> str:
    why = getattr(error, "reason", None)
    if isinstance(error, NoWorkerError):
        return "no worker for too long; tasks need one. Start workers, and then the run again."
    if isinstance(error, CancelledError) and why != CUT_OFF:
        return (
            f"the tasks of this run were cancelled ({why or 'no reason told'}); a run needs all of them. Somebody may "
            f"have restarted the cluster: run it again."
        )
    return (
        f"the scheduler at {address} is gone, or the network to it; a run needs it until its tasks are done. Start it "
        f"again, and then the run."
    )
