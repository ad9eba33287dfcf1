"""The types of single settings, and what each refuses; `pipeline.options` is made of them.

A refusal reads on after ``trading.cash is '-5';``: the rule, then what to do.
"""

import os
import re
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

__all__ = [
    "Count",
    "Day",
    "FileName",
    "Fraction",
    "LocalPath",
    "Money",
    "StrategyName",
    "Symbols",
    "Text",
    "TimeZone",
    "is_text",
    "local_path",
]


NAME_BYTES, PATH_BYTES = 255, 4095  # that the system takes at most: NAME_MAX and PATH_MAX of Linux


def local_path(path: str | Path) -> Path:
    """Return a path made absolute from the current directory.

    Raises
    ------
    ValueError
        It names another machine, as a URL or a chain of them, or is no path, or a longer one than the system takes.
    """
    text = os.path.expanduser(path)  # noqa: PTH111 - unlike Path.expanduser it never raises
    if "://" in text or "::" in text:
        raise ValueError("a local path expected, remote paths are disabled. Copy the files to this machine")
    if not text or any(ord(character) < ord(" ") for character in text):
        raise ValueError("a path without control characters expected")
    path = Path(text).absolute()
    if not is_text(str(path)):
        raise ValueError("a path in UTF-8 expected")
    if len(os.fsencode(path)) > PATH_BYTES or max(len(os.fsencode(name)) for name in path.parts) > NAME_BYTES:
        raise ValueError(f"a path of at most {PATH_BYTES:,} bytes, and {NAME_BYTES} for each name in it, expected")
    return path


def is_text(name: str) -> bool:
    """Tell whether a name that came from the system is UTF-8: Python keeps other bytes of it as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_path(value: object) -> object:
    return local_path(value) if isinstance(value, str | Path) else value


def _is_strategy(name: str) -> str:
    return str(_shortest(local_path(name))) if "/" in name or name.endswith(".py") else name


def _shortest(path: Path) -> Path:
    """Return a path without its ``..``, if that is the same file: beyond a symbolic link it may be another one."""
    short = Path(os.path.normpath(path))
    are_there = os.path.exists(short) and os.path.exists(path)  # noqa: PTH110 - unlike Path.exists it never raises
    return short if are_there and short.samefile(path) else path


def _is_date(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("a date like 2020-12-31 expected") from None


def _has_come(day: date) -> date:
    today = datetime.now(timezone(timedelta(hours=14))).date()  # where on earth the day begins first
    if day > today:
        raise ValueError(f"it lies in the future; {today} or before expected")
    return day


def _is_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # none of that name, or a folder of them
        raise ValueError("a time zone like America/New_York or Asia/Shanghai expected") from None
    return name


def _is_file_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name) or name == "latest":
        raise ValueError("a plain file name expected: letters, digits and . _ + -, at most 100, and not 'latest'")
    return name


def _are_distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    if not symbols:
        raise ValueError("at least one symbol expected")
    twice = [symbol for symbol, count in Counter(symbols).items() if count > 1]
    if twice:
        raise ValueError(f"each symbol once expected, but {', '.join(twice[:5])} stands there more often")
    return symbols


Fraction = Annotated[float, Field(ge=0, le=1)]
Money = Annotated[float, Field(ge=0, le=1e15)]  # above it float64 knows no single cents
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Text = Annotated[str, Field(min_length=1)]
Day = Annotated[date, BeforeValidator(_is_date), AfterValidator(_has_come)]
FileName = Annotated[str, AfterValidator(_is_file_name)]
TimeZone = Annotated[Text, AfterValidator(_is_time_zone)]
StrategyName = Annotated[Text, AfterValidator(_is_strategy)]
Symbols = Annotated[
    Annotated[Literal["all"], Tag("text")] | Annotated[tuple[Text, ...], AfterValidator(_are_distinct), Tag("list")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "list"),
]
LocalPath = Annotated[Path, BeforeValidator(_is_path)]
"""A path on this machine, made absolute from the current directory when the option is made."""
