"""A workspace that strangers' files are fed to, and a watch over what a command does outside it.

The watch is Python's audit hook: files opened for writing, renamed, linked or removed outside the workspace, sockets,
programs, and pickles that name a class. A command that is fed data has no business with any of these.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.command_line import main
from pipeline.trading.compiled import FOLDER

PATIENCE = 30.0  # seconds of one command on a busy machine; a fraction of one is usual
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # event: which arguments are paths, and which one the descriptor of their folder
    "os.chmod": ((0,), 2),
    "os.chown": ((0,), 3),
    "os.link": ((0, 1), None),
    "os.mkdir": ((0,), 2),
    "os.remove": ((0,), 1),
    "os.rename": ((0, 1), None),
    "os.rmdir": ((0,), 1),
    "os.symlink": ((1,), 2),
    "os.truncate": ((0,), None),
}
FORBIDDEN = (
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "socket.bind",
    "socket.connect",
    "subprocess.Popen",
)
_watched: dict[str, list[str]] = {}  # workspace: what was done outside it


def _audit(event: str, arguments: tuple) -> None:
    if not _watched:
        return
    ((inside, seen),) = _watched.items()
    if event in FORBIDDEN:
        seen.append(f"{event} {arguments!r}")
    elif event == "open":
        path, _, flags = arguments
        if flags & WRITES and isinstance(path, str | bytes):
            _see(event, path, inside, seen)
    elif event in CHANGES:
        places, folder = CHANGES[event]
        for place in places:
            at = arguments[folder] if folder is not None and folder < len(arguments) else -1
            base = Path(f"/proc/self/fd/{at}").readlink() if isinstance(at, int) and at >= 0 else Path()
            if isinstance(arguments[place], str | bytes):
                _see(event, str(base / os.fsdecode(arguments[place])), inside, seen)


def _see(event: str, path: str | bytes, inside: str, seen: list[str]) -> None:
    named = Path(os.fsdecode(path))
    real = str(named.parent.resolve() / named.name)
    known = real == os.devnull or "__pycache__" in real or (FOLDER and Path(real).is_relative_to(FOLDER))
    if not known and not Path(real).is_relative_to(inside):
        seen.append(f"{event} {real}")


sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Yield a list of what is done outside `folder` meanwhile."""
    seen: list[str] = []
    _watched[str(folder.resolve())] = seen
    try:
        yield seen
    finally:
        _watched.clear()


@dataclass(frozen=True)
class Workspace:
    """A folder for bars, store, runs and config, deep enough that ``..`` stays among the folders of the test."""

    root: Path

    @property
    def bars(self) -> Path:
        """Where strangers' files go."""
        return self.root / "bars"

    def conf(self, text: str | bytes | None = None, **data) -> Path:
        """Write a config, given or made of settings of `data`, and return its path."""
        path = self.root / "conf.yaml"
        if text is None:
            settings = {"source": "csv", "path": str(self.bars), "fail_above": 1.0, **data}
            strategy = {"name": "buy_and_hold", "params": {}}
            text = yaml.safe_dump({"data": settings, "strategy": strategy}, allow_unicode=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
        return path

    def call(self, command: str, *arguments: str | Path) -> int:
        """Return the exit code of `run`, `ingest` or `verify` with the store and the runs in here."""
        return self.called(command, *arguments, f"data.store={self.root / 'store'}", f"output.dir={self.root / 'runs'}")

    def called(self, command: str, *arguments: str | Path) -> int:
        """Return the exit code of a command, as the command line has it, having seen that it stays in here."""
        began = time.monotonic()
        with watched(self.root) as seen:
            code = main([command, *map(str, arguments), "scheduler.kind=synchronous"])
        took = time.monotonic() - began
        assert seen == [], "\n".join(seen)
        assert took < PATIENCE
        return code


def workspace(folder: Path) -> Workspace:
    """Make an empty workspace some levels below `folder`."""
    place = Workspace(folder / "a" / "b" / "workspace")
    place.bars.mkdir(parents=True)
    return place
