"""The page as a browser sees it: nothing loaded, no error, no sideways scrolling."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgetl.report import render_report
from tests.report.helpers.made import report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is on the path"),
]

# The page itself runs nothing: a wrapper around it measures, and writes what it found.
WRAPPER = """<!doctype html><meta charset="utf-8">
<iframe id="page" width="{width}" height="900" srcdoc="{page}"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument;
  const box = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter(one =>
    !one.closest(".scroll, pre, svg, .unseen, .forest thead")
    && one.getBoundingClientRect().right > box.clientWidth + 1);
  const images = [...page.images];
  document.getElementById("found").textContent = JSON.stringify({{
    client: box.clientWidth,
    scroll: Math.max(box.scrollWidth, page.body.scrollWidth),
    wide: wide.map(one => one.tagName + "." + one.className),
    sections: [...page.querySelectorAll("[id]")].map(one => one.id),
    loaded: frame.contentWindow.performance.getEntriesByType("resource")
      .map(one => one.name.slice(0, 60)).filter(name => !name.startsWith("data:")),
    pictures: images.length,
    broken: images.filter(one => !one.naturalWidth).length,
    clipped: [...page.querySelectorAll(".turned thead th")].filter(one =>
      one.scrollHeight > one.clientHeight + 1).length,
    figures: [...page.querySelectorAll("svg.plot")].map(one => one.getBoundingClientRect().height),
    alerted: frame.contentWindow.alerted === true,
  }});
}});
</script>"""


def seen(tmp_path: Path, page: str, width: int, *, dark: bool = False) -> dict:
    """What a browser makes of the page in a window of that width, with its console."""
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(WRAPPER.format(width=width, page=html.escape(page)), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width + 40, 600)},1000",
            "--virtual-time-budget=4000",
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.S)
    assert text is not None, done.stderr[-2000:]
    found = json.loads(html.unescape(text[1]))
    found["console"] = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return found


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_loads_nothing_and_complains_of_nothing(
    tmp_path, whole, page, width: int
) -> None:
    found = seen(tmp_path, page, width, dark=width == 390)
    assert found["scroll"] <= found["client"] and found["wide"] == []
    assert found["loaded"] == [] and found["console"] == []
    for name in ("verdict", "variants", "margins", "flips", "environment"):
        assert name in found["sections"]
    assert found["pictures"] > 0 and found["broken"] == 0
    assert min(found["figures"]) > 100


def test_long_class_names_over_a_square_of_counts_are_not_clipped(tmp_path) -> None:
    names = tuple(f"{k} wire-haired" for k in range(8))
    page = render_report(report(names))
    assert "heat turned" in page
    found = seen(tmp_path, page, 1280)
    assert found["clipped"] == 0 and found["scroll"] <= found["client"]


def test_hostile_names_run_nothing_and_widen_nothing(tmp_path) -> None:
    attack = "parent.alerted=window.alerted=true"
    names = (
        f"<script>{attack}</script>",
        f"</svg><img src=x onerror={attack}>",
        f"</title></style><script>{attack}</script>",
        "w" * 300,
    )
    found = seen(tmp_path, render_report(report(names, name=names[2])), 390)
    assert not found["alerted"] and found["console"] == [] and found["loaded"] == []
    assert found["scroll"] <= found["client"]
