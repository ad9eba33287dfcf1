"""Runs in a process of their own: whatever they do, their parent gets an answer in time and is left alone."""

import re
import time
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from pipeline import config
from pipeline.batch.runner import Runner, answered
from pipeline.errors import ConfigError, DeadlineError, ExitCode, StrategyError
from pipeline.events import PartitionsStarted
from pipeline.interrupts import Stopped
from pipeline.results import attempts

ROOT = Path(__file__).parents[1]
HANGS = "def signal(bars):\n    while True: pass\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return where the five stocks that come along are stored, once for all tests."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def options_of(tmp_path, store):
    """Return a function that gives the options of a run, of a strategy of its own if it is given one."""

    def options_of(*overrides, strategy=None, kind="synchronous"):
        own = [f"data.store={store}", f"output.dir={tmp_path}/runs", "output.report=false", f"scheduler.kind={kind}"]
        if strategy:
            (tmp_path / "mine.py").write_text(strategy)
            own.append(f"strategy.name={tmp_path}/mine.py")
        return config.load(ROOT / "conf" / "sample.yaml", [*own, *overrides], {})

    return options_of


@pytest.fixture(autouse=True)
def _leaves_no_process():
    """Every test ends without a process that it did not begin with."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(left, timeout=3)
    assert not alive


def record_of(answer):
    """Return the record of a failed attempt."""
    return attempts.read_record(Path(answer["record"]))


def test_runs_follow_each_other_in_one_process(options_of):
    """And their workers stay warm: three runs on one worker process meet the same one."""
    text = """
        import os
        def signal(bars):
            if len(bars) < 3000: raise ValueError(f'worker {os.getpid()}')
            return [0.0] * len(bars)
    """
    options = options_of("scheduler.workers=1", "on_error=skip", strategy=dedent(text), kind="processes")
    with Runner(processes=True) as runner:
        answers = [runner.make(options) for _ in range(3)]

    assert [(answer["state"], answer["exit_code"]) for answer in answers] == [("degraded", 3)] * 3
    assert len({re.search(r"worker \d+", answer["reason"])[0] for answer in answers}) == 1


def test_a_run_is_answered_with_its_outcome(options_of):
    """As it would be by `run` itself; asked for once, it is found the second time."""
    with Runner(processes=False) as runner:
        first, second = (runner.make(options_of(), once=True) for _ in range(2))

    assert (first["state"], second["state"]) == ("committed", "complete")
    assert first["outcome"]["result_digest"] == second["outcome"]["result_digest"]
    assert first["outcome"]["run_dir"] == second["outcome"]["run_dir"]


@pytest.mark.parametrize("kind", ["synchronous", "threads", "processes", "distributed"])
def test_a_strategy_that_hangs_is_ended_at_the_deadline(options_of, kind):
    """Under every scheduler, although it never gives the GIL back; the partitions that hang are named."""
    with Runner(processes=kind == "processes") as runner:
        runner.make(options_of(kind=kind))
        began = time.monotonic()
        answer = runner.make(options_of("deadline=3", strategy=HANGS, kind=kind))
        took = time.monotonic() - began
        after = runner.make(options_of(kind=kind))

    assert took < 3 + 4
    assert (answer["state"], answer["exit_code"]) == ("failed", 124)
    assert re.match(
        r"run 'sample': deadline 3 s passed in stage signals; unfinished partitions: .*(AAPL|FB|GOOG|IBM|MSFT)",
        answer["reason"],
    )
    assert [record_of(answer)[name] for name in ("state", "exit_code", "reason")] == [
        "failed",
        124,
        answer["reason"],
    ]
    assert after["exit_code"] == 0


def test_a_strategy_that_hangs_as_it_is_first_asked_is_told_with_its_symbol(options_of):
    """Before a scheduler is chosen there are no partitions, but the strategy was asked about somebody."""
    with Runner(processes=False) as runner:
        answer = runner.make(options_of("deadline=3", strategy=HANGS, kind="auto"))

    told = "run 'sample': deadline 3 s passed in stage choose; the strategy was asked about AAPL; a run ends"
    assert answer["exit_code"] == 124
    assert answer["reason"].startswith(told)


def test_a_process_that_is_killed_costs_its_run_only(options_of):
    """It is worth a retry, its record says where it was, and the next run gets a fresh process."""
    dies = "import os, signal as signals\ndef signal(bars): os.kill(os.getpid(), signals.SIGKILL)\n"
    with Runner(processes=False) as runner:
        answer = runner.make(options_of(strategy=dies))
        after = runner.make(options_of())

    assert (answer["state"], answer["exit_code"]) == ("failed", 75)
    assert answer["reason"].startswith(
        "run: its process was killed by SIGKILL in stage signals; unfinished partitions: "
    )
    assert record_of(answer)["exit_code"] == 75
    assert after["exit_code"] == 0


def test_a_strategy_that_exits_the_process_is_told_so(options_of):
    """It is the strategy's doing, as an error of its own would be; the next run gets a fresh process."""
    exits = "import ctypes\ndef signal(bars): ctypes.CDLL(None)._exit(7)\n"
    with Runner(processes=False) as runner:
        answer = runner.make(options_of(strategy=exits))
        after = runner.make(options_of())

    assert (answer["state"], answer["exit_code"], record_of(answer)["exit_code"]) == ("failed", 5, 5)
    assert answer["reason"].startswith("run: its process ended with 7 in stage ")
    assert answer["reason"].endswith("The strategy ended it, in compiled code: have it raise an error instead.")
    assert after["exit_code"] == 0


def test_a_process_that_dies_between_runs_is_replaced(options_of):
    """Nobody notices but the clock."""
    with Runner(processes=False) as runner:
        runner.make(options_of())
        (child,) = (each for each in psutil.Process().children() if "pipeline.batch.worker" in each.cmdline())
        child.kill()
        child.wait()
        assert runner.make(options_of())["exit_code"] == 0


@pytest.fixture(params=[143, 130])
def stopped(request):
    """Return a listener that is interrupted as by a signal when the strategy begins, and the exit code of that."""

    def stop(event):
        if isinstance(event, PartitionsStarted):
            raise Stopped(ExitCode(request.param))

    return stop, request.param


@pytest.mark.parametrize("strategy", [HANGS, None])
def test_a_signal_is_passed_on_and_the_run_answers(options_of, stopped, strategy):
    """Within seconds, even if the strategy hangs: its record says that it was interrupted."""
    stop, code = stopped
    with Runner(processes=False) as runner:
        answer = runner.make(options_of("data.symbols=[GOOG]", strategy=strategy), stop)
        after = runner.make(options_of())

    assert (answer["state"], answer["exit_code"]) == ("interrupted", code)
    assert [record_of(answer)[name] for name in ("state", "exit_code")] == ["interrupted", code]
    assert after["exit_code"] == 0


@pytest.mark.parametrize(
    ("overrides", "strategy", "kind", "message"),
    [
        (["deadline=60", "data.symbols=[NONE]"], None, ConfigError, "'NONE' is not in the store"),
        (["deadline=60"], "def signal(bars): raise ValueError('bad bar')\n", StrategyError, "ValueError: bad bar"),
        (["deadline=8"], HANGS, DeadlineError, "deadline 8 s passed in stage signals"),
    ],
)
def test_one_run_within_its_deadline_fails_as_it_would_without(options_of, overrides, strategy, kind, message):
    """With the same kind of error, the same words, and the record's place as a note."""
    with pytest.raises(kind, match=message) as raised:
        answered(options_of(*overrides, strategy=strategy), lambda _: None)

    (note,) = raised.value.__notes__
    assert Path(note.removeprefix("record: ")).is_dir()


def test_a_deadline_that_passes_before_the_run_begins_is_told(options_of):
    """There is no record of it then, and none is named."""
    with pytest.raises(DeadlineError, match=r"deadline 0\.001 s passed in stage open") as raised:
        answered(options_of("deadline=0.001"), lambda _: None)

    assert not getattr(raised.value, "__notes__", [])


def test_one_run_within_its_deadline_is_answered(options_of):
    """With all that `run` tells."""
    assert answered(options_of("deadline=100"), lambda _: None)["rows"]["bars"] > 10_000


def test_one_run_that_is_stopped_stops_its_caller(options_of, stopped):
    """So that the command ends with 143 or 130."""
    stop, code = stopped
    with pytest.raises(Stopped) as raised:
        answered(options_of("deadline=60"), stop)

    assert raised.value.exit_code == code
