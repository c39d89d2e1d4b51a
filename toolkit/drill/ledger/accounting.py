"""Jepsen's set checker: which acknowledged event is not in the database, which is there twice, which was never sent.

Beyond the sets it looks at what an event is for: a failed payment has a case, a payment that succeeded closes it. There
it claims only what must hold whatever the timing was, because a false alarm after a rollback is as bad as a miss.

May run while the senders do: acknowledgements are read before the database, attempts after it.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.drill.ledger.baseline import Baseline
from toolkit.drill.ledger.book import reading
from toolkit.drill.ledger.final_read import case_states, event_ids, processed_events, snapshot
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    import psycopg

EXAMPLES = 20


@dataclass(frozen=True)
class Tally:
    """How many, and the ids of at most EXAMPLES of them. Event ids name no person."""

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accounting:
    """What became of the events of one ledger.

    attempted         written to the ledger before the first sending
    acknowledged      answered with a 2xx at least once
    lost              acknowledged, but absent from the database
    recovered         never acknowledged, but present: allowed, the answer got lost
    duplicated        present more than once
    unexpected        present, but neither sent nor there before the traffic
    baseline_missing  there before the traffic, and absent now
    effects_missing   acknowledged and dealt with, but a failed payment has no case, or a success left it open or booked
                      another amount
    effects_doubled   failed payments whose membership has more than one case, where the service merges them into one
    """

    attempted: Tally
    acknowledged: Tally
    lost: Tally
    recovered: Tally
    duplicated: Tally
    unexpected: Tally
    baseline_missing: Tally
    effects_missing: Tally
    effects_doubled: Tally

    @property
    def faults(self) -> Mapping[str, Tally]:
        """What must be empty and is not, by name."""
        harmless = {"attempted", "acknowledged", "recovered"}
        tallies = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in harmless}
        return {name: tally for name, tally in tallies.items() if tally.count}

    @property
    def valid(self) -> bool:
        """Nothing is lost, doubled or invented. Where nothing was acknowledged nothing is proved: not valid."""
        return self.acknowledged.count > 0 and not self.faults


@dataclass(frozen=True)
class _Claim:
    """An acknowledged event, its membership, and the failed payments that were acknowledged before it was sent."""

    event: str
    membership: str
    company: str
    amount: int
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Effects:
    missing: list[str]
    doubled: list[str]


def account(ledger: Path, conn: "psycopg.Connection") -> Accounting:
    """Compare a ledger with the database's `public.events` and `public.recovery_cases`.

    `conn` must be outside a transaction, and its role must see all rows. Raises ToolkitError when there is no ledger or
    no baseline in it, DatabaseError when the database does not let itself be read.
    """
    with reading(ledger) as book:
        baseline = Baseline.read(book)
        acknowledged = _ids(book, acknowledged=True)
        opened, closed = list(_opened(book)), list(_closed(book))
    with snapshot(conn):
        present = Counter(one for one in event_ids(conn) if not baseline.tick(one))
        effects = _effects(conn, opened, closed)
    with reading(ledger) as book:
        attempted, answered = _ids(book), _ids(book, acknowledged=True)
    if known := next(filter(baseline.tick, attempted), None):
        raise ToolkitError(
            f"The ledger does not belong to this database: {known} was there before it was sent",
            next="start the senders on a fresh database, or account with the ledger that belongs to it",
        )
    return Accounting(
        attempted=_tally(attempted),
        acknowledged=_tally(acknowledged),
        lost=_tally(acknowledged - present.keys()),
        recovered=_tally((attempted & present.keys()) - answered),
        duplicated=_tally({*(one for one, rows in present.items() if rows > 1), *baseline.repeated()}),
        unexpected=_tally(present.keys() - attempted),
        baseline_missing=_tally(baseline.missing()),
        effects_missing=_tally(effects.missing),
        effects_doubled=_tally(effects.doubled),
    )


def _tally(ids: Iterable[str]) -> Tally:
    found = sorted(ids)
    return Tally(len(found), tuple(found[:EXAMPLES]))


def _ids(book: sqlite3.Connection, *, acknowledged: bool = False) -> set[str]:
    rows = book.execute("SELECT id FROM events WHERE acknowledged_at IS NOT NULL OR NOT ?", (acknowledged,))
    return {one for (one,) in rows}


def _opened(book: sqlite3.Connection) -> Iterator[_Claim]:
    """Each acknowledged failed payment: its membership must have a case. Cases are closed, but never deleted."""
    for row in book.execute(
        """
        SELECT id, membership, company, amount
        FROM events
        WHERE type = 'payment_failed'
          AND acknowledged_at IS NOT NULL
        """
    ):
        yield _Claim(*row)


def _closed(book: sqlite3.Connection) -> Iterator[_Claim]:
    """Each acknowledged success before which every failure of its membership had been acknowledged.

    A failure that was sent later, or whose acknowledgement is not known to be older, may have opened the case again.
    """
    failures: dict[tuple[str, str], list[tuple[str, int | None]]] = defaultdict(list)
    for one, membership, company, acknowledged_at in book.execute(
        "SELECT id, membership, company, acknowledged_at FROM events WHERE type = 'payment_failed'"
    ):
        failures[membership, company].append((one, acknowledged_at))
    for one, membership, company, amount, sent_at in book.execute(
        """
        SELECT id, membership, company, amount, first_attempt_at
        FROM events
        WHERE type = 'payment_succeeded'
          AND acknowledged_at IS NOT NULL
        """
    ):
        before = failures.get((membership, company), [])
        if before and all(at is not None and at < sent_at for _, at in before):
            yield _Claim(one, membership, company, amount, tuple(failure for failure, _ in before))


def _effects(conn: "psycopg.Connection", opened: Sequence[_Claim], closed: Sequence[_Claim]) -> _Effects:
    """Only events that the service has dealt with are judged: what it stored while processing was off comes later."""
    claims = [*opened, *closed]
    processed = processed_events(conn, [one for claim in claims for one in (claim.event, *claim.after)])
    states = case_states(conn, sorted({claim.membership for claim in claims}))
    missing, doubled = [], []
    for claim in opened:
        cases = states.get((claim.membership, claim.company))
        if claim.event in processed and cases is None:
            missing.append(claim.event)
        if cases is not None and cases.cases > 1:
            doubled.append(claim.event)
    for claim in closed:
        cases = states.get((claim.membership, claim.company))
        settled = cases is None or (not cases.open and cases.booked in (None, claim.amount))
        if not settled and _in_order(processed, claim):
            missing.append(claim.event)
    return _Effects(missing, doubled)


def _in_order(processed: Mapping[str, datetime], claim: _Claim) -> bool:
    """The service dealt with every failure first, and with the success after them."""
    if claim.event not in processed or not all(one in processed for one in claim.after):
        return False
    return all(processed[one] <= processed[claim.event] for one in claim.after)
