"""A plain dump of others, packed by gzip or not, read line by line: what its comments tell, and whether it is whole.

Rows are passed over, and nothing of them is kept. Memory stays bounded whatever the length of a line.
"""

import contextlib
import hashlib
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from toolkit.progress import Advance
from toolkit.rollback.backup.foreign_dump import ForeignDump, Form
from toolkit.rollback.backup.measuring import PIECE

_LONGEST_LINE = 64 * 1024  # of a longer one only the beginning matters
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
        self.extensions: dict[str, None] = {}
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
        elif entry["type"] == b"EXTENSION":
            self.extensions[name] = None

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


def describe_plain(path: Path, packed: bool, advance: Advance) -> ForeignDump:
    reading, told = _Read(path, packed, advance), _Plain()
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
        extensions=tuple(told.extensions),
    )


class _Read:
    """A file of lines, packed or not, hashed as it is read. Long lines come without their end."""

    def __init__(self, path: Path, packed: bool, advance: Advance) -> None:
        self._path, self._packed, self._advance = path, packed, advance
        self._whole = path.stat().st_size
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
            self._advance("reading the dump", self.bytes, self._whole)
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
