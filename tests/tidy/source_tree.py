"""The files of a source tree, as the checks see them."""

from __future__ import annotations

import functools
import pathlib
import re
import shutil
import subprocess

CPP_SUFFIXES = (".h", ".cpp", ".c")
TEXT_SUFFIXES = (*CPP_SUFFIXES, ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".S", ".ld", ".asm", ".inc")
TEXT_NAMES = ("verdigris", "run", ".clang-format", ".clang-tidy", ".gitignore", "LICENSE")
SKIPPED_FOLDERS = {".git", "build", "out", "__pycache__"}

# A comment, or a literal, whichever comes first; so that a quote in a comment or a slash in a string misleads nobody.
_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'', re.DOTALL
)


class SourceTree:
    """A folder with the paths of its source files, relative and sorted. Ignored and untracked build output is left out."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.paths = [path for path in self._listed() if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES]

    def _listed(self) -> list[pathlib.PurePosixPath]:
        if (self.root / ".git").exists() and shutil.which("git") is not None:
            command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            result = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
            if result.returncode == 0:
                names = sorted(set(filter(None, result.stdout.split("\0"))))
                return [pathlib.PurePosixPath(name) for name in names if (self.root / name).is_file()]
        files = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return [pathlib.PurePosixPath(path) for path in sorted(files) if not SKIPPED_FOLDERS & set(path.parts)]

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    @functools.lru_cache(maxsize=None)
    def text(self, path: pathlib.PurePosixPath) -> str:
        """The content of a file; bytes that are not UTF-8 are replaced."""
        return (self.root / path).read_bytes().decode("utf-8", errors="replace")

    def lines(self, path: pathlib.PurePosixPath) -> list[str]:
        return self.text(path).split("\n")

    @functools.lru_cache(maxsize=None)
    def code_lines(self, path: pathlib.PurePosixPath) -> list[str]:
        """The lines of a C++ file without comments and literals, as many lines as the file has."""

        def blank(match: re.Match[str]) -> str:
            # An include's path is a literal too, but it is what the layer rule reads.
            line_start = match.string.rfind("\n", 0, match.start()) + 1
            if match.string[line_start : match.start()].lstrip().startswith("#include"):
                return match.group() if match.group().startswith('"') else "\n" * match.group().count("\n")
            return " " + "\n" * match.group().count("\n")

        return _TOKEN.sub(blank, self.text(path)).split("\n")

    def cpp(self) -> list[pathlib.PurePosixPath]:
        return [path for path in self.paths if path.suffix in CPP_SUFFIXES]

    def markdown(self) -> list[pathlib.PurePosixPath]:
        return [path for path in self.paths if path.suffix == ".md"]

    def python(self) -> list[pathlib.PurePosixPath]:
        return [path for path in self.paths if path.suffix == ".py"]
