"""`toolkit postmortem`: write the post-mortem of a folder of evidence, again and again."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Json, examples, print_json

EXAMPLES = examples("toolkit postmortem reports/drills/…", "toolkit postmortem DIR --json")


def postmortem(
    folder: Annotated[Path, typer.Argument(help="An incident's or a drill's folder.")],
    playbook: Annotated[str, typer.Option(help="The playbook of the service.")] = "",
    json: Json = False,
) -> None:
    """Write postmortem.md, postmortem.html and the figures from what the folder holds."""
    from toolkit.analysis import analyse
    from toolkit.incident import Incident
    from toolkit.playbook import load_playbook
    from toolkit.report import write_postmortem

    book = load_playbook(playbook or None)
    Incident.at(folder)
    report = write_postmortem(analyse(folder, book))
    if json:
        print_json({"markdown": str(report.markdown), "html": str(report.html)})
    else:
        typer.echo(f"{report.markdown}\n{report.html}")
