"""Valid calls of AWS's operations, made from botocore's models of the services."""

from functools import cache
from urllib.parse import quote, urlencode

from tests.fuzz.damage import damage_json
from workbench.localcloud.core import validation
from workbench.localcloud.core.protocol import AwsError

ACCOUNT = "123456789012"
TEXTS = [
    *("one", "two", "model.tar.gz", "1", "$LATEST", "Scope", "/aws/lambda/one", "s3://one/out"),
    *("2026-01-01T00:00:00Z", "s3://one/model.tar.gz", "endpoint/one/variant/main", "app.handler"),
    *("python3.11", f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/workbench:1", "ml.m5.large"),
    f"arn:aws:iam::{ACCOUNT}:role/service-role/one",
    f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/one",
    f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/one/1",
    f"arn:aws:sns:us-east-1:{ACCOUNT}:one",
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:one",
    f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:one",
    *(
        "sagemaker:variant:DesiredInstanceCount",
        "lambda:InvokeFunction",
        "text/csv",
        "rate(1 hour)",
    ),
    *("main", "AWS/SageMaker", "Average", "p99", "Z", "+0000", "a@b.example", "http://localhost/a"),
    *('{"widgets": []}', "AmazonSageMaker", "AWSLambda", "aws_v1", "instanceType"),
    "SageMakerVariantInvocationsPerInstance",
]

NAMED = {"ServiceCode": "AmazonSageMaker", "ServiceNamespace": "sagemaker"}
NAMED |= {"ResourceId": "endpoint/one/variant/main", "FormatVersion": "aws_v1"}


def make_valid(rng, shape):
    """Return parameters that botocore's model has nothing against, as far as some tries help."""
    for _ in range(9):
        value = make_value(rng, shape) if shape else {}
        try:
            validation.check(shape, value)
        except AwsError:
            continue
        break
    return value


def damage_call(rng, shape, valid):
    """Return damaged parameters: mostly such that botocore's model has nothing against them."""
    tries = 1 if rng.random() < 0.3 else 12
    for _ in range(tries):
        given = damage_json(rng, valid)
        try:
            validation.check(shape, given)
        except (AwsError, OverflowError):
            continue
        break
    return given


def make_value(rng, shape, depth=0):
    """Return a value that a shape allows, or nearly: patterns are met where a text is known."""
    make = _MAKERS.get(shape.type_name)
    return rng.choice(fitting_texts(shape)) if make is None else make(rng, shape, depth)


def _make_list(rng, shape, depth):
    least = min(shape.metadata.get("min", 0), 3)
    count = max(least, rng.choice([0, 1, 1, 2])) if depth < 6 else least
    return [make_value(rng, shape.member, depth + 1) for _ in range(count)]


def _make_map(rng, shape, depth):
    count = rng.choice([0, 1, 2])
    return {
        make_value(rng, shape.key): make_value(rng, shape.value, depth + 1) for _ in range(count)
    }


def _make_whole(rng, shape, _):
    low = shape.metadata.get("min", 0)
    return rng.choice([low, low + 1, min(shape.metadata.get("max", 1000), low + 60)])


def make_members(rng, shape, depth):
    """Return a structure with its required members and some of the others."""
    share = 0.4 if depth < 3 else 0.15
    return {
        name: NAMED.get(name) if name in NAMED else make_value(rng, member, depth + 1)
        for name, member in shape.members.items()
        if name in shape.required_members or (depth < 8 and rng.random() < share)
    }


_MAKERS = {
    "structure": make_members,
    "list": _make_list,
    "map": _make_map,
    "integer": _make_whole,
    "long": _make_whole,
    "float": lambda rng, *_: rng.choice([0.0, 1, 2.5, 70.0]),
    "double": lambda rng, *_: rng.choice([0.0, 1, 2.5, 70.0]),
    "timestamp": lambda rng, *_: 1_800_000_000 + rng.randrange(10**6),
    "boolean": lambda rng, *_: rng.random() < 0.5,
}


@cache
def fitting_texts(shape):
    """Return the texts that a shape takes; all where none is known to fit."""
    if shape.metadata.get("enum"):
        return tuple(shape.metadata["enum"])
    texts = [text for text in TEXTS if not list(validation._faults(shape, text, ""))]
    named = [text for text in texts if text in ("one", "two", "main")]
    return tuple(named * 4 + texts) or tuple(TEXTS)


def write_rest(model, parameters):
    """Return method, path, query, headers and JSON of a REST call."""
    path, query, headers, body = model.http["requestUri"], {}, {}, {}
    path, _, fixed = path.partition("?")
    members = model.input_shape.members if model.input_shape else {}
    for name, value in parameters.items():
        member = members.get(name)
        place = member.serialization.get("location") if member is not None else None
        called = member.serialization.get("name", name) if member is not None else name
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if place == "uri":
            path = path.replace(f"{{{called}}}", quote(text.encode("utf-8", "replace"), safe=""))
        elif place == "querystring":
            query[called] = text.encode("utf-8", "replace")
        elif place == "header":
            headers[called.lower()] = text.encode("utf-8", "replace").decode("latin-1")
        else:
            body[name] = value
    return (
        model.http["method"],
        path,
        "&".join(filter(None, [fixed, urlencode(query)])),
        headers,
        body,
    )


def write_form(name, value):
    """Return the members of a form as the Query protocol names them."""
    if isinstance(value, dict):
        joined = f"{name}." if name else ""
        parts = [write_form(f"{joined}{key}" if key else name, each) for key, each in value.items()]
    elif isinstance(value, list):
        parts = [write_form(f"{name}.member.{i}", each) for i, each in enumerate(value, start=1)]
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return [(name, text.encode("utf-8", "replace"))]
    return [pair for part in parts for pair in part]
