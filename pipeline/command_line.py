"""The door: command line, signals, exit status. ``python -m pipeline COMMAND CONF [KEY=VALUE ...]``.

Human text goes to stderr, results to stdout; with ``--json`` stdout gets exactly one object, also when it fails.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from pipeline.answers import defect, fail, open_streams
from pipeline.commands import cli
from pipeline.errors import ExitCode, PipelineError
from pipeline.files import readable
from pipeline.interrupts import Stopped, stoppable

PRIVATE = 0o077  # what others may not do with the files of a run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`pipeline.errors.ExitCode`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments or "batch" in arguments[:1]  # whose last line is JSON in any case
    open_streams()
    for name in [name for name in os.environ if name.startswith("DASK_")]:
        del os.environ[name]  # a stray variable of another project would change schedulers and addresses
    with stoppable(), _private_files():
        try:
            with readable():
                return _invoke(list(arguments), as_json=as_json)
        except PipelineError as error:
            return fail(str(error), error.exit_code, as_json=as_json, record=_record(error))
        except KeyboardInterrupt as stop:
            code = stop.exit_code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED
            return fail(f"{code.name.lower()} by a signal.", code, as_json=as_json, record=_record(stop))
        except Exception as error:  # noqa: BLE001 - the last line of defence: told in one line, traceback kept
            return fail(defect(error, show="--debug" in arguments), ExitCode.BUG, as_json=as_json)


@contextmanager
def _private_files() -> Iterator[None]:
    """Keep what is written from others, whatever the caller's umask."""
    before = os.umask(PRIVATE)
    os.umask(before | PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def _invoke(arguments: list[str], *, as_json: bool) -> int:
    try:
        with cli.make_context("python -m pipeline", arguments) as context:
            return cli.invoke(context)
    except click.exceptions.Exit as end:  # --help
        return end.exit_code
    except click.ClickException as error:
        if as_json:
            return fail(error.format_message(), ExitCode.USAGE, as_json=True)
        error.show()
        return error.exit_code


def _record(error: BaseException) -> str | None:
    """Return where the record of a failed run is, which its error carries as a note."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith("record: ")]
    return notes[0].removeprefix("record: ") if notes else None
