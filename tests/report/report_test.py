#!/usr/bin/python3
"""report.html in headless Chromium: what it shows equals result.json, it asks for nothing, it fits, it works by keyboard.

    report_test.py EXECUTABLE SCREENSHOTS

The screenshots are left in the folder for a person to look at. The figures are invented (sample.py).
"""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any

import sample
from browser import Browser, is_there

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
MAXIMUM_BYTES = 1_500_000
arguments: list[str] = []

# What a button that saves would have saved, and the name of the file.
CAUGHT = """
const caught = [];
const original = URL.createObjectURL;
URL.createObjectURL = (blob) => { caught.push(blob); return original.call(URL, blob); };
document.querySelector(arguments[0]).click();
URL.createObjectURL = original;
return caught[0].text();
"""


def write_report(*folders: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """`verdigris report FOLDER...`."""
    return subprocess.run([arguments[0], "report", *map(str, folders)], capture_output=True, text=True, timeout=60)


class Page(unittest.TestCase):
    """Pages of invented runs, in one browser."""

    browser: Browser
    folder: pathlib.Path
    pictures: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.pictures = pathlib.Path(arguments[1])
        cls.pictures.mkdir(parents=True, exist_ok=True)
        sample.write(cls.folder / "run", sample.three_paths())
        sample.write(cls.folder / "plain", sample.plain())
        sample.write(cls.folder / "moved", sample.moved())
        sample.write(cls.folder / "scale", sample.scale())
        sample.write_sweep(cls.folder / "sweep")
        for name in ("run", "plain", "moved", "scale", "sweep"):
            done = write_report(cls.folder / name)
            if done.returncode:
                raise OSError(f"{name}: {done.stderr}")
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def show(self, name: str, width: int = 1280, dark: bool = False) -> None:
        """Opens a page; it must ask for nothing but itself and have nothing to complain about."""
        self.browser.look(width, dark=dark)
        self.browser.open(self.folder / name / "report.html")
        page = (self.folder / name / "report.html").resolve().as_uri()
        self.assertEqual([url for url in self.browser.requests() if not url.startswith("data:")], [page])
        self.assertEqual(self.browser.log("browser"), [])

    def result(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "result.json").read_text(encoding="utf-8"))

    def texts(self, selector: str) -> list[str]:
        return self.browser.script("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)

    def values(self, selector: str) -> list[str]:
        return self.browser.script("return [...document.querySelectorAll(arguments[0])].map((one) => one.dataset.value)", selector)

    def saved(self, name: str) -> str:
        """What the button that saves a figure's data gives."""
        return self.browser.script(CAUGHT, f"[data-save='{name}']")

    def saved_rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.saved(name))))

    def choose(self, label: str, value: str) -> None:
        """Takes another value in the drop-down of this label."""
        found = self.browser.script(
            """const picker = [...document.querySelectorAll('.picker')].find((one) => one.firstChild.textContent === arguments[0]);
            const select = picker.querySelector('select'); select.value = arguments[1]; select.dispatchEvent(new Event('change')); return select.value""",
            label, value,
        )  # fmt: skip
        self.assertEqual(found, value)
        self.browser.settle()

    def test_looks_are_kept_as_pictures_and_nothing_is_wider_than_the_window(self) -> None:
        for name in ("run", "plain", "moved", "scale", "sweep"):
            for width in (1280, 390):
                for dark in (False, True):
                    with self.subTest(name=name, width=width, dark=dark):
                        self.show(name, width, dark)
                        size = self.browser.script("return [document.documentElement.scrollWidth, innerWidth, document.documentElement.scrollHeight]")
                        self.assertEqual(size[:2], [width, width])
                        empty = self.browser.script("return [...document.querySelectorAll('.chart')].filter((one) => one.querySelectorAll('path').length < 3).map((one) => one.id)")
                        self.assertEqual(empty, [])
                        ground = self.browser.script("return getComputedStyle(document.body).backgroundColor")
                        self.assertEqual(ground, "rgb(15, 23, 23)" if dark else "rgb(243, 246, 245)")
                        self.browser.look(width, min(size[2], 9000), dark)
                        self.browser.settle()
                        picture = self.browser.screenshot(self.pictures / f"{name}-{width}-{'dark' if dark else 'light'}.png", whole=False)
                        self.assertGreater(len(picture), 20_000)

    def test_numbers_are_those_of_the_result(self) -> None:
        self.show("run")
        result = self.result("run")
        names = ["count", "min", "50", "90", "99", "99.9", "99.99", "max", "mean"]
        for workload in ("request_response", "bulk"):
            self.choose("Workload", workload)
            entries = [result["latency"][f"{variant}/{workload}"] for variant in sample.VARIANTS]
            expected = [str(entry["percentiles"][name] if name[0].isdigit() else entry[name]) for entry in entries for name in names]
            self.assertEqual(self.values("#latency-table td"), expected)
            rows = self.saved_rows("latency-chart")
            for variant, entry in zip(sample.VARIANTS, entries):
                self.assertEqual([[int(row["upper_ps"]), int(row["count"])] for row in rows if row["variant"] == variant], entry["buckets"])
        self.assertEqual(self.texts("#hash"), [result["trace_hash"]])
        bulk = [row["bits_per_second"] for row in self.saved_rows("throughput-chart")]
        self.assertEqual(bulk, [str(result["throughput"][f"{variant}/bulk"]["bits_per_second"]) for variant in sample.VARIANTS])
        spent = {(row["variant"], row["processor"], row["cause"]): int(row["ps"]) for row in self.saved_rows("cpu-chart")}
        flat = {(v, p, c): ps for v, cpu in result["cpu"].items() for p, causes in cpu["processors"].items() for c, ps in causes.items()}
        self.assertEqual(spent, flat)
        shown = dict(zip(self.texts("#stats tbody th"), self.values("#stats tbody td.number")))
        self.assertEqual(shown, {name: str(entry["value"]) for name, entry in result["stats"].items()})
        self.assertEqual([row[2] for row in self.table(".drops")], ["214", "37", "3"])
        self.assertEqual(json.loads(self.saved("result")), result)

    def test_a_migration_is_shown_round_by_round(self) -> None:
        self.show("moved")
        one, stays = self.result("moved")["migrations"]
        self.assertEqual(self.texts("#migrations h3")[0], "guest from a to b")
        self.assertEqual(self.values("[data-migration='0'] .card:first-child td[data-value]"), [
            str(one["total_ps"]), str(one["blackout_ps"]), str(one["bytes"]), str(round(one["bytes"] * 8 * 10**12 / one["total_ps"])), str(one["revocation_ps"])
        ])  # fmt: skip
        rounds = one["rounds"]
        # What a round leaves for the next one was written to while it lasted.
        written = [str(round(after["pages"] * 4096 * 8 * 10**12 / each["time_ps"])) for each, after in zip(rounds, rounds[1:])] + [None]
        rates = [str(round(each["bytes"] * 8 * 10**12 / each["time_ps"])) for each in rounds]
        shown = self.values("[data-migration='0'] .rounds td")
        self.assertEqual(shown, [item for each, rate, dirty in zip(rounds, rates, written) for item in (str(each["pages"]), str(each["bytes"]), str(each["time_ps"]), rate, dirty)])
        self.assertEqual([row["guest_stands"] for row in self.saved_rows("migration-0-time")], ["0", "0", "0", "0", "1"])
        # Nobody stood still for one that stays.
        self.assertEqual([row["guest_stands"] for row in self.saved_rows("migration-1-pages")], ["0", "0"])
        self.assertIn("the guest stays", self.texts("#migrations h3")[3])
        self.show("plain")
        self.assertEqual(self.texts("#migrations"), [])

    def table(self, selector: str) -> list[list[str]]:
        """The texts of a table's rows, without its head."""
        return self.browser.script("return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent))", selector)

    def test_rounded_texts_are_near_their_exact_values(self) -> None:
        self.show("run")
        units = {"ps": 1, "ns": 10**3, "µs": 10**6, "ms": 10**9, "s": 10**12}
        pairs = list(zip(self.texts("#latency-table td"), self.values("#latency-table td")))
        self.assertEqual(len(pairs), 27)
        for text, value in pairs:
            number, _, unit = text.rpartition("\u202f")
            if unit in units:
                self.assertLess(abs(float(number) * units[unit] - int(value)), 0.006 * int(value), text)

    def test_waterfall_sums_exactly_for_every_pair(self) -> None:
        self.show("run")
        result = self.result("run")
        for before in sample.VARIANTS:
            for after in sample.VARIANTS:
                if before == after:
                    continue
                self.choose("From", before)
                self.choose("to", after)
                *steps, total = self.saved_rows("waterfall")
                for variant in (before, after):
                    parts = result["attribution"][f"{variant}/request_response"]
                    self.assertEqual(int(total[f"{variant}_ps"]), parts["total"] // parts["count"])
                    self.assertEqual(sum(int(row[f"{variant}_ps"]) for row in steps), int(total[f"{variant}_ps"]))
                    for row in steps:
                        self.assertLessEqual(abs(int(row[f"{variant}_ps"]) - parts["causes"].get(row["cause"], 0) / parts["count"]), 1)
                self.assertEqual(sum(int(row["change_ps"]) for row in steps), int(total["change_ps"]))
                self.assertEqual(int(total["change_ps"]), int(total[f"{after}_ps"]) - int(total[f"{before}_ps"]))
                # The bars as they are drawn: the sum of what is written beside them, within its rounding.
                self.assertIn("saves" if int(total["change_ps"]) < 0 else "costs", self.texts("#finding")[0])

    def test_empty_states(self) -> None:
        self.show("plain")
        sections = self.browser.script("return [...document.querySelectorAll('section')].map((one) => one.id)")
        self.assertEqual(sections, ["processors", "exits", "machine", "checks", "setup", "statistics", "files"])
        self.assertIn("took no measurements", self.texts(".empty")[0])
        stats = self.result("plain")["stats"]
        counts = {name: entry["value"] for name, entry in stats.items() if ".exits." in name and entry["value"]}
        self.assertEqual(sum(int(row["count"]) for row in self.saved_rows("exits-chart")), sum(counts.values()))
        self.assertEqual(len(self.table(".checks") or self.texts(".checks li")), 3)

    def test_nothing_of_a_result_is_taken_for_markup(self) -> None:
        result = sample.plain()
        result["checks"] = [{"name": "</script><script>alert(1)</script>", "passed": False, "detail": "<img src=x onerror=alert(1)> & more"}]
        result["ended"] = "timeout"
        sample.write(self.folder / "hostile", result)
        self.assertEqual(write_report(self.folder / "hostile").returncode, 0)
        self.show("hostile")
        self.assertIn("</script><script>alert(1)</script>", self.texts(".checks strong")[0])
        self.assertEqual(self.texts("#verdict"), ["✕ 0 of 1 checks passed"])
        self.assertEqual(self.browser.script("return document.images.length"), 0)

    def test_many_causes_are_gathered_by_kind(self) -> None:
        result = sample.plain()
        causes = {f"guest.tenant{number}.stack.{what}": 10**9 + number for number in range(30) for what in ("tcp", "copy")}
        result["cpu"] = {"": {"window_ps": 10**12, "processors": {"host.lp0": {**causes, "idle": 10**12 - sum(causes.values())}}}}
        sample.write(self.folder / "tenants", result)
        self.assertEqual(write_report(self.folder / "tenants").returncode, 0)
        self.show("tenants")
        self.assertEqual(self.texts("[data-choice=kind][aria-checked=true]"), ["By kind"])
        legend = "return [...document.querySelectorAll('#cpu-chart text')].map((one) => one.textContent).filter((text) => text.startsWith('guest'))"
        self.assertEqual(self.browser.script(legend), ["guest.stack"])
        self.assertEqual({row["cause"]: int(row["ps"]) for row in self.saved_rows("cpu-chart")}, result["cpu"][""]["processors"]["host.lp0"])
        self.browser.script("document.querySelector('[data-choice=full]').click()")
        self.browser.settle()
        self.assertIn("guest.tenant29.stack.tcp", self.browser.script(legend))

    def test_search_in_statistics(self) -> None:
        self.show("scale")
        result = self.result("scale")
        self.browser.script("const box = document.querySelector('#stats-search'); box.value = 'tenant7.counter'; box.dispatchEvent(new Event('input'))")
        wanted = [name for name in result["stats"] if "tenant7.counter" in name]
        self.assertEqual(self.texts("#stats-count"), [f"{len(wanted)} of 30\u202f771 statistics"])
        self.assertEqual(sorted(self.texts("#stats tbody th")), sorted(wanted))
        self.browser.script("document.querySelector('#stats-zeros').click()")
        self.assertEqual(len(self.texts("#stats tbody th")), len([name for name in wanted if result["stats"][name]["value"]]))

    def test_curves_have_confidence_intervals_over_seeds(self) -> None:
        self.show("sweep")
        rows = self.saved_rows("sweep-chart")
        self.assertEqual(len(rows), 3 * 7)
        row = next(row for row in rows if row["line"] == "vf" and row["vfs"] == "8")
        values = [self.result(f"sweep/vfs=8,seed={seed}")["latency"]["vf/request_response"]["percentiles"]["50"] for seed in range(1, 6)]
        mean = sum(values) / 5
        half = 2.776 * (sum((value - mean) ** 2 for value in values) / 4 / 5) ** 0.5
        self.assertAlmostEqual(float(row["mean (ps)"]), mean, delta=1)
        self.assertAlmostEqual(float(row["half_width_95"]), half, delta=half * 1e-6)
        self.assertEqual(row["seeds"], "5")
        self.choose("Measure", "throughput, bulk")
        row = next(row for row in self.saved_rows("sweep-chart") if row["line"] == "emulated" and row["vfs"] == "63")
        values = [self.result(f"sweep/vfs=63,seed={seed}")["throughput"]["emulated/bulk"]["bits_per_second"] for seed in range(1, 6)]
        self.assertAlmostEqual(float(row["mean (bit/s)"]), sum(values) / 5, delta=1)

    def test_keyboard_reaches_and_works_everything(self) -> None:
        self.show("run")
        seen: list[str] = []
        for _ in range(400):
            self.browser.press("Tab", 9)
            place = self.browser.script("const one = document.activeElement; return one === document.body ? '' : one.dataset.save || one.dataset.choice || one.id || one.tagName")
            if not place or place == "":
                break
            seen.append(place)
        for wanted in ("percentiles", "latency-chart", "waterfall", "cpu-chart", "stats-search", "result"):
            self.assertIn(wanted, seen)
        self.browser.script("document.querySelector('[data-choice=percentiles]').focus()")
        self.browser.press("ArrowRight", 39)
        self.assertEqual(self.browser.script("return document.activeElement.dataset.choice + document.activeElement.getAttribute('aria-checked')"), "densitytrue")
        unnamed = self.browser.script("return [...document.querySelectorAll('button, select, input, [role=img], nav, [role=region]')].filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length)).length")
        self.assertEqual(unnamed, 0)

    def test_theme_can_be_chosen_against_the_system(self) -> None:
        self.show("run", dark=False)
        self.browser.script("document.querySelector('[data-choice=dark]').click()")
        self.browser.settle()
        self.assertEqual(self.browser.script("return getComputedStyle(document.body).backgroundColor"), "rgb(15, 23, 23)")
        colours = self.browser.script("return [...new Set([...document.querySelectorAll('#latency-chart path')].map((one) => one.getAttribute('stroke')))]")
        self.assertIn("#35c79b", colours)
        self.browser.script("document.querySelector('[data-choice=\"\"]').click()")

    def test_paper(self) -> None:
        self.show("run", dark=True)
        self.browser.paper(self.pictures / "run.pdf")
        self.assertTrue((self.pictures / "run.pdf").read_bytes().startswith(b"%PDF-"))
        pages = len(re.findall(rb"/Type\s*/Page\b", (self.pictures / "run.pdf").read_bytes()))
        self.assertIn(pages, range(4, 13))

    def test_contrast_of_text(self) -> None:
        """Text against its ground by WCAG 2: at least 4.5 to 1."""
        for dark in (False, True):
            self.show("run", dark=dark)
            pairs = self.browser.script(
                """const ground = (one) => { for (; one; one = one.parentElement) { const c = getComputedStyle(one).backgroundColor; if (!/, 0\\)$/.test(c) && c !== 'transparent') return c; } };
                return [...document.querySelectorAll('p, h1, h2, h3, dt, dd, a, td, th, button, summary, .pill, .note')].filter((one) => one.offsetParent && one.textContent.trim() && !one.classList.contains('faint'))
                    .map((one) => [getComputedStyle(one).color, ground(one), one.tagName + '.' + one.className])"""
            )
            self.assertGreater(len(pairs), 200)
            low = {(place, round(contrast(text, ground), 2)) for text, ground, place in pairs if contrast(text, ground) < 4.5}
            self.assertEqual(low, set())


def contrast(one: str, other: str) -> float:
    """The ratio of two CSS colours' luminances."""

    def luminance(colour: str) -> float:
        red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


class Writing(unittest.TestCase):
    """The command, without a browser."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def test_sizes_and_time(self) -> None:
        for kind, result in (("run", sample.three_paths()), ("plain", sample.plain()), ("scale", sample.scale())):
            sample.write(self.folder / kind, result)
            started = time.monotonic()
            self.assertEqual(write_report(self.folder / kind).stderr, "")
            took = time.monotonic() - started
            size = (self.folder / kind / "report.html").stat().st_size
            print(f"{kind}: {size} bytes, {took:.2f} s with the start of the executable")
            self.assertLess(size, MAXIMUM_BYTES)

    def test_the_same_run_gives_the_same_bytes(self) -> None:
        sample.write(self.folder / "run", sample.three_paths())
        pages = []
        for _ in range(2):
            write_report(self.folder / "run")
            pages.append((self.folder / "run/report.html").read_bytes())
        self.assertEqual(pages[0], pages[1])

    def test_wrong_use_is_one_line(self) -> None:
        (self.folder / "empty").mkdir()
        (self.folder / "damaged").mkdir()
        (self.folder / "damaged/result.json").write_text("{")
        cases = [
            (["nowhere"], "there is no folder {}/nowhere"),
            (["empty"], "there is no result.json below {}/empty"),
            (["damaged"], "{}/damaged/result.json is damaged at line 1 (Expecting property name enclosed in double quotes); repeat the run"),
            ([], "the following arguments are required: DIR (./verdigris report --help explains)"),
        ]
        for names, line in cases:
            with self.subTest(names=names):
                done = write_report(*(self.folder / name for name in names))
                self.assertEqual((done.returncode, done.stderr, done.stdout), (2, f"verdigris: {line.format(self.folder)}\n", ""))

    def test_several_runs_leave_each_its_own_page(self) -> None:
        for name in ("a", "b"):
            sample.write(self.folder / name, sample.plain())
            write_report(self.folder / name)
        before = (self.folder / "a/report.html").read_bytes()
        done = write_report(self.folder / "a", self.folder / "b")
        self.assertEqual((done.returncode, pathlib.Path(done.stdout.strip()).resolve()), (0, (self.folder / "report.html").resolve()))
        self.assertEqual((self.folder / "a/report.html").read_bytes(), before)
        self.assertIn('"report":"b/report.html"', (self.folder / "report.html").read_text(encoding="utf-8"))

    def test_without_the_bundle_a_run_says_so_in_one_line(self) -> None:
        shutil.copytree(ROOT / "python/verdigris", self.folder / "tree/python/verdigris", ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "guest.txt").write_text("100 print ready\n5000 state powered_off\n")
        (self.folder / "s.py").write_text(
            "import verdigris as vg\nhost = vg.Host(cores=1, memory='1GiB')\nvm = host.partition('web', memory='64MiB', guest=vg.Elf('guest.txt'))\n"
            "async def main(sim):\n    await vm.stopped()\n    sim.check('ok', True)\n"
        )
        for why, line in ((None, "set-up has not bundled its script"), ("npm is not installed", "npm is not installed")):
            if why:
                (self.folder / "tree/build/report").mkdir(parents=True)
                (self.folder / "tree/build/report/why").write_text(why + "\n")
            done = subprocess.run(
                [arguments[0], "run", "s.py", "--out", "out"], cwd=self.folder, capture_output=True, text=True, timeout=60,
                env={"PATH": os.environ["PATH"], "VERDIGRIS_PYTHON": str(self.folder / "tree/python")},
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stderr), (0, f"verdigris: no report.html: {line}; ./verdigris setup tries it again\n"))
            self.assertFalse((self.folder / "out/report.html").exists())
            self.assertTrue((self.folder / "out/result.json").is_file())

    def test_bundling_that_cannot_succeed_says_why_and_fails_nothing(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("bash", "cat", "cksum", "cp", "flock", "mkdir", "rm", "sed", "env"):
            found = shutil.which(name)
            assert found
            (programs / name).symlink_to(found)

        def stand_in(name: str, text: str) -> None:
            (programs / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
            (programs / name).chmod(0o755)

        build = self.folder / "build"
        cases = [
            (None, "node is not installed, so its script was not bundled"),
            (("node", "echo v16.1.0"), "npm is not installed, so its script was not bundled"),
            (("npm", "echo no such host; exit 1"), "node is of version 16, 18 is needed, so its script was not bundled"),
            (("node", "echo v20.0.0"), f"npm could not fetch its packages ({build}/log)"),
        ]
        for program, why in cases:
            if program:
                stand_in(*program)
            done = subprocess.run(
                ["bash", ROOT / "setup/report.sh", ROOT / "python/report", build], capture_output=True, text=True, timeout=60, env={"PATH": str(programs)}
            )
            self.assertEqual((done.returncode, done.stdout), (0, f"report.html: {why}\n"), done.stderr)
            self.assertEqual((build / "why").read_text(), why + "\n")
            self.assertFalse((build / "page.js").exists())

    def test_damaged_points_are_named_on_the_page(self) -> None:
        sample.write(self.folder / "points/a", sample.plain())
        (self.folder / "points/b").mkdir()
        (self.folder / "points/b/result.json").write_text("{}")
        self.assertEqual(write_report(self.folder).returncode, 0)
        self.assertIn('"skipped":["points/b"]', (self.folder / "report.html").read_text(encoding="utf-8"))


if __name__ == "__main__":
    arguments = [str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3]]
    if not is_there():
        print("there is no chromium with its chromedriver here")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
