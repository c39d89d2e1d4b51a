"""The loops of the senders: new events, their delivery, the dashboard's readers and the cron caller.

An attempt is in the ledger before it is on the wire, and its outcome before anything is done about it. What cannot be
sent for want of a free connection is counted and, unless it is a webhook, left out, as impatient readers do.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from toolkit.adapters.service import SCHEDULER_PATH
from toolkit.adapters.webhook import REQUEST_ID_HEADER, WEBHOOK_PATH, webhook_headers
from toolkit.clock import utc_now
from toolkit.drill.ledger import Ending, Ledger
from toolkit.drill.ledger.book import Kind
from toolkit.drill.senders.caller import Caller
from toolkit.drill.senders.outbox import Delivery, Outbox
from toolkit.drill.senders.story import Story

WEBHOOK_CONNECTIONS, OTHER_CONNECTIONS = 48, 16
DRAIN_S = 20.0
LATE_S = 1.0

PAGES: Mapping[str, int] = {
    "/dashboard": 35,
    "/api/dashboard/kpis": 30,
    "/api/dashboard/cases": 33,
    "/api/cases/export.csv": 2,
}


class SendersConfig(BaseModel):
    """The configuration file. Secrets are named by their environment variables. Rates are per second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service_url: str
    webhook_secret_env: str
    cron_secret_env: str
    ledger: Path
    seed: int
    webhooks_per_s: Annotated[float, Field(ge=0)] = 20
    reads_per_s: Annotated[float, Field(ge=0)] = 4
    cron_every_s: Annotated[float, Field(gt=0)] = 5
    companies: Annotated[int, Field(ge=1, le=100)] = 20


class Traffic:
    """One run of the senders, until it is drained or stopped."""

    def __init__(
        self, config: SendersConfig, webhook_secret: SecretStr, cron_secret: SecretStr, ledger: Ledger, caller: Caller
    ) -> None:
        self._config, self._ledger, self._caller = config, ledger, caller
        self._webhook_secret, self._cron_secret = webhook_secret, cron_secret
        self._run = ledger.begin_run(config.seed)
        self._story = Story(config.seed, self._run, config.companies)
        self._outbox = Outbox(self._rng("outbox"), max(1.0, config.webhooks_per_s))
        self._webhook_slots = asyncio.Semaphore(WEBHOOK_CONNECTIONS)
        self._other_slots = asyncio.Semaphore(OTHER_CONNECTIONS)
        self._changed, self._draining = asyncio.Event(), asyncio.Event()
        self._requests = 0
        self._work: asyncio.Task[None] | None = None
        self._ending: Ending = "stopped"

    async def run(self) -> None:
        """Send until `drain` has done its work or `stop` is called. Notes the ending in the ledger.

        Raises sqlite3.Error when the ledger cannot be written.
        """
        self._work = asyncio.create_task(self._send_everything())
        try:
            await self._work
            self._ending = "drained"
        except asyncio.CancelledError:
            if not self._work.cancelled():
                raise
        except ExceptionGroup as errors:
            if unwritable := errors.subgroup(sqlite3.Error):
                raise unwritable.exceptions[0] from None
            raise
        self._ledger.end_run(self._run, self._ending)

    def drain(self) -> None:
        """Create nothing new; try what is unacknowledged for DRAIN_S seconds more, then give up. Safe to repeat."""
        if not self._draining.is_set():
            self._draining.set()
            self._changed.set()
            asyncio.get_running_loop().call_later(DRAIN_S, self._give_up)

    def stop(self) -> None:
        """End at once. What is under way stays in the ledger without an outcome."""
        if self._work is not None:
            self._work.cancel()

    def _give_up(self) -> None:
        self._ending = "gave_up"
        self.stop()

    async def _send_everything(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._create_events())
            group.create_task(self._deliver(group))
            group.create_task(self._read(group))
            group.create_task(self._call_cron(group))

    async def _create_events(self) -> None:
        async for _ in self._arrivals(self._config.webhooks_per_s, self._rng("webhooks")):
            if self._outbox.full:
                self._ledger.count_unsent("webhook")
            else:
                self._outbox.add(self._story.next(utc_now()))
                self._changed.set()

    async def _deliver(self, group: asyncio.TaskGroup) -> None:
        while self._outbox.unacknowledged or not self._draining.is_set():
            await self._webhook_slots.acquire()
            delivery = self._outbox.take(time.monotonic())
            if delivery is not None:
                group.create_task(self._attempt(delivery))
            else:
                self._webhook_slots.release()
                await self._until_changed(self._outbox.wait_s(time.monotonic()))

    async def _attempt(self, delivery: Delivery) -> None:
        event = delivery.event
        body, name = event.body(), f"{event.id}-{delivery.attempts}"
        request = self._ledger.begin_attempt(event, delivery.attempts)
        headers = webhook_headers(event.type, body, self._webhook_secret, name, utc_now())
        outcome = await self._caller.ask("POST", WEBHOOK_PATH, headers, body)
        self._ledger.finish(request, outcome)
        self._outbox.settle(delivery, outcome.acknowledged, time.monotonic())
        self._webhook_slots.release()
        self._changed.set()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        choices = self._rng("pages")
        async for _ in self._arrivals(self._config.reads_per_s, self._rng("reads")):
            (path,) = choices.choices(list(PAGES), list(PAGES.values()))
            company = f"biz_{choices.randrange(self._config.companies):02}"
            self._start(group, "read", "GET", path, {}, query=f"?company_id={company}")

    async def _call_cron(self, group: asyncio.TaskGroup) -> None:
        bearer = {"authorization": f"Bearer {self._cron_secret.get_secret_value()}"}
        while not await self._drained_within(self._config.cron_every_s):
            self._start(group, "cron", "POST", SCHEDULER_PATH, bearer)

    def _start(
        self,
        group: asyncio.TaskGroup,
        kind: Kind,
        method: str,
        path: str,
        headers: Mapping[str, str],
        query: str = "",
    ) -> None:
        if self._other_slots.locked():
            self._ledger.count_unsent(kind)
        else:
            group.create_task(self._request(kind, method, path, query, headers))

    async def _request(self, kind: Kind, method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        async with self._other_slots:
            self._requests += 1
            request = self._ledger.begin_request(kind, method, path)
            name = {REQUEST_ID_HEADER: f"{kind}-{self._run}-{self._requests}"}
            self._ledger.finish(request, await self._caller.ask(method, path + query, {**headers, **name}))

    async def _arrivals(self, per_second: float, rng: random.Random) -> AsyncIterator[None]:
        """One at a time, at random and independent moments, until draining. Moments long missed are made up for."""
        due = time.monotonic()
        while per_second > 0:
            due = max(due + rng.expovariate(per_second), time.monotonic() - LATE_S)
            if await self._drained_within(due - time.monotonic()):
                return
            yield

    async def _drained_within(self, seconds: float) -> bool:
        """Wait that long, or until draining begins. Whether it has begun."""
        if seconds > 0 and not self._draining.is_set():
            await _wait(self._draining, seconds)
        return self._draining.is_set()

    async def _until_changed(self, seconds: float | None) -> None:
        await _wait(self._changed, seconds)
        self._changed.clear()

    def _rng(self, use: str) -> random.Random:
        return random.Random(f"{self._config.seed}/{self._run}/{use}")  # noqa: S311 - traffic, no secret


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event is set, or that many seconds have passed; None: however long it takes."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
