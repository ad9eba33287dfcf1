"""A batch on a timer: a systemd service and its timer, hardened, and a line for crontab."""

import getpass
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.file import ScheduleOptions
from pipeline.errors import TemporaryError
from pipeline.files import replace_file

STOPPING = 20  # seconds that systemd grants after SIGTERM; the command needs at most 10
WAIT = "10m"  # for a batch started by hand that is still at it
SYSTEM = """\
# The machine is read-only to it but for the folders named below{own}; it sees no devices.
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={folders}
CacheDirectory=backtest
Environment=XDG_CACHE_HOME=%C/backtest
{private}PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
"""
PRIVATE = "PrivateTmp=yes\n"
SHARED = "# No PrivateTmp=yes, which would hide {hidden}. Keep what lasts elsewhere: others clear such folders.\n"
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what PrivateTmp= replaces
SERVICE = """\
# {path}
[Unit]
Description=Backtests: {name}
{on_failure}
[Service]
Type=oneshot
{user}WorkingDirectory={folder}
ExecStart={command}
# Only the command itself is asked to stop: it ends its workers and writes down how far it was.
KillMode=mixed
TimeoutStartSec={timeout}
TimeoutStopSec={stopping}
{memory}Nice=10
UMask=0077
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
{system}"""
TIMER = """\
# {path}
[Unit]
Description=Timer of backtests: {name}

[Timer]
OnCalendar={days}*-*-* {at}:00 UTC
RandomizedDelaySec={delay}
# A night that the machine slept through is made up for when it wakes.
Persistent=true

[Install]
WantedBy=timers.target
"""
CRON = """\
# crontab: cron's own zone counts where it does not know CRON_TZ (Debian's does not)
CRON_TZ=UTC
{minute} {hour} * * {days} cd {folder} && timeout -k 30 {timeout} {command}
"""


@dataclass(frozen=True)
class Units:
    """What a scheduler needs."""

    name: str  # of the units, without a suffix
    service: str
    timer: str
    cron: str


def units(
    name: str,
    words: Sequence[str],
    schedule: ScheduleOptions,
    folders: Iterable[Path],
    *,
    reads: Iterable[Path] = (),
    user: bool = False,
) -> Units:
    """Return the units that run a command at the time of `schedule`.

    Parameters
    ----------
    name : str
        Of the batch or run.
    words : sequence of str
        The command after ``python -m pipeline``, its paths absolute.
    schedule : ScheduleOptions
        When, and how long it may take.
    folders : iterable of Path
        Where it writes.
    reads : iterable of Path
        Where else it reads: what a private /tmp must not hide.
    user : bool
        For the user's own systemd, where a service cannot be kept from the rest of the machine.
    """
    unit = f"backtest-{name}"
    command = [sys.executable, "-m", "pipeline", *words, "--wait", WAIT]
    home = user_folder() if user else Path("/etc/systemd/system")
    hour, minute = schedule.at.split(":")
    days = "" if schedule.days == "daily" else f"{schedule.days} "
    service = SERVICE.format(
        path=home / f"{unit}.service",
        name=name,
        on_failure=f"OnFailure={schedule.on_failure}\n" if schedule.on_failure else "",
        user="" if user else f"User={getpass.getuser()}\n",
        folder=_escaped(str(Path.cwd())),
        command=" ".join(_argument(word) for word in [*command, "--json"]),
        timeout=schedule.timeout,
        stopping=STOPPING,
        memory=f"MemoryMax={schedule.memory}\n" if schedule.memory else "",
        system=""
        if user
        else _system(list(folders), [Path.cwd(), Path(sys.executable), *map(Path, words[1:2]), *reads]),
    )
    timer = TIMER.format(path=home / f"{unit}.timer", name=name, days=days, at=schedule.at, delay=schedule.delay)
    cron = CRON.format(
        minute=int(minute),
        hour=int(hour),
        days="*" if schedule.days == "daily" else schedule.days.replace("..", "-"),
        folder=shlex.quote(str(Path.cwd())).replace("%", r"\%"),
        timeout=schedule.timeout,
        command=shlex.join(command).replace("%", r"\%"),
    )
    return Units(unit, service, timer, cron)


def _system(folders: Sequence[Path], reads: Sequence[Path]) -> str:
    """Return what keeps a service from the rest of the machine, but not from what it reads and writes."""
    hidden = [path for path in (*reads, *folders) if any(map(path.is_relative_to, TEMPORARY))]
    granted = [*folders, *(TEMPORARY if hidden else ())]  # which must be writable, as a private one is
    return SYSTEM.format(
        folders=" ".join(map(_quoted, _there(granted))),
        private=SHARED.format(hidden=_escaped(str(hidden[0]))) if hidden else PRIVATE,
        own="" if hidden else " and its own /tmp",
    )


def user_folder() -> Path:
    """Return where a user's own units lie."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "systemd" / "user"


def install(made: Units) -> list[str]:
    """Write a user's units and start the timer; return what was done, and what is left to do by hand.

    Raises
    ------
    TemporaryError
        They cannot be written.
    """
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in (("service", made.service), ("timer", made.timer)):
            replace_file(folder / f"{made.name}.{suffix}", text.encode())
    except OSError as error:
        raise TemporaryError(
            f"{folder}: {error.strerror}; units could not be written. Check its permissions."
        ) from error
    said = [f"written: {folder / made.name}.service and .timer"]
    for words in (["daemon-reload"], ["enable", "--now", f"{made.name}.timer"]):
        command = ["systemctl", "--user", *words]
        if not (shutil.which("systemctl") and _succeeds(command)):
            said.append(f"left to do, since this session's systemd did not answer: {shlex.join(command)}")
    return [*said, "to run while you are logged out: loginctl enable-linger"]


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - systemctl


def _there(folders: Iterable[Path]) -> list[str]:
    """Return each folder, or the nearest one above that exists: systemd grants nothing that is not there."""
    found = (next(place for place in (folder, *folder.parents) if place.exists()) for folder in folders)
    return list(dict.fromkeys(map(str, found)))


def _argument(word: str) -> str:
    """Return a word as a command line of a unit has it, where $ stands for a variable."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """Return a word as a unit file has it."""
    text = _escaped(word)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \"'\\;") else text


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
