"""What crosses the border between processes: tasks, and the changes of opinion; never a bar."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config
from pipeline.bars.blocks import blocks_of
from pipeline.bars.split import split
from pipeline.compute.scheduler import start
from pipeline.compute.transfer import packed, unpacked
from pipeline.events import PartitionFinished
from pipeline.modes import Kind
from pipeline.signals import build
from pipeline.signals.strategy import load_strategy
from pipeline.upkeep import opened_store
from signal_cases import bars_of, choice
from stores import make_store

IO = Path("/proc/self/io")


def piped() -> int:
    """Return how many bytes this process has read and written so far, of files and pipes, by the kernel's account."""
    counters = dict(line.split(": ") for line in IO.read_text().splitlines())
    return int(counters["rchar"]) + int(counters["wchar"])


@pytest.fixture(scope="module")
def real_blocks(tmp_path_factory, real_files):
    folder = tmp_path_factory.mktemp("real")
    own = ["data.source=csv", f"data.path={real_files}", "data.file_pattern=DA-{symbol}-T-{date}.csv"]
    options = config.load(None, [*own, f"data.store={folder}/store"], {})
    snapshot, _ = opened_store(options, lambda _: None)
    return blocks_of(snapshot, list(snapshot.by_symbol))


@pytest.mark.parametrize("kind", [Kind.PROCESSES, Kind.DISTRIBUTED])
def test_less_than_a_twentieth_of_the_bars_travels(kind, real_blocks):
    """252 real stocks, sma_cross: all that goes to the workers and comes from them is below 5 % of the bars' bytes."""
    told = []
    blocks = split(real_blocks, 2, 1e-7)
    with start(choice(kind)) as scheduler:
        build.signals(blocks, load_strategy("sma_cross", {}), (None, None), scheduler, told.append)
    bars = sum(event.cost.loaded for event in told if isinstance(event, PartitionFinished))
    rows = sum(block.rows for block in real_blocks)

    assert bars >= 16 * rows > 16_000_000  # session and close, 8 bytes each
    assert scheduler.traffic.sent > 1000 * len(blocks) * (kind is Kind.PROCESSES)
    assert scheduler.traffic.received > 100_000
    assert scheduler.traffic.sent + scheduler.traffic.received < 0.05 * bars


@pytest.mark.skipif(not IO.exists(), reason="the kernel keeps no account of a process's bytes")
def test_the_count_is_that_of_the_kernel(tmp_path):
    """Under processes everything goes through pipes: what was counted is what the kernel saw, but for envelopes."""
    frame = pd.concat([bars_of(f"S{number:02d}", 100 + np.arange(3000.0) % 3, "2000-01-03") for number in range(32)])
    snapshot = make_store(tmp_path, frame, blocks=32)
    blocks = blocks_of(snapshot, list(snapshot.by_symbol))
    file = tmp_path / "each.py"
    file.write_text("def signal(bars): return (bars['close'].to_numpy() - 101)\n")  # changes at every bar
    strategy = load_strategy(str(file), {})
    with start(choice(Kind.PROCESSES)) as scheduler:
        build.signals(blocks[:2], strategy, (None, None), scheduler)  # forks the workers
        before = piped()
        build.signals(blocks, strategy, (None, None), scheduler)
        seen = piped() - before
    counted = scheduler.traffic.sent + scheduler.traffic.received

    assert counted > 100_000
    assert counted <= seen < counted + 4_000 * len(blocks)


@pytest.mark.parametrize("kind", [Kind.SYNCHRONOUS, Kind.THREADS])
def test_nothing_travels_within_a_process(kind, tmp_path):
    """Threads and the main thread share the memory."""
    blocks = blocks_of(make_store(tmp_path, bars_of("A", np.ones(50)), blocks=1), ["A"])
    with start(choice(kind)) as scheduler:
        build.signals(blocks, load_strategy("buy_and_hold", {}), (None, None), scheduler)

    assert (scheduler.traffic.sent, scheduler.traffic.received) == (0, 0)


def test_packing_keeps_every_bit(tmp_path):
    """Frames, their attrs and errors come out as they went in."""
    frame = pd.DataFrame({"session": pd.bdate_range("2020-01-01", periods=4), "signal": [np.nan, -0.0, 1.0, 1e-308]})
    frame.attrs["cost"] = os.getpid()
    again = unpacked(packed(frame))

    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert again.attrs == frame.attrs
    assert str(unpacked(packed(ValueError("bad bar")))) == "bad bar"
