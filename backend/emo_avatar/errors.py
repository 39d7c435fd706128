"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """One clear sentence: what is wrong with the input, and what to do about it."""
