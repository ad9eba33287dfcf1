"""Which scheduler a run gets."""

import pytest
from dask.system import cpu_count

from pipeline.compute.choose import choose, may_take_processes
from pipeline.modes import Kind
from pipeline.options import SchedulerOptions

BASE = {
    "kind": "auto",
    "workers": 4,
    "dashboard": False,
    "address": None,
    "cluster": None,
    "tls": {"ca": None, "certificate": None, "key": None},
    "timeout": 60,
    "auto": {"sequential_max": 3, "threads_max": 10},
    "processes": {"allowed": True, "workers": None},
    "threads": {"workers": None},
}


def options(**changed):
    return SchedulerOptions.model_validate(BASE | changed)


@pytest.mark.parametrize(
    ("symbols", "kind", "workers"),
    [
        (1, Kind.SYNCHRONOUS, 1),
        (3, Kind.SYNCHRONOUS, 1),
        (4, Kind.THREADS, 4),
        (10, Kind.THREADS, 4),
        (11, Kind.PROCESSES, 4),
        (252, Kind.PROCESSES, 4),
    ],
)
def test_auto_goes_by_the_number_of_symbols(symbols, kind, workers):
    """Up to 3 symbols run here, up to 10 in threads, more in processes."""
    chosen = choose(options(), symbols, blocks=20)

    assert (chosen.kind, chosen.workers) == (kind, workers)
    assert f"{symbols} symbols" in chosen.reason
    assert chosen.predicted == {}


def test_auto_never_takes_processes_where_they_are_not_allowed():
    """What was BACKTEST_USE_PROCESS_POOL=false means threads for any number of symbols."""
    chosen = choose(options(processes={"allowed": False, "workers": None}), 252, blocks=20)

    assert chosen.kind is Kind.THREADS
    assert "allowed is false" in chosen.reason


def test_auto_starts_no_pool_for_one_block():
    """One partition keeps one worker busy: the one that is here already."""
    assert choose(options(), 252, blocks=1).kind is Kind.SYNCHRONOUS


@pytest.mark.parametrize("kind", [Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES, Kind.DISTRIBUTED])
def test_a_named_kind_is_taken(kind):
    """Whoever names a kind gets it, for one symbol as for many."""
    assert choose(options(kind=kind), 1, blocks=1).kind is kind


def test_there_are_no_more_workers_than_blocks():
    """A worker without a block would only cost memory."""
    assert choose(options(kind="processes"), 252, blocks=3).workers == 3


def test_each_kind_may_have_its_own_number_of_workers():
    """scheduler.processes.workers and scheduler.threads.workers come before scheduler.workers."""
    own = options(processes={"allowed": True, "workers": 7}, threads={"workers": 5})

    assert choose(own, 5, blocks=20).workers == 5
    assert choose(own, 11, blocks=20).workers == 7


def test_workers_default_to_the_cores_this_process_may_use():
    """Null means cores, by affinity and cgroup, not those of the machine."""
    assert choose(options(kind="threads", workers=None), 252, blocks=10_000).workers == cpu_count()


@pytest.mark.parametrize("changed", [{"address": "tcp://127.0.0.1:8786"}, {"cluster": {"class": "x.Cluster"}}])
def test_a_cluster_elsewhere_is_taken(changed):
    """Whoever names a cluster gets it, even for one symbol, and needs no processes here."""
    chosen = choose(options(**changed), 1, blocks=1)

    assert chosen.kind is Kind.DISTRIBUTED
    assert f"scheduler.{next(iter(changed))} says where" in chosen.reason
    assert not may_take_processes(options(**changed), 252)
