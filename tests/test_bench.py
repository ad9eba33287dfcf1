"""One config under every kind."""

import json
from pathlib import Path

import pytest

from pipeline import bench as module
from pipeline import config
from pipeline.bench import bench
from pipeline.command_line import main
from pipeline.errors import InvariantError, StrategyError
from pipeline.events import Note
from pipeline.modes import Kind
from signal_cases import write_strategy

KINDS = ["synchronous", "threads", "processes", "distributed", "auto"]


def options(folder, *overrides):
    return config.load(
        Path("conf/sample.yaml"), [f"data.store={folder}/store", f"output.dir={folder}/runs", *overrides], {}
    )


def test_every_kind_is_measured_in_turns(tmp_path):
    """A row for each, the same digest, nothing published, and what auto made of it."""
    told = []
    answer = bench(options(tmp_path), told.append, rounds=1)
    rows = dict(answer.summary)

    assert [each.kind for each in answer.kinds] == KINDS
    assert [each.workers for each in answer.kinds[:1]] == [1]
    assert answer.kinds[0].times_faster == 1.0
    assert all(each.signals > 0 and each.run > each.signals for each in answer.kinds)
    assert answer.kinds[2].sent > 0 == answer.kinds[1].sent
    assert answer.kinds[2].workers_memory > 10
    assert answer.kinds[3].start > 0.1  # a cluster
    assert answer.auto["reason"].startswith(("a probe of", "3 earlier runs", "4 earlier runs"))
    assert (answer.bars, answer.symbols) == (12154, 5)
    assert set(KINDS) < set(rows)
    assert not (tmp_path / "runs").exists()
    assert [event.text.split(":")[0] for event in told if isinstance(event, Note) and "round" in event.text] == [
        f"round 1 of 1, {kind}" for kind in KINDS
    ]


def test_a_strategy_that_fails_names_no_record(tmp_path):
    """The folder of its runs is gone by then."""
    mine = write_strategy(tmp_path, "broken", "def signal(bars): raise ValueError('no')")
    with pytest.raises(StrategyError) as failed:
        bench(options(tmp_path, f"strategy.name={mine}", "strategy.params={}"))

    assert not any(note.startswith("record: ") for note in getattr(failed.value, "__notes__", []))


def test_a_strategy_that_answers_otherwise_elsewhere_is_found_out(tmp_path, monkeypatch):
    """Results do not depend on the scheduler; whoever makes them do so is told."""
    text = """
        import threading
        def signal(bars):
            main = threading.current_thread() is threading.main_thread()
            return bars["close"] * 0 + (1.0 if main else 0.5)
        """
    monkeypatch.setattr(module, "KINDS", (Kind.THREADS,))
    mine = write_strategy(tmp_path, "fickle", text)
    sizing = "trading.sizing={method: weight, value: null}"
    with pytest.raises(InvariantError, match=r"threads came to .* results do not depend on the scheduler"):
        bench(options(tmp_path, f"strategy.name={mine}", "strategy.params={}", sizing, "scheduler.workers=2"), rounds=1)


def test_the_command_prints_table_or_json(tmp_path, monkeypatch, capsys):
    """`bench CONF`, with `--json` for scripts."""
    monkeypatch.setattr(module, "KINDS", (Kind.SYNCHRONOUS, Kind.AUTO))
    own = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs"]

    assert main(["bench", "conf/sample.yaml", *own, "--rounds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in told["kinds"]] == ["synchronous", "auto"]
    assert told["kinds"][0]["times_faster"] == 1.0
