"""The commands. Everything heavy is imported inside of them, so ``--help`` answers at once."""

import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.answers import print_json, print_table, print_text, report, stdout_for_the_answer
from pipeline.arguments import configured, options_of, patient, shared_options, stated, waited
from pipeline.console import Console
from pipeline.errors import ExitCode, PipelineError
from pipeline.garbage import undisturbed
from pipeline.interrupts import Stopped

if TYPE_CHECKING:
    from pipeline.options import Options

RUN = click.Path(path_type=Path, readable=False)  # one that may not be read is told with what helps, not as usage


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Backtest strategies over many stocks with one shared account.

    CONF is a YAML file that states what differs from conf/base.yaml, where every key is explained; KEY=VALUE
    overrides it, e.g. trading.cash=50_000.
    """


@cli.command("run")
@configured
@patient
def run_backtest(conf: Path, overrides: tuple[str, ...], *, as_json: bool, wait: float) -> int:
    """Run the backtest of CONF; ingest its bars first if the store is missing or older than its source."""
    options = options_of(conf, overrides)
    outcome: Any
    with stdout_for_the_answer(), Console(sys.stderr) as console:
        if options.deadline is None:
            prestart_for(options)
            with undisturbed():
                from pipeline.run import run

            outcome = waited(wait, lambda: run(options, console))
        else:
            from pipeline.batch.runner import answered

            outcome = waited(wait, lambda: answered(options, console))
    return report(outcome, as_json=as_json)


@cli.command("batch")
@configured
@patient
@click.option("--as-of", metavar="DATE", help="The evening: bars after it are not seen. Default: today, UTC.")
@click.option("--catch-up", type=click.IntRange(0, 1000), help="Past sessions to make up for; default: the file's.")
@click.option("--backfill", type=click.Choice(["none", "failed", "all"]), help="Which of them; default: the file's.")
def run_batch(conf: Path, overrides: tuple[str, ...], *, as_json: bool, wait: float, **asked: Any) -> int:
    """Make the runs that the batch file CONF names (conf/batch.yaml explains its keys)."""
    from pipeline.batch.door import made, tell_failure
    from pipeline.batch.table import last_line, table

    with stdout_for_the_answer():
        try:
            outcome = waited(wait, lambda: made(conf, overrides, asked, sys.stderr))
        except (PipelineError, Stopped) as error:
            tell_failure(conf, error, asked.get("as_of"), sys.stderr)
            raise
    if as_json:
        report(outcome, as_json=True)
    else:
        print_text(f"{table(outcome.runs, outcome.new_warnings)}\n{outcome.page}\n{last_line(outcome)}")
    return outcome.exit_code


@cli.command("schedule")
@configured
@click.option("--install-user", is_flag=True, help="Install them for this user's own systemd, and start the timer.")
def print_schedule(conf: Path, overrides: tuple[str, ...], *, as_json: bool, install_user: bool) -> int:
    """Print what runs CONF on a timer: a systemd service and timer, and a line for crontab."""
    from pipeline.batch.door import scheduled
    from pipeline.batch.units import install

    made = scheduled(conf, overrides, user=install_user, stream=sys.stderr)
    if install_user:
        return print_text("\n".join(install(made)))
    if as_json:
        return print_json(vars(made))
    return print_text(f"{made.service}\n{made.timer}\n{made.cron}".rstrip())


@cli.command("bench")
@configured
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each kind runs.")
def bench_kinds(conf: Path, overrides: tuple[str, ...], *, rounds: int, as_json: bool) -> int:
    """Run CONF under every kind of scheduler, in turns, and compare; nothing is published."""
    options = options_of(conf, overrides)
    with stdout_for_the_answer(), Console(sys.stderr) as console:
        from pipeline.compute.workers import prestart

        prestart()
        from pipeline.bench import bench

        answer = bench(options, console, rounds)
    return report(answer, as_json=as_json)


@cli.command("compare")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUN)
@shared_options
def compare_runs(runs: tuple[Path, ...], *, as_json: bool) -> int:
    """Show published runs side by side: what differs in them, in their results, and in what they took."""
    from pipeline.results.compare import compare

    return report(compare(runs), as_json=as_json)


@cli.command("report")
@click.argument("run", metavar="RUN", type=RUN)
@shared_options
def rebuild_report(run: Path, *, as_json: bool) -> int:
    """Make report.html of a published run again from its files, which are checked first."""
    from pipeline.results.rebuild import rebuilt

    return report(rebuilt(run), as_json=as_json)


@cli.command("replay")
@click.argument("conf", type=click.Path(path_type=Path))
@click.argument("symbols")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--pdb", "debug", is_flag=True, help="Start Python's debugger where the strategy fails.")
@click.option("--profile", is_flag=True, help="Show the functions that took most.")
@click.option("--look-ahead", is_flag=True, help="See that no answer changes when later bars come.")
@shared_options
def replay_symbols(
    conf: Path, symbols: str, overrides: tuple[str, ...], *, debug: bool, as_json: bool, **asked: bool
) -> int:
    """Ask the strategy of CONF about one symbol, or one partition (AAPL..AMZN), in this process: for a debugger."""
    options = options_of(conf, overrides)

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
@configured
@click.option("--rebuild", is_flag=True, help="Read every file again, whatever the store holds.")
def ingest_bars(conf: Path, overrides: tuple[str, ...], *, rebuild: bool, as_json: bool) -> int:
    """Read the bars of CONF into its store."""
    options = options_of(conf, overrides)
    from pipeline.upkeep import ingest

    with Console(sys.stderr) as console:
        return report(ingest(options, console, rebuild=rebuild), as_json=as_json)


@cli.command("verify")
@configured
def verify_files(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Compare the store and the runs of CONF with their checksums; of a batch file, those of all its runs."""
    from pipeline.batch.door import settings_of
    from pipeline.upkeep import verify

    return report(verify(settings_of(stated(conf), overrides)), as_json=as_json)


@cli.command("dashboard")
@configured
def keep_cluster(conf: Path, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Start a cluster with a dashboard and keep it for many runs until Ctrl-C; runs find it by scheduler.address."""
    options = options_of(conf, overrides)
    from pipeline.compute.workers import prestart

    prestart()
    from pipeline.dashboard.standing import standing

    try:
        with Console(sys.stderr) as console, standing(options.scheduler, options.dashboard, console) as cluster:
            report(cluster, as_json=as_json)
            threading.Event().wait()
    except Stopped as stop:
        if stop.exit_code is not ExitCode.INTERRUPTED:
            raise
    return ExitCode.OK


@cli.command("strategies")
@shared_options
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
@shared_options
def list_files(source: Path, overrides: tuple[str, ...], *, table: str, as_json: bool) -> int:
    """Print the Parquet files of the newest snapshot, one path a line, for dask.dataframe.read_parquet."""
    from pipeline.bars.store import open_snapshot

    snapshot = open_snapshot(source.absolute() if source.is_dir() else options_of(source, overrides).data.store)
    manifest = snapshot.manifest
    entries = manifest.parts if table == "bars" else (getattr(manifest, table),)
    paths = [str(snapshot.path(entry)) for entry in entries]
    if as_json:
        return print_json({"store": str(snapshot.root), "snapshot": manifest.number, "files": paths})
    return print_text("\n".join(paths))


def prestart_for(options: "Options") -> None:
    """Start the server that worker processes come from, where they may be needed, so that it imports beside us."""
    from pipeline.compute.choose import foresees_processes
    from pipeline.compute.workers import prestart

    if foresees_processes(options):
        prestart()
