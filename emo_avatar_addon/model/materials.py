"""Skin, eyes, teeth, tongue and lashes: Principled materials over one texture, for Cycles and EEVEE alike."""

from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from . import flame
from .head_file import HeadArrays

_Inputs = dict[str, float | tuple[float, ...]]


@dataclass(frozen=True)
class _Look:
    """How one kind of surface answers to light. Names of `inputs` are the Principled BSDF's."""

    label: str
    parts: tuple[str, ...]
    colour: tuple[float, float, float, float]  # linear, of a head without a texture
    inputs: _Inputs = field(default_factory=dict)
    pores: float = 0.0  # metres, height of the fine relief
    cone: float = 0.0  # radians about where the eye looks, within which it takes a face of `parts` from the look before


# Subsurface radii are those of skin: red light goes furthest. The scale is in metres, as the head is life-size.
_FLESH: _Inputs = {
    "Subsurface Radius": (1.0, 0.35, 0.2),
    "Subsurface Scale": 0.004,
    "IOR": 1.4,
}
_CORNEA: _Inputs = {"Roughness": 0.25, "Coat Weight": 1.0, "Coat Roughness": 0.02, "Coat IOR": 1.38}
_EYES = ("eye_left", "eye_right")
# Iris and pupil differ from the white by their colour alone, which is the texture's wherever there is one: they are
# materials of their own so that Solid shading, which knows no textures, shows where an avatar looks.
_LOOKS = (
    _Look(
        "Skin", ("skin",), (0.53, 0.27, 0.18, 1.0),
        _FLESH | {"Subsurface Weight": 0.25, "Roughness": 0.5, "Specular IOR Level": 0.4}, pores=0.00025,
    ),
    _Look("Eyes", _EYES, (0.75, 0.72, 0.7, 1.0), _CORNEA),
    _Look("Iris", _EYES, (0.12, 0.075, 0.045, 1.0), _CORNEA, cone=np.radians(23)),
    _Look("Pupil", _EYES, (0.003, 0.003, 0.003, 1.0), _CORNEA, cone=np.radians(8)),
    _Look(
        "Teeth", ("upper_teeth", "lower_teeth"), (0.72, 0.66, 0.52, 1.0),
        {"Roughness": 0.2, "Coat Weight": 0.3, "Coat Roughness": 0.05, "Subsurface Weight": 0.1,
         "Subsurface Radius": (1.0, 0.9, 0.8), "Subsurface Scale": 0.002},
    ),
    _Look(
        "Tongue", ("tongue",), (0.45, 0.12, 0.11, 1.0),
        _FLESH | {"Subsurface Weight": 0.3, "Roughness": 0.35, "Coat Weight": 0.2, "Coat Roughness": 0.15},
    ),
    _Look("Lashes", ("lashes",), (0.012, 0.008, 0.006, 1.0), {"Roughness": 0.6}),
)  # fmt: skip


def assign(mesh: bpy.types.Mesh, head: HeadArrays, name: str, texture: bpy.types.Image | None) -> None:
    """Give a new mesh the materials of the parts that the head has. A part of another name is skin."""
    part_of_face = head.vertex_part[head.quads[:, 0]]  # no face has corners in two parts
    off_axis = _off_axis(head)
    places = np.zeros(len(head.quads), np.int32)
    for look in _LOOKS:
        parts = [index for index, part in enumerate(head.part_names) if part in look.parts]
        taken = np.isin(part_of_face, parts) & (off_axis < (look.cone or np.inf))
        if taken.any() or look is _LOOKS[0]:
            places[taken] = len(mesh.materials)
            mesh.materials.append(_material(look, f"{name} {look.label}", texture))
    mesh.polygons.foreach_set("material_index", places)


def _off_axis(head: HeadArrays) -> np.ndarray:  # [Q] radians
    """How far each face lies from where the eye of its side looks at rest, seen from that eye's joint."""
    centres = head.v_template[head.quads].mean(axis=1)
    eyes = (head.J_regressor @ head.v_template)[[flame.JOINTS.index("left_eye"), flame.JOINTS.index("right_eye")]]
    away = centres - eyes[np.abs(centres[:, None] - eyes).sum(axis=2).argmin(axis=1)]
    return np.arctan2(np.hypot(away[:, 0], away[:, 1]), away[:, 2])


def load_texture(name: str, source: Path | bytes) -> bpy.types.Image:
    """An image, packed into the .blend, of a file or a file's bytes."""
    data = source.read_bytes() if isinstance(source, Path) else source
    suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    image = bpy.data.images.new(f"{name} Texture", 1, 1)
    image.source = "FILE"
    image.filepath_raw = f"//{image.name}{suffix}"
    image.pack(data=data, data_len=len(data))
    return image


def _material(look: _Look, name: str, texture: bpy.types.Image | None) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):  # since then every material has nodes
        material.use_nodes = True
    material.diffuse_color = look.colour
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.location, output.location = (0, 0), (320, 0)
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for socket, value in look.inputs.items():
        shader.inputs[socket].default_value = value
    shader.inputs["Base Color"].default_value = look.colour
    if texture is not None:
        image = tree.nodes.new("ShaderNodeTexImage")
        image.image, image.location = texture, (-340, 60)
        tree.links.new(image.outputs["Color"], shader.inputs["Base Color"])
        tree.nodes.active = image  # what texture painting and the Texture shading mode use
    if look.pores:
        _add_pores(tree, shader, look.pores)
    return material


def _add_pores(tree: bpy.types.NodeTree, shader: bpy.types.Node, height: float) -> None:
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    pores, bump = tree.nodes.new("ShaderNodeTexVoronoi"), tree.nodes.new("ShaderNodeBump")
    coordinates.location, pores.location, bump.location = (-760, -300), (-560, -300), (-340, -300)
    pores.feature = "SMOOTH_F1"
    pores.inputs["Scale"].default_value = 500.0
    bump.inputs["Strength"].default_value = 0.35
    bump.inputs["Distance"].default_value = height
    tree.links.new(coordinates.outputs["UV"], pores.inputs["Vector"])
    tree.links.new(pores.outputs["Distance"], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])
