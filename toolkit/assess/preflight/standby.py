"""What must lie ready before it is needed: a version to go back to, a deployment, backups, practice, people."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from toolkit.adapters.systems import Systems
from toolkit.checks import Finding, failed, judge, passed, unknown
from toolkit.errors import PlatformError, RollbackError
from toolkit.playbook.check import check_playbook
from toolkit.playbook.document import DEFAULT_PATH
from toolkit.rollback.backup.keeping import Kept, find_backups
from toolkit.rollback.backup.verified import Level
from toolkit.rollback.kept_plan import unfinished_plans
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.state_tables import read_state
from toolkit.rollback.target_version import last_stable, version_of

FRESH_WITHIN = timedelta(hours=24)
RESTORED_WITHIN = timedelta(days=31)
MONTH = timedelta(days=31)
SCORE = "score.json"
PEOPLE = ("contacts", "escalation", "review.contacts_checked")


def stable_point(systems: Systems) -> Finding:
    """`--last-stable` goes to it: the version that is live now, or one that the downs lead to."""
    folder = read_folder(systems.target.migrations)
    state = read_state(systems.database, folder, systems.playbook.database.state_table)
    points = systems.database.stable_points()
    live = [each for each in points if version_of(each, folder) == state.version]
    if live:
        return passed(f"{state.said} was verified at {live[0].verified_at:%Y-%m-%d %H:%M}Z with {live[0].deployment}")
    try:
        point = last_stable(points, state, folder)
    except RollbackError as error:
        return failed(f"{state.said}; {error.what}")
    return passed(f"{state.said} was never verified; the downs lead to version {point.version}, which was")


def earlier_deployment(systems: Systems) -> Finding:
    """One that served production before, and that the vendor still has."""
    if systems.target.platform == "none":
        return passed("the playbook names no platform")
    try:
        live = systems.platform.production(systems.production_host)
        others = [each for each in systems.platform.deployments(limit=50) if each.id != live.id and each.ready]
    except PlatformError as error:
        return unknown(error.what)
    able = [each for each in others if each.is_rollback_candidate is not False]
    named = f", such as {able[0].id}" if able else ""
    return judge(bool(able), f"{len(able)} that are ready beside {live.id}{named}")


def nothing_begun(systems: Systems) -> Finding:
    found = unfinished_plans(systems.database)
    return judge(not found, "; ".join(each.plan.summary for each in found) or "none")


def backups(systems: Systems, reports: Path) -> Sequence[Kept]:
    """Those of this target on this machine, whole by their sizes, the newest first."""
    folders = [each for each in (systems.target.backups, reports) if each and each.is_dir()]
    found, _ = find_backups(folders)
    return [each for each in found if each.manifest.target == systems.target.name and not each.damage]


def fresh(found: Sequence[Kept], now: datetime) -> Finding:
    if not found:
        return failed("no backup of this target was found here")
    return judge(now - found[0].created_at <= FRESH_WITHIN, f"the newest is {_age(found[0], now)} old")


def restored(found: Sequence[Kept], now: datetime) -> Finding:
    """A backup that nobody has restored is a hope."""
    proved = [each for each in found if each.level >= Level.RESTORED]
    if not proved:
        return failed(f"none of {len(found)} was restored by way of trial")
    newest = proved[0]
    told = f"the newest that was {newest.level.title} is {_age(newest, now)} old"
    return judge(now - newest.created_at <= RESTORED_WITHIN, told)


def _age(kept: Kept, now: datetime) -> str:
    hours = (now - kept.created_at).total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def last_drill(systems: Systems, reports: Path, now: datetime) -> Finding:
    """The newest that passed, held against the schedule of the playbook."""
    passed_at = [at for path in (reports / "drills").glob(f"*/{SCORE}") if (at := _passed_at(path))]
    every = min((each.every_months for each in systems.playbook.drills), default=1)
    if not passed_at:
        return failed("no drill that passed was found here")
    newest = max(passed_at)
    told = f"the newest that passed was on {newest:%Y-%m-%d}; one is due every {every} months"
    return judge(now - newest <= every * MONTH, told)


def _passed_at(path: Path) -> datetime | None:
    """When a drill was scored; None for one that did not pass, and for what cannot be read."""
    try:
        score = json.loads(path.read_text())
        good = score["outcome"] == "resolved" and score["verified"] and not score["lost"]
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if good else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def contacts(systems: Systems, now: datetime) -> Finding:
    """Numbers that can be called, and that somebody has called lately."""
    faults = check_playbook(systems.playbook.folder / DEFAULT_PATH, now.date())
    mine = [each for each in faults if each.key.startswith(PEOPLE)]
    first = f", the first {mine[0].key} in line {mine[0].line}" if mine else ""
    return judge(not mine, f"{len(mine)} keys are to be written{first}" if mine else "filled in, and in date")
