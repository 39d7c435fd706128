"""What others can open: FLAME npz, animated GLB, splat PLY sequences, video, pictures and contact sheets."""
