"""Drives the stand-ins with the official clients of what they stand in for.

Needs Node.js and the package registry, so these tests run only when they are asked for: `make test-clients`, that is
`pytest -m clients`. Without either they are skipped, and the reason is shown.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # for the stand-in's starter and the fake service


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out unless an expression names them: they install software."""
    here = Path(__file__).parent
    if "clients" in (config.getoption("-m") or "").replace("not clients", ""):
        return
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason="needs Node.js and the network: make test-clients runs it"))


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js; skips, loudly, where it or npm is not there."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if not found or not npm:
        pytest.skip("Node.js and npm are not there: the official client did NOT check the stand-in")
    return found
