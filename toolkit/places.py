"""Where things stand: the folder of what lives only while something runs, and that of a sandbox by its name.

It decides on paths and makes the first folder; what lies inside belongs to others.
"""

import os
import re
import tempfile
from pathlib import Path

from toolkit.errors import UsageError

DEFAULT_SANDBOX = "default"
PASSABLE = 0o711


def runtime_home() -> Path:
    """The folder for sandboxes and scratch servers. One for each user; gone with the machine's temporary folder.

    Others may pass through (a server that root starts runs as `nobody`) but not look around.
    """
    home = Path(tempfile.gettempdir()) / f"rollback-drills-{os.geteuid()}"
    home.mkdir(mode=PASSABLE, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.geteuid():
        raise UsageError(f"{home} belongs to somebody else", next="set TMPDIR to a folder of your own")
    home.chmod(PASSABLE)
    return home


def make_passable(folder: Path) -> None:
    """Make a folder that others may pass through but not look around in, whatever the umask says."""
    folder.mkdir()
    folder.chmod(PASSABLE)


def sandbox_home(name: str) -> Path:
    """The folder of the sandbox of that name, which need not exist. UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError(f"{name!r} is no name for a sandbox", next="use letters, digits, '-', '_' and '.'")
    return runtime_home() / f"sandbox-{name}"
