"""The update that is due, shown where a stage of a notebook ends. It sends nothing and never stops the work."""

from html import escape

from IPython.display import HTML, display

from toolkit.communicate.drafting import draft_message
from toolkit.communicate.outbox import Draft
from toolkit.errors import ToolkitError
from toolkit.notebook.desk import Desk
from toolkit.notebook.display import box
from toolkit.redaction import redact

_TEXT = "white-space:pre-wrap;border-left:6px solid #0072B2;padding:.6em 1em;background:rgba(128,128,128,.10)"


def show_update(desk: Desk) -> None:
    """Draft what is due and show it, who would get it, and the command that sends it. Whatever goes wrong is told."""
    if desk.incident.state is None:
        display(HTML("<p>No incident is open: nobody is to be told.</p>"))  # type: ignore[no-untyped-call]
        return
    try:
        draft = draft_message(desk.systems.playbook, desk.incident, actor=desk.operator)
    except (ToolkitError, OSError, ValueError, KeyError) as error:  # a message must not stand in the work's way
        box(escape(f"No update was drafted: {redact(str(error))}"), "#8a6d00")
        return
    text = escape(redact(draft.message.inside))
    display(  # type: ignore[no-untyped-call]
        {"text/html": f'<pre style="{_TEXT}">{text}</pre>', "text/plain": redact(draft.message.inside)}, raw=True
    )
    display(HTML(f"<p>{escape(_next(draft, desk))}</p>"))  # type: ignore[no-untyped-call]


def _next(draft: Draft, desk: Desk) -> str:
    names = ", ".join(each.audience.name for each in draft.deliveries)
    if draft.message.drill:
        return f"A drill's draft, sent to nobody. In an emergency it would be for {names}."
    return f"For {names}. To send it: toolkit update send {draft.id} --incident {desk.incident.folder} --target …"
