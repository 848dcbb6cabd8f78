"""`python -m workbench.cloud.container serve`: what SageMaker runs as `docker run image serve`."""

import os
import signal
import sys

from workbench.cloud.container.lifeline import end_with
from workbench.cloud.container.options import parse


def main() -> None:
    """Serve a model, and exit with 0 once told to end; with 1 if it cannot be served."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # ignored by a first process otherwise
    options = parse(sys.argv[1:], os.environ)
    if options.lifeline is not None:
        end_with(options.lifeline)
    # Set before NumPy loads: its own pool of threads would only wait, and forbids forking.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from workbench.cloud.container.engine import CannotLoad
    from workbench.cloud.container.serving import load, serve

    try:
        serve(load(options), options)
    except (CannotLoad, OSError) as error:
        sys.exit(str(error))
    sys.stderr.flush()
    os._exit(0)  # a model that hangs in its thread must not keep the process


if __name__ == "__main__":
    main()
