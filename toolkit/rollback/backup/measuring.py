"""Files measured in one pass: size, SHA-256 and, in a table's data file, how many rows it holds.

A dump is measured while it grows, so that what was just written is read from memory and nothing is read twice. It reads
and changes nothing; what it holds of a file's content is never more than a piece.
"""

import hashlib
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PIECE = 1024 * 1024
READERS = 2
_DATA_FILE = re.compile(r"\d+\.dat(\.gz)?")
_KEPT = 64  # bytes at the end that tell whether the data is whole
_GZIP = 31  # zlib's word for gzip with its header


@dataclass(frozen=True)
class Measure:
    """Of one file. `rows` None: it is no table's data file, or it is torn."""

    bytes: int
    sha256: str
    rows: int | None


class Measuring:
    """One file, measured piece by piece as far as it has grown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest, self.bytes = hashlib.sha256(), 0
        self._rows = _Rows(packed=path.suffix == ".gz") if _DATA_FILE.fullmatch(path.name) else None

    def go_on(self) -> int:
        """Measure what was added since the last time; how many bytes that were. OSError when it cannot be read."""
        before = self.bytes
        with self.path.open("rb") as file:
            file.seek(self.bytes)
            while piece := file.read(PIECE):
                self._digest.update(piece)
                self.bytes += len(piece)
                if self._rows is not None:
                    self._rows.take(piece)
        return self.bytes - before

    def measure(self) -> Measure:
        """As far as it was read."""
        return Measure(self.bytes, self._digest.hexdigest(), None if self._rows is None else self._rows.counted())


class _Rows:
    """Rows by the lines of COPY's text form. It ends with `\\.`, which no row can hold: COPY escapes the backslash."""

    def __init__(self, *, packed: bool) -> None:
        self._unpacker = zlib.decompressobj(_GZIP) if packed else None
        self._lines, self._tail, self._torn = 0, b"", False

    def take(self, piece: bytes) -> None:
        if self._unpacker is None:
            return self._look(piece)
        text = b""
        try:
            while (piece or len(text) == PIECE) and not self._torn:  # what was unpacked may be held back
                text = self._unpacker.decompress(piece, PIECE)
                self._look(text)
                piece = self._unpacker.unconsumed_tail
        except zlib.error:
            self._torn = True

    def _look(self, text: bytes) -> None:
        self._lines += text.count(b"\n")
        self._tail = (self._tail + text[-_KEPT:])[-_KEPT:]

    def counted(self) -> int | None:
        if self._torn or (self._unpacker is not None and not self._unpacker.eof):
            return None
        end = self._tail.rfind(b"\\.\n")
        return None if end < 0 else self._lines - self._tail[end:].count(b"\n")


class GrowingFolder:
    """The data files of a dump that is being made, followed while they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, Measuring] = {}

    def follow(self) -> int:
        """Measure what was added since the last time; how many bytes that were."""
        if not self._folder.exists():
            return 0
        for path in self._folder.iterdir():
            if path not in self._files and _DATA_FILE.fullmatch(path.name):
                self._files[path] = Measuring(path)
        grown = 0
        for path, file in [*self._files.items()]:
            try:
                grown += file.go_on()
            except FileNotFoundError:
                del self._files[path]
        return grown

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self._files.values())

    def measured(self) -> dict[Path, Measure]:
        """The files that are as long as they were read, once nothing grows any more. Others are to be read again."""
        self.follow()
        return {path: file.measure() for path, file in self._files.items() if path.stat().st_size == file.bytes}


def measure_files(paths: list[Path]) -> list[Measure]:
    """Each file whole, two at a time: hashing lets other threads run."""

    def whole(path: Path) -> Measure:
        measuring = Measuring(path)
        measuring.go_on()
        return measuring.measure()

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(whole, paths))
