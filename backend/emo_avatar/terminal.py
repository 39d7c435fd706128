"""The one console for progress and notices: standard error, so that standard output stays clean for ``--json``."""

from rich.console import Console

stderr = Console(stderr=True, highlight=False)
