"""The words and figures of the live page, without a page."""

from pipeline.dashboard.runs import Run
from pipeline.dashboard.standing import Standing
from pipeline.dashboard.words import percent, states, tiles


def test_a_run_that_is_over_has_nothing_left():
    """While it runs, the seconds left in its stage are told."""
    assert "<b>Left</b>" in tiles(Run("1", state="running"), 0.0)
    assert "Left" not in tiles(Run("1", state="committed"), 0.0)


def test_a_run_that_failed_tells_how_its_partitions_ended():
    """Those done, failed and never computed, though the cluster has forgotten them; nothing is at work any more."""
    run = Run("1", state="failed", stage="signals", total=5, unit="partition", partitions=5, done=1, failed=2)
    told = states(run, run.left_behind)

    assert run.left_behind == {"done": 1, "running": 0, "waiting": 2, "failed": 2}
    assert all(f"</u>{words}</li>" in told for words in ("1 done", "0 at work", "2 waiting", "2 failed"))
    assert "20 % of 5 partitions, 2 failed" in tiles(run, 0.0)
    assert "No partition was computed." in states(Run("1", state="failed"), Run("1").left_behind)
    assert "No partition is at work yet." in states(Run("1"), {"done": 0, "running": 0, "waiting": 0, "failed": 0})


def test_large_percentages_can_be_read():
    """Thousands are apart."""
    assert percent(16.5529, sign=True) == "+1,655.29 %"
    assert percent(-0.5) == "&minus;50.00 %"


def test_a_standing_cluster_says_what_its_workers_are():
    """Processes of one thread where it started them; of another class only the threads are known."""
    rows = [dict(Standing(None, "tcp://127.0.0.1:1", 2, processes, is_open=True).summary) for processes in (2, None)]

    assert [each["workers"] for each in rows] == ["2, each a process of one thread", "2 threads"]
