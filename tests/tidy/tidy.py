#!/usr/bin/python3
"""Checks what a compiler does not: layers between rooms, determinism, names, sizes, documents.

    tidy.py [ROOT]

Prints one line per finding, `path:line: rule: message`, and exits with 1 if there is any.
tidy_test.py proves for each rule that it can fail.
"""

from __future__ import annotations

import ast
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

from source_tree import SourceTree

# Room -> rooms that it may include. Tests may include all; nothing includes tests.
LAYERS: dict[str, set[str]] = {
    "sim": set(),
    "mmu": {"sim"},
    "slat": {"sim", "mmu"},
    "pci": {"sim", "mmu", "slat"},
    "cpu": {"sim", "mmu", "slat"},
    "vmbus": {"sim"},
    "sriov_nic": {"sim", "pci"},
    "hypervisor": {"sim", "mmu", "slat", "cpu", "pci"},
    "models": {"sim", "mmu", "slat", "pci", "cpu", "vmbus", "sriov_nic", "hypervisor"},
    "python": {"sim", "mmu", "slat", "pci", "cpu", "vmbus", "sriov_nic", "hypervisor", "models"},
}
# Rooms whose behaviour is part of a result: nothing of the host may reach them.
SIMULATED_ROOMS = set(LAYERS) - {"python"}

# External header -> where it may be included, one place or several. Tests may include any.
EXTERNAL_HEADERS = {
    re.compile(r"^(systemc|systemc\.h|tlm|tlm\.h|tlm_utils/.*|sysc/.*)$"): ("models/platform", "models/systemc/"),
    re.compile(r"^unicorn/"): "cpu/",
    re.compile(r"^capstone/"): "cpu/",
    re.compile(r"^(pybind11/.*|Python\.h)$"): "python/",
}

FORBIDDEN = {
    re.compile(r"\b(gettimeofday|clock_gettime|clock|timespec_get|localtime(_r)?|gmtime(_r)?)\s*\("): "reads the host's clock",
    re.compile(r"\bstd::chrono\b|#\s*include\s*<(chrono|ctime|time\.h|sys/time\.h)>"): "reads the host's clock",
    re.compile(r"(?<![\w.>:])(std::|::)?time\s*\(\s*(NULL|nullptr|0|&\w+)\s*\)"): "reads the host's clock",
    re.compile(r"\b(__rdtsc|__rdtscp|_rdrand\w*)\s*\("): "reads the host's processor",
    re.compile(r"(?<![\w.>])(std::|::)?(s?rand|rand_r|drand48|getrandom|getentropy)\s*\(|(?<!\w)::random\s*\("): "draws from the host",
    re.compile(r"\bstd::(random_device|mt19937(_64)?|\w+_distribution|default_random_engine)\b"): "draws other than from sim::Random",
    re.compile(r"\b(secure_)?getenv\s*\("): "reads the environment",
    re.compile(r"\b(std::locale|setlocale)\b"): "depends on the locale",
    re.compile(r"\bstd::hash\s*<[^>]*\*\s*>"): "depends on addresses",
    re.compile(r"\bstd::(jthread|thread|async)\b"): "leaves order to the host's scheduler",
}  # fmt: skip
UNORDERED = re.compile(r"\b(std::unordered_(multi)?(map|set)\b|#\s*include\s*<unordered_(map|set)>)")
UNORDERED_MARK = "// order: never iterated"
FLOATING_POINT = re.compile(r"\b(float|double)\b")
# Time, order and probability are integers (architecture: "Time and order").
INTEGER_ONLY = re.compile(r"^sim/(time|agenda|random)\.(h|cpp)$")

BAD_NAMES = {"util", "utils", "utility", "utilities", "common", "misc", "base"}
# Exceptions to a rule, each with its reason: (rule, path) -> reason.
ALLOWED: dict[tuple[str, str], str] = {
    ("determinism", "cpu/engine_wraps.cpp"): "replaces the host's clock for the engine by a constant",
}

MAXIMUM_LINES = 600
MAXIMUM_COLUMNS = 120
UNFINISHED = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b")
# Packages that set-up unpacks into the cache but never installs.
FETCHED_PACKAGES = {
    "linux-image-cloud-amd64", "linux-image-amd64", "busybox-static", "hyperv-daemons", "perl-base", "libc6", "libcrypt1",
}  # fmt: skip

Finding = tuple[str, int, str]
Rule = Callable[[SourceTree], Iterator[Finding]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Registers a rule under its function's name."""
    RULES[function.__name__] = function
    return function


def room_of(path: pathlib.PurePosixPath) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


@rule
def layers(tree: SourceTree) -> Iterator[Finding]:
    """Includes between rooms, and CMake link lists, go one way only."""
    for path in tree.cpp():
        room = room_of(path)
        for number, line in enumerate(tree.code_lines(path), start=1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not match or room not in LAYERS:
                continue
            target = match.group(1).split("/")[0]
            if "/" not in match.group(1):
                yield str(path), number, f'include from the root of the tree: "{room}/{match.group(1)}"'
            elif target == "tests":
                yield str(path), number, "nothing includes tests"
            elif target in LAYERS and target != room and target not in LAYERS[room]:
                yield str(path), number, f"{room} may not include {target}"
    for room, allowed in LAYERS.items():
        path = pathlib.PurePosixPath(room) / "CMakeLists.txt"
        if tree.exists(str(path)):
            for number, line in enumerate(tree.lines(path), start=1):
                for target in re.findall(r"\bvg_(\w+)", line.split("#")[0]):
                    if target in LAYERS and target != room and target not in allowed:
                        yield str(path), number, f"{room} may not link {target}"


@rule
def external_headers(tree: SourceTree) -> Iterator[Finding]:
    """SystemC, Unicorn, Capstone and Python each stay behind one door."""
    for path in tree.cpp():
        if room_of(path) == "tests":
            continue
        for number, line in enumerate(tree.code_lines(path), start=1):
            match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            for header, place in EXTERNAL_HEADERS.items():
                if match and header.match(match.group(1)) and not str(path).startswith(place):
                    yield str(path), number, f"<{match.group(1)}> may be included in {place if isinstance(place, str) else ' and '.join(place)} only"


@rule
def determinism(tree: SourceTree) -> Iterator[Finding]:
    """Nothing in a simulated room depends on the host."""
    for path in tree.cpp():
        if room_of(path) not in SIMULATED_ROOMS:
            continue
        source = tree.lines(path)
        for number, line in enumerate(tree.code_lines(path), start=1):
            for pattern, reason in FORBIDDEN.items():
                if pattern.search(line):
                    yield str(path), number, f"{pattern.search(line).group().strip()} {reason}"
            if UNORDERED.search(line) and UNORDERED_MARK not in source[number - 1]:
                yield str(path), number, f"an unordered container has no order of its own; mark it `{UNORDERED_MARK}`"
            if INTEGER_ONLY.match(str(path)) and FLOATING_POINT.search(line):
                yield str(path), number, "time, order and probability are integers"


@rule
def names(tree: SourceTree) -> Iterator[Finding]:
    """A name says what is inside."""
    for path in tree.paths:
        for part in path.parts:
            if part.split(".")[0].lower() in BAD_NAMES:
                yield str(path), 1, f"{part} says nothing about what is in it"
        if path.suffix in (".h", ".cpp", ".c", ".py") and not re.fullmatch(r"[a-z0-9_]+", path.stem):
            yield str(path), 1, "files are named in snake_case"


@rule
def pragma_once(tree: SourceTree) -> Iterator[Finding]:
    """A header guards itself."""
    for path in tree.cpp():
        if path.suffix == ".h":
            code = [line.strip() for line in tree.code_lines(path) if line.strip()]
            if not code or code[0] != "#pragma once":
                yield str(path), 1, "the first line of code in a header is #pragma once"


@rule
def purpose(tree: SourceTree) -> Iterator[Finding]:
    """A file begins by saying what it is for."""
    for path in tree.paths:
        text = tree.text(path).lstrip()
        if path.suffix in (".h", ".cpp", ".c"):
            text = text.removeprefix("#pragma once").lstrip()
            # A source file beside its header need not say the same again.
            introduced = path.suffix != ".h" and tree.exists(str(path.with_suffix(".h")))
            if not introduced and not text.startswith(("//", "/*")):
                yield str(path), 1, "begins with a comment on what it is for"
        elif path.suffix == ".py" and path.name != "__init__.py" and text:
            try:
                documented = ast.get_docstring(ast.parse(text)) is not None
            except SyntaxError as error:
                yield str(path), error.lineno or 1, f"not Python: {error.msg}"
                continue
            if not documented:
                yield str(path), 1, "begins with a docstring on what it is for"


@rule
def length(tree: SourceTree) -> Iterator[Finding]:
    """A long file has a reason."""
    reasons: dict[str, int] = {}
    list_path = pathlib.PurePosixPath("tests/tidy/long_files.txt")
    if tree.exists(str(list_path)):
        for number, line in enumerate(tree.lines(list_path), start=1):
            if line.strip() and not line.startswith("#"):
                path, _, reason = line.partition(" ")
                reasons[path] = number
                if not reason.strip():
                    yield str(list_path), number, f"{path} has no reason"
    for path in tree.paths:
        count = tree.text(path).count("\n")
        listed = reasons.pop(str(path), None)
        if path.suffix in (".h", ".cpp", ".c", ".py", ".sh", ".S") and count > MAXIMUM_LINES and listed is None:
            yield str(path), count, f"{count} lines; more than {MAXIMUM_LINES} need a reason in {list_path}"
        elif listed is not None and count <= MAXIMUM_LINES:
            yield str(list_path), listed, f"{path} is short enough now"
    for path_name, number in reasons.items():
        yield str(list_path), number, f"{path_name} is not there"


@rule
def finished(tree: SourceTree) -> Iterator[Finding]:
    """What is left to do stands in the tracker, not in the source."""
    for path in tree.paths:
        for number, line in enumerate(tree.lines(path), start=1):
            if UNFINISHED.search(line):
                yield str(path), number, f"{UNFINISHED.search(line).group()} in the source"


@rule
def white_space(tree: SourceTree) -> Iterator[Finding]:
    """No trailing space, no carriage return, no tab where it carries no meaning, one line end at the end."""
    for path in tree.paths:
        text = tree.text(path)
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            yield str(path), text.count("\n") + 1, "ends with exactly one line end"
        for number, line in enumerate(tree.lines(path), start=1):
            if line != line.rstrip():
                yield str(path), number, "space at the end of the line"
            if "\t" in line and path.suffix not in (".S", ".asm"):
                yield str(path), number, "a tab"


@rule
def columns(tree: SourceTree) -> Iterator[Finding]:
    """A line of C++ fits the screen, a comment too; tables that are laid out by hand may be wider."""
    for path in tree.cpp():
        by_hand = False
        for number, line in enumerate(tree.lines(path), start=1):
            by_hand = "clang-format off" in line or (by_hand and "clang-format on" not in line)
            if not by_hand and len(line) > MAXIMUM_COLUMNS and not re.search(r'R"|https?://', line):
                yield str(path), number, f"{len(line)} columns; at most {MAXIMUM_COLUMNS}"


@rule
def machine_paths(tree: SourceTree) -> Iterator[Finding]:
    """No file depends on one person's machine."""
    for path in tree.paths:
        for number, line in enumerate(tree.lines(path), start=1):
            match = re.search(r"(?<![\w.$}/])/(root|home|Users)/\w+", line)
            if match:
                yield str(path), number, f"{match.group()} is one machine's path"


@rule
def room_readme(tree: SourceTree) -> Iterator[Finding]:
    """Every room explains itself on one screen."""
    for room in LAYERS:
        if any(room_of(path) == room for path in tree.cpp()) and not tree.exists(f"{room}/README.md"):
            yield room, 1, "a room has a README.md"


@rule
def document_links(tree: SourceTree) -> Iterator[Finding]:
    """A relative link in a document leads somewhere."""
    for path in tree.markdown():
        for number, line in enumerate(tree.lines(path), start=1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target) or target.startswith("#"):
                    continue
                if not tree.exists(str(path.parent / target.split("#")[0])):
                    yield str(path), number, f"nothing is at {target}"


@rule
def document_commands(tree: SourceTree) -> Iterator[Finding]:
    """A command in a document is one that the launcher knows, with options that its help lists."""
    launcher = pathlib.PurePosixPath("verdigris")
    if not tree.exists(str(launcher)):
        return
    text = tree.text(launcher)
    help_text = text.partition("<<'HELP'\n")[2].partition("\nHELP\n")[0]
    commands = set(re.findall(r"^ +\./verdigris (\w+)", help_text, re.MULTILINE)) | {"help"}
    options = set(re.findall(r"--[a-z][\w-]*", help_text))
    for path in tree.markdown():
        # A page may show a file itself, in a fence that names it.
        shown = set(re.findall(r"^```python (\S+)$", tree.text(path), re.MULTILINE))
        for number, line in enumerate(tree.lines(path), start=1):
            for words in re.findall(r"\./verdigris((?: +[^`\s]+)*)", line):
                words = [word.strip("[]().,;:") for word in words.split()]
                index = 2 if words[:1] == ["--preset"] else 0
                command = words[index] if index < len(words) else "help"
                # Prose goes on after an inline command, so only what looks like an option or a scenario is judged.
                if re.fullmatch(r"[a-z]\w*", command) and command not in commands:
                    yield str(path), number, f"./verdigris has no command {command}"
                for word in words:
                    option = word.split("=")[0]
                    if option.startswith("--") and option != "--" and option not in options:
                        yield str(path), number, f"./verdigris has no option {option}"
                    if re.fullmatch(r"[a-z][\w/]*\.py", word) and word not in shown and not tree.exists(word):
                        yield str(path), number, f"there is no {word}"


@rule
def dependencies(tree: SourceTree) -> Iterator[Finding]:
    """Set-up and docs/dependencies.md name the same packages."""
    table = pathlib.PurePosixPath("setup/packages.txt")
    document = pathlib.PurePosixPath("docs/dependencies.md")
    if not tree.exists(str(table)):
        return
    installed = {
        line.split()[0].split("@")[0]: number
        for number, line in enumerate(tree.lines(table), start=1)
        if line.strip() and not line.startswith("#")
    }
    documented: dict[str, int] = {}
    if tree.exists(str(document)):
        for number, line in enumerate(tree.lines(document), start=1):
            cells = line.split("|")
            if len(cells) > 3:
                documented.update({package: number for package in re.findall(r"`([a-z0-9][a-z0-9.+-]+)`", cells[2])})
    for package, number in installed.items():
        if package not in documented:
            yield str(table), number, f"{package} is missing in {document}"
    for package, number in documented.items():
        if package not in installed and package not in FETCHED_PACKAGES:
            yield str(document), number, f"{package} is missing in {table}"
    for package in sorted(FETCHED_PACKAGES - documented.keys()):
        yield str(document), 1, f"{package} is fetched by set-up but missing here"


@rule
def type_hints(tree: SourceTree) -> Iterator[Finding]:
    """Python outside scenarios and labs says the types of its functions."""
    for path in tree.python():
        if room_of(path) not in ("python", "setup", "tests"):
            continue
        try:
            module = ast.parse(tree.text(path))
        except SyntaxError:
            continue  # reported by `purpose`
        for node in ast.walk(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                bare = [item.arg for item in arguments if item.annotation is None and item.arg not in ("self", "cls")]
                if bare or (node.returns is None and node.name != "__init__"):
                    yield str(path), node.lineno, f"{node.name} lacks the type of {', '.join(bare) or 'its result'}"


def check(tree: SourceTree) -> list[str]:
    """All findings, one line each."""
    findings = []
    used: set[tuple[str, str]] = set()
    for name, function in RULES.items():
        for path, line, message in function(tree):
            if (name, path) in ALLOWED:
                used.add((name, path))
            else:
                findings.append(f"{path}:{line}: {name}: {message}")
    for name, path in ALLOWED:
        if tree.exists(path) and (name, path) not in used:
            findings.append(f"{path}:1: allowed: no finding of {name} here any more")
    return findings


def main() -> int:
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    tree = SourceTree(root)
    findings = check(tree)
    print("\n".join([*findings, f"{len(tree.paths)} files, {len(RULES)} rules, {len(findings)} findings"]))
    return 1 if findings or not tree.paths else 0


if __name__ == "__main__":
    sys.exit(main())
