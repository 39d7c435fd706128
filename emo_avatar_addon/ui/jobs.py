"""Long work as it goes on: in the status bar, and wherever a panel says `draw_jobs`."""

from typing import Any

import bpy

from ..ops import jobs
from ..translations import sentence


def draw_jobs(layout: Any) -> None:
    """A bar with a cancel button for each piece of work that runs, under its name."""
    for index, job in enumerate(jobs.running):
        column = layout.column(align=True)
        column.label(text=job.label)
        _bar(column.row(align=True), index, job, f"{job.doing[:1].upper()}{job.doing[1:]}")


def _bar(row: Any, index: int, job: jobs.Job, text: str) -> None:
    row.progress(factor=job.fraction, text=text)
    row.operator("emo_avatar.cancel_job", text="", icon="X").index = index


def draw_status_bar(self: Any, context: Any) -> None:
    if jobs.running:
        row = self.layout.row(align=True)
        row.ui_units_x = 16
        for index, job in enumerate(jobs.running):
            label = sentence(job.label)
            _bar(row, index, job, f"{label}: {job.doing}" if job.doing else label)


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(draw_status_bar)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_status_bar)
