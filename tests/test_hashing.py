"""The order of a set of texts is the same in every process, whatever seed Python was told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import hashing

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")
SETS = f"""
COLUMNS = ("close",)

def signal(bars):
    length = 2 + list(set({NAMES!r})).index("fox")
    return (bars["close"] > bars["close"].rolling(length).mean()).astype("float64")
"""


def said(command, **environment):
    plain = {name: value for name, value in os.environ.items() if name != hashing.VARIABLE}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=plain | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.faults
def test_a_strategy_that_walks_a_set_gives_one_result(tmp_path):
    """Two seeds and none, in this process, in its workers, in a cluster's and in a batch's: the same digest."""
    (tmp_path / "sets.py").write_text(SETS)
    own = [f"strategy.name={tmp_path}/sets.py", "strategy.params={}", "output.report=false", "--json"]
    own += [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs"]
    ways = [("threads", "1"), ("threads", "2"), ("processes", "3"), ("distributed", "random")]
    ways += [("processes deadline=200", "4")]
    outcomes = [
        json.loads(said(["-m", "pipeline", "run", "conf/sample.yaml", *own, *f"scheduler.kind={kind}".split()],
                        PYTHONHASHSEED=seed))
        for kind, seed in ways
    ]  # fmt: skip

    assert len({outcome["result_digest"] for outcome in outcomes}) == 1
    assert {outcome["scheduler"]["kind"] for outcome in outcomes} == {"threads", "processes", "distributed"}


def test_python_alone_would_not():
    """The order of that set does depend on the seed, so the test above can fail."""
    script = f"print(list(set({NAMES!r})).index('fox'))"

    assert len({said(["-c", script], PYTHONHASHSEED=str(seed)) for seed in range(1, 9)}) > 1


@pytest.mark.parametrize(("given", "kept"), [("0", "0"), ("random", hashing.SEED), (None, hashing.SEED)])
def test_children_have_the_seed_of_their_parent_if_it_has_one(monkeypatch, given, kept):
    """So workers of a notebook agree with each other, and with the notebook if it was started with a seed."""
    if given is None:
        monkeypatch.delenv(hashing.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(hashing.VARIABLE, given)
    hashing.pin_children()

    assert os.environ[hashing.VARIABLE] == kept


def test_python_is_started_anew_once(monkeypatch):
    """With the same interpreter, its flags and the command; a process that has the seed goes on."""
    begun = []
    monkeypatch.setattr(os, "execv", lambda *given: begun.append(given))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "pipeline", "run", "x.yaml"])
    monkeypatch.setenv(hashing.VARIABLE, "1")
    hashing.pin_here()
    hashing.pin_here()

    assert begun == [(sys.executable, [sys.executable, "-X", "dev", "-m", "pipeline", "run", "x.yaml"])]
