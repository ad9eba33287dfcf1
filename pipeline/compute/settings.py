"""Dask's settings while we use it: ours, whatever the environment and the user's own files say."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dask

SETTINGS = {
    "distributed.admin.system-monitor.gil.enabled": False,  # gilknocker can abort the interpreter at its end
    "distributed.scheduler.no-workers-timeout": "60s",  # Dask waits for ever (distributed#3558)
    "distributed.scheduler.worker-ttl": "60s",  # a frozen worker is given up; Dask takes five minutes
    "distributed.worker.multiprocessing-method": "forkserver",  # warm, where Dask spawns
}


@contextmanager
def own_settings() -> Iterator[None]:
    """Have Dask heed our settings alone: no DASK_* variable and no user's dask.yaml changes a result."""
    before = copy.deepcopy(dask.config.config)
    strays = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("DASK_")}
    dask.config.refresh(paths=[], env={})
    try:
        with dask.config.set(SETTINGS):
            yield
    finally:
        os.environ.update(strays)
        restored = dask.config.merge(*dask.config.defaults, before)  # some defaults came meanwhile, with imports
        dask.config.config.clear()
        dask.config.config.update(restored)
