"""A batch's YAML: which runs, and how they are treated. ``conf/batch.yaml`` holds every key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from pipeline.complaints import invalid, secrets, shown, unknown
from pipeline.config import flat
from pipeline.errors import ConfigError
from pipeline.fields import Count, FileName, LocalPath, Text
from pipeline.options import Options
from pipeline.section import Section
from pipeline.yamltree import Items, Keys, Leaf, Node, plain, read_tree

DEFAULTS = Path(__file__).resolve().parents[2] / "conf" / "batch.yaml"
LAYERS = ("set", "runs")  # keys of a batch file that are no settings of it
ENTRY = ("name", "conf", "set", "vary", "needs")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Backfill(StrEnum):
    """Which past sessions are run again."""

    NONE = "none"
    FAILED = "failed"
    ALL = "all"


def _are_days(days: str) -> str:
    names = [name for part in days.split(",") for name in part.split("..")]
    if days != "daily" and (not set(names) <= set(DAYS) or any(part.count("..") > 1 for part in days.split(","))):
        raise ValueError(f"days like Mon..Fri, or Mon,Wed, or daily expected; the names are {', '.join(DAYS)}")
    return days


def _is_metrics_file(path: Path) -> Path:
    if path.suffix != ".prom":
        raise ValueError("a file ending in .prom expected; node_exporter reads no other")
    return path


def _matching(pattern: str, rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{rule} expected")
        return text

    return AfterValidator(check)


def _are_words(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise ValueError("a command expected, as a list of words")
    return words


Words = Annotated[tuple[Text, ...], AfterValidator(_are_words)]


class KeepOptions(Section):
    """How much of the past stays."""

    batches: Count


class ScheduleOptions(Section):
    """When the batch is started, and what it may take."""

    at: Annotated[str, _matching(r"([01]\d|2[0-3]):[0-5]\d", "a time of day like 22:30")]
    days: Annotated[str, AfterValidator(_are_days)]
    delay: Annotated[int, Field(ge=0)]
    timeout: Count
    memory: Annotated[str, _matching(r"\d+[KMGT]", "a size like 8G")] | None
    on_failure: Annotated[str, _matching(r"[\w@%.:-]+\.service", "the name of a service")] | None


class BatchOptions(Section):
    """How a batch treats its runs."""

    name: FileName
    retries: Annotated[int, Field(ge=0, le=10)]
    backoff: tuple[Annotated[float, Field(ge=0)], ...]
    verify: bool
    catch_up: Annotated[int, Field(ge=0, le=1000)]
    backfill: Backfill
    on_failure: Words | None
    metrics: Annotated[LocalPath, AfterValidator(_is_metrics_file)] | None
    keep: KeepOptions
    schedule: ScheduleOptions


@dataclass(frozen=True)
class Entry:
    """One item of `runs`: one run, or several of one kind."""

    where: str
    name: str | None
    conf: str  # empty where none is stated
    set: Keys
    vary: dict[str, Items]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class BatchFile:
    """A batch as it is written."""

    path: Path
    options: BatchOptions
    set: Keys
    entries: tuple[Entry, ...]


def read_batch(path: Path) -> BatchFile:
    """Read a batch file.

    Raises
    ------
    ConfigError
        One line per mistake, each with its line; settings of the runs themselves are not looked at.
    """
    file, complaints = survey(path)
    if complaints:
        raise ConfigError("\n".join(complaints))
    return file


def survey(path: Path) -> tuple[BatchFile, list[str]]:
    """Return what of a batch file can be understood, and a line for each mistake; ConfigError where nothing can."""
    defaults, tree = read_tree(DEFAULTS, "conf/batch.yaml"), read_tree(path, str(path))
    if "runs" not in tree.nodes and (set(tree.nodes) & set(Options.model_fields)) - {"name"}:
        raise ConfigError(
            f"{path}: no runs; this is the config of one run. Use `run {path}`, or name it in a batch file: "
            f"`runs: [{{conf: {path.name}}}]`."
        )
    settings = _settings(defaults)
    if "name" not in tree.nodes:
        settings["name"] = Leaf(str(path), path.stem)
    stated, known = _settings(tree), [*settings, *LAYERS]
    complaints = [unknown(name, node, known) for name, node in stated.items() if name not in settings]
    settings |= {name: node for name, node in stated.items() if name in settings}
    common = _keys(tree, "set", str(path), complaints)
    entries = tuple(_entry(node, complaints) for node in _groups(tree, path, complaints))
    for layer in (stated, *(dict(flat(keys)) for keys in (common, *(entry.set for entry in entries)))):
        complaints += secrets(layer)
    options, mistakes = _validated(settings)
    usual = options or BatchOptions.model_validate(_values(_settings(defaults)))
    return BatchFile(path, usual, common, entries), [*complaints, *mistakes]


def _settings(tree: Keys) -> dict[str, Node]:
    others = {key: node for key, node in tree.nodes.items() if key not in LAYERS}
    return dict(flat(Keys(tree.where, others)))


def _items(tree: Keys, path: Path, complaints: list[str]) -> tuple[Node, ...]:
    node = tree.nodes.get("runs")
    if isinstance(node, Items) and node.nodes:
        return node.nodes
    came = f"runs is {shown(node)}" if node else "no runs"
    complaints.append(
        f"{node.where if node else path}: {came}; a list expected. Write `runs:` and `- conf: mine.yaml`."
    )
    return ()


def _groups(tree: Keys, path: Path, complaints: list[str]) -> Iterator[Keys]:
    for node in _items(tree, path, complaints):
        if isinstance(node, Keys):
            yield node
        else:
            complaints.append(
                f"{node.where}: {shown(node)}; each of runs is a group of keys. Write `- conf: mine.yaml`."
            )


def _entry(node: Keys, complaints: list[str]) -> Entry:
    """Return what an item of `runs` says, as far as it can be understood."""
    complaints += [unknown(key, value, ENTRY) for key, value in node.nodes.items() if key not in ENTRY]
    if "conf" not in node.nodes:
        complaints.append(
            f"{node.where}: no conf; every one of runs names a file of settings. Write `conf: mine.yaml`."
        )
    return Entry(
        where=node.where,
        name=_text(node, "name", complaints),
        conf=_text(node, "conf", complaints) or "",
        set=_keys(node, "set", node.where, complaints),
        vary=_lists(node, complaints),
        needs=_names(node, complaints),
    )


def _text(entry: Keys, key: str, complaints: list[str]) -> str | None:
    node = entry.nodes.get(key)
    if node is None or (isinstance(node, Leaf) and node.text):
        return node.text if isinstance(node, Leaf) else None
    complaints.append(f"{node.where}: {key} is {shown(node)}; text expected.")
    return None


def _keys(entry: Keys, key: str, where: str, complaints: list[str]) -> Keys:
    node = entry.nodes.get(key, Keys(where, {}))
    if isinstance(node, Keys):
        return node
    complaints.append(f"{node.where}: {key} is {shown(node)}; settings expected. Write `{{trading.cash: 50_000}}`.")
    return Keys(where, {})


def _lists(entry: Keys, complaints: list[str]) -> dict[str, Items]:
    """Return what an entry varies: a list of values by the dotted name of the setting."""
    lists = {}
    for name, node in flat(_keys(entry, "vary", entry.where, complaints), free=()):
        if isinstance(node, Items) and node.nodes:
            lists[name] = node
        else:
            complaints.append(f"{node.where}: {name} is {shown(node)}; a list of values to try expected, like [5, 10].")
    return lists


def _names(entry: Keys, complaints: list[str]) -> tuple[str, ...]:
    node = entry.nodes.get("needs", Items(entry.where, ()))
    names = plain(node)
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    complaints.append(f"{node.where}: needs is {shown(node)}; a list of names expected, like [prices].")
    return ()


def _validated(settings: Mapping[str, Node]) -> tuple[BatchOptions | None, list[str]]:
    try:
        return BatchOptions.model_validate(_values(settings)), []
    except ValidationError as error:
        return None, list(dict(invalid(each, settings) for each in error.errors()).values())


def _values(settings: Mapping[str, Node]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, node in settings.items():
        group, _, key = name.rpartition(".")
        (values.setdefault(group, {}) if group else values)[key] = plain(node)
    return values
