"""Dask's performance report: whole, offline, and silent about whose machine and whose code it was."""

import re
import time
from pathlib import Path

import pytest

from pipeline.dashboard import performance
from pipeline.dashboard.performance import PerformanceReportError, recorded, scrubbed, without_folders


@pytest.fixture(scope="module")
def client():
    """Connect to a cluster of one worker with one thread, in this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def slow(seconds):
    """Work long enough to be seen by the profiler, in lines that hold a secret."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(1_000)) or "planted-secret-of-the-task"
    return seconds


def test_report_tells_the_work_and_nothing_of_the_caller(client, tmp_path):
    """The page counts the tasks, and holds no line of the caller or the task, no path of ours, no link to load."""
    secret = "planted-secret-of-the-caller"
    path = tmp_path / "performance.html"
    with recorded(client, path):
        assert client.submit(slow, 1.2).result() == 1.2  # the profiler writes its notes once a second
    page = path.read_text(encoding="utf-8")

    assert "number of tasks: 1" in page
    assert "dask/_task_spec.py" in page  # the profile still says where the time went
    assert secret not in page
    assert "planted-secret-of-the-task" not in page
    assert str(Path(__file__).parent) not in page
    assert str(tmp_path) not in page
    assert not re.search(r"<script[^>]*\bsrc=|<link[^>]*\bhref=", page)
    assert "default-src 'none'" in page
    assert [file.name for file in tmp_path.iterdir()] == ["performance.html"]


def test_report_is_of_this_client(client, tmp_path):
    """The client is the current one inside, and only there."""
    from distributed import get_client

    with recorded(client, tmp_path / "performance.html"):
        inside = get_client()

    assert inside is client
    with pytest.raises(ValueError, match="No global client"):
        get_client()


def test_error_of_the_body_comes_through(client, tmp_path, monkeypatch):
    """An error inside is what the caller sees, even if no report could be made either."""
    monkeypatch.setattr(performance, "finish", lambda _: pytest.fail("no report of a failed body"))

    with pytest.raises(ZeroDivisionError), recorded(client, tmp_path / "performance.html"):
        _ = 1 / 0

    assert list(tmp_path.iterdir()) == []


def test_failing_report_says_so(client, tmp_path, monkeypatch):
    """A report that cannot be made is an error of its own, after the body is done."""
    done = []
    monkeypatch.setattr(performance, "scrubbed", lambda _: 1 / 0)

    with pytest.raises(PerformanceReportError, match="results do not depend"), recorded(client, tmp_path / "p.html"):
        done.append("body")

    assert done == ["body"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/desk/strategies/mine.py", "strategies/mine.py"),
        ("signal;/srv/desk/strategies/mine.py;12", "signal;strategies/mine.py;12"),
        ("<low-level>", "<low-level>"),
        ("started in /srv/desk/project/var", "started in ~/var"),
    ],
)
def test_folders_are_left_out(text, expected, monkeypatch):
    """Of a Python file the last two parts remain, of other paths what lies below home, project or prefix."""
    monkeypatch.setattr(Path, "cwd", lambda: Path("/srv/desk/project"))

    assert without_folders(text) == expected


def test_scrubbing_keeps_the_page_whole():
    """Only the data blocks change, and what is escaped in them stays escaped."""
    page = '<head></head><script type="application/json" id="x">["line", "secret &lt;b&gt;", "&lt;i&gt;"]</script><p>'

    assert '["line", "secret &lt;b&gt;", "&lt;i&gt;"]</script><p>' in scrubbed(page)
    assert '["line", ""]</script><p>' in scrubbed(page.replace(', "&lt;i&gt;"', ""))
