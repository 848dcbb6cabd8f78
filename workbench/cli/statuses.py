"""The exit statuses of answers: what `--check` makes of verdicts, and of a search that fails."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.cli.output import Arguments, announce

if TYPE_CHECKING:
    from workbench.run.verdict import Verdict

EXIT_NO, EXIT_MISSED, EXIT_INVALID = 1, 3, 4  # 2 is a wrong command line, as argparse has it


def check_verdicts(verdicts: "Mapping[str, Verdict | None]") -> int:
    """Return the exit status of verdicts by name; say on stderr which are why it is not 0."""
    status = 0
    for name, verdict in verdicts.items():
        if verdict is None:
            announce(f"workbench: {name} has no target to be checked.")
            status = max(status, EXIT_MISSED)
        elif verdict.word != "met":
            announce(f"workbench: {name}: {verdict}.")
            status = max(status, EXIT_INVALID if verdict.word == "invalid" else EXIT_MISSED)
    return status


def feasibility_status(arguments: Arguments, *, feasible: bool) -> int:
    """Return the exit status of a search: of one that found nothing, what `--check` says of it."""
    if feasible:
        return 0
    return EXIT_MISSED if arguments.check else EXIT_NO
