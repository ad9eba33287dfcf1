"""Which scheduler a run gets."""

import pytest
from dask.system import cpu_count

from pipeline.compute.choose import Ready, Work, by_counts, choose, may_take_processes, named, workers_of
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
READY = Ready(server_in=0.0)
COLD = Ready(server_in=0.9)


def options(**changed):
    return SchedulerOptions.model_validate(BASE | changed)


def work(seconds, held=0.9, parts=252):
    return Work(seconds, held, parts, "the test says so")


@pytest.mark.parametrize(
    ("seconds", "held", "ready", "kind"),
    [
        (0.01, 0.9, READY, Kind.SYNCHRONOUS),  # less than a pool costs
        (0.05, 0.0, READY, Kind.THREADS),  # threads cost next to nothing to start
        (1.0, 0.9, READY, Kind.PROCESSES),
        (1.0, None, READY, Kind.PROCESSES),  # who does not know takes the GIL to be held
        (1.0, 0.9, COLD, Kind.SYNCHRONOUS),  # the fork server would take longer than the work it saves
        (5.0, 0.9, COLD, Kind.PROCESSES),
        (1.0, 0.0, COLD, Kind.THREADS),
    ],
)
def test_the_kind_is_the_one_that_takes_least(seconds, held, ready, kind):
    """Start-up, the GIL and the work decide together."""
    chosen = choose(options(), work(seconds, held), ready)

    assert chosen.kind is kind
    assert set(chosen.predicted) == {"synchronous", "threads", "processes", "distributed"}
    assert chosen.predicted[kind] <= 1.05 * min(chosen.predicted.values())


def test_the_reason_tells_source_work_and_predictions():
    """One line says what was known and what was expected of each kind."""
    reason = choose(options(), work(2.0, 0.5), READY).reason

    assert reason.startswith("the test says so: 2.00 s of work on one core, the GIL held for 50% of it; predicted ")
    assert "synchronous 2.00 s, threads " in reason


def test_warm_workers_cost_no_start():
    """The second run of a batch finds a pool that the first did not."""
    little, warm = work(0.08), Ready(0.9, warm=frozenset({Kind.PROCESSES}))

    assert choose(options(), little, COLD).kind is Kind.SYNCHRONOUS
    assert choose(options(), little, warm).kind is Kind.PROCESSES


def test_what_travels_to_warm_workers_costs_more_than_the_least_work():
    """A run of 15 ms in a batch is not worth sending anywhere."""
    warm = Ready(0.0, warm=frozenset({Kind.PROCESSES}))
    chosen = choose(options(workers=2), work(0.015), warm)

    assert chosen.kind is Kind.SYNCHRONOUS
    assert chosen.predicted["processes"] == pytest.approx(0.01 + 0.015 / 1.93, rel=0.01)


def test_what_is_alike_goes_by_the_number_of_symbols():
    """The counts of the config decide where the predictions do not."""
    break_even = 0.187  # 0.09 s to start two workers, and 0.187 / 1.93 s of work for each
    chosen = [choose(options(workers=2), work(break_even, 0.9, parts), READY) for parts in (2, 252)]

    assert chosen[0].predicted["processes"] == pytest.approx(break_even, rel=0.02)
    assert [each.kind for each in chosen] == [Kind.SYNCHRONOUS, Kind.PROCESSES]
    assert [by_counts(options().auto, count) for count in (1, 3, 4, 10, 11)] == [
        Kind.SYNCHRONOUS,
        Kind.SYNCHRONOUS,
        Kind.THREADS,
        Kind.THREADS,
        Kind.PROCESSES,
    ]


def test_processes_that_are_not_allowed_are_not_taken():
    """What was BACKTEST_USE_PROCESS_POOL=false holds for any amount of work."""
    chosen = choose(options(processes={"allowed": False, "workers": None}), work(100.0, 0.0), READY)

    assert chosen.kind is Kind.THREADS
    assert "allowed is false" in chosen.reason


def test_no_pool_is_started_for_one_symbol():
    """One task keeps one worker busy: the one that is here already."""
    assert choose(options(), work(100.0, parts=1), READY).kind is Kind.SYNCHRONOUS


def test_a_cluster_for_its_dashboard_is_counted_in():
    """Where everything runs on a cluster anyway, its start weighs for every kind."""
    chosen = choose(options(), work(1.2), Ready(0.0, clustered=True))

    assert chosen.kind is Kind.SYNCHRONOUS


@pytest.mark.parametrize("kind", [Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES, Kind.DISTRIBUTED])
def test_a_named_kind_is_taken(kind):
    """Whoever names a kind gets it, for one symbol as for many."""
    assert named(options(kind=kind), 1).kind is kind
    assert named(options(), 1) is None


def test_there_are_no_more_workers_than_parts():
    """A worker without a task would only cost memory."""
    assert named(options(kind="processes"), 3).workers == 3


def test_each_kind_may_have_its_own_number_of_workers():
    """scheduler.processes.workers and scheduler.threads.workers come before scheduler.workers."""
    own = options(processes={"allowed": True, "workers": 7}, threads={"workers": 5})

    assert [workers_of(own, kind, 20) for kind in (Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES)] == [1, 5, 7]


def test_workers_default_to_the_cores_this_process_may_use():
    """Null means cores, by affinity and cgroup, not those of the machine."""
    assert named(options(kind="threads", workers=None), 10_000).workers == cpu_count()


@pytest.mark.parametrize(
    ("changed", "workers"),
    [
        ({"address": "tcp://127.0.0.1:8786"}, 1),
        ({"address": "tcp://127.0.0.1:8786", "workers": 8}, 8),
        ({"cluster": {"class": "x.Cluster"}}, 1),
        ({"cluster": {"class": "x.Cluster", "scale": 20}}, 20),
        ({"cluster": {"class": "x.Cluster", "adapt": {"minimum": 1, "maximum": 12}}}, 12),
    ],
)
def test_a_cluster_elsewhere_is_taken(changed, workers):
    """Whoever names a cluster gets it, even for one symbol, cut for as many workers as it may have, and none here."""
    changed = {"workers": None, **changed}
    chosen = named(options(**changed), 1)

    assert (chosen.kind, chosen.workers) == (Kind.DISTRIBUTED, workers)
    assert f"scheduler.{'cluster' if 'cluster' in changed else 'address'} says where" in chosen.reason
    assert not may_take_processes(options(**changed), 252)
