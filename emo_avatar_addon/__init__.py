"""Emo Avatar inside Blender. Importing this package imports nothing else: `registration` does."""
