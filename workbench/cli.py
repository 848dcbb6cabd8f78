"""The command `workbench`: what the modules do, from a terminal."""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from workbench import demo
from workbench.archive import open_trace
from workbench.batching import BatchPolicy
from workbench.checks import positive
from workbench.comparison import Comparison, compare
from workbench.costing import Cost
from workbench.deployment import Local
from workbench.errors import InvalidInput, StorageError, WorkbenchError
from workbench.experiment import Experiment
from workbench.model import Model
from workbench.profiling import AFTER_IDLE, BACK_TO_BACK, Profile, load_profile, profile
from workbench.registry import Registry
from workbench.replay import from_csv, from_parquet
from workbench.report import finding, write_report
from workbench.run import SLO, Run, load_run
from workbench.trace import Trace
from workbench.traffic import bursty, poisson
from workbench.wording import milliseconds, text_table

T = TypeVar("T")
Arguments = argparse.Namespace
Progress = Callable[[int, int], None]

_UNSOUND, _FAILED, _INTERRUPTED, _UNREAD = 1, 2, 130, 141
_UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0, "": 1.0, "min": 1 / 60, "h": 1 / 3600}
_BAR, _WIDTH = 24, 100


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 is success, 1 a registry that `verify` finds damaged, 2 an error (one line on stderr), 130 an
    interruption and 141 a reader that went away.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = _parser().parse_args(words)
        status: int = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    except KeyboardInterrupt:
        return _tell("workbench: interrupted.", _INTERRUPTED)
    except WorkbenchError as error:
        if "--traceback" in words or os.environ.get("WORKBENCH_TRACEBACK"):
            raise
        return _tell(f"workbench: {' '.join(str(error).split())}", _FAILED)
    return status


def _tell(line: str, status: int = 0) -> int:
    print(line, file=sys.stderr, flush=True)
    return status


def _interrupted(kept: str) -> int:
    return _tell(f"workbench: interrupted; {kept}.", _INTERRUPTED)


# --------------------------------------------------------------------------------------- commands


def _demo(arguments: Arguments) -> int:
    folder = Path(arguments.out)
    _check_folder(folder)
    positive("duration", arguments.duration, "seconds")
    registry = _registry(arguments)
    model = registry[demo.MODEL]
    _say(arguments, "One experiment, really run on this machine: no batching against batching.\n")
    _say(arguments, _models(registry.models()) + "\n")
    measured, stopped = _profile_of(model, demo.BATCH_SIZES, (1,), budget=0.2)
    if stopped:
        return _interrupted("nothing was kept")
    experiments = demo.experiments(
        model,
        measured,
        duration=arguments.duration,
        seed=arguments.seed,
        hourly_price=arguments.hourly_price,
    )
    _say(arguments, demo.explain(measured, experiments["batching"]) + "\n")
    runs, stopped = _measure(experiments, drain=arguments.duration)
    if not runs:
        return _interrupted("nothing was measured")
    compared = compare(list(runs.values()))
    _say(arguments, _compared(compared))
    measured.save(folder / "profile", overwrite=True)
    saved = _save(runs, folder, overwrite=True)
    page = _report(compared, folder / "report.html", "No batching against batching", [measured])
    if arguments.json:
        _print_json(_facts(compared), saved=saved, report=str(page))
    _say(
        arguments,
        f"\nReport: {page}  (open it in a browser; it needs no internet)\n"
        f"Runs:   {', '.join(saved)}\n"
        "Next:   make lab             the quickstart notebook, in JupyterLab\n"
        "        workbench run --help  other models, traffic and batching",
    )
    return _interrupted("what was measured was kept") if stopped else 0


def _run(arguments: Arguments) -> int:
    policies = arguments.policy or [BatchPolicy()]
    slo = arguments.slo
    if slo is not None:
        slo = SLO(latency=slo, quantile=arguments.quantile)
    deployment = Local(
        workers=arguments.workers,
        threads=arguments.threads,
        hourly_price=arguments.hourly_price,
    )
    trace = _trace(arguments)
    names = {policy: _file_name(policy.label) for policy in policies}
    if arguments.out:
        for name in names.values():
            _check_new(Path(arguments.out) / name)
    model = _registry(arguments)[arguments.model]
    experiments = {
        name: Experiment(model, deployment, trace, policy, slo) for policy, name in names.items()
    }
    runs, stopped = _measure(experiments)
    if not runs:
        return _interrupted("nothing was measured")
    compared = compare(list(runs.values()))
    _say(arguments, _compared(compared))
    saved = _save(runs, Path(arguments.out)) if arguments.out else []
    if arguments.json:
        _print_json(_facts(compared), saved=saved)
    if saved:
        next_step = f"workbench report {' '.join(saved)}"
        _say(arguments, f"\nRuns: {', '.join(saved)}\nNext: {next_step}")
    return _interrupted("what was measured was kept") if stopped else 0


def _profile(arguments: Arguments) -> int:
    if arguments.out:
        _check_new(Path(arguments.out))
    model = _registry(arguments)[arguments.model]
    measured, stopped = _profile_of(
        model, arguments.batch_sizes, arguments.threads, budget=arguments.budget
    )
    if measured.frame.is_empty():
        return _interrupted("nothing was measured")
    _say(arguments, _service_times(measured))
    saved = [str(measured.save(arguments.out))] if arguments.out else []
    if arguments.json:
        rows = measured.frame.drop("quantiles").to_dicts()
        _print_json({"rows": rows, "facts": dict(measured.facts)}, saved=saved)
    return _interrupted("what was measured was kept") if stopped else 0


def _report_on(arguments: Arguments) -> int:
    compared = compare([load_run(path) for path in arguments.runs])
    profiles = [load_profile(path) for path in arguments.profile]
    page = _report(compared, Path(arguments.out), arguments.title, profiles)
    if arguments.json:
        _print_json(_facts(compared), report=str(page))
    _say(arguments, f"{_compared(compared)}\n\nReport: {page}")
    return 0


def _list(arguments: Arguments) -> int:
    registry = _registry(arguments)
    if arguments.json:
        _print_json({"models": registry.table().to_dicts()})
        return 0
    models = registry.models()
    print(_models(models) if models else f"No models in {registry.path} yet.")
    return 0


def _show(arguments: Arguments) -> int:
    _print_model(_registry(arguments)[arguments.model], as_json=arguments.json)
    return 0


def _register(arguments: Arguments) -> int:
    model = _registry(arguments).register(
        arguments.group,
        Path(arguments.file),
        task=arguments.task,
        kind=arguments.kind,
        approval="Approved" if arguments.approve else "PendingManualApproval",
        who=arguments.who,
        why=arguments.why,
    )
    _print_model(model, as_json=arguments.json)
    return 0


def _decide(arguments: Arguments) -> int:
    registry = _registry(arguments)
    decide = registry.approve if arguments.action == "approve" else registry.reject
    model = decide(*_version(arguments.model), who=arguments.who, why=arguments.why)
    _print_model(model, as_json=arguments.json)
    return 0


def _history(arguments: Arguments) -> int:
    changes = [asdict(c) for c in _registry(arguments).history(*_version(arguments.model))]
    if arguments.json:
        _print_json({"history": changes})
    else:
        print(text_table([list(changes[0]), *(list(change.values()) for change in changes)]))
    return 0


def _verify(arguments: Arguments) -> int:
    registry = _registry(arguments)
    problems = registry.verify()
    if arguments.json:
        _print_json({"problems": problems})
    else:
        sound = f"All files of {registry.table().height} versions are what was registered."
        print("\n".join(problems) or sound)
    return _UNSOUND if problems else 0


# ----------------------------------------------------------------------------- what commands share


def _registry(arguments: Arguments) -> Registry:
    return Registry(arguments.registry, progress=_tell)


def _version(name: str) -> tuple[str, int]:
    """Group and version of a name that has to tell both."""
    group, _, number = name.partition(":")
    if not number.isdecimal():
        raise InvalidInput(f"Name a version, as in {group}:1; got {name!r}.")
    return group, int(number)


def _trace(arguments: Arguments) -> Trace:
    """The traffic that the arguments describe."""
    if arguments.trace:
        return _replayed(arguments)
    if arguments.rate is None:
        raise InvalidInput(
            "Say what traffic to send: --rate REQUESTS_PER_SECOND or --trace FILE_OR_NAME."
        )
    settings = {
        "rate": arguments.rate,
        "duration": 10.0 if arguments.duration is None else arguments.duration,
        "seed": arguments.seed,
    }
    if arguments.burst is None:
        return poisson(**settings)
    return bursty(burst=arguments.burst, dwell=arguments.dwell, **settings)


def _replayed(arguments: Arguments) -> Trace:
    """A stored trace, brought to the rate and cut to the duration that were asked for."""
    readers = {".csv": from_csv, ".parquet": from_parquet}
    read = readers.get(Path(arguments.trace).suffix, open_trace)
    trace: Trace = read(arguments.trace)
    if trace.notice:
        _tell(trace.notice)
    if arguments.rate is not None:
        trace = trace.scale(positive("rate", arguments.rate) / trace.rate)
    return trace if arguments.duration is None else trace.clip(0.0, arguments.duration)


def _measure(
    experiments: dict[str, Experiment], *, drain: float = 60.0
) -> tuple[dict[str, Run], bool]:
    """Run one experiment after the other; tell what was measured and whether Ctrl-C ended it."""
    stopped = threading.Event()
    runs = {}
    for name, experiment in experiments.items():
        if not stopped.is_set():
            with _progress(f"Running {experiment.policy.label}") as tell:
                run = experiment.run(progress=tell, stopped=stopped, drain=drain)
            if len(run):
                runs[name] = run
    return runs, stopped.is_set()


def _profile_of(
    model: Model, sizes: Sequence[int], threads: Sequence[int], *, budget: float
) -> tuple[Profile, bool]:
    """Measure service times; tell, too, whether Ctrl-C ended it."""
    stopped = threading.Event()
    with _progress(f"Profiling {model.name}") as tell:
        measured = profile(
            model,
            batch_sizes=sizes,
            threads=threads,
            budget=budget,
            progress=tell,
            stopped=stopped,
        )
    return measured, stopped.is_set()


def _save(runs: dict[str, Run], folder: Path, *, overwrite: bool = False) -> list[str]:
    return [
        str(run.save(folder / _file_name(name), overwrite=overwrite)) for name, run in runs.items()
    ]


def _report(compared: Comparison, path: Path, title: str, profiles: Sequence[Profile]) -> Path:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    runs = list(compared.runs.values())
    return write_report(runs, path, title=title, costs=_costs(compared), profiles=profiles)


def _file_name(label: str) -> str:
    """A label as a file's name.

    >>> _file_name("up to 8, 25 ms")
    'up-to-8-25-ms'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def _check_new(path: Path) -> None:
    """Refuse a path that cannot be written, before hours are spent on what should go there."""
    if path.exists():
        raise StorageError(f"{path} exists already: choose another name.")
    _check_folder(path.parent)


def _check_folder(path: Path) -> None:
    ground = next(each for each in [path, *path.absolute().parents] if each.exists())
    with _writing(path), tempfile.TemporaryFile(dir=ground):
        pass


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error


# ------------------------------------------------------------------------------------------ output


def _say(arguments: Arguments, text: str) -> None:
    """Print for people; stay silent where a machine reads."""
    if not arguments.json:
        print(text, flush=True)


def _print_json(facts: dict[str, Any], **more: object) -> None:
    print(json.dumps(facts | more, indent=2, default=str))


def _facts(compared: Comparison) -> dict[str, Any]:
    return {**compared.to_dict(), "finding": _finding(compared)}


def _finding(compared: Comparison) -> str:
    return finding(list(compared.runs.values()), costs=_costs(compared))


def _costs(compared: Comparison) -> list[Cost | None]:
    return [compared.costs.get(name) for name in compared.runs]


def _compared(compared: Comparison) -> str:
    """The comparison as a table of text, what it shows, and what to mind."""
    notes = "".join(f"\nNote: {warning}" for warning in compared.warnings)
    columns, rows = compared.table()
    table = text_table([columns, *rows], align=str.rjust)
    return f"{table}\n\n{textwrap.fill(_finding(compared), _WIDTH)}{notes}"


def _models(models: Iterable[Model]) -> str:
    rows = [["model", "approval", "task", "score", "size"]]
    for model in models:
        traits = model.traits
        score = "-" if traits.accuracy is None else f"{traits.metric} {traits.accuracy:.3f}"
        rows.append([model.name, model.approval, traits.task or "-", score, _size(model)])
    return text_table(rows)


def _size(model: Model) -> str:
    per, unit = (1e6, "MB") if model.size_bytes >= 1e6 else (1e3, "kB")
    return f"{model.size_bytes / per:.1f} {unit}"


def _print_model(model: Model, *, as_json: bool) -> None:
    facts = {"name": model.name, **asdict(model), "path": str(model.path)}
    del facts["artifacts"]
    if as_json:
        _print_json(facts)
        return
    traits = facts.pop("traits")
    traits["input_schema"] = str(model.traits.input_schema)
    traits["output_schema"] = "; ".join(map(str, model.traits.output_schema))
    print(text_table([[key, str(value)] for key, value in (facts | traits).items()]))


def _service_times(measured: Profile) -> str:
    """Service times by batch size, and the formula that fits them where there is one."""
    parts = []
    for threads in sorted(set(measured.frame["threads"])):
        rows = _service_rows(measured, threads)
        head = ["batch size", BACK_TO_BACK, "95 % interval", AFTER_IDLE, "requests/s"]
        parts.append(f"{measured.label}, {threads} thread{'s' * (threads > 1)}")
        parts.append(text_table([head, *rows], align=str.rjust))
        if len(rows) >= 4:
            fit = measured.fit(threads=threads)
            parts.append(f"Best fit: {fit.kind}, {100 * fit.error:.2g} % off sizes left out.")
    return "\n".join(parts)


def _service_rows(measured: Profile, threads: int) -> list[list[str]]:
    rows = measured.frame.filter(threads=threads)
    after_idle = rows.filter(state=AFTER_IDLE)["batch_size", "median"].rows()
    idle = {size: milliseconds(median) for size, median in after_idle}
    return [
        [
            str(size),
            milliseconds(median),
            f"{milliseconds(low)} to {milliseconds(high)}",
            idle.get(size, "-"),  # an interrupted profile may end without it
            f"{size / median:,.0f}",
        ]
        for size, median, low, high in rows.filter(state=BACK_TO_BACK)
        .sort("batch_size")["batch_size", "median", "low", "high"]
        .rows()
    ]


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Tell on stderr how far work is: a bar on a terminal, else a line at its start and end."""
    bar = sys.stderr.isatty()
    last = ""
    if not bar:
        _tell(f"{what} ...")

    def show(done: int, total: int) -> None:
        nonlocal last
        last = f"{done:,} of {total:,}"
        if bar:
            filled = "#" * (_BAR * done // max(1, total))
            sys.stderr.write(f"\r{what}  [{filled:.<{_BAR}}] {last} ")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if bar:
            sys.stderr.write("\n")
        elif last:
            _tell(f"{what}: {last}")


# ------------------------------------------------------------------------------------------ parser


class _Parser(argparse.ArgumentParser):
    """Raises what it refuses, so that every error is told in the same way."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{message}. See {self.prog} --help.")


def _typed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of one argument whose errors keep their words."""

    def parse_or_refuse(text: str) -> T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error

    return parse_or_refuse


def seconds(text: str) -> float:
    """Return a time in seconds; it may have a unit: us, ms, s, min or h.

    >>> seconds("25ms"), seconds("0.1s"), seconds("2 min"), seconds("10")
    (0.025, 0.1, 120.0, 10.0)
    """
    match = re.fullmatch(r"(\S*?[\d.]|[+-]?(?:nan|inf))\s*(us|ms|s|min|h|)", text.strip())
    try:
        return float(match[1]) / _UNITS[match[2]]  # type: ignore[index]
    except (TypeError, ValueError):
        raise InvalidInput(f"{text!r} is no time: write 25ms, 0.1s, 2min or 10") from None


def policy(text: str) -> BatchPolicy:
    """Return a policy written as SIZE/WAIT; a size alone waits for no others.

    >>> policy("8/25ms").label, policy("1").label
    ('up to 8, 25 ms', 'no batching')
    """
    size, _, wait = text.partition("/")
    return BatchPolicy(max_size=_whole(size), max_wait=seconds(wait or "0"))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a whole number") from None


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(_whole(part) for part in text.split(","))


def _stays(text: str) -> tuple[float, ...]:
    return tuple(seconds(part) for part in text.split("/"))


_EXAMPLES = {
    "": """
  workbench demo
  workbench run digits-mlp-wide --rate 200 --policy 1 --policy 16/20ms --slo 100ms
  workbench registry list""",
    "demo": """
  workbench demo
  workbench demo --duration 20s --out reports/longer
  workbench demo --json > demo.json""",
    "run": """
  workbench run digits-mlp-wide --rate 200 --burst 6 --policy 1 --policy 16/20ms --slo 100ms
  workbench run digits-forest:1 --rate 500 --duration 30s --workers 2 --out runs/forest
  workbench run digits-mlp-large --trace arrivals.csv --policy 8/25ms
  workbench run digits-mlp-large --trace azure-llm-2023-code --rate 100 --duration 60s""",
    "profile": """
  workbench profile digits-mlp-wide
  workbench profile digits-forest --batch-sizes 1,8,64 --threads 1,2 --out profiles/forest""",
    "report": """
  workbench report reports/demo/no-batching reports/demo/batching --profile reports/demo/profile
  workbench report runs/forest/no-batching --out forest.html --title "Random forest" """,
    "registry": """
  workbench registry list
  workbench registry register my-model model.onnx --task fraud --why "first try"
  workbench registry approve my-model:1 --why "tested on last week's data"
  workbench registry history my-model:1
  workbench registry verify""",
}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="workbench",
        description="Run a model under real load on this machine; see latency and cost.",
        **_closing(""),
    )
    told = f"workbench {version('inference-workbench')}"
    parser.add_argument("--version", action="version", version=told)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    _add_profile(commands)
    _add_registry(commands)
    _add_report(commands)
    return parser


def _closing(command: str) -> dict[str, Any]:
    return {
        "epilog": f"examples:{_EXAMPLES[command]}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _command(commands: Any, name: str, about: str, **settings: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse does not name the kind
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", **settings
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def _add_demo(commands: Any) -> None:  # noqa: ANN401
    about = "run no batching against batching for real, under bursts, and write a report"
    parser = _command(commands, "demo", about, **_closing("demo"))
    parser.add_argument("--out", default="reports/demo", help="folder (%(default)s)")
    parser.add_argument(
        "--duration", type=_typed(seconds), default=demo.DURATION, help="of a run (8s)"
    )
    parser.add_argument("--seed", type=int, default=demo.SEED, help="of the traffic (%(default)s)")
    _add_price(parser, default=0.1)
    _add_registry_path(parser)
    parser.set_defaults(command=_demo)


def _add_run(commands: Any) -> None:  # noqa: ANN401
    about = "run a model on this machine under an open-loop load"
    parser = _command(commands, "run", about, **_closing("run"))
    parser.add_argument("model", help="group, or group:version")
    traffic = parser.add_argument_group("traffic")
    traffic.add_argument("--rate", type=float, help="requests a second, on average")
    traffic.add_argument(
        "--burst", type=float, help="rate in bursts over rate between them (default: no bursts)"
    )
    traffic.add_argument(
        "--dwell",
        type=_typed(_stays),
        default=(4.0, 1.0),
        help="mean time between bursts and in one (4s/1s)",
    )
    traffic.add_argument(
        "--trace", metavar="FILE|NAME", help="replay a .csv or .parquet file or a public trace"
    )
    traffic.add_argument(
        "--duration", type=_typed(seconds), help="seconds (10s, or the whole trace)"
    )
    traffic.add_argument("--seed", type=int, default=0, help="of the traffic (%(default)s)")
    serving = parser.add_argument_group("serving")
    serving.add_argument(
        "--policy",
        type=_typed(policy),
        action="append",
        metavar="SIZE/WAIT",
        help="largest batch / longest wait for it, as 8/25ms; 1 is no batching (default); "
        "given several times, all are run and compared",
    )
    serving.add_argument("--workers", type=int, default=1, help="(%(default)s)")
    serving.add_argument("--threads", type=int, default=1, help="of each worker (%(default)s)")
    serving.add_argument("--slo", type=_typed(seconds), help="latency target, as 100ms")
    serving.add_argument("--quantile", type=float, default=0.95, help="of the target (%(default)s)")
    _add_price(parser, default=0.0)
    parser.add_argument("--out", metavar="FOLDER", help="save each run in a folder below this one")
    _add_registry_path(parser)
    parser.set_defaults(command=_run)


def _add_profile(commands: Any) -> None:  # noqa: ANN401
    about = "measure how long batches of each size take on this machine"
    parser = _command(commands, "profile", about, **_closing("profile"))
    parser.add_argument("model", help="group, or group:version")
    parser.add_argument(
        "--batch-sizes", type=_typed(_wholes), default=(1, 2, 4, 8, 16, 32), help="(1,2,4,8,16,32)"
    )
    parser.add_argument("--threads", type=_typed(_wholes), default=(1,), help="(1)")
    parser.add_argument(
        "--budget", type=_typed(seconds), default=1.0, help="longest time for one figure (1s)"
    )
    parser.add_argument("--out", metavar="FOLDER", help="save the profile here")
    _add_registry_path(parser)
    parser.set_defaults(command=_profile)


def _add_report(commands: Any) -> None:  # noqa: ANN401
    about = "write one HTML file about saved runs, which opens without internet"
    parser = _command(commands, "report", about, **_closing("report"))
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a saved run")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="FOLDER", help="a saved profile to show"
    )
    parser.add_argument("--out", default="report.html", metavar="FILE", help="(%(default)s)")
    parser.add_argument("--title", default="Inference report", help="(%(default)s)")
    parser.set_defaults(command=_report_on)


def _add_registry(commands: Any) -> None:  # noqa: ANN401
    about = "see, add and approve models"
    parser = commands.add_parser(
        "registry", help=about, description=f"{about.capitalize()}.", **_closing("registry")
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    _action(actions, "list", "list every version of every model", _list)
    _action(actions, "show", "show what is known of a model", _show, "model")
    register = _action(
        actions, "register", "add an ONNX file as the next version", _register, "group", "file"
    )
    register.add_argument("--task", default="", help="what it is for, as digits")
    register.add_argument(
        "--kind", choices=("classification", "regression", "other"), help="(told by its output)"
    )
    register.add_argument("--approve", action="store_true", help="approve it right away")
    for name in ("approve", "reject"):
        decide = _action(actions, name, f"{name} a version", _decide, "model")
        _add_reason(decide)
    _add_reason(register)
    _action(actions, "history", "show who approved a version, when and why", _history, "model")
    _action(actions, "verify", "check every file by its hash", _verify)


def _action(
    actions: Any,  # noqa: ANN401
    name: str,
    about: str,
    command: Callable[[Arguments], int],
    *positional: str,
) -> argparse.ArgumentParser:
    parser = _command(actions, name, about, allow_abbrev=False)
    for argument in positional:
        parser.add_argument(argument)
    _add_registry_path(parser)
    parser.set_defaults(command=command)
    return parser


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", help="kept in its history")
    parser.add_argument("--who", help="kept in its history (your user name)")


def _add_price(parser: argparse.ArgumentParser, *, default: float) -> None:
    parser.add_argument(
        "--hourly-price",
        type=float,
        default=default,
        help="what this machine costs in US dollars an hour, by your account (%(default)s)",
    )


def _add_registry_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry", metavar="FOLDER", help="a registry of your own (the user's, which is filled)"
    )
