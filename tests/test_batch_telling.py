"""What a batch tells people, monitoring and a command of their choice, and what it removes in the end."""

import io
import json
import stat
import sys
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batches import EVENING, Nights
from pipeline import events
from pipeline.batch import page, retention, wire
from pipeline.batch.progress import Progress
from pipeline.batch.record import RunRecord
from pipeline.batch.table import last_line, table
from pipeline.batch.watch import Watch
from pipeline.console import CLEAR_LINE
from pipeline.events import Event, Stage, StageProgress, StageStarted
from pipeline.results import attempts
from signal_cases import COST

TWO = """
retries: 1
runs:
- {name: 'a[fast=5]', conf: one.yaml, set: {name: a}}
- {name: b, conf: one.yaml, set: {name: b}}
"""


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """Return batches in a folder of their own."""
    return Nights(tmp_path, monkeypatch, [0.0])


def samples(path: Path) -> dict[str, float]:
    """Return the figures of a file for Prometheus, read by its own parser."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_monitoring_reads_how_the_batch_ended(nights, tmp_path):
    """Exit code, last success, runs by state, each run's code and newest session, in Prometheus's format."""
    path = tmp_path / "metrics" / "eod.prom"
    text = f"metrics: {path}\nbackoff: [0]\n{TWO}"
    nights.batch(text)
    success = samples(path)["backtest_batch_last_success_timestamp_seconds[('batch', 'nightly')]"]
    nights.batch(text, {"a": [4], "b": [3]})
    found = samples(path)

    labels = "('batch', 'nightly')"
    assert found["backtest_batch_exit_code[('batch', 'nightly')]"] == 4
    assert found[f"backtest_run_exit_code[{labels}, ('run', 'a[fast=5]')]"] == 4
    assert found[f"backtest_run_exit_code[{labels}, ('run', 'b')]"] == 3
    assert found["backtest_batch_runs[('batch', 'nightly'), ('state', 'degraded')]"] == 1
    assert found["backtest_batch_runs[('batch', 'nightly'), ('state', 'committed')]"] == 0
    assert sum(value for name, value in found.items() if name.startswith("backtest_batch_runs[")) == 2
    assert found[f"backtest_run_newest_session_timestamp_seconds[{labels}, ('run', 'b')]"] == 1605830400  # 2020-11-20
    assert found[f"backtest_run_as_of_timestamp_seconds[{labels}, ('run', 'b')]"] == 1605830400
    assert found["backtest_batch_last_success_timestamp_seconds[('batch', 'nightly')]"] == success > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644  # the collector is another user
    assert [each.name for each in path.parent.iterdir()] == ["eod.prom"]


def test_runs_that_never_began_are_counted_by_monitoring(nights, tmp_path):
    """Those of a batch that was stopped: the states add up to all of its runs."""
    path = tmp_path / "eod.prom"
    nights.batch(f"metrics: {path}\n{TWO}", {"a": [143]})
    found = {name: value for name, value in samples(path).items() if name.startswith("backtest_batch_runs[") and value}

    labels = "backtest_batch_runs[('batch', 'nightly'), ('state', '{}')]"
    assert found == {labels.format("interrupted"): 1, labels.format("pending"): 1}


def test_every_night_has_the_same_series(nights, tmp_path):
    """The evening is a value, no label; of several evenings in one batch the last one counts."""
    path = tmp_path / "eod.prom"
    text = f"metrics: {path}\n{TWO}"
    nights.batch(text)
    before = samples(path)
    nights.batch(text, {"b": [3]}, as_of=date(2020, 11, 24), catch_up=2)
    after = samples(path)

    assert after.keys() == before.keys()
    key = "backtest_run_as_of_timestamp_seconds[('batch', 'nightly'), ('run', 'b')]"
    assert (before[key], after[key]) == (1605830400, 1606176000)  # 2020-11-20, 2020-11-24


def test_a_metrics_file_that_cannot_be_written_changes_nothing_else(nights, tmp_path):
    """It is told, and the batch ends as it would."""
    (tmp_path / "file").touch()
    done, _ = nights.batch(f"metrics: {tmp_path}/file/eod.prom\n{TWO}")

    assert done.exit_code == 0
    assert "metrics" in [line["event"] for line in nights.log(done) if line["level"] == "WARNING"]


def test_what_fails_after_the_runs_is_a_warning_of_the_batch(nights, tmp_path):
    """Counted in the last line, kept in batch.json, shown on the page, and the page is that of the end."""
    (tmp_path / "file").touch()
    done, _ = nights.batch(f"metrics: {tmp_path}/file/eod.prom\non_failure: [/none]\n{TWO}", {"b": [5]})
    metrics, command = nights.record(done)["warnings"]
    shown = page.page(nights.output)

    assert metrics.startswith(f"metrics: metrics {tmp_path}/file: File exists; ")
    assert command == "on_failure: /none: No such file or directory; a command expected. Correct on_failure."
    assert json.loads(last_line(done))["warnings"] == 2
    assert "; 2 warnings<" in shown
    assert f"<li>{command}</li>" in (nights.output / page.NAME).read_text() == shown
    assert done.exit_code == 5


KEEP = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


@pytest.mark.parametrize(("codes", "is_told"), [({}, False), ({"b": [3]}, True), ({"b": [5]}, True)])
def test_a_command_hears_of_a_batch_that_is_not_well(nights, tmp_path, codes, is_told):
    """It gets batch.json on stdin, without a shell; of one that ends with 0 it hears nothing."""
    heard = tmp_path / "heard; rm -rf"
    words = json.dumps([sys.executable, "-c", KEEP, str(heard)])
    done, _ = nights.batch(f"on_failure: {words}\n{TWO}", codes)

    assert heard.exists() == is_told
    if is_told:
        told = json.loads(heard.read_text())
        assert (told["state"], told["exit_code"], len(told["runs"])) == (done.state, done.exit_code, 2)


CORRECT = " of a command that told somebody. Correct on_failure, or what it calls."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/none"], "/none: No such file or directory; a command expected. Correct on_failure."),
        (
            [sys.executable, "-c", "import sys; sys.exit('no mail')"],
            f"{sys.executable}: ended with 1: no mail; 0 expected{CORRECT}",
        ),
        (["false"], f"false: ended with 1: no word on stderr; 0 expected{CORRECT}"),
    ],
)
def test_a_command_that_fails_is_told_in_the_log(nights, words, message):
    """And changes neither the record nor the exit code."""
    done, _ = nights.batch(f"on_failure: {json.dumps(words)}\n{TWO}", {"b": [5]})

    assert done.exit_code == 5
    assert [line["text"] for line in nights.log(done) if line["event"] == "on_failure"] == [message]


def test_the_table_says_what_each_run_came_to(nights):
    """State and code, figures with their units, seconds; the reason behind, cut where it is long."""
    done, _ = nights.batch(f"backoff: [0]\n{TWO}", {"b": [5]})
    done.runs[1]["reason"] = "x" * 200
    head, first, second = table(done.runs).splitlines()

    assert head.split() == [
        "run",
        "state",
        "total",
        "return",
        "annual",
        "Sharpe",
        "max",
        "drawdown",
        "trades",
        "seconds",
    ]
    assert first.split() == ["a[fast=5]", "committed", "+12.50%", "1.00", f"{done.runs[0]['seconds']:.2f}"]
    assert second.split() == ["b", "failed", "5", f"{done.runs[1]['seconds']:.2f}", "x" * 100 + "..."]
    assert first.index("+12.50%") + len("+12.50%") == head.index("total return") + len("total return")


def test_the_table_names_the_evening_where_there_are_several(nights):
    """A night that makes up for others has the same run more than once."""
    nights.batch(TWO, as_of=date(2020, 11, 18))
    done, _ = nights.batch(TWO, as_of=date(2020, 11, 20), catch_up=1)

    assert [line.split()[:2] for line in table(done.runs).splitlines()[1::2]] == [
        ["a[fast=5]", "2020-11-19"],
        ["a[fast=5]", "2020-11-20"],
    ]


def test_the_last_line_is_for_machines(nights):
    """One JSON object: the code, its class, the state, how many runs came to what, and where the record is."""
    done, _ = nights.batch(TWO, {"b": [5]})

    assert json.loads(last_line(done)) == {
        "event": "exit",
        "code": 5,
        "class": "strategy",
        "state": "failed",
        "reason": "1 failed (b: said 5)",
        "path": done.folder,
        "counts": {"committed": 1, "failed": 1},
        "warnings": 0,
    }


@pytest.mark.parametrize("code", [0, 4])
def test_what_runs_warn_of_is_told_everywhere(nights, monkeypatch, code):
    """A line of stderr for each warning, all of them in the log; the table, the page and the last line count them.

    Of a run that failed as well: what it warned of may be why.
    """
    stream = io.StringIO()
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    nights.warns = {"b": ["LUV.csv is gone; its bars stay.", "AAL.csv is no bar file any more."]}
    done, _ = nights.batch(TWO, {"b": [code]})
    shown = page.page(nights.output)

    warned = [line for line in stream.getvalue().splitlines() if line.startswith("warning: ")]
    assert warned == [f"warning: b: {text}" for text in nights.warns["b"]]
    lines = [line for line in nights.log(done) if line["event"] == "warning"]
    assert [(line["level"], line["label"], line["text"]) for line in lines] == [
        ("WARNING", "b", text) for text in nights.warns["b"]
    ]
    assert table(done.runs).splitlines()[2].endswith(" 2 warnings: LUV.csv is gone; its bars stay.")
    assert "warning" not in table(done.runs).splitlines()[1]
    assert [text in shown for text in ("; 2 warnings<", *(f"<li>b: {text}</li>" for text in nights.warns["b"]))] == [
        True
    ] * 3
    assert (json.loads(last_line(done))["warnings"], done.exit_code) == (2, code)


def test_what_several_runs_warn_of_alike_is_said_once(nights, monkeypatch):
    """Those of one store all tell what it has; it is one warning, with the first run and how many others."""
    stream = io.StringIO()
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    nights.warns = {"a": ["LUV.csv is gone."], "b": ["LUV.csv is gone.", "idle"], "c": ["LUV.csv is gone."]}
    done, _ = nights.batch(f"{TWO}- {{name: c, conf: one.yaml, set: {{name: c}}}}\n")

    warned = [line for line in stream.getvalue().splitlines() if line.startswith("warning: ")]
    assert warned == ["warning: a[fast=5] and 2 other runs: LUV.csv is gone.", "warning: b: idle"]
    assert json.loads(last_line(done))["warnings"] == 2
    assert "; 2 warnings<" in page.page(nights.output)
    assert len([line for line in nights.log(done) if line["event"] == "warning"]) == 4
    assert [run["warnings"] for run in nights.record(done)["runs"]] == list(nights.warns.values())


STANDING = [f"{name}.csv: 3 rows refused" for name in ("AAL", "BAC", "CAT")]
STALE = (
    "stale symbols: 2 of 9 symbols end more than 5 sessions of XNYS before 2020-11-{0}: 000001 9, 000002 {1}; "
    "1 ended more than 250 sessions before it: 000003 2019-02-04"
)


@pytest.mark.parametrize("keep", [1, 30])
def test_what_is_new_of_the_warnings_is_told_first(nights, keep):
    """A file that is gone tonight goes before those that were refused every night: in the table and on the page.

    One session more of a suspension is no news. It is the same where retention has removed the record before.
    """
    text = f"keep: {{batches: {keep}}}\n{TWO}"
    gone = "KILO.csv: gone <since> tonight; its bars stay."
    nights.warns = {name: [*STANDING, STALE.format(19, 6)] for name in "ab"}
    first, _ = nights.batch(text)
    tonight = [*STANDING, STALE.format(20, 7), gone]
    nights.warns = {"a": [*STANDING, STALE.format(20, 7)], "b": tonight}
    done, _ = nights.batch(text, as_of=EVENING + timedelta(days=1))
    shown = page.page(nights.output)

    assert (first.new_warnings, done.new_warnings, nights.record(done)["new_warnings"]) == ([], [gone], [gone])
    assert (first.warnings, done.warnings) == (4, 5)
    a, b = table(done.runs, done.new_warnings).splitlines()[1:]
    assert "  4 warnings: stale symbols: 2 of 9 symbols end" in a
    assert b.endswith(f"  5 warnings, 1 new: {gone}")
    escaped = gone.replace("<", "&lt;").replace(">", "&gt;")
    entries = [line for line in shown.splitlines() if line.startswith("<li>")]
    assert entries == [
        f"<li><b>new</b> b: {escaped}</li>",
        f"<li>a[fast=5] and 1 other run: {tonight[3]}</li>",
        *(f"<li>a[fast=5] and 1 other run: {each}</li>" for each in STANDING),
    ]
    assert f">5 warnings, 1 new: {escaped}</p>" in shown
    assert "; 5 warnings, 1 new<" in shown
    assert [shown.count(f": {each}</") for each in STANDING] == [1, 1, 1]


REFUSED = "{} of {} rows refused when the bars were ingested, see /s/quarantine.csv"
CLIPPED = "trading.short is false, so negative signals are taken as 0; of these there are {}"


@pytest.mark.parametrize(
    ("before", "now", "is_new"),
    [
        (REFUSED.format("3 of 12 files and 7", "11,667"), REFUSED.format("3 of 12 files and 7", "11,679"), False),
        (REFUSED.format("3 of 12 files and 7", "11,667"), REFUSED.format("3 of 13 files and 7", "11,679"), False),
        (REFUSED.format("7", "11,667"), REFUSED.format("900", "12,000"), True),
        (REFUSED.format("7", "11,667"), REFUSED.format("8", "11,667"), True),
        (CLIPPED.format("999"), CLIPPED.format("1,000"), False),
        ("2 new symbols: 600519, 000002; runs", "2 new symbols: 600519, 000001; runs", True),
        ("A: the close of 2020-11-19 moves by +50.0%", "A: the close of 2020-11-20 moves by +50.0%", True),
        ("gaps: 6 of 9 symbols: A 1, B 1 and 3 more", "gaps: 6 of 9 symbols: A 1, B 1 and 4 more", True),
        (STALE.format(19, 6), STALE.format(20, 7), False),
        (STALE.format(19, 6), STALE.format(20, 7).replace("2 of", "3 of"), True),
        (STALE.format(19, 6), STALE.format(20, 7).replace("000002", "000005"), True),
    ],
)
def test_what_grows_by_itself_is_no_news(nights, before, now, is_new):
    """Out of how many, for how long, up to which session; how many, which symbols, and when it happened are."""
    nights.warns = {"a": [before]}
    nights.batch(TWO)
    nights.warns = {"a": [now]}
    done, _ = nights.batch(TWO, as_of=EVENING + timedelta(days=1))

    assert done.new_warnings == [now] * is_new


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_after_a_batch_that_was_killed_standing_warnings_are_no_news(nights, state):
    """Its record knows those of the runs that it came to; the one before it knows all."""
    nights.warns = {"a": ["LUV.csv is gone."], "b": STANDING}
    nights.batch(TWO)
    nights.warns = {"a": ["LUV.csv is gone."]}
    done, _ = nights.batch(TWO, {"b": [143]} if state == "interrupted" else {}, EVENING + timedelta(days=1))
    if state == "running":
        told = nights.record(done)
        told["state"] = told["runs"][1]["state"] = "running"
        (Path(done.folder) / "batch.json").write_text(json.dumps(told))
    nights.warns = {"a": ["LUV.csv is gone."], "b": [*STANDING, "KILO.csv is gone."]}
    done, _ = nights.batch(TWO, as_of=EVENING + timedelta(days=2))

    assert done.new_warnings == ["KILO.csv is gone."]


def test_the_table_keeps_reasons_out_of_the_figures(nights):
    """They stand behind the last column, also where there are no figures; what the state says is not said twice."""
    done, _ = nights.batch(TWO.replace("name: b}", "name: b}, needs: ['a[fast=5]']"), {"a": [4]})
    head, failed, blocked = table(done.runs).splitlines()
    done.runs[0].update(state="complete", reason="no new session since 2020-11-19; already complete")

    assert failed.index("said 4") == blocked.index("needs a[fast=5], which is failed") == len(head) + 2
    assert table(done.runs).splitlines()[1].endswith("  no new session since 2020-11-19")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_progress_is_a_line_for_each_run(nights, monkeypatch):
    """Elsewhere than on a terminal: what is made, how each run ended, and what is tried again."""
    stream = io.StringIO()
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    nights.batch(f"backoff: [0]\n{TWO}", {"a": [75], "b": [5]})
    lines = stream.getvalue().splitlines()

    assert lines[:2] == [
        "batch nightly as of 2020-11-20: 2 runs",
        "a[fast=5]: retrying in 0 s, attempt 2 of 2: said 75",
    ]
    assert lines[2].startswith("[1/2] a[fast=5]: committed, total return +12.50%, Sharpe 1.00, ")
    assert lines[3] == "[2/2] b: failed (5), said 5"


def test_progress_names_the_evening_where_there_are_several(nights, monkeypatch):
    """As the table does: the same run comes more than once."""
    stream = io.StringIO()
    nights.batch(TWO, as_of=date(2020, 11, 18))
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    nights.batch(f"backoff: [0]\n{TWO}", {"b": [75]}, as_of=date(2020, 11, 20), catch_up=1)
    lines = stream.getvalue().splitlines()

    assert lines[1].startswith("[1/4] a[fast=5] 2020-11-19: committed, ")
    assert lines[2].startswith("b 2020-11-19: retrying in 0 s, ")
    assert lines[4].startswith("[3/4] a[fast=5] 2020-11-20: committed, ")


def test_evenings_that_wait_are_said_on_stderr(nights, monkeypatch):
    """How many runs, for which, and how to go on."""
    stream = io.StringIO()
    nights.batch(TWO, as_of=date(2020, 11, 18))
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    nights.batch(TWO, {"b": [5]}, as_of=date(2020, 11, 20), catch_up=1)

    assert stream.getvalue().splitlines()[-1] == (
        "2 runs of later evenings blocked by b as of 2020-11-19, which is failed; evenings are made in order, all runs "
        "of one before the next. Mend it and start the batch again, or go on without it: --backfill none."
    )


def test_progress_on_a_terminal_is_a_line_that_grows(nights, monkeypatch):
    """It names the run, its stage and how far that is, and how long the rest will take; never wider than the screen."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "60")
    progress = Progress(stream)
    monkeypatch.setattr("pipeline.batch.progress.REFRESH", -1)
    monkeypatch.setattr("batches.Progress", lambda _: progress)

    def script(options, before):
        progress(StageStarted(Stage.TRADING, 12_000, "bar"))
        progress(StageProgress(Stage.TRADING, 6_000))
        return 0

    nights.batch(TWO, script)
    drawn = [line for line in stream.getvalue().split("\r\x1b[K") if "\n" not in line]

    assert any(line.startswith("[1/2] a[fast=5] trading 6,000/12,000 (") for line in drawn)
    assert any("s to go)" in line for line in drawn if line.startswith("[2/2] b"))
    assert max(map(len, drawn)) < 60


def test_characters_that_act_on_a_terminal_are_shown_escaped():
    """A label or a reason may come from names of files: what would clear the screen or turn the text is not written."""
    stream, growing = io.StringIO(), Terminal()
    Progress(stream).say("a[x=\x1b[2J\u202e]: failed\x07")
    Progress(stream).warn("A\nB.csv: refused", [RunRecord("a", "a", "a.yaml", {}, "2020-11-20", [])])
    progress = Progress(growing)
    progress.begin(RunRecord("a\x1b[2J", "a", "a.yaml", {}, "2020-11-20", []))

    assert stream.getvalue() == "a[x=\\x1b[2J\\u202e]: failed\\x07\nwarning: a: A\\nB.csv: refused\n"
    assert growing.getvalue().removeprefix(CLEAR_LINE).startswith("[1/0] a\\x1b[2J ")


def test_a_terminal_that_goes_away_does_not_end_the_batch(nights, monkeypatch):
    """Nothing is said any more; the runs are made."""

    class Gone(Terminal):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("batches.Progress", lambda _: Progress(Gone()))
    done, _ = nights.batch(TWO)

    assert done.exit_code == 0


def test_every_event_crosses_or_stays_on_purpose():
    """What is sent between processes comes back equal; only the account's running marks stay where they are."""
    values = {"stage": Stage.SIGNALS, "partitions": ("A..B", "C"), "seconds": 0.5, "folder": "/x", "text": "é\n"}
    values["cost"] = COST
    made = []
    for kind in get_args(Event):
        known = {field.name: values.get(field.name, 3) for field in fields(kind)}
        made.append(kind(**known))

    sent = [event for event in made if wire.of_event(event) is not None]
    assert [wire.to_event(json.loads(wire.line(wire.of_event(event)))) for event in sent] == sent
    assert {type(event) for event in made} - {type(event) for event in sent} == {events.AccountMarked}


def test_a_watch_knows_the_stage_and_the_partitions_left():
    """The first three by name, not the finished, failed or those of an earlier stage; and every warning until then.

    While the scheduler is chosen, the symbols that the strategy is asked about first.
    """
    heard = []
    watch = Watch(heard.append)
    assert watch.place == "stage open"
    watch(StageStarted(Stage.CHOOSE))
    watch(events.SymbolsProbed("A"))
    watch(events.SymbolsProbed("A..B"))
    assert watch.place == "stage choose; the strategy was asked about A..B"
    watch(events.StageFinished(Stage.CHOOSE, 1.0))
    watch(StageStarted(Stage.SIGNALS, 5))
    watch(events.PartitionsStarted(("A..B", "C", "C1", "D..E", "F", "G")))
    watch(events.PartitionFinished("C", 1, COST))
    watch(events.PartitionFailed("C1"))
    assert watch.place == "stage signals; unfinished partitions: A..B, D..E, F and 1 more"
    watch(events.StageFinished(Stage.SIGNALS, 1.0))
    watch(StageStarted(Stage.TRADING))
    watch(events.Warned("LUV.csv is gone"))
    assert watch.place == "stage trading"
    assert watch.warnings == ["LUV.csv is gone"]
    assert len(heard) == 11


def names_of(nights, run):
    """Return the published runs of a name."""
    return sorted(path.name for path in (nights.output / run).iterdir())


def evenings(first, last):
    """Return the runs of some evenings after the first."""
    return [f"{EVENING + timedelta(days=day)}-1" for day in range(first, last)]


def test_old_batches_go_with_the_runs_that_only_they_name(nights):
    """Thirty stay; a pinned run stays, and so does the newest of a name that is run no more."""
    nights.batch("runs: [{name: once, conf: one.yaml, set: {name: once}}]")
    for night in range(32):
        nights.batch(TWO, as_of=EVENING + timedelta(days=night))
        if night == 1:
            (nights.output / "a" / f"{EVENING + timedelta(days=1)}-1" / retention.PINNED).touch()

    assert names_of(nights, "a") == evenings(1, 32)
    assert names_of(nights, "b") == evenings(2, 32)
    assert names_of(nights, "once") == evenings(0, 1)
    assert len(list((nights.output / "batches" / "nightly").glob("2020-*"))) == 30
    assert not list((nights.output / ".staging").iterdir())


def test_what_runs_say_is_read_once_however_many_go(nights, monkeypatch):
    """A sweep leaves thousands of one name, and every night removes hundreds of them."""
    for night in range(4):
        nights.batch(TWO, as_of=EVENING + timedelta(days=night))
    read: list[Path] = []
    known = attempts.read_record
    monkeypatch.setattr(attempts, "read_record", lambda path: read.append(path) or known(path))
    gone = list(retention.tidy(nights.output, "nightly", 1))

    assert len(gone) == 3 + 3 + 3  # runs of a and b, records
    assert sorted(read) == sorted(set(read))


def test_what_is_removed_is_said_on_stderr(nights, monkeypatch):
    """How many runs and records, and how many of these are kept; the log names each."""
    stream = io.StringIO()
    nights.batch(f"keep: {{batches: 1}}\n{TWO}")
    nights.batch(f"keep: {{batches: 1}}\n{TWO}", as_of=EVENING + timedelta(days=1))
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    done, _ = nights.batch(f"keep: {{batches: 1}}\n{TWO}", as_of=EVENING + timedelta(days=2))

    assert stream.getvalue().splitlines()[-1] == "removed 2 runs and 1 old record: 1 batch record kept"
    removed = [line["path"] for line in nights.log(done) if line["event"] == "removed"]
    names = ("a/2020-11-21-1", "b/2020-11-21-1", "batches/nightly/2020-11-21-2")
    assert removed == [f"{nights.output}/{name}" for name in names]


def test_a_run_that_another_batch_names_stays(nights):
    """And one that was made by hand is never touched."""
    by_hand = nights.output / "a" / "by-hand-1"
    by_hand.mkdir(parents=True)
    nights.batch(f"name: other\n{TWO}")
    for night in range(4):
        nights.batch(f"keep: {{batches: 2}}\n{TWO}", as_of=EVENING + timedelta(days=night))

    assert names_of(nights, "a") == [*evenings(0, 1), *evenings(2, 4), "by-hand-1"]


def test_latest_stays(nights):
    """Whatever names it."""
    nights.batch(TWO)
    (nights.output / "latest").symlink_to(f"a/{EVENING}-1")
    for night in range(1, 4):
        nights.batch(f"keep: {{batches: 1}}\n{TWO}", as_of=EVENING + timedelta(days=night))

    assert names_of(nights, "a") == [*evenings(0, 1), *evenings(3, 4)]


def test_nothing_is_removed_while_another_batch_runs(nights):
    """It may be about to find such a run complete."""
    path = Path(nights.batch(f"name: other\n{TWO.replace('name: a', 'name: c')}")[0].folder) / "batch.json"
    path.write_text(path.read_text().replace('"state": "committed",\n "exit', '"state": "running",\n "exit'))
    for night in range(3):
        nights.batch(f"keep: {{batches: 1}}\n{TWO}", as_of=EVENING + timedelta(days=night))

    assert names_of(nights, "b") == evenings(0, 3)


@pytest.mark.parametrize(("code", "first"), [(143, 1), (4, 1), (3, 2)])
def test_nothing_is_removed_by_a_batch_that_did_not_end_well(nights, code, first):
    """Whoever stopped it may want to look, and what failed is no replacement; one that is degraded has its runs."""
    for night in range(3):
        nights.batch(
            f"keep: {{batches: 1}}\n{TWO}", {"b": [code]} if night == 2 else {}, EVENING + timedelta(days=night)
        )

    assert names_of(nights, "a") == evenings(first, 3)


def test_bad_nights_push_out_no_good_one(nights):
    """Failed records do not count; they go once as many good ones are newer."""
    for night in range(7):
        codes = {"b": [4]} if night in {0, 2, 3, 4} else {}
        nights.batch(f"keep: {{batches: 2}}\n{TWO}", codes, EVENING + timedelta(days=night))
        if night == 5:
            assert names_of(nights, "b") == evenings(1, 2) + evenings(5, 6)

    assert names_of(nights, "b") == evenings(5, 7)
    assert names_of(nights, "a") == evenings(5, 7)
    assert len(list((nights.output / "batches" / "nightly").glob("2020-*"))) == 2


def test_records_of_failed_attempts_go_after_a_week(nights):
    """Whoever runs the next batch removes them."""
    old = nights.output / attempts.FAILED / "a.20200101T000000.000000Z-1"
    old.mkdir(parents=True)
    nights.batch(TWO)

    assert not old.exists()
