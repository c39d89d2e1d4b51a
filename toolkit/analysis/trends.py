"""Trends over drills and real incidents, as tables: the playbook's four metrics, scenarios, pairs, parts. Pure.

Drills and incidents are counted apart. Medians and their intervals, never a mean; where there are too few to tell, it
is said how many more it takes (`few_figures`).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from toolkit.analysis.few_figures import middle, paired
from toolkit.analysis.history import DRILL, INCIDENT, History

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]
TIMES = {"detect_s": "time to detection", "resolve_s": "time to resolution"}
NOT_IN_A_JOURNAL = "in no journal: see the post-mortem of each"


def summary(history: History) -> list[Row]:
    """How much there is of each kind, since when, and what could not be read."""
    rows: list[Row] = []
    for kind in (DRILL, INCIDENT):
        found = history.of(kind)["at"]
        span = f"{found.min():%Y-%m-%d} to {found.max():%Y-%m-%d}" if len(found) else ""
        rows.append({"": f"{kind}s", "count": len(found), "from when to when": span})
    return [*rows, *({"": "not read", "count": "", "from when to when": each} for each in history.unread)]


def metrics(history: History) -> list[Row]:
    """The playbook's critical metrics, a row each, with a column for drills and one for real incidents.

    Migrations are those that this toolkit ran: downs, mendings, ups after a restore. Forward ones are the team's
    tool's.
    """
    rows: list[Row] = []
    for name, many, done in (
        ("migration success rate", "migrations", "migrations_done"),
        ("rollback success rate", "rollbacks", "rollbacks_done"),
    ):
        rows.append({"metric": name} | {f"{k}s": _rate(history.of(k), many, done) for k in (DRILL, INCIDENT)})
    for column, name in TIMES.items():
        found: dict[str, object] = {
            f"{kind}s": middle(_values(history.of(kind), column)).told() for kind in (DRILL, INCIDENT)
        }
        if column == "detect_s" and len(history.of(INCIDENT)):
            found["incidents"] = NOT_IN_A_JOURNAL
        rows.append({"metric": name} | found)
    return rows


def _rate(events: "pd.DataFrame", many: str, done: str) -> str:
    total, went = int(events[many].fillna(0).sum()), int(events[done].fillna(0).sum())
    return f"{went / total:.0%} ({went} of {total})" if total else "none"


def _values(events: "pd.DataFrame", column: str) -> list[float]:
    return [float(value) for value in events[column].dropna()]


def by_scenario(history: History) -> list[Row]:
    """A row a scenario: how many drills, how many passed, and the medians of both times."""
    rows: list[Row] = []
    for name, drills in history.of(DRILL).groupby("scenario"):
        passed = f"{int(drills['passed'].fillna(False).sum())} of {len(drills)}"
        times = {label: middle(_values(drills, column)).told() for column, label in TIMES.items()}
        rows.append({"scenario": str(name), "passed": passed} | times)
    return rows


def since_last_version(history: History, column: str = "resolve_s") -> list[Row]:
    """What became slower since the version before: drills of the same scenario and seed, in pairs. [] without two
    versions. Of several drills of one version the newest counts."""
    drills = history.of(DRILL)
    versions = list(dict.fromkeys(drills["version"]))  # oldest first, as they were first played
    if len(versions) < 2:
        return []
    early, late = (_newest(drills[drills["version"] == version], column) for version in versions[-2:])
    rows: list[Row] = []
    for name, keys in _scenarios(early, late):
        found = paired([early[key] for key in keys], [late[key] for key in keys])
        told = {"pairs": found.n, "slower": found.slower, "quicker": found.quicker}
        change = found.change.told() if found.n else "none"
        rows.append({"scenario": name} | told | {"change, median": change, "verdict": found.verdict})
    return rows


Key = tuple[str, int]


def _newest(drills: "pd.DataFrame", column: str) -> dict[Key, float]:
    known = drills.dropna(subset=[column, "seed"]).sort_values("at")
    return {
        (str(scenario), int(seed)): float(value)
        for scenario, seed, value in zip(known["scenario"], known["seed"], known[column], strict=True)
    }


def _scenarios(early: dict[Key, float], late: dict[Key, float]) -> Iterator[tuple[str, list[Key]]]:
    """All of them first, then each by itself."""
    both = sorted(early.keys() & late.keys())
    yield "all", both
    for name in sorted({scenario for scenario, _ in both}):
        yield name, [key for key in both if key[0] == name]


def parts(history: History) -> list[Row]:
    """Which part of a drill takes the time: the median of each, the longest first, and its share of all medians."""
    middles = {str(step): middle(_values(found, "seconds")) for step, found in history.steps.groupby("step")}
    total = sum(each.median or 0 for each in middles.values())
    ordered = sorted(middles.items(), key=lambda item: -(item[1].median or 0))
    return [
        {"part": step, "drills": each.n, "median": each.told(), "share": f"{(each.median or 0) / total:.0%}"}
        for step, each in ordered
        if total
    ]
