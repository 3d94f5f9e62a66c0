#!/usr/bin/python3
"""Draws a part of a page as a PNG file, as for a README: picture.py PAGE PICTURE [SELECTOR [WIDTH [dark]]].

SELECTOR is that of CSS; without it, the whole page. Example: picture.py out/a/report.html latency.png '#latency'
"""

from __future__ import annotations

import base64
import pathlib
import sys

from browser import Browser

MARGIN = 12
PLACE = """const place = document.querySelector(arguments[0]).getBoundingClientRect();
return [place.x + scrollX, place.y + scrollY, place.width, place.height]"""


def draw(page: pathlib.Path, picture: pathlib.Path, selector: str = "body", width: int = 1280, dark: bool = False) -> None:
    """Draws the first element that the selector finds."""
    with Browser() as browser:
        browser.look(width, dark=dark)
        browser.open(page)
        # The window is as high as the page: nothing is drawn anew while the picture is taken.
        browser.look(width, browser.script("return document.documentElement.scrollHeight"), dark)
        browser.settle()
        left, top, wide, high = browser.script(PLACE, selector)
        clip = {"x": max(0, left - MARGIN), "y": max(0, top - MARGIN), "width": wide + 2 * MARGIN, "height": high + 2 * MARGIN, "scale": 1}
        picture.write_bytes(base64.b64decode(browser.cdp("Page.captureScreenshot", format="png", clip=clip)["data"]))


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    more = sys.argv[3:]
    draw(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), *more[:1], width=int(more[1]) if len(more) > 1 else 1280, dark="dark" in more[2:])
