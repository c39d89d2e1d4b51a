"""Plays one drill in a process of its own, so that what becomes of it harms no other.

The process ends with whoever plays: a worker that is killed takes its drill with it, sandbox and all (`lifeline`). A
worker of a cluster imports this module, and nothing of the campaign's but the folder reaches it.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.clock import iso, utc_now
from toolkit.drill.campaign.plan import Planned, read_score
from toolkit.lifeline import Lifeline, spawn

RUN_FILE = "run.json"
COMMAND = (sys.executable, "-m", "toolkit", "drill", "run")


def play(
    scenario: str, seed: int, folder: str, command: Sequence[str] = COMMAND, lifeline: Lifeline | None = None
) -> str:
    """Play it, unless a try at it counts already. Returns the folder of the try that was made, '' where none was.

    `command` is given the scenario and the options of `toolkit drill run`; it ends when `lifeline` is cut, without one
    when this process ends. Beside the drill's folder the try holds what was said, when it began and ended (UTC), on
    which machine, and the exit code.
    """
    planned = Planned(scenario, seed, Path(folder))
    if planned.counted() is not None:
        return ""
    place = planned.next_try()
    began, own = utc_now(), lifeline or Lifeline.create()
    argv = [*command, scenario, "--seed", str(seed), "--out", str(place / "drill"), "--json"]
    with (place / "said.log").open("wb") as said:
        code = spawn(argv, lifeline=own, stdout=said, stderr=subprocess.STDOUT).wait()
    if lifeline is None:
        own.cut()
    told = {"scenario": scenario, "seed": seed, "began": iso(began), "ended": iso(utc_now())}
    told |= {"machine": platform.node(), "exit_code": code, "scored": read_score(place) is not None}
    (place / RUN_FILE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return str(place)
