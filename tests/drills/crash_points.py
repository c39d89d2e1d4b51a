"""The named points inside each kind of step at which the crash matrix strikes: functions of the engine, and when.

A point that is not passed fails its cell, so a function that is renamed or no longer called does not go unnoticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Place = Literal["in", "past", "commit", "while"]


@dataclass(frozen=True)
class Point:
    """A moment in a step. `target` is 'module:name' as its caller finds it; the `nth` time counts.

    `place`: 'in' as it is called, 'past' as it returns, 'commit' as the transaction in which it was called is about to
    commit, 'while' it runs and something of a copy stands already.
    """

    name: str
    place: Place
    target: str
    nth: int = 1


_R = "toolkit.rollback"
_COMMITS = Point("about to commit", "commit", f"{_R}.steps.script_runs:finished")
_STATEMENTS_RAN = Point("statements ran", "past", f"{_R}.steps.script_runs:ScriptRun._statements")
_LOADING = Point("loading", "while", "toolkit.adapters.pgtools:PgTools.restore")
_WHOLE = Point("about to be called whole", "commit", f"{_R}.restore.beside:keep_restored", nth=2)

# By a step's action; with its way, or how its script runs, where that makes it another thing.
POINTS: Mapping[str, tuple[Point, ...]] = {
    "run-down": (_STATEMENTS_RAN, _COMMITS),
    "run-down in parts": (
        Point("first part committed", "in", f"{_R}.steps.script_runs:ScriptRun._run_alone"),
        Point("lone statement begun", "in", f"{_R}.steps.script_runs:ScriptRun._singly"),
        Point("lone statement ran", "past", f"{_R}.steps.script_runs:ScriptRun._singly"),
        _COMMITS,
    ),
    "mend": (_STATEMENTS_RAN, _COMMITS),
    "migrate-up": (_STATEMENTS_RAN, _COMMITS),
    "point-production": (
        Point("asked for", "past", "toolkit.adapters.vercel_switch:Switch._ask"),
        Point("switched", "past", "toolkit.adapters.vercel:VercelClient.rollback"),
    ),
    "freeze-writes": (
        Point("about to commit the revoking", "commit", f"{_R}.freeze.stopping:_revoke_in"),
        Point("writers to be ended", "in", f"{_R}.freeze.stopping:_settle"),
        Point("about to commit the proof", "commit", f"{_R}.freeze.proof:mark_proved"),
    ),
    "release-writes": (Point("about to commit", "commit", f"{_R}.freeze.releasing:give_back"),),
    "release-effects": (Point("about to commit", "commit", f"{_R}.steps.release_effects:release_queue"),),
    "verify-frozen": (Point("looked", "past", f"{_R}.steps.verify_frozen:run_checks"),),
    "back-up": (
        Point("dumping", "in", f"{_R}.backup.database_dump:DatabaseDump._prove_meanwhile"),
        Point("about to be called whole", "past", f"{_R}.backup.emergency:keep_private"),
    ),
    "end-sessions": (
        Point("ended", "past", f"{_R}.steps.end_sessions:EndingSessions._end_all"),
        Point("about to commit", "commit", f"{_R}.steps.end_sessions:prepare_tables"),
    ),
    "restore-beside by schemas": (_LOADING, _WHOLE),
    "restore-beside by databases": (_LOADING, _WHOLE),
    "restore-beside by reload": (_LOADING, _WHOLE),
    "swap-in by schemas": (
        Point("about to commit the first merge", "commit", f"{_R}.restore.swap_schemas:prepare_merge"),
        Point("changing names", "past", f"{_R}.restore.swap_schemas:exchange"),
        Point("about to commit", "commit", f"{_R}.restore.swap_schemas:keep_swap"),
    ),
    "swap-in by databases": (
        Point("closed", "past", f"{_R}.restore.swap_databases:close_to_all"),
        Point("about to commit the merge", "commit", f"{_R}.restore.swap_databases:keep_swap"),
        Point("about to change names", "in", f"{_R}.restore.swap_databases:_rename"),
        Point("about to commit the names", "past", f"{_R}.restore.swap_databases:open_to_all", nth=2),
    ),
    "swap-in by reload": (
        Point("damaged rows kept aside", "past", f"{_R}.restore.reload:_keep_aside"),
        Point("about to commit", "commit", f"{_R}.restore.reload:keep_swap"),
    ),
}
