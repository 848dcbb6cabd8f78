#!/bin/sh
# MLflow 3.17.2: an ONNX model of three scores answers nine rows where a frame of three is asked.
#
# Guessed: a classifier that was logged with `mlflow.onnx` and loaded as a pyfunc answers a frame of n rows with n rows, with a column
# for each score or a list of scores in each, as it answers an array; so does a server that makes frames of requests.
# Seen: each output is made flat: three rows of three scores become one column of nine, row after row, without a word; who takes
# the first three answers takes the scores of the first row for those of three requests. A model with a label beside its scores
# fails with pandas' ValueError about lengths. Given an array or a dict of arrays both answer rightly.
# What it means here: `run.to_mlflow` logs figures and no models; a file that the registry exports is asked through arrays, or
# through the model server, whose answers have a row for each row: tests/modelserver/test_server.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    mlflow-skinny==3.17.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pandas==3.1.1
cd "$folder"

cat > flat.py <<'PY'
import logging

import mlflow.onnx
import mlflow.pyfunc
import numpy as np
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

logging.disable(logging.WARNING)
WEIGHTS = numpy_helper.from_array(np.array([[1, 0, 0], [0, 1, 0]], "f4"), "w")
ROWS = pd.DataFrame({"age": [1.0, 2.0, 3.0], "weight": [4.0, 5.0, 6.0]})
SCORES = [[1, 4, 0], [2, 5, 0], [3, 6, 0]]


def load(name, labelled):
    """Save a classifier, with a label beside its scores or without, and return it as a pyfunc."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])]
    if labelled:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
        outputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [WEIGHTS])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    mlflow.onnx.save_model(model, name, pip_requirements=[])
    return mlflow.pyfunc.load_model(name)


model = load("scores", labelled=False)
assert model.predict(ROWS.to_numpy("f4"))["scores"].tolist() == SCORES
flat = model.predict(ROWS)
print("a frame of 3 rows is answered with", len(flat), "rows:", flat["scores"].tolist())
assert flat["scores"].tolist() == [score for row in SCORES for score in row]
model = load("labelled", labelled=True)
assert model.predict(ROWS.to_numpy("f4"))["label"].tolist() == [1, 1, 1]
try:
    model.predict(ROWS)
    raise AssertionError("a label and scores were answered")
except ValueError as error:
    print("with a label beside the scores:", error)
PY
MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true "$folder/venv/bin/python" -W ignore flat.py
echo "still so: a frame's scores are answered flat"
