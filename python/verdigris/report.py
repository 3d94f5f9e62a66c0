"""report.html: one file that shows a run, or several, and needs nothing beside it.

The page's script and style are bundled by set-up (setup/report.sh) from python/report into build/report; this module puts
them and the data into one file. Without the bundle there is no page, and that is no failure of a run.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import html
import json
import os
import pathlib
import sys
from typing import Any

from .errors import UserError
from .files import PARTIAL, write_whole
from .report_points import collect
from .result_file import read_result

NAME = "report.html"
# JavaScript's numbers are exact up to here; larger integers travel as text.
EXACT = 2**53
# Data beyond this is compressed in the page.
PACK_BEYOND_BYTES = 200_000

_BUNDLE = pathlib.Path(__file__).resolve().parents[2] / "build" / "report"
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E"
    "%3Cpath d='M3 4h5l4 11 4-11h5l-7 17h-4z' fill='%23008f6b'/%3E%3C/svg%3E"
)


def make_parser() -> argparse.ArgumentParser:
    """The options of `report`."""
    parser = argparse.ArgumentParser(
        prog="./verdigris report",
        description="Writes report.html, a page that shows results and loads nothing: of a run into its folder; of a sweep, or of all runs below "
        "several folders into the folder that holds them, with curves and confidence intervals over seeds.",
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of a run or of a sweep")
    return parser


def report(options: argparse.Namespace) -> int:
    """The command; gives the exit status. UserError for wrong use."""
    folders = [pathlib.Path(folder) for folder in options.folders]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
    if len(folders) == 1 and (folders[0] / "result.json").exists():
        print(_write_run(folders[0]))
    else:
        print(_write_points(folders))
    return 0


def write(folder: pathlib.Path) -> None:
    """The page of a run that has just ended. What hinders it is one line on the error output; the run's results stand."""
    try:
        _write_run(folder)
    except (UserError, OSError) as error:
        print(f"verdigris: no {NAME}: {' '.join(str(error).split())}", file=sys.stderr)


def _write_run(folder: pathlib.Path) -> pathlib.Path:
    """Writes the page of one run into its folder."""
    result = read_result(folder)
    name = folder.resolve().name
    data = {
        "kind": "run",
        "name": name,
        "version": result["version"],
        "result": {key: value for key, value in result.items() if key != "stats"},
        "statistics": _pack_statistics(result["stats"]),
        "files": sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != PARTIAL and path.name != NAME),
    }
    return _write(folder / NAME, f"{name} – {pathlib.PurePath(result['scenario']).name}", data)


def _write_points(folders: list[pathlib.Path]) -> pathlib.Path:
    """Writes one page over all runs below these folders, into the folder that holds them. UserError if there are none."""
    name = " and ".join(folder.resolve().name for folder in folders)
    # A run keeps its own page.
    base = folders[0] if len(folders) == 1 else pathlib.Path(os.path.relpath(os.path.commonpath([folder.resolve().parent for folder in folders])))
    data = {"kind": "sweep", "name": name, **collect(folders, base)}
    return _write(base / NAME, name, data)


def _pack_statistics(statistics: dict[str, Any]) -> dict[str, list[Any]]:
    """Statistics as columns: a thousand partitions repeat few units and descriptions."""
    kinds: dict[tuple[str, str], int] = {}
    kind_of = [kinds.setdefault((str(one.get("unit", "")), str(one.get("description", ""))), len(kinds)) for one in statistics.values()]
    return {
        "names": list(statistics),
        "values": [one.get("value", 0) for one in statistics.values()],
        "kind_of": kind_of,
        "kinds": [list(kind) for kind in kinds],
    }


def _exact(value: Any) -> Any:
    """The same data with integers that JavaScript would round as {"$integer": "digits"}."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return {"$integer": str(value)}
    return value


def _bundle_part(name: str) -> str:
    try:
        return (_BUNDLE / name).read_text(encoding="utf-8")
    except OSError:
        why = _BUNDLE / "why"
        reason = why.read_text(encoding="utf-8").strip() if why.is_file() else "set-up has not bundled its script"
        raise UserError(f"{reason}; ./verdigris setup tries it again") from None


def _write(path: pathlib.Path, title: str, data: dict[str, Any]) -> pathlib.Path:
    script, style = _bundle_part("page.js"), _bundle_part("page.css")
    text = json.dumps(_exact(data), ensure_ascii=False, separators=(",", ":"))
    if len(text) > PACK_BEYOND_BYTES:
        packed = base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")
        holder = f'<script type="application/json" id="data" data-packed="gzip">{packed}</script>'
    else:
        # Nothing in the data can end the element that holds it.
        holder = f'<script type="application/json" id="data">{text.replace("<", chr(92) + "u003c")}</script>'
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(title)}</title>
<link rel="icon" href="{_ICON}">
<style>{style}</style>
</head>
<body>
<noscript>This page draws its figures with a script that is part of this file. The same numbers are in result.json beside it.</noscript>
{holder}
<script>{script.replace("</script", "<" + chr(92) + "/script")}</script>
</body>
</html>
"""
    write_whole(path, page)
    return path
