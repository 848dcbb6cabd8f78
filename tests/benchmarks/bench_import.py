"""How long `import workbench` takes, beside a Python that imports nothing."""

import statistics
import subprocess
import sys
import time

RUNS = 15


def seconds_of(script):
    """Return the seconds that a fresh Python takes to run `script`."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True)
    return time.perf_counter() - begun


def main():
    """Print the seconds that the import adds, bare and imported taken in turn."""
    seconds_of("import workbench")  # the first one reads the disk
    added = [seconds_of("import workbench") - seconds_of("pass") for _ in range(RUNS)]
    middle, least, most = statistics.median(added), min(added), max(added)
    print(f"import workbench: {middle:.3f} s ({least:.3f} to {most:.3f})")
