"""What every group of settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of keys: no unknown ones, no infinities, never changed after it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


class MissingError(ValueError):
    """A setting is null that another one needs: which one, what it is to be, and an example."""

    def __init__(self, needed_by: str, what: str, example: str) -> None:
        """Keep them apart: the complaint points at the setting that needs, not at the default that lacks."""
        super().__init__(f"{what} expected")
        self.needed_by, self.what, self.example = needed_by, what, example
