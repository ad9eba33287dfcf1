"""The whole pipeline, from files to a run directory."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline
from csv_files import night_is_over
from pipeline import config
from pipeline.bars.store import open_snapshot
from pipeline.errors import ConfigError, ExitCode, StoreCorruptError, StrategyError
from pipeline.events import Stage, StageStarted, Warned
from pipeline.results import report, rundir
from pipeline.run import run
from pipeline.upkeep import ingest, verify
from signal_cases import write_strategy

FILES = {
    "benchmark.parquet",
    "config.yaml",
    "equity.parquet",
    "fills.parquet",
    "log.jsonl",
    "metrics.json",
    "orders.parquet",
    "payments.parquet",
    "report.html",
    "run.json",
    "signals.parquet",
    "trades.parquet",
}


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """One folder for store and runs, so that the sample is ingested once."""
    return tmp_path_factory.mktemp("sample")


def options_of(place: Path, *overrides: str) -> config.Options:
    own = {"data.store": f"{place}/store", "output.dir": f"{place}/runs", "output.report": "false"}
    stated = own | dict(override.split("=", 1) for override in overrides)
    return config.load(Path("conf/sample.yaml"), [f"{name}={value}" for name, value in stated.items()], {})


def test_run_leaves_every_file_and_a_latest_link(place):
    """A run directory holds what docs/results.md says, and `latest` points to it."""
    done = run(options_of(place, "output.report=true"))
    folder = Path(done.run_dir)

    assert {path.name for path in folder.iterdir()} == FILES
    assert (place / "runs" / "latest").resolve() == folder.resolve()
    assert rundir.verify(folder) == []


def test_run_json_agrees_with_the_tables(place):
    """The counts, the digest and the state in run.json are those of the files beside it."""
    done = run(options_of(place))
    record = json.loads((Path(done.run_dir) / "run.json").read_text())

    for name in ("orders", "fills", "trades", "signals", "payments"):
        assert record["rows"][name] == len(pd.read_parquet(Path(done.run_dir) / f"{name}.parquet"))
    assert record["result_digest"] == done.result_digest
    assert (record["state"], record["exit_code"]) == ("committed", 0)
    counts = record["snapshot"]["counts"]
    assert counts["rows_in"] == counts["stored"] + counts["duplicates"] + counts["quarantined"]


def test_resolved_config_runs_again_to_the_same_digest_and_key(place):
    """config.yaml of a run is a config: it gives the same run once more, in a directory of its own."""
    first = run(options_of(place))
    again = run(config.load(Path(first.run_dir) / "config.yaml", (), {}))

    assert again.result_digest == first.result_digest
    assert again.run_dir != first.run_dir
    assert Path(again.run_dir).name.split("-")[0] == Path(first.run_dir).name.split("-")[0]


@pytest.mark.parametrize("kind", ["synchronous", "threads", "processes", "distributed"])
def test_every_scheduler_gives_the_same_digest(place, kind):
    """Where the signals are computed never shows in the result."""
    expected = run(options_of(place, "scheduler.kind=synchronous")).result_digest

    assert run(options_of(place, f"scheduler.kind={kind}", "scheduler.workers=2")).result_digest == expected


def test_a_result_that_is_another_each_time_is_told(place, tmp_path):
    """Five symbols, and every second call is another answer: the run key is the same, the result is not."""
    text = """
        import itertools
        calls = itertools.count()
        def signal(bars):
            return bars["close"] * 0 + next(calls) % 2
        """
    name = write_strategy(tmp_path, "state", text)
    options = options_of(place, f"strategy.name={name}", "strategy.params={}", "scheduler.kind=synchronous")
    first, second = run(options), run(options)
    before = Path(first.run_dir).name

    assert (first.exit_code, second.exit_code) == (ExitCode.OK, ExitCode.DEGRADED)
    assert any(text.startswith(f"the result differs from that of {before}, though config") for text in second.warnings)
    assert dict(second.summary)["digest"].endswith(f", not that of {before}")
    assert json.loads((Path(second.run_dir) / "run.json").read_text())["differs_from"] == before


def test_digest_changes_with_what_matters(place):
    """Another commission is another result: the digest is no constant."""
    plain = run(options_of(place))
    costly = run(options_of(place, "trading.commission.rate=0.001"))

    assert plain.result_digest != costly.result_digest
    assert Path(plain.run_dir).name.split("-")[0] != Path(costly.run_dir).name.split("-")[0]


def test_symbols_start_and_end_select(place):
    """Only the symbols and sessions asked for are traded."""
    done = run(options_of(place, "data.symbols=[IBM, MSFT]", "data.start=2005-01-03", "data.end=2006-12-29"))
    equity = pd.read_parquet(Path(done.run_dir) / "equity.parquet")
    fills = pd.read_parquet(Path(done.run_dir) / "fills.parquet")

    assert equity["session"].iloc[0] == pd.Timestamp("2005-01-03")
    assert equity["session"].iloc[-1] == pd.Timestamp("2006-12-29")
    assert set(fills["symbol"]) == {"IBM", "MSFT"}


def test_unknown_symbol_is_a_config_error_with_a_guess(place):
    """A symbol that is not in the store is named, with the nearest ones that are, or else the first."""
    for asked, told in {
        "MSF": "'MSF' is not in the store .* it holds 5 symbols. Did you mean 'MSFT'?",
        "aapl": "Did you mean 'AAPL'?",
        "IBM.US": "Did you mean 'IBM'?",
        "XYZ": "it holds 5 symbols: AAPL, FB, GOOG, IBM, MSFT. `make ingest` brings new ones in",
    }.items():
        with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
            run(options_of(place, f"data.symbols=[{asked}]"))


def test_buy_and_hold_of_one_symbol_is_its_price(place):
    """I11: all the cash in one stock at the first open that follows, marked at the close, in whole shares."""
    done = run(
        options_of(place, "strategy.name=buy_and_hold", "strategy.params={}", "data.symbols=[IBM]", "trading.cash=1e6")
    )
    fills = pd.read_parquet(Path(done.run_dir) / "fills.parquet")
    equity = pd.read_parquet(Path(done.run_dir) / "equity.parquet")
    bars = sample_bars("IBM")
    shares = np.floor(1e6 / bars["open"].iloc[1])

    assert fills["quantity"].tolist() == [shares]
    expected = 1e6 - shares * bars["open"].iloc[1] + shares * bars["close"].iloc[-1]
    assert equity["equity"].iloc[-1] == pytest.approx(expected, rel=1e-12)


def sample_bars(symbol: str) -> pd.DataFrame:
    """Return adjusted bars straight from the package that ships them, by pandas alone."""
    from bokeh_sampledata import stocks

    raw = pd.DataFrame(getattr(stocks, symbol))
    ratio = raw["adj_close"] / raw["close"]
    steps = (ratio / ratio.shift() - 1).abs() > 2e-4  # the same snapping by hand: dividends here are above 2 bp
    held = ratio.where(steps | (ratio.index == 0)).ffill()
    factor = held / held.iloc[-1]
    return pd.DataFrame({"open": raw["open"] * factor, "close": raw["close"] * factor})


def test_report_that_fails_costs_the_report_only(place, monkeypatch):
    """The numbers are published without it, the run is degraded, and the exit code says so."""

    def broken(*_):
        raise RuntimeError("no template")

    monkeypatch.setattr(report, "page", broken)
    done = run(options_of(place, "output.report=true"))

    assert done.exit_code is ExitCode.DEGRADED
    assert "report skipped: RuntimeError: no template" in done.warnings
    assert not (Path(done.run_dir) / "report.html").exists()
    assert rundir.verify(Path(done.run_dir)) == []


def test_failing_strategy_publishes_nothing(place, tmp_path):
    """A strategy that raises ends the run with its name and symbol, and leaves no directory."""
    file = tmp_path / "broken.py"
    file.write_text("def signal(bars):\n    raise ValueError('bad bar')\n")
    output = f"output.dir={tmp_path}/runs"

    with pytest.raises(StrategyError, match="strategy 'broken' raised ValueError: bad bar"):
        run(options_of(place, f"strategy.name={file}", "strategy.params={}", output))
    assert not list((tmp_path / "runs").glob("sample/*"))


def test_optimistic_fill_is_said(place):
    """Filling at the close that gave the signal is printed as optimistic."""
    done = run(options_of(place, "trading.fill=close"))

    assert any("optimistic" in warning for warning in done.warnings)


def test_too_little_cash_for_a_share_is_said(place):
    """One warning, on screen and in run.json, that nothing traded, why, and what to do."""
    done = run(options_of(place, "trading.cash=10"))
    (warning,) = [text for text in done.warnings if "no order filled" in text]

    assert warning.startswith("no order filled, so nothing was traded: ")
    assert "rejected for lot. A position is worth less than one lot: raise trading.cash" in warning


def test_compiling_is_announced(place, monkeypatch):
    """The one long wait of a new version says what it is; later runs do not."""
    told = []
    run(options_of(place), told.append)
    monkeypatch.setattr("pipeline.run.is_warm", lambda: False)
    announced = []
    run(options_of(place), announced.append)

    assert not [event for event in told if "compiled" in getattr(event, "text", "")]
    assert [event for event in announced if "compiled" in getattr(event, "text", "")]


def test_verify_finds_a_changed_run_and_a_changed_part(tmp_path):
    """`verify` compares runs and store with their checksums and names what differs."""
    options = options_of(tmp_path)
    done = run(options)
    whole = verify([options])
    with (Path(done.run_dir) / "fills.parquet").open("ab") as file:
        file.write(b"x")
    damaged = verify([options])

    assert (whole.exit_code, whole.counts["problems"]) == (ExitCode.OK, 0)
    assert damaged.exit_code is ExitCode.DATA
    assert any("fills.parquet" in problem for problem in damaged.problems)


def test_verify_finds_a_changed_manifest(tmp_path):
    """One digit of a scale, which all adjusted prices go by: `verify` names the file, and no run is made."""
    options = options_of(tmp_path)
    run(options)
    path = open_snapshot(options.data.store).manifest_file
    text = path.read_text()
    start = text.index('"scale":[') + len('"scale":[')
    path.write_text(f"{text[:start]}{(int(text[start]) + 1) % 10}{text[start + 1 :]}")
    found = verify([options])

    assert found.exit_code is ExitCode.DATA
    assert [f"snapshots/{path.name} differs from its sha256" in problem for problem in found.problems] == [True]
    assert "remove CURRENT" in found.problems[0]
    assert "rebuild" not in str(found.summary)
    with pytest.raises(StoreCorruptError):
        run(options)


def test_verify_names_all_that_is_wrong_at_once(tmp_path):
    """Of the store and of the runs, each in its own line, with its path once; a store it cannot open is one of them."""
    options = options_of(tmp_path)
    done = run(options)
    store = open_snapshot(options.data.store)
    cut, gone = (store.path(entry) for entry in store.manifest.files[:2])
    cut.write_bytes(b"x")
    gone.unlink()
    (Path(done.run_dir) / "run.json").write_text("{")
    found = verify([options, options_of(tmp_path, f"data.store={tmp_path}/none")])

    assert (found.exit_code, found.counts["problems"]) == (ExitCode.DATA, 4)
    assert [problem.count(str(tmp_path)) for problem in found.problems] == [1] * 4
    expected = [
        "has 1 bytes, not",
        f"parts/{gone.name} is missing",
        "not found",
        "run.json: cannot be read (no JSON from line 1 on)",
    ]
    assert [text in problem for text, problem in zip(expected, found.problems, strict=True)] == [True] * 4
    assert "`ingest --rebuild`, which loses the bars that the source files no longer have" in str(found.summary)


def test_ingest_again_does_nothing(place):
    """A second ingest of unchanged files keeps the snapshot."""
    first = ingest(options_of(place))
    again = ingest(options_of(place))

    assert again.snapshot == first.snapshot


def test_run_uses_the_store_when_its_source_is_gone(tmp_path):
    """A store outlives its files: the run goes on and warns."""
    folder = tmp_path / "bars"
    folder.mkdir()
    rows = "".join(f"2020-01-{day:02d},10,11,9,10.5,10.5,100\n" for day in range(1, 32))
    (folder / "A.csv").write_text("Date,Open,High,Low,Close,Adj Close,Volume\n" + rows)
    options = options_of(tmp_path, "data.source=csv", f"data.path={folder}")
    before = run(options)
    (folder / "A.csv").unlink()
    folder.rmdir()
    after = run(options)

    assert after.result_digest == before.result_digest
    assert any("The store is used as it is" in warning for warning in after.warnings)


def test_a_damaged_store_is_not_used(tmp_path):
    """Whatever became of its source, a store that is not what its manifest says ends the run."""
    first = run(options_of(tmp_path))
    part = next((tmp_path / "store" / "parts").glob("b*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    told = []

    assert first.exit_code is ExitCode.OK
    with pytest.raises(StoreCorruptError, match="corrupt"):
        run(options_of(tmp_path), told.append)
    assert not [event for event in told if isinstance(event, Warned)]


def write_bars(folder: Path, good: int, bad: int) -> None:
    """Write a file of `good` bars and `bad` rows whose high is below their low, and one that holds no bars at all."""
    folder.mkdir(parents=True)
    days = pd.bdate_range("2020-01-01", periods=good + bad)
    rows = [f"{day.date()},10,{11 if n < good else 8},9,10.5,10.5,100" for n, day in enumerate(days)]
    (folder / "A.csv").write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows, ""]))
    (folder / "B.csv").write_text("nothing,here\n1,2\n")


def test_a_run_on_history_that_just_changed_is_degraded(tmp_path):
    """What a vendor changed behind our back is told with its exit code by the runs of the night that takes it in."""
    write_bars(tmp_path / "bars", good=90, bad=0)
    (tmp_path / "bars" / "B.csv").unlink()
    options = options_of(tmp_path, "data.source=csv", f"data.path={tmp_path}/bars")
    before = run(options)
    file = tmp_path / "bars" / "A.csv"
    file.write_text(file.read_text().replace("10,11,9,10.5,10.5,100", "10,11,9,10.6,10.6,100", 1))
    taken, again = run(options), run(options)
    night_is_over(tmp_path / "store")
    after = run(options)

    assert (before.exit_code, after.exit_code, after.reason) == (ExitCode.OK, ExitCode.OK, "")
    assert {(each.exit_code, each.state) for each in (taken, again)} == {(ExitCode.DEGRADED, "degraded")}
    assert taken.reason == again.reason
    assert taken.reason.startswith("stored bars of 1 symbol changed (A: 1 of 90 stored bars otherwise in its files")
    assert taken.reason.endswith(f": close 10.5 -> 10.6), see {tmp_path}/store/revisions.csv")


def test_a_run_is_degraded_by_its_own_ingest_only(tmp_path):
    """A run that ingests more rubbish than data.warn_above ends with 3 and why; one on the accepted store with 0."""
    write_bars(tmp_path / "bars", good=90, bad=10)
    options = options_of(tmp_path, "data.source=csv", f"data.path={tmp_path}/bars", "output.report=true")
    first, again = run(options), run(options)
    records = [json.loads((Path(done.run_dir) / "run.json").read_text()) for done in (first, again)]
    what = "1 of 2 files and 10 of 100 rows refused when the bars were ingested"
    told = f"{what}, see {tmp_path}/store/quarantine.csv"

    assert (first.exit_code, first.state, records[0]["reason"]) == (ExitCode.DEGRADED, "degraded", told)
    assert (again.exit_code, again.state, records[1]["reason"]) == (ExitCode.OK, "committed", "")
    assert told in first.warnings
    assert any(text.startswith(f"{tmp_path}/bars/B.csv: refused: not a bar file: its first") for text in first.warnings)
    assert told in again.warnings
    assert records[1]["warnings"] == again.warnings
    assert all(what in (Path(done.run_dir) / "report.html").read_text() for done in (first, again))


def test_some_dirt_is_a_warning(tmp_path):
    """Below data.warn_above the run is whole, and still says what was refused."""
    write_bars(tmp_path / "bars", good=90, bad=10)
    (tmp_path / "bars" / "B.csv").unlink()
    done = run(options_of(tmp_path, "data.source=csv", f"data.path={tmp_path}/bars", "data.warn_above=0.2"))

    assert done.exit_code is ExitCode.OK
    assert any(text.startswith("10 of 100 rows refused when") for text in done.warnings)


def test_notes_of_the_snapshot_are_in_run_json(place):
    """What is doubtful about the bars goes along with the numbers made of them."""
    options = options_of(place)
    record = json.loads((Path(run(options).run_dir) / "run.json").read_text())

    assert record["snapshot"]["notes"] == list(open_snapshot(options.data.store).manifest.notes)


def test_the_symbols_of_the_run_are_counted(place):
    """Not those of the store."""
    done = run(options_of(place, "data.symbols=[AAPL]"))
    record = json.loads((Path(done.run_dir) / "run.json").read_text())

    assert (record["symbols"], record["snapshot"]["symbols"]) == (1, 5)
    assert dict(done.summary)["bars"].endswith(" of 1 symbol")


@pytest.mark.parametrize("setting", ["data.start=2020-01-02", "data.end=1999-12-31"])
def test_a_span_without_bars_is_told_before_anything_is_computed(place, setting):
    """It is the config that is wrong, and the message says which sessions there are."""
    told = []

    with pytest.raises(ConfigError, match=r"go from 2000-03-01 to 2013-03-01") as refused:
        run(options_of(place, setting), told.append)
    assert str(refused.value).startswith(setting.replace("=", ": "))
    assert Stage.SIGNALS not in begun(told)


def begun(told: list) -> list[Stage]:
    """Return the stages that a listener was told of."""
    return [event.stage for event in told if isinstance(event, StageStarted)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("output.benchmark=SPY", "output.benchmark: 'SPY' is not in the store"),
        ("data.prices=raw", "knows no splits and dividends of 'AAPL', 'IBM', 'MSFT'"),
    ],
)
def test_what_the_store_lacks_is_told_before_anything_is_computed(setting, message, place):
    """A benchmark without bars, and raw prices without actions, are mistakes in the config."""
    told = []
    with pytest.raises(ConfigError, match=message):
        run(options_of(place, setting), told.append)

    assert Stage.SIGNALS not in begun(told)


def test_dividends_are_in_the_run_directory(tmp_path):
    """At raw prices splits and dividends have a table and a metric; a delisted one is paid after its last session."""
    own = [
        "data.source=synthetic", "data.synthetic.symbols=20", "data.synthetic.sessions=2000", "data.prices=raw",
        "strategy.name=buy_and_hold", "trading.cash=10_000_000", "trading.recovery=0.5", "output.report=false",
        f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs",
    ]  # fmt: skip
    done = run(config.load(Path("conf/market.yaml"), own, {}))
    payments, fills = (pd.read_parquet(f"{done.run_dir}/{name}.parquet") for name in ("payments", "fills"))
    listed = pd.read_parquet(next((tmp_path / "store" / "parts").glob("instruments-*"))).set_index("symbol")["delisted"]

    dividends = payments[payments["reason"] == "dividend"]
    assert done.metrics["dividends"] == pytest.approx(dividends["cash"].sum())
    assert set(payments["reason"]) == {"split", "dividend"}
    ended = fills[fills["reason"] == "delisted"]
    assert len(ended) > 1
    assert (ended["session"].to_numpy() > listed[ended["symbol"]].to_numpy()).all()
    assert ((ended["session"].to_numpy() - listed[ended["symbol"]].to_numpy()) < np.timedelta64(6, "D")).all()


def test_public_door_takes_a_file_and_overrides(place):
    """`pipeline.backtest` is the same run from Python."""
    own = (f"data.store={place}/store", f"output.dir={place}/runs", "output.report=false")
    done = pipeline.backtest("conf/sample.yaml", *own)

    assert done.result_digest == run(options_of(place)).result_digest
    assert replace(done, summary=[]).state == "committed"


def test_real_files_give_the_same_digest_under_every_scheduler(real_files, tmp_path):
    """252 real stocks, ingested once, traded under each scheduler: one digest."""
    own = (
        "data.source=csv",
        f"data.path={real_files}",
        "data.file_pattern=DA-{symbol}-T-{date}.csv",
        "trading.sizing={method: value, value: 20_000}",
        "trading.cash=10_000_000",
    )
    digests = {
        run(options_of(tmp_path, *own, f"scheduler.kind={kind}")).result_digest
        for kind in ("synchronous", "threads", "processes", "distributed")
    }

    assert len(digests) == 1
