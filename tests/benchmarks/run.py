"""Measure the workbench itself: `make bench`, or name the parts to measure: `run.py load`.

Every `bench_*.py` beside this file has a `main()` that prints what it measured. Figures are
medians of several runs with their spread, and ratios are of runs in the same session: the machine
is shared and its speed drifts.
"""

import importlib.util
import os
import platform
import sys
from pathlib import Path


def main(parts):
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if parts and name not in parts:
            continue
        print(f"\n== {name} ==", flush=True)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # so that a process of its own can unpickle from it
        spec.loader.exec_module(module)
        module.main()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    main(sys.argv[1:])
