"""The errors a run can end with, and the exit code of each.

::

    PipelineError              1  a defect of ours, if it is ever raised bare
    ├── ConfigError            2  command line, config or strategy options
    ├── DataError              4  input refused; nothing published
    │   └── StoreCorruptError  4  a stored file is not what its manifest says
    ├── StrategyError          5  the strategy raised, or broke its contract
    ├── InvariantError         6  the books do not balance; nothing published
    ├── TemporaryError        75  disk, memory, cluster: worth a retry
    │   └── LockedError       75  somebody else is writing
    └── DeadlineError        124  the time given was up

Every message reads ``<where>: <what came>; <the rule>. <what to do>``.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; 3 means published, with something refused or left out."""

    OK = 0
    BUG = 1
    USAGE = 2
    DEGRADED = 3
    DATA = 4
    STRATEGY = 5
    INVARIANT = 6
    TEMPORARY = 75
    DEADLINE = 124
    INTERRUPTED = 130
    TERMINATED = 143


def visible(text: str) -> str:
    """Return `text` with its escape, as Python writes it, for each character that cannot be seen, but line breaks."""
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """Return `text` with its escape for each character that cannot be seen, line breaks as well."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class PipelineError(Exception):
    """Ground of the tree; `exit_code` is what the command line ends with."""

    exit_code = ExitCode.BUG
    trace = ""  # what a strategy raised, as Python tells it, from its own text on; text crosses process borders

    def __str__(self) -> str:
        """Return the message, without characters of names and files that would act on a terminal."""
        return visible(super().__str__())


class ConfigError(PipelineError):
    """The command line, a config file or a strategy's options are wrong."""

    exit_code = ExitCode.USAGE


class DataError(PipelineError):
    """The input was refused, or there is none; nothing was published."""

    exit_code = ExitCode.DATA


class StoreCorruptError(DataError):
    """A file of the store is missing or differs from its manifest."""

    what = ""  # is damaged, and how, without where, rule and remedy


class StrategyError(PipelineError):
    """A strategy raised or broke its contract; its cause crosses process borders as text."""

    exit_code = ExitCode.STRATEGY


class InvariantError(PipelineError):
    """An accounting identity does not hold; nothing was published."""

    exit_code = ExitCode.INVARIANT


class TemporaryError(PipelineError):
    """Disk, memory or cluster failed us; the same command may succeed later."""

    exit_code = ExitCode.TEMPORARY


class LockedError(TemporaryError):
    """Another process holds the lock."""


class DeadlineError(PipelineError):
    """A run took longer than its deadline and was ended."""

    exit_code = ExitCode.DEADLINE
