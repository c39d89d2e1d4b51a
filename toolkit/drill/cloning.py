"""Data folders that are kept filled, so that a sandbox which is one of hundreds starts on a copy in half a second.

Owns those folders: one for each seed and size, made anew when the code that fills them, the server or the hour is
another (the rows lie in the last sixty days). A copy gets passwords of its own. All copies of one folder are the same
server by PostgreSQL's own identifier, by which the toolkit tells servers apart: a sandbox is cloned on request only.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from toolkit.clock import utc_now
from toolkit.drill.database import NAME, ServiceDatabase, create_database, create_roles, renew_passwords
from toolkit.drill.state import SandboxOptions, write_private
from toolkit.lifeline import Lifeline
from toolkit.places import make_passable, runtime_home
from toolkit.playbook import pg_bindir
from toolkit.server import SETTINGS, PostgresServer, find_binaries

_PREFIX, _SECRET = "filled-", "secret"
_FILLING = Path(__file__).parent  # whatever of the drill changes may change what is in it

Fill = Callable[[ServiceDatabase], None]


def clone(home: Path, lifeline: Lifeline, options: SandboxOptions, fill: Fill) -> ServiceDatabase:
    """A filled database on a server of its own under `home`, which is made. Raises as `PostgresServer.create`.

    Where no folder of these options is kept yet it is made first, by one process at a time.
    """
    binaries = find_binaries(pg_bindir())
    marks = [str(binaries.bindir), binaries.version(), dict(SETTINGS), options.seed, options.events, options.cases]
    stamp = hashlib.sha256(json.dumps([*marks, _code()]).encode()).hexdigest()[:12]
    kept = runtime_home() / f"{_PREFIX}{stamp}-{utc_now():%Y%m%d%H}"
    with FileLock(runtime_home() / "filled.lock"):
        if not (kept / _SECRET).exists():
            _clear_others()
            _make(kept, lifeline, fill)
        make_passable(home)
        server = PostgresServer.on_copy(home, lifeline, kept / "pgdata", (kept / _SECRET).read_text(), binaries)
    return ServiceDatabase(server, NAME, renew_passwords(server))


def _code() -> str:
    """A digest of what decides on the rows."""
    files = sorted(path for path in _FILLING.rglob("*") if path.suffix in (".py", ".sql"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _make(kept: Path, lifeline: Lifeline, fill: Fill) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}new-", dir=runtime_home()))
    fresh.chmod(0o711)  # the server may run as another user
    try:
        server = PostgresServer.create(fresh, lifeline, bindir=pg_bindir())
        fill(create_database(server, create_roles(server)))
        server.stop()
        write_private(fresh / _SECRET, server.superuser_password)
        fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _clear_others() -> None:
    """Of other hours, and what died while it was made. Nobody copies from them: that is done under the lock, too."""
    now = f"{utc_now():%Y%m%d%H}"
    for folder in runtime_home().glob(f"{_PREFIX}*"):
        if folder.is_dir() and not folder.name.endswith(now):
            shutil.rmtree(folder, ignore_errors=True)
