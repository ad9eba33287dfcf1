"""A Dask cluster on this machine, reachable from this machine only."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dask.delayed import Delayed
from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoWorkerError

from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.errors import TemporaryError
from pipeline.modes import Kind

HOST = "127.0.0.1"
DASHBOARD_PORT = 8787
ANY_PORT = 0
LOST = (CommClosedError, FutureCancelledError, KilledWorker, NoWorkerError, TimeoutError)


@contextmanager
def start_cluster(choice: Choice, *, dashboard: bool) -> Iterator[tuple[Client, str]]:
    """Start a cluster shaped like `choice` and yield its client and the link of its dashboard.

    The dashboard listens on port 8787 if it is asked for and the port is free, else on any free one.
    """
    processes = choice.kind in {Kind.PROCESSES, Kind.DISTRIBUTED}
    port = DASHBOARD_PORT if dashboard and _is_free(DASHBOARD_PORT) else ANY_PORT
    workers.prestart()
    workers.hush()
    with (
        workers.without_main(),  # also for workers that are started again
        LocalCluster(
            n_workers=choice.workers if processes else 1,
            threads_per_worker=1 if processes else choice.workers,
            processes=processes,
            host=HOST if processes else None,
            dashboard_address=f"{HOST}:{port}",
            worker_dashboard_address=f"{HOST}:{ANY_PORT}",
            silence_logs=logging.CRITICAL,
            preload=[workers.__name__] if processes else [],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client, f"http://{HOST}:{cluster.scheduler.http_server.port}/status"


def compute_on(client: Client, tasks: Sequence[Delayed], arrive: Callable[[Any, Any], None]) -> None:
    """Compute tasks on a cluster, telling `arrive` key and result of each as it comes in.

    Raises
    ------
    TemporaryError
        A task cost four workers their lives, or the cluster is gone.
    """
    futures = client.compute(list(tasks), optimize_graph=False)
    try:
        for future, result in as_completed(futures, loop=client.loop, with_results=True):
            arrive(future.key, result)
    except LOST as error:
        raise TemporaryError(
            f"scheduler distributed: {type(error).__name__}: {error}; workers live until their tasks are done. Often "
            f"memory: give it more, or fewer scheduler.workers."
        ) from None
    finally:
        for future in futures:
            future.release()  # what still waits is not computed


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
