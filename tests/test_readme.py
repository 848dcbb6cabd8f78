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
    mapped = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    modules = (ROOT / "workbench").iterdir()

    assert set(mapped) == {
        path.stem for path in modules if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__", "__main__"}
