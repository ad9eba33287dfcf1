"""Worker processes: warm, pinned, and gone when their parent is."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from pipeline.compute import workers

ROOT = Path(__file__).resolve().parents[1]
PARENT = """
    import sys, time
    from pipeline.compute import workers
    workers.PRELOADED = ("pyarrow",)
    pool = workers.start_pool({workers})
    {work}
    try:
        print("ready", *pool._processes, flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        workers.end_pool(pool, at_once=True)
        print("ended")
"""
BUSY = "import os; tasks = [pool.submit(time.sleep, 100) for _ in range(2)]; time.sleep(0.5)"
STUCK = "import re; tasks = [pool.submit(re.match, '(a+)+$', 'a' * 60 + 'b') for _ in range(2)]; time.sleep(0.5)"
BEGUN = "pool.submit(abs, -1).result(); task = pool.submit(time.sleep, 100); time.sleep(0.5)"
IDLE = "print([pool.submit(abs, -1).result(), pool.submit(abs, -2).result()])"


@contextlib.contextmanager
def parent(work: str, workers: int = 2):
    """Run a script that starts a pool, wait for its workers, and yield it with them."""
    script = textwrap.dedent(PARENT).format(work=work, workers=workers)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=-1, stderr=-1, text=True) as process:
        try:
            line = next(line for line in process.stdout if line.startswith("ready"))
            yield process, [psutil.Process(int(pid)) for pid in line.split()[1:]]
        finally:
            process.kill()


def gone(processes, within: float) -> bool:
    _, left = psutil.wait_procs(processes, timeout=within)
    return not any(map(is_alive, left))


def is_alive(process) -> bool:
    """Tell whether a process runs; nobody may have asked yet what became of a dead one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("work", [BUSY, STUCK, IDLE], ids=["busy", "stuck in C code", "idle"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(work, number):
    """However the parent dies, whatever they are at: no worker outlives it by two seconds."""
    with parent(work) as (process, children):
        assert children
        process.send_signal(number)
        process.wait()

        assert gone(children, within=2)


def test_ctrl_c_is_the_parents_business():
    """Workers do not answer Ctrl-C with tracebacks; the parent ends them."""
    with parent(BEGUN, workers=1) as (process, children):
        assert all(map(is_alive, children))
        for each in children:
            with contextlib.suppress(psutil.NoSuchProcess):  # it should not die of that: stderr would tell
                each.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)

        assert gone(children, within=2)
        assert (out, err) == ("ended\n", "")


def test_ctrl_c_never_reaches_a_worker():
    """Not even one that has just been born, which would complain of it with a traceback."""
    workers.prestart()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:  # no initializer
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def test_a_pool_ends_at_once_when_told():
    """Ending at once does not wait for what the workers are at."""
    pool = workers.start_pool(2)
    pool.submit(time.sleep, 100)
    children = [psutil.Process(pid) for pid in pool._processes]
    began = time.monotonic()
    workers.end_pool(pool, at_once=True)

    assert time.monotonic() - began < 5
    assert gone(children, within=0)


def test_a_pool_ends_after_its_tasks_otherwise():
    """Ending in peace lets tasks finish."""
    pool = workers.start_pool(1)
    task = pool.submit(abs, -3)
    workers.end_pool(pool, at_once=False)

    assert task.result() == 3


def test_workers_have_one_thread_each():
    """Workers x threads = cores, in NumPy's libraries and in Arrow."""
    pool = workers.start_pool(1)
    variables = [pool.submit(os.getenv, name).result() for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]
    arrow = pool.submit(pa.cpu_count).result()
    workers.end_pool(pool, at_once=False)

    assert variables == ["1", "1"]
    assert arrow == 1


def test_workers_start_with_everything_imported():
    """A worker is a fork of a server that has imported what it needs, and no more than that."""
    script = """
        from pipeline.compute import workers
        pool = workers.start_pool(1)
        print(*pool.submit(eval, "__import__('sys').modules.keys() | set()").result())
        workers.end_pool(pool, at_once=False)
        """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, check=True)
    modules = set(ran.stdout.decode().split())

    assert {"pipeline.signals.task", "pipeline.bars.blocks", "dask.multiprocessing", "talib"} <= modules
    assert not {"dask.dataframe", "pydantic", "distributed", "bokeh"} & modules


def test_the_module_costs_nothing_to_import():
    """It is imported before anything else: it must not pull pandas in ahead of the fork server."""
    script = (
        "import sys, pipeline.compute.workers; print(sorted({'numpy', 'pandas', 'dask', 'pyarrow'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"
