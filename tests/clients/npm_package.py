"""Installs a package from npm into the repository's cache, once, with its version pinned and without a lock file."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".work" / "clients"
INSTALL_WITHIN_S = 240


def installed_package(package: str, version: str) -> Path:
    """The folder of an npm package, installed once into the repository's cache; skips where it cannot be fetched."""
    home = CACHE / f"{package}-{version}"
    module = home / "node_modules" / package
    if not (home / "installed").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true}')
        argv = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--omit=optional"]
        npm_cache = home / "npm-cache"
        environment = dict(os.environ) | {"npm_config_cache": str(npm_cache), "npm_config_update_notifier": "false"}
        done = subprocess.run(
            [*argv, f"{package}@{version}"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN_S,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            pytest.skip(f"{package} {version} could not be installed ({last[0]}): it did NOT check the stand-in")
        shutil.rmtree(npm_cache, ignore_errors=True)
        (home / "installed").touch()
    return module
