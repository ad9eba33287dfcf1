"""The door: command line, signals, exit status. ``python -m pipeline COMMAND CONF [KEY=VALUE ...]``.

Human text goes to stderr, results to stdout; with ``--json`` stdout gets exactly one object, also when it fails.
Everything heavy is imported inside the commands, so ``--help`` answers at once.
"""

import json
import math
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.console import Console
from pipeline.errors import ConfigError, ExitCode, PipelineError, TemporaryError
from pipeline.interrupts import CODES, Stopped, stoppable

if TYPE_CHECKING:
    from pipeline.options import Options


def _shared_options(command: Callable[..., int]) -> Callable[..., int]:
    json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    debug_flag = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a defect.")
    return json_flag(debug_flag(command))


def _configured(command: Callable[..., int]) -> Callable[..., int]:
    conf = click.argument("conf", type=click.Path(path_type=Path))
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    return conf(overrides(_shared_options(command)))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Backtest strategies over many stocks with one shared account.

    CONF is a YAML file that states what differs from conf/base.yaml, where every key is explained; KEY=VALUE
    overrides it, e.g. trading.cash=50_000.
    """


@cli.command("run")
@_configured
def run_backtest(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Run the backtest of CONF; ingest its bars first if the store is missing or older than its source."""
    options = _options(conf, overrides)
    with _stdout_for_the_answer(), Console(sys.stderr) as console:
        _prestart(options)
        from pipeline.run import run

        outcome = run(options, console)
    return _report(outcome, as_json=as_json)


@cli.command("bench")
@_configured
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each kind runs.")
def bench_kinds(conf: Path, overrides: tuple[str, ...], *, rounds: int, as_json: bool) -> int:
    """Run CONF under every kind of scheduler, in turns, and compare; nothing is published."""
    options = _options(conf, overrides)
    with _stdout_for_the_answer(), Console(sys.stderr) as console:
        from pipeline.compute.workers import prestart

        prestart()
        from pipeline.bench import bench

        answer = bench(options, console, rounds)
    return _report(answer, as_json=as_json)


@cli.command("compare")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_shared_options
def compare_runs(runs: tuple[Path, ...], *, as_json: bool) -> int:
    """Show published runs side by side: what differs in them, in their results, and in what they took."""
    from pipeline.results.compare import compare

    return _report(compare(runs), as_json=as_json)


@cli.command("replay")
@click.argument("conf", type=click.Path(path_type=Path))
@click.argument("symbols")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--pdb", "debug", is_flag=True, help="Start Python's debugger where the strategy fails.")
@click.option("--profile", is_flag=True, help="Show the functions that took most.")
@_shared_options
def replay_symbols(
    conf: Path, symbols: str, overrides: tuple[str, ...], *, debug: bool, profile: bool, as_json: bool
) -> int:
    """Ask the strategy of CONF about one symbol, or one partition (AAPL..AMZN), in this process: for a debugger."""
    options = _options(conf, overrides)

    def failed(error: BaseException) -> None:
        traceback.print_exception(error)
        if debug:
            import pdb  # noqa: T100 - what the user asked for

            pdb.post_mortem(error.__traceback__)

    with _stdout_for_the_answer(), Console(sys.stderr) as console:
        from pipeline.replay import replay

        answer = replay(options, symbols, console, failed=failed, profile=profile)
    return _report(answer, as_json=as_json)


@cli.command("ingest")
@_configured
@click.option("--rebuild", is_flag=True, help="Read every file again, whatever the store holds.")
def ingest_bars(conf: Path, overrides: tuple[str, ...], *, rebuild: bool, as_json: bool) -> int:
    """Read the bars of CONF into its store."""
    options = _options(conf, overrides)
    from pipeline.upkeep import ingest

    with Console(sys.stderr) as console:
        return _report(ingest(options, console, rebuild=rebuild), as_json=as_json)


@cli.command("verify")
@_configured
def verify_files(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Compare the store and the runs of CONF with their checksums."""
    options = _options(conf, overrides)
    from pipeline.upkeep import verify

    return _report(verify(options), as_json=as_json)


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
            _report(cluster, as_json=as_json)
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
        return _print_json(
            {"strategies": [dict(zip(("name", "summary", "options"), row, strict=True)) for row in found]}
        )
    return _print_table([(name, "  ".join([summary, *options])) for name, summary, options in found])


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
        return _print_json({"store": str(snapshot.root), "snapshot": manifest.number, "files": paths})
    return _print("\n".join(paths))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`pipeline.errors.ExitCode`)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    for name in [name for name in os.environ if name.startswith("DASK_")]:
        del os.environ[name]  # a stray variable of another project would change schedulers and addresses
    with stoppable():
        try:
            return _invoke(list(arguments), as_json=as_json)
        except PipelineError as error:
            return _fail(str(error), error.exit_code, as_json=as_json)
        except KeyboardInterrupt as stop:
            code = stop.code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED
            return _fail(f"{code.name.lower()} by a signal.", code, as_json=as_json)
        except Exception as error:  # noqa: BLE001 - the last line of defence: told in one line, traceback kept
            return _fail(_defect(error, show="--debug" in arguments), ExitCode.BUG, as_json=as_json)


def _invoke(arguments: list[str], *, as_json: bool) -> int:
    try:
        with cli.make_context("python -m pipeline", arguments) as context:
            return cli.invoke(context)
    except click.exceptions.Exit as end:  # --help
        return end.exit_code
    except click.ClickException as error:
        if as_json:
            return _fail(error.format_message(), ExitCode.USAGE, as_json=True)
        error.show()
        return error.exit_code


def _options(conf: Path, overrides: Sequence[str]) -> "Options":
    if "=" in str(conf) and not conf.exists():
        raise ConfigError(
            f"command line: {conf} came first; CONF expected before KEY=VALUE. Try conf/sample.yaml {conf}"
        )
    from pipeline.config import load

    return load(conf, overrides)


def _prestart(options: "Options") -> None:
    """Start the server that worker processes come from, where they may be needed, so that it imports beside us."""
    from pipeline.compute.choose import may_take_processes
    from pipeline.compute.workers import prestart

    data = options.data
    known = {"sample": 5, "synthetic": data.synthetic.symbols}
    symbols = known.get(data.source, math.inf) if data.symbols == "all" else len(data.symbols)
    if may_take_processes(options.scheduler, symbols):
        prestart()


@contextmanager
def _stdout_for_the_answer() -> Iterator[None]:
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


def _report(answer: Any, *, as_json: bool) -> int:
    """Print what a command answers: a dataclass with an `exit_code` and a `summary` of (label, value) rows."""
    if as_json:
        _print_json({key: value for key, value in asdict(answer).items() if key != "summary"})
    else:
        _print_table(answer.summary)
    return int(answer.exit_code)


def _print_table(rows: Sequence[tuple[str, str]]) -> int:
    width = max((len(label) for label, _ in rows), default=0)
    return _print("\n".join(f"{label:<{width}}  {value}" for label, value in rows))


def _print_json(document: dict[str, Any]) -> int:
    return _print(json.dumps(document, allow_nan=False, default=os.fspath))


def _print(text: str) -> int:
    try:
        click.echo(text)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more at its end
        if not isinstance(error, BrokenPipeError):  # then the reader had enough, as `head` has
            raise TemporaryError(
                f"stdout: {error.strerror}; the answer could not be written. Check where it goes, and its free space."
            ) from error
    return ExitCode.OK


def _fail(message: str, code: ExitCode, *, as_json: bool) -> int:
    click.echo(message, err=True)
    if as_json:
        state = "interrupted" if code in CODES.values() else "failed"
        with suppress(TemporaryError):  # stdout is as broken as what is told here
            _print_json({"state": state, "exit_code": code, "error": message})
    return code


def _defect(error: Exception, *, show: bool) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
