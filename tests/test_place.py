"""What a run says of where it computes, before it does."""

import time
from pathlib import Path

import pytest

from pipeline import config
from pipeline.compute.choose import Choice
from pipeline.events import Note, noted_if_slow
from pipeline.modes import Kind
from pipeline.place import explained
from pipeline.run import run
from signal_cases import write_strategy


@pytest.mark.parametrize(
    ("kind", "workers", "overrides", "told"),
    [
        (Kind.PROCESSES, 2, ["scheduler.processes.workers=3"], "because; 3 asked for, 2 tasks"),
        (Kind.THREADS, 2, ["scheduler.workers=1_000"], "because; 1,000 asked for, 2 tasks"),
        (Kind.THREADS, 2, ["scheduler.processes.workers=3"], "because"),
        (Kind.PROCESSES, 2, ["scheduler.workers=2"], "because"),
        (Kind.PROCESSES, 2, [], "because"),
        (Kind.SYNCHRONOUS, 1, ["scheduler.workers=3"], "because"),
        (Kind.DISTRIBUTED, 2, ["scheduler.workers=3", "scheduler.address=tcp://127.0.0.1:1"], "because"),
    ],
)
def test_fewer_workers_than_asked_for_are_explained(kind, workers, overrides, told):
    """There are never more than tasks; a cluster elsewhere has its own."""
    choice = explained(Choice(kind, workers, "because"), 2, config.load(None, overrides, {}).scheduler)

    assert (choice.workers, choice.reason) == (workers, told)


def test_a_long_wait_is_told_and_a_short_one_is_not():
    """While it lasts, in a sentence."""
    heard = []
    with noted_if_slow(heard.append, "short", after=30):
        pass
    with noted_if_slow(heard.append, "long", after=0.01):
        time.sleep(0.2)

    assert heard == [Note("long")]


def test_a_slow_strategy_is_asked_in_public(tmp_path):
    """Where nobody knows what it takes, the first symbol is computed before anything is shown."""
    slow = write_strategy(
        tmp_path,
        "slow",
        """
        import time
        asked = []

        def signal(bars):
            asked or time.sleep(2.5)  # at first only: the test has no more patience
            asked.append(1)
            return bars["close"] * 0
        """,
    )
    heard = []
    own = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", "output.report=false", "data.symbols=[AAPL]"]
    run(config.load(Path("conf/sample.yaml"), [*own, f"strategy.name={slow}", "strategy.params={}"], {}), heard.append)

    notes = [event.text for event in heard if isinstance(event, Note)]
    assert "auto: asking the strategy about AAPL first, to see what it takes" in notes
