#!/bin/sh
# ONNX Runtime 1.32.0: an output that is bound once is written over by the next run, and takes no batch of another size.
#
# Guessed: `bind_output("y")` without a shape lets each `run_with_iobinding` make its answer anew: arrays taken from one run are still
# right after the next, and a batch of another size is run, as `session.run` runs it.
# Seen: the second run writes into the memory of the first, which `get_outputs()[0].numpy()` shows as it is: answers that a server
# kept for its clients, one batch's, become the next batch's. `copy_outputs_to_cpu()` copies. A batch of another size, a smaller one
# too, ends in an error about the output's shape until it is bound again, which also gives each run memory of its own.
# What it means here: the workbench's sessions run without a binding: batches differ in size, and answers are kept.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

onnxruntime.set_default_logger_severity(4)
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
binding = session.io_binding()


def run(rows, again=False):
    """Run rows; return the answer as the session shows it, and a copy."""
    binding.bind_cpu_input("x", rows)
    if again:
        binding.bind_output("y")
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0].numpy(), binding.copy_outputs_to_cpu()[0]


first, second = np.full((2, 2), 1, "f4"), np.full((2, 2), 50, "f4")
kept, copied = run(first, again=True)
assert kept.tolist() == copied.tolist() == [[2, 2], [2, 2]]
run(second)
print("the first batch's answer after the second run:", kept.tolist(), "copied:", copied.tolist())
assert kept.tolist() == [[100, 100], [100, 100]] and copied.tolist() == [[2, 2], [2, 2]]
for size in (4, 1):
    try:
        run(np.ones((size, 2), "f4"))
        raise AssertionError("a batch of another size was run")
    except RuntimeError as error:
        print(f"a batch of {size}:", "shape" in str(error) and "an error about a shape")
kept, _ = run(first, again=True)
run(np.ones((4, 2), "f4") * 7, again=True)
print("bound again for each run:", kept.tolist())
assert kept.tolist() == [[2, 2], [2, 2]]
PY
echo "still so: a bound output is written over"
