"""An assessment as rows of tables, for a notebook and a terminal alike."""

from collections.abc import Mapping
from datetime import datetime

from toolkit.assess.facts import Facts
from toolkit.assess.views import Views
from toolkit.clock import iso

Row = dict[str, object]

SQLSTATE_CLASSES = {  # PostgreSQL, Appendix A
    "08": "connection exception",
    "22": "data exception",
    "23": "constraint violated",
    "25": "wrong state of the transaction",
    "28": "login refused",
    "40": "transaction rolled back",
    "42": "no such object, or no right to it",
    "53": "out of connections, memory or disk",
    "54": "beyond a limit of the server",
    "55": "object in use or locked",
    "57": "ended by an operator or a timeout",
    "58": "system error",
    "XX": "internal error",
}


def scope_rows(views: Views, facts: Facts, since: Mapping[str, datetime]) -> list[Row]:
    """Requests by path, the most failing first: on which deployment, since when, and what the failing ones said."""
    traffic, platform = views.traffic.value, views.platform.value
    if traffic is None or not traffic.requests:
        why = views.traffic.trouble or "no request was logged while looking"
        return [{"path": "unknown", "requests": "", "failed": "", "what they said": why}]
    said = {f.path: f.message or f"status {f.status}" for f in reversed(facts.errors)}
    return [
        {
            "path": each.path,
            "deployment": platform.production.id if platform else "unknown",
            "requests": each.requests,
            "failed": each.failed,
            "share": f"{each.failed / each.requests:.0%}",
            "failing since": _since(since.get(each.path)) if each.failed else "",
            "what they said": said.get(each.path, "") if each.failed else "",
        }
        for each in sorted(traffic.paths, key=lambda each: -each.failed)
    ]


def _since(at: datetime | None) -> str:
    return f"{iso(at)[:19]}Z or before" if at else "not recorded"


def error_rows(facts: Facts) -> list[Row]:
    """Failures by the server's code, endpoint and deployment, the most frequent first."""
    return [
        {
            "SQLSTATE": _code(each.sqlstate),
            "endpoint": each.path,
            "deployment": each.deployment or "unknown",
            "count": each.count,
            "names": ", ".join(each.objects),
            "message": each.message or f"status {each.status or 'none'}",
        }
        for each in sorted(facts.errors, key=lambda each: -each.count)
    ]


def _code(sqlstate: str | None) -> str:
    if sqlstate is None:
        return "none of the database's"
    return f"{sqlstate}: {SQLSTATE_CLASSES.get(sqlstate[:2], 'another class')}"


def lock_rows(views: Views) -> list[Row]:
    """Who waits, for what, and who is in the way. One row that says so where nobody does or where it is unknown."""
    seen = views.of_database(lambda view: view.waiting)
    if not seen.value:
        said = "nobody waits for a lock" if seen.value is not None else f"unknown: {seen.trouble or 'not seen'}"
        return [{"waiting": said, "for": "", "since": "", "in the way": ""}]
    return [
        {
            "waiting": f"pid {each.pid} ({each.application or 'unnamed'}): {each.query}",
            "for": each.lock,
            "since": f"{each.waited_s:.1f} s",
            "in the way": "; ".join(map(str, each.blockers)) or "unknown",
        }
        for each in seen.value
    ]
