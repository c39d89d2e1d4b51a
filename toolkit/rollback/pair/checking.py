"""Does this deployment's code work on that schema? Three kinds of evidence, one verdict. It decides nothing further.

    recorded queries ─► prepared and planned ─┐
    real requests ────► replayed, rolled back ┼─► fits · incompatible · unknown
    catalogs ─────────► compared ─────────────┘

One thing that cannot work makes the pair incompatible. It fits where something was tried and worked and the catalogs
agree; without catalogs where of each kind of statement something worked, and each kind that writes met rows: preparing
sees no constraint, and what meets no row meets none either. Everything else is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.adapters.postgres import Database
from toolkit.errors import DatabaseError
from toolkit.rollback.pair.catalogs import compared
from toolkit.rollback.pair.evidence import Evidence
from toolkit.rollback.pair.findings import PairFinding, Verdict
from toolkit.rollback.pair.preparing import prepared
from toolkit.rollback.pair.replaying import Replay, replayed
from toolkit.rollback.pair.standing_in import Application, require_own
from toolkit.verify.fingerprints import SchemaSignature, schema_signature

NO_EVIDENCE = "There is no evidence: no query and no request of this deployment is recorded"
WRITES = ("INSERT", "UPDATE", "MERGE")  # what a constraint may refuse
SHOWN = 3
ORDER = {"incompatible": 0, "unknown": 1, "fits": 2}


@dataclass(frozen=True)
class PairResult:
    """One deployment on one schema. `version` is the schema's, None where it has none. `evidence` begins with what
    decided; `missing` says what could not be asked. `counts` are of queries, requests and their statements."""

    verdict: Verdict
    deployment: str
    version: int | None
    evidence: tuple[PairFinding, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        pair = f"deployment {self.deployment} on schema {'unknown' if self.version is None else self.version}"
        if self.verdict == "incompatible":
            wrong = [each for each in self.evidence if each.verdict == "incompatible"]
            more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return f"Incompatible: {pair}. {wrong[0]}{more}."
        if self.verdict == "fits":
            weak = "" if self.counts.get("met") else ": it rests on catalogs that agree"
            return f"It fits: {pair}. {self._tried()}{weak}."
        return f"Unknown whether it fits: {pair}. {self.doubt}."

    @property
    def doubt(self) -> str:
        """Why it is unknown, without a full stop."""
        return "; ".join(each.rstrip(".") for each in self.missing[:2]) or self._tried()

    def rows(self) -> list[dict[str, str]]:
        """A row for each finding, the worst first; those that fit are counted in one."""
        told = [
            {"evidence": each.source, "verdict": each.verdict, "what": each.what, "says": each.says}
            for each in self.evidence
            if each.verdict != "fits"
        ]
        told += [{"evidence": "", "verdict": "unknown", "what": "", "says": each} for each in self.missing]
        fitting = sum(each.verdict == "fits" for each in self.evidence)
        if fitting:
            what = f"{fitting} others" if told else f"all {fitting}"
            told.append({"evidence": "", "verdict": "fits", "what": what, "says": self._tried()})
        return told

    def _tried(self) -> str:
        counts = self.counts
        return (
            f"{counts.get('queries', 0)} recorded queries were prepared ({counts.get('undecided', 0)} undecided), and "
            f"{counts.get('statements', 0)} statements of {counts.get('requests', 0)} real requests were replayed, "
            f"{counts.get('met', 0)} of which met rows"
        )


def check_pair(
    copy: Database,
    deployment: str,
    evidence: Evidence,
    *,
    role: str | None,
    schemas: Sequence[str],
    built_for: SchemaSignature | None = None,
    version: int | None = None,
    right: Database | None = None,
) -> PairResult:
    """Whether the deployment's code works on the schema of `copy`, a database on a server of our own.

    `role` is as whom it asks (None: as whom the copy was connected to, and privileges are not tried). `schemas` are the
    application's. `built_for` is the schema that the code was built for, for the catalogs; `right` a copy that has it,
    so that queries which fail there too are no evidence. `version` is the copy's, for the words. Nothing is changed.
    Raises UsageError and WrongServerError where the copy is not ours, DatabaseError where it does not answer.
    """
    for each in (copy, *([right] if right is not None else [])):
        require_own(each, evidence.server)
    if not evidence:
        return PairResult("unknown", deployment, version, missing=(NO_EVIDENCE + ".", *evidence.missing))
    application = _application(copy, evidence, role)
    queries = prepared(copy, evidence.queries, application, right) if evidence.queries else []
    replay = replayed(copy, evidence.requests, application) if evidence.requests else Replay((), 0, 0, 0, ())
    catalog = _catalogs(copy, evidence, schemas, built_for) if built_for is not None else None
    found = sorted([*queries, *replay.findings, *(catalog or [])], key=lambda each: ORDER[each.verdict])
    counts = {
        "queries": len(queries),
        "undecided": sum(each.verdict == "unknown" for each in queries),
        "requests": replay.transactions,
        "statements": replay.tried,
        "met": replay.met,
        "incompatible": sum(each.verdict == "incompatible" for each in found),
    }
    verdict, missing = _verdict(queries, replay, catalog)
    return PairResult(verdict, deployment, version, tuple(found), counts, (*missing, *evidence.missing))


def _verdict(
    queries: Sequence[PairFinding], replay: Replay, catalog: Sequence[PairFinding] | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and why it is unknown where it is."""
    every = [*queries, *replay.findings, *(catalog or ())]
    if any(each.verdict == "incompatible" for each in every):
        return "incompatible", ()
    if not any(each.verdict == "fits" for each in every):
        return "unknown", ("Nothing that was tried could be decided.",)
    doubts = [each for each in catalog or () if each.verdict == "unknown" and not _was_written(each, replay)]
    if doubts:
        return "unknown", tuple(f"{each}." for each in doubts)
    if catalog is not None:
        return "fits", ()
    kinds = {each.kind for each in every if each.kind}
    if undecided := sorted(kinds - {each.kind for each in every if each.verdict == "fits"} - set(replay.ran)):
        return "unknown", (f"Nothing of {_some(undecided)} could be decided.",)
    if not replay.met:
        return "unknown", ("No statement met a row, so what the schema asks of rows is not tried.",)
    if untried := sorted(kind for kind in kinds - set(replay.written) if kind.startswith(WRITES)):
        return "unknown", (f"{_some(untried)} met no row, so what the schema asks of it is not tried.",)
    return "fits", ()


def _some(kinds: Sequence[str]) -> str:
    more = f" and {len(kinds) - SHOWN} more" if len(kinds) > SHOWN else ""
    return ", ".join(kinds[:SHOWN]) + more


def _was_written(doubt: PairFinding, replay: Replay) -> bool:
    """Whether every writing query that a catalog's difference concerns was replayed and went well."""
    writing = [each for each in doubt.by if not each.startswith("SELECT")]
    return bool(writing) and all(each in replay.written for each in writing)


def _application(copy: Database, evidence: Evidence, role: str | None) -> Application:
    if evidence.application is not None and role in (None, evidence.application.role):
        return evidence.application
    if role is not None:
        return Application(role)
    with copy.reading() as conn:
        row = conn.execute("SELECT current_user::text").fetchone()
    if row is None:
        raise DatabaseError("The copy did not say as whom we are connected", target=copy.target)
    return Application(row[0])


def _catalogs(
    copy: Database, evidence: Evidence, schemas: Sequence[str], built_for: SchemaSignature
) -> list[PairFinding]:
    with copy.reading(within_ms=0) as conn:
        there = schema_signature(conn, schemas)
    texts = [query.text for query in evidence.queries]
    texts += [statement.sql for request in evidence.requests for statement in request.statements]
    return compared(built_for, there, texts)
