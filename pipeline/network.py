"""The settings of what listens on a port or is reached over one: clusters, their TLS files, the dashboard.

``tcp://`` is for this machine alone: whoever reaches such a scheduler runs code there, so across a network it must be
``tls://`` with certificates of a private authority on both sides.
"""

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.fields import Count, LocalPath, Text
from pipeline.section import Section

__all__ = ["Address", "ClusterOptions", "DashboardOptions", "TlsOptions", "is_loopback"]

ADDRESS = re.compile(r"(?P<protocol>tls|tcp)://(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d{1,5})")
LAST_PORT = 65_535


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or number means this machine."""
    return host in {"localhost", "::1", "[::1]"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _is_address(text: str) -> str:
    found = ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= LAST_PORT:
        raise ValueError("an address like tls://host:8786 expected")
    if found["protocol"] == "tcp" and not is_loopback(found["host"]):
        raise ValueError(
            f"tls:// expected, since {found['host']} is not this machine and whoever reaches a tcp:// scheduler can "
            f"run code there. Start it with TLS files (docs/dashboard.md)"
        )
    return text


def _is_readable(path: Path) -> Path:
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError("a file that is there and can be read expected. Check the path and who may read it")
    return path


Address = Annotated[str, AfterValidator(_is_address)]
ReadableFile = Annotated[LocalPath, AfterValidator(_is_readable)]


class TlsOptions(Section):
    """PEM files that encrypt and authenticate both ends of every connection of a cluster; all of them or none."""

    ca: LocalPath | None
    certificate: LocalPath | None
    key: LocalPath | None

    @field_validator("key")
    @classmethod
    def _is_whole(cls, key: LocalPath | None, info: ValidationInfo) -> LocalPath | None:
        given = [info.data.get("ca"), info.data.get("certificate"), key]
        if any(given) and not all(given):
            raise ValueError("ca, certificate and key expected together, or none of them")
        return key


def _meant(value: Any) -> Any:
    match value:
        case str():
            try:
                return json.loads(value)
            except ValueError:
                return value
        case dict():
            return {key: _meant(each) for key, each in value.items()}
        case list() | tuple():
            return [_meant(each) for each in value]
    return value


class AdaptOptions(Section):
    """Between how many workers a cluster grows and shrinks with its work."""

    minimum: Annotated[int, Field(ge=0)] = 0
    maximum: Count


class ClusterOptions(Section):
    """A cluster to start: a class with `scale` and `adapt`, such as ``dask_jobqueue.SLURMCluster``."""

    name: Text = Field(alias="class")
    kwargs: dict[str, Any] = Field(default_factory=dict)
    scale: Count | None = None
    adapt: AdaptOptions | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the class is called with: `kwargs`, whose texts mean what JSON reads them as, or just that text."""
        return {name: _meant(value) for name, value in self.kwargs.items()}

    @field_validator("name")
    @classmethod
    def _is_dotted(cls, name: str) -> str:
        if "." not in name:
            raise ValueError("a class with its module, like dask_jobqueue.SLURMCluster, expected")
        return name

    @field_validator("adapt")
    @classmethod
    def _is_alone(cls, adapt: AdaptOptions | None, info: ValidationInfo) -> AdaptOptions | None:
        if adapt is not None and info.data.get("scale") is not None:
            raise ValueError("scale or adapt expected, not both")
        return adapt


class DashboardOptions(Section):
    """Where the dashboard listens; beyond this machine only over TLS."""

    port: Annotated[int, Field(ge=1, le=LAST_PORT)]
    certificate: ReadableFile | None
    key: ReadableFile | None
    expose: bool

    @field_validator("key")
    @classmethod
    def _is_whole(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "certificate" in info.data and (info.data["certificate"] is None) != (key is None):
            raise ValueError("certificate and key expected together, or none of them")
        return key

    @field_validator("expose")
    @classmethod
    def _is_encrypted(cls, expose: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if expose and not (info.data.get("certificate") and info.data.get("key")):
            raise ValueError(
                "dashboard.certificate and dashboard.key expected too: it has no password, and tells names, figures "
                "and logs. An ssh tunnel needs neither (docs/dashboard.md)"
            )
        return expose
