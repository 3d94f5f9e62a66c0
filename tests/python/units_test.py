"""Times and sizes: exact values, and one clear message for each wrong one."""

from __future__ import annotations

import inspect
import unittest

import verdigris
from verdigris import UserError, format_time, parse_size, parse_time
from verdigris.units import parse_share

TIMES = [
    ("30s", 30_000_000_000_000),
    ("1.5ms", 1_500_000_000),
    ("0.1s", 100_000_000_000),  # not a binary fraction
    ("2.000000000001s", 2_000_000_000_001),
    ("0", 0),
    ("0.0", 0),
    ("0s", 0),
    (" 7 us ", 7_000_000),
    ("3min", 180_000_000_000_000),
    ("2h", 7_200_000_000_000_000),
    ("250ps", 250),
    (12345, 12345),
    ("9223372.036854775807s", 2**63 - 1),
]
WRONG_TIMES = [
    ("30", "time: '30' has no unit; units are ps, ns, us, ms, s, min, h"),
    ("5 sec", "time: '5 sec' has the unknown unit 'sec'; units are ps, ns, us, ms, s, min, h"),
    ("0.5ps", "time: '0.5ps' is not a whole number of picoseconds"),
    ("-1s", "time: '-1s' is not understood; write it like 30s or 1.5ms"),
    ("1e3s", "time: '1e3s' is not understood; write it like 30s or 1.5ms"),
    ("", "time: '' is not understood; write it like 30s or 1.5ms"),
    ("9223372.036854775808s", "time: '9223372.036854775808s' is out of range"),
    (-1, "time: -1 is out of range"),
    (1.5, "time: 1.5 is neither text like 30s or 1.5ms nor a whole number of picoseconds"),
    (True, "time: True is neither text like 30s or 1.5ms nor a whole number of picoseconds"),
    ("١s", "time: '١s' is not understood; write it like 30s or 1.5ms"),
]
SIZES = [("512MiB", 512 << 20), ("4GiB", 4 << 30), ("1.5KiB", 1536), ("0", 0), ("1TiB", 1 << 40), ("7B", 7), (4096, 4096)]
WRONG_SIZES = [
    ("512MB", "size: '512MB' has the unknown unit 'MB'; units are B, KiB, MiB, GiB, TiB"),
    ("0.3KiB", "size: '0.3KiB' is not a whole number of bytes"),
    ("512", "size: '512' has no unit; units are B, KiB, MiB, GiB, TiB"),
    ("99999999999TiB", "size: '99999999999TiB' is out of range"),
]
SHARES = [("25%", 25_000), ("12.5%", 12_500), ("0.001%", 1), ("100%", 100_000), (5, 5)]
WRONG_SHARES = [
    ("25", "cap: '25' has no unit; units are %"),
    ("101%", "cap: '101%' is out of range"),
    ("0.0001%", "not a whole number of thousandths"),
]
FORMATTED = [
    (0, "0 ps"),
    (999, "999 ps"),
    (1000, "1 ns"),
    (1_500_000_000, "1.5 ms"),
    (2_000_000_000_001, "2.000000000001 s"),
    (61_000_000_000_000, "61 s"),
]


class Units(unittest.TestCase):
    def test_times(self) -> None:
        for text, expected in TIMES:
            with self.subTest(text):
                self.assertEqual(parse_time(text), expected)

    def test_wrong_times(self) -> None:
        for text, message in WRONG_TIMES:
            with self.subTest(text), self.assertRaises(UserError) as caught:
                parse_time(text)  # type: ignore[arg-type]
            self.assertEqual(str(caught.exception), message)

    def test_sizes(self) -> None:
        for text, expected in SIZES:
            with self.subTest(text):
                self.assertEqual(parse_size(text), expected)

    def test_wrong_sizes(self) -> None:
        for text, message in WRONG_SIZES:
            with self.subTest(text), self.assertRaises(UserError) as caught:
                parse_size(text)
            self.assertEqual(str(caught.exception), message)

    def test_shares(self) -> None:
        for text, expected in SHARES:
            with self.subTest(text):
                self.assertEqual(parse_share(text, "cap"), expected)
        for text, message in WRONG_SHARES:
            with self.subTest(text), self.assertRaises(UserError) as caught:
                parse_share(text, "cap")
            self.assertIn(message, str(caught.exception))

    def test_format(self) -> None:
        for ps, text in FORMATTED:
            with self.subTest(ps):
                self.assertEqual(format_time(ps), text)

    def test_format_is_read_back(self) -> None:
        for ps in (0, 1, 999, 1001, 123_456_789_012_345, 2**63 - 1):
            self.assertEqual(parse_time(format_time(ps)), ps)


class PublicNames(unittest.TestCase):
    def test_each_is_described(self) -> None:
        """`help(vg.Host)` and an editor have something to show for each class, method, property and function."""
        bare = []
        for name in verdigris.__all__:
            what = getattr(verdigris, name)
            parts = [part for part in vars(what) if not part.startswith("_")] if inspect.isclass(what) else []
            functions = {f"{name}.{part}": getattr(what, part) for part in parts} | ({name: what} if callable(what) else {})
            for place, one in functions.items():
                if (callable(one) or isinstance(one, property)) and not inspect.getdoc(one):
                    bare.append(place)
        self.assertEqual(bare, [])
