"""Avatars: Gaussians, the rigs that move them, and the file they live in."""
