"""The door: command line, signals, exit status. ``python -m pipeline COMMAND CONF [KEY=VALUE ...]``.

Human text goes to stderr, results to stdout; with ``--json`` stdout gets exactly one object, also when it fails.
Everything heavy is imported inside the commands, so ``--help`` answers at once.
"""

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.answers import (
    defect,
    fail,
    open_streams,
    print_json,
    print_table,
    print_text,
    report,
    stdout_for_the_answer,
)
from pipeline.console import Console
from pipeline.errors import ConfigError, ExitCode, LockedError, PipelineError
from pipeline.imports import undisturbed
from pipeline.interrupts import Stopped, stoppable

if TYPE_CHECKING:
    from pipeline.options import Options

Answer = TypeVar("Answer")
ASKED_EVERY = 0.5  # seconds, while another process holds a lock
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
PRIVATE = 0o077  # what others may not do with the files of a run


class Duration(click.ParamType):
    """Seconds, written as 90s, 10m or 2h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = re.fullmatch(r"(\d+)([smh]?)", str(value))
        if not match:
            self.fail(f"{value!r}; a duration like 90s, 10m or 2h expected.", param, ctx)
        return int(match[1]) * UNITS[match[2]]


def _shared_options(command: Callable[..., int]) -> Callable[..., int]:
    json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    debug_flag = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a defect.")
    return json_flag(debug_flag(command))


def _configured(command: Callable[..., int]) -> Callable[..., int]:
    conf = click.argument("conf", type=click.Path(path_type=Path))
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    return conf(overrides(_shared_options(command)))


def _patient(command: Callable[..., int]) -> Callable[..., int]:
    words = "How long to wait for another process that is at the same: 90s, 10m, 2h. Default: not at all."
    return click.option("--wait", type=Duration(), default="0", help=words)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Backtest strategies over many stocks with one shared account.

    CONF is a YAML file that states what differs from conf/base.yaml, where every key is explained; KEY=VALUE
    overrides it, e.g. trading.cash=50_000.
    """


@cli.command("run")
@_configured
@_patient
def run_backtest(conf: Path, overrides: tuple[str, ...], *, as_json: bool, wait: float) -> int:
    """Run the backtest of CONF; ingest its bars first if the store is missing or older than its source."""
    options = _options(conf, overrides)
    outcome: Any
    with stdout_for_the_answer(), Console(sys.stderr) as console:
        if options.deadline is None:
            _prestart(options)
            with undisturbed():
                from pipeline.run import run

            outcome = _waited(wait, lambda: run(options, console))
        else:
            from pipeline.batch.runner import answered

            outcome = _waited(wait, lambda: answered(options, console))
    return report(outcome, as_json=as_json)


@cli.command("batch")
@_configured
@_patient
@click.option("--as-of", metavar="DATE", help="The evening: bars after it are not seen. Default: today, UTC.")
@click.option("--catch-up", type=click.IntRange(0, 1000), help="Past sessions to make up for; default: the file's.")
@click.option("--backfill", type=click.Choice(["none", "failed", "all"]), help="Which of them; default: the file's.")
def run_batch(conf: Path, overrides: tuple[str, ...], *, as_json: bool, wait: float, **asked: Any) -> int:
    """Make the runs that the batch file CONF names (conf/batch.yaml explains its keys)."""
    from pipeline.batch.door import made
    from pipeline.batch.table import last_line, table

    with stdout_for_the_answer():
        outcome = _waited(wait, lambda: made(conf, overrides, asked, sys.stderr))
    if as_json:
        report(outcome, as_json=True)
    else:
        print_text(f"{table(outcome.runs)}\n{outcome.page}\n{last_line(outcome)}")
    return outcome.exit_code


@cli.command("schedule")
@_configured
@click.option("--install-user", is_flag=True, help="Install them for this user's own systemd, and start the timer.")
def print_schedule(conf: Path, overrides: tuple[str, ...], *, as_json: bool, install_user: bool) -> int:
    """Print what runs CONF on a timer: a systemd service and timer, and a line for crontab."""
    from pipeline.batch.door import scheduled
    from pipeline.batch.units import install

    made = scheduled(conf, overrides, user=install_user)
    if install_user:
        return print_text("\n".join(install(made)))
    if as_json:
        return print_json(vars(made))
    return print_text(f"{made.service}\n{made.timer}\n{made.cron}".rstrip())


@cli.command("bench")
@_configured
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each kind runs.")
def bench_kinds(conf: Path, overrides: tuple[str, ...], *, rounds: int, as_json: bool) -> int:
    """Run CONF under every kind of scheduler, in turns, and compare; nothing is published."""
    options = _options(conf, overrides)
    with stdout_for_the_answer(), Console(sys.stderr) as console:
        from pipeline.compute.workers import prestart

        prestart()
        from pipeline.bench import bench

        answer = bench(options, console, rounds)
    return report(answer, as_json=as_json)


@cli.command("compare")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_shared_options
def compare_runs(runs: tuple[Path, ...], *, as_json: bool) -> int:
    """Show published runs side by side: what differs in them, in their results, and in what they took."""
    from pipeline.results.compare import compare

    return report(compare(runs), as_json=as_json)


@cli.command("replay")
@click.argument("conf", type=click.Path(path_type=Path))
@click.argument("symbols")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--pdb", "debug", is_flag=True, help="Start Python's debugger where the strategy fails.")
@click.option("--profile", is_flag=True, help="Show the functions that took most.")
@click.option("--look-ahead", is_flag=True, help="See that no answer changes when later bars come.")
@_shared_options
def replay_symbols(
    conf: Path, symbols: str, overrides: tuple[str, ...], *, debug: bool, as_json: bool, **asked: bool
) -> int:
    """Ask the strategy of CONF about one symbol, or one partition (AAPL..AMZN), in this process: for a debugger."""
    options = _options(conf, overrides)

    def failed(error: BaseException) -> None:
        traceback.print_exception(error)
        if debug:
            import pdb  # noqa: T100 - what the user asked for

            pdb.post_mortem(error.__traceback__)

    with stdout_for_the_answer(), Console(sys.stderr) as console:
        from pipeline.replay import replay

        answer = replay(options, symbols, console, failed=failed, **asked)
    return report(answer, as_json=as_json)


@cli.command("ingest")
@_configured
@click.option("--rebuild", is_flag=True, help="Read every file again, whatever the store holds.")
def ingest_bars(conf: Path, overrides: tuple[str, ...], *, rebuild: bool, as_json: bool) -> int:
    """Read the bars of CONF into its store."""
    options = _options(conf, overrides)
    from pipeline.upkeep import ingest

    with Console(sys.stderr) as console:
        return report(ingest(options, console, rebuild=rebuild), as_json=as_json)


@cli.command("verify")
@_configured
def verify_files(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Compare the store and the runs of CONF with their checksums."""
    options = _options(conf, overrides)
    from pipeline.upkeep import verify

    return report(verify(options), as_json=as_json)


@cli.command("dashboard")
@_configured
def keep_cluster(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Start a cluster with a dashboard and keep it for many runs until Ctrl-C; runs find it by scheduler.address."""
    options = _options(conf, overrides)
    from pipeline.compute.workers import prestart

    prestart()
    from pipeline.dashboard.standing import standing

    try:
        with Console(sys.stderr) as console, standing(options.scheduler, options.dashboard, console) as cluster:
            report(cluster, as_json=as_json)
            threading.Event().wait()
    except Stopped as stop:
        if stop.code is not ExitCode.INTERRUPTED:
            raise
    return ExitCode.OK


@cli.command("strategies")
@_shared_options
def list_strategies(*, as_json: bool) -> int:
    """List the strategies in strategies/ with their options."""
    from pipeline.signals.strategy import strategies

    found = [(each.name, each.summary, list(map(str, each.options))) for each in strategies()]
    if as_json:
        return print_json(
            {"strategies": [dict(zip(("name", "summary", "options"), row, strict=True)) for row in found]}
        )
    return print_table([(name, "  ".join([summary, *options])) for name, summary, options in found])


@cli.command("files")
@click.argument("source", metavar="CONF|STORE", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--table", type=click.Choice(["bars", "actions", "quarantine"]), default="bars", help="Default: bars.")
@_shared_options
def list_files(source: Path, overrides: tuple[str, ...], *, table: str, as_json: bool) -> int:
    """Print the Parquet files of the newest snapshot, one path a line, for dask.dataframe.read_parquet."""
    from pipeline.bars.store import open_snapshot

    snapshot = open_snapshot(source.absolute() if source.is_dir() else _options(source, overrides).data.store)
    manifest = snapshot.manifest
    entries = manifest.parts if table == "bars" else (getattr(manifest, table),)
    paths = [str(snapshot.path(entry)) for entry in entries]
    if as_json:
        return print_json({"store": str(snapshot.root), "snapshot": manifest.number, "files": paths})
    return print_text("\n".join(paths))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`pipeline.errors.ExitCode`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    open_streams()
    for name in [name for name in os.environ if name.startswith("DASK_")]:
        del os.environ[name]  # a stray variable of another project would change schedulers and addresses
    with stoppable(), _private_files():
        try:
            return _invoke(list(arguments), as_json=as_json)
        except PipelineError as error:
            return fail(str(error), error.exit_code, as_json=as_json, record=_record(error))
        except KeyboardInterrupt as stop:
            code = stop.code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED
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


def _options(conf: Path, overrides: Sequence[str]) -> "Options":
    if "=" in str(conf) and not conf.exists():
        raise ConfigError(
            f"command line: {conf} came first; CONF expected before KEY=VALUE. Try conf/sample.yaml {conf}"
        )
    from pipeline.config import load

    return load(conf, overrides)


def _record(error: BaseException) -> str | None:
    """Return where the record of a failed run is, which its error carries as a note."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith("record: ")]
    return notes[0].removeprefix("record: ") if notes else None


def _waited(seconds: float, command: Callable[[], Answer]) -> Answer:
    """Return what a command comes to, asked again for so long while another process holds its lock."""
    until = time.monotonic() + seconds
    while True:
        try:
            return command()
        except LockedError:
            if time.monotonic() >= until:
                raise
        time.sleep(ASKED_EVERY)


def _prestart(options: "Options") -> None:
    """Start the server that worker processes come from, where they may be needed, so that it imports beside us."""
    from pipeline.compute.choose import foresees_processes
    from pipeline.compute.workers import prestart

    if foresees_processes(options):
        prestart()


if __name__ == "__main__":
    sys.exit(main())
