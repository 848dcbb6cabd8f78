"""How a Jupyter server gets its kernels as copies of a prepared one."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Instance

from workbench.errors import NotAvailable
from workbench.widgets.prepared_kernel import KernelOrder, PreparedKernel

if TYPE_CHECKING:
    import subprocess
    from importlib.metadata import EntryPoint

_NAME = "workbench-forked"


class ForkedProvisioner(LocalProvisioner):
    """Makes a kernel by copying a prepared one; the rest is as for any kernel of this machine."""

    prepared = Instance(PreparedKernel)

    async def launch_kernel(
        self,
        cmd: list[str],
        **arguments: Any,  # noqa: ANN401 - Jupyter's
    ) -> KernelConnectionInfo:
        """Have a kernel that listens where its connection file says, and takes what follows that.

        Where what was prepared has ended, as of too little memory, it is one that shares nothing.
        """
        given = cmd[cmd.index("-f") :]
        folder = arguments.get("cwd") or str(Path.cwd())  # the copied process has its own
        order = KernelOrder(given, folder, dict(arguments["env"]))
        try:
            forked = self.prepared.fork(order)
        except NotAvailable as error:
            self.log.warning(f"{error} Visitors share no memory now.")
            return await super().launch_kernel(cmd, **arguments)
        self.process, self.pid = cast("subprocess.Popen[bytes]", forked), forked.pid
        return self.connection_info


def fork_kernels(prepared: PreparedKernel) -> None:
    """Have all kernels that this process starts from now on be copies."""
    factory = KernelProvisionerFactory.instance()
    make = partial(ForkedProvisioner, prepared=prepared)
    entry = SimpleNamespace(load=lambda: make)  # what Jupyter takes for an installed entry point
    factory.provisioners[_NAME] = cast("EntryPoint", entry)
    factory.default_provisioner_name = _NAME
