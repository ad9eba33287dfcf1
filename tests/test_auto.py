"""``kind: auto`` at work: who is asked first, what is done with it, and that results never depend on it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline import auto, config
from pipeline.auto import assign
from pipeline.compute import workers
from pipeline.compute.scheduler import kept, start
from pipeline.events import PartitionFinished, Stage, StageStarted, SymbolsProbed, ignore
from pipeline.modes import Kind
from pipeline.run import run
from pipeline.signals.strategy import load_strategy
from signal_cases import SYMBOLS, blocks_in, market, write_strategy
from test_history import publish


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return blocks_in(tmp_path_factory.mktemp("store"), market(), 6)


@pytest.fixture
def ready(monkeypatch):
    """Pretend that the fork server is ready."""
    monkeypatch.setattr(workers, "ready_in", lambda: 0.0)


def options(folder: Path, *overrides: str) -> config.Options:
    own = {"output.dir": f"{folder}/runs", "data.store": f"{folder}/store", "output.report": "false"}
    own |= {"scheduler.workers": "2"} | dict(each.split("=", 1) for each in overrides)
    return config.load(Path("conf/sample.yaml"), [f"{name}={value}" for name, value in own.items()], {})


def strategy(folder: Path, head: str = ""):
    return load_strategy(write_strategy(folder, "mine", f"{head}\ndef signal(bars): return bars['close'] * 0 + 1"), {})


def symbols_of(assigned) -> list[str]:
    return [symbol for task in assigned.tasks for symbol in task.symbols]


def test_a_new_strategy_is_probed(blocks, tmp_path, monkeypatch):
    """The first time nobody knows: some symbols are computed, told of, and not computed again."""
    monkeypatch.setattr("pipeline.signals.probe.ENOUGH", 0.0)
    told = []
    assigned = assign(blocks, strategy(tmp_path), options(tmp_path), start, told.append)
    done = assigned.parts[0]["symbol"].array.categories.tolist()

    assert "a probe of" in assigned.choice.reason
    assert "1 symbol:" in assigned.choice.reason
    assert [event.count for event in told if isinstance(event, PartitionFinished)] == [1]
    assert [*done, *symbols_of(assigned)] == list(SYMBOLS)


def test_a_job_that_the_probe_does_needs_no_scheduler(blocks, tmp_path, monkeypatch):
    """Nothing is left: it ran here."""
    monkeypatch.setattr("pipeline.signals.probe.ENOUGH", 5.0)
    assigned = assign(blocks, strategy(tmp_path), options(tmp_path), start, ignore)

    assert (assigned.choice.kind, assigned.tasks) == (Kind.SYNCHRONOUS, [])
    assert assigned.choice.reason.endswith("; the probe computed it all")
    assert set(assigned.choice.predicted) == {"synchronous", "threads", "processes", "distributed"}


@pytest.mark.parametrize(
    ("seconds", "kind"), [(0.001, Kind.SYNCHRONOUS), (100.0, Kind.PROCESSES)], ids=["quick", "slow"]
)
def test_earlier_runs_spare_the_probe(blocks, tmp_path, ready, monkeypatch, seconds, kind):
    """Their seconds per bar decide, and nothing is computed beforehand."""
    monkeypatch.setattr("pipeline.results.history.LEAST_BARS", 1)
    mine = strategy(tmp_path)
    publish(
        tmp_path / "runs",
        1,
        name="sample",
        strategy={"sha256": mine.sha256, "params": {}},
        bars=934,
        busy_seconds=seconds,
    )
    told = []
    assigned = assign(blocks, mine, options(tmp_path, "strategy.params={}"), start, told.append)

    assert assigned.choice.kind is kind
    assert assigned.choice.reason.startswith(f"1 earlier run: {seconds:.2f} s of work")
    assert (assigned.parts, told, symbols_of(assigned)) == ([], [], list(SYMBOLS))


def test_the_word_of_a_strategy_comes_first(blocks, tmp_path, monkeypatch, ready):
    """COMPLEXITY is believed without measuring; RELEASES_GIL even where the rest is measured."""
    monkeypatch.setattr("pipeline.signals.probe.ENOUGH", 0.0)
    heavy = strategy(tmp_path / "a", "COMPLEXITY = 'heavy'")
    free = strategy(tmp_path / "b", "RELEASES_GIL = True")
    bound = strategy(tmp_path / "c", "RELEASES_GIL = False")
    reasons = [assign(blocks, each, options(tmp_path), start, ignore).choice.reason for each in (heavy, free, bound)]

    assert reasons[0].startswith("the strategy declares COMPLEXITY = heavy: 0.00 s of work")
    assert "the GIL held for 0% of it" in reasons[1]
    assert "the GIL held for 100% of it" in reasons[2]


def test_a_named_kind_is_not_probed(blocks, tmp_path, monkeypatch):
    """Whoever chooses pays for no measurement."""
    monkeypatch.setattr(auto, "probe", None)
    assigned = assign(blocks, strategy(tmp_path), options(tmp_path, "scheduler.kind=threads"), start, ignore)

    assert (assigned.choice.kind, assigned.choice.workers) == (Kind.THREADS, 1)  # one task: so little is not divided
    assert symbols_of(assigned) == list(SYMBOLS)


def test_a_cluster_for_the_dashboard_computes_everything(blocks, tmp_path):
    """Who watches sees the whole run; what the probe computed is computed once more."""
    told = []
    assigned = assign(blocks, strategy(tmp_path), options(tmp_path, "scheduler.dashboard=true"), start, told.append)

    assert {type(event) for event in told} == {SymbolsProbed}  # asked, but nothing is finished
    assert (assigned.parts, symbols_of(assigned)) == ([], list(SYMBOLS))


def test_warm_workers_are_known(blocks, tmp_path):
    """In a batch the pool of the run before counts as started."""
    mine = strategy(tmp_path, "COMPLEXITY = 'heavy'")
    with kept() as start_or_take:
        chosen = [assign(blocks, mine, options(tmp_path), start_or_take, ignore).choice]
        with start_or_take(chosen[0].__class__(Kind.PROCESSES, 2, "")):
            pass
        chosen.append(assign(blocks, mine, options(tmp_path), start_or_take, ignore).choice)

    assert chosen[1].predicted["processes"] < chosen[0].predicted["processes"]


@pytest.mark.parametrize("enough", [0.0, 5.0], ids=["one symbol probed", "all probed"])
def test_the_result_does_not_depend_on_the_probe(tmp_path, monkeypatch, enough):
    """What is computed beforehand, and where the rest is, never shows in the digest."""
    monkeypatch.setattr("pipeline.signals.probe.ENOUGH", enough)
    expected = run(options(tmp_path, "scheduler.kind=synchronous", "name=first", "strategy.params.fast=9"))
    monkeypatch.setattr("pipeline.auto.known", lambda *_: None)
    told = []
    done = run(options(tmp_path, "strategy.params.fast=9"), told.append)
    record = json.loads((Path(done.run_dir) / "run.json").read_text())
    signals = [pd.read_parquet(Path(each.run_dir) / "signals.parquet") for each in (expected, done)]

    assert done.result_digest == expected.result_digest
    pd.testing.assert_frame_equal(*signals)
    assert record["scheduler"]["reason"].startswith("a probe of")
    assert set(record["scheduler"]["predicted"]) == {"synchronous", "threads", "processes", "distributed"}
    assert sum(record["monitor"]["partitions"]["bars"]) == record["rows"]["bars"]
    assert Stage.CHOOSE in [event.stage for event in told if isinstance(event, StageStarted)]


def test_the_second_run_goes_by_the_first(tmp_path):
    """History is the runs themselves."""
    run(options(tmp_path))
    again = run(options(tmp_path))

    assert again.scheduler["reason"].startswith("1 earlier run: ")
