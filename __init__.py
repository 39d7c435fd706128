"""Blender's door to the extension: the repository's root is its source folder."""


def register() -> None:
    from .emo_avatar_addon import registration

    registration.register()


def unregister() -> None:
    from .emo_avatar_addon import registration

    registration.unregister()
