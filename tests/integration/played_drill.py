"""Stands in for `toolkit drill run` where a test is about campaigns: takes its options and leaves a drill's folder.

It waits for a file `go` beside the campaign's drills when one of its folder is called 'wait': so a test decides when.
"""

import json
import os
import sys
import time
from pathlib import Path

from toolkit.incident import Incident
from toolkit.lifeline import tie
from toolkit.playbook import Severity

SCORE = {
    "outcome": "resolved",
    "verified": True,
    "severity": "P1",
    "time_to_detect_s": 2.0,
    "time_to_acknowledge_s": 3.0,
    "time_to_mitigate_s": 20.0,
    "time_to_resolve_s": 30.0,
    "requests": 1000,
    "failed_requests": 10,
    "acknowledged": 800,
    "lost": 0,
    "duplicated": 0,
    "unexpected": 0,
    "recovered": 0,
    "effects_wrong": 0,
    "downtime_s": 1,
    "degraded_s": 9,
    "checks": {"pass": 59, "fail": 0, "unknown": 0},
    "hypothesis": {"before": True, "during": False, "after": True},
    "phases": {"assess": 4.0, "roll back": 15.0},
    "journal_head": {"seq": 1, "hash": ""},
}


def main() -> None:
    tie()
    scenario, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2], strict=False))
    folder, seed = Path(options["--out"]), int(options["--seed"])
    folder.mkdir(parents=True)
    (folder / "pid").write_text(str(os.getpid()))
    home = folder.parents[3]  # the campaign's
    while (home / f"wait-{seed}").exists():
        time.sleep(0.02)
    incident = Incident(folder)
    incident.open(Severity.P1, ["requests fail"], actor="monitor")
    incident.record("step.done", {"step": "point-production", "seconds": 0.3}, actor="runner")
    failed = {"lost": 1} if (home / f"lose-{seed}").exists() else {}
    score = {"scenario": scenario, "seed": seed} | SCORE | failed
    (folder / "score.json").write_text(json.dumps(score))


if __name__ == "__main__":
    main()
