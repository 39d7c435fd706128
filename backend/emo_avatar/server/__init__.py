"""The backend process that Blender talks to over HTTP: ``docs/protocol.md`` is its contract."""

PROTOCOL = 1
