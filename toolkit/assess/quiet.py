"""Evidence that fails no request: what the monitor's signals and the requests that nobody counts as errors tell. Pure.

Each function gives a sentence, or '' where there is no such evidence.
"""

import re
from collections.abc import Sequence

from toolkit.assess.facts import AppliedMigration, Facts
from toolkit.detect.seen import Signal

LEAST_EVENTS = 5
_DROPS_INDEX = re.compile(r"\bDROP\s+INDEX\b", re.IGNORECASE)
_BREACH = re.compile(r"\bbreach", re.IGNORECASE)
MISSING_OBJECT = ("42703", "42P01", "42883", "42704")  # a column, a table, a function, a type that is not there


def refused_events(facts: Facts) -> str:
    """Not one event is taken, and none of it counts as a failure: 401 or 404, say."""
    if facts.events_in is None or facts.events_in[0] < LEAST_EVENTS or facts.events_in[1]:
        return ""
    return f"Not one of {facts.events_in[0]} requests that bring events was answered with a 2xx."


def lost_rows(facts: Facts) -> str:
    """A critical table that lost most of its rows."""
    return _told(facts, Signal.ROWS)


def stuck_queue(facts: Facts) -> str:
    """Jobs that fail, are held by nobody, or wait."""
    return _told(facts, Signal.QUEUE)


def slower_without_index(migration: AppliedMigration, facts: Facts) -> str:
    """Requests take longer since a migration that dropped an index."""
    slow = _told(facts, Signal.PERFORMANCE)
    return f"It drops an index, and requests are slow: {slow}" if slow and _DROPS_INDEX.search(migration.sql) else ""


def ahead_of_schema(facts: Facts) -> str:
    """Errors that name an object which no migration that ran has ever named: the code expects one that did not run."""
    if not facts.migrations:
        return ""
    text = "\n".join(m.sql for m in facts.migrations)
    missed = [e for e in facts.errors if e.sqlstate in MISSING_OBJECT and e.objects and not _named(e.objects[0], text)]
    if not missed:
        return ""
    needs = facts.production.schema_version if facts.production else None
    built = (
        f" It was built for schema {needs}, and {facts.version} is live." if needs != facts.version and needs else ""
    )
    name = missed[0].objects[0]
    return f"{sum(e.count for e in missed)} errors miss {name}, which no migration that ran has named.{built}"


def declared_breach(reasons: Sequence[str]) -> str:
    """The reason of the incident that tells of a breach."""
    return next((reason for reason in reasons if _BREACH.search(reason)), "")


def _told(facts: Facts, signal: Signal) -> str:
    evidence = facts.signals.get(signal.value, "")
    return f"{evidence[:1].upper()}{evidence[1:]}." if evidence else ""


def _named(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
