"""How far a run is and what it warned of, for whoever has to say so when it ended without a word."""

from pathlib import Path

from pipeline.events import (
    AttemptBegun,
    Event,
    Listener,
    PartitionFailed,
    PartitionFinished,
    PartitionsStarted,
    StageFinished,
    StageStarted,
    SymbolsProbed,
    Warned,
)
from pipeline.words import listed

SHOWN = 3  # partitions that a message names


class Watch:
    """A listener that remembers how far a run came, and passes every event on."""

    def __init__(self, listener: Listener) -> None:
        """Pass every event on to `listener`."""
        self.listener = listener
        self.folder: Path | None = None
        self.stage = "open"
        self.unfinished: dict[str, None] = {}  # partitions by their symbols, in the order in which they are told
        self.probed = ""  # the symbols that the strategy is asked about before the others
        self.warnings: list[str] = []

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case AttemptBegun(folder=folder):
                self.folder = Path(folder)
            case StageStarted(stage=stage):
                self.stage = str(stage)
            case PartitionsStarted(partitions=partitions):
                self.unfinished = dict.fromkeys(partitions)
            case PartitionFinished(symbols=symbols) | PartitionFailed(symbols=symbols):
                self.unfinished.pop(symbols, None)
            case StageFinished():
                self.unfinished, self.probed = {}, ""
            case SymbolsProbed(symbols=symbols):
                self.probed = symbols
            case Warned(text=text):
                self.warnings.append(text)
        self.listener(event)

    @property
    def place(self) -> str:
        """In which stage the run is, and which partitions it waits for."""
        if self.probed:
            return f"stage {self.stage}; the strategy was asked about {self.probed}"
        names = list(self.unfinished)
        return f"stage {self.stage}" + (f"; unfinished partitions: {listed(names, SHOWN)}" if names else "")
