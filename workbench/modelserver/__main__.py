"""`python -m workbench.modelserver serve`: what SageMaker runs as `docker run image serve`."""

import os
import signal
import sys

from workbench.modelserver.options import parse
from workbench.modelserver.parent_death import end_with
from workbench.modelserver.runtime_env import settle_surroundings


def main() -> None:
    """Serve a model, and exit with 0 once told to end; with 1 if it cannot be served."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # ignored by a first process otherwise
    options = parse(sys.argv[1:], os.environ)
    if options.lifeline is not None:
        end_with(options.lifeline)
    settle_surroundings()
    from workbench.modelserver.server import live, load

    live(options, lambda: load(options.model, threads=options.threads))


if __name__ == "__main__":
    main()
