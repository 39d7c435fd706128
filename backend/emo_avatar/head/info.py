"""What a head file holds, for people and for scripts."""

from __future__ import annotations

from typing import Any

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES, N_SHAPE, HeadData


def head_info(head: HeadData) -> dict[str, Any]:
    """Facts on a head as plain JSON values; lengths in millimetres."""
    reach = np.abs(head.shapedirs).max((0, 1)) > 0  # [400]
    mapped = np.abs(head.arkit_to_expr).sum(1) + np.abs(head.arkit_to_pose).sum(1) > 0
    landmarks = {"478": head.landmarks478, "68": head.landmarks68}
    return {
        "name": head.name,
        "vertices": head.n_vertices,
        "faces": len(head.faces),
        "quads": int((head.quads[:, 2] != head.quads[:, 3]).sum()),
        "texture_coordinates": len(head.uv),
        "height_mm": round(float(np.ptp(head.v_template[:, 1])) * 1000, 1),
        "identity_components": int(reach[:N_SHAPE].sum()),
        "expression_components": int(reach[N_SHAPE:].sum()),
        "parts": {name: int(head.part(name).sum()) for name in head.part_names},
        "regions": {name: int(mask.sum()) for name, mask in head.regions.items()},
        "landmarks": {name: int(e.reliable.sum()) for name, e in landmarks.items() if e is not None},
        "arkit_units": int(mapped.sum()),
        "arkit_units_missing": [name for name, there in zip(ARKIT_NAMES, mapped, strict=True) if not there],
        "arkit_transfer_error_mm": round(head.arkit_transfer_error * 1000, 3),
    }
