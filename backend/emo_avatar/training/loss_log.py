"""The loss curve of a training run on disk: numbers for tools, a plot for eyes."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.files import whole_file

RECENT = 25  # steps that `recent` averages over
POINTS = 100  # to which a curve is smoothed
DRAW_EVERY = 60.0  # seconds at least between two plots


class LossLog:
    """The terms of every step: ``NAME_loss.csv`` and ``NAME_loss.png`` beside the weights."""

    def __init__(self, output: Path, first: int) -> None:
        """A run that begins after ``first`` steps: what the file knows of later ones is forgotten."""
        self.first = first
        self._csv, self._plot = (output.with_name(f"{output.stem}_loss{suffix}") for suffix in (".csv", ".png"))
        self._rows: list[dict[str, float]] = []
        self._drawn = time.monotonic()
        if first and self._csv.exists():
            try:
                with self._csv.open(newline="", encoding="utf-8") as file:
                    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
                self._rows = list(itertools.takewhile(lambda row: row["step"] <= first, rows))
            except (ValueError, TypeError, KeyError, csv.Error) as error:
                raise UserError(f"{self._csv} is no loss curve that can be gone on with: move it away.") from error

    def add(self, step: int, terms: Mapping[str, float]) -> None:
        self._rows.append({"step": step, **terms})

    def recent(self) -> float:
        """The mean loss of the last steps."""
        rows = self._rows[-RECENT:]
        return sum(sum(row.values()) - row["step"] for row in rows) / max(len(rows), 1)

    def write(self, last: bool) -> None:
        """The numbers, whole; and the plot, when it is the ``last`` time or has grown old."""
        if not self._rows:
            return
        try:
            with whole_file(self._csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self._rows[0]))
                writer.writeheader()
                writer.writerows(self._rows)
            if last or time.monotonic() - self._drawn > DRAW_EVERY:
                self._draw()
                self._drawn = time.monotonic()
        except OSError as error:
            raise UserError(f"{self._csv} cannot be written ({error.strerror}): make room, and --resume.") from error

    def _draw(self) -> None:
        """All terms over the steps, smoothed, on a logarithmic axis."""
        from matplotlib.figure import Figure  # without pyplot: no window system, no state

        steps = np.array([row["step"] for row in self._rows])
        window = max(1, len(steps) // POINTS)
        kernel = np.full(window, 1 / window)
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for name in self._rows[0]:
            if name != "step":
                values = np.array([row[name] for row in self._rows])
                axes.semilogy(steps[window - 1 :], np.convolve(values, kernel, "valid"), label=name)
        axes.set(xlabel="step", ylabel="loss", title=self._plot.stem.replace("_", " "))
        axes.legend()
        with whole_file(self._plot) as temporary:
            figure.savefig(temporary, dpi=120)
