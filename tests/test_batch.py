"""The command `batch` as a timer calls it, with real runs: what it leaves, and that starting it again is right."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from csv_files import one_run
from pipeline import config
from pipeline.batch import door
from pipeline.command_line import main
from pipeline.errors import ExitCode
from pipeline.files import locked
from pipeline.interrupts import Stopped
from pipeline.results import attempts, rundir
from pipeline.run import run

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "conf" / "sample.yaml"
PATIENCE = 120.0  # seconds, on a busy machine


class Folder:
    """A folder with a batch of a small grid in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        self.settings = {
            "data.store": f"{path}/store",
            "output.dir": f"{path}/runs",
            "output.report": "false",
            "scheduler.kind": "synchronous",
        }
        self.write(f"- {{conf: {SAMPLE}, vary: {{strategy.params.fast: [5, 10]}}}}")

    def write(self, runs: str, settings: str = "", **more: str) -> None:
        """Write the batch file."""
        common = {**self.settings, **more}
        text = "".join(f"  {name}: {value}\n" for name, value in common.items())
        (self.path / "grid.yaml").write_text(f"backoff: [0]\n{settings}set:\n{text}runs:\n{runs}\n")

    def strategy(self, name: str, deadline: float | str = "null") -> str:
        """Write one of the strategies and return an entry of `runs` for it."""
        (self.path / f"{name}.py").write_text(ENDINGS[name][0])
        chosen = f"{{strategy: {{name: {self.path}/{name}.py}}, name: {name}, deadline: {deadline}}}"
        return f"- {{name: {name}, conf: {SAMPLE}, set: {chosen}}}"

    def batch(self, capsys, *arguments: str) -> dict:
        """Call the command in this process and return its answer."""
        code = main(["batch", str(self.path / "grid.yaml"), "--json", *arguments])
        answer = json.loads(capsys.readouterr().out)
        assert answer["exit_code"] == code
        return answer

    def start(self, *arguments: str, **more) -> subprocess.Popen:
        """Start the command."""
        words = [sys.executable, "-m", "pipeline", "batch", self.path / "grid.yaml", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        return subprocess.Popen(words, **{**pipes, **more})

    def content(self) -> dict[str, tuple[str, int]]:
        """Return sha256 and time of every file of the runs."""
        files = [path for path in self.runs.glob("sample/**/*") if path.is_file()]
        return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_a_batch_makes_each_run_as_run_would(folder, capsys):
    """The same digests, whole run directories, a record, a log, a page; asked again, nothing is changed."""
    done = folder.batch(capsys)
    alone = [
        run(
            config.load(SAMPLE, [f"strategy.params.fast={fast}", *(f"{k}={v}" for k, v in folder.settings.items())], {})
        )
        for fast in (5, 10)
    ]
    before = folder.content()
    again = folder.batch(capsys)

    assert (done["exit_code"], done["state"], done["counts"]) == (0, "committed", {"committed": 2})
    assert [each["result_digest"] for each in done["runs"]] == [each.result_digest for each in alone]
    assert [rundir.verify(Path(each["run_dir"])) for each in done["runs"]] == [[], []]
    assert (again["exit_code"], again["counts"]) == (0, {"complete": 2})
    assert folder.content() == before
    assert len(list(folder.runs.glob("batches/grid/*-*/batch.json"))) == 2
    assert "sample[fast=10]" in (folder.runs / "index.html").read_text()


def test_the_last_line_on_stdout_is_for_machines(folder):
    """After the table and the page's place; progress is on stderr, one line a run."""
    with folder.start("--as-of", "2012-12-31") as process:
        out, err = process.communicate(timeout=PATIENCE)
    *_, page, last = out.splitlines()
    told = json.loads(last)

    assert process.returncode == told["code"] == 0
    assert (told["event"], told["class"], told["counts"]) == ("exit", "ok", {"committed": 2})
    assert page == str(folder.runs / "index.html")
    assert err.splitlines()[0] == "batch grid as of 2012-12-31: 2 runs"
    assert err.splitlines()[-1].startswith("[2/2] sample[fast=10]: committed, ")
    assert Path(told["path"]).name == "2012-12-31-1"
    record = json.loads((Path(told["path"]) / "batch.json").read_text())
    assert {each["newest"] for each in record["runs"]} == {"2012-12-31"}


ENDINGS = {
    "fine": ("def signal(bars): return bars['close'] * 0\n", "committed", 0, ""),
    "fails": ("def signal(bars): raise ValueError('bad bar')\n", "failed", 5, "ValueError: bad bar"),
    "stops": ("def signal(bars): raise KeyboardInterrupt('mine')\n", "failed", 5, "KeyboardInterrupt: mine"),
    "hangs": ("def signal(bars):\n    while True: pass\n", "failed", 124, "deadline 4 s passed in stage signals"),
    "dies": ("import os\ndef signal(bars): os.kill(os.getpid(), 9)\n", "failed", 75, "was killed by SIGKILL"),
    "last": ("def signal(bars): return bars['close'] * 0 + 1\n", "committed", 0, ""),
}


def test_each_run_ends_as_it_does_and_the_next_one_is_made(folder, capsys):
    """A strategy that raises, hangs or kills its process costs its own run; only the last of these is tried again."""
    folder.write("\n".join(folder.strategy(name, 4 if name == "hangs" else "null") for name in ENDINGS))
    done = folder.batch(capsys)

    assert done["exit_code"] == 5
    for told in done["runs"]:
        _, state, code, reason = ENDINGS[told["label"]]
        assert (told["state"], told["exit_code"], told["attempts"]) == (state, code, 3 if code == 75 else 1)
        assert reason in told["reason"]
        assert (told["record"] is None) == (code == 0)
        if code == 5:
            kept = (Path(told["record"]) / "traceback.txt").read_text().splitlines()
            assert (kept[1], kept[-1]) == (f'  File "{folder.path}/{told["label"]}.py", line 1, in signal', reason)
            assert "traceback.txt" in (folder.runs / "index.html").read_text()
    assert sorted(path.name for path in (folder.runs / ".staging").iterdir()) == []


def test_a_corrupt_store_is_found_before_the_first_run(folder, capsys):
    """Every part is compared with its sha256; nothing is published on one that is not what it was."""
    folder.batch(capsys)
    part = max((folder.path / "store" / "parts").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    folder.write(f"- {{conf: {SAMPLE}, set: {{trading.cash: 5_000}}}}")
    done = folder.batch(capsys)

    assert done["exit_code"] == 4
    assert part.name in done["runs"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as-of", "2999-01-01"], "--as-of: 2999-01-01 lies in the future"),
        (["--as-of", "yesterday"], "--as-of: 'yesterday'; a date like 2020-12-31 expected."),
        (["trading.csh=5"], "command line: trading.csh is not a setting"),
    ],
)
def test_a_wrong_call_is_2_before_anything_is_made(folder, capsys, arguments, message):
    """With the argument that is wrong."""
    code = main(["batch", str(folder.path / "grid.yaml"), *arguments])

    assert code == 2
    assert message in capsys.readouterr().err
    assert not folder.runs.exists()


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["plain", "json"])
@pytest.mark.parametrize(
    ("wrong", "code", "kind"),
    [("config", 2, "usage"), ("locked", 75, "temporary"), ("no folder", 75, "temporary")],
)
def test_a_batch_that_cannot_begin_ends_with_its_line_too(folder, capsys, wrong, code, kind, flags):
    """On stdout, as one JSON object, and `on_failure` hears of it, once."""
    heard = folder.path / "heard"
    words = json.dumps(["sh", "-c", f"cat >> {heard}"])
    csh = ", set: {trading.csh: 3}" if wrong == "config" else ""
    folder.write(f"- {{conf: {SAMPLE}{csh}}}", settings=f"on_failure: {words}\n")
    if wrong == "no folder":
        folder.runs.touch()
    with locked(folder.runs / "batches/grid/lock", "batch grid") if wrong == "locked" else nullcontext():
        assert main(["batch", str(folder.path / "grid.yaml"), "--wait", "1s", *flags]) == code
    printed = capsys.readouterr()

    (line,) = printed.out.splitlines()
    told, passed_on = json.loads(line), json.loads(heard.read_text())
    assert [told[name] for name in ("event", "code", "class", "state")] == ["exit", code, kind, "failed"]
    assert told["reason"] == passed_on["reason"] == printed.err.strip()
    assert printed.err.endswith(" longer than the 1 s of --wait.\n") == (wrong == "locked")
    assert [passed_on[name] for name in ("batch", "state", "exit_code", "runs")] == ["grid", "failed", code, []]


def test_a_batch_that_is_stopped_before_it_begins_tells_it(folder, capsys, monkeypatch):
    """Once its file was read, while it waits for another one, say: `on_failure` hears of it as of a failure."""
    heard = folder.path / "heard"
    folder.write(f"- {{conf: {SAMPLE}}}", settings=f"on_failure: {json.dumps(['sh', '-c', f'cat >> {heard}'])}\n")

    def stopped(*_, **__):
        raise Stopped(ExitCode.TERMINATED)

    monkeypatch.setattr(door, "batch", stopped)
    assert main(["batch", str(folder.path / "grid.yaml")]) == 143
    told, passed_on = json.loads(capsys.readouterr().out), json.loads(heard.read_text())

    assert (told["code"], told["state"]) == (143, "interrupted")
    assert [passed_on[name] for name in ("state", "exit_code", "runs")] == ["interrupted", 143, []]
    assert passed_on["reason"] == told["reason"] == "terminated by a signal."


def test_verify_looks_at_all_stores_and_runs_of_a_batch(folder, capsys):
    """By the batch file itself; `run` says what it is."""
    folder.write(
        f"- {{conf: {SAMPLE}}}\n- {{name: b, conf: {SAMPLE}, set: {{name: b, data.store: {folder.path}/other}}}}"
    )
    path = str(folder.path / "grid.yaml")
    assert main(["batch", path]) == 0
    capsys.readouterr()

    assert main(["verify", path]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed] == [
        f"{folder.path}/{name}:" for name in ("store", "other", "runs/sample", "runs/b")
    ]
    assert main(["run", path]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: a batch file, since it has `runs`; ")


def test_a_batch_removes_what_batches_made_and_tells_each(folder, capsys):
    """A run by hand that it found complete stays; one of its own goes, also where a later batch found it complete."""
    folder.write(f"- {{conf: {SAMPLE}}}", settings="keep: {batches: 1}\n")
    words = [f"{name}={value}" for name, value in folder.settings.items()]
    assert main(["run", str(SAMPLE), *words, "as_of=2012-12-26", "--json"]) == 0
    by_hand = Path(json.loads(capsys.readouterr().out)["run_dir"])
    days = ("2012-12-26", "2012-12-27", "2012-12-27", "2012-12-28")
    done = [folder.batch(capsys, "--as-of", day) for day in days]
    made = [Path(each["runs"][0]["run_dir"]) for each in done]

    assert [each["counts"] for each in done] == [{"complete": 1}, {"committed": 1}, {"complete": 1}, {"committed": 1}]
    assert (made[0], made[1]) == (by_hand, made[2])
    assert [path.exists() for path in (by_hand, made[1], made[3])] == [True, False, True]
    assert [attempts.read_record(path)["batch"] for path in (by_hand, made[3])] == [None, "grid 2012-12-28-4"]
    removed = [(line["what"], line["path"]) for line in lines_of(folder.runs) if line["event"] == "removed"]
    assert removed == [("run", str(made[1])), ("batch", done[2]["folder"])]


def lines_of(path: Path):
    """Return the lines of the logs of all batches, in order."""
    logs = sorted(path.glob("batches/grid/*/log.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_batch(folder, number, code):
    """Within ten seconds, under a strategy that hangs: told in the record, the log and the last line; no child left."""
    folder.write("\n".join([folder.strategy("hangs"), folder.strategy("fine")]))
    with folder.start() as process:
        until = time.monotonic() + PATIENCE
        while not list(folder.runs.glob(".staging/hangs*/log.jsonl")) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - began

    told = json.loads(out.splitlines()[-1])
    assert took < 10
    assert (process.returncode, told["code"], told["state"]) == (code, code, "interrupted")
    assert told["counts"] == {"interrupted": 1, "pending": 1}
    assert (lines_of(folder.runs)[-1]["event"], lines_of(folder.runs)[-1]["code"]) == ("exit", code)
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=3)
    assert children
    assert not alive


def test_a_batch_called_from_nowhere_leaves_its_record(folder):
    """No environment, no terminal, streams closed, cwd /, umask 000."""
    words = [sys.executable, "-m", "pipeline", "batch", str(folder.path / "grid.yaml")]
    shell = 'umask 000; cd /; exec "$@" 0<&- 1>&- 2>&-'
    code = subprocess.run(["/usr/bin/env", "-i", "/bin/sh", "-c", shell, "sh", *words], check=False).returncode

    assert code == 0
    assert lines_of(folder.runs)[-1]["state"] == "committed"
    assert [oct(path.stat().st_mode & 0o777) for path in folder.runs.glob("batches/grid/*/*")] == ["0o600"] * 2


def test_two_batches_of_a_name_never_interleave(folder):
    """The second exits 75 at once; with --wait it waits its turn, and makes what the first one did not."""
    with folder.start(env={**os.environ, "BT_FAULT": "stage.trading:sleep"}) as first:
        while not list(folder.runs.glob(".staging/sample*/log.jsonl")) and first.poll() is None:
            time.sleep(0.05)
        with folder.start() as second, folder.start("--wait", "2m", "--json") as patient:
            said = second.communicate(timeout=PATIENCE)[1]
            assert second.returncode == 75
            assert f"locked by process {first.pid}, batch grid, since " in said
            assert said.endswith(" Wait for it to end. The command can wait so: --wait 10m.\n")
            assert patient.poll() is None
            first.kill()
            told = json.loads(patient.communicate(timeout=PATIENCE)[0])
        first.communicate()

    assert told["counts"] == {"committed": 2}
    assert [name[-2:] for name in sorted(path.name for path in folder.runs.glob("batches/grid/*-*"))] == ["-1", "-2"]
    assert lines_of(folder.runs)[-1]["code"] == 0


def test_a_source_that_shrinks_is_told_by_the_batch(tmp_path, capsys):
    """A file that vanished is a warning and code 0; one that was cut names its symbol in the reason, with code 3."""
    bars = one_run(tmp_path)
    (tmp_path / "eod.yaml").write_text("runs: [{conf: one.yaml}]\n")
    command = ["batch", str(tmp_path / "eod.yaml")]
    assert main(command) == 0
    capsys.readouterr()

    (bars / "CCC.csv").unlink()
    assert main(command) == 0
    gone = capsys.readouterr()
    assert "warning: one: " in gone.err
    assert "CCC.csv" in gone.err
    assert json.loads(gone.out.splitlines()[-1])["warnings"] == 1
    assert "  1 warning, 1 new: " in gone.out

    lines = (bars / "AAA.csv").read_text().splitlines(keepends=True)
    (bars / "AAA.csv").write_text("".join(lines[:-3]))
    assert main(command) == 3
    cut = capsys.readouterr()
    assert "the files of 1 symbol no longer give all stored bars, which stay: AAA (" in cut.out
