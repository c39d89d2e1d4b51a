"""The service's connections after its database was away for long."""

import asyncio
import time

import psycopg
from psycopg import sql

from toolkit.drill.database import ServiceDatabase
from toolkit.drill.service.database import Database


def test_its_connections_come_back_however_many_gave_up(churn_database: ServiceDatabase) -> None:
    """A pool that counts those who gave up as waiting refuses everybody in the end, and tries no more."""
    closing = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")

    async def outlive() -> None:
        database = Database(churn_database.owner_url, "a test")
        await database.open()
        with psycopg.connect(churn_database.server.url(), autocommit=True) as above:
            above.execute(closing.format(sql.Identifier(churn_database.name), sql.Literal(False)))
            above.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [churn_database.name]
            )
            asked = [asked_once(database, wait_s=0.2) for _ in range(300)]
            assert not any(await asyncio.gather(*asked))
            above.execute(closing.format(sql.Identifier(churn_database.name), sql.Literal(True)))
        deadline = time.monotonic() + 20
        while not await asked_once(database, wait_s=1):
            assert time.monotonic() < deadline, "it never connects again"
        await database.close()

    asyncio.run(outlive())


async def asked_once(database: Database, *, wait_s: float) -> bool:
    try:
        async with database.transaction("*", wait_s=wait_s) as conn:
            await conn.execute("SELECT 1")
            return True
    except psycopg.OperationalError:
        return False
