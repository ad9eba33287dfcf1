"""What earlier runs tell of a strategy's cost."""

import json
import os

import pytest

from pipeline.results.history import Known, known

SMA = {"sha256": "a" * 64, "params": {"fast": 10}}


def publish(output, number, *, name="mine", strategy=SMA, kind="synchronous", host=None, when=None, **signals):
    """Write the record of a run, as far as history reads it."""
    figures = {
        "bars": 1_000_000,
        "busy_seconds": 0.5,
        "cpu_seconds": 0.4,
        "queued_seconds": 0.0,
        "gil_held": 0.2,
        "gil_answers": 50,
        "workers": 2,
    }
    folder = output / name / f"{number:016x}-1"
    folder.mkdir(parents=True)
    record = {
        "strategy": strategy,
        "scheduler": {"kind": kind},
        "monitor": {"machine": {"host": host or os.uname().nodename, "cores": 2}, "signals": figures | signals},
    }
    (folder / "run.json").write_text(json.dumps(record))
    os.utime(folder, (when or number, when or number))
    return folder


def test_nothing_is_known_before_the_first_run(tmp_path):
    """No folder, an empty one, or one of something else: no guess."""
    assert known(tmp_path / "nowhere", "mine", SMA, 1_000_000) is None
    (tmp_path / "mine").mkdir()
    assert known(tmp_path, "mine", SMA, 1_000_000) is None


def test_seconds_per_bar_are_those_it_could_have_worked(tmp_path):
    """0.5 s of which 0.1 s went by waiting for a core: 0.4 microseconds for each of a million bars."""
    publish(tmp_path, 1, queued_seconds=0.1)

    assert known(tmp_path, "mine", SMA, 1_000_000) == Known(pytest.approx(4e-7), pytest.approx(0.2), 1)


def test_threads_wait_for_each_other(tmp_path):
    """Under threads the wall time is no measure, and the lock is always taken: CPU seconds alone count."""
    publish(tmp_path, 1, kind="threads", busy_seconds=9.0)

    assert known(tmp_path, "mine", SMA, 1_000_000) == Known(pytest.approx(4e-7), None, 1)


def test_the_newest_three_count(tmp_path):
    """The least of three: an old machine does not linger, and what a busy night added says nothing of the strategy."""
    for number, busy in enumerate((0.1, 0.5, 0.7, 7.0), 1):
        publish(tmp_path, number, busy_seconds=busy)

    assert known(tmp_path, "mine", SMA, 1_000_000) == Known(pytest.approx(5e-7), pytest.approx(0.2), 3)


def test_answers_of_the_gil_are_gathered_over_more_runs(tmp_path):
    """Runs of a tenth of a second have ten answers each: four of them tell something, though three tell the cost."""
    for number in range(1, 5):
        publish(tmp_path, number, gil_held=0.1 * number, gil_answers=10)

    assert known(tmp_path, "mine", SMA, 1_000_000).held == pytest.approx(0.25)


def test_few_answers_of_the_gil_say_nothing(tmp_path):
    """Twenty answers are chance, even if all are alike; those of several runs count together, each as one."""
    publish(tmp_path, 1, gil_held=1.0, gil_answers=20)
    few = known(tmp_path, "mine", SMA, 1_000_000)
    publish(tmp_path, 2, gil_held=0.1, gil_answers=40)
    more = known(tmp_path, "mine", SMA, 1_000_000)

    assert few.held is None
    assert more.held == pytest.approx((20 * 1.0 + 40 * 0.1) / 60)


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": {"sha256": "b" * 64, "params": {"fast": 10}}},
        {"strategy": {"sha256": "a" * 64, "params": {"fast": 11}}},
        {"host": "elsewhere"},
        {"bars": 100},
        {"bars": 400_000},
        {"bars": 2_100_000},
        {"bars": 0, "busy_seconds": 0.0, "cpu_seconds": 0.0},
        {"busy_seconds": None},
        {"workers": 3},
    ],
    ids=[
        "another text",
        "another option",
        "another machine",
        "too little",
        "half as many bars",
        "twice as many",
        "nothing",
        "unknown",
        "more workers than cores",
    ],
)
def test_what_tells_nothing_is_passed_over(tmp_path, other):
    """Only the same strategy with the same options on this machine counts, and enough of it."""
    publish(tmp_path, 1, **other)

    assert known(tmp_path, "mine", SMA, 1_000_000) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"monitor": null}', '{"strategy": {}}'])
def test_a_broken_record_is_passed_over(tmp_path, text):
    """Whatever stands in a folder of runs: it costs a choice, never a run."""
    (publish(tmp_path, 2) / "run.json").write_text(text)
    publish(tmp_path, 1)

    assert known(tmp_path, "mine", SMA, 1_000_000).runs == 1


def test_the_latest_run_of_another_name_counts(tmp_path):
    """A config that is run under a new name finds what its strategy cost a moment ago."""
    (tmp_path / "latest").symlink_to(publish(tmp_path, 1, name="yours"))

    assert known(tmp_path, "mine", SMA, 1_000_000).runs == 1
