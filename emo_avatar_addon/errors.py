"""The one exception that is meant for the user's eyes."""


class AddonError(Exception):
    """One clear sentence: what is wrong, and what the user can do about it."""
