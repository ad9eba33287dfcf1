import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import dask.dataframe as dd
import pandas as pd
import pytest

from pipeline.command_line import main
from pipeline.compute import workers
from pipeline.errors import DataError, ExitCode, PipelineError, StrategyError, TemporaryError
from pipeline.events import Stage, Warned, stage
from stores import make_store

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "conf" / "sample.yaml")


@dataclass(frozen=True)
class Answer:
    run_dir: Path = Path("/runs/sample/1f-1")
    state: str = "committed"
    exit_code: ExitCode = ExitCode.OK
    stages: dict = field(default_factory=lambda: {"signals": 0.5})
    summary: list = field(default_factory=lambda: [("total return", "12.3 %"), ("fills", "7")])


@pytest.fixture
def stages(monkeypatch):
    """Put stand-ins in the place of what the commands call; they remember what they were asked."""
    asked = SimpleNamespace(calls=[], answer=Answer(), error=None)

    def called(name):
        def command(options, listener=None, **more):
            asked.calls.append((name, options, more))
            if listener:
                with stage(listener, Stage.SIGNALS, total=2, unit="block"):
                    listener(Warned("one file was refused"))
            if asked.error:
                raise asked.error
            return asked.answer

        return command

    for module, names in (("run", ["run"]), ("upkeep", ["ingest", "verify"])):
        commands = SimpleNamespace(**{name: called(name) for name in names})
        monkeypatch.setitem(sys.modules, f"pipeline.{module}", commands)
    return asked


@pytest.fixture(autouse=True)
def _own_folder_for_tracebacks(monkeypatch, tmp_path_factory):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tracebacks")))


def test_run_prints_the_table_on_stdout_and_talks_on_stderr(stages, capsys):
    """Results can be piped on; progress and warnings are for the person."""
    code = main(["run", SAMPLE, "trading.cash=5", "name=mine"])
    printed = capsys.readouterr()

    assert code == 0
    assert printed.out == "total return  12.3 %\nfills         7\n"
    assert printed.err.startswith("warning: one file was refused\nsignals   2 blocks ")
    (name, options, _), *others = stages.calls
    assert (name, options.trading.cash, options.name, others) == ("run", 5, "mine", [])


@pytest.mark.parametrize(("flags", "rebuild"), [([], False), (["--rebuild"], True)])
def test_ingest_passes_rebuild_on(stages, flags, rebuild):
    """`ingest` reads everything again only when told to."""
    assert main(["ingest", SAMPLE, *flags]) == 0
    assert [(name, more) for name, _, more in stages.calls] == [("ingest", {"rebuild": rebuild})]


@pytest.mark.parametrize("command", ["run", "ingest", "verify"])
def test_json_is_one_object(stages, capsys, command):
    """With --json stdout holds exactly one object, without the table."""
    stages.answer = Answer(state="degraded", exit_code=ExitCode.DEGRADED)
    code = main([command, SAMPLE, "--json"])

    assert code == 3
    assert json.loads(capsys.readouterr().out) == {
        "run_dir": "/runs/sample/1f-1",
        "state": "degraded",
        "exit_code": 3,
        "stages": {"signals": 0.5},
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PipelineError("a: b"), 1),
        (DataError("a: b"), 4),
        (StrategyError("a: b"), 5),
        (TemporaryError("a: b"), 75),
    ],
)
def test_errors_are_one_line_with_their_code(stages, capsys, error, code):
    """An error of the tree is its message and its exit code, never a traceback."""
    stages.error = error

    assert main(["run", SAMPLE]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()[-1]) == ("", "a: b")
    assert "Traceback" not in printed.err
    assert main(["run", SAMPLE, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in ("state", "exit_code", "error")} == {
        "state": "failed",
        "exit_code": code,
        "error": "a: b",
    }
    assert [told[name] for name in ("event", "code", "class", "reason")] == [
        "exit",
        code,
        error.exit_code.name.lower(),
        "a: b",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "nowhere.yaml"],
        ["run", SAMPLE, "trading.cash=-1"],
        ["run", SAMPLE, "--fast"],
        ["run", "trading.cash=5"],
        ["fly", SAMPLE],
        [],
        ["files", "nowhere"],
    ],
)
def test_wrong_usage_is_2(stages, capsys, arguments):
    """The command line and the config end with 2, in text and as JSON, before anything runs."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.strip()
    assert main([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert stages.calls == []


def test_a_defect_is_1_with_its_traceback_in_a_file(stages, capsys, tmp_path, monkeypatch):
    """What nobody expected is told in one line that says where, and the traceback is kept."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stages.error = ZeroDivisionError("by\nzero")

    assert main(["run", SAMPLE]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    (kept,) = tmp_path.iterdir()
    assert line.startswith(f"{__file__}:")
    assert line.endswith(f"ZeroDivisionError by zero; a defect of the pipeline. Please report it with {kept}.")
    assert "raise asked.error" in kept.read_text()


def test_debug_shows_the_traceback_of_a_defect(stages, capsys):
    """Developers get the traceback at once."""
    stages.error = ZeroDivisionError("zero")

    assert main(["run", SAMPLE, "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_results_that_are_no_numbers_are_a_defect(stages, capsys):
    """NaN is no JSON; printing it would break the reader instead of us."""
    stages.answer = Answer(stages={"signals": float("nan")})

    assert main(["run", SAMPLE, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "failed"


def test_ctrl_c_is_130(stages, capsys):
    """An interrupted command says so, and ends as shells expect."""
    stages.error = KeyboardInterrupt()

    assert main(["run", SAMPLE, "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["state"] == "interrupted"


def test_dask_variables_are_dropped(stages, monkeypatch):
    """A variable of another project does not reach Dask."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://elsewhere:8786")

    assert main(["run", SAMPLE]) == 0
    assert "DASK_SCHEDULER_ADDRESS" not in os.environ


@pytest.mark.parametrize(
    ("settings", "is_started"),
    [
        ([], False),
        (["scheduler.kind=threads", "data.source=csv", "data.path=bars"], False),
        (["scheduler.kind=processes"], True),
        (["scheduler.kind=distributed"], True),
        (["data.source=csv", "data.path=bars"], True),
        (["data.source=csv", "data.path=bars", "scheduler.processes.allowed=false"], False),
        (["data.source=csv", "data.path=bars", "data.symbols=[A, B]"], False),
        (["data.symbols=[A, B, C]", "scheduler.auto={sequential_max: 2, threads_max: 2}"], True),
        (["scheduler.auto={sequential_max: 2, threads_max: 2}"], True),
        (["data.source=synthetic"], True),
        (["data.source=synthetic", "data.synthetic.symbols=10"], False),
    ],
)
def test_workers_are_started_early_where_they_may_be_needed(stages, monkeypatch, settings, is_started):
    """The fork server imports while we import; a run that never uses it does not pay for it."""
    starts = []
    monkeypatch.setattr(workers, "prestart", lambda: starts.append(1))

    assert main(["run", SAMPLE, *settings]) == 0
    assert starts == [1] * is_started


def test_signal_handlers_are_given_back(stages):
    """Whoever calls `main` keeps the handlers it had."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    main(["run", SAMPLE])

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_strategies_are_listed_with_their_options(capsys):
    """The file name is the registry: every file in strategies/ is listed."""
    names = sorted(path.stem for path in (ROOT / "strategies").glob("[!_]*.py"))

    assert main(["strategies"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["strategies", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["strategies"]
    assert [each["name"] for each in listed] == names
    assert "fast: int = 10" in next(each for each in listed if each["name"] == "sma_cross")["options"]


def test_files_of_a_store_without_one(tmp_path, capsys):
    """A folder that is no store ends with 4 and says what to do."""
    assert main(["files", str(tmp_path)]) == 4
    assert "Run `ingest` first" in capsys.readouterr().err


def test_files_of_a_store_are_read_by_dask(tmp_path, capsys):
    """Anybody can open the bars: the printed paths are all that Dask's own reader needs."""
    sessions = pd.to_datetime(["2020-01-02", "2020-01-03"])
    frame = pd.DataFrame({"symbol": ["A", "A", "B", "B"], "session": [*sessions, *sessions], "volume": 1.0})
    make_store(tmp_path, frame.assign(**dict.fromkeys(["open", "high", "low", "close"], 5.0)), blocks=2)

    assert main(["files", str(tmp_path)]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert len(dd.read_parquet(paths)) == 4
    assert main(["files", "--json", SAMPLE, f"data.store={tmp_path}"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == paths
    assert main(["files", str(tmp_path), "--table", "actions"]) == 0
    assert len(pd.read_parquet(capsys.readouterr().out.strip())) == 0


# the real door: a process of its own

STOPPABLE = """
import sys, time, types
from pipeline.events import Stage, StageStarted

def run(options, listener):
    listener(StageStarted(Stage.SIGNALS))
    print("ready", flush=True)
    try:
        time.sleep(60)
    finally:
        time.sleep({cleaning})

sys.modules["pipeline.run"] = types.SimpleNamespace(run=run)
from pipeline import command_line, interrupts
interrupts.GRACE = {grace}
sys.exit(command_line.main(["run", {conf!r}]))
"""


def started(code, **options):
    return subprocess.Popen(
        [sys.executable, *code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize(
    ("number", "code", "cleaning"),
    [(signal.SIGTERM, 143, 0), (signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 60)],
    ids=["sigterm", "sigint", "stuck"],
)
def test_signals_end_a_run(number, code, cleaning):
    """SIGTERM and Ctrl-C unwind the run; when it is stuck, the time of grace ends it."""
    with started(["-c", STOPPABLE.format(conf=SAMPLE, cleaning=cleaning, grace=0.5)]) as process:
        assert process.stderr.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(number)

        assert process.wait(10) == code
        assert time.monotonic() - began < 5
        assert "Traceback" not in process.stderr.read()


def test_second_signal_ends_at_once():
    """Whoever is in a hurry presses Ctrl-C twice."""
    with started(["-c", STOPPABLE.format(conf=SAMPLE, cleaning=60, grace=50)]) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(1)  # for the first one to arrive, on a busy machine too
        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["run", "batch"])
@pytest.mark.parametrize("moment", ["imports", "python starts anew"])
def test_a_signal_before_the_command_begins_is_told_in_one_line(number, code, command, moment):
    """While Python imports it, or is about to: no traceback; on stdout the object of commands that end with one."""
    words = ["-X", "importtime", "-m", "pipeline", command, "none.yaml"]
    is_early = moment != "imports"
    mask = (lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {number})) if is_early else None
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, preexec_fn=mask, **pipes) as process:  # noqa: PLW1509
        while not is_early and "click." not in process.stderr.readline():
            pass
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

    name = {130: "interrupted", 143: "terminated"}[code]
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (code, [f"{name} by a signal."])
    ending = {"event": "exit", "code": code, "class": name, "state": "interrupted", "reason": f"{name} by a signal."}
    told = {**ending, "exit_code": code, "error": ending["reason"]}
    assert [json.loads(line) for line in out.splitlines()] == [told] * (command == "batch")


def test_help_imports_nothing_heavy():
    """--help answers at once: neither pandas, dask, numba nor pydantic are imported for it."""
    code = (
        "import sys; from pipeline.command_line import main; main(['--help']); "
        "print(sorted({'pandas', 'numpy', 'dask', 'distributed', 'numba', 'pydantic', 'bokeh'} & set(sys.modules)))"
    )
    output, _ = started(["-c", code]).communicate(timeout=30)

    assert output.splitlines()[-1] == "[]"


def test_closed_stdout_is_quiet():
    """`python -m pipeline strategies | head -0` leaves no traceback."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", "strategies"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)

    assert (process.returncode, process.stderr) == (0, b"")


FULL = "stdout: No space left on device; the answer could not be written. Check where it goes, and its free space."


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (["strategies"], 75, FULL),
        (["strategies", "--json"], 75, FULL),
        (["files", "conf", "--json"], 4, f"store {ROOT}/conf: not found; bars are ingested before they are read. "),
    ],
    ids=["table", "json", "error"],
)
def test_a_full_disk_is_told_in_one_line(command, code, line):
    """An answer that cannot be written is 75 and a sentence, not a traceback; an error stays what it is."""
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "pipeline", *command],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert process.returncode == code
    assert process.stderr.startswith(line)
    assert process.stderr.count("\n") == 1


@pytest.mark.faults
def test_what_a_strategy_prints_stays_out_of_the_answer(tmp_path):
    """With --json stdout holds one object, whatever a strategy prints here or in a worker."""
    file = tmp_path / "chatty.py"
    file.write_text("def signal(bars):\n    print('hello')\n    return bars['close'] * 0\n")
    command = [sys.executable, "-m", "pipeline", "run", SAMPLE, "--json", f"strategy.name={file}", "strategy.params={}"]
    places = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", "output.report=false"]
    done = subprocess.run([*command, *places, "scheduler.kind=processes"], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["exit_code"] == 0
    assert done.stderr.count("hello") == 5
