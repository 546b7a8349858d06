"""The dataset card as text of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
_MOST_CLASSES = 30
_ENDS = 12
_EXAMPLES = 5
_BAR = 30
_NAME = 40
_LABEL = 18


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """Lines for a person.

    Args:
        card: What `DatasetCard.to_json` gives.
    """
    lines = [
        _row("data", card["source"]),
        _row("samples", f"{card['samples']:,} {card['kind']}, {_many(card['classes'], 'class')}"),
    ]
    if card["splits"]:
        parts = ", ".join(f"{count:,} {name}" for name, count in card["splits"].items())
        lines.append(_row("given parts", parts))
    if card["slices"]:
        lines.append(_row("slices", ", ".join(card["slices"])))
    if card["sizes"]:
        sizes = {name: " × ".join(map(str, size)) or "one" for name, size in card["sizes"].items()}
        lines.append(_row("sizes", _sizes(sizes, card["kind"])))
    if card["grey_share"] is not None:
        lines.append(_row("grey", f"{card['grey_share']:.1%}"))
    lines += [*_classes(card), *_duplicates(card), *_near(card)]
    if card["constant"]:
        lines += [_row("constant", f"{len(card['constant']):,} of one value everywhere")]
        lines += _some(card["constant"])
    if card["skipped"]:
        lines += [_row("skipped", f"{len(card['skipped']):,} hidden, or no pictures")]
        lines += _some(card["skipped"])
    return [*lines, *_unusable(card)]


def _sizes(sizes: Mapping[str, str], kind: str) -> str:
    if len(set(sizes.values())) == 1:
        return f"{sizes['min']}, all the same"
    what = "height × width" if kind == "pictures" else "each axis"
    return f"{sizes['min']} to {sizes['max']}, median {sizes['median']} ({what})"


def _classes(card: Mapping[str, Any]) -> list[str]:
    ratio = card["imbalance"]
    text = "undefined: a class is empty" if ratio is None else f"{ratio:.1f} to 1"
    lines = [_row("imbalance", f"{text} (largest class to smallest)")]
    if ratio is not None:
        least = min(card["classes"], key=lambda one: one["samples"])
        name = _cut(least["name"], _NAME)
        lines.append(_row("fewest", f"{least['samples']:,} of {name}: per_class has to be below"))
    lines.append("")
    rows = sorted(card["classes"], key=lambda one: -one["samples"])
    most = max((one["samples"] for one in rows), default=0)
    if len(rows) > _MOST_CLASSES:
        hidden = len(rows) - 2 * _ENDS
        lines += [_class_row(one, most) for one in rows[:_ENDS]]
        lines.append(f"    … {hidden:,} more (--json has them) …")
        return [*lines, *(_class_row(one, most) for one in rows[-_ENDS:]), ""]
    return [*lines, *(_class_row(one, most) for one in card["classes"]), ""]


def _class_row(one: Mapping[str, Any], most: int) -> str:
    bar = "▇" * round(_BAR * one["samples"] / max(1, most))
    name = _cut(one["name"], _NAME)
    return f"    {name:<{_NAME}} {one['samples']:>9,} {one['share']:>6.1%}  {bar}".rstrip()


def _duplicates(card: Mapping[str, Any]) -> list[str]:
    found = card["duplicates"]
    conflicts = found["conflicting_labels"]
    text = f"{found['copies']:,} exact, {len(conflicts):,} contents with conflicting labels"
    if card["splits"]:
        text += f", {found['across_splits']:,} across parts"
    return [_row("copies", text), *_some([" = ".join(places) for places in conflicts])]


def _near(card: Mapping[str, Any]) -> list[str]:
    near = card["near_duplicates"]
    if near["pairs"] is None:
        return [_row("nearly the same", "not judged: no pictures, too small or flat, or too many")]
    where = " across parts" if card["splits"] else ""
    text = f"{near['pairs']:,} pairs{where}"
    if near["not_judged"]:
        text += f"; {near['not_judged']:,} not judged, too small or too flat"
    listed = [" ~ ".join(pair) for pair in near["listed"]]
    return [_row("nearly the same", text), *_some(listed, near["pairs"])]


def _unusable(card: Mapping[str, Any]) -> list[str]:
    files = card["unusable"]
    lines = []
    if files:
        count = "1 file" if len(files) == 1 else f"{len(files):,} files"
        lines += ["", f"{count} cannot be used; a release refuses the data until they are out:"]
        for one in files:
            line = f"    {one['file']}: {one['why']}"
            lines += [line] if len(line) <= WIDTH else [f"    {one['file']}:", *_wrap(one["why"])]
    if card["refusal"]:
        lines += ["", "a release refuses this data:", *_wrap(card["refusal"])]
    return lines


def _wrap(text: str) -> list[str]:
    indent = " " * 8
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _some(places: Sequence[str], total: int | None = None) -> list[str]:
    lines = [f"    {_cut(place, WIDTH - 4)}" for place in places[:_EXAMPLES]]
    more = (len(places) if total is None else total) - _EXAMPLES
    return [*lines, f"    … and {more:,} more (see --json)"] if more > 0 else lines


def _many(items: Sequence[Any], one: str) -> str:
    return f"{len(items):,} {one}" if len(items) == 1 else f"{len(items):,} {one}es"


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
