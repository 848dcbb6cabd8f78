"""A process that ends when the one that wanted it is gone, however that one ended."""

import fcntl
import os
import select
import signal


def exit_with_parent(descriptor: int) -> None:
    """Have the system end this process when the pipe's other end is closed.

    The signal is sent by the kernel, so it reaches a process whatever its threads are doing. (The
    signal that Linux sends at a parent's death comes when the parent's *thread* ends.)
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which is to end the process
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([descriptor], [], [], 0)[0]:  # it was closed before anybody watched
        os._exit(1)
