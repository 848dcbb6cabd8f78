#!/bin/sh
# onnxscript 0.7.2: `optimize` drops the array that ScatterND adds to, and joins two bounds into one that neither is.
#
# Guessed: the optimised model answers as the model does, for these as for all that were tried (a hundred graphs of constants,
# slices, casts, convolutions and norms agree).
# Seen, with nothing said and a valid file (torch.onnx.export of the new kind runs the same optimiser by default):
# - ScatterND with reduction="add" onto all rows in order becomes an Identity of what is added: d + x is x, as in an embedding
#   with positions added in place (x.index_put(rows, more, accumulate=True));
# - Relu after a Clip from -5 to -1 becomes one Clip: -1 in place of 0; a Clip from 6.5 to 8 after one from 0 to 6 gives 6, for 6.5;
# - Max and Min with bounds of shape (1, 1, 1) become a Clip, and an answer of three axes has one.
# What it means here: register such a file with `estimator=`, or give it samples with targets and compare the figure with that of the
# file before; site/howto/own-model.md has a row for it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxscript==0.7.2 onnx-ir==1.1.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)


def compare(nodes, rows, shape, **constants):
    """Return what a model answers, and what it answers when it was optimised, with its operators."""
    tensors = [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows.shape),
               helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node(*each[:3], **(each[3] if each[3:] else {})) for each in nodes],
                              "g", tensors[:1], tensors[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    whole = model.SerializeToString()
    optimised = onnxscript.optimizer.optimize(model)
    answers = [
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, {"x": rows})[0]
        for each in (whole, optimised.SerializeToString())
    ]
    return answers, [node.op_type for node in optimised.graph.node]


few = np.array([-7, -3, 0, 3, 7], "f4")
base = np.array([[10, 20], [30, 40], [50, 60]], "f4")
more = np.array([[1, 2], [3, 4], [5, 6]], "f4")
found = {
    "ScatterND, add": compare([("ScatterND", ["d", "i", "x"], ["y"], {"reduction": "add"})], more, (3, 2),
                              d=base, i=np.array([[0], [1], [2]])),
    "Clip to -1, Relu": compare([("Clip", ["x", "a", "b"], ["z"]), ("Relu", ["z"], ["y"])], few, (5,),
                                a=np.float32(-5), b=np.float32(-1)),
    "Clip to 6, Clip from 6.5": compare([("Clip", ["x", "a", "b"], ["z"]), ("Clip", ["z", "c", "d"], ["y"])], few, (5,),
                                        a=np.float32(0), b=np.float32(6), c=np.float32(6.5), d=np.float32(8)),
    "Max, Min of three axes": compare([("Max", ["x", "a"], ["z"]), ("Min", ["z", "b"], ["y"])], few, (1, 1, 5),
                                      a=np.zeros((1, 1, 1), "f4"), b=np.ones((1, 1), "f4")),
}
for name, ((whole, optimised), operators) in found.items():
    print(f"{name}: {whole.tolist()} before, {optimised.tolist()} after, {operators}")
answers = {name: pair for name, (pair, _) in found.items()}
assert (answers["ScatterND, add"][0] == base + more).all() and (answers["ScatterND, add"][1] == more).all()
assert (answers["Clip to -1, Relu"][0] == 0).all() and (answers["Clip to -1, Relu"][1] == -1).all()
assert (answers["Clip to 6, Clip from 6.5"][0] == 6.5).all() and (answers["Clip to 6, Clip from 6.5"][1] == 6).all()
assert [each.shape for each in answers["Max, Min of three axes"]] == [(1, 1, 5), (5,)]
PY
"$folder/venv/bin/python" -W ignore compare.py
echo "still so: optimised files drop a sum, two bounds and two axes"
