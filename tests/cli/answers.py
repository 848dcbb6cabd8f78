"""What a command has told, as a test reads it."""

import json


def as_json(capsys):
    """What was printed on stdout, as JSON."""
    return json.loads(capsys.readouterr().out)
