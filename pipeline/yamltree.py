"""YAML as a tree in which every scalar stays the text that was written, beside the line it was written on.

YAML 1.1 reads ``ON`` as true, ``000001`` as 1, ``1:30`` as 90 and ``5e-4`` as text. Here the type of a setting
decides what its text means, never the looks of the text: only a plain ``null``, ``~`` or nothing at all is None.
Anchors, tags, duplicate keys and sizes that no config file needs are refused, always as a `ConfigError`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
NULLS = ("", "~", "null")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Leaf:
    """A scalar: its text, or None; `where` is the file and line to name in a complaint, as in every node."""

    where: str
    text: str | None


@dataclass(frozen=True)
class Items:
    """A list."""

    where: str
    nodes: tuple["Node", ...]


@dataclass(frozen=True)
class Keys:
    """A mapping, in the order it was written; its nodes stand where their keys stand."""

    where: str
    nodes: dict[str, "Node"]


Node = Leaf | Items | Keys
Event = Any  # of PyYAML's parser; its stubs know too little
Locate = Callable[[int], str]  # line of a text -> where that is


def plain(node: Node) -> Any:
    """Return the node as dict, list, text or None."""
    match node:
        case Leaf(text=text):
            return text
        case Items(nodes=nodes):
            return [plain(entry) for entry in nodes]
        case Keys(nodes=entries):
            return {key: plain(entry) for key, entry in entries.items()}


def read_text(path: Path, where: str) -> str:
    """Return the text of a small UTF-8 file; a byte order mark is left out.

    Raises
    ------
    ConfigError
        It is missing, not a regular file, unreadable, too large, or not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or device would block or never end
            raise ConfigError(f"{where}: not a regular file. Name a file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{where}: {reason}; a readable file expected. Check the path.") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{where}: more than {MAX_BYTES // 1024} KiB; that is no file of settings. Check the path.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise ConfigError(f"{where}:{line}: byte {byte:#04x}; UTF-8 expected. Save it as such.") from None


def read_tree(path: Path, where: str) -> Keys:
    """Return the mapping that a YAML file holds; `where` names the file in complaints.

    Raises
    ------
    ConfigError
        As `read_text` and `parse`, or the file is empty or holds something else than a mapping.
    """
    tree = parse(read_text(path, where), lambda line: f"{where}:{line}")
    if isinstance(tree, Keys):
        return tree
    came = "no settings" if tree == Leaf(tree.where, None) else f"a {'list' if isinstance(tree, Items) else 'text'}"
    raise ConfigError(f"{tree.where}: {came}; a mapping expected. Write lines like `name: my_run`.")


def parse(text: str, locate: Locate) -> Node:
    """Return the tree of one YAML document; nothing at all is a `Leaf` of None.

    Raises
    ------
    ConfigError
        The text is not YAML, or uses what is refused here.
    """
    try:
        return _document(yaml.parse(text, Loader=_LOADER), locate)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = locate(mark.line + 1 if mark else 1)
        if mark and text.startswith("\t", mark.index):
            raise ConfigError(f"{where}: a tab; YAML is indented with spaces. Replace it.") from None
        raise ConfigError(f"{where}: {error.problem or error.context}; YAML expected. Quote special text.") from None
    except (yaml.YAMLError, ValueError):  # a character that YAML forbids, or an escape that is none
        raise ConfigError(f"{locate(1)}: control or invalid characters; YAML text expected. Remove them.") from None


def _document(events: Iterator[Event], locate: Locate) -> Node:
    tree: Node = Leaf(locate(1), None)
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ConfigError(f"{_where(event, locate)}: a second document; one expected. Split the file.")
            tree = _node(next(events), events, locate, depth=0)
    return tree


def _node(event: Event, events: Iterator[Event], locate: Locate, *, depth: int) -> Node:
    where = _where(event, locate)
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise ConfigError(f"{where}: anchor or alias {event.anchor!r}; neither is allowed. Write the value out.")
    if event.tag is not None:
        raise ConfigError(f"{where}: tag {event.tag!r}; tags are not allowed. Write plain text.")
    if isinstance(event, yaml.ScalarEvent):
        is_plain = event.implicit[0]
        return Leaf(where, None if is_plain and event.value in NULLS else event.value)
    if depth == MAX_DEPTH:
        raise ConfigError(f"{where}: more than {MAX_DEPTH} levels; no setting is that deep. Check the brackets.")
    if isinstance(event, yaml.SequenceStartEvent):
        return Items(where, tuple(_entries(events, locate, depth + 1)))
    return Keys(where, _mapping(events, locate, depth + 1))


def _entries(events: Iterator[Event], locate: Locate, depth: int) -> Iterator[Node]:
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            return
        yield _node(event, events, locate, depth=depth)


def _mapping(events: Iterator[Event], locate: Locate, depth: int) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        key = _node(event, events, locate, depth=depth)
        if not isinstance(key, Leaf) or not key.text:
            raise ConfigError(f"{key.where}: a key that is not text; text expected. Write `key: value`.")
        if key.text in nodes:
            first = nodes[key.text].where
            raise ConfigError(f"{key.where}: {key.text!r} stands twice, first at {first}; once expected. Remove one.")
        nodes[key.text] = replace(_node(next(events), events, locate, depth=depth), where=key.where)
    return nodes


def _where(event: Event, locate: Locate) -> str:
    return locate(event.start_mark.line + 1)
