"""The routes of ``docs/protocol.md``. Each takes its request apart, and calls one function that does the work."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from emo_avatar.server import PROTOCOL, arrays
from emo_avatar.server.backend import Backend
from emo_avatar.server.documentation import (
    ANY_FILE,
    ARRAYS,
    REFUSALS,
    AvatarDescription,
    Hello,
    JobId,
    JobState,
    Lines,
    Status,
    documented_app,
    gives,
    takes,
)
from emo_avatar.server.jobs import events
from emo_avatar.server.refusals import Refusal, refusal_of
from emo_avatar.server.uploads import MB, drain, read_body, receive_file, safe_file_name, safe_title

MAX_PORTRAIT, MAX_AVATAR, MAX_MOTION, MAX_ARRAYS = 64 * MB, 512 * MB, 512 * MB, 64 * MB
SUFFIX = ".emoavatar"


def create_app(backend: Backend) -> FastAPI:
    """The application, without its guard (`security.guarded`)."""
    app = documented_app()
    api = APIRouter(prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))], responses=REFUSALS)
    engine, jobs = backend.engine, backend.jobs

    @app.get("/v1/hello", response_model=Hello, tags=["process"])
    async def hello() -> dict[str, Any]:
        """Say whether this is the backend, and which protocol it speaks; needs no token."""
        return {"service": "emo-avatar", "protocol": PROTOCOL}

    @api.get("/status", response_model=Status, response_model_exclude_unset=True, tags=["process"])
    async def status() -> dict[str, Any]:
        """The heartbeat: answers at once even under load."""
        return backend.status()

    @api.get("/log", response_model=Lines, tags=["process"])
    async def log() -> dict[str, Any]:
        """The last 200 log lines, paths masked."""
        return {"lines": backend.log.lines()}

    @api.post(
        "/jobs/portrait",
        status_code=202,
        response_model=JobId,
        tags=["jobs"],
        **takes("The picture, in any usual format."),
    )
    async def portrait(
        request: Request,
        name: Annotated[str, Query(max_length=400)] = "",
        refine: Annotated[int, Query(ge=0, le=10_000)] = 100,
        head: Literal["open"] = "open",
        backbone: Literal["uv", "lam-s"] = "uv",
    ) -> dict[str, str]:
        """Make an avatar of a photograph: the body is the picture."""
        upload = await receive_file(request, MAX_PORTRAIT, backend.folder, "portrait")

        def work(job: Any, progress: Any) -> dict[str, Any]:
            from emo_avatar.backbones.make import Backbone
            from emo_avatar.server.making import make_from_portrait

            way = Backbone(backbone, refine=refine)
            return make_from_portrait(upload.path, safe_title(name, "Avatar"), way, backend.avatars, progress)

        return {"job": jobs.add("make", "portrait", work, upload.discard).id}

    @api.post("/jobs/import", status_code=202, response_model=JobId, tags=["jobs"], **takes("The file."))
    async def import_avatar(
        request: Request,
        name: Annotated[str, Query(max_length=400)] = "",
        file_name: Annotated[str, Query(max_length=400)] = "",
    ) -> dict[str, str]:
        """Take an `.emoavatar` file, or make one of a LAM package as zip."""
        file = safe_file_name(file_name, "avatar")
        upload = await receive_file(request, MAX_AVATAR, backend.folder, file)

        def work(job: Any, progress: Any) -> dict[str, Any]:
            from emo_avatar.server.making import make_from_file

            return make_from_file(upload.path, safe_title(name, "") or None, backend.avatars, progress)

        return {"job": jobs.add("make", "import", work, upload.discard).id}

    @api.post("/jobs/export", status_code=202, response_model=JobId, tags=["jobs"], **takes("A *performance*.", ARRAYS))
    async def export(request: Request, kind: Literal["ply", "mp4", "png"]) -> dict[str, str]:
        """Write a performance as splats, pictures or video: the body is a *performance*."""
        body = await read_body(request, MAX_ARRAYS)

        def begin() -> str:
            from emo_avatar.server.exporting import export

            work = export(kind, arrays.unpack(body), backend.avatars, backend.folder)
            return jobs.add("export", "export", work).id

        return {"job": await engine.slow(begin)}

    @api.get("/jobs/{job_id}", response_model=JobState, response_model_exclude_unset=True, tags=["jobs"])
    async def job(job_id: str) -> dict[str, Any]:
        """How a job stands."""
        return jobs.find(job_id).document()

    @api.get("/jobs/{job_id}/events", tags=["jobs"], **gives("A job a line.", "application/x-ndjson"))
    async def job_events(job_id: str) -> StreamingResponse:
        """The job as a line of JSON whenever it changes and at least every two seconds, until it has ended."""
        return StreamingResponse(events(jobs.find(job_id)), media_type="application/x-ndjson")

    @api.get("/jobs/{job_id}/file", tags=["jobs"], **gives("A zip or an MP4.", ANY_FILE))
    async def job_file(job_id: str) -> FileResponse:
        """What a finished export made."""
        found = jobs.find(job_id)
        if found.state != "done":
            raise Refusal("not_ready", "The job has not finished, so there is no file yet.")
        if found.file is None:
            raise Refusal("bad_request", "This job makes no file.")
        from emo_avatar.server.exporting import MEDIA_TYPES

        return FileResponse(found.file, media_type=MEDIA_TYPES[found.file.suffix])

    @api.delete("/jobs/{job_id}", status_code=202, response_model=JobId, tags=["jobs"])
    async def cancel(job_id: str) -> dict[str, str]:
        """Stop a job at its next progress report; forget one that has ended, with its file."""
        found = jobs.find(job_id)
        jobs.cancel(found)
        return {"job": found.id}

    @api.get("/avatars/{avatar_id}", response_model=AvatarDescription, tags=["avatars"])
    async def avatar(avatar_id: str) -> dict[str, Any]:
        """What is known of an avatar."""
        return await engine.slow(lambda: backend.avatars.get(avatar_id).description())

    @api.put(
        "/avatars/{avatar_id}", response_model=AvatarDescription, tags=["avatars"], **takes("An `.emoavatar` file.")
    )
    async def put_avatar(request: Request, avatar_id: str) -> dict[str, Any]:
        """Give the backend an avatar that it does not hold: the body is the file, its SHA-256 the id."""
        upload = await receive_file(request, MAX_AVATAR, backend.folder, "avatar" + SUFFIX)
        try:
            return await engine.slow(lambda: backend.avatars.add(upload.path, expected_id=avatar_id).description())
        finally:
            upload.discard()

    @api.get("/avatars/{avatar_id}/file", tags=["avatars"], **gives("The `.emoavatar` file.", ANY_FILE))
    async def avatar_file(avatar_id: str) -> Response:
        """The avatar's file."""
        data = await engine.slow(lambda: backend.avatars.get(avatar_id).data)
        return Response(data, media_type="application/octet-stream")

    @api.get("/avatars/{avatar_id}/head", tags=["avatars"], **gives("A *head*.", ARRAYS))
    async def head(avatar_id: str) -> Response:
        """The person's head in FLAME format."""

        def work() -> bytes:
            from emo_avatar.server.heads import head_message

            return head_message(backend.avatars.get(avatar_id))

        return _arrays(await engine.slow(work))

    @api.get("/avatars/{avatar_id}/texture", tags=["avatars"], **gives("The picture.", "image/png"))
    async def texture(avatar_id: str, size: Annotated[int, Query(ge=64, le=4096)] = 2048) -> Response:
        """The person's own colours over the head's UVs, as PNG."""

        def work() -> bytes:
            from emo_avatar.server.heads import texture_png

            return texture_png(backend.avatars.get(avatar_id), size)

        return Response(await engine.slow(work), media_type="image/png")

    @api.post("/motion", tags=["motion"], **takes("The file."), **gives("A *sequence*.", ARRAYS))
    async def motion(
        request: Request,
        avatar: Annotated[str, Query(max_length=100)] = "open",
        file_name: Annotated[str, Query(max_length=400)] = "",
        fps: Annotated[float | None, Query(gt=0, le=1000, allow_inf_nan=False)] = None,
    ) -> Response:
        """A motion file as a FLAME sequence in the avatar's space."""
        upload = await receive_file(request, MAX_MOTION, backend.folder, safe_file_name(file_name, "motion"))

        def work() -> bytes:
            from emo_avatar.server.performing import read_motion_file

            return read_motion_file(upload.path, backend.avatars, avatar, fps)

        try:
            return _arrays(await engine.slow(work))
        finally:
            upload.discard()

    @api.post("/emotions", tags=["motion"], **takes("A *drive*.", ARRAYS), **gives("The motion.", ARRAYS))
    async def emotions(request: Request) -> Response:
        """Driving motion under emotions: the body is a *drive*."""
        body = await read_body(request, MAX_ARRAYS)

        def work() -> bytes:
            from emo_avatar.server.performing import apply_to_drive

            return apply_to_drive(arrays.unpack(body), backend.avatars)

        return _arrays(await engine.brisk(work))

    @api.post("/render", tags=["pictures"], **takes("A *view*.", ARRAYS), **gives("The picture.", ARRAYS))
    async def render(request: Request) -> Response:
        """A picture of posed avatars: the body is a *view*."""
        body = await read_body(request, MB)

        def work() -> bytes:
            from emo_avatar.server.rendering import render

            return render(arrays.unpack(body), backend.avatars)

        return _arrays(await engine.brisk(work))

    app.include_router(api)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        if error.code == "too_large":
            await drain(request.receive)
        return _refused(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _refused(Refusal("bad_request", f"{where}: {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            return _refused(Refusal("method", "This route does not know that method."), error.headers)
        return _refused(Refusal("unknown_route", "The backend has no such route; it may be older than the extension."))

    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _refused(refusal_of(error))

    async def gone(_: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody is there to read it

    app.add_exception_handler(ClientDisconnect, gone)
    for kind in (MemoryError, OSError, Exception):
        app.add_exception_handler(kind, failed)
    return app


def _refused(refusal: Refusal, headers: Any = None) -> JSONResponse:
    return JSONResponse(refusal.body, refusal.status, headers)


def _arrays(body: bytes) -> Response:
    return Response(body, media_type=arrays.MEDIA_TYPE)
