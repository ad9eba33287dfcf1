"""One scheduler for a run: its kinds, its retry, its manners."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from multiprocessing import forkserver
from pathlib import Path

import dask
import distributed
import psutil
import pytest
from dask import delayed

from pipeline.compute import local
from pipeline.compute.local import free_port
from pipeline.compute.scheduler import kept, start
from pipeline.compute.settings import SETTINGS
from pipeline.compute.site import Site
from pipeline.compute.workers import prestart
from pipeline.errors import TemporaryError
from pipeline.events import Note, Warned
from pipeline.modes import Kind
from signal_cases import KINDS, choice

ROOT = Path(__file__).resolve().parents[1]


def double(number):
    return 2 * number


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def freeze_once(marker):
    """Stop this process, the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        return "thawed"
    return "alive"


def die_once(marker):
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def noted(file):
    with Path(file).open("a") as written:
        written.write(".")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


RELEASED = threading.Event()


def hang():
    RELEASED.wait(60)


def settings():
    return dask.config.get("scheduler", None), dask.config.get("chunksize", None), os.environ.get("OMP_NUM_THREADS")


@pytest.fixture
def tasks():
    return [delayed(double)(number) for number in range(20)]


@pytest.mark.parametrize("kind", [Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES])
def test_results_come_in_the_order_of_the_tasks(kind, tasks):
    """Every kind answers alike and tells what it has done, as it is done."""
    seen = {}
    with start(choice(kind)) as scheduler:
        results = scheduler.compute(tasks, seen=lambda place, result: seen.update({place: result}))

    assert results == [2 * number for number in range(20)]
    assert seen == dict(enumerate(results))


@pytest.mark.parametrize(
    ("kind", "processes", "threads"),
    [(Kind.SYNCHRONOUS, 1, 1), (Kind.THREADS, 1, 3), (Kind.PROCESSES, 3, 1), (Kind.DISTRIBUTED, 3, 1)],
)
def test_a_cluster_has_the_shape_of_its_kind(kind, processes, threads, tasks):
    """1 x 1, 1 x N or N x 1, so that its report tells of the same run; all of it listens to this machine only."""
    seen = []
    with start(choice(kind, 1 if kind is Kind.SYNCHRONOUS else 3), clustered=True) as scheduler:
        results = scheduler.compute(tasks, seen=lambda place, _: seen.append(place))
        workers = scheduler.client.scheduler_info(n_workers=-1)["workers"].values()
        inside = scheduler.client.scheduler.address.startswith("inproc")
        everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
        ports = [each for process in everyone for each in process.net_connections("inet") if each.status == "LISTEN"]
        page = urllib.request.urlopen(scheduler.link, timeout=10).status

    assert results == [2 * number for number in range(20)]
    assert sorted(seen) == list(range(20))
    assert [worker["nthreads"] for worker in workers] == [threads] * processes
    assert inside == (kind in {Kind.SYNCHRONOUS, Kind.THREADS})
    assert page == 200
    assert ports
    assert {port.laddr.ip for port in ports} <= {"127.0.0.1", "::1"}


def test_an_equal_task_counts_each_time_it_is_asked():
    """Two tasks of one key are computed once and answered twice."""
    task = delayed(double)(4, dask_key_name="same")
    with start(choice(Kind.THREADS)) as scheduler:
        assert scheduler.compute([task, task]) == [8, 8]


def test_four_tasks_keep_two_workers_busy():
    """Tasks are handed out one at a time; Dask's own six at a time leave a worker idle."""
    with start(choice(Kind.PROCESSES)) as scheduler:
        pids = scheduler.compute([delayed(pid_after)(0.2, dask_key_name=f"t{number}") for number in range(4)])

    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_one_pool_serves_every_stage():
    """Workers are started once a run."""
    with start(choice(Kind.PROCESSES, 1)) as scheduler:
        first, second = (scheduler.compute([delayed(pid_after)(0, dask_key_name=name)]) for name in "ab")

    assert first == second


@pytest.mark.parametrize("kind", [Kind.PROCESSES, Kind.DISTRIBUTED])
def test_many_runs_share_warm_workers_until_the_end(kind):
    """The second run computes where the first did, and nothing is left when the last is over."""
    with kept() as start_or_take:
        seen = []
        for number in range(2):
            with start_or_take(choice(kind, 1)) as scheduler:
                seen += scheduler.compute([delayed(pid_after)(0.0, dask_key_name=f"pid-{number}")])
        assert psutil.pid_exists(seen[0])

    assert seen[0] == seen[1]
    assert not psutil.pid_exists(seen[0])


def test_a_run_that_needs_fewer_workers_takes_the_pool_that_is_there():
    """One pool serves the runs of a batch, and no run uses more of it than it was given."""
    with kept() as start_or_take:
        with start_or_take(choice(Kind.PROCESSES, 2)) as scheduler:
            both = scheduler.compute([delayed(pid_after)(0.2, dask_key_name=f"a{number}") for number in range(4)])
        with start_or_take(choice(Kind.PROCESSES, 1)) as scheduler:
            began = time.monotonic()
            again = scheduler.compute([delayed(pid_after)(0.2, dask_key_name=f"b{number}") for number in range(3)])
            took = time.monotonic() - began
        assert start_or_take.warm == {Kind.PROCESSES}

    assert set(again) <= set(both)
    assert took >= 0.6


def test_workers_of_a_failed_run_are_not_taken_by_the_next(tasks):
    """A task of a run that failed may hang, so its workers end with it and the next run gets fresh ones."""
    with kept() as start_or_take:
        with pytest.raises(TemporaryError), start_or_take(choice(Kind.PROCESSES, 1)) as scheduler:
            scheduler.compute([delayed(die)()])
        assert not [child for child in psutil.Process().children(recursive=True) if is_worker(child)]
        with start_or_take(choice(Kind.PROCESSES, 1)) as scheduler:
            assert scheduler.compute(tasks) == [2 * number for number in range(20)]


def test_a_worker_that_dies_costs_a_retry(tmp_path, tasks):
    """One killed worker: a fresh pool goes on, the run too, and the user is told."""
    told = []
    with start(choice(Kind.PROCESSES), listener=told.append) as scheduler:
        results = scheduler.compute([*tasks, delayed(die_once)(str(tmp_path / "died"))])
        later = scheduler.compute(tasks)

    assert results == [*later, "alive"]
    assert [type(event) for event in told] == [Warned]
    assert "a worker died" in told[0].text


def test_a_fork_server_that_dies_costs_a_retry(tasks):
    """Killed as it is asked for a worker, before it answers: the same as a killed worker."""
    told = []
    prestart()
    server = psutil.Process(forkserver._forkserver._forkserver_pid)
    server.suspend()  # it takes the question and does not answer
    threading.Timer(0.5, server.kill).start()
    with start(choice(Kind.PROCESSES), listener=told.append) as scheduler:
        results = scheduler.compute(tasks)

    assert results == [2 * number for number in range(20)]
    assert [type(event) for event in told] == [Warned]
    assert "a worker died" in told[0].text


def test_who_uses_a_warm_pool_is_told_of_its_losses(tmp_path, tasks):
    """In a batch it is the run at hand that hears of a dead worker, not the one that started the pool."""
    first, second = [], []
    with kept() as start_or_take:
        with start_or_take(choice(Kind.PROCESSES), listener=first.append) as scheduler:
            scheduler.compute(tasks)
        with start_or_take(choice(Kind.PROCESSES), listener=second.append) as scheduler:
            scheduler.compute([delayed(die_once)(str(tmp_path / "died"))])

    assert (len(first), len(second)) == (0, 1)


def test_a_worker_that_dies_costs_what_it_was_at(tmp_path):
    """What had arrived by then is neither computed nor shown again."""
    counted = [delayed(noted)(str(tmp_path / f"seen-{number}"), dask_key_name=f"a{number}") for number in range(6)]
    seen = []
    with start(choice(Kind.PROCESSES, 1)) as scheduler:
        scheduler.compute(
            [*counted, delayed(die_once)(str(tmp_path / "died"), dask_key_name="0")],
            seen=lambda *each: seen.append(each),
        )

    assert sorted(place for place, _ in seen) == list(range(7))
    assert [len((tmp_path / f"seen-{number}").read_text()) for number in range(6)] == [1] * 6


def test_a_task_that_kills_its_worker_ends_the_run():
    """Killed again by what is left: exit 75, saying both."""
    with start(choice(Kind.PROCESSES)) as scheduler, pytest.raises(TemporaryError) as refused:
        scheduler.compute([delayed(die)()])

    assert "a worker died, and so did one that took its place" in str(refused.value)


@pytest.mark.parametrize("kind", [Kind.PROCESSES, Kind.DISTRIBUTED])
def test_a_cluster_survives_a_worker(kind, tmp_path, tasks):
    """The same with a cluster, whose nanny starts the worker again; the user is told in the same words."""
    told = []
    with start(choice(kind), clustered=True, listener=told.append) as scheduler:
        results = scheduler.compute([*tasks, delayed(die_once)(str(tmp_path / "died"))])

    assert results[-1] == "alive"
    assert [type(event) for event in told] == [Warned]
    assert told[0].text.startswith(f"scheduler {kind}: a worker died, often for want of memory; what was under way")


def test_a_task_that_kills_every_worker_of_a_cluster_ends_the_run():
    """In our words, as without a cluster."""
    with start(choice(Kind.PROCESSES), clustered=True) as scheduler, pytest.raises(TemporaryError) as refused:
        scheduler.compute([delayed(die)()])

    assert str(refused.value) == (
        "scheduler processes: a task cost 4 workers their lives; workers live until their tasks are done. Often "
        "memory: give it more, or fewer scheduler.workers; or the strategy kills its own process."
    )


def test_a_cluster_does_without_a_frozen_worker(tmp_path, monkeypatch, tasks):
    """One that says nothing any more is given up after the scheduler's worker-ttl, and its tasks are done elsewhere."""
    monkeypatch.setitem(SETTINGS, "distributed.scheduler.worker-ttl", "3s")
    began = time.monotonic()
    with start(choice(Kind.DISTRIBUTED)) as scheduler:
        results = scheduler.compute([*tasks, delayed(freeze_once)(str(tmp_path / "frozen"))])

    assert results[-1] == "alive"
    assert time.monotonic() - began < 50  # our own patience is 60 seconds, that of Dask 300


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_leaves_no_children(kind):
    """Whatever ends the block, its processes end with it, however long their tasks would still take."""
    before = set(psutil.Process().children(recursive=True))
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), start(choice(kind)) as scheduler:
        scheduler.compute([delayed(divmod)(1, 0), *(delayed(pid_after)(0.1) for _ in range(2))])

    assert time.monotonic() - began < 20
    assert not [child for child in set(psutil.Process().children(recursive=True)) - before if is_worker(child)]


@pytest.mark.parametrize("kind", [Kind.SYNCHRONOUS, Kind.THREADS])
def test_a_hanging_thread_of_a_cluster_here_is_not_waited_for(kind, tasks):
    """Who interrupts a run that is watched gets the screen back at once, as without a dashboard."""

    def interrupt(*_):
        raise KeyboardInterrupt

    RELEASED.clear()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), start(choice(kind), clustered=True) as scheduler:
            scheduler.compute([*tasks[:2], delayed(hang)()], seen=interrupt)
        took = time.monotonic() - began
    finally:
        RELEASED.set()

    assert took < 8  # what a command has before it is ended the hard way


def is_worker(child: psutil.Process) -> bool:
    """Tell workers from the fork server and the resource tracker, which serve the whole process."""
    try:
        parents = [parent.pid for parent in child.parents()]
        return child.status() != psutil.STATUS_ZOMBIE and parents.index(os.getpid()) > 0
    except (psutil.NoSuchProcess, ValueError):
        return False


def test_a_second_dashboard_takes_the_next_free_port():
    """A port that is taken costs no run, whoever has taken it; that it was is told."""
    told = []
    site = Site(port=free_port(18_000))
    with (
        socket.create_server(("127.0.0.1", site.port)),
        start(choice(Kind.THREADS), dashboard=True, site=site, listener=told.append) as first,
    ):
        link = first.link

    assert re.fullmatch(r"http://127\.0\.0\.1:(\d+)/status", link)
    port = int(link.split(":")[2].split("/")[0])
    assert site.port < port < site.port + 100
    assert told == [Note(f"dashboard.port: {site.port} is taken, so the dashboard is on {port}")]


def test_a_scheduler_port_that_is_taken_meanwhile_costs_nothing(monkeypatch):
    """Between the look at a port and its use another process may take it; the next one does as well."""
    with socket.create_server(("127.0.0.1", free_port(18_500))) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(local, "_is_free", lambda *_: True)
        with start(choice(Kind.THREADS), dashboard=True, site=Site(port=port + 50, scheduler_port=port)) as scheduler:
            address = scheduler.client.scheduler.address

    assert address == f"tcp://127.0.0.1:{port + 1}"


def test_settings_of_the_machine_change_nothing(monkeypatch, tasks, tmp_path):
    """DASK_* variables and a user's dask.yaml are not heard, and the caller's own settings come back."""
    (tmp_path / "dask.yaml").write_text("chunksize: 7\nnum_workers: 1\n")
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    monkeypatch.setenv("DASK_SCHEDULER", "threads")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://10.255.255.1:8786")
    with dask.config.set(scheduler="sync", chunksize=9):
        with start(choice(Kind.DISTRIBUTED)) as scheduler:
            inside = [settings(), *scheduler.compute([delayed(settings)()])]
            results = scheduler.compute(tasks)
        after = settings()

    assert [each[:2] for each in inside] == [(None, None), (None, None)]
    assert inside[1][2] == "1"
    assert results[-1] == 38
    assert after[:2] == ("sync", 9)
    assert os.environ["DASK_SCHEDULER"] == "threads"


def test_a_client_elsewhere_does_not_take_the_work():
    """A default client of the caller's notebook is left alone."""
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=1, **options) as cluster,
        distributed.Client(cluster),
        start(choice(Kind.SYNCHRONOUS)) as scheduler,
    ):
        (thread,) = scheduler.compute([delayed(threading.current_thread)()])

    assert thread is threading.main_thread()


SCRIPT = """
    import sys
    print("the script runs")
    from dask import delayed
    from pipeline.compute.choose import Choice
    from pipeline.compute.scheduler import kept, start
    from pipeline.modes import Kind
    with start(Choice(Kind(sys.argv[1]), 2, "")) as scheduler:
        print(sum(scheduler.compute([delayed(abs)(-number) for number in range(8)])))
"""


@pytest.mark.parametrize("kind", [Kind.PROCESSES, Kind.DISTRIBUTED])
def test_a_script_without_guard_runs_once(kind, tmp_path):
    """Workers do not run the caller's script again, as spawned ones do, and say nothing when they end."""
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "script.py", kind]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout == "the script runs\n28\n"
    assert ran.stderr == ""


INTERRUPTED = """
    import os, sys, time
    from dask import delayed
    from pipeline.compute.choose import Choice
    from pipeline.compute.scheduler import kept, start
    from pipeline.modes import Kind
    def hang(number):
        os.write(1, b"computing\\n")  # whole, where two workers print at once
        time.sleep(100)
    try:
        with start(Choice(Kind(sys.argv[1]), 2, "")) as scheduler:
            scheduler.compute([delayed(hang)(number) for number in range(4)])
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("kind", [Kind.PROCESSES, Kind.DISTRIBUTED])
def test_ctrl_c_ends_a_run_that_hangs(kind, tmp_path):
    """A strategy that never comes back does not keep the terminal."""
    (tmp_path / "script.py").write_text(textwrap.dedent(INTERRUPTED))
    command = [sys.executable, tmp_path / "script.py", kind]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, process_group=0) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["computing\n"] * 2  # both workers have started
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        _, alive = psutil.wait_procs(children, timeout=5)

    assert out.splitlines()[-1] == "interrupted"
    assert err == ""
    assert not alive
