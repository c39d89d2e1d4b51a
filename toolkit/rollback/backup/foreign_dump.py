"""What is told of a dump that others made: its form, what it holds, and why it cannot be used. Values only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Form(StrEnum):
    PLAIN = "plain"
    CUSTOM = "custom"
    TAR = "tar"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class ForeignDump:
    """What a dump says of itself and what was seen of it. Tables are (schema, name).

    `made_at` is UTC, None where it is not told or its time zone is not; `told_at` is what it says in its own words, in
    the clock of the machine that made it. `sha256` is of the file, of a folder of its files with their names.
    `reasons` say why it cannot be used; () when it can.
    """

    path: Path
    form: Form
    packed: bool
    sha256: str
    bytes: int
    server_version: str | None
    dump_version: str | None
    database: str | None
    made_at: datetime | None
    told_at: str | None
    schemas: tuple[str, ...]
    tables: tuple[tuple[str, str], ...]
    with_rows: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    extensions: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        return not self.reasons
