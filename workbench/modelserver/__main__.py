"""`python -m workbench.modelserver serve`: what SageMaker runs as `docker run image serve`."""

import gc
import os
import signal
import sys

from workbench.modelserver.options import parse
from workbench.modelserver.parent_death import exit_with_parent
from workbench.modelserver.runtime_env import configure_runtime_env


def main() -> None:
    """Serve a model, and exit with 0 once asked to end; with 1 if it cannot be served."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # ignored by a first process otherwise
    gc.disable()  # until all is loaded: of what an import makes, next to nothing is garbage
    options = parse(sys.argv[1:], os.environ)
    if options.parent_death_pipe is not None:
        exit_with_parent(options.parent_death_pipe)
    configure_runtime_env()
    from workbench.modelserver.server import load, serve_and_exit
    from workbench.modelserver.tiny_numbers import flush_tiny_numbers

    flush_tiny_numbers()
    serve_and_exit(options, lambda: load(options.model, threads=options.threads))


if __name__ == "__main__":
    main()
