"""A Dask cluster on this machine, reachable from this machine only."""

import errno
import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import LocalCluster

from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.compute.site import EVERYWHERE, HOST, Site
from pipeline.modes import Kind

ANY_PORT = 0
SILENT = logging.CRITICAL + 1  # of a connection that is cut while a run is ended, Dask would print a traceback
TRIED = 100  # ports after the wished one


@contextmanager
def local_cluster(choice: Choice, site: Site, *, dashboard: bool) -> Iterator[tuple[Any, str]]:
    """Start a cluster shaped like `choice`; yield it with the link of its dashboard.

    Parameters
    ----------
    choice : Choice
        1 x N (processes x threads) for threads, 1 x 1 for synchronous, N x 1 for the others.
    site : Site
        Says where its dashboard listens and how its connections are encrypted.
    dashboard : bool
        Put the dashboard on the site's port, or the next free one; otherwise on any, where nobody looks for it.
    """
    port = site.scheduler_port
    processes = choice.kind in {Kind.PROCESSES, Kind.DISTRIBUTED}
    page = free_port(site.port, EVERYWHERE if site.expose else HOST) if dashboard else ANY_PORT
    host = EVERYWHERE if dashboard and site.expose else HOST
    security = site.security()
    wired = "tls://" if security else "tcp://"
    if processes:
        workers.prestart()
    workers.hush()
    with (
        workers.without_main(),  # also for workers that are started again
        dask.config.set(site.web_settings(page) if dashboard else {}),
        _bound(
            free_port(port) if port else ANY_PORT,
            n_workers=choice.workers if processes else 1,
            threads_per_worker=1 if processes else choice.workers,
            processes=processes,
            host=HOST if processes or port else None,
            dashboard_address=f"{host}:{page}",
            worker_dashboard_address=f"{HOST}:{ANY_PORT}",
            security=security,
            protocol=wired if processes or port else "inproc://",
            silence_logs=SILENT,
            **({"preload": [workers.__name__]} if processes else {"metrics": workers.metrics()}),
        ) as cluster,
        _left_at_once(cluster, in_process=not processes),
    ):
        yield cluster, link_of(cluster, site, dashboard=dashboard)


@contextmanager
def _left_at_once(cluster: LocalCluster, *, in_process: bool) -> Iterator[None]:
    """After an error, close workers that are threads of this process without waiting for tasks that may hang in them.

    Nothing ends a thread, and whoever interrupts a run is not to wait for one; those of Dask end with the process.
    """
    try:
        yield
    except BaseException:
        if in_process:
            cluster.sync(_close_now, cluster.workers.values())
        raise


async def _close_now(several: Iterable[Any]) -> None:
    for worker in list(several):
        await worker.close(executor_wait=False)


def _bound(port: int, **arguments: Any) -> LocalCluster:
    """Start a cluster whose scheduler listens on `port`, or the next one that nobody takes in the meantime."""
    try:
        return LocalCluster(scheduler_port=port, **arguments)
    except RuntimeError as error:
        if port == ANY_PORT or getattr(first_cause(error), "errno", None) != errno.EADDRINUSE:
            raise
    return _bound(free_port(port + 1), **arguments)


def first_cause(error: BaseException) -> BaseException:
    """Return what an error came of in the end."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def link_of(cluster: Any, site: Site, *, dashboard: bool) -> str:
    """Return the link of a cluster's dashboard, as a browser can use it."""
    return _link(cluster.scheduler.http_server.port, site, dashboard=dashboard)


def expected_link(site: Site) -> str:
    """Return the link that the dashboard of a cluster started now would have."""
    return _link(free_port(site.port, EVERYWHERE if site.expose else HOST), site, dashboard=True)


def _link(port: int, site: Site, *, dashboard: bool) -> str:
    scheme = "https" if dashboard and site.certificate else "http"
    host = socket.getfqdn() if dashboard and site.expose else HOST
    return f"{scheme}://{host}:{port}/status"


def free_port(first: int, host: str = HOST) -> int:
    """Return the first free port from `first` on, or 0 for any if there is none near it."""
    return next((port for port in range(first, first + TRIED) if _is_free(port, host)), ANY_PORT)


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError):
            return False
        return True
