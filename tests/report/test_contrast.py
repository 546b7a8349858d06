"""The theme's colours against what they stand on, in light and dark: WCAG 2.2, level AA."""

from __future__ import annotations

import re
from importlib import resources

import pytest

CSS = resources.files("edgetl.report").joinpath("page.css").read_text(encoding="utf-8")

SERIES = ("blue", "orange", "green", "purple", "rose", "olive")
TONES = ("pass", "fail", "unsure")
Colour = tuple[float, float, float]


def theme(which: str) -> dict[str, Colour]:
    """The variables of the light or the dark page, as sRGB 0..1."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, flags=re.S)
    found: dict[str, Colour] = {}
    for block in blocks[: 1 if which == "light" else 2]:
        for name, value in re.findall(r"--([a-z]+): #([0-9a-f]{3,6});", block):
            full = value if len(value) == 6 else "".join(2 * one for one in value)
            red, green, blue = (int(full[at : at + 2], 16) / 255 for at in (0, 2, 4))
            found[name] = (red, green, blue)
    return found


def mixed(over: Colour, share: float, under: Colour) -> Colour:
    """A colour laid over another, as color-mix in sRGB and opacity do it."""
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(over, under, strict=True))
    return red, green, blue


def luminance(colour: Colour) -> float:
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module", params=["light", "dark"])
def colours(request: pytest.FixtureRequest) -> dict[str, Colour]:
    return theme(request.param)


def test_the_formula_is_the_standards() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    grey = (0x77 / 255,) * 3
    assert contrast(grey, (1, 1, 1)) == pytest.approx(4.48, abs=0.005)


def test_both_themes_define_the_same_variables() -> None:
    light = re.findall(r"--([a-z]+): #", re.findall(r":root \{(.*?)\}", CSS, flags=re.S)[0])
    dark = re.findall(r"--([a-z]+): #", re.findall(r":root \{(.*?)\}", CSS, flags=re.S)[1])
    assert set(light) == set(dark) and len(set(light)) > 15


def test_text_reads_on_the_page_and_on_its_cards(colours: dict[str, Colour]) -> None:
    for ink in ("ink", "muted", "blue", *TONES):
        for ground in ("page", "surface"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for ink in ("ink", "muted"):
        assert contrast(colours[ink], colours["shade"]) >= 4.5
    # The skip link, and the sign inside the verdict's disc.
    assert contrast(colours["page"], colours["ink"]) >= 4.5
    for tone in TONES:
        assert contrast(colours["surface"], colours[tone]) >= 4.5


def test_text_reads_on_tinted_grounds(colours: dict[str, Colour]) -> None:
    for tone in TONES:
        ground = mixed(colours[tone], 0.09, colours["surface"])
        for ink in ("ink", tone):
            assert contrast(colours[ink], ground) >= 4.5, (ink, tone)
    row = mixed(colours["pass"], 0.09, colours["surface"])
    assert contrast(colours["pass"], row) >= 4.5 and contrast(colours["ink"], row) >= 4.5


@pytest.mark.parametrize("tint", [0, 25, 50, 75, 100])
def test_a_count_reads_on_every_tint_of_the_confusion(colours, tint: int) -> None:
    found = re.search(r"calc\(var\(--tint\) \* ([\d.]+) \+ (\d+)%\)", CSS)
    assert found is not None
    for hue in ("good", "bad"):
        share = (float(found[1]) * tint + float(found[2])) / 100
        ground = mixed(colours[hue], share, colours["surface"])
        assert contrast(colours["ink"], ground) >= 4.5, hue


def test_what_is_drawn_stands_out_from_its_ground(colours: dict[str, Colour]) -> None:
    for ink in (*SERIES, *TONES, "ink", "muted"):
        assert contrast(colours[ink], colours["surface"]) >= 3, ink
    for tone in TONES:
        assert contrast(colours[tone], colours["shade"]) >= 3, tone
    # The series name their curves in their own colour, as text.
    for ink in SERIES:
        assert contrast(colours[ink], colours["surface"]) >= 4.5, ink
    assert contrast(colours["blue"], colours["page"]) >= 3  # the ring of the focus


def test_the_focus_is_drawn_and_never_taken_away() -> None:
    assert ":focus-visible { outline: 2px solid var(--blue)" in CSS
    removed = re.findall(r"([^{}]+)\{[^}]*outline: none", CSS)
    # A section takes the focus from a link, and shows itself by being there.
    assert [one.strip() for one in removed] == ["section:focus"]
