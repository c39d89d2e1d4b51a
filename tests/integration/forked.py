"""A test's own program, run as a fork of a process that has imported it: what must die alone, without its imports.

`python forked.py FILE` imports FILE; each line of JSON that it reads is a run of its `main`, the answer its exit code.
"""

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def run(file: str, *words: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`python FILE WORDS…` with the environment of the tests and that one; a negative code is the signal's."""
    process = _imported(file)
    assert process.stdin is not None and process.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        said, complained = Path(folder, "stdout"), Path(folder, "stderr")
        order = {"words": [file, *words], "environment": dict(os.environ) | dict(environment)}
        process.stdin.write(json.dumps(order | {"output": [str(said), str(complained)]}) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess([file, *words], code, said.read_text(), complained.read_text())


@cache
def _imported(file: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, __file__, file]
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None
    atexit.register(process.wait, 10)
    atexit.register(process.stdin.close)  # first: it ends the process
    return process


def _serve(file: str) -> None:
    found = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert found is not None and found.loader is not None
    program = importlib.util.module_from_spec(found)
    sys.modules[Path(file).stem] = program
    found.loader.exec_module(program)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _obey(program, json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _obey(program: Any, order: Mapping[str, Any]) -> None:
    """In the child, and never back."""
    code = 1
    try:
        for number, name in ((0, os.devnull), *enumerate(order["output"], 1)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = order["words"]
        program.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
