"""Dumps that others made, before a restore trusts them: what they are, what they hold, whether they are whole.

Plain SQL (also packed by gzip), custom, tar and directory format, told apart by their first bytes. Everything is read
once, nothing is run, and no row leaves it. What cannot be used is told with its reasons.
"""

import contextlib
import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.pgtools_words import Contents
from toolkit.errors import BackupError
from toolkit.rollback.backup.measuring import PIECE, measure_files

Reading = Callable[[float, float], None]  # bytes that were read, of how many

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
_DATA_FILE = re.compile(r"\d+\.dat(\.gz)?")
_END_OF_ROWS = b"\\.\n"
READ_AT_LEAST_S, READ_BYTES_PER_S = 60.0, 5e6  # how long reading an archive through may take
_LONGEST_LINE = 64 * 1024  # of a longer one only the beginning matters


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

    @property
    def usable(self) -> bool:
        return not self.reasons


def describe_dump(path: Path, tools: PgTools, *, server_major: int | None = None) -> ForeignDump:
    """Read a dump to its end and describe it. `server_major`: of the server that it is to be restored on.

    BackupError when it is no dump of PostgreSQL at all, or cannot be read.
    """
    try:
        form, packed = _sniff(path)
        dump = _plain(path, packed) if form is Form.PLAIN else _archive(path, form, tools)
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


# Plain SQL ------------------------------------------------------------------------------------------------------------

_SERVER = re.compile(rb"-- Dumped from database version (\S+)")
_DUMPER = re.compile(rb"-- Dumped by pg_dump version (\S+)")
_STARTED = re.compile(rb"-- Started on (.+?)\s*$")
_ENTRY = re.compile(rb"-- (?:Data for )?Name: (?P<name>.+); Type: (?P<type>[A-Z ]+); Schema: (?P<schema>.+); Owner: ")
_COPY = re.compile(rb"COPY .+ FROM stdin;\s*$")
_ENDED = b"-- PostgreSQL database dump complete"
_BEGUN = b"-- PostgreSQL database dump"
_CLUSTER = b"-- PostgreSQL database cluster dump"
_CONNECT = re.compile(rb"\\c(onnect)?\s")
_FOREIGN_TONGUE = re.compile(rb"-- (MySQL|MariaDB) dump|PRAGMA foreign_keys")


class _Plain:
    """What the lines of a plain dump tell, one after the other. Rows are passed over."""

    def __init__(self) -> None:
        self.server = self.dumper = self.told_at = ""
        self.tables: dict[tuple[str, str], None] = {}
        self.with_rows: dict[tuple[str, str], None] = {}
        self.schemas: dict[str, None] = {}
        self.begun = self.ended = self.cluster = self.connects = self.of_another_database = False
        self.in_rows = False

    def take(self, line: bytes) -> None:
        if self.in_rows:
            self.in_rows = line.rstrip(b"\r\n") != b"\\."
        elif line.startswith(b"-- "):
            self._comment(line)
        elif line.startswith(b"COPY ") and _COPY.match(line):
            self.in_rows = True
        elif _CONNECT.match(line):
            self.connects = True
        elif line.startswith(b"PRAGMA"):
            self.of_another_database = True

    def _comment(self, line: bytes) -> None:
        if entry := _ENTRY.match(line):
            self._entry(entry)
        elif line.startswith(_ENDED):
            self.ended = True
        elif line.startswith(_CLUSTER):
            self.cluster = True
        elif line.startswith(_BEGUN):
            self.begun, self.ended = True, False
        elif found := _SERVER.match(line):
            self.server = found[1].decode(errors="replace")
        elif found := _DUMPER.match(line):
            self.dumper = found[1].decode(errors="replace")
        elif found := _STARTED.match(line):
            self.told_at = found[1].decode(errors="replace")
        elif _FOREIGN_TONGUE.match(line):
            self.of_another_database = True

    def _entry(self, entry: re.Match[bytes]) -> None:
        name, schema = (entry[group].decode(errors="replace") for group in ("name", "schema"))
        if entry["type"] == b"TABLE":
            self.tables[schema, name] = None
        elif entry["type"] == b"TABLE DATA":
            self.with_rows[schema, name] = None
        elif entry["type"] == b"SCHEMA":
            self.schemas[name] = None

    def reasons(self, torn: str) -> Iterator[str]:
        if self.of_another_database:
            yield "it is a dump of another database system"
            return
        if torn:
            yield torn
        elif self.in_rows:
            yield "it is truncated: it breaks off within the rows of a table"
        elif not self.begun:
            yield "nothing in it says that pg_dump wrote it, so nobody can tell whether it is whole"
        elif not self.ended:
            yield "it is truncated: the line 'PostgreSQL database dump complete' is missing"
        if self.cluster:
            yield "it is of a whole cluster (pg_dumpall)"
        elif self.connects:
            yield "it connects to a database by itself (pg_dump --create)"


def _plain(path: Path, packed: bool) -> ForeignDump:
    reading, told = _Read(path, packed), _Plain()
    for line in reading.lines():
        told.take(line)
    schemas = dict.fromkeys([*told.schemas, *(schema for schema, _ in told.tables)])
    return ForeignDump(
        path=path,
        form=Form.PLAIN,
        packed=packed,
        sha256=reading.digest.hexdigest(),
        bytes=reading.bytes,
        server_version=told.server or None,
        dump_version=told.dumper or None,
        database=None,
        made_at=_moment(told.told_at),
        told_at=told.told_at or None,
        schemas=tuple(schemas),
        tables=tuple(told.tables),
        with_rows=tuple(told.with_rows),
        reasons=tuple(told.reasons(reading.torn)),
    )


class _Read:
    """A file of lines, packed or not, hashed as it is read. Long lines come without their end."""

    def __init__(self, path: Path, packed: bool) -> None:
        self._path, self._packed = path, packed
        self.digest, self.bytes, self.torn = hashlib.sha256(), 0, ""

    def lines(self) -> Iterator[bytes]:
        rest, skipping = b"", False
        for text in self._texts():
            *lines, rest = (rest + text).split(b"\n")
            if lines and skipping:
                del lines[0]
                skipping = False
            yield from lines
            if len(rest) > _LONGEST_LINE:
                if not skipping:
                    yield rest
                rest, skipping = b"", True
        if rest and not skipping:
            yield rest

    def _texts(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            unpacked = _unpacked(self._pieces(file)) if self._packed else self._pieces(file)
            try:
                yield from unpacked
            except zlib.error:
                self.torn = "it is damaged: gzip cannot unpack it"
                for _ in self._pieces(file):  # for the digest
                    pass
            except EOFError:
                self.torn = "it is truncated: gzip misses its end"

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        while piece := file.read(PIECE):
            self.digest.update(piece)
            self.bytes += len(piece)
            yield piece


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip packed, in bounded pieces, also when several members follow each other. zlib.error, EOFError."""
    unpacker = zlib.decompressobj(31)
    for piece in pieces:
        left, text = piece, b""
        while left or (
            len(text) == PIECE and not unpacker.eof
        ):  # as long as there is something to unpack, or something unpacked is held back
            if unpacker.eof:
                unpacker = zlib.decompressobj(31)
            text = unpacker.decompress(left, PIECE)
            yield text
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if not unpacker.eof:
        raise EOFError


def _moment(words: str) -> datetime | None:
    """A time with a zone that is a fixed offset; None for every other: names of zones are not unique."""
    for zone in ("UTC", "GMT"):
        if words.endswith(f" {zone}"):
            with contextlib.suppress(ValueError):
                return datetime.strptime(words, f"%Y-%m-%d %H:%M:%S {zone}").replace(tzinfo=UTC)
    return None


# Archives: custom, tar, directory -------------------------------------------------------------------------------------

_HEADER = re.compile(r";\s+(?P<key>[A-Za-z _]+): (?P<value>.*)")
_CREATED = "; Archive created at "


def _archive(path: Path, form: Form, tools: PgTools) -> ForeignDump:
    digest, size = _digest(path)
    listing, reasons = "", list(_torn_tar(path) if form is Form.TAR else ())
    if not reasons:
        try:
            listing = tools.listing(path)
            reasons += _torn_rows(path, form, tools, size)
        except BackupError as error:
            reasons.append(f"its table of contents cannot be read: {error.what}")
    header = {
        found["key"].strip(): found["value"] for line in listing.splitlines() if (found := _HEADER.fullmatch(line))
    }
    told_at = next((line[len(_CREATED) :] for line in listing.splitlines() if line.startswith(_CREATED)), None)
    contents = Contents.read(listing)
    tables, with_rows = _named(contents, "TABLE "), _named(contents, "TABLE DATA ")
    schemas = [schema for schema, _ in tables] + [name for _, name in _named(contents, "SCHEMA ")]
    return ForeignDump(
        path=path,
        form=form,
        packed=header.get("Compression", "none") not in ("none", "0"),
        sha256=digest,
        bytes=size,
        server_version=header.get("Dumped from database version"),
        dump_version=header.get("Dumped by pg_dump version"),
        database=header.get("dbname"),
        made_at=None,
        told_at=told_at.rpartition(" ")[0] if told_at else None,  # the zone is that of whoever reads it
        schemas=tuple(dict.fromkeys(schemas)),
        tables=tables,
        with_rows=with_rows,
        reasons=tuple(reasons),
    )


def _named(contents: Contents, kind: str) -> tuple[tuple[str, str], ...]:
    """Schema and name of the entries of a kind. A name with a space in it is cut at the last one: the owner follows."""
    found = []
    for what in contents.entries.values():
        if what.startswith(kind) and not (kind == "TABLE " and what.startswith(("TABLE DATA ", "TABLE ATTACH "))):
            schema, _, rest = what[len(kind) :].partition(" ")
            found.append((schema, rest.rpartition(" ")[0]))
    return tuple(found)


def _torn_rows(path: Path, form: Form, tools: PgTools, size: int) -> Iterator[str]:
    """What breaks off among the rows. pg_restore sees it in blocks and packed files; a plain data file that is cut
    short is only seen by the line that should end it."""
    try:
        tools.read_through(path, READ_AT_LEAST_S + size / READ_BYTES_PER_S)
    except BackupError as error:
        yield f"it is truncated or damaged: {error.what}"
        return
    if form is Form.DIRECTORY:
        files = sorted(file for file in path.iterdir() if _DATA_FILE.fullmatch(file.name))
        torn = [file.name for file, seen in zip(files, measure_files(files), strict=True) if seen.rows is None]
        if torn:
            yield f"it is truncated: the rows in {', '.join(torn[:5])} have no end"


def _torn_tar(path: Path) -> Iterator[str]:
    """What breaks off in a tar. It is asked before pg_restore, which reads for ever in some that were cut."""
    torn = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if _DATA_FILE.fullmatch(member.name) and (content := tar.extractfile(member)) is not None:
                    content.seek(max(0, member.size - len(_END_OF_ROWS) - 8))
                    torn += [] if _END_OF_ROWS in content.read() else [member.name]
            end, size = tar.offset, path.stat().st_size
    except (tarfile.TarError, OSError):
        yield "it is truncated or damaged: the tar breaks off"
        return
    if torn:
        yield f"it is truncated: the rows in {', '.join(torn[:5])} have no end"
    elif size < end + tarfile.BLOCKSIZE:
        yield "it is truncated: the end of the tar is missing"


def _digest(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as content:
            while piece := content.read(PIECE):
                digest.update(piece)
                size += len(piece)
    return digest.hexdigest(), size
