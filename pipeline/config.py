"""``conf/base.yaml`` < a file < the environment < ``KEY=VALUE`` -> frozen `Options`, or every complaint at once.

A setting goes by its dotted name, ``trading.sizing.method``. Every layer is a list of (name, node) laid over the
settings of the layers below; the names that exist are those of ``conf/base.yaml``. Two groups of free keys,
``strategy.params`` and ``data.columns``, are one setting each.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.complaints import invalid, secrets, shown, strays, unknown
from pipeline.errors import ConfigError
from pipeline.fields import local_path
from pipeline.options import Options
from pipeline.section import Section
from pipeline.yamltree import Items, Keys, Leaf, Node, parse, plain, read_text, read_tree

__all__ = ["BASE", "NOT_YET", "dump", "flat", "load"]

BASE = Path(__file__).resolve().parents[1] / "conf" / "base.yaml"
PREFIX = "BACKTEST__"
OLD_NAMES = {
    "BACKTEST_USE_PROCESS_POOL": "scheduler.processes.allowed",
    "BACKTEST_PROCESS_POOL_SIZE": "scheduler.processes.workers",
    "BACKTEST_THREAD_POOL_SIZE": "scheduler.threads.workers",
}
NOT_SETTINGS = ("BACKTEST_REAL_DATA",)  # of the tests and benchmarks
FREE = ("data.columns", "strategy.params", "scheduler.cluster")
FORGETS: dict[str, dict[str, Node]] = {
    "strategy.name": {"strategy.params": Keys("", {})},
    "scheduler.workers": {"scheduler.processes.workers": Leaf("", None), "scheduler.threads.workers": Leaf("", None)},
}
"""What a layer that states a setting forgets of the layers below it, because it belonged to the old value."""

NOT_YET = {
    "strategy.members": "combined strategies are",
    "strategy.vote": "combined strategies are",
    "strategy.pairs": "pairs are",
    "trading.market=cn": "the A-share market is",
    "trading.slippage.ticks": "slippage in ticks is",
    "trading.ranking.top": "ranking is",
    "trading.ranking.buffer": "ranking is",
    "trading.ranking.rebalance": "ranking is",
    "trading.ranking.weights": "ranking is",
}
"""Settings, or values of settings, that are refused until their feature is built."""


Edit = tuple[str, Node]


def load(
    path: Path | None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    *,
    laid: Sequence[Keys] = (),
) -> Options:
    """Read the options of a run.

    Parameters
    ----------
    path : Path or None
        A file that states what differs from ``conf/base.yaml``; None for nothing.
    overrides : sequence of "KEY=VALUE"
        Dotted key, YAML value; each key once.
    environment : mapping
        Where ``BACKTEST__TRADING__CASH`` and the three old names are looked up.
    laid : sequence of Keys
        Further layers, between the file and the environment: what a batch states of its runs.

    Raises
    ------
    ConfigError
        One line per mistake, each with the file and line, the variable or the argument it came from.
    """
    defaults = _defaults()
    settings = dict(defaults)
    complaints: list[str] = []
    file = list(flat(_read(path))) if path else []
    variables = [PREFIX + name.upper().replace(".", "__") for name in defaults]
    complaints += strays([name for name in environment if name not in NOT_SETTINGS], [*OLD_NAMES, *variables])
    for layer in (file, *(list(flat(keys)) for keys in laid), _variables(environment), _arguments(overrides)):
        complaints += _twice(layer)
        complaints += [unknown(name, node, defaults) for name, node in layer if not _is_known(name, defaults)]
        _lay(settings, [(name, node) for name, node in layer if _is_known(name, defaults)])
    complaints += [*secrets(settings), *_not_yet(settings, defaults), *_read_symbols(settings)]
    options, mistakes = _validated(settings, defaults)
    complaints += mistakes
    if options is None or complaints:
        raise ConfigError("\n".join(complaints))
    return options


def _read(path: Path) -> Keys:
    tree = read_tree(path, str(path))
    if "runs" in tree.nodes:
        raise ConfigError(
            f"{path}: a batch file, since it has `runs`; the config of one run expected. Use `batch {path}`."
        )
    return tree


@cache
def _defaults() -> dict[str, Node]:
    """Return the settings of ``conf/base.yaml``, read once."""
    return dict(flat(read_tree(BASE, "conf/base.yaml")))


def dump(options: Options) -> str:
    """Return the options as YAML that `load` reads back to equal ones."""
    return yaml.dump(options.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # C's is four times as fast
    """Writes text with line breaks of any kind in double quotes: PyYAML's other styles lose some of them."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)


def flat(keys: Keys, group: str = "", *, free: Sequence[str] = FREE) -> Iterator[Edit]:
    """Yield the dotted name and node of every setting in a tree; groups of `free` keys are one setting each."""
    for key, node in keys.nodes.items():
        name = f"{group}{key}"
        if isinstance(node, Keys) and name not in free:
            yield from flat(node, f"{name}.", free=free)
        else:
            yield name, node


def _twice(edits: Sequence[Edit]) -> list[str]:
    """Complain of what a layer states twice, as ``a.b: 1`` and as ``a: {b: 1}``."""
    counts = Counter(name for name, _ in edits)
    wheres = dict.fromkeys((node.where, name) for name, node in edits if counts[name] > 1)
    return [f"{where}: {name} stands twice; once expected. Remove one." for where, name in wheres]


def _variables(environment: Mapping[str, str]) -> list[Edit]:
    names = {old: new for old, new in OLD_NAMES.items() if environment.get(old)}
    names |= {name: name[len(PREFIX) :].lower().replace("__", ".") for name in environment if name.startswith(PREFIX)}
    return [
        edit for name, setting in names.items() for edit in _edits(setting, environment[name], f"environment {name}")
    ]


def _arguments(overrides: Sequence[str]) -> list[Edit]:
    edits: list[Edit] = []
    for argument in overrides:
        name, equals, value = argument.partition("=")
        if not (name and equals):
            raise ConfigError(f"command line: {argument!r}; KEY=VALUE expected. Write it like trading.cash=50_000.")
        edits += _edits(name, value, "command line")
    return edits


def _edits(name: str, value: str, where: str) -> Iterable[Edit]:
    """Return what ``name=value`` states: ``trading={cash: 1, lot: 2}`` is two settings."""
    node = parse(value, lambda _: where)
    return flat(node, f"{name}.") if isinstance(node, Keys) and not name.startswith(FREE) else [(name, node)]


def _is_known(name: str, defaults: Mapping[str, Node]) -> bool:
    return name in defaults or _free_group(name) is not None


def _free_group(name: str) -> str | None:
    """Return the group of free keys that `name` is one key of."""
    return next((group for group in FREE if name.startswith(f"{group}.")), None)


def _lay(settings: dict[str, Node], layer: Sequence[Edit]) -> None:
    """Lay a layer over `settings`."""
    for name, _ in layer:
        settings.update(FORGETS.get(name, {}))
    for name, node in layer:
        group = _free_group(name)
        if group is None:
            settings[name] = node
        else:
            settings[group] = _with(settings[group], name[len(group) + 1 :], node)


def _with(below: Node | None, name: str, node: Node) -> Keys:
    """Return a group of free keys with one more; what is given to a cluster's class is a group of its own."""
    nodes = below.nodes if isinstance(below, Keys) else {}
    if name.startswith("kwargs."):
        name, node = "kwargs", _with(nodes.get("kwargs"), name.removeprefix("kwargs."), node)
    return Keys(node.where, {**nodes, name: node})


def _not_yet(settings: dict[str, Node], defaults: Mapping[str, Node]) -> list[str]:
    """Complain of what is not built yet, and put the default in its place."""
    complaints = []
    for name, node in settings.items():
        default = defaults[name]
        feature = NOT_YET.get(name) if _meant(node) != _meant(default) else None
        feature = feature or NOT_YET.get(f"{name}={_meant(node)}")
        if feature:
            leave = plain(default) or "null"
            complaints.append(
                f"{node.where}: {name} is {shown(node)}; {feature} not available in this version. Leave it {leave}."
            )
            settings[name] = default
    return complaints


def _meant(node: Node) -> Any:
    """Return a node as plain data, with one spelling of false."""
    value = plain(node)
    return "false" if isinstance(value, str) and value.lower() in {"no", "off"} else value


def _read_symbols(settings: dict[str, Node]) -> list[str]:
    """Put the symbols of a file in the place of its path; complain if that cannot be done."""
    node = settings["data.symbols"]
    if not isinstance(node, Leaf) or node.text in {None, "all"}:
        return []
    settings["data.symbols"] = Leaf(node.where, "all")
    try:
        path = local_path(node.text)
    except ValueError as error:
        return [f"{node.where}: data.symbols is {shown(node)}; {error}."]
    if _is_absent(path):
        return [f"{node.where}: data.symbols is {shown(node)}; no such file. Write all, [A, B], or a file of symbols."]
    try:
        lines = read_text(path, str(path)).splitlines()
    except ConfigError as error:
        return [str(error)]
    symbols = ((f"{path}:{number}", line.partition("#")[0].strip()) for number, line in enumerate(lines, 1))
    settings["data.symbols"] = Items(node.where, tuple(Leaf(where, symbol) for where, symbol in symbols if symbol))
    return []


def _is_absent(path: Path) -> bool:
    """Tell whether there is no such file; one that may not be seen is read, which tells why it cannot be."""
    try:
        return not path.exists()
    except OSError:
        return False


def _validated(settings: Mapping[str, Node], defaults: Mapping[str, Node]) -> tuple[Options | None, list[str]]:
    built = set(_names(Options))
    values: dict[str, Any] = {}
    for name, node in settings.items():
        if name in built or name not in NOT_YET:
            *groups, key = name.split(".")
            inside = values
            for group in groups:
                inside = inside.setdefault(group, {})
            inside[key] = plain(node)
    try:
        return Options.model_validate(values), []
    except ValidationError as error:
        return None, list(dict(invalid(each, settings, defaults) for each in error.errors()).values())


def _names(section: type[Section], group: str = "") -> Iterator[str]:
    """Return the dotted names of all settings that an option class holds."""
    for key, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _names(inner, f"{group}{key}.")
        else:
            yield f"{group}{key}"
