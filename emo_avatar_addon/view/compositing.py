"""One click to have splats in a Cycles or EEVEE render: hidden by what is nearer, hiding what is farther.

Blender renders one engine per scene. So the avatars are linked into a second scene of the engine "Emo Splats", which
the compositor of the first renders along with it; a node group puts one over the other where it is nearer.
"""

from __future__ import annotations

from typing import Any

import bpy

from ..errors import AddonError
from .colours import UNDOING
from .engine import ENGINE

GROUP = "Splats over Render"  # with the view transform after it whose effect on splats it undoes
GROUPS = bpy.app.version >= (5, 0)  # the compositor's nodes are a node group, not the scene's own tree
OWNER = "emo_avatar_splats_of"  # on the second scene: the scene whose splats it renders


def set_up(context: Any) -> Any:
    """Make, or bring up to date, the second scene and the nodes; returns the scene. `AddonError` when nothing fits."""
    scene = context.scene
    if scene.render.engine == ENGINE:
        raise AddonError("This scene renders splats alone: choose Cycles or EEVEE as its render engine first.")
    avatars = [thing for thing in context.view_layer.objects if is_avatar(thing) and not thing.hide_render]
    if not avatars:
        raise AddonError("There is no avatar with splats in this view layer.")
    if scene.camera is None:
        raise AddonError("There is no camera to render from: add one, or make one active.")
    splats = _splat_scene(scene)
    _link(splats, avatars)
    for avatar in avatars:
        if avatar.emo_avatar.head is not None:
            avatar.emo_avatar.head.visible_camera = False  # it still casts shadows, and is seen in mirrors
    context.view_layer.use_pass_z = True
    _nodes(scene, context.view_layer, splats)
    return splats


def is_avatar(thing: Any) -> bool:
    """Whether an object is an avatar that has splats."""
    return thing.type == "ARMATURE" and thing.emo_avatar.kind == "avatar"


def _splat_scene(scene: Any) -> Any:
    splats = next((other for other in bpy.data.scenes if other.get(OWNER) == scene), None)
    if splats is None:
        splats = bpy.data.scenes.new(f"{scene.name} Splats")
        splats[OWNER] = scene
        splats.view_layers[0].name = "Splats"
    splats.render.engine = ENGINE
    splats.render.film_transparent = True
    splats.view_settings.view_transform = "Standard"  # for looking at it alone
    splats.view_layers[0].use_pass_z = True
    splats.camera = scene.camera
    splats.render.fps, splats.render.fps_base = scene.render.fps, scene.render.fps_base
    splats.frame_start, splats.frame_end = scene.frame_start, scene.frame_end
    while splats.timeline_markers:
        splats.timeline_markers.remove(splats.timeline_markers[0])
    for marker in scene.timeline_markers:
        if marker.camera is not None:
            splats.timeline_markers.new(marker.name, frame=marker.frame).camera = marker.camera
    return splats


def _link(splats: Any, avatars: list[Any]) -> None:
    """Exactly these avatars and their cameras become the scene's objects, by their collections where they have any."""
    root = splats.collection
    wanted = {collection for avatar in avatars for collection in avatar.users_collection}
    scenes = {scene.collection for scene in bpy.data.scenes}
    loose = [avatar for avatar in avatars if set(avatar.users_collection) <= scenes]
    for collection in tuple(root.children):
        root.children.unlink(collection)
    for thing in tuple(root.objects):
        root.objects.unlink(thing)
    for collection in sorted(wanted - scenes, key=lambda collection: collection.name):
        root.children.link(collection)
    for avatar in loose:
        root.objects.link(avatar)
        if avatar.emo_avatar.head is not None and avatar.emo_avatar.head.name not in root.all_objects:
            root.objects.link(avatar.emo_avatar.head)


def _nodes(scene: Any, view_layer: Any, splats: Any) -> None:
    tree = _tree(scene)
    output = _output_socket(tree)
    transform = scene.view_settings.view_transform
    group = next((node for node in tree.nodes if _is_ours(getattr(node, "node_tree", None))), None)
    if group is not None:
        group.node_tree = _group(transform)
    else:
        group = tree.nodes.new("CompositorNodeGroup")
        group.node_tree = _group(transform)
        group.width = 180
        group.location = (output.node.location.x - 240, output.node.location.y)
        shown = _render_layers(tree, scene, view_layer.name, group.location.x - 320, group.location.y)
        feed = output.links[0].from_socket if output.links else shown.outputs["Image"]
        tree.links.new(feed, group.inputs["Image"])
        tree.links.new(shown.outputs["Depth"], group.inputs["Depth"])
        tree.links.new(group.outputs[0], output)
    layers = _render_layers(tree, splats, splats.view_layers[0].name, group.location.x - 320, group.location.y - 420)
    tree.links.new(layers.outputs["Image"], group.inputs["Splats"])
    tree.links.new(layers.outputs["Depth"], group.inputs["Splats Depth"])


def _tree(scene: Any) -> Any:
    """The scene's compositing nodes: its own tree before Blender 5.0, since then a node group."""
    if not GROUPS:
        scene.use_nodes = True
        return scene.node_tree
    if scene.compositing_node_group is None:
        scene.compositing_node_group = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
    return scene.compositing_node_group


def _output_socket(tree: Any) -> Any:
    """Where the finished picture goes in."""
    kind = "NodeGroupOutput" if GROUPS else "CompositorNodeComposite"
    node = next((node for node in tree.nodes if node.bl_idname == kind), None)
    if GROUPS and not any(item.in_out == "OUTPUT" for item in tree.interface.items_tree):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    if node is None:
        node = tree.nodes.new(kind)
        node.location = (600, 0)
    return node.inputs[0]


def _render_layers(tree: Any, scene: Any, layer: str, x: float, y: float) -> Any:
    """The node that gives a scene's render, made where there is none."""
    for node in tree.nodes:
        if node.bl_idname == "CompositorNodeRLayers" and node.scene == scene and node.layer == layer:
            return node
    node = tree.nodes.new("CompositorNodeRLayers")
    node.scene, node.layer = scene, layer
    node.location = (x, y)
    return node


def _is_ours(group: Any) -> bool:
    return group is not None and group.bl_idname == "CompositorNodeTree" and group.name.startswith(GROUP)


def _group(transform: str) -> Any:
    """The node group: splats over an image where they are nearer, in their own colours under a view transform."""
    name = f"{GROUP}, {transform}" if transform in UNDOING else GROUP
    group = bpy.data.node_groups.get(name)
    if _is_ours(group):
        return group
    group = bpy.data.node_groups.new(name, "CompositorNodeTree")
    for name, kind in (("Image", "Color"), ("Depth", "Float"), ("Splats", "Color"), ("Splats Depth", "Float")):
        group.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}")
    group.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    given, result = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    nearer = group.nodes.new("CompositorNodeMath" if bpy.app.version < (4, 5) else "ShaderNodeMath")
    nearer.operation, nearer.label = "LESS_THAN", "Nearer than the Render"
    kept, over = group.nodes.new("CompositorNodeSetAlpha"), group.nodes.new("CompositorNodeAlphaOver")
    if hasattr(kept, "mode"):  # from 5.0 on an input, whose default this is
        kept.mode = "APPLY"
    for node, x in ((given, -800), (nearer, -600), (kept, -200), (over, 0), (result, 200)):
        node.location = (x, 0)
    below, above = (socket for socket in over.inputs if socket.type == "RGBA")
    group.links.new(given.outputs["Splats Depth"], nearer.inputs[0])
    group.links.new(given.outputs["Depth"], nearer.inputs[1])
    splats = given.outputs["Splats"]
    if transform in UNDOING:
        splats = _undone(group, splats, UNDOING[transform])
    group.links.new(splats, kept.inputs["Image"])
    group.links.new(nearer.outputs[0], kept.inputs["Alpha"])
    group.links.new(given.outputs["Image"], below)
    group.links.new(kept.outputs[0], above)
    group.links.new(over.outputs[0], result.inputs[0])
    return group


def _undone(group: Any, colours: Any, space: str) -> Any:
    """The socket of scene-linear colours that a view transform shows as another, plain one shows `colours`."""
    shown, meant = (group.nodes.new("CompositorNodeConvertColorSpace") for _ in range(2))
    shown.location, meant.location = (-600, -200), (-400, -200)
    shown.to_color_space = "sRGB"  # both come with the scene-linear space at either end
    try:
        meant.from_color_space = space
    except TypeError:  # the artist's own colour configuration does not have it
        return colours
    group.links.new(colours, shown.inputs[0])
    group.links.new(shown.outputs[0], meant.inputs[0])
    return meant.outputs[0]
