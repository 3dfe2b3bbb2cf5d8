"""What schemathesis does not know by itself: how a batch is written, one operation a line."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    """The generated operation several times, so that a batch has more than one line."""
    if isinstance(value, bytes):
        return value
    line = json.dumps(value, default=str).encode("utf-8", "surrogatepass")
    return b"\n".join([line, line, line])
