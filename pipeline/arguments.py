"""What the commands take alike: CONF and KEY=VALUE, --json, --debug, --wait."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.errors import ConfigError, LockedError

if TYPE_CHECKING:
    from pipeline.options import Options

Answer = TypeVar("Answer")
ASKED_EVERY = 0.5  # seconds, while another process holds a lock
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType):
    """Seconds, written as 90s, 10m or 2h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = re.fullmatch(r"(\d+)([smh]?)", str(value))
        if not match:
            self.fail(f"{value!r}; a duration like 90s, 10m or 2h expected.", param, ctx)
        return int(match[1]) * UNITS[match[2]]


def shared_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command --json and --debug."""
    json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    debug_flag = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a defect.")
    return json_flag(debug_flag(command))


def configured(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command CONF, overrides, and the same."""
    conf = click.argument("conf", type=click.Path(path_type=Path))
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    return conf(overrides(shared_options(command)))


def patient(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command --wait."""
    words = "How long to wait for another process that is at the same: 90s, 10m, 2h. Default: not at all."
    return click.option("--wait", type=Duration(), default="0", help=words)(command)


def options_of(conf: Path, overrides: Sequence[str]) -> "Options":
    """Return what a config and overrides come to; ConfigError where they are wrong."""
    from pipeline.config import load

    return load(stated(conf), overrides)


def stated(conf: Path) -> Path:
    """Return CONF; ConfigError where an override stands in its place."""
    if "=" in str(conf) and not conf.exists():
        raise ConfigError(
            f"command line: {conf} came first; CONF expected before KEY=VALUE. Try conf/sample.yaml {conf}"
        )
    return conf


def waited(seconds: float, command: Callable[[], Answer]) -> Answer:
    """Return what a command comes to, asked again for so long while another process holds its lock."""
    until = time.monotonic() + seconds
    while True:
        try:
            return command()
        except LockedError as error:
            if time.monotonic() >= until:
                waits = f"longer than the {seconds:g} s of --wait" if seconds else "so: --wait 10m"
                error.args = (f"{error} The command can wait {waits}.",)
                raise
        time.sleep(ASKED_EVERY)
