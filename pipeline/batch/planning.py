"""The runs that a batch file names, with all their settings, in an order in which each comes after what it needs."""

import glob
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from pipeline.batch.file import BatchFile, Entry, survey
from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.options import Options
from pipeline.yamltree import Keys, Node, plain


@dataclass(frozen=True)
class Planned:
    """One run of a batch."""

    label: str  # unlike that of any other
    group: str  # what `needs` of others may call it besides
    conf: Path
    varied: dict[str, str]  # dotted name of a setting: its value here
    options: Options
    needs: tuple[str, ...]  # labels


def read(path: Path, overrides: Sequence[str] = ()) -> tuple[BatchFile, list[Planned]]:
    """Return a batch file and its runs, as `planned`; ConfigError with all that is wrong with either."""
    file, complaints = survey(path)
    return file, planned(file, overrides, complaints=complaints)


def planned(
    batch: BatchFile,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    *,
    complaints: Iterable[str] = (),
) -> list[Planned]:
    """Return the runs of a batch, each after those it needs, else in the order of the file.

    Parameters
    ----------
    batch : BatchFile
        What the file says.
    overrides : sequence of "KEY=VALUE"
        Of every run, over all that the files say.
    environment : mapping
        As of `pipeline.config.load`.
    complaints : iterable of str
        What is wrong with the file itself, to be told first.

    Raises
    ------
    ConfigError
        One line per mistake in the settings of any run, in the names or in what needs what.
    """
    said = dict.fromkeys(complaints)
    runs = [run for entry in batch.entries for run in _runs(entry, batch, overrides, environment, said)]
    said |= dict.fromkeys([*_twice(runs), *_outputs(runs)])
    lost = {entry.name or Path(entry.conf).stem for entry in batch.entries} - {run.group for run in runs}
    runs = [_linked(run, runs, lost, said) for run in runs]
    if said:
        raise ConfigError("\n".join(said))
    return _ordered(runs, batch)


def _runs(
    entry: Entry,
    batch: BatchFile,
    overrides: Sequence[str],
    environment: Mapping[str, str],
    complaints: dict[str, None],
) -> Iterator[Planned]:
    files = _files(entry, batch.path.absolute().parent) if entry.conf else []
    if entry.conf and not files:
        complaints[f"{entry.where}: conf is {entry.conf!r}; there is no such file beside {batch.path}. Correct it."] = (
            None
        )
    names = _short(list(entry.vary))
    for file in files:
        group = entry.name or file.stem
        stem = f"{group}/{file.stem}" if entry.name and len(files) > 1 else group
        for values in itertools.product(*(each.nodes for each in entry.vary.values())):
            varied = dict(zip(entry.vary, values, strict=True))
            try:
                laid = (batch.set, entry.set, Keys(entry.where, dict[str, Node](varied)))
                options = load(file, overrides, environment, laid=laid)
            except ConfigError as error:
                complaints |= dict.fromkeys(str(error).splitlines())
                continue
            shown = {name: str(plain(node)) for name, node in varied.items()}
            inside = ",".join(f"{names[name]}={value}" for name, value in shown.items())
            yield Planned(f"{stem}[{inside}]" if inside else stem, group, file, shown, options, entry.needs)


def _files(entry: Entry, folder: Path) -> list[Path]:
    pattern = os.path.join(glob.escape(str(folder)), os.path.expanduser(entry.conf))  # noqa: PTH111, PTH118 - of a pattern, not a path
    return sorted(Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207


def _short(names: Sequence[str]) -> dict[str, str]:
    """Return the last word of each dotted name where it is the only one, else the name."""
    last = Counter(name.rpartition(".")[2] for name in names)
    return {name: word if last[word := name.rpartition(".")[2]] == 1 else name for name in names}


def _twice(runs: Sequence[Planned]) -> list[str]:
    counts = Counter(run.label for run in runs)
    return [
        f"runs: {label!r} stands there {count} times; each run has a name of its own. Give one of them a `name:`."
        for label, count in counts.items()
        if count > 1
    ]


def _outputs(runs: Sequence[Planned]) -> list[str]:
    folders = sorted({str(run.options.output.dir) for run in runs})
    said = f"output.dir is {' and '.join(folders)}; the runs of a batch lie in one folder. Set it for all of them."
    return [said] if len(folders) > 1 else []


def _linked(run: Planned, runs: Sequence[Planned], lost: Collection[str], complaints: dict[str, None]) -> Planned:
    """Return a run that needs others by their labels, where it named groups; `lost` are those that cannot be made."""
    labels: list[str] = []
    for name in run.needs:
        found = [other.label for other in runs if name in {other.label, other.group}]
        labels += found
        if not found and name not in lost:
            known = list(dict.fromkeys(other.group for other in runs))
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}? Known" if close else "known"
            complaints[f"runs: {run.group!r} needs {name!r}, which is no run here; {hint}: {', '.join(known)}."] = None
    return Planned(run.label, run.group, run.conf, run.varied, run.options, tuple(dict.fromkeys(labels)))


def _ordered(runs: Sequence[Planned], batch: BatchFile) -> list[Planned]:
    place = {run.label: number for number, run in enumerate(runs)}
    sorter = TopologicalSorter({run.label: run.needs for run in runs})
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = ", ".join(f"{run} needs {need}" for need, run in reversed(list(itertools.pairwise(error.args[1]))))
        raise ConfigError(f"{batch.path}: {cycle}; a circle has no first run. Remove one of these needs.") from None
    order: list[Planned] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=place.__getitem__)
        label = ready.pop(0)
        order.append(runs[place[label]])
        sorter.done(label)
    return order


def dependants(runs: Sequence[Planned]) -> dict[str, list[str]]:
    """Return for every label which runs need it, directly or not."""
    needed: dict[str, list[str]] = defaultdict(list)
    waits: dict[str, set[str]] = {}
    for run in runs:  # in order, so what a run needs is known
        waits[run.label] = set(run.needs).union(*(waits[need] for need in run.needs))
        for need in sorted(waits[run.label]):
            needed[need].append(run.label)
    return needed
