"""Requests to a loopback address: which of them a web page may have sent."""

from workbench.modelserver.http import Request

_NAMES = ("127.0.0.1", "[::1]", "localhost")


def find_foreign(request: Request, port: int) -> str:
    """Return why a request was not meant for this machine and port; nothing where it was.

    A page on the web can have a browser send requests here: under a name of its own that resolves
    to 127.0.0.1, which shows in `Host`, or to our address, which shows in `Origin`. Names below
    `localhost` never leave the machine (RFC 6761), so that `bucket.localhost` may be used.

    >>> find_foreign(Request(headers={"host": "example.org"}), 80)
    "Host is 'example.org'; this is 127.0.0.1:80."
    """
    host = request.headers.get("host", "").lower()
    name, _, given = host.rpartition(":")
    if name and not given.endswith("]"):
        ours = given == str(port)
    else:  # without a port, which is then 80
        name, ours = host, port == 80
    if not ours or not (name in _NAMES or name.endswith(".localhost")):
        return f"Host is {host!r}; this is 127.0.0.1:{port}."
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        return f"Pages of {origin!r} may not call this address."
    return ""
