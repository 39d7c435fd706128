"""Every route, fuzzed by schemathesis from the application's own description."""

import io
import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import schemathesis
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emo_avatar.motion.flame_npz import FRAME_FIELDS
from emo_avatar.server.app import create_app
from emo_avatar.server.arrays import MEDIA_TYPE
from emo_avatar.server.backend import Backend
from emo_avatar.server.engine import Engine
from emo_avatar.server.log import LogRing

numbers = st.floats(width=32) | st.sampled_from([0.0, 1.0, np.float32("nan"), np.float32("inf"), np.float32(1e30)])


SOMEBODY = "0" * 64  # stands for the avatar that the server holds


@st.composite
def messages(draw):
    """Bodies that are nearly what some route takes."""
    frames = draw(st.integers(0, 3))
    shapes = {"weights": (frames, 6)} | {name: (frames, width) for name, width in FRAME_FIELDS.items()}
    shapes |= {f"0.{name}": (width,) for name, width in FRAME_FIELDS.items()} | {"0.world": (4, 4)}
    shapes |= draw(
        st.sampled_from([{"viewmat": (4, 4), "K": (3, 3)}, {"viewmat": (frames, 4, 4), "K": (frames, 3, 3)}])
    )
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for name in ("viewmat", "K", "0.world"):
        arrays[name] = np.broadcast_to(np.eye(arrays[name].shape[-1], dtype=np.float32), arrays[name].shape).copy()
    document = {
        "fps": 24.0, "avatar": draw(st.sampled_from(["open", SOMEBODY])), "avatars": [SOMEBODY],
        "width": 8, "height": 8, "size": [8, 8], "format": "uint8", "depth": True, "background": None,
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), max_size=2)):
        arrays[name] = draw(
            st.just(arrays[name][..., :-1])
            | hnp.arrays(np.float32, st.just(shapes[name]) | hnp.array_shapes(max_dims=3, max_side=4), elements=numbers)
            | hnp.arrays(np.int32, shapes[name])
        )
    for name in draw(st.lists(st.sampled_from(sorted(document)), max_size=2)):
        document[name] = draw(
            st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
            | st.lists(st.integers(-1, 99999) | st.text(max_size=3), max_size=4) | st.booleans()
        )  # fmt: skip
    body = safetensors.numpy.save(arrays, metadata={"json": json.dumps(document)})
    return draw(st.just(body) | st.just(body[: len(body) // 2]) | st.binary(max_size=60))


schemathesis.openapi.media_type(MEDIA_TYPE, messages())
files = st.binary(max_size=200) | st.binary(max_size=60).map(b"PK\x03\x04".__add__) | st.just(b"\x89PNG\r\n\x1a\n")
schemathesis.openapi.media_type("application/octet-stream", files | st.just(np.random.default_rng(0).bytes(2000)))


description = create_app(Backend(Engine(lambda: torch.device("cpu")), LogRing(io.StringIO()), Path())).openapi()
schema = schemathesis.openapi.from_dict(description)


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_too_much(case, server, avatar):
    for name, value in (case.path_parameters or {}).items():
        if name == "avatar_id" and len(str(value)) % 2:
            case.path_parameters[name] = avatar["id"]
    if isinstance(case.body, bytes):
        case.body = case.body.replace(SOMEBODY.encode(), avatar["id"].encode())
    token = {"Authorization": f"Bearer {server.token}"}
    response = case.call(base_url=f"http://127.0.0.1:{server.port}", headers=token, timeout=600)
    assert response.status_code < 500, (response.status_code, response.text[:2000])
    if response.status_code >= 400:
        error = response.json()["error"]
        assert set(error) == {"code", "sentence"}
        assert error["sentence"]
    if response.status_code == 202 and case.method == "POST":
        job = server.finish(response.json()["job"])
        assert job["state"] == "done" or job["error"]["code"] == "bad_input", job
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.checks.CHECKS.get_one("status_code_conformance"),
            schemathesis.checks.CHECKS.get_one("content_type_conformance"),
            schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
        ],
    )


def test_it_still_stands_after_all_that(server):
    assert server.ask("GET", "/v1/status").json["ready"]
    assert not [line for line in server.ask("GET", "/v1/log").json["lines"] if "Traceback" in line]
