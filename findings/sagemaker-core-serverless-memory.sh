#!/bin/sh
# sagemaker-core 2.27.0 (SageMaker Python SDK 3): no serverless endpoint configuration can be made with its resources.
#
# Guessed: EndpointConfig.create with ProductionVariantServerlessConfig(memory_size_in_mb=2048, max_concurrency=2) asks
# for MemorySizeInMB.
# Seen: it asks for MemorySizeInMb, which botocore refuses before anything is sent.
# What it means here: through the SDK 3, serverless endpoints are made by ModelBuilder, whose ServerlessInferenceConfig
# is written rightly, as tests/clients/scripts/sagemaker_sdk3.py does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check sagemaker-core==2.27.0 boto3==1.44.8

cd "$folder"
export HOME="$folder" AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1
export AWS_ENDPOINT_URL=http://127.0.0.1:9  # nothing listens there: it does not come so far
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from botocore.exceptions import ParamValidationError
from sagemaker.core.resources import EndpointConfig
from sagemaker.core.shapes import ProductionVariant, ProductionVariantServerlessConfig

print("sagemaker-core", version("sagemaker-core"))
config = ProductionVariantServerlessConfig(memory_size_in_mb=2048, max_concurrency=2)
variant = ProductionVariant(variant_name="all", model_name="m", serverless_config=config)
try:
    EndpointConfig.create(endpoint_config_name="c", production_variants=[variant])
except ParamValidationError as error:
    print("EndpointConfig.create:", error)
    assert "MemorySizeInMb" in str(error)
else:
    raise SystemExit("it is sent now")
PY
echo "still so: the configuration cannot be made with the resources"
