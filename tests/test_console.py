import io
import json
import re

import pytest

from pipeline.console import Console
from pipeline.events import Note, Stage, StageFinished, StageProgress, StageStarted, Warned
from pipeline.log import JsonLines


class Terminal(io.StringIO):
    def isatty(self):
        return True


class GoneTerminal(Terminal):
    writes = 0

    def write(self, _):
        self.writes += 1
        raise BrokenPipeError


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def tell(console, clock, *events):
    """Tell events, one second apart."""
    for event in events:
        console(event)
        clock.now += 1


RUN = (
    StageStarted(Stage.SIGNALS, 40, "block"),
    StageProgress(Stage.SIGNALS, 10),
    StageProgress(Stage.SIGNALS, 20),
    StageFinished(Stage.SIGNALS, 3.0),
)


def test_terminal_line_grows(clock):
    """A terminal sees done, total, rate and time to go on one line, which the result replaces."""
    stream = Terminal()
    tell(Console(stream, clock), clock, *RUN)
    drawings = stream.getvalue().split("\r\x1b[K")

    # 10 blocks after 1 s are 10 blocks a second, so the other 30 take 3 s; after 2 s and 20 blocks it is 2 s
    assert drawings == [
        "",
        "signals   0/40 blocks",
        "signals   10/40 blocks  10.0/s  3.00 s to go",
        "signals   20/40 blocks  10.0/s  2.00 s to go",
        "signals   40 blocks         3.00 s\n",
    ]


def test_elsewhere_one_line_per_stage(clock):
    """A file or a pipe gets a line when a stage ends, and no control characters."""
    stream = io.StringIO()
    tell(Console(stream, clock), clock, *RUN, StageStarted(Stage.REPORT), StageFinished(Stage.REPORT, 100.2))

    assert stream.getvalue() == "signals   40 blocks         3.00 s\nreport                      0:01:40\n"


def test_notes_and_warnings_stand_on_their_own_lines(clock):
    """A sentence does not mix with the line that grows."""
    stream = Terminal()
    tell(Console(stream, clock), clock, RUN[0], Note("threads: 5 symbols"), Warned("one file was refused"), RUN[1])

    assert "\r\x1b[Kthreads: 5 symbols\nwarning: one file was refused\n\r\x1b[Ksignals   10/40" in stream.getvalue()


def test_open_line_is_ended(clock):
    """After a stage failed, the message starts on a line of its own."""
    stream = Terminal()
    with Console(stream, clock) as console:
        console(RUN[0])

    assert stream.getvalue().endswith("0/40 blocks\n")


def test_lines_are_drawn_at_most_ten_times_a_second(clock):
    """A fast stage does not flood the terminal."""
    stream = Terminal()
    console = Console(stream, clock)
    console(StageStarted(Stage.SIGNALS, 1000, "block"))
    for done in range(1000):
        clock.now += 0.001
        console(StageProgress(Stage.SIGNALS, done))

    assert 8 <= stream.getvalue().count("\r") <= 11


def test_lines_fit_the_terminal(clock, monkeypatch):
    """A line that wraps could not be replaced."""
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    tell(Console(stream, clock), clock, *RUN[:3])

    assert max(map(len, stream.getvalue().split("\r\x1b[K"))) == 19


def test_a_terminal_that_is_gone_does_not_end_the_run(clock):
    """Progress is a courtesy: a closed stream is no reason to fail."""
    gone = GoneTerminal()
    tell(Console(gone, clock), clock, *RUN)
    tell(Console(None, clock), clock, *RUN)

    assert gone.writes == 1


def test_log_has_one_object_a_line():
    """Machines read the time in UTC, level, event, run and stage; progress is left out."""
    stream = io.StringIO()
    log = JsonLines(stream, "1f-1")
    for event in (*RUN, Note("n"), Warned("w\nw")):
        log(event)
    log.write("INFO", "exit", code=0, state="committed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts")) for line in lines)
    assert all(line.pop("run") == "1f-1" for line in lines)
    assert lines == [
        {"level": "INFO", "event": "stage_start", "stage": "signals", "total": 40, "unit": "block"},
        {"level": "INFO", "event": "stage_end", "stage": "signals", "sec": 3.0},
        {"level": "INFO", "event": "note", "text": "n"},
        {"level": "WARNING", "event": "warning", "text": "w\nw"},
        {"level": "INFO", "event": "exit", "code": 0, "state": "committed"},
    ]
