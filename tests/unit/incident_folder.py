"""Makes an incident's folder as a drill leaves one, with truths that a test can hold the analysis against.

The journals are written by the real Journal, its clock turned by hand. Requests fail from `onset_s` to `recovery_s`
after T0 and not otherwise, a few by chance apart; the service's log tells the same.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from toolkit.adapters.webhook import WebhookEvent
from toolkit.clock import iso
from toolkit.drill.ledger import Ledger, Outcome
from toolkit.journal import Entry, Journal

T0 = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
WEBHOOK = "/api/webhooks/whop"
CONSTRAINT = "recovery_cases_failure_category_known"
OLD, NEW = "dpl_build8", "dpl_build9"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@dataclass
class Truth:
    """Seconds after T0, and counts of what was written."""

    onset_s: float = 20.0
    detected_s: float = 28.6
    acknowledged_s: float = 33.2
    mitigated_s: float = 62.4
    recovery_s: float = 58.0
    resolved_s: float = 74.5
    ends_s: float = 90.0
    requests: int = 0
    failed: int = 0
    logged: int = 0
    accounting: Mapping[str, int] = field(
        default_factory=lambda: {
            "attempted": 1500,
            "acknowledged": 1496,
            "lost": 0,
            "duplicated": 0,
            "unexpected": 0,
            "recovered": 4,
        }
    )


class Pen:
    """Writes entries at chosen times."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path, path.parent.name)

    def __call__(self, seconds: float, actor: str, kind: str, data: Mapping[str, Any] | None = None) -> Entry:
        with mock.patch("toolkit.journal.utc_now", lambda: at(seconds)):
            return self.journal.append(kind, data or {}, actor=actor)


def make_folder(
    folder: Path, *, truth: Truth | None = None, seed: int = 7, drill: bool = True, operator: str = "alice"
) -> Truth:
    """Write every source. Returns what is true of it."""
    truth = truth or Truth()
    folder.mkdir(parents=True, exist_ok=True)
    write_requests(folder, truth, seed)
    write_journal(folder, truth, operator)
    if drill:
        write_facilitator(folder, truth)
        write_ledger(folder)
    return truth


def write_ledger(folder: Path) -> None:
    """Two events of two members; one of them came late."""
    clock = iter([at(number) for number in range(20)])
    with Ledger(folder / "ledger.sqlite", clock=lambda: next(clock)) as ledger:
        for number, outcomes in enumerate(([Outcome(200, 5.0)], [Outcome(500, 5.0), Outcome(200, 5.0)])):
            name = f"evt_{number}"
            event = WebhookEvent(name, "payment_failed", f"pay_{name}", f"mem_{name}", "user_1", "biz_1", 900, T0)
            for attempt, outcome in enumerate(outcomes, start=1):
                ledger.finish(ledger.begin_attempt(event, attempt), outcome)


def write_requests(folder: Path, truth: Truth, seed: int, rate: float = 24.0, background: float = 0.001) -> None:
    """requests.parquet and service.log; counts go into the truth."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    lines: list[tuple[float, dict[str, Any]]] = []
    second = 0.0
    while (second := second + chance.expovariate(rate)) < truth.ends_s:
        row, line = _request(second, truth, chance, background)
        rows.append(row)
        if line:
            lines.append((second + row["ms"] / 1000, line))
    frame = pd.DataFrame(rows)
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    frame["status"] = frame["status"].astype("Int16")
    frame.to_parquet(folder / "requests.parquet")
    with (folder / "service.log").open("w") as log:
        for ended, line in sorted(lines, key=lambda each: each[0]):
            log.write(json.dumps({"at": iso(at(ended))} | line) + "\n")
    truth.requests, truth.logged = len(rows), len(lines)
    truth.failed = sum(row["status"] is None or row["status"] >= 500 for row in rows)


def _request(second: float, truth: Truth, chance: random.Random, background: float) -> tuple[dict[str, Any], Any]:
    inside = truth.onset_s <= second < truth.recovery_s
    kind = chance.choices(("webhook", "read", "cron"), (20, 4, 0.2))[0]
    method, path = {
        "webhook": ("POST", WEBHOOK),
        "read": ("GET", "/api/dashboard/kpis"),
        "cron": ("POST", "/api/scheduler/reminders"),
    }[kind]
    event = chance.choice(("payment_failed", "payment_succeeded")) if kind == "webhook" else None
    fails = chance.random() < (0.22 if inside and kind == "webhook" else background)
    status: int | None = 500 if fails else 200
    switching = truth.recovery_s - 2.0 <= second < truth.recovery_s - 1.2
    if switching and chance.random() < 0.5:
        status = None
    ms = chance.lognormvariate(2.3 if not inside else 3.1, 0.5)
    deployment = NEW if truth.onset_s + 1.0 <= second < truth.recovery_s - 1.6 else OLD
    row = {
        "at": at(second),
        "kind": kind,
        "method": method,
        "path": path,
        "status": status,
        "ms": ms,
        "error": None if status else "ReadTimeout",
        "deployment": deployment if status else None,
        "attempt": 1,
        "event_type": event,
    }
    if status is None:
        return row, None
    error = {
        "type": "CheckViolation",
        "sqlstate": "23514",
        "constraint": CONSTRAINT,
        "relation": "recovery_cases",
        "column": None,
        "message": f'new row for relation "recovery_cases" violates check constraint "{CONSTRAINT}"',
    }
    line = {
        "level": "error" if fails else "info",
        "message": "",
        "deployment": deployment,
        "build": 9 if deployment == NEW else 8,
        "method": method,
        "path": path,
        "status": status,
        "ms": round(ms, 2),
        "request_id": None,
        "event_type": event,
        "error": error if fails else None,
    }
    return row, line


def write_journal(folder: Path, truth: Truth, operator: str) -> None:
    pen = Pen(folder / "journal.jsonl")
    _detect(pen, truth)
    _assess(pen, truth, operator)
    _roll_back(pen, truth, operator)
    _verify(pen, truth, operator)


def _detect(pen: Pen, truth: Truth) -> None:
    opened = truth.detected_s
    pen(2.0, "monitor", "monitor.started", {"target": "sandbox", "window_s": 6, "poll_every_s": 0.5})
    for second in range(4, int(truth.resolved_s), 2):
        observed = {"window_s": 6, "requests": 140, "failed": 0, "error_rate": 0.0, "p95_ms": 21.0, "errors": []}
        if second < opened:
            pen(second, "monitor", "monitor.observed", observed)
    evidence = "31 of 142 requests failed within 6 s"
    raised = {"signal": "error_rate", "value": 0.218, "threshold": 0.1, "evidence": evidence}
    pen(opened - 0.2, "monitor", "signal.raised", raised)
    reasons = ["Database migration failure affecting production: 31 errors name a constraint of migration 9"]
    pen(opened, "monitor", "incident.opened", {"severity": "P0", "reasons": reasons})


def _notebook(pen: Pen, name: str, begin: float, end: float, operator: str) -> None:
    pen(end, operator, "notebook.finished", {"notebook": name, "output": f"{name}.ipynb", "seconds": end - begin})


def _assess(pen: Pen, truth: Truth, operator: str) -> None:
    begin = truth.acknowledged_s - 1.6
    pen(begin, operator, "notebook.started", {"notebook": "01_assess", "target": "sandbox"})
    pen(truth.acknowledged_s, operator, "incident.acknowledged", {"from": "open", "why": "somebody looks at it"})
    supporting = [
        "It came after version 8, the newest at which all was verified.",
        f"31 errors name {CONSTRAINT}, which it brought.",
    ]
    against = ["31 errors come from the database and name a constraint."]
    assessment = {
        "summary": "Migration 9 broke payment_failed webhooks: 31 of 142 requests fail with 23514.",
        "scope": {"requests failing": "21.8 %", "paths": [WEBHOOK], "health endpoints": "all ok"},
        "hypotheses": [
            {
                "cause": "migration",
                "subject": "9",
                "title": "Migration 9 broke it",
                "confidence": "strong",
                "supporting": supporting,
                "against": [],
            },
            {
                "cause": "deployment",
                "subject": NEW,
                "title": f"Deployment {NEW} broke it",
                "confidence": "weak",
                "supporting": ["It went live after the newest verification."],
                "against": against,
            },
        ],
        "recommendation": {
            "kind": "migration",
            "migration_target": 8,
            "deployment": OLD,
            "reasons": [*supporting, "The live deployment needs schema 9: the application must go back too."],
            "against": ["What was written into columns that the down removes is lost to the live schema."],
        },
        "server": {"system_identifier": "7423"},
    }
    pen(begin + 3.4, operator, "assessment.made", assessment)
    decision = {"what": "Roll back migration 9, the application first", "why": "as recommended", "by": operator}
    pen(begin + 3.6, operator, "decision.made", decision)
    _notebook(pen, "01_assess", begin, begin + 3.8, operator)


STEPS = [
    ("app", "Point production at deployment dpl_build8", "the alias answers with dpl_build8", "promote dpl_build9"),
    ("down-9", "Run the down of migration 9", "schema version 8, not dirty", "run the up of migration 9"),
    ("traffic", "See webhooks acknowledged again", "no failed request for 3 s", None),
]


def _roll_back(pen: Pen, truth: Truth, operator: str) -> None:
    began = truth.acknowledged_s + 4.0
    pen(began, operator, "notebook.started", {"notebook": "02_stabilize", "target": "sandbox"})
    pen(began + 0.3, "runner", "backup.begun", {"folder": "backup"})
    rows = {"events": 21_204, "recovery_cases": 5_310, "creator_settings": 20}
    backup = {"folder": "backup", "bytes": 4_310_223, "tables": rows, "seconds": 2.1, "archive": "readable"}
    pen(began + 2.4, "runner", "backup.made", backup)
    _notebook(pen, "02_stabilize", began, began + 2.9, operator)
    began = truth.recovery_s - 6.0
    pen(began, operator, "notebook.started", {"notebook": "03_rollback", "target": "sandbox"})
    steps = [
        {"id": name, "what": what, "why": "so that code and schema fit", "expected": seen, "verify": seen, "undo": undo}
        for name, what, seen, undo in STEPS
    ]
    plan = {
        "kind": "migration",
        "target": "8",
        "summary": "Back to deployment dpl_build8, then schema version 8.",
        "steps": steps,
        "destroys": ["column recovery_cases.failure_category"],
        "warnings": [],
    }
    pen(began + 1.1, operator, "plan.made", plan)
    _steps(pen, truth)
    mitigated = {"from": "acknowledged", "why": "no failed request for 3 s"}
    pen(truth.mitigated_s, "runner", "incident.mitigated", mitigated)
    _notebook(pen, "03_rollback", began, truth.mitigated_s + 0.4, operator)


def _steps(pen: Pen, truth: Truth) -> None:
    for (name, what, _, _), begin, end in zip(
        STEPS,
        (truth.recovery_s - 3.0, truth.recovery_s - 0.9, truth.recovery_s + 0.1),
        (truth.recovery_s - 1.0, truth.recovery_s, truth.mitigated_s - 0.1),
        strict=True,
    ):
        pen(begin, "runner", "step.begun", {"step": name, "what": what, "attempt": 1})
        pen(end, "runner", "step.done", {"step": name, "what": what, "seconds": end - begin, "outcome": "as expected"})


CHECKS = [
    ("database", "schema version is the target", "pass", "version 8, not dirty"),
    ("database", "rows of critical tables", "pass", "events 21,240; recovery_cases 5,318"),
    ("application", "production points at the target", "pass", "dpl_build8"),
    ("functional", "a signed webhook is acknowledged", "pass", "200 in 14 ms"),
    ("functional", "notifications are sent", "unknown", "the sandbox has no notification channel"),
]


def _verify(pen: Pen, truth: Truth, operator: str) -> None:
    began = truth.mitigated_s + 1.2
    pen(began, operator, "notebook.started", {"notebook": "04_verify", "target": "sandbox"})
    steady = {"window_s": 5, "requests": 118, "error_rate": 0.0, "p50_ms": 9.8, "p95_ms": 22.4, "rate_per_s": 23.6}
    pen(truth.resolved_s - 2.0, operator, "steady_state.measured", steady)
    checks = [
        {"name": name, "area": area, "outcome": outcome, "evidence": evidence, "at": iso(at(began)), "seconds": 0.1}
        for area, name, outcome, evidence in CHECKS
    ]
    tally = {word: sum(check["outcome"] == word for check in checks) for word in ("pass", "fail", "unknown")}
    pen(
        truth.resolved_s - 0.8,
        operator,
        "verification.made",
        {"outcome": "unknown", "tally": tally, "checks": checks},
    )
    pen(truth.resolved_s - 0.4, "monitor", "signal.cleared", {"signal": "error_rate", "value": 0.0, "threshold": 0.1})
    pen(truth.resolved_s, operator, "incident.resolved", {"from": "mitigated", "why": "verified"})
    _notebook(pen, "04_verify", began, truth.resolved_s + 0.3, operator)


def write_facilitator(folder: Path, truth: Truth) -> None:
    pen = Pen(folder / "facilitator.jsonl")
    told = {"scenario": "breaking-migration", "seed": 7, "target": "sandbox", "webhooks_per_s": 20}
    pen(0.5, "facilitator", "drill.started", told)
    steady = {"window_s": 10, "requests": 240, "error_rate": 0.0, "p50_ms": 9.6, "p95_ms": 21.8, "rate_per_s": 24.0}
    pen(truth.onset_s - 1.0, "facilitator", "steady_state.measured", steady)
    fault = {"fault": {"kind": "migrate-and-deploy", "migration": 9, "build": 9}}
    pen(truth.onset_s - 0.3, "facilitator", "fault.begun", fault)
    pen(truth.onset_s + 1.0, "facilitator", "fault.done", {"migrations": [9], "deployment": NEW})
    pen(truth.ends_s, "facilitator", "traffic.stopped", {})
    counted = {name: {"count": count, "examples": []} for name, count in truth.accounting.items()}
    pen(truth.ends_s + 1.0, "facilitator", "accounting.made", counted)
