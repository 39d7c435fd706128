"""The 52 ARKit units: their names in Apple's order, and what each does."""

# fmt: off
ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on

_DESCRIPTIONS = {
    "eyeBlink": "Closes the {side} eye",
    "eyeLookDown": "Turns the {side} eye down",
    "eyeLookIn": "Turns the {side} eye towards the nose",
    "eyeLookOut": "Turns the {side} eye away from the nose",
    "eyeLookUp": "Turns the {side} eye up",
    "eyeSquint": "Tightens the lids of the {side} eye",
    "eyeWide": "Opens the {side} eye wide",
    "jawForward": "Pushes the jaw forward",
    "jawLeft": "Moves the jaw to the person's left",
    "jawRight": "Moves the jaw to the person's right",
    "jawOpen": "Opens the jaw",
    "mouthClose": "Closes the lips over an open jaw",
    "mouthFunnel": "Opens the lips into a funnel, as for oh",
    "mouthPucker": "Puckers the lips, as for a kiss",
    "mouthLeft": "Moves the lips to the person's left",
    "mouthRight": "Moves the lips to the person's right",
    "mouthSmile": "Draws the {side} corner of the mouth up into a smile",
    "mouthFrown": "Draws the {side} corner of the mouth down",
    "mouthDimple": "Draws the {side} corner of the mouth back",
    "mouthStretch": "Stretches the {side} corner of the mouth outward",
    "mouthRollLower": "Rolls the lower lip inward",
    "mouthRollUpper": "Rolls the upper lip inward",
    "mouthShrugLower": "Pushes the lower lip up",
    "mouthShrugUpper": "Pushes the upper lip up",
    "mouthPress": "Presses the lips together on the {side}",
    "mouthLowerDown": "Lowers the lower lip on the {side}",
    "mouthUpperUp": "Raises the upper lip on the {side}",
    "browDown": "Lowers the {side} brow",
    "browInnerUp": "Raises the inner ends of both brows",
    "browOuterUp": "Raises the outer end of the {side} brow",
    "cheekPuff": "Puffs both cheeks",
    "cheekSquint": "Raises the {side} cheek",
    "noseSneer": "Wrinkles the nose on the {side}",
    "tongueOut": "Puts the tongue out",
}


def description(name: str) -> str:
    """What the unit does, for a tooltip. Sides are the person's."""
    for side in ("Left", "Right"):
        stem = name.removesuffix(side)
        if stem != name and stem in _DESCRIPTIONS:
            return _DESCRIPTIONS[stem].format(side=side.lower())
    return _DESCRIPTIONS[name]
