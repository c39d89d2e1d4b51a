"""Dumps that others made, before a restore trusts them: what they are, what they hold, whether they are whole.

Plain SQL (also packed by gzip), custom, tar and directory format, told apart by their first bytes. Everything is read
once, nothing is run, and no row leaves it. What cannot be used is told with its reasons.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.errors import BackupError
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup.foreign_archive import describe_archive
from toolkit.rollback.backup.foreign_dump import ForeignDump, Form
from toolkit.rollback.backup.foreign_plain import describe_plain

__all__ = ["ForeignDump", "Form", "describe_dump", "require_usable"]

_GZIP, _CUSTOM, _TAR_AT, _TAR = b"\x1f\x8b", b"PGDMP", 257, b"ustar"
_OTHERS = {
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\x04\x22\x4d\x18": "packed by lz4",
    b"\xfd7zXZ": "packed by xz",
    b"BZh": "packed by bzip2",
    b"PK\x03\x04": "a zip archive",
    b"age-encryption.org": "encrypted (age)",
    b"-----BEGIN AGE": "encrypted (age)",
}


def describe_dump(
    path: Path, tools: PgTools, *, server_major: int | None = None, advance: Advance = no_advance
) -> ForeignDump:
    """Read a dump to its end and describe it. `server_major`: of the server that it is to be restored on. `advance`
    hears how much of it is read.

    BackupError when it is no dump of PostgreSQL at all, or cannot be read.
    """
    try:
        form, packed = _sniff(path)
        plain = form is Form.PLAIN
        dump = describe_plain(path, packed, advance) if plain else describe_archive(path, form, tools, advance)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from None
    return replace(dump, reasons=(*dump.reasons, *_unfit(dump, server_major)))


def require_usable(dump: ForeignDump) -> None:
    """BackupError with all reasons when it cannot be used."""
    if dump.reasons:
        raise BackupError(
            f"{dump.path} cannot be restored: {'; '.join(dump.reasons)}",
            state="nothing was changed",
            next="use another backup: toolkit backup list",
        )


def _sniff(path: Path) -> tuple[Form, bool]:
    if path.is_dir():
        if (path / "toc.dat").exists():
            return Form.DIRECTORY, False
        raise BackupError(f"{path} is no dump: it is a folder without a table of contents (toc.dat)")
    with path.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    if not head:
        raise BackupError(f"{path} is empty")
    if other := next((words for magic, words in _OTHERS.items() if head.startswith(magic)), None):
        raise BackupError(f"{path} is {other}", next="unpack it first, then name what was in it")
    if head.startswith(_CUSTOM):
        return Form.CUSTOM, False
    if head[_TAR_AT:] == _TAR:
        return Form.TAR, False
    if head.startswith(_GZIP):
        return Form.PLAIN, True
    if b"\0" in head:
        raise BackupError(f"{path} is no dump of PostgreSQL")
    return Form.PLAIN, False


def _unfit(dump: ForeignDump, server_major: int | None) -> Iterator[str]:
    """Why a dump that is whole cannot be used all the same."""
    if not dump.tables:
        yield "it creates no table" if not dump.with_rows else "it holds rows only, and creates no table"
    elif not dump.with_rows:
        yield "it holds definitions only, and no rows"
    major = _major(dump.server_version)
    if server_major is not None and major is not None and major > server_major:
        yield f"it is of PostgreSQL {dump.server_version}, and a server of version {server_major} is older"


def _major(version: str | None) -> int | None:
    found = re.match(r"\d+", version or "")
    return int(found[0]) if found else None
