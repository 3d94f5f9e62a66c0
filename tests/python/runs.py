"""Runs scenarios with the executable that runs these tests, in a folder of their own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
from typing import Any

import _verdigris

HEAD = """\
import verdigris as vg
host = vg.Host(cores=2, memory="1GiB")
vm = host.partition("web", memory="64MiB", guest=vg.Elf("guest.txt"))
"""
HEAD_LINES = HEAD.count("\n")


def why_not_into(folder: str) -> str | None:
    """What this machine answers who makes a file there; None if it lets them. Root is refused in /sys, but not everywhere in
    the same words (a container may see it read-only), and not at all where it is no more than a folder."""
    file = pathlib.Path(folder, f"verdigris-test-{os.getpid()}")
    try:
        file.touch(exist_ok=False)
    except OSError as error:
        return error.strerror
    file.unlink()
    return None


class ScenarioCase(unittest.TestCase):
    """A test with an empty folder and a way to run scenarios in it."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def write(self, scenario: str, guest: str = "100 print ready\n5000 state powered_off\n", name: str = "s.py") -> None:
        """Puts a scenario and the script of its guest there."""
        (self.folder / name).write_text(scenario, encoding="utf-8")
        (self.folder / "guest.txt").write_text(guest, encoding="utf-8", errors="surrogateescape")

    def command(self, *arguments: str) -> list[str]:
        return [_verdigris.executable, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Of everything that a test starts, whatever the caller's is: a sweep's points depend on where guest images are."""
        package = {name: value for name, value in os.environ.items() if name == "VERDIGRIS_PYTHON"}  # these tests have it too
        return {**package, "PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Starts the executable in the folder."""
        return subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment, **options)

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the executable in the folder."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            env=self.environment,
        )

    def run_main(self, body: str, *arguments: str, guest: str | None = None, head: str = HEAD) -> subprocess.CompletedProcess[str]:
        """Runs a scenario whose main has this body."""
        lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
        scenario = f"{head}async def main(sim):\n{lines}"
        if guest is None:
            self.write(scenario)
        else:
            self.write(scenario, guest)
        return self.run_command("run", "s.py", *arguments)

    def result(self, folder: str = "out") -> dict:
        """The content of result.json."""
        return json.loads((self.folder / folder / "result.json").read_text(encoding="utf-8"))

    def assert_one_line(self, done: subprocess.CompletedProcess[str], line: str, status: int = 2) -> None:
        """One line on the error output, exactly this one, and nothing else."""
        self.assertEqual((done.stderr, done.returncode), (f"verdigris: {line}\n", status))
