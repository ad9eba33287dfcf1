"""The defaults that SECURITY.md states: no code from data, no secret written down, hashes in the locks.

That clusters listen on this machine only is tested with the schedulers and the clusters.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hostile import workspace

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
LOADERS = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib"}
TRANSPORT = {"pipeline.compute"}  # Dask's own wire, between a client and the workers it trusts; never a file
CALLS = {"eval", "exec", "__import__", "system", "popen", "read_pickle", "to_pickle", "from_npy_stack", "unsafe_load"}
ALLOWED = {("pipeline/signals/source.py", "exec")}  # a strategy is the user's own code
WORST = {"load", "load_all", "full_load", "Loader", "FullLoader", "UnsafeLoader"}  # of yaml


def found_in(path, text):
    """Yield what a module does that could run code which came as data."""
    where = str(path.relative_to(ROOT))
    is_transport = any(where.replace("/", ".").startswith(package) for package in TRANSPORT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_transport:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{where}: import {name}" for name in names if name.partition(".")[0] in LOADERS)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in CALLS and (where, name) not in ALLOWED:
                yield f"{where}: {name}()"
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in {"shell", "allow_pickle"} and value is not False:
                    yield f"{where}: {keyword.arg}={value}"
        if isinstance(node, ast.Attribute) and node.attr in WORST and getattr(node.value, "id", "") == "yaml":
            yield f"{where}: yaml.{node.attr}"


def test_no_module_runs_what_came_as_data():
    """Neither pickle, eval, exec, a shell nor an unsafe YAML loader stands in the package, but for strategies."""
    assert [what for path in MODULES for what in found_in(path, path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from cloudpickle import loads",
        "eval(x)",
        "exec(x)",
        "import os; os.system(x)",
        "import yaml; yaml.load(x)",
        "import yaml; yaml.load(x, Loader=yaml.UnsafeLoader)",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=True)",
        "pd.read_pickle(x)",
    ],
)
def test_the_search_finds_what_it_is_for(text):
    """Each of the things that are searched for is found where it stands."""
    assert list(found_in(ROOT / "pipeline" / "made_up.py", text)) != []


@pytest.mark.faults
def test_no_secret_is_written_down(tmp_path):
    """What the environment holds is in no file of a run, its performance report included, and in no output."""
    place = workspace(tmp_path)
    secret = "planted-secret-4711"
    days = [f"2020-01-{day:02d}" for day in range(6, 11)]
    (place.bars / "A.csv").write_text(
        "\n".join(["Date,Open,High,Low,Close,Volume", *(f"{day},10,11,9,10,1" for day in days)])
    )
    conf = place.conf()
    own = [f"data.store={place.root / 'store'}", f"output.dir={place.root / 'runs'}", "output.performance=true"]
    environment = {**os.environ, "API_TOKEN": secret, "DATABASE_URL": f"postgres://me:{secret}@host/db"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", conf, *own, "strategy.params.x=${ENV:API_TOKEN}", "--debug"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", conf, *own],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    files = [path for path in (place.root / "runs").rglob("*") if path.is_file() and not path.is_symlink()]

    assert (done.returncode, told.returncode) == (2, 0), done.stderr + told.stderr
    assert {"report.html", "performance.html", "run.json", "log.jsonl"} <= {path.name for path in files}
    assert secret not in done.stdout + done.stderr + told.stdout + told.stderr
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("key", ["data.path", "data.store", "output.dir", "data.symbols", "scheduler.address"])
def test_credentials_in_a_url_are_never_shown(tmp_path, capsys, key):
    """An address with a password is refused without its part after the scheme."""
    place = workspace(tmp_path)
    (place.bars / "A.csv").write_text("")

    assert place.called("run", place.conf(), f"{key}=postgres://me:planted-4711@host/db") == 2
    printed = capsys.readouterr()
    assert "planted-4711" not in printed.out + printed.err


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "benchmarks/requirements.lock"])
def test_every_package_of_a_lock_has_its_hash(name):
    """Nothing is installed whose bytes are not those that were locked; the Makefile demands it."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]

    assert len(packages) > 5
    assert [line.split()[0] for line in packages if "--hash=sha256:" not in line] == []
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line]
    assert all("--require-hashes" in line for line in installs)
