"""A layout to draw on in background mode: it refuses what Blender's own would refuse.

Wrong icons, unknown properties, operators that are not registered and arguments that do not exist raise; what was drawn
is kept as text.
"""

import bpy

_FUNCTIONS = bpy.types.UILayout.bl_rna.functions
_SETTINGS = bpy.types.UILayout.bl_rna.properties


class Layout:
    def __init__(self, texts=None):
        object.__setattr__(self, "texts", [] if texts is None else texts)

    def __setattr__(self, name, value):
        assert name in _SETTINGS, f"layouts have no {name}"

    def __getattr__(self, name):
        function = _FUNCTIONS[name]

        def call(*values, **named):
            names = [parameter.identifier for parameter in function.parameters if not parameter.is_output]
            arguments = dict(zip(names, values, strict=False)) | named
            for argument, value in arguments.items():
                parameter = function.parameters[argument]
                if parameter.type == "ENUM" and not parameter.is_enum_flag:
                    assert value in parameter.enum_items, f"{name}: {argument} cannot be {value}"
            self.texts.append(str(arguments.get("text", "")))
            if name in ("prop", "prop_search", "prop_enum", "props_enum"):
                data, path = arguments["data"], arguments["property"]
                assert path.startswith('["') and path[2:-2] in data or path in data.bl_rna.properties, path
            if name == "operator":
                module, operator = arguments["operator"].split(".")
                kind = getattr(getattr(bpy.ops, module), operator).get_rna_type()
                return _Settable(kind)
            return Layout(self.texts)

        return call


class _Settable:
    def __init__(self, kind):
        object.__setattr__(self, "_kind", kind)

    def __setattr__(self, name, value):
        assert name in self._kind.properties, f"{self._kind.identifier} has no {name}"


def drawn(cls, context=None, **attributes):
    """What a panel, menu or header draws, as one text; `attributes` are those that it reads from itself."""

    class Drawing:
        pass

    drawing = Drawing()
    drawing.layout = Layout()
    for name, value in attributes.items():
        setattr(drawing, name, value)
    cls.draw(drawing, context or bpy.context)
    return "\n".join(drawing.layout.texts)
