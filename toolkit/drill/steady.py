"""What is normal in a sandbox, measured before anything breaks and recorded as production's last verification is.

Without it nobody could say what to go back to: the last stable version is what was recorded, never a constant.
"""

from collections.abc import Mapping
from typing import Any

from toolkit.adapters.systems import connect
from toolkit.drill.state import SandboxState
from toolkit.errors import ToolkitError, UsageError
from toolkit.places import sandbox_home
from toolkit.playbook import load_playbook
from toolkit.verify import measure_baseline

TARGET = "sandbox"


def record_steady_state(state: SandboxState, window_s: float) -> Mapping[str, Any]:
    """Watch the traffic for `window_s` seconds and record a stable point on the sandbox's database.

    Returns the figures: window_s, requests, failed, error_rate, p50_ms, p95_ms, rate_per_s. Raises PlatformError and
    DatabaseError: half a baseline is none. ToolkitError without traffic: nothing is normal of nothing.
    """
    book = load_playbook()
    systems = connect(book, book.target(TARGET, state.environment()))
    systems.database.prepare()
    baseline = measure_baseline(systems, window_s)
    figures: Mapping[str, Any] = baseline["steady_state"]
    if not figures["requests"]:
        trouble = (SandboxState.read(sandbox_home(state.name)) or state).trouble
        raise ToolkitError(
            trouble or f"No request was answered in {window_s:g} s, so nothing can be called normal",
            next="see that the senders send, then start a fresh sandbox",
        )
    systems.database.record_stable(int(baseline["migration_version"]), str(baseline["deployment"]), baseline)
    return figures


def expect_target() -> None:
    """UsageError when the playbook is malformed or has no target for a sandbox: told before one is started for it."""
    if TARGET not in (book := load_playbook()).targets:
        raise UsageError(
            f"There is no target {TARGET!r} in the playbook",
            state="nothing was done",
            next=f"add [targets.{TARGET}] (it has {', '.join(book.targets) or 'none'})",
        )
