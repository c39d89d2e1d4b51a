"""A folder that appears whole or not at all: written aside under another name, flushed to the disk, then renamed.

What a killed process left aside is removed by the next one that wants the same folder. Only the owner may look inside.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one, which becomes it when the block ends well and goes away when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{folder.name}.part-*"):
        if not _runs(int(leftover.name.rpartition("-")[2])):
            shutil.rmtree(leftover, ignore_errors=True)
    aside = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    try:
        aside.mkdir(mode=0o700)
        yield aside
        aside.rename(folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def keep_private(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Of the disk that the folder, or the nearest one above that exists, is on, as we may use it."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    disk = os.statvfs(there)
    return disk.f_bavail * disk.f_frsize
