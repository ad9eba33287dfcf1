"""Watched runs: what they tell, where they listen, and many of them on one cluster."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import psutil
import pytest
from dask.utils import key_split
from distributed.utils import color_of

from pipeline import backtest
from pipeline.compute.local import free_port
from pipeline.compute.scheduler import start
from pipeline.compute.shipping import by_value
from pipeline.compute.site import Site
from pipeline.compute.tasks import legible
from pipeline.dashboard.plugin import BacktestPlugin
from pipeline.events import AccountMarked, Note, PartitionFinished, Stage, StageFinished, StageProgress
from pipeline.modes import Kind
from signal_cases import KINDS, blocks_in, choice, market, signals_of, write_strategy

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "conf" / "sample.yaml"
SECRET = "planted-secret"
TELLING = f"""
    import time


    def burn(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(1_000)) or "{SECRET} of the strategy"


    def signal(bars, *, token: str = "none"):
        burn(0.15)  # Dask draws functions that call others
        return (bars["close"] > bars["close"].rolling(20).mean()).astype(float)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for store and runs, so that the sample is ingested once; the plain run's digest is in it."""
    folder = tmp_path_factory.mktemp("dashboard")
    done = backtest(SAMPLE, *settings(folder), "scheduler.kind=synchronous")
    (folder / "digest").write_text(done.result_digest)
    return folder


def settings(place: Path, *overrides: str) -> list[str]:
    runs = f"{place}/runs-{uuid.uuid4().hex}"  # no earlier run tells that the strategy is quick: a task per symbol
    return [f"data.store={place}/store", f"output.dir={runs}", "output.report=false", *overrides]


def listening(process: psutil.Process) -> set[str]:
    """Return on which addresses a process and all below it listen."""
    ports = [
        each
        for one in [process, *process.children(recursive=True)]
        for each in one.net_connections("inet")
        if each.status == "LISTEN"
    ]
    return {port.laddr.ip for port in ports}


def page(link: str) -> dict:
    with urllib.request.urlopen(f"{link}.json", timeout=10) as answer:
        return json.load(answer)


def page_of_signals(link: str) -> dict:
    """Return the page once it knows of the signals: a run tells its news ten times a second, and waits for nobody."""
    until = time.monotonic() + 10
    while not (seen := page(link))["runs"][0]["partitions"] and time.monotonic() < until:
        time.sleep(0.02)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_watched_run_is_the_same_run(place, kind):
    """Shown live under every kind, reachable from this machine alone, with the result of one that nobody watches."""
    heard, links, seen = [], [], {}

    def listen(event):
        match event:
            case Note(text=text) if text.startswith("dashboard: "):
                links.append(text.removeprefix("dashboard: "))
                assert not any(isinstance(earlier, StageProgress) for earlier in heard)
            case AccountMarked():
                seen["page"] = page_of_signals(links[0])
                seen["listening"] = listening(psutil.Process())
        heard.append(event)

    port = free_port(20_000 + 200 * KINDS.index(kind))
    chosen = [f"scheduler.kind={kind}", "scheduler.workers=2", "scheduler.dashboard=true", f"dashboard.port={port}"]
    done = backtest(SAMPLE, *settings(place, *chosen), listener=listen)
    (run,) = seen["page"]["runs"]
    parts = sum(isinstance(event, PartitionFinished) for event in heard)

    assert parts >= 4
    assert done.result_digest == (place / "digest").read_text()
    assert links == [f"http://127.0.0.1:{port}/backtest"]
    assert seen["listening"] == {"127.0.0.1"}
    assert (run["name"], run["state"], run["partitions"], run["bars"]) == ("sample", "running", parts, 12_154)
    assert run["stages"].keys() >= {"open", "start"}
    assert [worker["threads"] for worker in seen["page"]["workers"]] == {
        Kind.SYNCHRONOUS: [1],
        Kind.THREADS: [2],
        Kind.PROCESSES: [1, 1],
        Kind.DISTRIBUTED: [1, 1],
    }[kind]
    assert all(0 <= worker["gil"] <= 1 for worker in seen["page"]["workers"])


def test_the_link_is_told_before_an_ingest(tmp_path):
    """Which may take long, and comes before the cluster; the page is there then."""
    heard = []
    port = free_port(21_400)
    chosen = ["scheduler.kind=synchronous", "scheduler.dashboard=true", f"dashboard.port={port}"]
    backtest(SAMPLE, *settings(tmp_path, *chosen), listener=heard.append)

    told = [
        place for place, event in enumerate(heard) if isinstance(event, Note) and event.text.startswith("dashboard: ")
    ]
    ingested = heard.index(
        next(event for event in heard if isinstance(event, StageFinished) and event.stage is Stage.INGEST)
    )
    link = f"dashboard: http://127.0.0.1:{port}/backtest"
    assert [heard[place].text for place in told] == [f"{link}, as soon as the bars are ingested", link]
    assert told[0] < ingested < told[1]


# many runs on one cluster


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """Start what `make dashboard` starts; yield its process and what it says."""
    command = [sys.executable, "-m", "pipeline", "dashboard", "conf/sample.yaml", "--json", "scheduler.workers=2"]
    command.append(f"dashboard.port={free_port(21_000)}")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = json.loads(process.stdout.readline())
        assert said["exit_code"] == 0, said
        yield process, said
        process.send_signal(signal.SIGINT)


def called(place: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "pipeline", "run", "conf/sample.yaml", "--json", *settings(place, *overrides)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_runs_share_a_standing_cluster(place, standing, tmp_path):
    """At once and one after the other, of one that fails its page says why; all are reached from this machine alone."""
    process, said = standing
    broken = write_strategy(tmp_path, "broken", "def signal(bars):\n    raise ValueError('bad <bar>')\n")
    address = f"scheduler.address={said['address']}"
    runs = [called(place, address, f"name=run{number}") for number in (1, 2)]
    answers = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    failed = called(place, address, "name=failed", f"strategy.name={broken}")
    _, error = failed.communicate(timeout=60)
    shown = {run["name"]: run for run in page(said["dashboard"])["runs"]}

    assert [answer["result_digest"] for answer in answers] == [(place / "digest").read_text()] * 2
    assert failed.returncode == 5
    assert {name: run["state"] for name, run in shown.items()} == {
        "run1": "committed",
        "run2": "committed",
        "failed": "failed",
    }
    assert "bad <bar>" in shown["failed"]["reason"]
    assert shown["failed"]["reason"] in error
    assert shown["failed"]["strategy"] == "broken()"  # as everywhere else, not where it lies
    tasks, parts = shown["failed"]["tasks"], shown["failed"]["partitions"]
    assert (tasks["done"], tasks["running"]) == (0, 0)
    assert 1 <= tasks["failed"] == parts - tasks["waiting"]
    for answer in answers:
        run = next(run for run in shown.values() if run["path"] == answer["run_dir"])
        assert run["filled"] == answer["metrics"]["orders_filled"]
        assert run["refused"] == answer["metrics"]["orders_partial"] + answer["metrics"]["orders_rejected"]
        assert len(run["sessions"]) == len(run["equity"]) == len(run["drawdown"])
        assert run["equity"][-1] == pytest.approx(answer["metrics"]["final_equity"])
        assert min(run["drawdown"]) == pytest.approx(answer["metrics"]["max_drawdown"])
    assert listening(psutil.Process(process.pid)) == {"127.0.0.1"}


def test_a_run_that_is_killed_is_lost(place, standing):
    """Its page does not say that it goes on."""
    _, said = standing
    run = called(place, f"scheduler.address={said['address']}", "name=killed", "strategy.name=buy_and_hold")
    while all(each["name"] != "killed" for each in page(said["dashboard"])["runs"]):
        assert run.poll() is None
    run.kill()
    run.communicate()
    for _ in range(100):
        (shown,) = [each for each in page(said["dashboard"])["runs"] if each["name"] == "killed"]
        if shown["state"] != "running":
            break
        time.sleep(0.1)

    assert (shown["state"], shown["reason"]) == ("lost", "the process that ran it is gone")


def test_ctrl_c_ends_a_standing_cluster_with_all_it_started(tmp_path):
    """It is how it is meant to end: exit code 0, and no process left."""
    command = [sys.executable, "-m", "pipeline", "dashboard", "conf/sample.yaml", f"dashboard.port={free_port(21_500)}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = list(iter(process.stdout.readline, "end it     Ctrl-C\n"))
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
    _, left = psutil.wait_procs(below, timeout=5)

    assert re.match(r"dashboard +http://127\.0\.0\.1:\d+/backtest$", told[0])
    assert re.match(r"address +tcp://127\.0\.0\.1:\d+$", told[1])
    assert (process.returncode, error, left) == (0, "", [])


def test_a_cluster_that_runs_already_is_not_started():
    """`dashboard` starts one; an address names one."""
    command = [sys.executable, "-m", "pipeline", "dashboard", "conf/sample.yaml"]
    command.append("scheduler.address=tcp://127.0.0.1:9")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("scheduler.address: tcp://127.0.0.1:9; a cluster that runs already is not started.")


# Dask's own pages


@pytest.mark.parametrize("kind", [*KINDS, "address"])
def test_performance_reports_tell_the_work_and_no_secrets(place, standing, tmp_path, monkeypatch, kind):
    """Under every kind one page that loads nothing, names tasks by their symbols, and holds no source and no secret."""
    monkeypatch.setenv("DATA_TOKEN", f"{SECRET} of the environment")
    strategy = write_strategy(tmp_path, "telling", TELLING)
    where = f"address={standing[1]['address']}" if kind == "address" else f"kind={kind}"
    chosen = [f"scheduler.{where}", "scheduler.workers=2", "output.performance=true", f"strategy.name={strategy}"]
    heard = []
    own = settings(place, *chosen, "strategy.params.token=${ENV:DATA_TOKEN}")
    done = backtest(SAMPLE, *own, listener=heard.append)
    parts = sum(isinstance(event, PartitionFinished) for event in heard)
    text = Path(done.run_dir, "performance.html").read_text(encoding="utf-8")

    assert done.state == "committed"
    assert parts >= 4
    assert f"number of tasks: {parts}" in text
    assert "signals telling AAPL" in text
    assert "/telling.py" in text  # the profile says where the time went, also in less than the second Dask takes for it
    assert SECRET not in text
    assert "sum(range" not in text
    assert str(tmp_path) not in text
    assert str(place) not in text
    assert str(ROOT) not in text
    assert not re.search(r"<script[^>]*\bsrc=|<link[^>]*\bhref=", text)
    assert "default-src 'none'" in text


def test_the_task_stream_names_stage_strategy_and_symbols(tmp_path):
    """Tasks of a strategy are of one colour, on which Dask's black letters can be read."""
    blocks = blocks_in(tmp_path, market(), 3)
    with start(choice(Kind.THREADS), dashboard=True, site=Site(port=free_port(22_000))) as scheduler:
        scheduler.client.register_plugin(by_value(BacktestPlugin(ends=True)))
        signals_of("sma_cross", blocks, scheduler)
        drawn = scheduler.client.cluster.scheduler.plugins["task-stream"].rectangles(0)
    tasks = {name: colour for name, colour in zip(drawn["name"], drawn["color"], strict=True) if "-" not in name}

    assert [block.symbols for block in blocks] == [("AAA",), ("BBB", "CCC"), ("DDD", "EEE", "FFF")]
    assert sorted(tasks) == ["signals sma_cross AAA", "signals sma_cross BBB..CCC", "signals sma_cross DDD..FFF"]
    assert len(set(tasks.values())) == 1


@pytest.mark.parametrize("name", ["sma_cross", "rsi", "buy_and_hold", "a", "b", "c"])
def test_colours_can_be_written_on(name):
    """Black on the colour of any strategy has the contrast that WCAG AA asks of large text, and the name is kept."""
    title = legible(f"signals {name}")
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(color_of(title)[place : place + 2], 16) / 255 for place in (1, 3, 5))
    )

    assert (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) / 0.05 >= 3
    assert title.rstrip() == f"signals {name}"
    assert key_split(f"{title}-1f2e3d4c") == title
