"""Functions for a local cloud's Lambda, and short ways to do things with them through boto3."""

import base64
import io
import itertools
import json
import re
import zipfile

from tests.hosted import until
from tests.wire import check_answers

PROGRAM = """
import json, os, sys, time

print("INIT was here")
started = time.time()

def handler(event, context):
    if "wait_for" in event:
        while not os.path.exists(event["wait_for"]):
            time.sleep(0.005)
    if "fail" in event:
        raise ValueError(event["fail"])
    if "exit" in event:
        os._exit(event["exit"])
    if "big" in event:
        return "x" * event["big"]
    if "hold" in event:
        return len(bytearray(os.urandom(1024)) * 1024 * event["hold"])
    if "touch" in event:
        open(event["touch"], "w").close()
    print("seen", json.dumps(event))
    return {
        "event": event,
        "request": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "memory": context.memory_limit_in_mb,
        "pid": os.getpid(),
        "variables": dict(os.environ),
    }
"""
REPORT = re.compile(
    r"REPORT RequestId: (?P<id>\S+)\tDuration: (?P<duration>[\d.]+) ms\t"
    r"Billed Duration: (?P<billed>\d+) ms\tMemory Size: (?P<size>\d+) MB\t"
    r"Max Memory Used: (?P<used>\d+) MB\t(Init Duration: (?P<init>[\d.]+) ms\t)?(?P<status>.*)"
)


def zipped(program=PROGRAM, name="app.py"):
    """Return a zip with a program in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(name, program)
    return file.getvalue()


class Lambdas:
    """Lambda of a cloud; every answer is held against botocore's model."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.client = cloud.client("lambda", pool=20)
        check_answers(self.client, but=["Invoke"])
        self._numbers = itertools.count()

    def close(self):
        self.client.close()

    def make(self, program=PROGRAM, **options):
        """Return the name of a new function, once it is Active."""
        name = options.pop("FunctionName", f"function-{next(self._numbers)}")
        code = {"ZipFile": zipped(program)}
        usual = {"Role": self.cloud.role, "Runtime": "python3.11", "Handler": "app.handler"}
        usual["Timeout"] = 60  # seconds; AWS's 3 are soon over on a busy machine
        self.client.create_function(
            **{"FunctionName": name, "Code": code, "MemorySize": 1769} | usual | options
        )
        self.settled(name)
        return name

    def settled(self, name):
        """Return what GetFunction says of a function that is not on its way."""

        def there():
            told = self.client.get_function(FunctionName=name)
            return told if told["Configuration"]["State"] != "Pending" else None

        return until(there)

    def invoke(self, name, event=None, **options):
        """Return what Invoke answers, with the payload read."""
        given = {} if event is None else {"Payload": json.dumps(event)}
        answer = self.client.invoke(FunctionName=name, **given, **options)
        content = answer["Payload"].read()
        return answer | {"Payload": json.loads(content) if content else None}

    def report(self, name, event=None, **options):
        """Return what Invoke answers, and its REPORT line by parts."""
        answer = self.invoke(name, event, LogType="Tail", **options)
        tail = base64.b64decode(answer["LogResult"]).decode()
        return answer, REPORT.search(tail).groupdict(), tail

    def environments(self, name):
        """Return what the local cloud tells of a function's environments."""
        return [
            environment
            for each in self.cloud.state()["functions"]
            if each["function"] == name
            for environment in each["environments"]
        ]
