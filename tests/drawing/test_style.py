"""How states look."""

import pytest

from dagy.drawing import ICONS, PALETTE
from dagy.drawing.style import NO_STATE
from dagy.states import StateType


def contrast(one: str, other: str) -> float:
    """The contrast of two `#rrggbb` colours, as the accessibility guidelines reckon it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("look", [*PALETTE.values(), NO_STATE])
def test_text_and_icons_stand_out_from_what_is_behind_them(look):
    assert contrast(look.text, look.fill) >= 4.5
    assert contrast("#ffffff", look.badge) >= 3


def test_every_state_has_its_own_icon_sign_word_and_colour():
    assert set(ICONS) == set(PALETTE) == set(StateType)
    for values in (ICONS.values(), *zip(*((x.sign, x.label, x.fill) for x in PALETTE.values()), strict=True)):
        assert len(set(values)) == len(StateType)
