"""An hour of steady traffic on a real sandbox raises nothing. `STEADY_SECONDS` makes it shorter, to see it pass."""

import os
import time
from pathlib import Path

import pytest

from toolkit.clock import wait_until
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.drill.steady import record_steady_state
from toolkit.incident import Incident

SECONDS = float(os.environ.get("STEADY_SECONDS", "3600"))
WINDOW_S = 10.0


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_steady_traffic_raises_no_alarm(tmp_path: Path) -> None:
    """Before the steady state is recorded the monitor has learnt its own; both are what it is held against."""
    with Sandbox.start("steady", SandboxOptions(evidence=tmp_path / "evidence"), attached=True) as sandbox:
        record_steady_state(sandbox.state, WINDOW_S)
        incident, end = Incident(sandbox.evidence), time.monotonic() + SECONDS

        def over() -> bool:
            sandbox.check()
            return incident.latest("signal.raised") is not None or time.monotonic() >= end

        wait_until(over, within=SECONDS + 60, what="the time to pass", every=5)
        entries = incident.journal.entries()
    raised = [(entry.at.isoformat(), dict(entry.data)) for entry in entries if entry.kind == "signal.raised"]
    assert not raised and incident.state is None, raised
    observed = [entry for entry in entries if entry.kind == "monitor.observed"]
    assert len(observed) > SECONDS / 4 and sum(entry.data["requests"] or 0 for entry in observed) > 20 * SECONDS
