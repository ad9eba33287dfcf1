"""What the two processes of a batch tell each other: one JSON object a line."""

import json
from dataclasses import asdict
from typing import Any

from pipeline import events
from pipeline.events import Event, Stage

SENT = {
    kind.__name__: kind
    for kind in (
        events.AttemptBegun,
        events.StageStarted,
        events.StageProgress,
        events.StageFinished,
        events.PartitionsStarted,
        events.PartitionFinished,
        events.PartitionFailed,
        events.SymbolsProbed,
        events.Logged,
        events.SymbolSkipped,
        events.Note,
        events.Warned,
        events.Published,
    )
}
"""The events that cross; others stay where they are."""


def of_event(event: Event) -> dict[str, Any] | None:
    """Return an event as JSON has it; None for one that is not sent."""
    name = type(event).__name__
    return {"event": name, **asdict(event)} if name in SENT else None


def to_event(message: dict[str, Any]) -> Event:
    """Return the event that `of_event` made `message` of."""
    fields = {name: value for name, value in message.items() if name != "event"}
    if "stage" in fields:
        fields["stage"] = Stage(fields["stage"])
    if "partitions" in fields:
        fields["partitions"] = tuple(fields["partitions"])
    if "cost" in fields:
        fields["cost"] = events.Cost(**fields["cost"])
    event: Event = SENT[message["event"]](**fields)
    return event


def line(message: dict[str, Any]) -> bytes:
    """Return a message as one line; a NaN in it is a ValueError."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"
