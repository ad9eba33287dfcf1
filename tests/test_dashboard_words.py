"""The words and figures of the live page, without a page."""

from pipeline.dashboard.runs import Run
from pipeline.dashboard.standing import Standing
from pipeline.dashboard.words import percent, tiles


def test_a_run_that_is_over_has_nothing_left():
    """While it runs, the seconds left in its stage are told."""
    assert "<b>Left</b>" in tiles(Run("1", state="running"), 0.0)
    assert "Left" not in tiles(Run("1", state="committed"), 0.0)


def test_large_percentages_can_be_read():
    """Thousands are apart."""
    assert percent(16.5529, sign=True) == "+1,655.29 %"
    assert percent(-0.5) == "&minus;50.00 %"


def test_a_standing_cluster_says_what_its_workers_are():
    """Processes of one thread where it started them; of another class only the threads are known."""
    rows = [dict(Standing(None, "tcp://127.0.0.1:1", 2, processes, is_open=True).summary) for processes in (2, None)]

    assert [each["workers"] for each in rows] == ["2, each a process of one thread", "2 threads"]
