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


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Mostly a namespace that exists: otherwise all that is tried of keys ends at 404. Namespaces
    themselves are left alone: the one that all use would be deleted, or its quota set to 0."""
    name = (path_parameters or {}).get("ns")
    if context.operation.path.startswith("/v1/ns/") and isinstance(name, str) and len(name) != 3:
        path_parameters["ns"] = "default"
    return path_parameters
