"""What the README shows runs, and its map is the package."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_examples_run(workbench_home, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    monkeypatch.chdir(tmp_path)
    namespace = {}

    examples = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), namespace)  # noqa: S102 - our own text


def test_the_map_names_every_module():
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE)
    mapped = re.findall(r"\w+", " ".join(cells))
    modules = (ROOT / "workbench").iterdir()

    assert sorted(mapped) == sorted(
        path.stem
        for path in modules
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    )
