"""The connection pool, and the one way to use it: a transaction in the name of a company.

Owns waiting and reconnecting. When the database is away a request waits POOL_WAIT_S at most; when it is back the next
request connects. Row-level security reads `app.company_id`, which is set for the transaction only, because behind a
transaction pooler a connection belongs to nobody for longer.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from toolkit.drill.service.statement_log import LoggedCursor, StatementLog, taken

EVERY_COMPANY = "*"
POOL_MIN, POOL_MAX = 2, 8
POOL_WAIT_S = 3.0
CONNECT_TIMEOUT_S = 3
# After this long in vain the pool stops trying by itself and the next request tries anew. Its own pauses would double
# up to minutes, and the service would stay down long after the database is back. Nor has it a `max_waiting`: it counts
# those who have given up too, and once that many have, it refuses everybody and never tries again.
RECONNECT_TIMEOUT_S = 0.5
SESSION_OPTIONS = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=15s"

Connection = AsyncConnection[DictRow]


class Database:
    """The service's PostgreSQL, as one deployment's role. Rows come as dicts, by column name.

    `log` gets what commits.
    """

    def __init__(self, url: str, application_name: str, log: StatementLog | None = None) -> None:
        self._log = log
        arguments: dict[str, Any] = {
            "application_name": application_name,
            "autocommit": True,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": SESSION_OPTIONS,
            "prepare_threshold": None,  # a prepared statement outlives a migration badly, and poolers drop it
            "row_factory": dict_row,
            **({} if log is None else {"cursor_factory": LoggedCursor}),
        }
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=AsyncConnection[DictRow],
            kwargs=arguments,
            min_size=POOL_MIN,
            max_size=POOL_MAX,
            timeout=POOL_WAIT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            open=False,
        )

    async def open(self) -> None:
        """Start connecting. Does not wait: the service starts without its database too, and says so when asked."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=1.0)

    @asynccontextmanager
    async def transaction(self, company: str, *, wait_s: float = POOL_WAIT_S) -> AsyncIterator[Connection]:
        """One transaction that sees the rows of `company`. Commits at the end, rolls back on an error.

        Raises psycopg.OperationalError when no connection is to be had within `wait_s` seconds.
        """
        conn = await self._live_connection(wait_s)
        taken(conn)
        try:
            async with conn.transaction():
                await conn.execute("SELECT set_config('app.company_id', %(company)s, true)", {"company": company})
                yield conn
            if self._log is not None:
                self._log.write(taken(conn))
        finally:
            await self._pool.putconn(conn)

    async def _live_connection(self, wait_s: float) -> Connection:
        """A connection that answers. After a restart of the database those from before are thrown away at once.

        The pool's own check would pause for a second, then two, between one dead connection and the next.
        """
        deadline = time.monotonic() + wait_s
        while True:
            conn = await self._pool.getconn(timeout=deadline - time.monotonic())
            try:
                await AsyncConnectionPool.check_connection(conn)
            except psycopg.OperationalError:
                await conn.close()
                await self._pool.putconn(conn)
            except BaseException:
                await self._pool.putconn(conn)
                raise
            else:
                return conn
