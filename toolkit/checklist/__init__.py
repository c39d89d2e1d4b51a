"""The playbook's checklists: what a check can answer is answered by it, the rest a person ticks, by name and with time.

lists      the lists as data, word for word
facts      what the journal and its checks answer
standing   how each item stands, and when it is due
ticking    what people say: ticked, taken back, overridden with a reason

Everything is derived from the incident's journal and written to it, so that terminal, notebook and report agree.
"""

from toolkit.checklist.lists import Checklist, Checklists, Item, load_checklists
from toolkit.checklist.standing import ItemState, Standing, due_items, open_blocking, standings
from toolkit.checklist.ticking import override, tick, untick

__all__ = [
    "Checklist",
    "Checklists",
    "Item",
    "ItemState",
    "Standing",
    "due_items",
    "load_checklists",
    "open_blocking",
    "override",
    "standings",
    "tick",
    "untick",
]
