"""What nobody may read ends with 4, its path and the remedy, never as a defect, never with the advice to rebuild."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from csv_files import one_run
from pipeline.command_line import main
from pipeline.errors import DataError, TemporaryError
from pipeline.files import readable, refusal

ROOT = Path(__file__).parents[1]
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")  # root may read all else
GLOB = "ingest one.yaml data.path={0}/bars/A*.csv data.store={0}/other"
CALLS = "import sys; from pipeline.command_line import main; [main(words.split()) for words in sys.argv[1:]]"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Return a folder with bars, a store of them and a published run."""
    folder = tmp_path_factory.mktemp("place")
    one_run(folder)
    (folder / "eod.yaml").write_text("backoff: [0]\nruns: [{conf: one.yaml}]\n")
    assert main(["run", str(folder / "one.yaml")]) == 0
    return folder


def answers(place: Path, closed: Path, commands: Sequence[str]) -> list[dict[str, Any]]:
    """Return what commands answer while nobody may read `closed`, root neither."""
    if os.geteuid() == 0 and not shutil.which(AS_ANYBODY[0]):
        pytest.skip("setpriv is not at hand: root may read everything")
    dropped = AS_ANYBODY if os.geteuid() == 0 else ()
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        done = subprocess.run(
            [*dropped, sys.executable, "-c", CALLS, *(f"{command.format(place)} --json" for command in commands)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        closed.chmod(mode)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(commands), done.stderr
    return found


def target(place: Path, name: str) -> Path:
    """Return what the name of a case stands for."""
    patterns = {
        "a part": "store/parts/block-*",
        "a run's table": "runs/*/*/equity.parquet",
        "a run's figures": "runs/*/*-1/metrics.json",
        "a run's record": "runs/*/*-1/run.json",
        "a run": "runs/*/*-1",
    }
    return next(place.glob(patterns.get(name, name)))


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("bars", ["ingest one.yaml", "run one.yaml", "batch eod.yaml", GLOB]),
        ("store", ["ingest one.yaml", "run one.yaml", "batch eod.yaml", "verify one.yaml", "files one.yaml"]),
        ("store/snapshots", ["run one.yaml", "verify one.yaml", "files one.yaml"]),
        ("store/parts", ["run one.yaml", "verify one.yaml"]),
        ("a part", ["run one.yaml", "verify one.yaml", "batch eod.yaml trading.cash=5000"]),
        ("runs", ["verify one.yaml"]),
        ("a run", ["verify one.yaml", "compare runs/latest", "report runs/latest"]),
        ("a run's table", ["verify one.yaml", "report runs/latest"]),
        ("a run's figures", ["verify one.yaml", "compare runs/latest", "report runs/latest"]),
        ("a run's record", ["verify one.yaml", "compare runs/latest", "report runs/latest"]),
    ],
)
def test_what_nobody_may_read_is_4_with_path_and_remedy(place, name, commands):
    """Source, store and runs, by whatever command: the path, the system's words, and what helps."""
    path = target(place, name)
    for answer in answers(place, path, commands):
        told = json.dumps(answer)
        assert answer["exit_code"] == 4
        assert f"{path}" in told
        assert "Permission denied" in told
        assert "Change its owner or mode" in told
        for wrong in ("ebuild", "defect", "Run the backtest", "no record"):
            assert wrong not in told


def test_the_record_of_a_run_says_the_same(place):
    """An attempt that met a closed store is kept with its code and reason, and without a traceback."""
    (told,) = answers(place, place / "store", ["run one.yaml"])
    kept = json.loads((Path(told["record"]) / "run.json").read_text())

    assert (kept["state"], kept["exit_code"], kept["reason"]) == ("failed", 4, told["reason"])
    assert not (Path(told["record"]) / "traceback.txt").exists()


def test_a_folder_that_takes_no_run_is_told_before_anything_is_computed(place):
    """Not when the run is to be published: what was computed would be lost."""
    folder = target(place, "a run").parent
    (told,) = answers(place, folder, ["run one.yaml"])
    kept = list((place / "runs" / ".failed").glob("*/run.json"))

    assert told["exit_code"] == 75
    assert f"run directory {folder}: Permission denied; it could not be written" in told["reason"]
    assert not [record for record in kept if "signals" in json.loads(record.read_text()).get("stages", {})]


def test_other_damage_is_told_beside_a_part_that_nobody_may_read(place):
    """`verify` names both."""
    damaged = next((place / "store" / "parts").glob("actions*"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[::-1])
    try:
        (told,) = answers(place, target(place, "a part"), ["verify one.yaml"])
    finally:
        damaged.write_bytes(content)
    first, second = told["problems"]

    assert told["exit_code"] == 4
    assert f"{damaged.name} differs from its sha256" in first
    assert "Permission denied" in second


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "Permission denied", "/a"), DataError),
        (OSError(5, "Input/output error"), TemporaryError),
        (OSError(24, "Too many open files", "/a"), TemporaryError),
        (FileNotFoundError(2, "No such file or directory", "/a"), None),
        (PermissionError(13, "Permission denied"), None),
        (ConnectionRefusedError(111, "Connection refused"), None),
    ],
)
def test_the_door_knows_a_refusal_from_a_defect(error, kind):
    """Permissions are data as they are, a disk may be well again, a file that we lack is our own fault."""
    assert type(refusal(error)) is (kind or type(None))
    with pytest.raises(kind or type(error)), readable():
        raise error
