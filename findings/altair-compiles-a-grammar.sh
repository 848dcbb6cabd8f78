#!/bin/sh
# Altair 6.3.0: beside JupyterLab, `import altair` compiles a grammar of addresses, for seconds.
#
# Guessed: importing Altair takes as long in an environment of JupyterLab's as in one of its own.
# Seen: Altair imports jsonschema 4.26.0, which imports rfc3987-syntax 1.1.0 where the extra
# "format-nongpl" brought it, as jupyter-events asks for; and that compiles a grammar with lark while it
# is imported, though nobody checks the format "iri". The import takes more than twice as long.
# What it means here: `workbench.plots.grammar` puts the grammar off until it is asked for.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/python -m pip install --quiet --disable-pip-version-check"
$pip altair==6.3.0 jsonschema==4.26.0
cd "$folder"

cat > look.py <<'PY'
import sys
import time

began = time.process_time()
import altair

seconds = time.process_time() - began
print(f"altair {altair.__version__}: {seconds:.1f} s of CPU, lark imported: {'lark' in sys.modules}")
with open("seen", "a") as seen:
    print(seconds, "lark" in sys.modules, file=seen)
PY

"$folder/venv/bin/python" look.py > /dev/null  # compiles modules
"$folder/venv/bin/python" look.py
$pip "jsonschema[format-nongpl]==4.26.0" rfc3987-syntax==1.1.0 lark==1.3.1
"$folder/venv/bin/python" look.py > /dev/null
"$folder/venv/bin/python" look.py
"$folder/venv/bin/python" - <<'PY'
rows = [line.split() for line in open("seen")]
plain, with_formats = rows[1], rows[3]
assert (plain[1], with_formats[1]) == ("False", "True"), rows
assert float(with_formats[0]) > 2 * float(plain[0]), rows
PY
