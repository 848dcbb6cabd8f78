"""The language of the project: verbs for functions, one class a name, words that people say."""

import ast
import re
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "workbench").rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
PROSE = [
    *(path for end in ("py", "js", "j2", "md") for path in (ROOT / "workbench").rglob(f"*.{end}")),
    *(ROOT / "notebooks").rglob("*.ipynb"),
    *(path for path in ROOT.glob("*.md")),
    *(path for path in (ROOT / "site").rglob("*.md") if "_build" not in path.parts),
]
NOUNS = {  # of the field, though they end as participles do
    *("batching", "pricing", "queueing", "autoscaling", "scaling", "measuring"),
    *("fitting", "formatting", "metering", "packaging", "paging", "printing", "ranking"),
    "screening",
    *("routing", "setting", "streaming"),
}
VERBS = {"bring", "embed", "exceed", "feed", "need", "ping", "seed", "speed"}
ADJECTIVES = {  # as properties they say whether something is so
    *("answered", "complete", "completed", "done", "drifted", "expired", "paid", "provisioned"),
    *("limited", "sampled", "stopped", "valid"),
}
IRREGULAR = {
    *("begun", "bound", "bought", "brought", "built", "caught", "chosen", "drawn", "driven"),
    *("fallen", "forgotten", "found", "given", "gone", "grown", "heard", "held", "hidden"),
    *("kept", "known", "left", "lost", "made", "meant", "met", "said", "seen", "sent", "shown"),
    *("spent", "stood", "struck", "taken", "taught", "thought", "thrown", "told", "understood"),
    *("woken", "won", "written"),
}
PRIVATE = {
    *("anew", "buried", "bury", "dice", "foresee", "hear", "heard", "hence", "knob", "knobs"),
    *("law", "laws", "lifeline", "obey", "obituary", "refusal", "refusals", "told", "untold"),
    *("whence", "whither"),
}


def check(offences):
    """Show all offences at once."""
    assert not offences, "\n".join(offences)


def is_participle(word):
    return word in IRREGULAR or (re.search("(ed|ing)$", word) and word not in NOUNS | VERBS)


def is_property(function):
    return any("property" in ast.unparse(each) for each in function.decorator_list)


def nodes(*kinds):
    """Each node of these kinds with its file and line, and the name it gives."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def functions():
    return nodes(ast.FunctionDef, ast.AsyncFunctionDef)


def words_of(text):
    """The words of a text, also those that names are made of."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}


def constants():
    """Each constant of a module that holds a number: its place, its lines, and what follows it."""
    for path, tree in TREES.items():
        lines = path.read_text().splitlines()
        for node, after in pairwise([*tree.body, ast.Pass()]):
            if isinstance(node, ast.Assign | ast.AnnAssign) and holds_number(node):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if re.sub("[_A-Z0-9(), ]", "", ast.unparse(target)) == "":
                    place = f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(target)}"
                    yield place, lines[max(0, node.lineno - 2) : node.end_lineno], after


def holds_number(node):
    values = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return any(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_every_constant_that_holds_a_number_says_why():
    """By a comment beside or above it, or a text below it; units are in `workbench.units`."""
    offences = [
        place
        for place, (above, *own), after in constants()
        if not is_text(after)
        and not above.startswith("# ")
        and not any(re.search("(^| )# ", line) for line in own)
    ]

    check(offences)


def test_no_function_is_named_by_a_participle():
    offences = [
        f"{place} {node.name}"
        for place, node in functions()
        if is_participle(node.name.strip("_").split("_")[0]) and not is_property(node)
    ]

    check(offences)


def test_a_property_named_by_a_participle_says_whether_something_is_so():
    offences = [
        f"{place} {node.name}"
        for place, node in functions()
        if is_property(node) and is_participle(node.name.strip("_")) and node.name not in ADJECTIVES
    ]

    check(offences)


def test_no_module_is_named_by_a_participle():
    names = {path: path.parent.name if path.stem == "__init__" else path.stem for path in MODULES}
    offences = [
        f"{path.relative_to(ROOT)}:1"
        for path, name in names.items()
        if is_participle(name.split("_")[-1])
    ]

    check(offences)


def test_no_private_word_is_left():
    offences = [
        f"{path.relative_to(ROOT)}:{number} {', '.join(sorted(private))}"
        for path in sorted(PROSE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (private := PRIVATE & words_of(line))
    ]

    check(offences)


def test_no_name_of_a_class_is_used_twice():
    places = {}
    for place, node in nodes(ast.ClassDef):
        places.setdefault(node.name, []).append(place)
    offences = [f"{name}: {', '.join(each)}" for name, each in places.items() if len(each) > 1]

    check(offences)
