"""Checklists in a notebook: boxes to tick in JupyterLab, each written to the journal at the click; elsewhere a table.

Under papermill, and wherever nobody can click, the table says how it stands and the command that ticks. It decides
nothing: what may be ticked is `toolkit.checklist`'s to say, and what it refuses is shown beside the item.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from IPython.core.getipython import get_ipython

from toolkit.checklist import Checklists, Standing, load_checklists, override, standings, tick, untick
from toolkit.checklist.standing import SYMBOLS, TOOLKIT, ItemState, evidence_of
from toolkit.clock import utc_now
from toolkit.errors import ToolkitError
from toolkit.incident import Incident
from toolkit.notebook.display import box, show_table
from toolkit.playbook import Playbook
from toolkit.redaction import redact


def show_checklist(
    incident: Incident, playbook: Playbook, *names: str, by: str, planned: Mapping[str, object] | None = None
) -> None:
    """Show these lists. `by` is who works here; at a click the name in the field counts. `planned`: the plan that is
    about to be carried out, as the journal would keep it."""
    if somebody_can_click():
        from IPython.display import display

        display(ChecklistBoard(incident, playbook, names, by=by, planned=planned).widget)  # type: ignore[no-untyped-call]
        return
    found = standings(load_checklists(playbook), evidence_of(incident, playbook, planned), names)
    now = utc_now()
    show_table([each.row(now) for each in found])
    if waiting := [each for each in found if each.blocking]:
        named = "; ".join(f"{escape(each.item.text)} (<code>{each.item.id}</code>)" for each in waiting)
        box(
            f"A destructive step waits for: {named}. Tick: <code>toolkit checklist tick ID --by NAME --incident "
            f"{escape(str(incident.folder))}</code>",
            "#8a6d00",
        )


def somebody_can_click() -> bool:
    """Whether JupyterLab asked for this cell: it says which one. Neither papermill nor nbval does."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    asked = kernel.get_parent("shell") or {}
    return "cellId" in (asked.get("metadata") or {})


class ChecklistBoard:
    """The lists as widgets. `widget` is to be displayed; a click writes to the journal before it shows."""

    def __init__(
        self,
        incident: Incident,
        playbook: Playbook,
        names: Sequence[str],
        *,
        by: str,
        planned: Mapping[str, object] | None = None,
    ) -> None:
        import ipywidgets

        self._incident, self._playbook, self._planned = incident, playbook, planned
        self._lists: Checklists = load_checklists(playbook)
        self.name = ipywidgets.Text(value=by, description="Your name")
        self.rows: dict[str, _Row] = {}
        parts: list[Any] = [self.name]
        group = None
        for standing in standings(self._lists, self._evidence(), names):
            if (standing.checklist, standing.group) != group:
                group = (standing.checklist, standing.group)
                title = self._lists.named(standing.checklist).title
                parts.append(ipywidgets.HTML(f"<b>{escape(': '.join(filter(None, (title, standing.group))))}</b>"))
            row = self.rows[standing.item.id] = _Row(standing, self._tick, self._override)
            parts.append(row.widget)
        self._names = tuple(names)
        self.widget = ipywidgets.VBox(parts)

    def _evidence(self) -> Any:
        return evidence_of(self._incident, self._playbook, self._planned)

    def _tick(self, id: str, on: bool) -> None:
        name = self.name.value
        if on:
            self._say(id, lambda: tick(self._incident, self._playbook, self._lists, id, by=name))
        else:
            self._say(id, lambda: untick(self._incident, self._lists, id, by=name))

    def _override(self, id: str, reason: str) -> None:
        self._say(id, lambda: override(self._incident, self._lists, id, by=self.name.value, reason=reason))

    def _say(self, id: str, write: Callable[[], object]) -> None:
        refused = ""
        try:
            write()
        except ToolkitError as error:
            refused = str(error)
        for standing in standings(self._lists, self._evidence(), self._names):
            self.rows[standing.item.id].show(standing, refused if standing.item.id == id else "")


class _Row:
    """One item: its box, how it stands, and, while it is open and blocks, a reason to go on without it."""

    def __init__(
        self, standing: Standing, tick: Callable[[str, bool], None], override: Callable[[str, str], None]
    ) -> None:
        import ipywidgets

        self.box = ipywidgets.Checkbox(description=standing.item.text, indent=False)
        self.state = ipywidgets.HTML()
        self.reason = ipywidgets.Text(placeholder="why it may stay open")
        self.go_on = ipywidgets.Button(description="Override")
        self._id, self._tick, self._showing = standing.item.id, tick, False
        self.box.observe(self._clicked, names="value")
        self.go_on.on_click(lambda _button: override(self._id, self.reason.value))
        self.widget = ipywidgets.HBox([self.box, self.state, self.reason, self.go_on])
        self.show(standing)

    def show(self, standing: Standing, refused: str = "") -> None:
        """As the journal says."""
        self._showing = True
        self.box.value = standing.settled
        self._showing = False
        self.box.disabled = standing.by == TOOLKIT
        when = f" {standing.at:%H:%M}Z" if standing.at else ""
        told = f"{SYMBOLS[standing.state]} {standing.by}{when} {standing.evidence}{' (blocks)' * standing.blocking}"
        self.state.value = escape(redact(f"{told}{f' · {refused}' if refused else ''}"))
        wanted = "" if standing.blocking or standing.state is ItemState.FAILED else "none"
        self.reason.layout.display = self.go_on.layout.display = wanted

    def _clicked(self, change: Any) -> None:
        if not self._showing:
            self._tick(self._id, bool(change["new"]))
