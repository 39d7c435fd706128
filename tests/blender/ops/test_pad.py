"""Where the emotion pad opens."""

from types import SimpleNamespace

from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops.pad import free_span


def area(*regions, toolbar=True, sidebar=True):
    space = SimpleNamespace(show_region_toolbar=toolbar, show_region_ui=sidebar)
    boxes = [SimpleNamespace(type=kind, x=x, width=width) for kind, x, width in regions]
    return SimpleNamespace(x=100, width=1000, spaces=SimpleNamespace(active=space), regions=boxes)


def test_the_pad_has_the_room_between_toolbar_and_sidebar():
    both = (("WINDOW", 100, 1000), ("TOOLS", 100, 60), ("UI", 800, 300))
    assert free_span(area(*both)) == (160, 800)
    assert free_span(area(*both, toolbar=False)) == (100, 800)
    assert free_span(area(*both, toolbar=False, sidebar=False)) == (100, 1100)
    flipped = (("WINDOW", 100, 1000), ("TOOLS", 1040, 60), ("UI", 100, 300))
    assert free_span(area(*flipped)) == (400, 1040)
