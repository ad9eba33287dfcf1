"""Ctrl-C and SIGTERM while a strategy hangs, through the real command line, under every kind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 10  # seconds
KINDS = ("synchronous", "threads", "processes", "distributed", "auto")
WATCHED = ["scheduler.dashboard=true", "dashboard.port=19750"]
HANGING = """
import os
COLUMNS = ("close",)

def signal(bars):
    os.write(os.open({marker!r}, os.O_WRONLY | os.O_CREAT), b"x")
    while True:
        pass
"""


@pytest.mark.parametrize("after", [1.4, 1.8, 2.2, 2.6])
@pytest.mark.parametrize(("kind", "number", "code"), [("distributed", signal.SIGINT, 130), ("threads", 15, 143)])
def test_a_cluster_is_ended_while_it_starts(kind, number, code, after, tmp_path):
    """At whatever moment a signal comes: the status is its own, and the last word is ours."""
    (tmp_path / "hang.py").write_text(HANGING.format(marker=str(tmp_path / "computing")))
    own = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", "strategy.params={}", *WATCHED]
    command = [sys.executable, "-m", "pipeline", "run", "conf/sample.yaml", f"strategy.name={tmp_path}/hang.py"]
    command += [*own, f"scheduler.kind={kind}", "scheduler.workers=2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True, process_group=0) as process:
        time.sleep(after)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=3 * LIMIT)
        _, alive = psutil.wait_procs(children, timeout=LIMIT)

    assert (process.returncode, alive) == (code, [])
    assert "Traceback" not in err
    assert "FATAL" not in err


@pytest.mark.parametrize(
    ("kind", "how", "number", "code"),
    [
        *((kind, [], signal.SIGINT, 130) for kind in KINDS),
        ("synchronous", WATCHED, signal.SIGINT, 130),
        ("threads", ["output.performance=true"], signal.SIGTERM, 143),
    ],
)
def test_a_strategy_that_hangs_is_ended(kind, how, number, code, tmp_path):
    """Within ten seconds all processes are gone, nothing is published, no traceback is left, and a record says why."""
    marker = tmp_path / "computing"
    (tmp_path / "hang.py").write_text(HANGING.format(marker=str(marker)))
    own = ["scheduler.workers=2", f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", "strategy.params={}"]
    command = [sys.executable, "-m", "pipeline", "run", "conf/sample.yaml", f"strategy.name={tmp_path}/hang.py"]
    command += [*own, *how, f"scheduler.kind={kind}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True, process_group=0) as process:
        while not marker.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        if number == signal.SIGINT:  # as a terminal sends it
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=3 * LIMIT)
        took = time.monotonic() - began
        _, alive = psutil.wait_procs(children, timeout=2)

    assert (process.returncode, alive) == (code, [])
    assert took < LIMIT
    assert "Traceback" not in err
    assert not list((tmp_path / "runs").glob("sample/[!.]*"))
    (record,) = (tmp_path / "runs" / ".failed").glob("*/run.json")
    assert f"Record: {record.parent}" in err
    assert json.loads(record.read_text())["state"] == "interrupted"
