"""Emo Avatar: one portrait photo in, an emotional 3D head avatar out."""

import os

__version__ = "0.1.0"

# PyTorch's worker threads would spin while they wait for each other; with Blender on the same cores that makes every
# small operation several times slower. Read once, when PyTorch is loaded; a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# OpenBLAS's threads spin likewise, beside the matte's and the rasteriser's; the matrices here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
