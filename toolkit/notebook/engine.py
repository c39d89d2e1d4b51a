"""A papermill engine whose kernels come from a fork server; `papermill --engine forked` finds it by its entry point.

papermill loads this while it is being imported itself, so nothing but papermill may import it.
"""

from typing import Any

from papermill.engines import NBClientEngine

from toolkit.notebook.kernels import ForkedKernelManager


class ForkedEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """papermill's own engine, with kernels from the fork server."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        return super().execute_managed_notebook(nb_man, kernel_name, kernel_manager_class=ForkedKernelManager, **kwargs)
