"""The commands by name: what each does, examples that its help ends with, and where it is.

A module is imported when its command is used, so that none waits for what it does not need.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command: a phrase of what it does, examples, and the module of `workbench.cli` with it.

    `actions` tells whether it has commands of its own, which then have its options.
    """

    about: str
    examples: str
    module: str = ""
    actions: bool = False

    def add(self, name: str, parser: argparse.ArgumentParser) -> None:
        """Add the options of the command of this name to its parser."""
        module = import_module(f"workbench.cli.{self.module or name}")
        getattr(module, f"add_{name.replace('-', '_')}")(parser)


EXAMPLES = """
  workbench demo
  workbench plan digits-mlp-wide --rate 200 --slo 100ms
  workbench run digits-mlp-wide --rate 200 --policy 1 --policy 16/20ms --slo 100ms
  workbench registry list"""
"""Examples of the command without any of its own."""

COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "run no batching against batching for real, under bursts, and write a report",
        """
  workbench demo
  workbench demo --duration 20s --out reports/longer
  workbench demo --json > demo.json""",
        "run",
    ),
    "plan": Command(
        "find the cheapest way to meet a latency target, and why the others lost",
        """
  workbench plan digits-mlp-large --rate 50 --slo 100ms
  workbench plan digits-mlp-large --trace azure-llm-2023-code --slo 200ms --on lambda --json
  workbench plan digits-mlp-large --rate 200 --burst 8 --duration 2h --slo 200ms --scaled \\
    --hybrid --forecaster persistence --forecaster ridge:season=1h""",
    ),
    "predict": Command(
        "say by a formula what would happen, where one exists: exact, and at once",
        """
  workbench predict digits-mlp-wide --rate 200 --burst 1 --policy 1 --slo 50ms
  workbench predict digits-mlp-wide --rate 200 --on serverless --memory-mb 2048 --check""",
        "experiments",
    ),
    "simulate": Command(
        "say what would happen, in virtual time: a day in seconds, and at no cost",
        """
  workbench simulate digits-mlp-wide --rate 300 --burst 6 --policy 1 --policy 16/20ms --slo 100ms
  workbench simulate digits-mlp-large --trace azure-llm-2023-code --rate 200 \\
    --on real-time --instance-type ml.m5.large --scaling target-tracking:target=600,most=4
  workbench simulate digits-mlp-large --rate 200 --burst 8 --on real-time \\
    --instance-type ml.m5.large --overflow lambda:memory=1769 --spill in-flight:2 --json""",
        "experiments",
    ),
    "run": Command(
        "run a model under an open-loop load, on this machine or on a cloud",
        """
  workbench run digits-mlp-wide --rate 200 --burst 6 --policy 1 --policy 16/20ms --slo 100ms
  workbench run digits-forest:1 --rate 500 --duration 30s --workers 2 --out runs/forest
  workbench run digits-mlp-large --trace arrivals.csv --policy 8/25ms
  workbench run digits-mlp-large --trace log.jsonl --column ts --unit ms
  workbench run digits-mlp-large --trace counts.txt --count-period 1s --rate 50
  workbench run digits-mlp-large --rate 50 --on serverless --memory-mb 2048 --max-concurrency 20
  workbench run digits-mlp-large --rate 50 --on real-time --instance-type ml.m5.large --cloud aws
  workbench run digits-mlp-large --rate 50 --on batch-transform --instance-type ml.m5.large
  workbench run digits-mlp-large --trace azure-llm-2023-code --rate 100 --duration 60s""",
    ),
    "sweep": Command(
        "simulate, predict or run every combination of several values",
        """
  workbench sweep digits-mlp-large --rate 50 200 --on lambda --memory-mb 512 1024 2048
  workbench sweep digits-mlp-wide --policy 1 8/10ms 16/20ms --workers 1 2 --processes 2 --out grid
  workbench sweep digits-mlp-wide --burst 1 --policy 1 --rate 50 100 200 --how predict --json""",
    ),
    "compare": Command(
        "put saved runs side by side: latencies, cost, and whether each met its target",
        """
  workbench compare runs/no-batching runs/up-to-8-25-ms
  workbench compare today=runs/a "twice the traffic=runs/b" --out comparison.csv
  workbench compare runs/a --check""",
    ),
    "traces": Command(
        "list public traces, or describe traffic and write it as a file",
        """
  workbench traces
  workbench traces log.jsonl --column ts --unit ms --sort
  workbench traces azure-llm-2023-code --duration 10min --out code.parquet
  workbench traces --rate 50 --burst 8 --duration 1h --seed 3 --out bursts.csv""",
    ),
    "transform": Command(
        "have a model answer every row of a file",
        """
  workbench transform digits-mlp-wide rows.csv --out answers.csv
  workbench transform my-model rows.csv --columns a,b --schema id=text --out answers.parquet""",
    ),
    "profile": Command(
        "measure how long batches of each size take on this machine",
        """
  workbench profile digits-mlp-wide
  workbench profile digits-mlp-wide --again
  workbench profile digits-forest --batch-sizes 1,8,64 --threads 1,2 --out profiles/forest""",
        "run",
    ),
    "select": Command(
        "say which model to run, where, and why",
        """
  workbench select --need task=digits --min accuracy=0.9 --slo 50ms --rate 100
  workbench select --need task=digits --max size_bytes=1e6 --slo 50ms --trace arrivals.csv \\
    --weights accuracy=0.7,cost=0.3 --json
  workbench select digits-logistic digits-forest --slo 50ms --rate 100 --target 0.95""",
        "selection",
    ),
    "idle": Command(
        "tell what it costs to keep an instance for calls that seldom come, and what not to",
        """
  workbench idle my-endpoint --since 14d --cold-start 4s
  workbench idle --trace arrivals.csv --on serverless --memory-mb 2048 --max-concurrency 20
  workbench idle --trace log.jsonl --on real-time --instance-type ml.m5.large --hours 8-18""",
        "idleness",
    ),
    "report": Command(
        "write one HTML file about saved runs or from a template, which opens without internet",
        """
  workbench report reports/demo/no-batching reports/demo/batching --profile reports/demo/profile
  workbench report runs/forest/no-batching --out forest.html --title "Random forest"
  workbench report --list
  workbench report scaling -p model=digits-mlp-large -p rate=200
  workbench report capacity -p model=digits-mlp-large --sweep grid.toml --processes 2 -o reports
  workbench report my-own.ipynb runs/a runs/b --notebook report.ipynb""",
    ),
    "runs": Command(
        "list or delete the runs that the app keeps",
        """
  workbench runs
  workbench runs --delete digits-mlp-wide-20261126-101500-3fa2""",
    ),
    "registry": Command(
        "see, add and approve models",
        """
  workbench registry list
  workbench registry register my-model model.onnx --task fraud --why "first try"
  workbench registry approve my-model:1 --why "tested on last week's data"
  workbench registry history my-model:1
  workbench registry push my-model
  workbench registry verify""",
        "models",
        actions=True,
    ),
    "monitor": Command(
        "show what a cloud has of an endpoint, and whether inputs have drifted",
        """
  workbench monitor metrics my-endpoint --since 3h
  workbench monitor logs my-endpoint --search ERROR
  workbench monitor trail my-endpoint
  workbench monitor alarms my-endpoint
  workbench monitor drift my-model rows.csv
  workbench monitor drift my-model --endpoint my-endpoint --since 1h""",
        actions=True,
    ),
    "doctor": Command(
        "check that a model can be served as AWS serves models, before any deploy",
        """
  workbench doctor digits-mlp-wide
  workbench doctor digits-mlp-wide:1 --rows 64 --json""",
        "cloud",
    ),
    "serve": Command(
        "answer other programs by one or several models, until Ctrl-C",
        """
  workbench serve digits-mlp-wide --port 8000
  workbench serve digits-logistic,digits-mlp-wide --router cascade --threshold 0.99
  curl --data-binary @rows.csv -H 'Content-Type: text/csv' http://127.0.0.1:8000/invocations""",
    ),
    "lesson": Command(
        "take a lesson: traffic from your name, a guess, and what comes out; or lead one",
        """
  workbench lesson cold-starts --name Ada
  workbench lesson cold-starts --name Ada --guess cold=20 --guess p95=1
  workbench lesson --collect answers --out class.svg
  workbench lesson --slides slides --pdf""",
    ),
    "app": Command(
        "serve the app as a page for a classroom, until Ctrl-C",
        """
  workbench app
  workbench app --preset cold-starts --ip 0.0.0.0 --port 8080""",
    ),
    "lab": Command(
        "copy the notebooks into a folder and open JupyterLab there",
        """
  workbench lab
  workbench lab ~/notebooks
  workbench lab ~/notebooks --copy""",
    ),
    "local-cloud": Command(
        "answer as AWS does, on this machine, until Ctrl-C",
        """
  workbench local-cloud
  workbench local-cloud --path clouds/mine --port 4566
  workbench local-cloud --cold-start snapshot --keep-alive 30s""",
        "cloud",
    ),
    "teardown": Command(
        "end what a crash left running on clouds",
        """
  workbench teardown --list
  workbench teardown""",
        "cloud",
    ),
    "prices": Command(
        "show the prices that costs are made of, or refresh them from AWS",
        """
  workbench prices
  workbench prices show --region eu-central-1 --json
  workbench prices refresh
  workbench prices refresh --region eu-central-1 --aws-profile mine""",
    ),
    "completion": Command(
        "print a script that completes commands and options at the Tab key",
        """
  source <(workbench completion bash)
  workbench completion zsh > ~/.zfunc/_workbench
  workbench completion fish > ~/.config/fish/completions/workbench.fish""",
    ),
}
"""All commands, those that answer the most asked first."""


def make_parser(
    named: str | None, kind: type[argparse.ArgumentParser], version: str
) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the options of the one named; None: of each."""
    parser = kind(
        prog="workbench",
        description="Run a model under real load, here or on a cloud; see latency and cost.",
        **_describe(EXAMPLES, STATUSES),
    )
    parser.add_argument("--version", action="version", version=version)
    show_help(parser)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, each in COMMANDS.items():
        made = commands.add_parser(
            name, help=each.about, description=f"{sentence(each.about)}", **_describe(each.examples)
        )
        if not each.actions:
            add_printing(made)
        if named in (None, name):
            each.add(name, made)
    return parser


STATUSES = """
exit status:
  0    done, and with --check: every target is met
  1    the answer is no: no plan meets the target, no model passes, a file is damaged or unfit
  2    an error, which is said in a line
  3    with --check: a target is missed, or the requests are too few to tell
  4    with --check: a run is invalid or incomplete
  130  interrupted by Ctrl-C; what was measured until then is kept
  141  whoever read the output has closed it"""
"""What the exit statuses mean."""


def sentence(about: str) -> str:
    """Return a phrase as a sentence."""
    return f"{about[0].upper()}{about[1:]}."


def show_help(parser: argparse.ArgumentParser) -> None:
    """Have a command that is given nothing print its help."""

    def print_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(command=print_help)


def add_action(
    actions: Any,  # noqa: ANN401 - argparse does not name what it returns
    name: str,
    about: str,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Return the parser of a command of a command, which has its options for printing."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=about, description=sentence(about), allow_abbrev=False
    )
    add_printing(parser)
    parser.set_defaults(command=command)
    return parser


def add_printing(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands have."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def _describe(examples: str, more: str = "") -> dict[str, Any]:
    """Return how a command's help ends: with its examples."""
    return {
        "epilog": f"examples:{examples}" + (f"\n{more}" if more else ""),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
