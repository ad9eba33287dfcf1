"""What runs a batch on a timer: units that systemd accepts, hardened, and a line that cron reads as it is meant."""

import configparser
import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.batch import units
from pipeline.batch.door import scheduled
from pipeline.command_line import main

ROOT = Path(__file__).parents[1]
HARD = {
    "ProtectSystem": "strict",
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "UMask": "0077",
    "KillMode": "mixed",
    "Type": "oneshot",
}
analysed = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is missing: no unit was verified by systemd. Install it: apt-get install systemd",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder whose name wants quoting everywhere, with a batch in it."""
    folder = tmp_path / 'a b%n "c" $d'
    (folder / "var").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(units, "TEMPORARY", (Path("/nowhere/tmp"),))  # the folder itself lies in /tmp
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (folder / "one.yaml").write_text("name: one\ndata: {store: var/store}\n")
    (folder / "eod.yaml").write_text("runs: [{conf: one.yaml}]\nmetrics: var/eod.prom\n")
    return folder


def service_of(text: str) -> dict[str, str]:
    """Return the section [Service] of a unit."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return dict(parser["Service"])


def verified(made: units.Units, folder: Path, *flags: str) -> str:
    """Return what systemd has to say against units; nothing is well."""
    files = [folder / f"{made.name}.service", folder / f"{made.name}.timer"]
    for file, text in zip(files, (made.service, made.timer), strict=True):
        file.write_text(text)
    words = ["systemd-analyze", *flags, "verify", *files]
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


@analysed
@pytest.mark.parametrize("flags", [[], ["--user"]], ids=["system", "user"])
@pytest.mark.parametrize(
    "extra", ["", "schedule: {days: daily, at: '00:05', memory: 8G, on_failure: 'alarm@%n.service'}\n"]
)
def test_systemd_accepts_the_units(folder, flags, extra):
    """Without a word, in a folder with blanks, quotes, per cent and dollar signs."""
    (folder / "eod.yaml").write_text((folder / "eod.yaml").read_text() + extra)
    (folder / "alarm@.service").write_text("[Service]\nExecStart=/bin/true\n")
    made = scheduled(Path("eod.yaml"), [], user=bool(flags))

    said = verified(made, folder, *flags)
    ours = [line for line in said.splitlines() if "backtest-eod" in line]
    assert ours == []


@analysed
def test_systemd_accepts_what_the_documentation_adds(folder):
    """The drop-in for batches that end with 3 and for folders of on_failure, beside the unit as it is printed."""
    (added,) = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / "batch.md").read_text(), re.DOTALL)
    made = scheduled(Path("eod.yaml"), [], user=False)
    (folder / f"{made.name}.service.d").mkdir()
    (folder / f"{made.name}.service.d" / "override.conf").write_text(added)

    assert service_of(added) == {"SuccessExitStatus": "3", "ReadWritePaths": "/var/spool/alerts"}
    assert [line for line in verified(made, folder).splitlines() if "backtest-eod" in line] == []


@analysed
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{}", "Mon..Fri *-*-* 22:30:00 UTC"),
        ("{days: daily, at: '05:07'}", "*-*-* 05:07:00 UTC"),
        ("{days: 'Mon,Wed..Fri', at: '23:59'}", "Mon,Wed..Fri *-*-* 23:59:00 UTC"),
    ],
)
def test_systemd_reads_the_time_as_it_is_meant(folder, schedule, expected):
    """In UTC, so that no night is skipped or doubled when clocks change."""
    (folder / "eod.yaml").write_text(f"runs: [{{conf: one.yaml}}]\nschedule: {schedule}\n")
    made = scheduled(Path("eod.yaml"), [], user=False)
    calendar = re.search(r"^OnCalendar=(.*)$", made.timer, re.MULTILINE)[1]
    words = ["systemd-analyze", "calendar", "--iterations=0", calendar]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout

    assert f"Normalized form: {expected}" in said.replace("  ", " ") or calendar == expected


def test_the_service_is_hardened_and_calls_python_itself(folder):
    """The machine is read-only but for what the batch writes; make would hide the exit code."""
    made = scheduled(Path("eod.yaml"), ["trading.cash=5"], user=False)
    service = service_of(made.service)

    assert HARD.items() <= service.items()
    assert "make" not in service["ExecStart"]
    assert service["ExecStart"].startswith(f"{sys.executable} -m pipeline batch ")
    assert service["ExecStart"].endswith("trading.cash=5 --wait 10m --json")
    assert service["TimeoutStartSec"] == "21600"
    assert "RuntimeMaxSec" not in service  # has no effect on a oneshot service
    assert "Persistent=true" in made.timer
    assert "SuccessExitStatus" not in made.service  # 3 is the operator's choice


@pytest.mark.parametrize("hidden", ["the folder", "bars", "strategy"])
def test_a_private_tmp_hides_nothing_of_the_batch(folder, tmp_path, monkeypatch, hidden):
    """What lies under /tmp would not be there for the service: it shares /tmp then, may write to it, and says why."""
    there = tmp_path / "tmp"
    there.mkdir()
    monkeypatch.setattr(units, "TEMPORARY", (folder if hidden == "the folder" else there,))
    bars, strategy = there / "bars", there / "mine.py"
    settings = {
        "bars": f"data: {{source: csv, path: {bars}, store: var/store}}",
        "strategy": f"strategy: {{name: {strategy}}}",
    }
    (folder / "one.yaml").write_text(f"name: one\n{settings.get(hidden, '')}\n")
    made = scheduled(Path("eod.yaml"), [], user=False)

    assert "PrivateTmp" not in service_of(made.service)
    which = {"the folder": str(folder).replace("%", "%%"), "bars": str(bars), "strategy": str(strategy)}[hidden]
    assert f"# No PrivateTmp=yes, which would hide {which}. " in made.service
    assert str(there if hidden != "the folder" else tmp_path) in service_of(made.service)["ReadWritePaths"]


def test_only_what_exists_is_writable(folder):
    """Systemd refuses to start a service whose folders are not there: the nearest one above is granted instead."""
    granted = service_of(scheduled(Path("eod.yaml"), [], user=False).service)["ReadWritePaths"]
    quoted = str(folder).replace("%", "%%").replace('"', '\\"')
    assert granted == f'"{quoted}" "{quoted}/var"'

    for name in ("runs", "var/store"):
        (folder / name).mkdir()
    granted = service_of(scheduled(Path("eod.yaml"), [], user=False).service)["ReadWritePaths"]
    assert granted == f'"{quoted}/runs" "{quoted}/var/store" "{quoted}/var"'


def test_what_the_units_would_not_find_is_told(folder, capsys):
    """Bars and strategies by relative paths of a batch elsewhere: these start from the folder of the call."""
    away = folder / "away"
    (away / "bars").mkdir(parents=True)
    (away / "mine.py").touch()
    (away / "two.yaml").write_text("data: {source: csv, path: bars}\nstrategy: {name: ./mine.py}\n")
    (away / "eod.yaml").write_text("runs: [{conf: two.yaml}]\n")
    assert main(["schedule", "away/eod.yaml"]) == 0
    here = capsys.readouterr().err
    with contextlib.chdir(away):
        assert main(["schedule", "eod.yaml"]) == 0

    assert here == (
        f"warning: schedule: {folder}/bars, {folder}/mine.py: not there; relative paths start from the folder of the "
        f"call, {folder}, in which the units run, too. Call `schedule` from the folder that they start from.\n"
    )
    assert capsys.readouterr().err == ""


def test_cron_runs_the_same_command(folder):
    """As a shell reads it, after cron has taken its own escapes away; ended after its time, whatever it does."""
    line = scheduled(Path("eod.yaml"), ["strategy.params={fast: 5}"], user=False).cron.splitlines()[-1]
    minute, hour, day, month, days, command = line.split(" ", 5)
    words = shlex.split(command.replace(r"\%", "%"))

    assert (minute, hour, day, month, days) == ("30", "22", "*", "*", "Mon-Fri")
    assert re.search(r"(?<!\\)%", command) is None
    assert words == [
        *["cd", str(folder), "&&", "timeout", "-k", "30", "21600", sys.executable, "-m", "pipeline", "batch"],
        *[str(folder / "eod.yaml"), "strategy.params={fast: 5}", "--wait", "10m"],
    ]


def test_a_file_of_settings_is_scheduled_too(folder):
    """As `run`, at the default time."""
    made = scheduled(Path("one.yaml"), [], user=False)

    assert made.name == "backtest-one"
    assert " -m pipeline run " in made.service


def test_schedule_prints_all_three(folder, capsys):
    """Service, timer and crontab line for a person; one object with --json."""
    assert main(["schedule", "eod.yaml"]) == 0
    printed = capsys.readouterr().out
    assert main(["schedule", "eod.yaml", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)

    assert [text in printed for text in ("[Service]", "[Timer]", "CRON_TZ=UTC")] == [True] * 3
    assert all(made[part].rstrip() in printed for part in ("service", "timer", "cron"))


def test_install_user_writes_the_units_and_says_what_is_left(folder, tmp_path, capsys, monkeypatch):
    """Where the user's systemd answers, the timer is started; where it does not, the commands are named."""
    asked = tmp_path / "asked"
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for code in (0, 1):
        (bin_folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {asked}\nexit {code}\n')
        (bin_folder / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", str(bin_folder))
        assert main(["schedule", "eod.yaml", "--install-user"]) == 0

    written = tmp_path / "config" / "systemd" / "user"
    first, second = capsys.readouterr().out.split("written: ")[1:]
    assert sorted(path.name for path in written.iterdir()) == ["backtest-eod.service", "backtest-eod.timer"]
    assert "ProtectSystem" not in (written / "backtest-eod.service").read_text()
    assert asked.read_text().splitlines()[:2] == ["--user daemon-reload", "--user enable --now backtest-eod.timer"]
    assert "left to do" not in first
    assert "systemctl --user enable --now backtest-eod.timer" in second
    assert "loginctl enable-linger" in second
