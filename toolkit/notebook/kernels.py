"""Kernels from a fork server: the one step of Jupyter's that is replaced is how a kernel's process is started.

Jupyter's own way to do this is a kernel provisioner, named in the kernel specification's metadata; ports, signals and
shutdown remain the local provisioner's.
"""

import os
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from toolkit.notebook.forkserver import ForkServer

PROVISIONER = "forked"
_server: ForkServer | None = None


def warm_up() -> ForkServer:
    """Start this process's fork server, once; its imports go on in the background."""
    global _server  # noqa: PLW0603  (papermill gives an engine no place of its own to keep it)
    if _server is None:
        _server = ForkServer()
    return _server


def cool_down() -> None:
    """End the fork server and its kernels. Safe to repeat."""
    global _server  # noqa: PLW0603
    if _server is not None:
        _server.close()
        _server = None


class ForkedProvisioner(LocalProvisioner):
    """Starts a kernel by a fork. All else (ports, signals, shutdown) is the local provisioner's."""

    process: Any  # a Popen in the parent class; ours has the same face

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        environment = {str(k): str(v) for k, v in (kwargs.get("env") or os.environ).items()}
        manager: Any = self.parent
        forked = warm_up().fork(manager.connection_file, environment, str(kwargs.get("cwd") or Path.cwd()))
        self.process, self.pid, self.pgid = forked, forked.pid, forked.pid
        return self.connection_info


class _ForkedSpecs(KernelSpecManager):
    """The kernel specification that was asked for, with our provisioner in its metadata."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        spec = super().get_kernel_spec(kernel_name)
        spec.metadata = {**spec.metadata, "kernel_provisioner": {"provisioner_name": PROVISIONER}}
        return spec


class ForkedKernelManager(AsyncKernelManager):
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _ForkedSpecs(parent=self.parent)
