"""A click reaches the journal: a real kernel, spoken to as JupyterLab does. Asked as papermill asks, it is a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from toolkit.clock import wait_until
from toolkit.incident import Incident
from toolkit.playbook import Severity

ROOT = Path(__file__).parents[2]
CELL = """
from toolkit.incident import Incident
from toolkit.notebook.checklists import show_checklist
from toolkit.playbook import load_playbook

show_checklist(Incident.at({folder!r}), load_playbook({playbook!r}), "pre-rollback", by="Jo")
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    found = Incident(tmp_path)
    found.open(Severity.P0, ["x"], actor="monitor")
    return found


def run(kernel: BlockingKernelClient, incident: Incident, metadata: dict[str, str]) -> list[dict[str, Any]]:
    """All that the kernel published for the cell."""
    code = CELL.format(folder=str(incident.folder), playbook=str(ROOT / "playbook.toml"))
    request = kernel.session.msg("execute_request", {"code": code, "silent": False}, metadata=metadata)
    kernel.shell_channel.send(request)
    heard: list[dict[str, Any]] = []
    while True:
        message = kernel.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
            continue
        heard.append(message)
        if message["msg_type"] == "error":
            raise AssertionError(message["content"]["evalue"])
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return heard


def shown(heard: list[dict[str, Any]]) -> set[str]:
    return {mime for each in heard if each["msg_type"] == "display_data" for mime in each["content"]["data"]}


def test_a_click_is_journaled_with_the_name_in_the_field(kernel: BlockingKernelClient, incident: Incident) -> None:
    heard = run(kernel, incident, {"cellId": "the-cell"})
    assert WIDGET in shown(heard)
    opened = [each["content"] for each in heard if each["msg_type"] == "comm_open"]
    box = next(e for e in opened if e["data"]["state"].get("description") == "Stakeholders notified")
    update = {"method": "update", "state": {"value": True}, "buffer_paths": []}
    kernel.shell_channel.send(kernel.session.msg("comm_msg", {"comm_id": box["comm_id"], "data": update}))
    wait_until(lambda: incident.latest("checklist.ticked"), within=30, what="the tick", every=0.05)
    entry = incident.latest("checklist.ticked")
    assert entry is not None and (entry.data["item"], entry.data["by"]) == ("pre.stakeholders", "Jo")


def test_where_nobody_can_click_it_is_a_table(kernel: BlockingKernelClient, incident: Incident) -> None:
    mimes = shown(run(kernel, incident, {}))
    assert "text/html" in mimes and WIDGET not in mimes
