"""What a run asks a scheduler for, and when two runs can share one."""

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.compute.choose import Choice
from pipeline.compute.site import Site
from pipeline.modes import Kind


class Shape(NamedTuple):
    """See `Wanted.shape`."""

    kind: Kind
    site: str
    clustered: bool = False
    dashboard: bool = False
    workers: int = 0


@dataclass(frozen=True)
class Wanted:
    """What a run asks for."""

    choice: Choice
    site: Site
    clustered: bool
    dashboard: bool

    @property
    def on_cluster(self) -> bool:
        """Whether it takes a cluster."""
        return self.clustered or self.dashboard or self.choice.kind is Kind.DISTRIBUTED or not self.site.is_here

    @property
    def shape(self) -> Shape:
        """What two runs must have in common to share a scheduler; pools may be larger than asked for."""
        if not self.site.is_here:
            return Shape(Kind.DISTRIBUTED, repr(self.site))
        workers = self.choice.workers if self.on_cluster else 0
        return Shape(self.choice.kind, repr(self.site), self.clustered, self.dashboard, workers)
