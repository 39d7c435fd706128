"""What ``/docs`` says of messages: bodies that are files or arrays, answers, refusals."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from emo_avatar import __version__
from emo_avatar.server import arrays

BYTES = {"schema": {"type": "string", "format": "binary"}}
ANY_FILE = "application/octet-stream"

DESCRIPTION = """
The process that the Blender extension talks to. Press *Authorize* and paste the token from its first line.
Arrays travel as [safetensors](https://github.com/huggingface/safetensors) whose metadata holds the JSON part of a
message under the key `json`. Messages in *italics* are described in `docs/protocol.md`.
"""


class Hello(BaseModel):
    service: str
    protocol: int


class ErrorFacts(BaseModel):
    code: str
    sentence: str
    report: str | None = None


class ErrorAnswer(BaseModel):
    error: ErrorFacts


class JobSummary(BaseModel):
    id: str
    kind: str
    state: str
    fraction: float
    doing: str


class JobState(JobSummary):
    result: dict[str, Any] | None
    error: ErrorFacts | None


class JobId(BaseModel):
    job: str


class DeviceFacts(BaseModel):
    kind: str
    name: str


class Status(BaseModel):
    version: str
    protocol: int
    ready: bool
    failure: ErrorFacts | None
    device: DeviceFacts
    avatars: list[str]
    jobs: list[JobSummary]
    memory_mb: int
    uptime: float


class Lines(BaseModel):
    lines: list[str]


class FramingFacts(BaseModel):
    target: list[float]
    half_height: float


class AvatarDescription(BaseModel):
    id: str
    name: str
    backbone: str
    rig: str
    gaussians: int
    size: int
    framing: FramingFacts
    head: str
    notes: list[str]


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": what}
    for status, what in {
        400: "What the user gave cannot be used.",
        401: "No token, or a wrong one.",
        403: "A Host header that is not the backend's.",
        404: "An avatar or a job that the backend does not hold.",
        409: "Not ready yet.",
        413: "Too large.",
        422: "The request is malformed.",
        429: "Too many jobs are waiting.",
        500: "A defect of the backend, with a report.",
        507: "No disk space or memory left.",
    }.items()
}


def documented_app() -> FastAPI:
    """An application whose ``/docs`` needs nothing from the internet."""
    return FastAPIOffline(
        title="Emo Avatar", version=__version__, description=DESCRIPTION, redoc_url=None, static_url="/docs/static"
    )


def takes(what: str, media_type: str = ANY_FILE) -> dict[str, Any]:
    """A route whose body is bytes."""
    body = {"description": what, "required": True, "content": {media_type: BYTES}}
    return {"openapi_extra": {"requestBody": body}}


def gives(what: str, media_type: str) -> dict[str, Any]:
    """A route that answers bytes."""
    return {"response_class": Response, "responses": {200: {"description": what, "content": {media_type: BYTES}}}}


ARRAYS = arrays.MEDIA_TYPE
