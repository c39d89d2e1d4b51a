"""Sessions that somebody opens and leaves: a report in a transaction, a migration that waits, a leak.

They are held by a process of their own, which is a person's or a program's that nobody thinks of. The sandbox's keeper
starts it when it finds what is to be held; it ends with the sandbox, and when somebody has ended one of its sessions.
"""

import json
import select
import sys
import threading
import time
from pathlib import Path

import psycopg
from psycopg import sql

from toolkit.clock import wait_until
from toolkit.drill.fault_kinds import Sessions
from toolkit.drill.state import SandboxState, last_words, write_private
from toolkit.errors import DatabaseError
from toolkit.lifeline import tie
from toolkit.places import sandbox_home

OPEN_WITHIN_S = 15.0
LOOKED_EVERY_S = 0.2


def url_of(by: str, state: SandboxState) -> str:
    """As whom."""
    return state.admin_url if by == "admin" else state.owner_url


def hold(fault: Sessions, state: SandboxState) -> dict[str, object]:
    """Open them, and return when each is in its transaction, waits in it, or was refused for want of room.

    Raises DatabaseError when not one comes up.
    """
    home = sandbox_home(state.name)
    number = len(list(home.glob("held-*.json")))
    config, log = home / f"held-{number}.json", home / f"held-{number}.log"
    told = {"url": url_of(fault.by, state), "count": fault.count, "statement": fault.statement}
    write_private(config, json.dumps(told | {"program": fault.program}))
    wait_until(lambda: log.exists() and "open" in log.read_text(), within=OPEN_WITHIN_S, what="the sessions to be open")
    if not (opened := int(last_words(log).split()[-1])):
        raise DatabaseError("No session could be opened", target=state.name)
    return {"sessions": opened}


class Holder:
    """Opens them in turn and keeps them. One that waits for a lock waits in a thread of its own."""

    def __init__(self, config: Path) -> None:
        self._told = json.loads(config.read_text())
        self._sessions: list[psycopg.Connection] = []

    def open(self) -> int:
        """How many there are now: as many as are wanted, or as many as there is room for."""
        for _ in range(self._told["count"] - len(self._sessions)):
            try:
                conn = psycopg.connect(self._told["url"], application_name=self._told["program"], connect_timeout=5)
            except psycopg.OperationalError:
                break
            self._sessions.append(conn)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()
        return len(self._sessions)

    def _run(self, conn: psycopg.Connection) -> None:
        try:
            conn.execute(sql.SQL(self._told["statement"]))
        except psycopg.Error:
            conn.close()

    def busy(self) -> bool:
        """Whether each is where it should be: in its transaction, or waiting for it."""
        return all(conn.closed or conn.info.transaction_status for conn in self._sessions)

    def wanted(self) -> bool:
        """While nobody has ended one of them."""
        return all(_answers(conn) for conn in self._sessions)


def _answers(conn: psycopg.Connection) -> bool:
    """Whether the server still has its other end: a session that was ended has closed it."""
    if conn.closed:
        return False
    readable, _, _ = select.select([conn.fileno()], [], [], 0)
    if not readable or conn.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
        return True
    try:
        conn.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return bool(conn.pgconn.status == psycopg.pq.ConnStatus.OK)


def main() -> None:
    """`python -m toolkit.drill.faults.sessions CONFIG`: hold them until the sandbox ends."""
    tie()
    holder = Holder(Path(sys.argv[1]))
    opened = holder.open()
    deadline = time.monotonic() + OPEN_WITHIN_S / 2
    while not holder.busy() and time.monotonic() < deadline:
        time.sleep(LOOKED_EVERY_S / 10)
    sys.stdout.write(f"open {opened}\n")
    sys.stdout.flush()
    while holder.wanted():
        holder.open()  # what was refused for want of room is tried again: a leak goes on
        time.sleep(LOOKED_EVERY_S)


if __name__ == "__main__":
    main()
