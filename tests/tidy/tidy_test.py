#!/usr/bin/python3
"""Proves that each rule of tidy.py can fail: small bad trees, each with the exact finding, and good ones with none."""

from __future__ import annotations

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import tidy
import tutorial_test
from source_tree import SourceTree

HEADER = "// What it is for.\n#pragma once\n"
SOURCE = "// What it is for.\n"
LAUNCHER = (
    "#!/bin/bash\ncat <<'HELP'\n    ./verdigris run SCENARIO.py [--out DIR]\n    ./verdigris test [NAME]\n"
    "--preset NAME selects.\nHELP\n"
)
README = {f"{room}/README.md": "# room\n" for room in tidy.LAYERS}

FETCHED = ", ".join(f"`{package}`" for package in sorted(tidy.FETCHED_PACKAGES))

# Rule, files, the findings of this rule ("path:line: part of the message").
CASES: list[tuple[str, dict[str, str], list[str]]] = [
    # Layers: upwards, downwards, to tests, without the room's name, in a comment, in CMake.
    ("layers", {"sim/a.h": HEADER + '#include "mmu/walk.h"\n'}, ["sim/a.h:3: sim may not include mmu"]),
    ("layers", {"vmbus/a.cpp": SOURCE + '#include "hypervisor/a.h"\n'}, ["vmbus/a.cpp:2: vmbus may not include hypervisor"]),
    ("layers", {"hypervisor/a.cpp": SOURCE + '#include "vmbus/a.h"\n'}, ["hypervisor/a.cpp:2: hypervisor may not include vmbus"]),
    ("layers", {"sim/a.h": HEADER + '#include "tests/a.h"\n'}, ["sim/a.h:3: nothing includes tests"]),
    ("layers", {"sim/a.h": HEADER + '#include "time.h"\n'}, ['sim/a.h:3: include from the root of the tree: "sim/time.h"']),
    ("layers", {"models/a.cpp": SOURCE + '#include "sim/a.h"\n', "tests/cpu/t.cpp": SOURCE + '#include "models/a.h"\n'}, []),
    ("layers", {"sim/a.h": HEADER + '// #include "mmu/walk.h"\n/*\n#include "mmu/walk.h"\n*/\n'}, []),
    ("layers", {"cpu/CMakeLists.txt": "vg_room(cpu vg_sim vg_pci)\n"}, ["cpu/CMakeLists.txt:1: cpu may not link pci"]),
    ("layers", {"cpu/CMakeLists.txt": "vg_room(cpu vg_sim vg_slat) # not vg_pci\n"}, []),
    # External headers.
    ("external_headers", {"models/uart.h": HEADER + "#include <systemc>\n"}, ["models/uart.h:3: <systemc> may be included in"]),
    ("external_headers", {"models/platform.h": HEADER + "#include <systemc>\n"}, []),
    ("external_headers", {"models/systemc/nic.h": HEADER + "#include <systemc>\n"}, []),
    ("external_headers", {"models/a.h": HEADER + "#include <unicorn/unicorn.h>\n"}, ["models/a.h:3: <unicorn/unicorn.h> may be"]),
    ("external_headers", {"cpu/a.h": HEADER + "#include <unicorn/unicorn.h>\n#include <capstone/capstone.h>\n"}, []),
    ("external_headers", {"sim/a.h": HEADER + "#include <capstone/capstone.h>\n"}, ["sim/a.h:3: <capstone/capstone.h> may be"]),
    ("external_headers", {"sim/a.h": HEADER + "#include <pybind11/embed.h>\n"}, ["sim/a.h:3: <pybind11/embed.h> may be"]),
    ("external_headers", {"tests/sim/a.cpp": SOURCE + "#include <systemc>\n"}, []),
    # Determinism.
    ("determinism", {"cpu/a.cpp": SOURCE + "gettimeofday(&t, nullptr);\n"}, ["cpu/a.cpp:2: gettimeofday( reads the host's clock"]),
    ("determinism", {"cpu/a.cpp": SOURCE + "auto t = std::chrono::steady_clock::now();\n"}, ["cpu/a.cpp:2: std::chrono reads"]),
    ("determinism", {"cpu/a.cpp": SOURCE + "#include <chrono>\n"}, ["cpu/a.cpp:2: #include <chrono> reads"]),
    ("determinism", {"sim/a.cpp": SOURCE + "auto t = time(nullptr);\n"}, ["sim/a.cpp:2: time(nullptr) reads"]),
    ("determinism", {"sim/a.cpp": SOURCE + "auto t = std::time(0);\n"}, ["sim/a.cpp:2: std::time(0) reads"]),
    ("determinism", {"sim/a.cpp": SOURCE + "auto t = agenda.time(0) + to_time(x) + local_time(0);\n"}, []),
    ("determinism", {"sim/a.cpp": SOURCE + "int r = rand();\n"}, ["sim/a.cpp:2: rand( draws"]),
    ("determinism", {"sim/a.cpp": SOURCE + "int r = stream.rand() + strand(2);\nRandom Scope::random() {}\n"}, []),
    ("determinism", {"sim/a.cpp": SOURCE + "int r = ::random();\n"}, ["sim/a.cpp:2: ::random( draws"]),
    ("determinism", {"sim/a.cpp": SOURCE + "std::random_device d;\n"}, ["sim/a.cpp:2: std::random_device draws"]),
    ("determinism", {"sim/a.cpp": SOURCE + "std::mt19937 d;\n"}, ["sim/a.cpp:2: std::mt19937 draws"]),
    ("determinism", {"models/a.cpp": SOURCE + 'getenv("HOME");\n'}, ["models/a.cpp:2: getenv( reads the environment"]),
    ("determinism", {"models/a.cpp": SOURCE + "__rdtsc();\n"}, ["models/a.cpp:2: __rdtsc( reads"]),
    ("determinism", {"models/a.cpp": SOURCE + "std::locale l;\n"}, ["models/a.cpp:2: std::locale depends"]),
    ("determinism", {"models/a.cpp": SOURCE + "std::hash<Vp*> h;\n"}, ["models/a.cpp:2: std::hash<Vp*> depends on addresses"]),
    ("determinism", {"models/a.cpp": SOURCE + "std::thread t;\n"}, ["models/a.cpp:2: std::thread leaves order"]),
    ("determinism", {"python/a.cpp": SOURCE + "#include <chrono>\nstd::unordered_map<int, int> m;\n"}, []),
    ("determinism", {"cpu/a.cpp": SOURCE + "std::unordered_map<int, int> m;\n"}, ["cpu/a.cpp:2: an unordered container"]),
    ("determinism", {"cpu/a.cpp": SOURCE + "std::unordered_map<int, int> m;  // order: never iterated\n"}, []),
    ("determinism", {"cpu/a.cpp": SOURCE + '// rand() here, getenv("X") there\nconst char* s = "rand() // getenv(";\n'}, []),
    ("determinism", {"sim/time.h": HEADER + "double seconds();\n"}, ["sim/time.h:3: time, order and probability are integers"]),
    ("determinism", {"sim/statistics.h": HEADER + "double mean();\n"}, []),
    # Names.
    ("names", {"sim/util.h": HEADER}, ["sim/util.h:1: util.h says nothing"]),
    ("names", {"common/time.h": HEADER}, ["common/time.h:1: common says nothing"]),
    ("names", {"sim/Agenda.h": HEADER}, ["sim/Agenda.h:1: files are named in snake_case"]),
    ("names", {"sim/baseline.h": HEADER}, []),
    # Headers and purpose.
    ("pragma_once", {"sim/a.h": "// What.\n#include <map>\n#pragma once\n"}, ["sim/a.h:1: the first line of code"]),
    ("pragma_once", {"sim/a.h": "// What.\n"}, ["sim/a.h:1: the first line of code"]),
    ("pragma_once", {"sim/a.h": HEADER}, []),
    ("purpose", {"sim/a.h": "#pragma once\n#include <map>\n"}, ["sim/a.h:1: begins with a comment"]),
    ("purpose", {"sim/a.h": "#pragma once\n// What.\n"}, []),
    ("purpose", {"sim/a.cpp": "#include <map>\n"}, ["sim/a.cpp:1: begins with a comment"]),
    ("purpose", {"sim/a.h": HEADER, "sim/a.cpp": '#include "sim/a.h"\n'}, []),
    ("purpose", {"setup/a.py": "import sys\n"}, ["setup/a.py:1: begins with a docstring"]),
    ("purpose", {"setup/a.py": "def f(:\n"}, ["setup/a.py:1: not Python"]),
    # Length.
    ("length", {"sim/a.cpp": SOURCE * 601}, ["sim/a.cpp:601: 601 lines"]),
    ("length", {"sim/a.cpp": SOURCE * 600}, []),
    ("length", {"sim/a.cpp": SOURCE * 601, "tests/tidy/long_files.txt": "sim/a.cpp one table\n"}, []),
    ("length", {"sim/a.cpp": SOURCE * 601, "tests/tidy/long_files.txt": "sim/a.cpp\n"}, ["tests/tidy/long_files.txt:1: sim/a.cpp has no reason"]),
    ("length", {"sim/a.cpp": SOURCE, "tests/tidy/long_files.txt": "sim/a.cpp one table\n"}, ["tests/tidy/long_files.txt:1: sim/a.cpp is short"]),
    ("length", {"tests/tidy/long_files.txt": "sim/a.cpp one table\n"}, ["tests/tidy/long_files.txt:1: sim/a.cpp is not there"]),
    # Text.
    ("finished", {"sim/a.h": HEADER + "// TO" + "DO later\n"}, ["sim/a.h:3: TO" + "DO in the source"]),
    ("finished", {"README.md": "FIX" + "ME\n"}, ["README.md:1: FIX" + "ME in the source"]),
    ("finished", {"README.md": "a" + "TO" + "DOb\n"}, []),
    ("white_space", {"sim/a.h": HEADER + "int x; \n"}, ["sim/a.h:3: space at the end"]),
    ("white_space", {"sim/a.h": HEADER + "\tint x;\n"}, ["sim/a.h:3: a tab"]),
    ("white_space", {"sim/a.h": HEADER + "int x;"}, ["sim/a.h:3: ends with exactly one line end"]),
    ("white_space", {"sim/a.h": HEADER + "int x;\r\n"}, ["sim/a.h:3: space at the end"]),
    ("columns", {"sim/a.h": HEADER + "//" + 119 * "x" + "\n"}, ["sim/a.h:3: 121 columns; at most 120"]),
    ("columns", {"sim/a.h": HEADER + "//" + 118 * "x" + "\n"}, []),
    (
        "columns",
        {"sim/a.h": HEADER + f"// clang-format off\n//{'x' * 119}\n// clang-format on\n//{'x' * 119}\n"},
        ["sim/a.h:6: 121 columns; at most 120"],
    ),
    ("machine_paths", {"README.md": "see /home" + "/someone/x\n"}, ["README.md:1: /home" + "/someone is one machine's path"]),
    ("machine_paths", {"README.md": "see $HOME/.cache and /usr/bin/python3\n"}, []),
    # Documents.
    ("room_readme", {"sim/a.h": HEADER}, ["sim:1: a room has a README.md"]),
    ("room_readme", {"sim/a.h": HEADER, "sim/README.md": "# sim\n"}, []),
    ("document_links", {"docs/a.md": "[b](b.md) [c](../c.md#d)\n"}, ["docs/a.md:1: nothing is at b.md", "docs/a.md:1: nothing is at ../c.md#d"]),
    ("document_links", {"docs/a.md": "[b](b.md) [e](https://example.org/) [f](#f)\n", "docs/b.md": "b\n"}, []),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "`./verdigris boil`\n"}, ["README.md:1: ./verdigris has no command boil"]),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "`./verdigris --preset dev boil`\n"}, ["README.md:1: ./verdigris has no command boil"]),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "    ./verdigris run --hot\n"}, ["README.md:1: ./verdigris has no option --hot"]),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "    ./verdigris run scenarios/a.py --out x\n"}, ["README.md:1: there is no scenarios/a.py"]),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "`./verdigris test`, `./verdigris run SCENARIO.py`\n"}, []),
    ("document_commands", {"verdigris": LAUNCHER, "README.md": "```python a.py\n```\n`./verdigris run a.py`\n"}, []),
    # Packages.
    (
        "dependencies",
        {"setup/packages.txt": "cmake build cmd:cmake x\n", "docs/dependencies.md": "| a | `ninja-build` | |\n"},
        [
            "setup/packages.txt:1: cmake is missing in docs/dependencies.md",
            "docs/dependencies.md:1: ninja-build is missing in setup/packages.txt",
            *(f"docs/dependencies.md:1: {package} is fetched" for package in sorted(tidy.FETCHED_PACKAGES)),
        ],
    ),
    (
        "dependencies",
        {"setup/packages.txt": "abc@13 build cmd:x x\n", "docs/dependencies.md": f"| a | `abc`, {FETCHED} | |\n"},
        [],
    ),
    # Python.
    ("type_hints", {"setup/a.py": '"""A."""\ndef f(x) -> int: ...\n'}, ["setup/a.py:2: f lacks the type of x"]),
    ("type_hints", {"setup/a.py": '"""A."""\ndef f(x: int): ...\n'}, ["setup/a.py:2: f lacks the type of its result"]),
    ("type_hints", {"scenarios/a.py": '"""A."""\nasync def main(sim): ...\n'}, []),
]


def make_tree(root: pathlib.Path, files: dict[str, str]) -> SourceTree:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return SourceTree(root)


class Rules(unittest.TestCase):
    def test_each_case(self) -> None:
        for name, files, expected in CASES:
            with self.subTest(rule=name, files=files), tempfile.TemporaryDirectory() as folder:
                found = [f"{p}:{n}: {m}" for p, n, m in tidy.RULES[name](make_tree(pathlib.Path(folder), files))]
                self.assertEqual(len(found), len(expected), found)
                for finding, start in zip(found, expected):
                    self.assertTrue(finding.startswith(start), f"{finding!r} does not start with {start!r}")

    def test_every_rule_has_a_case_that_fails_and_one_that_does_not(self) -> None:
        for name in tidy.RULES:
            self.assertTrue(any(rule == name and expected for rule, _, expected in CASES), name)
        # white_space, finished and the rest see every good tree below.
        good = {**README, "verdigris": LAUNCHER, "sim/a.h": HEADER, "sim/a.cpp": SOURCE}
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(tidy.check(make_tree(pathlib.Path(folder), good)), [])

    def test_a_bad_tree_ends_with_status_1(self) -> None:
        script = pathlib.Path(tidy.__file__)
        with tempfile.TemporaryDirectory() as folder:
            make_tree(pathlib.Path(folder), {"sim/util.h": HEADER})
            result = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("sim/util.h:1: names: util.h says nothing about what is in it\n", result.stdout)

    def test_a_clone_on_a_machine_without_git(self) -> None:
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.dict("os.environ", {"PATH": folder}):
            make_tree(pathlib.Path(folder), {"sim/a.h": HEADER, "build/b.h": HEADER, ".git/c.h": HEADER})
            self.assertEqual([str(path) for path in SourceTree(pathlib.Path(folder)).paths], ["sim/a.h"])

    def test_an_empty_tree_is_not_a_clean_tree(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run([sys.executable, tidy.__file__, folder], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, result.stdout)

    def test_layers_are_acyclic(self) -> None:
        order = list(tidy.LAYERS)
        for room, allowed in tidy.LAYERS.items():
            for other in allowed:
                self.assertLess(order.index(other), order.index(room), f"{room} includes {other}")


class Format(unittest.TestCase):
    def test_bad_layout_is_found(self) -> None:
        checker = pathlib.Path(__file__).parent / "check_format.py"
        style = (pathlib.Path(__file__).parents[2] / ".clang-format").read_text()
        for text, status in [("int  x;\n", 1), ("int x;\n", 0)]:
            with self.subTest(text=text), tempfile.TemporaryDirectory() as folder:
                make_tree(pathlib.Path(folder), {".clang-format": style, "sim/a.cpp": text})
                result = subprocess.run([sys.executable, checker, folder], capture_output=True, text=True)
                if result.returncode == 77:
                    self.skipTest(result.stdout.strip())
                self.assertEqual(result.returncode, status, result.stdout + result.stderr)


class Tutorial(unittest.TestCase):
    PAGE = "```python a.py\nx\n```\n```sh\n./verdigris run a.py --out o\n./verdigris run a.py --out p\n```\n"

    def run_page(self, page: str, behaviour: str) -> list[str]:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
            program = pathlib.Path(name) / "program"
            program.write_text(f"#!/bin/bash\n{behaviour}\n")
            program.chmod(0o755)
            return tutorial_test.Page(page, str(program), pathlib.Path(name)).wrong

    def test_what_goes_wrong_is_found(self) -> None:
        good = '[ -f a.py ] || exit 3; mkdir -p $4; echo {} >$4/result.json; echo "trace_hash=$(printf %032d 7)"'
        first, second = (f"./verdigris run a.py --out {name}" for name in "op")
        mistake = "```sh fails\n./verdigris run b.py\n```\n"
        cases = [
            (self.PAGE, good, []),
            (self.PAGE, f"{good}; exit 1", [f"{first}: status 1", f"{second}: status 1"]),
            (self.PAGE, good.replace("d 7", "d ${#4}$RANDOM"), [f"{second}: another trace hash than before"]),
            (self.PAGE, good.replace("032d", "031d"), [f"{command}: the last line is not a trace hash" for command in (first, second)]),
            (self.PAGE, "echo trace_hash=" + "0" * 32, [f"{command}: left no result.json" for command in (first, second)]),
            (mistake, "echo no >&2; exit 2", []),
            (mistake, "exit 2", ["./verdigris run b.py: not exactly one line on the error output"]),
            (mistake, "echo no >&2; exit 1", ["./verdigris run b.py: status 1"]),
            ("```sh\nls\n```\n", "exit 0", ["ls: not a command that this test knows"]),
            ("no fence", "exit 0", ["the page has no command"]),
        ]
        for page, behaviour, expected in cases:
            with self.subTest(page=page, behaviour=behaviour):
                self.assertEqual(self.run_page(page, behaviour), expected)


if __name__ == "__main__":
    unittest.main()
