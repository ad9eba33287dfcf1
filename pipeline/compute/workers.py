"""Warm worker processes: started early, pinned to one thread each, ended with their parent.

`prestart` belongs at the first line of the command line: the fork server it starts imports what workers need while
the parent imports the same. So this module imports nothing that takes time.
"""

import contextlib
import fcntl
import multiprocessing
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from types import ModuleType
from typing import Any

from pipeline.garbage import settle
from pipeline.hashing import pin_children

PRELOADED = (
    "pipeline.compute.preloading",
    "pipeline.compute.source",
    "pipeline.signals.task",
    "pipeline.bars.blocks",
    "pipeline.compute.transfer",
    "talib",
)
IMPORTS = 0.9  # seconds that the fork server takes to import them, on a machine of 2025
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


_server_began: float | None = None


def ready_in() -> float:
    """Return in how many seconds the fork server will have imported what workers need, about; 0 if it has."""
    began = time.monotonic() if _server_began is None else _server_began
    return max(0.0, IMPORTS - (time.monotonic() - began))


def prestart() -> None:
    """Start the fork server that workers come from; returns at once, and at once again if it runs already.

    One thread per worker and one seed of hashes for all: results do not depend on how many workers there are, and
    workers x threads = cores. Variables that are set already are left alone. MALLOC_TRIM_THRESHOLD_ is not set, as
    Dask's nannies do: it also ends glibc's adjusting of the size from which memory is mapped anew for every array,
    which made strategies of NumPy windows take 1.8 times the CPU seconds.
    """
    pin_children()
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()
    global _server_began  # noqa: PLW0603 - there is one fork server in a process
    _server_began = _server_began or time.monotonic()


def start_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of warm workers; they are forked when the first tasks come."""
    prestart()
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("forkserver"), initializer=prepare)


def submit(pool: Executor, *task: Any, **named: Any) -> Future[Any]:
    """Hand a task to a pool; a fork server that dies as it is asked for a worker is a worker that died.

    Raises
    ------
    BrokenProcessPool
        Take a fresh pool: `start_pool` starts a fresh fork server, too.
    """
    try:
        return pool.submit(*task, **named)
    except (EOFError, ConnectionError) as error:
        raise BrokenProcessPool(f"the fork server died: {type(error).__name__}: {error}") from error


def end_pool(pool: ProcessPoolExecutor, *, at_once: bool) -> None:
    """End a pool: after its tasks, or `at_once`, however long a task would still take."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - public only from Python 3.14 (kill_workers)
    pool.shutdown(wait=not at_once, cancel_futures=True)
    for process in processes:
        if at_once:
            process.kill()
        process.join()


def prepare() -> None:
    """Make a fresh process a worker: Ctrl-C is the parent's business, and it dies when the parent does."""
    import pyarrow as pa

    settle()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        die_with(parent.sentinel)


def dask_setup(worker: Any) -> None:
    """Make a worker process of a Dask cluster one of ours; the name is Dask's, which calls it in every one."""
    prepare()
    hush()
    worker.metrics.update(metrics())


def metrics() -> dict[str, Callable[[object], float]]:
    """Return what a Dask worker tells beside Dask's own: how contended its GIL is while a task is computed.

    Dask's own way needs gilknocker, which can abort the interpreter at its end (`pipeline.compute.gil`).
    """
    from pipeline.compute.gil import Contention

    return {"gil_contention": Contention()}


def hush() -> None:
    """Keep Dask from warning of what is no trouble, or what we refuse ourselves."""
    warnings.filterwarnings("ignore", message="timed out waiting on channel")  # a reading of the GIL, missed when busy
    warnings.filterwarnings("ignore", message="Port .* is already in use")  # another one is taken, and told
    warnings.filterwarnings("ignore", message="Mismatched versions found")  # refused by `shipping.check_versions`


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Hide the caller's script from processes that start in here.

    They need nothing of it, and without a ``__name__`` guard it would run again in each of them.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def die_with(pipe: int) -> None:
    """Have the kernel kill this process when the other end of `pipe` closes.

    A watching thread would not do: code that holds the GIL for ever would keep it from running. PR_SET_PDEATHSIG
    would not either: a forked worker's parent is the fork server.
    """
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)  # elsewhere SIGIO, which ends a process too
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    closed, _, _ = select.select([pipe], [], [], 0)
    if closed:
        os._exit(1)  # the parent died before we listened
