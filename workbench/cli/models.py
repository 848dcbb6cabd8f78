"""The commands of the registry."""

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from workbench.cli.arguments import (
    add_registry_path,
    model_of,
    parse_value,
    registry_of,
    version_of,
)
from workbench.cli.commands import add_action, show_help
from workbench.cli.options import account_of, add_options
from workbench.cli.output import Arguments, print_json, show
from workbench.cli.samples import read_samples
from workbench.cli.statuses import EXIT_NO
from workbench.formatting import Table, file_size, format_cell, format_fact
from workbench.progress import show_progress
from workbench.registry.adaptation import Adaptation
from workbench.registry.agreement import NOT_CHECKED, NOT_COMPARED
from workbench.registry.answers import Answer
from workbench.registry.api import STAGE, Registry
from workbench.registry.model import Model
from workbench.registry.onnx import check_model
from workbench.registry.zoo import NAMES, build

_WIDTH = 96  # characters of a line
_LABELS = {
    "batch_invariance": "answers in batches",
    "agreement": "answers of the file",
    "one_row": "takes one row a call",
    "user": "said of it",
}
_ARGUMENTS = {
    "model": "group, or group:version",
    "group": "of versions, as my-model",
    "file": "of the ONNX model",
    "task": "as digits",
}


def _list(arguments: Arguments) -> int:
    registry = registry_of(arguments)
    models = registry.models()
    text = models_table(models) if models else _empty(registry)
    return show(arguments, text, {"models": registry.table().to_dicts()})


def _show(arguments: Arguments) -> int:
    _print_model(model_of(arguments), as_json=arguments.json)
    return 0


def _register(arguments: Arguments) -> int:
    file = Path(arguments.file)
    how = {
        "output": arguments.output,
        "constants": dict(arguments.constant),
        "batch_axes": dict(arguments.batch_axis),
        "free_batch": arguments.free_batch,
    }
    check_model(file, Adaptation(**how).apply)  # before anything is trained or made
    rows = arguments.samples and read_samples(Path(arguments.samples), arguments.target)
    # The ready-made models matter to the number of a version only in a group of theirs.
    registry = registry_of(arguments, fill=arguments.group in NAMES)
    model = registry.register(
        arguments.group,
        file,
        samples=rows,
        data=Path(arguments.samples or "").name,
        task=arguments.task,
        kind=arguments.kind,
        answer=arguments.answer,
        **how,
        traits=dict(arguments.trait),
        approval="Approved" if arguments.approve else "PendingManualApproval",
        who=arguments.who,
        why=arguments.why,
    )
    _print_model(model, as_json=arguments.json)
    return 0


def _train(arguments: Arguments) -> int:
    registry = registry_of(arguments, fill=False)
    build(registry, task=arguments.task, show=show_progress)
    models = [model for model in registry.models() if model.traits.task == arguments.task]
    return show(arguments, models_table(models), {"models": [model.name for model in models]})


def _set_approval(arguments: Arguments) -> int:
    version = version_of(arguments.model)
    registry = registry_of(arguments, models=[arguments.model])
    decide = registry.approve if arguments.action == "approve" else registry.reject
    model = decide(*version, who=arguments.who, why=arguments.why)
    _print_model(model, as_json=arguments.json)
    return 0


def _push(arguments: Arguments) -> int:
    registry = registry_of(arguments, models=arguments.groups)
    cloud = account_of(arguments)
    arns = registry.push(cloud, groups=arguments.groups or None)
    text = "\n".join([f"{cloud.name} has these versions:", *arns])
    return show(arguments, text, {"versions": arns})


def _pull(arguments: Arguments) -> int:
    cloud = account_of(arguments)
    # The ready-made models must not take the numbers of those that are pulled.
    models = registry_of(arguments, fill=False).pull(cloud, groups=arguments.groups or None)
    text = models_table(models) if models else f"{cloud.name} has no versions."
    facts = [{"name": each.name, "approval": each.approval} for each in models]
    return show(arguments, text, {"models": facts})


def _history(arguments: Arguments) -> int:
    version = version_of(arguments.model)
    registry = registry_of(arguments, models=[arguments.model])
    changes = [asdict(each) for each in registry.history(*version)]
    table = Table(list(changes[0]), [list(change.values()) for change in changes])
    return show(arguments, str(table), {"history": changes})


def _verify(arguments: Arguments) -> int:
    registry = registry_of(arguments)
    problems, versions = registry.verify(), registry.table().height
    sound = f"All files of {versions} versions are what was registered."
    text = "\n".join(problems) or (sound if versions else _empty(registry))
    show(arguments, text, {"problems": problems})
    return EXIT_NO if problems else 0


def _empty(registry: Registry) -> str:
    return f"No models in {registry.path} yet."


def models_table(models: Iterable[Model]) -> str:
    """Return models as a table of text."""
    rows = []
    for model in models:
        traits = model.traits
        score = None if traits.accuracy is None else f"{traits.metric} {traits.accuracy:.3f}"
        size = file_size(model.size_bytes)
        rows.append([model.name, model.approval, traits.task or None, score, size])
    return Table(["model", "approval", "task", "score", "size"], rows).text()


def _print_model(model: Model, *, as_json: bool) -> None:
    facts = {"name": model.name, **asdict(model), "path": str(model.path)}
    del facts["artifacts"]
    if as_json:
        print_json(facts)
    else:
        print("\n".join(_describe(model, facts)))


def _describe(model: Model, facts: dict[str, Any]) -> Iterator[str]:
    """Yield a line or more for each fact that is known of a model, with its name before it."""
    traits = facts.pop("traits") | facts.pop("lineage")
    traits["batch_invariance"] = str(model.traits.batch_invariance or NOT_CHECKED)
    traits["agreement"] = str(model.traits.agreement or NOT_COMPARED)
    traits["input_schema"] = str(model.traits.input_schema)
    traits["output_schema"] = "; ".join(map(str, model.traits.output_schema))
    if facts["stage"] == STAGE:  # where nobody said more than whether it is approved
        del facts["stage"]
    facts |= traits
    shown = {
        _LABELS.get(name, name): format_cell(each)
        if isinstance(each, float | int)
        else format_fact(each)
        for name, each in facts.items()
        if name not in ("group", "version")  # which its name tells
    }
    width = max(map(len, shown))
    for name, text in shown.items():
        begin = f"{name.replace('_', ' '):<{width}}  "
        yield from textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=begin,
            subsequent_indent=" " * len(begin),
            break_long_words=False,
            break_on_hyphens=False,
        )


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Add `workbench registry`."""
    show_help(parser)
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    _action(actions, "list", "list every version of every model", _list)
    _action(actions, "show", "show what is known of a model", _show, "model")
    register = _action(
        actions, "register", "add an ONNX file as the next version", _register, "group", "file"
    )
    register.add_argument("--task", default="", help="what it is for, as digits")
    kinds = "classification", "regression", "other"
    register.add_argument("--kind", choices=kinds, help="(by its output)")
    register.add_argument("--answer", choices=get_args(Answer), help="(the file's first output)")
    register.add_argument("--samples", metavar="FILE", help="held-out rows (random ones)")
    register.add_argument("--target", metavar="COLUMN", help="of the samples: the right answers")
    register.add_argument("--output", help="the output that answers (the file's first)")
    register.add_argument(
        "--free-batch", action="store_true", help="free a batch that is 1 by declaration alone"
    )
    for option, example, about in (
        ("--constant", "sr=16000", "an input that is the same in every call"),
        ("--batch-axis", "state=1", "the axis of the batch of an input or output, from 0"),
        ("--trait", "licence=MIT", "what else is to be known of it"),
    ):
        register.add_argument(
            option,
            metavar="NAME=VALUE",
            type=_parse_trait,
            action="append",
            default=[],
            help=f"{about}, as {example}; may be given again",
        )
    register.add_argument("--approve", action="store_true", help="approve it right away")
    _action(actions, "train", "train the ready-made models for a task", _train, "task")
    for name in ("approve", "reject"):
        decide = _action(actions, name, f"{name} a version", _set_approval, "model")
        _add_reason(decide)
    _add_reason(register)
    _action(actions, "history", "show who approved a version, when and why", _history, "model")
    _action(actions, "verify", "check every file by its hash", _verify)
    for name, about, command in (
        ("push", "bring versions, approval and reason to SageMaker's Model Registry", _push),
        ("pull", "bring them from there", _pull),
    ):
        synchronize = _action(actions, name, about, command)
        synchronize.add_argument("groups", nargs="*", metavar="GROUP", help="of versions (all)")
        add_options(synchronize, "credentials")


def _parse_trait(text: str) -> tuple[str, Any]:
    """Return name and value: a number, true or false where it is written as one, else a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no =, as in licence=MIT")
    return name, parse_value(value)


def _action(
    actions: Any,  # noqa: ANN401
    name: str,
    about: str,
    command: Callable[[Arguments], int],
    *positional: str,
) -> argparse.ArgumentParser:
    parser = add_action(actions, name, about, command)
    for argument in positional:
        parser.add_argument(argument, help=_ARGUMENTS[argument])
    add_registry_path(parser)
    return parser


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", help="kept in its history")
    parser.add_argument("--who", help="kept in its history (your user name)")
