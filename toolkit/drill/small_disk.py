"""A file system of its own in a sandbox's folder, so small that it can be filled. Needs Linux and the right to mount.

What was mounted is let go of before the folder is removed: by the sandbox's keeper, or by whoever clears up after one
that was killed.
"""

import subprocess
from pathlib import Path

from toolkit.errors import UsageError

NAME = "disk"


def mount(home: Path, megabytes: int) -> Path:
    """Mount it in this sandbox's folder; returns where. UsageError where that may not be."""
    place = home / NAME
    place.mkdir(exist_ok=True)
    argv: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", place]
    try:
        done = subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        place.rmdir()
        raise UsageError(
            "A disk of its own cannot be mounted here: that needs Linux and the right to mount",
            state="nothing was done",
            next="run this drill as root, or another one",
        )
    return place


def release(home: Path) -> None:
    """Let go of it, at once even where somebody still uses it. Does nothing where there is none."""
    place = home / NAME
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
