"""Splats in Blender: the render engine, the viewport overlay, the compositing recipe."""
