"""A function's process in a local cloud: AWS's runtime interface client on the function's code.

`python -m workbench.modelserver.bootstrap --parent-death-pipe FD --announce FD`. Everything else
is in the variables that AWS sets too. On AWS the client is started by the runtime, or by the
image's entry point: `python -m awslambdaric`.
"""

import argparse
import os
import sys

from workbench.modelserver.parent_death import exit_with_parent


def main() -> None:
    """Answer events until this process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent-death-pipe", type=int, required=True)
    parser.add_argument("--announce", type=int, required=True)
    given = parser.parse_args()
    exit_with_parent(given.parent_death_pipe)
    os.close(given.announce)  # the Runtime API gets it instead
    root = os.environ["LAMBDA_TASK_ROOT"]
    os.chdir(root)
    sys.path.insert(0, root)
    for name in [name for name in sys.modules if name.partition(".")[0] == "workbench"]:
        del sys.modules[name]  # the function's own copy goes before this one
    from awslambdaric.__main__ import main as answer

    answer(["bootstrap", os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
