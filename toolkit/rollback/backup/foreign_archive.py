"""An archive of others (custom, tar or directory format), read to its end: what it holds, and whether it is whole.

pg_restore reads it and gives the rows to nobody; what it does not see of a torn archive is looked for here.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.pgtools_words import Contents
from toolkit.errors import BackupError
from toolkit.progress import Advance
from toolkit.rollback.backup.foreign_dump import ForeignDump, Form
from toolkit.rollback.backup.measuring import PIECE, measure_files

READ_AT_LEAST_S, READ_BYTES_PER_S = 60.0, 5e6  # how long reading an archive through may take
_DATA_FILE = re.compile(r"\d+\.dat(\.gz)?")
_END_OF_ROWS = b"\\.\n"
_HEADER = re.compile(r";\s+(?P<key>[A-Za-z _]+): (?P<value>.*)")
_CREATED = "; Archive created at "


def describe_archive(path: Path, form: Form, tools: PgTools, advance: Advance) -> ForeignDump:
    digest, size = _digest(path, advance)
    listing, reasons = "", list(_torn_tar(path) if form is Form.TAR else ())
    if not reasons:
        try:
            listing = tools.listing(path)
            reasons += _torn_rows(path, form, tools, size, advance)
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
        extensions=tuple(name for _, name in _named(contents, "EXTENSION ")),
    )


def _named(contents: Contents, kind: str) -> tuple[tuple[str, str], ...]:
    """Schema and name of the entries of a kind. A name with a space in it is cut at the last one: the owner follows."""
    found = []
    for what in contents.entries.values():
        if what.startswith(kind) and not (kind == "TABLE " and what.startswith(("TABLE DATA ", "TABLE ATTACH "))):
            schema, _, rest = what[len(kind) :].partition(" ")
            found.append((schema, rest.rpartition(" ")[0]))
    return tuple(found)


def _torn_rows(path: Path, form: Form, tools: PgTools, size: int, advance: Advance) -> Iterator[str]:
    """What breaks off among the rows. pg_restore sees it in blocks and packed files; a plain data file that is cut
    short is only seen by the line that should end it."""
    try:
        tools.read_through(path, READ_AT_LEAST_S + size / READ_BYTES_PER_S, advance=advance)
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


def _digest(path: Path, advance: Advance) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    whole = sum(file.stat().st_size for file in files)
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as content:
            while piece := content.read(PIECE):
                digest.update(piece)
                size += len(piece)
                advance("reading the dump", size, whole)
    return digest.hexdigest(), size
