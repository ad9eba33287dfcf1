"""What a command says in the end, and that its voice cannot fail it: answers on stdout, failures on stderr too."""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from typing import Any

import click

from pipeline.errors import ExitCode, TemporaryError
from pipeline.interrupts import CODES


def open_streams() -> None:
    """Open what the caller closed of stdin, stdout and stderr on nothing.

    Otherwise the first files of a run would get their descriptors, and what is printed would go into these; so too
    in the processes that it starts.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor: this one
            os.set_inheritable(opened, True)  # noqa: FBT003 - it takes no keyword
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


@contextmanager
def stdout_for_the_answer() -> Iterator[None]:
    """Send what a strategy prints, here or in a worker that starts in here, to stderr."""
    sys.stdout.flush()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(answers, 1)
        os.close(answers)


def report(answer: Any, *, as_json: bool) -> int:
    """Print what a command answers: a dataclass, or its fields, with `exit_code` and `summary`, (label, value) rows."""
    fields = answer if isinstance(answer, dict) else asdict(answer)
    if as_json:
        print_json({key: value for key, value in fields.items() if key != "summary"})
    else:
        print_table(answer["summary"] if isinstance(answer, dict) else answer.summary)
    return int(fields["exit_code"])


def print_table(rows: Sequence[tuple[str, str]]) -> int:
    """Print labels and values, the values below each other."""
    width = max((len(label) for label, _ in rows), default=0)
    return print_text("\n".join(f"{label:<{width}}  {value}" for label, value in rows))


def print_json(document: dict[str, Any]) -> int:
    """Print one object on one line."""
    return print_text(json.dumps(document, allow_nan=False, default=os.fspath))


def print_text(text: str) -> int:
    """Print on stdout; TemporaryError where that is impossible, but a reader that had enough is none."""
    try:
        click.echo(text)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more at its end
        if not isinstance(error, BrokenPipeError):  # then the reader had enough, as `head` has
            raise TemporaryError(
                f"stdout: {error.strerror}; the answer could not be written. Check where it goes, and its free space."
            ) from error
    return ExitCode.OK


def fail(message: str, code: ExitCode, *, as_json: bool, record: str | None = None) -> int:
    """Say on stderr, and with `as_json` on stdout, why a command failed, and where its record is.

    A batch ends with the same object, so it names code, class, state and reason as `pipeline.batch.table` does.
    """
    with suppress(OSError):
        click.echo(message + (f" Record: {record}" if record else ""), err=True)
    if as_json:
        state = "interrupted" if code in CODES.values() else "failed"
        with suppress(TemporaryError):  # stdout is as broken as what is told here
            ending = {"event": "exit", "code": code, "class": code.name.lower(), "state": state, "reason": message}
            print_json({**ending, "exit_code": code, "error": message} | ({"record": record} if record else {}))
    return code


def defect(error: Exception, *, show: bool) -> str:
    """Keep the traceback of an unexpected exception, and say in one line what and where it was."""
    text = "".join(traceback.format_exception(error))
    if show:
        click.echo(text, err=True)
        kept = "the traceback above"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="pipeline-", suffix=".traceback", delete=False) as file:
            file.write(text)
        kept = file.name
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(f"{type(error).__name__} {error}".split())
    return f"{last.filename}:{last.lineno}: {what}; a defect of the pipeline. Please report it with {kept}."
