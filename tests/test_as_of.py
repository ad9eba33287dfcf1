"""A run as of an evening in the past sees nothing that came later, and is the same run every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config, record
from pipeline.errors import ConfigError, DataError
from pipeline.events import Note
from pipeline.results import rundir
from pipeline.results.attempts import read_record
from pipeline.run import run
from pipeline.upkeep import ingest

FIRST = "2020-01-01"


def write_bars(folder: Path, symbol: str, closes, start=FIRST):
    """Write a file of daily bars, one per weekday from `start` on."""
    folder.mkdir(exist_ok=True)
    days = pd.bdate_range(start, periods=len(closes))
    rows = [f"{day.date()},{c},{c + 1},{c - 1},{c},{c},1000" for day, c in zip(days, closes, strict=True)]
    (folder / f"{symbol}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows, ""]))
    return days


@pytest.fixture
def options_of(tmp_path):
    """Return a function that gives options of a store of two stocks, one of which is listed late."""
    rng = np.random.default_rng(3)
    write_bars(tmp_path / "bars", "A", 100 + rng.integers(-5, 6, 120).cumsum().clip(-80))
    write_bars(tmp_path / "bars", "LATE", 50 + rng.integers(0, 3, 37), start="2020-04-27")

    def options_of(*overrides, source=tmp_path / "bars", store="store"):
        own = [
            "data.source=csv",
            f"data.path={source}",
            f"data.store={tmp_path}/{store}",
            f"output.dir={tmp_path}/runs",
        ]
        paged = any(each.startswith("output.report=") for each in overrides)
        return config.load(None, [*own, *overrides, *([] if paged else ["output.report=false"])], {})

    return options_of


def strategy(folder: Path, text: str) -> str:
    (folder / "peeks.py").write_text(text)
    return f"strategy.name={folder}/peeks.py"


PEEKS = "def signal(bars): return (bars['close'] > bars['close'].mean()).astype('float64')\n"


def test_later_bars_change_nothing(options_of, tmp_path):
    """Signals, sizes, fills and equity are those of a store that ends then, even for a strategy that looks ahead."""
    peeking = strategy(tmp_path, PEEKS)
    seen = run(options_of(peeking, "as_of=2020-03-31"))
    cut = tmp_path / "cut"
    cut.mkdir()
    lines = (tmp_path / "bars" / "A.csv").read_text().splitlines()
    (cut / "A.csv").write_text("\n".join([line for line in lines if line < "2020-04" or line[0] == "D"]) + "\n")
    alone = run(options_of(peeking, source=cut, store="other"))

    assert seen.result_digest == alone.result_digest
    assert seen.rows["fills"] > 3
    assert seen.result_digest != run(options_of(peeking)).result_digest
    assert run(options_of(peeking, "data.end=2020-03-31")).result_digest == seen.result_digest


def test_as_of_is_part_of_the_key_as_far_as_it_matters(options_of):
    """Another evening is another run; a later one without a new bar is the same run, told as such."""
    keys = {
        day: Path(run(options_of(f"as_of={day}")).run_dir).name
        for day in ("2020-03-30", "2020-03-31", "2020-06-16", "2020-06-19")
    }
    told = []
    again = run(options_of("as_of=2020-06-22"), told.append, once=True)

    assert [keys["2020-03-30"][-1], keys["2020-06-16"][-1], keys["2020-06-19"][-1]] == ["1", "1", "2"]
    assert keys["2020-03-30"] != keys["2020-03-31"]
    assert keys["2020-06-16"][:-1] == keys["2020-06-19"][:-1]
    assert (again.state, again.exit_code, Path(again.run_dir).name) == ("complete", 0, keys["2020-06-19"])
    assert Note(f"no new session since 2020-06-16; already complete: {again.run_dir}") in told


def test_a_complete_run_is_found_and_untouched(options_of, tmp_path):
    """Asked for once, a run that is there already is answered as it was made, and no byte or mtime changes."""
    made = run(options_of())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(made.run_dir).iterdir()}
    found = run(options_of(), once=True)

    assert (found.run_dir, found.result_digest, found.metrics) == (made.run_dir, made.result_digest, made.metrics)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(made.run_dir).iterdir()} == before
    assert len(list((tmp_path / "runs" / "sample").iterdir())) == 1
    assert not (tmp_path / "runs" / ".failed").exists()


def test_a_run_without_the_report_asked_for_is_not_complete(options_of):
    """It is made again, with the report; the one with a report is complete for who wants none."""
    plain = run(options_of(), once=True)
    paged = run(options_of("output.report=true"), once=True)

    assert (plain.state, paged.state, paged.run_dir[-2:]) == ("committed", "committed", "-2")
    assert run(options_of(), once=True).run_dir == run(options_of("output.report=true"), once=True).run_dir


def test_an_upgrade_makes_every_run_anew(options_of, monkeypatch):
    """Another version of the pipeline or of what it stands on is another key; the old run stays as it is."""
    before = run(options_of(), once=True)
    for name in ("pipeline", "pandas"):
        changed = {**record.versions_of("0"), name: "99"}
        monkeypatch.setattr("pipeline.run.versions_of", lambda _, changed=changed: changed)
        after = run(options_of(), once=True)
        assert (after.state, after.result_digest) == ("committed", before.result_digest)
        assert Path(after.run_dir) != Path(before.run_dir)

    assert rundir.verify(Path(before.run_dir)) == []


def test_an_evening_before_the_first_bar_is_refused(options_of):
    """The message names as_of and what there is."""
    run(options_of())
    with pytest.raises(ConfigError, match=r"as_of: 2019-12-31; the bars in .* go from 2020-01-01 to 2020-06-16"):
        run(options_of("as_of=2019-12-31"))


def test_an_evening_before_the_first_session_asked_for_is_refused(options_of):
    """It is as_of that is early, not data.start, which is as the config has it."""
    asked_for = r"a run needs some between data.start \(2020-03-02\) and data.end or as_of. Correct as_of, or ingest"
    with pytest.raises(ConfigError, match=rf"^as_of: 2020-02-03; the bars in .* to 2020-06-16, and {asked_for}"):
        run(options_of("data.start=2020-03-02", "as_of=2020-02-03"))


@pytest.mark.parametrize(
    ("as_of", "limits", "ending"),
    [
        ("2020-06-16", {"warn_after": 0, "error_after": 0}, "committed"),
        ("2020-06-20", {"warn_after": 3, "error_after": 3}, "committed"),  # a Saturday: 17, 18 and 19 June are missing
        ("2020-06-19", {"warn_after": 2, "error_after": 3}, "degraded"),
        ("2020-06-22", {"warn_after": 2, "error_after": 3}, "failed"),
        ("2020-06-22", {"error_after": 3}, "failed"),
        ("2020-06-22", {}, "committed"),
    ],
)
def test_stale_bars_degrade_or_fail_a_run(options_of, as_of, limits, ending):
    """Sessions of the exchange are counted, not days; what is missing is said with both dates."""
    fresh = [f"fresh.{name}={value}" for name, value in limits.items()]
    options = options_of(f"as_of={as_of}", *fresh)
    said = f"stale: newest bar 2020-06-16, as_of {as_of}: "
    if ending == "failed":
        with pytest.raises(DataError, match=f"{said}4 sessions of XNYS missing; fresh.error_after is 3"):
            run(options)
    else:
        done = run(options)
        assert done.state == ending
        assert (f"{said}3 sessions of XNYS missing" in done.warnings) == (ending == "degraded")


def test_a_holiday_is_no_missing_session(options_of):
    """Independence Day 2020 was observed on Friday 3 July: the Sunday after it, one session less is missing."""
    assert run(options_of("as_of=2020-07-05", "fresh.warn_after=12")).state == "committed"
    assert run(options_of("as_of=2020-07-05", "fresh.warn_after=11")).state == "degraded"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["fresh.calendar=XXXX"], "fresh.calendar: 'XXXX' is no exchange"),
        (["trading.market=free"], "fresh.calendar: null, and the market 'free' has none"),
    ],
)
def test_the_calendar_is_named_or_known(options_of, settings, message):
    """An unknown exchange, and none, are told before anything is read or computed."""
    options = options_of("fresh.warn_after=0", *settings)
    for command in (run, ingest):
        with pytest.raises(ConfigError, match=message):
            command(options)
    assert not options.data.store.exists()


def test_the_calendar_can_be_another(options_of):
    """Sessions are then those of its exchange."""
    settings = ("fresh.calendar=XSHG", "as_of=2020-06-18", "fresh.warn_after=0", "fresh.error_after=0")
    with pytest.raises(DataError, match="2 sessions of XSHG missing"):
        run(options_of(*settings))


def test_on_error_skip_loses_the_symbol_only(options_of, tmp_path):
    """The symbol on which a strategy fails is listed, the others trade as if it had no opinion, exit code 3."""
    text = "def signal(bars):\n    if len(bars) == 37: raise ValueError('bad bar')\n    return bars['close'] > 100\n"
    failing = strategy(tmp_path, text)
    done = run(options_of(failing, "on_error=skip"))
    told = read_record(Path(done.run_dir))

    assert (done.state, done.exit_code) == ("degraded", 3)
    assert list(told["skipped"]) == ["LATE"]
    assert "ValueError: bad bar" in told["skipped"]["LATE"]
    assert "the strategy failed on 1 symbol (LATE; first: signals: strategy" in told["reason"]
    again = run(options_of(failing, "on_error=skip"), once=True)
    assert (again.state, again.exit_code) == ("complete", 3)  # what it lacks is lacking still
    assert again.reason == f"{told['reason']}; already complete"
    assert '"symbol_skipped"' in (Path(done.run_dir) / "log.jsonl").read_text()
    silent = strategy(tmp_path, text.replace("raise ValueError('bad bar')", "return [0] * 37"))
    assert run(options_of(silent)).result_digest == done.result_digest


@pytest.mark.parametrize("kind", ["threads", "processes", "distributed"])
def test_on_error_skip_is_the_same_under_every_scheduler(options_of, tmp_path, kind):
    """The same symbols are skipped with the same words, wherever they are computed."""
    text = "def signal(bars):\n    if len(bars) == 37: return [2.0] * 37\n    return bars['close'] > 100\n"
    failing = strategy(tmp_path, text)
    here, there = (
        run(options_of(failing, "on_error=skip", f"scheduler.kind={each}")) for each in ("synchronous", kind)
    )

    assert here.warnings == there.warnings
    assert here.result_digest == there.result_digest


def test_on_error_skip_needs_a_symbol_that_is_left(options_of, tmp_path):
    """A strategy that fails everywhere fails the run."""
    failing = strategy(tmp_path, "def signal(bars): raise ValueError('bad bar')\n")
    with pytest.raises(Exception, match="It failed on every symbol; on_error: skip needs one that is left"):
        run(options_of(failing, "on_error=skip"))
