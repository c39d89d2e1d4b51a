"""What every layout of migrations shares: what it hands back, how files are read, and how versions are numbered.

A layout is a small reader of its own file here; none of them touches a database. It says whether a folder looks like
its tool's, and returns migrations in the order in which the tool itself would run them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import RollbackError
from toolkit.rollback.migrations.folder import LARGEST_VERSION, Migration, Script


@dataclass(frozen=True)
class Entry:
    """A migration before it is numbered. `number` None: the tool gives none."""

    label: str
    name: str
    number: int | None
    up: Script | None
    down: Script | None
    verify: Script | None = None


@dataclass(frozen=True)
class Listing:
    """What a layout found, in the tool's own order. `ignored`: SQL files that are no migration by their name."""

    entries: Sequence[Entry]
    ignored: Sequence[str] = ()
    repeatable: Sequence[str] = ()
    said: Sequence[str] = field(default=())


class Layout(ABC):
    """How one tool lays out its migrations. `looks` is what its files look like, for messages."""

    name: str
    looks: str

    @abstractmethod
    def claims(self, path: Path) -> bool:
        """Whether the folder looks like this tool's. Reads the beginnings of files at most."""

    @abstractmethod
    def read(self, path: Path) -> Listing:
        """All migrations. Raises RollbackError for what the tool itself would refuse, and for what is not UTF-8."""


def read_script(file: Path, name: str = "") -> Script:
    """One file, called `name` (as it stands: its own). RollbackError when it cannot be read or is not UTF-8."""
    try:
        content = file.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RollbackError(f"{name or file.name} cannot be read: {said}", state="nothing was done") from None
    return Script(name or file.name, content)


def sql_files(path: Path) -> list[Path]:
    """The `.sql` files of a folder, by name."""
    return [file for file in sorted(path.glob("*.sql")) if file.is_file()]


def refuse_doubles(found: Iterable[tuple[str, str]], what: str = "Version {} has two files") -> None:
    """RollbackError for the first key that comes twice. `found`: keys, each with the file that has it."""
    seen: dict[str, str] = {}
    for key, file in found:
        if key in seen:
            raise RollbackError(
                f"{what.format(key)}: {seen[key]} and {file}",
                state="nothing was done",
                next="give one of them another version, as the migration tool wants it",
            )
        seen[key] = file


def malformed(file: str, why: str) -> RollbackError:
    """A file that the tool itself would refuse."""
    return RollbackError(f"{file} is malformed: {why}", state="nothing was done", next="correct it, and plan again")


def numbered(entries: Sequence[Entry]) -> tuple[dict[int, Migration], str | None]:
    """Entries by their versions: the tool's numbers where they rise in its own order, otherwise places from 1.

    The second is why they are places, None where they are not.
    """
    numbers = [entry.number for entry in entries]
    said = None
    if not _rising(numbers):
        said = (
            "The tool gives no numbers here: versions are places in its own order, from 1"
            if None in numbers
            else "The tool does not order these by number: versions are places in its own order, from 1"
        )
        numbers = list(range(1, len(entries) + 1))
    pairs = zip(numbers, entries, strict=True)
    found = {n: Migration(n, e.name, e.up, e.down, e.label, e.verify) for n, e in pairs if n is not None}
    return found, said


def _rising(numbers: Sequence[int | None]) -> bool:
    last = -1
    for number in numbers:
        if number is None or not last < number <= LARGEST_VERSION:
            return False
        last = number
    return True
