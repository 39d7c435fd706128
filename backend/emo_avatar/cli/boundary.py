"""Where the program meets its user: errors become one sentence and an exit code, long work becomes a progress bar."""

from __future__ import annotations

import _thread
import contextlib
import errno
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from emo_avatar.errors import UserError, missing_library
from emo_avatar.terminal import stderr

FULL = (
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
)  # libraries that write streams raise these without a file's name
BAD_INPUT = 2
INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended
TERMINATED = 143


class CommandLine(TyperGroup):
    """Runs a command and ends the process: 0, or 2 with one sentence, or 130 after Ctrl-C.

    Anything else that goes wrong is a defect of the program and shows its traceback.
    """

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        settings["standalone_mode"] = False
        with contextlib.suppress(ValueError):  # only the main thread may; in another one there is nothing to catch
            signal.signal(signal.SIGTERM, _terminate)
        sys.unraisablehook = _deliver_again
        try:
            exit_code = super().main(*args, **settings)
        except typer.TyperException as error:
            fail(error.format_message())
        except UserError as error:
            fail(str(error))
        except (OSError, ImportError) as error:
            if missing := missing_library(error):
                fail(str(missing))
            if isinstance(error, OSError) and error.errno in FULL:
                fail("The disk is full. What was written whole is there; make room, and give the command again.")
            if not isinstance(error, OSError) or error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}.")
        except SystemError as error:
            # A signal came while compiled code made Python objects: CPython tells so, the true cause at the root.
            root = _root_cause(error)
            if isinstance(root, KeyboardInterrupt):
                sys.exit(INTERRUPTED)
            if isinstance(root, SystemExit):
                sys.exit(root.code)
            raise
        except typer.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(exit_code)


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)  # unwinds, so that no half-written file stays


def _deliver_again(unraisable: Any) -> None:
    """Repeat a signal that came while a finaliser or a callback ran, where Python drops the exception it raises."""
    lost = unraisable.exc_value
    if isinstance(lost, (KeyboardInterrupt, SystemExit)):
        number = signal.SIGINT if isinstance(lost, KeyboardInterrupt) else signal.SIGTERM
        again = threading.Timer(0.02, _interrupt, (number,))  # when that code has been left
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)  # also ends the wait it may be in


def fail(sentence: str) -> NoReturn:
    """Say what is wrong with the input, unless the help text was all that there is to say, and end the process."""
    if sentence:
        stderr.print(f"[red]Error:[/] {_plain(sentence.rstrip('.'))}.", soft_wrap=True)
    sys.exit(BAD_INPUT)


def say(sentence: str) -> None:
    """Tell the user something that is not a result."""
    stderr.print(_plain(sentence), soft_wrap=True)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def print_json(document: Any) -> None:
    """The one thing that ``--json`` writes to standard output; numbers that JSON has no word for become null."""
    print(json.dumps(_finite(document), indent=1, allow_nan=False))


def _finite(document: Any) -> Any:
    if isinstance(document, float):
        return document if math.isfinite(document) else None
    if isinstance(document, Mapping):
        return {name: _finite(value) for name, value in document.items()}
    return [_finite(value) for value in document] if isinstance(document, (list, tuple)) else document


def print_facts(facts: Mapping[str, object]) -> None:
    """Facts for people: one a line."""
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        if isinstance(value, float):
            value = f"{value:.4g}"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        print(f"{name.replace('_', ' '):{width}}{value}")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error while the block runs; yields ``report(fraction, what is being done)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[doing]}"), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(title, total=1.0, doing="")

        def report(fraction: float, doing: str) -> None:
            bar.update(task, completed=fraction, doing=doing)

        yield report
