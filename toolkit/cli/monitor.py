"""`toolkit monitor`: watch one target until told to end, or look once. It shows what it sees, and opens incidents."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.acting import PlaybookPath, TargetName
from toolkit.cli.options import REPORTS, Json, examples

EXAMPLES = examples(
    "toolkit monitor --target production",
    "toolkit monitor --target production --once",
    "toolkit monitor --target sandbox --once --json",
)


def monitor(
    target: TargetName = "",
    once: Annotated[
        bool, typer.Option("--once", help="Look for some seconds, say what is seen, write nothing.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="With --once: how long to look.")] = 10,
    incident: Annotated[
        Path | None, typer.Option("--incident", help="Write to this incident only, and open it when it comes to that.")
    ] = None,
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Watch a target: signals, severity, who is to be called.

    It opens an incident by itself, in a folder of its own, and joins one that somebody declared. While all is well it
    writes nothing. Ctrl-C ends it. With --json: one object for each change, a line each.

    With --once: exit code 0 when every signal is well, 1 when one is breached, 3 when none is and some were not seen.
    """
    from toolkit.adapters.systems import connect
    from toolkit.cli.monitor_display import show_look, telling
    from toolkit.detect.logbook import Logbook
    from toolkit.detect.look import look_once
    from toolkit.detect.monitor import Ending, Monitor, watch
    from toolkit.incident import Incident
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None))
    if once:
        seen = look_once(systems, seconds)
        show_look(seen, systems, json=json)
        raise typer.Exit(1 if seen.breached else 3 if seen.unknown else 0)
    if incident is not None:
        incident.mkdir(parents=True, exist_ok=True)
        log = Logbook.of(Incident(incident))
    else:
        log = Logbook.following(REPORTS / "incidents", book.service.name)
    watching = Monitor(log, systems)
    with telling(watching, json=json) as told:
        watch(watching, Ending(), told)
