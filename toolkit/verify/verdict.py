"""One verification of one incident, from what to expect to what follows: the verdict, and a new stable point.

What to expect is read off the incident's journal: the plan that was carried out, the backup that was made; without
them, the newest stable point. It resolves an incident only when every check passed; otherwise it says so, loudly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.state_tables import same_version
from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome, overall, run_checks, tally
from toolkit.clock import utc_now
from toolkit.errors import DatabaseError, PlatformError, UnverifiedError, WrongServerError
from toolkit.incident import Incident, State
from toolkit.verify.baseline import baseline_from, measure_baseline
from toolkit.verify.checklist import verification
from toolkit.verify.expectation import STEADY_WINDOW_S, Expectation
from toolkit.verify.steady import SteadyWindow

VERIFIED = "verification.made"
SERVER_TOLD_BY = ("plan.made", "assessment.made")
FIX_FORWARD = "fix-forward"


@dataclass(frozen=True)
class Verification:
    """The results, and what may be done on their strength."""

    systems: Systems
    incident: Incident
    actor: str
    expectation: Expectation
    window: SteadyWindow
    results: Sequence[CheckResult]

    @property
    def outcome(self) -> Outcome:
        return overall(self.results)

    def steady_state(self) -> dict[str, float | int | None] | None:
        """What was measured over the window, as JSON; None when the log could not be followed."""
        try:
            return self.window.traffic().steady_state()
        except PlatformError:
            return None

    def steady_state_rows(self) -> list[dict[str, object]]:
        """Before and now, a figure a row; '' where it is not known."""
        before = self.expectation.baseline.steady_state
        then, now = before.model_dump() if before else {}, self.steady_state() or {}
        words = {
            "requests": "requests",
            "rate_per_s": "requests per second",
            "error_rate": "error rate",
            "p50_ms": "median, ms",
            "p95_ms": "95th percentile, ms",
            "window_s": "measured for, s",
        }
        return [
            {"figure": word, "before": _shown(then, name), "now": _shown(now, name)} for name, word in words.items()
        ]

    def conclude(self) -> None:
        """Record this as the newest stable point and resolve the incident, if all passed.

        UnverifiedError otherwise, naming what did not pass; the incident stays as it is.
        """
        if self.outcome is not Outcome.PASS:
            wrong = [result for result in self.results if result.stands_in_the_way]
            named = "; ".join(f"{each.name}: {each.outcome}, {each.evidence}" for each in wrong[:3])
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise UnverifiedError(
                f"{len(wrong)} of {len(self.results)} checks did not pass: {named}{more}",
                target=self.systems.target.name,
                state="the incident is not resolved, and no stable point was recorded",
                next="mend what failed, or find out what is unknown, then verify again",
            )
        self._record_stable()
        if self.incident.state is not None:
            passed = tally(self.results)["pass"]
            self.incident.advance(State.RESOLVED, f"all {passed} checks of the verification passed", actor=self.actor)

    def _record_stable(self) -> None:
        baseline = baseline_from(self.systems, self.window)
        version, deployment = int(baseline["migration_version"]), str(baseline["deployment"])
        self.systems.database.prepare()
        self.systems.database.record_stable(version, deployment, baseline)
        self.incident.record("stable.recorded", {"version": version, "deployment": deployment}, actor=self.actor)


def verify(systems: Systems, incident: Incident, *, actor: str, vouch: str = "") -> Verification:
    """Run all checks and journal them. Takes as long as the steady state's window, or a little longer.

    Where nothing was ever recorded there is nothing to compare with, and much is unknown. `vouch` is the reason for
    which somebody holds the present state for sound: it is measured first, and journaled as theirs. It changes nothing
    once there is a stable point. Raises JournalError, and WrongServerError before anything is sent to a server that is
    not the incident's; with `vouch` also DatabaseError and PlatformError. Otherwise what cannot be seen is unknown.
    """
    expectation = expect(systems, incident)
    _require_same_server(systems, expectation)
    if vouch and expectation.stable is None:
        expectation = _vouched(systems, expectation)
        incident.record("stable.vouched", {"why": vouch, "version": expectation.migration_version}, actor=actor)
    window = SteadyWindow(systems, expectation.steady_window_s)
    results = run_checks(verification(systems, expectation=expectation, window=window))
    incident.record_checks(VERIFIED, results, actor=actor)
    made = Verification(systems, incident, actor, expectation, window, results)
    if measured := made.steady_state():
        incident.record("steady_state.measured", measured, actor=actor)
    return made


def expect(systems: Systems, incident: Incident) -> Expectation:
    """What the incident's journal says should be so now; where it says nothing, the newest stable point.

    A stable point of the expected version is preferred to a newer one of another version.
    """
    version, label, deployment = _aimed_at(incident)
    rolled_back = (version, deployment) != (None, None)
    stable = _stable_points(systems)
    if version is None and stable:
        version, label = stable[0].version, stable[0].label
    same = (point for point in stable if same_version((point.version, point.label), (version, label)))
    fitting = next(same, stable[0] if stable else None)
    backup = incident.latest("backup.made")
    rows = backup.data.get("tables") if backup else None
    return Expectation(
        migration_version=version,
        deployment=deployment or (fitting.deployment if fitting else None),
        stable=fitting,
        backup_rows={str(table): int(count) for table, count in rows.items()} if rows else None,
        server=_server(incident),
        rolled_back=rolled_back,
        migration_label=label,
        steady_window_s=STEADY_WINDOW_S if systems.target.sandbox else systems.target.monitoring.window_s,
    )


def _server(incident: Incident) -> ServerIdentity | None:
    """The server that this incident is about, as it was planned for or assessed; None where neither was done."""
    told = (e.data.get("server") for e in reversed(incident.journal.entries()) if e.kind in SERVER_TOLD_BY)
    found = next((server for server in told if server), None)
    return ServerIdentity(**found) if found else None


def _require_same_server(systems: Systems, expectation: Expectation) -> None:
    """WrongServerError for another server; one that does not answer is for the checks to tell."""
    if expectation.server is None:
        return
    try:
        systems.database.require(expectation.server)
    except WrongServerError:
        raise
    except DatabaseError:
        return


def _vouched(systems: Systems, expectation: Expectation) -> Expectation:
    baseline = measure_baseline(systems, expectation.steady_window_s)
    version, deployment = int(baseline["migration_version"]), str(baseline["deployment"])
    point = StablePoint(version, deployment, utc_now(), baseline)
    return replace(
        expectation, stable=point, migration_version=version, migration_label=point.label, deployment=deployment
    )


def _aimed_at(incident: Incident) -> tuple[int | None, str | None, str | None]:
    """Version, the tool's word for it, and deployment at which the latest plan that was carried out ends, or with which
    it was decided to fix forward since; None where they are left alone."""
    plans = (entry.data for entry in reversed(incident.journal.entries()) if entry.kind == "plan.made")
    steps = next((plan.get("steps", ()) for plan in plans if plan.get("execute", True)), ())
    actions = [step.get("action", {}) for step in steps]
    versions = [(action["to_version"], action.get("to_label")) for action in actions if action.get("to_version")]
    deployments = [action["deployment"] for action in actions if action.get("deployment")]
    version, label = versions[-1] if versions else (None, None)
    deployed = _fixed_forward(incident) or (str(deployments[-1]) if deployments else None)
    return int(version) if version is not None else None, str(label) if label else None, deployed


def _fixed_forward(incident: Incident) -> str | None:
    """The deployment with which somebody decided to fix forward, since the latest plan; None where nobody did."""
    for entry in reversed(incident.journal.entries()):
        if entry.kind == "plan.made" and entry.data.get("execute", True):
            return None
        if entry.kind == "decision.made" and entry.data.get("kind") == FIX_FORWARD and entry.data.get("to"):
            return str(entry.data["to"])
    return None


def _stable_points(systems: Systems) -> list[StablePoint]:
    try:
        return systems.database.stable_points()
    except DatabaseError:
        return []


def _shown(figures: Mapping[str, object], name: str) -> object:
    value = figures.get(name)
    return "" if value is None else f"{value:.1%}" if name == "error_rate" and isinstance(value, float) else value
