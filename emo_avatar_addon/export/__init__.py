"""What leaves Blender: FLAME npz, Alembic, USD, glTF, FBX, splats as PLY, pictures and video."""
