"""A night: which runs are made in which order, how often, and what is said of each; the runs are made up."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

import batches
from batches import Nights
from pipeline.batch import night, nightly, page, record
from pipeline.batch.file import Backfill
from pipeline.batch.progress import Progress
from pipeline.errors import LockedError, TemporaryError
from pipeline.files import locked
from pipeline.log import JsonLines

ROOT = Path(__file__).parents[1]
THREE = """
runs:
- {name: a, conf: one.yaml, set: {name: a}}
- {name: b, conf: one.yaml, set: {name: b}, needs: [a]}
- {name: c, conf: one.yaml, set: {name: c}}
"""


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """Return batches in a folder of their own, on a clock that runs only while somebody sleeps."""
    clock = [1000.0]
    monkeypatch.setattr(night.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(night.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    return Nights(tmp_path, monkeypatch, clock)


def states(done):
    """Return the state of each run."""
    return {run["label"]: run["state"] for run in done.runs}


def test_every_run_is_made_once_as_of_the_evening(nights):
    """And asked for once: one that is complete is found, not made."""
    done, runner = nights.batch(THREE)

    assert runner.asked == [(name, "2020-11-20", True) for name in "abc"]
    assert (done.state, done.exit_code, done.reason) == ("committed", 0, "")
    assert done.counts == {"committed": 3}
    assert nights.record(done)["counts"] == {"committed": 3}
    assert Path(done.folder).name == "2020-11-20-1"


@pytest.mark.parametrize(
    ("codes", "attempts", "state", "waited"),
    [
        ([75, 0], 2, "committed", 60),
        ([75, 75, 0], 3, "committed", 360),
        ([75, 75, 75, 0], 3, "failed", 360),
        ([75, 5], 2, "failed", 60),
        *(([code, 0], 1, "failed", 0) for code in (1, 2, 4, 5, 6, 124)),
        ([3, 0], 1, "degraded", 0),
    ],
)
def test_only_infrastructure_faults_are_tried_again(nights, codes, attempts, state, waited):
    """At most twice, a minute and five minutes later; whatever else failed would fail again."""
    done, runner = nights.batch(THREE, {"c": codes})
    run = next(run for run in done.runs if run["label"] == "c")

    assert (run["state"], run["attempts"]) == (state, attempts)
    assert nights.clock[0] - 1000 == waited
    assert [name for name, *_ in runner.asked] == [*"ab", *"c" * attempts]
    retries = [line for line in nights.log(done) if line["event"] == "retry"]
    assert [line["sec"] for line in retries] == [60, 300][: attempts - 1]


def test_other_runs_go_on_while_one_waits(nights):
    """What needs the waiting one waits with it."""
    done, runner = nights.batch(THREE, {"a": [75]})

    assert [name for name, *_ in runner.asked] == ["a", "c", "a", "b"]
    assert states(done) == {"a": "committed", "b": "committed", "c": "committed"}


def test_a_run_is_blocked_by_what_it_needs(nights):
    """Directly or not; others are made all the same, and the batch ends with the code of the one that failed."""
    done, runner = nights.batch(f"{THREE}- {{name: d, conf: one.yaml, needs: [b]}}\n", {"a": [4]})

    assert [name for name, *_ in runner.asked] == ["a", "c"]
    assert states(done) == {"a": "failed", "b": "blocked", "c": "committed", "d": "blocked"}
    assert (done.state, done.exit_code) == ("failed", 4)
    assert done.reason == "1 failed (a: said 4), 2 blocked (b, d)"
    assert [run["reason"] for run in done.runs] == [
        "said 4",
        "needs a, which is failed",
        "",
        "needs b, which is blocked",
    ]


def test_the_reason_names_the_gravest_first(nights):
    """Up to three runs of a state by name, with their codes where these differ; then how many it leaves out."""
    runs = "".join(f"- {{name: {name}, conf: one.yaml, set: {{name: {name}}}}}\n" for name in "abcdef")
    done, _ = nights.batch(f"retries: 0\nruns:\n{runs}", {"a": [124], "b": [3], "c": [75], "d": [1], "e": [4]})
    alike, _ = nights.batch(THREE.replace(", needs: [a]", ""), {name: [5] for name in "abc"})

    assert done.reason == "4 failed (d 1, e 4, a 124 and 1 more; d: said 1), 1 degraded (b: said 3)"
    assert alike.reason == "3 failed (a, b, c; a: said 5)"


def test_a_long_cause_is_one_line_of_the_reason(nights, monkeypatch):
    """A mail's subject is made of it; the run's own record has all of it."""
    cause = "signals: strategy 't' raised ValueError:\n" + "x" * 300

    class Wordy(batches.MadeUp):
        def make(self, options, listener, *, once):
            return {**super().make(options, listener, once=once), "reason": cause}

    monkeypatch.setattr(batches, "MadeUp", Wordy)
    done, _ = nights.batch("runs: [{name: a, conf: one.yaml, set: {name: a}}]", {"a": [5]})

    assert done.reason == f"1 failed (a: {cause.replace(chr(10), ' ')[:200]}...)"
    assert done.runs[0]["reason"] == cause


def test_a_complete_run_that_is_stale_has_its_reason_told(nights, monkeypatch):
    """The code is 3 then, and so must be what says why."""
    stale = {"state": "complete", "exit_code": 3, "reason": "stale: newest bar 2020-11-16; already complete"}

    class Found(batches.MadeUp):
        def make(self, options, listener, *, once):
            return {**super().make(options, listener, once=once), **(stale if options.name == "b" else {})}

    monkeypatch.setattr(batches, "MadeUp", Found)
    done, _ = nights.batch(THREE)

    assert (done.exit_code, done.reason) == (3, "1 complete (b: stale: newest bar 2020-11-16)")


def test_a_degraded_run_is_good_enough_for_what_needs_it(nights):
    """It is published; the batch ends with 3."""
    done, _ = nights.batch(THREE, {"a": [3]})

    assert states(done) == {"a": "degraded", "b": "committed", "c": "committed"}
    assert (done.state, done.exit_code, done.reason) == ("degraded", 3, "1 degraded (a: said 3)")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0, 3, 75], 75), ([124, 75, 3], 124), ([2, 124, 0], 2), ([4, 2, 5], 5), ([5, 6, 4], 6), ([6, 1, 0], 1)],
)
def test_the_gravest_run_decides_the_exit_code(nights, codes, expected):
    """Defect, books, strategy, data, settings, deadline, machine, degraded: in this order."""
    done, _ = nights.batch(
        THREE.replace(", needs: [a]", "") + "retries: 0\n",
        {name: [code] for name, code in zip("abc", codes, strict=True)},
    )

    assert done.exit_code == expected


def test_a_signal_ends_the_batch_and_is_told(nights):
    """The run it met is interrupted, later ones stay pending, and the next batch takes all of them up."""
    done, _ = nights.batch(THREE, {"c": [143]})

    assert (done.state, done.exit_code) == ("interrupted", 143)
    assert states(done) == {"a": "committed", "b": "committed", "c": "interrupted"}
    assert nights.record(done)["state"] == "interrupted"
    done, runner = nights.batch(THREE, {"a": [130]})
    assert (done.exit_code, states(done)) == (130, {"a": "interrupted", "b": "pending", "c": "pending"})
    done, runner = nights.batch(THREE)
    assert (done.exit_code, len(runner.asked)) == (0, 3)


def test_a_batch_that_died_is_told_by_the_next_one(nights, monkeypatch):
    """It is marked as abandoned, and so is the run it was at; what it had made is complete."""
    done, _ = nights.batch(THREE)
    path = Path(done.folder) / "batch.json"
    told = json.loads(path.read_text())
    told["state"], told["runs"][1]["state"] = "running", "running"
    path.write_text(json.dumps(told))
    stream = io.StringIO()
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    again, _ = nights.batch(THREE)

    told = json.loads(path.read_text())
    assert (told["state"], [run["state"] for run in told["runs"]]) == (
        "abandoned",
        ["committed", "abandoned", "committed"],
    )
    assert nights.log(again)[0]["abandoned"] == ["2020-11-20-1"]
    told = (
        "batch nightly 2020-11-20-1 was abandoned: its record has no end, it died or the disk refused it; what it had "
    )
    assert stream.getvalue().startswith(told)
    assert Path(again.folder).name == "2020-11-20-2"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "no JSON from line 1 on"),
        (b"\x93\x00\xff", "its content is none of ours"),
        (b"[]", "its content is none of ours"),
        ({"as_of": "tonight"}, "its content is none of ours"),
        ({"runs": 5}, "its content is none of ours"),
        ({"exit_code": 99}, "its content is none of ours"),
        ({"started": "now"}, "its content is none of ours"),
    ],
)
def test_a_record_that_cannot_be_read_is_told(nights, monkeypatch, content, why):
    """On stderr, in the record, in the last line and on the page: its evening counts as not run, so it is made up for.

    A record of another name is told, too; a batch that died before its first word left none, and that is no damage.
    """
    other, _ = nights.batch(f"name: other\n{THREE}")
    damaged, _ = nights.batch(THREE)
    nights.batch(THREE, as_of=WEEK[0])
    Path(damaged.folder).with_name("2020-11-19-9").mkdir()
    for done in (other, damaged):
        path = Path(done.folder) / "batch.json"
        broken = content if isinstance(content, bytes) else json.dumps({**nights.record(done), **content}).encode()
        path.write_bytes(broken)
    stream = io.StringIO()
    monkeypatch.setattr("batches.Progress", lambda _: Progress(stream))
    done, runner = nights.batch(THREE, as_of=WEEK[1], catch_up=2)

    told = (
        f"records: {nights.output}/batches: batch.json of nightly/2020-11-20-1, other/2020-11-20-1 cannot be read "
        f"(first {why}); an evening without its record counts as not run, and the page does not show it. Restore the "
        f"file, or remove its folder."
    )
    assert nights.record(done)["warnings"] == [told]
    assert f"warning: {told}" in stream.getvalue().splitlines()
    assert (done.exit_code, done.warnings) == (0, 1)
    assert told in page.page(nights.output)
    assert {day for _, day, _ in runner.asked} == {str(WEEK[1])}  # the first evening that is known is WEEK[0]


def test_one_batch_of_a_name_at_a_time(nights):
    """The second is refused at once, with the process that holds the lock; another name goes on."""
    lock = nights.output / "batches" / "nightly" / "lock"
    with locked(lock, "batch nightly"):
        began = time.perf_counter()
        with pytest.raises(LockedError, match=f"locked by process {os.getpid()}, batch nightly, since "):
            nights.batch(THREE)
        assert time.perf_counter() - began < 1
        assert nights.batch(f"name: other\n{THREE}")[0].exit_code == 0


def test_the_log_tells_the_night_line_by_line(nights):
    """One JSON object a line; the last one says how it ended and where its record is."""
    done, _ = nights.batch(THREE, {"a": [75], "c": [5]})
    lines = nights.log(done)

    assert [(line["event"], line.get("label")) for line in lines] == [
        ("batch_start", None),
        ("run_start", "a"),
        ("run_end", "a"),
        ("retry", "a"),
        ("run_start", "c"),
        ("run_end", "c"),
        ("run_start", "a"),
        ("run_end", "a"),
        ("run_start", "b"),
        ("run_end", "b"),
        ("exit", None),
    ]
    assert {line["run"] for line in lines} == {"nightly 2020-11-20-1"}
    ending = {name: lines[-1][name] for name in ("code", "class", "state", "path")}
    assert ending == {"code": 5, "class": "strategy", "state": "failed", "path": done.folder}


def test_the_record_is_there_while_the_batch_runs(nights):
    """batch.json says which run is under way, and so does the page."""
    seen = []

    def script(options, before):
        seen.append(record.read(next((nights.output / "batches" / "nightly").glob("2020*"))))
        nights.clock[0] += 30
        return 0

    nights.batch(THREE, script)

    assert [told.state for told in seen] == ["running"] * 3
    assert [told.runs[place].state for place, told in enumerate(seen)] == ["running"] * 3
    assert seen[2].seconds == 60
    assert (nights.output / page.NAME).exists()


def test_a_page_that_fails_does_not_fail_the_batch(nights, monkeypatch):
    """It is told in the log."""
    monkeypatch.setattr(page, "page", lambda _: 1 / 0)
    done, _ = nights.batch(THREE)

    assert done.exit_code == 0
    assert "ZeroDivisionError: division by zero" in {line.get("text") for line in nights.log(done)}
    assert done.warnings == 1
    assert nights.record(done)["warnings"] == ["page: ZeroDivisionError: division by zero"]


def test_what_stands_in_the_way_is_named_with_the_remedy(nights):
    """Of the page and of what is removed: where, what, the rule and what to do, no exception's own words."""
    for day in range(2):
        nights.batch(f"keep: {{batches: 1}}\n{THREE}", as_of=WEEK[day])
    (nights.output / page.NAME).unlink()
    (nights.output / page.NAME).mkdir()
    shutil.rmtree(nights.output / ".staging")
    (nights.output / ".staging").touch()
    done, _ = nights.batch(f"keep: {{batches: 1}}\n{THREE}", as_of=WEEK[2])

    rule = "it could not be written. Move away what stands in its way, then run the same command again."
    assert nights.record(done)["warnings"] == [
        f"page: {nights.output}/index.html: Is a directory; {rule}",
        f"retention: {nights.output}/.staging: File exists; {rule}",
    ]


def test_records_that_cannot_be_written_name_their_own_folder(nights):
    """Not the one above, which may be fine."""
    (nights.output / "batches").mkdir(parents=True)
    (nights.output / "batches" / "nightly").touch()
    with pytest.raises(TemporaryError, match=r"^batch .*/runs/batches/nightly: .*; it could not be written. Move away"):
        nights.batch(THREE)


def test_a_full_disk_ends_the_batch_with_75(nights, monkeypatch):
    """Nothing can be written of its runs then, so none is made; the next batch takes them up."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record, "replace_file", full)
    done, runner = nights.batch(THREE)

    assert (done.exit_code, done.state, runner.asked) == (75, "failed", [])
    assert states(done) == {"a": "interrupted", "b": "pending", "c": "pending"}
    where = f"{nights.output}/batches/nightly/2020-11-20-1"
    assert done.reason.startswith(f"batch {where}: No space left on device; it could not be written. ")


@pytest.mark.parametrize("what", ["record", "log"])
def test_a_disk_that_fills_up_hides_nothing_of_what_was_made(nights, monkeypatch, what):
    """The command that hears of it, and the caller, get what is known: where the batch is, and the runs so far."""
    heard = nights.folder / "heard"
    words = json.dumps(["sh", "-c", f"cat > {heard}"])
    full, refused = OSError(errno.ENOSPC, "No space left on device"), []
    replace, put = record.replace_file, JsonLines.put

    def replaced(path, content):
        if b'\n "state": "running"' not in content:
            raise full
        replace(path, content)

    def written(self, text):
        refused.append('"run_end"' in text and '"c"' in text)
        if any(refused):
            raise TemporaryError("log: No space left on device")
        put(self, text)

    if what == "record":
        monkeypatch.setattr(record, "replace_file", replaced)
    else:
        monkeypatch.setattr(JsonLines, "put", written)
    done, _ = nights.batch(f"on_failure: {words}\n{THREE}")
    told = json.loads(heard.read_text())

    assert (done.exit_code, done.state, Path(done.folder).name) == (75, "failed", "2020-11-20-1")
    assert (done.counts, done.warnings) == ({"committed": 3}, 0)
    assert "No space left on device" in done.reason
    assert (told["id"], told["state"], told["exit_code"], told["counts"]) == ("2020-11-20-1", "failed", 75, done.counts)
    assert [run["run_dir"] for run in told["runs"]] == [run["run_dir"] for run in done.runs]


def test_files_that_dead_processes_had_half_written_are_swept(nights):
    """By the next batch: beside the runs and in the records; one of a process that lives is left alone."""
    done, _ = nights.batch(THREE)
    dead = subprocess.Popen(["true"])
    dead.wait()
    places = [nights.output / ".index.html.{}.tmp", Path(done.folder) / ".batch.json.{}.tmp"]
    left = [Path(str(place).format(pid)) for place in places for pid in (dead.pid, os.getpid())]
    kept = Path(str(places[0]).format(os.getppid()))
    for path in (*left, kept):
        path.touch()
    nights.batch(THREE)

    assert [path.exists() for path in (*left, kept)] == [False, False, False, False, True]


WEEK = [date(2020, 11, day) for day in (23, 24, 25, 27)]  # Thursday 26 November 2020 was Thanksgiving


def test_missed_evenings_are_made_up_for_oldest_first(nights):
    """Four days without the machine: each session that was missed gets its own runs, as of its own evening."""
    nights.batch(THREE)
    done, runner = nights.batch(THREE, as_of=date(2020, 11, 30), catch_up=5)

    assert [day for name, day, _ in runner.asked if name == "a"] == [*map(str, WEEK), "2020-11-30"]
    assert runner.asked[:3] == [(name, "2020-11-23", True) for name in "abc"]
    assert (done.exit_code, done.counts) == (0, {"committed": 15})


def test_catching_up_goes_back_as_far_as_asked_and_never_before_the_first_night(nights):
    """A new batch has missed nothing; an old one is made up for the last N sessions at most."""
    _, runner = nights.batch(THREE, catch_up=5)
    assert len(runner.asked) == 3
    _, runner = nights.batch(THREE, as_of=date(2020, 11, 30), catch_up=2)

    assert sorted({day for _, day, _ in runner.asked}) == ["2020-11-25", "2020-11-27", "2020-11-30"]


@pytest.mark.parametrize(("name", "first"), [("nightly", "2020-11-23"), ("trial", "2020-11-30")])
def test_an_early_evening_that_was_tried_is_the_first_one(nights, name, first):
    """So later nights fill in from there; under another name of the batch they do not."""
    nights.batch(THREE, as_of=date(2020, 11, 30))
    nights.batch(f"name: {name}\n{THREE}", as_of=date(2020, 11, 20))
    _, runner = nights.batch(THREE, as_of=date(2020, 11, 30), catch_up=5)

    assert min(day for _, day, _ in runner.asked) == first


@pytest.mark.parametrize("code", [143, 130])
@pytest.mark.parametrize("backfill", ["none", "failed"])
def test_the_runs_of_an_interrupted_first_night_are_made_up_for(nights, code, backfill):
    """Those that it was at, and those that it never began: its record names them, so they have had that night."""
    done, _ = nights.batch(THREE, {"a": [code]})
    assert states(done) == {"a": "interrupted", "b": "pending", "c": "pending"}
    done, runner = nights.batch(THREE, as_of=WEEK[0], catch_up=3, backfill=Backfill(backfill))

    assert runner.asked == [(name, day, True) for day in ("2020-11-20", "2020-11-23") for name in "abc"]
    assert (done.exit_code, done.counts) == (0, {"committed": 6})


@pytest.mark.parametrize(
    ("codes", "backfill", "past"),
    [
        ({"b": [143]}, "failed", "abc"),
        ({"b": [143]}, "none", "abc"),
        ({"b": [5]}, "failed", "ab"),
        ({"b": [5]}, "none", ""),
        ({"a": [4]}, "failed", "ab"),
        ({"a": [4]}, "none", ""),
    ],
)
def test_what_a_missed_run_needs_is_found_or_made_before_it(nights, codes, backfill, past):
    """`b` needs `a`; where `a` failed that evening and is not to be tried again, `b` is no more missing than it."""
    nights.batch(THREE, codes)
    done, runner = nights.batch(THREE, as_of=WEEK[0], catch_up=1, backfill=Backfill(backfill))

    assert "".join(name for name, day, _ in runner.asked if day == "2020-11-20") == past
    assert done.exit_code == 0


def test_evenings_that_waited_for_a_failed_one_are_made_up_for(nights):
    """They were named and blocked; once the one before them is well, they come in their order."""
    nights.batch(THREE)
    nights.batch(THREE, {"c": [4]}, as_of=WEEK[2], catch_up=5)
    done, runner = nights.batch(THREE, as_of=WEEK[3], catch_up=5)

    assert [day for name, day, _ in runner.asked if name == "a"] == list(map(str, WEEK[1:]))
    assert [day for name, day, _ in runner.asked if name == "c"] == list(map(str, WEEK))
    assert done.exit_code == 0


def test_an_evening_that_failed_stops_the_later_ones(nights):
    """They would build on what is not there; the reason names it."""
    nights.batch(THREE)

    def script(options, before):
        return 4 if (options.name, options.as_of) == ("c", WEEK[1]) else 0

    done, runner = nights.batch(THREE, script, as_of=date(2020, 11, 30), catch_up=5)

    assert sorted({day for _, day, _ in runner.asked}) == ["2020-11-23", "2020-11-24"]
    assert (done.exit_code, done.counts) == (4, {"committed": 5, "failed": 1, "blocked": 9})
    reason = "waits for c as of 2020-11-24, which is failed: mend it, or go on with --backfill none"
    assert done.runs[-1]["reason"] == reason
    (held,) = (line for line in nights.log(done) if line["event"] == "evenings_blocked")
    assert (held["runs"], held["label"], held["as_of"]) == (9, "c", "2020-11-24")


def test_a_failed_evening_is_left_behind_as_its_message_says(nights):
    """`--backfill none` makes tonight, and the evenings that waited, without the one that fails again and again."""
    nights.batch(THREE)

    def script(options, before):
        return 5 if (options.name, options.as_of) == ("a", WEEK[0]) else 0

    stuck, _ = nights.batch(THREE, script, as_of=WEEK[1], catch_up=5)
    done, runner = nights.batch(THREE, script, as_of=WEEK[2], catch_up=5, backfill=Backfill("none"))

    assert stuck.counts == {"failed": 1, "blocked": 4, "committed": 1}
    assert "--backfill none" in stuck.runs[-1]["reason"]
    assert [day for name, day, _ in runner.asked if name == "a"] == ["2020-11-24", "2020-11-25"]
    assert (done.exit_code, done.counts) == (0, {"committed": 6})


@pytest.mark.parametrize(
    ("backfill", "past"),
    [
        ("none", []),
        ("failed", [("c", "2020-11-20", True)]),
        ("all", [(name, f"2020-11-{day}", False) for day in (19, 20) for name in "abc"]),
    ],
)
def test_backfill_says_which_past_evenings_are_run_again(nights, backfill, past):
    """None that was tried; those that failed; all, complete or not, those before the first night too.

    Tonight is no past evening: what is complete of it is found.
    """
    nights.batch(THREE, {"c": [4]})
    _, runner = nights.batch(THREE, as_of=date(2020, 11, 23), catch_up=2, backfill=Backfill(backfill))

    assert runner.asked == [*past, *((name, "2020-11-23", True) for name in "abc")]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin"])
def test_the_evening_is_a_date_in_utc_wherever_the_machine_is(zone):
    """Neither the zone nor a change of clocks moves it."""
    script = (
        "from datetime import UTC, datetime; from pipeline.batch.door import _evening as evening;"
        "assert evening(None) == datetime.now(UTC).date(); print(evening('2020-02-29'), evening('2026-03-29'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert ran.stdout == "2020-02-29 2026-03-29\n"


def test_a_clock_set_back_makes_no_older_batch_the_newest(nights, monkeypatch):
    """Batches are numbered in the order in which they were made, whatever time and evening they carry."""
    nights.batch(THREE)
    monkeypatch.setattr(nightly, "datetime", SimpleNamespace(now=lambda zone: datetime(2001, 1, 1, tzinfo=zone)))
    nights.batch(THREE)
    nights.batch(THREE, as_of=date(2020, 11, 19))

    found = [(told.id, told.started[:4] == "2001") for _, told in record.history(nights.output, "nightly")]
    assert found == [("2020-11-19-3", True), ("2020-11-20-2", True), ("2020-11-20-1", False)]
