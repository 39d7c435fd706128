"""The way to the backend: its process, its address, its installation. Nothing here imports `bpy`."""
