"""What is wrong with a setting, in one line: ``<where>: <setting> is <what came>; <the rule>. <what to do>``."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pipeline.section import MissingError
from pipeline.yamltree import Items, Keys, Leaf, Node

SECRET = re.compile(r"(?i)(^|[_.-])(password|passwd|passphrase|token|secret|credentials?|(api|access|private)_?key)$")
REFERENCE = re.compile(r"\$\{ENV:[A-Za-z_]\w*\}")
PLACE = re.compile(
    r"(?P<user>[^@]*@)?(?P<place>[\w.-]+(:\d+)?|\[[\da-fA-F:.]+\](:\d+)?)(?P<path>[/?#][^@]*)?", re.DOTALL
)
RULES = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a group of keys",
    "string_too_short": "text",
    "string_type": "text",
    "tuple_type": "a list",
    "missing": "a value in conf/base.yaml",
    "extra_forbidden": "no setting of that name",
}
"""pydantic's error types whose own words would not fit a file of text."""

LONGEST = 60


def shown(node: Node) -> str:
    """Return a value as messages show it: short, on one line, without what a URL may carry."""
    if isinstance(node, Items):
        return "a list" if node.nodes else "an empty list"
    if isinstance(node, Keys):
        return "a group of keys"
    if node.text is None:
        return "null"
    scheme, has_place, rest = node.text.partition("://")
    text = f"{scheme}://{_place(rest)}" if has_place else scheme
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...")


def _place(rest: str) -> str:
    """Return host and port of what follows ``://``; who asks, with what word, for what, may be secret."""
    found = PLACE.fullmatch(rest)
    if found is None:
        return "..."
    return f"{'...@' if found['user'] else ''}{found['place']}{'/...' if found['path'] else ''}"


def unknown(name: str, node: Node, names: Collection[str]) -> str:
    """Complain of a name that is none of `names`."""
    if inside := _keys(name, names):
        return f"{node.where}: {name} is {shown(node)}; a group of keys expected. Known: {', '.join(inside)}."
    group = name.rpartition(".")[0]
    while not (siblings := _keys(group, names)):
        group = group.rpartition(".")[0]
    close = _meant(name, group, names)
    hint = f"did you mean {close!r}? Known" if close else "known"
    return f"{node.where}: {name} is not a setting; {hint}{f' in {group}' if group else ''}: {', '.join(siblings)}."


def _meant(name: str, group: str, names: Collection[str]) -> str | None:
    """Return which of `names`, or of their groups, a name that is none of them means; None if nobody can tell.

    It is right as far as `group`, so only what follows is compared: else all that share a long group were close.
    """
    prefix = f"{group}." if group else ""
    rest = name.removeprefix(prefix)
    wrong, _, inside = rest.partition(".")
    for right in get_close_matches(wrong, _keys(group, names), 1):
        whole = f"{prefix}{right}.{inside}"
        return whole if whole in names else f"{prefix}{right}"
    elsewhere = [other for other in names if other.endswith(f".{name.rpartition('.')[2]}")]
    inner = [other.removeprefix(prefix) for other in names if other.startswith(prefix)]
    close = elsewhere or [f"{prefix}{other}" for other in get_close_matches(rest, inner, 1)]
    return close[0] if close else None


def invalid(
    error: Mapping[str, Any], settings: Mapping[str, Node], defaults: Mapping[str, Node] = MappingProxyType({})
) -> tuple[str, str]:
    """Return the name of the setting that a pydantic error is about, and the complaint.

    Where that is a default, it is a setting beside it that was given which does not go with it: the complaint says
    where that one stands.
    """
    name, node = _located(error["loc"], settings)
    lack = error.get("ctx", {}).get("error")
    if isinstance(lack, MissingError):
        needs = settings[lack.needed_by]
        came = f"{needs.where}: {lack.needed_by} is {shown(needs)}"
        return name, f"{came}; it needs {name}, {lack.what}. Add {name}={lack.example}, say."
    rule = _rule(error)
    is_default = name in defaults and settings[name] is defaults[name]
    other = _given_beside(name, rule, settings, defaults) if is_default else None
    told = f"{name} is {shown(node)}"
    if other is not None:
        node, told = settings[other], f"{other} is {shown(settings[other])} and {told}"
    return name, f"{node.where}: {told}; {rule}."


def _given_beside(name: str, rule: str, settings: Mapping[str, Node], defaults: Mapping[str, Node]) -> str | None:
    """Return the setting in the group of `name` that somebody gave and the rule speaks of, by its name or its value."""
    group, _, _ = name.rpartition(".")
    words = set(re.findall(r"\w+", rule))
    return next(
        (
            other
            for other, node in settings.items()
            if other.startswith(f"{group}.") and node is not defaults.get(other) and node.where
            if other in rule or words & {other[len(group) + 1 :], getattr(node, "text", None)}
        ),
        None,
    )


def strays(variables: Iterable[str], known: Collection[str]) -> list[str]:
    """Complain of variables that look like settings of ours and are none: often one underscore is missing."""
    by_words = {_words(name): name for name in known}
    complaints = []
    for name in variables:
        if name.startswith("BACKTEST_") and not name.startswith("BACKTEST__") and name not in known:
            close = get_close_matches(_words(name), by_words, 1)
            rule = f"did you mean {by_words[close[0]]}? Two" if close else "two"
            complaints.append(f"environment {name}: no setting of ours; {rule} underscores stand for a dot.")
    return complaints


def _words(variable: str) -> str:
    """Return what distinguishes a variable from others of ours, with single underscores."""
    return re.sub("_+", "_", variable).removeprefix("BACKTEST_")


def secrets(settings: Mapping[str, Node]) -> list[str]:
    """Complain of every secret that is written out, without showing it."""
    return [
        f"{leaf.where}: {name} looks like a secret; secrets are not written in settings. Use ${{ENV:NAME}}."
        for setting, node in settings.items()
        for name, leaf in _leaves(setting, node)
        if SECRET.search(name) and leaf.text and not REFERENCE.fullmatch(leaf.text)
    ]


def _keys(group: str, names: Collection[str]) -> list[str]:
    """Return the keys directly inside a group of names; the empty group is the top."""
    prefix = f"{group}." if group else ""
    return list(dict.fromkeys(name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)))


def _located(location: tuple[str | int, ...], settings: Mapping[str, Node]) -> tuple[str, Node]:
    """Return what a pydantic location points at; the parts that name a branch of a union point at nothing."""
    parts = list(map(str, location))
    depth = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in settings), 0)
    if not depth:
        return ".".join(parts), Leaf("conf/base.yaml", None)
    name = ".".join(parts[:depth])
    node = settings[name]
    for part in location[depth:]:
        if isinstance(part, int) and isinstance(node, Items):
            name, node = f"{name}[{part}]", node.nodes[part]
        elif isinstance(part, str) and isinstance(node, Keys) and part in node.nodes:
            name, node = f"{name}.{part}", node.nodes[part]
    return name, node


def _rule(error: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    rule = error["msg"].removeprefix("Input should be ").partition(", unable")[0]
    if rule.startswith(("greater", "less")):
        rule = f"a number {rule}"
    return f"{RULES.get(error['type'], rule)} expected"


def _leaves(name: str, node: Node) -> Iterator[tuple[str, Leaf]]:
    match node:
        case Leaf():
            yield name, node
        case Items(nodes=nodes):
            for entry in nodes:
                yield from _leaves(name, entry)
        case Keys(nodes=entries):
            for key, entry in entries.items():
                yield from _leaves(f"{name}.{key}", entry)
