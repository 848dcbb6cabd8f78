#!/bin/sh
# MLServer 1.7.1: adaptive batching gives all requests of a batch the type of the first one and the parameters of the last.
#
# Guessed: with max_batch_size set, a request is answered as it is alone: requests that name different datatypes or
# parameters are joined with care, or not at all, and one that does not fit fails by itself.
# Seen: a row of fractions (FP64) that comes after a row of whole numbers (INT64) loses its fractions: 0.5 and 0.75 are answered
# as 0. Clients name the type of the array they hold, so one caller whose row happens to be whole is enough. With
# parameters scale=10 and scale=100 both are computed by 100, and one without parameters gets its neighbour's. A row of
# another width, or a number beyond the type of the first, fails the others of its batch, too.
# What it means here: the model server reads each request as what the model takes before it stacks them, and refuses one that
# does not fit alone: tests/modelserver/test_stacking.py. site/howto/coming-from.md warns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mlserver==1.7.1 numpy==2.4.6 \
    fastapi==0.115.14 pydantic==2.14.4 protobuf==6.33.6 grpcio==1.85.3
cd "$folder"

cat > ask.py <<'PY'
import asyncio

from mlserver import MLModel, ModelSettings
from mlserver.batching import load_batching
from mlserver.codecs import NumpyCodec
from mlserver.context import model_context
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput


class Scaled(MLModel):
    """A model that answers its rows, times a parameter."""

    async def predict(self, payload):
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        scale = getattr(payload.parameters, "scale", 1)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", rows * float(scale))]
        )


def request(datatype, row, **parameters):
    given = Parameters(**parameters) if parameters else None
    rows = RequestInput(name="x", shape=[1, len(row)], datatype=datatype, data=row)
    return InferenceRequest(inputs=[rows], parameters=given)


async def ask(size, *requests):
    """Return what is answered to requests that come at once; the last one of a full batch sends it off."""
    settings = ModelSettings(
        name="m", implementation=Scaled, max_batch_size=size, max_batch_time=600.0 if size else 0.0
    )
    model = Scaled(settings)
    with model_context(settings):
        if size:
            await load_batching(model)
        answers = await asyncio.gather(*map(model.predict, requests), return_exceptions=True)
    return [type(each).__name__ if isinstance(each, Exception) else each.outputs[0].data.root for each in answers]


whole, halves = ("INT64", [1, 2]), ("FP64", [0.5, 0.75])
cases = {
    "whole numbers, then fractions": [(whole, {}), (halves, {})],
    "fractions, then whole numbers": [(halves, {}), (whole, {})],
    "two parameters": [(halves, {"scale": 10}), (halves, {"scale": 100})],
    "a parameter, then none": [(halves, {"scale": 10}), (halves, {})],
    "another width": [(halves, {}), (("FP64", [1.0, 2.0, 3.0]), {})],
    "beyond the first one's type": [(("UINT8", [1, 2]), {}), (("INT64", [300, 400]), {})],
}
found = {}
for name, case in cases.items():
    def fresh():
        return [request(*rows, **parameters) for rows, parameters in case]

    alone = [asyncio.run(ask(0, each))[0] for each in fresh()]
    found[name] = asyncio.run(ask(len(case), *fresh()))
    print(f"{name}: alone {alone}, in a batch {found[name]}")
assert found == {
    "whole numbers, then fractions": [[1.0, 2.0], [0.0, 0.0]],
    "fractions, then whole numbers": [[0.5, 0.75], [1.0, 2.0]],
    "two parameters": [[50.0, 75.0], [50.0, 75.0]],
    "a parameter, then none": [[5.0, 7.5], [5.0, 7.5]],
    "another width": ["ValueError"] * 2,
    "beyond the first one's type": ["OverflowError"] * 2,
}
PY
"$folder/venv/bin/python" -W ignore ask.py 2> error.log || { tail -n 5 error.log; exit 1; }
echo "still so: what one is answered depends on who else is in the batch"
