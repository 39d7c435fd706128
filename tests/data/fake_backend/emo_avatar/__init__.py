"""A backend to test the extension's side with: small, quick, and broken in whatever way a test asks for."""

__version__ = "0.1.0"
