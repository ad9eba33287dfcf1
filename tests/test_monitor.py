"""What a run takes of the machine."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest

from pipeline.compute import gil
from pipeline.compute.meter import Meter, memory_mb, read_bytes
from pipeline.compute.monitor import Monitor, amdahl, idle
from pipeline.compute.scheduler import start
from pipeline.compute.transfer import Traffic
from pipeline.events import PartitionFinished, Stage, StageFinished, StageStarted, stage
from pipeline.modes import Kind
from pipeline.signals import build
from pipeline.signals.strategy import load_strategy
from signal_cases import COST, bars_of, blocks_in, choice, write_strategy


def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_stage_tells_its_cpu_gil_memory_and_rate():
    """A stage that computes in plain Python for 0.3 s shows it in every figure."""
    with Monitor() as monitor:
        monitor.bars = 3_000
        with stage(monitor, Stage.TRADING):
            burn(0.3)
    figures = monitor.record({Stage.TRADING: 0.3})["stages"]["trading"]

    assert 0.3 <= figures["cpu_seconds"] < 0.45
    assert figures["cpu_utilisation"] == pytest.approx(
        figures["cpu_seconds"] / 0.3 / len(os.sched_getaffinity(0)), rel=0.01
    )
    assert figures["gil_contention"] > 0.5
    assert figures["bars_per_second"] == 10_000
    assert 20 < figures["memory_mb"] <= figures["peak_memory_mb"] < 5_000


def test_bytes_read_are_those_of_the_files(tmp_path):
    """A megabyte read in a stage is counted there."""
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    with Monitor() as monitor, stage(monitor, Stage.OPEN):
        (tmp_path / "file").read_bytes()
    figures = monitor.record({Stage.OPEN: 1.0})["stages"]["open"]

    assert 1_000_000 <= figures["read_bytes"] < 1_200_000
    assert figures["bars_per_second"] is None


def test_what_workers_take_counts_in(tmp_path):
    """CPU seconds, memory and bytes of other processes come with their answers."""
    text = """
        import time
        def signal(bars):
            held = bytearray(200 * 2**20)
            until = time.thread_time() + 0.2
            while time.thread_time() < until: pass
            return bars["close"] * 0
        """
    blocks = blocks_in(tmp_path / "store", bars_of("A", np.ones(300)), 1)
    strategy = load_strategy(write_strategy(tmp_path, "hungry", text), {})
    with Monitor() as monitor, start(choice(Kind.PROCESSES, 1)) as scheduler:
        with stage(monitor, Stage.SIGNALS):
            build.signals(blocks, strategy, (None, None), scheduler, monitor)
        monitor.traffic = scheduler.traffic
    record = monitor.record({Stage.SIGNALS: 1.0})
    figures, own = record["stages"]["signals"], memory_mb()[1]

    assert figures["cpu_seconds"] >= 0.2
    assert figures["workers_peak_memory_mb"] > 200
    assert monitor.peak_memory_mb() > own + 200
    assert record["signals"]["bars"] == 300
    assert record["signals"]["sent_bytes"] > 1_000
    assert record["partitions"]["symbols"] == ["A"]
    assert record["partitions"]["seconds"][0] >= 0.2


def test_a_partition_has_a_column_for_each_figure():
    """In the order in which they came in, with times since the first began."""
    monitor = Monitor()
    monitor.workers, monitor.traffic = 2, Traffic(sent=10, received=20)
    monitor(StageStarted(Stage.SIGNALS))
    monitor(PartitionFinished("A..B", 2, COST))
    monitor(PartitionFinished("C", 1, replace(COST, worker="far/2/a", began=101.0, wall=0.5, peak_mb=200.0)))
    monitor(StageFinished(Stage.SIGNALS, 2.0))
    record = monitor.record({Stage.SIGNALS: 2.0})

    assert record["partitions"]["symbols"] == ["A..B", "C"]
    assert record["partitions"]["began"] == [0.0, 1.0]
    assert record["partitions"]["gil_held"] == [0.4, 0.4]
    assert record["signals"] == {
        "workers": 2,
        "bars": 2_000,
        "busy_seconds": 2.5,
        "cpu_seconds": 3.0,
        "queued_seconds": 0.5,
        "read_seconds": 1.0,
        "gil_held": 0.4,
        "gil_answers": 20,
        "bars_bytes": 32_000,
        "sent_bytes": 10,
        "received_bytes": 20,
        "idle": 0.25,  # worker 2 ends at 101.5, worker 1 at 102, the first task began at 100
    }
    assert record["stages"]["signals"]["bars_per_second"] == 1_000
    assert record["stages"]["signals"]["workers_peak_memory_mb"] == 200.0
    assert record["stages"]["signals"]["read_bytes"] >= 18_000


def test_idle_of_nothing_is_unknown():
    """No task, no worker that waits."""
    assert idle([]) is None
    assert idle([COST]) == 0.0


def test_amdahl_by_hand():
    """Signals of 1.0 s on two workers that were busy for 0.9 s each, in a run of 4 s: twice the workers save 0.45 s."""
    bound = amdahl({"choose": 0.0, "signals": 1.0, "trading": 2.5, "results": 0.5}, 0.9)

    assert (bound.seconds, bound.parallel, bound.twice, bound.most) == (4.0, 0.9, 0.45, 0.9)
    assert bound.sentence == (
        "trading 62%, signals 25%, results 12% of 4.00 s: twice the cores would save at most 0.45 s, "
        "any number of them 0.90 s"
    )


def test_a_run_without_stages_has_a_bound_too():
    """Nothing took nothing."""
    assert amdahl({}, 0.0).most == 0.0


def test_memory_and_bytes_are_those_of_this_process():
    """A list of 50 MB shows in the memory, at once in the present and for ever in the peak."""
    before, _ = memory_mb()
    held = bytearray(os.urandom(1)) * (50 * 2**20)
    during, peak = memory_mb()
    assert len(held) == 50 * 2**20
    del held

    assert during - before > 45
    assert peak >= during - 5  # the kernel adds up roughly
    assert memory_mb()[1] >= peak - 5
    assert read_bytes() > 0


def test_a_meter_counts_its_own_thread():
    """CPU seconds of this thread, knocks since it began, and the read apart."""
    with gil.watched():
        meter = Meter()
        burn(0.1)
        meter.has_read(10, 160)
        burn(0.1)
        cost = meter.cost()

    assert 0.2 <= cost.cpu < 0.3
    assert 0.1 <= cost.read < cost.wall
    assert (cost.rows, cost.loaded) == (10, 160)
    assert cost.knocks >= cost.taken > 0
    assert cost.queued < cost.wall
