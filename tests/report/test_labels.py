from __future__ import annotations

from edgetl.report.labels import Label, place
from edgetl.report.theme import axes, canvas


def test_labels_of_close_points_do_not_cover_one_another() -> None:
    with canvas(300) as figure:
        plot = axes(figure, left=20, right=20, top=20, bottom=20)
        plot.set_xlim(0, 10)
        plot.set_ylim(0, 10)
        place(plot, [Label(x=5 + 0.1 * k, y=5, text=f"label {k}") for k in range(4)])
        texts = list(plot.texts)
        spots = [(text.xy[0] * 32 + text.xyann[0], text.xyann[1]) for text in texts]
    for index, (x, y) in enumerate(spots):
        for other_x, other_y in spots[:index]:
            assert abs(x - other_x) > 38 or abs(y - other_y) > 11


def test_a_label_at_the_edge_stays_inside() -> None:
    with canvas(200) as figure:
        plot = axes(figure, left=20, right=20, top=20, bottom=20)
        plot.set_xlim(0, 1)
        plot.set_ylim(0, 1)
        place(plot, [Label(x=1, y=0.5, text="a long label here")])
        assert plot.texts[0].xyann[0] < -40


def test_a_label_is_not_struck_through_by_a_bar() -> None:
    with canvas(300) as figure:
        plot = axes(figure, left=20, right=20, top=20, bottom=20)
        plot.set_xlim(0, 10)
        plot.set_ylim(0, 10)
        place(plot, [Label(x=5, y=5, text="name")], bars=[(5, 9, 5)])
        place(plot, [Label(x=5, y=5, text="name")])
        beside, above = (text.xyann for text in plot.texts)
    assert above == (0, 16) and beside[1] <= 0
