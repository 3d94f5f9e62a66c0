#!/usr/bin/python3
"""Executes pages of the documentation: writes their files, runs their commands in order, each page in an empty folder.

    tutorial_test.py EXECUTABLE PAGE...

A fence ```python NAME is a file; ```sh is commands that must succeed; ```sh fails, commands that must end with status 2 and
one line; ```sh regresses, commands that must end with status 1; ```sh python, commands of a plain Python with our package;
```text is a part of what the command before it printed. Runs of the same scenario with the same options must give the same
trace hash.
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(python|sh|text) *(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
COMMANDS = ("run", "sweep", "compare", "report")
STATUS = {"": 0, "fails": 2, "regresses": 1, "python": 0}
PYTHON = "PYTHONPATH=python python3 "


class Page:
    """A page that is executed in a folder. `wrong` is what went wrong, one line each."""

    def __init__(self, text: str, executable: str, folder: pathlib.Path) -> None:
        self.wrong: list[str] = []
        self._executable, self._folder = executable, folder
        self._hashes: dict[str, str] = {}
        self._output = ""
        commands = 0
        for language, words, body in FENCE.findall(text):
            if language == "python":
                (folder / words).write_text(body)
            elif language == "text":
                if body not in self._output:
                    self.wrong.append(f"the page shows what the command did not print: {body.splitlines()[0]}")
            elif words not in STATUS:
                self.wrong.append(f"```sh {words}: not a fence that this test knows")
            else:
                for command in body.splitlines():
                    commands += 1
                    self._run(command, words)
        if commands == 0:
            self.wrong.append("the page has no command")

    def _run(self, command: str, words: str) -> None:
        arguments = shlex.split(command)
        environment = dict(os.environ)
        if words == "python" and command.startswith(PYTHON):
            if subprocess.run(["/usr/bin/python3", "-c", "import pandas"], capture_output=True).returncode != 0:
                print(f"$ {command}\nleft out: there is no pandas", flush=True)
                return
            arguments = ["/usr/bin/python3", "-B", *shlex.split(command.removeprefix(PYTHON))]
            environment["PYTHONPATH"] = str(ROOT / "python")
        elif words != "python" and arguments[0] == "./verdigris" and arguments[1] in COMMANDS:
            arguments = [self._executable, *arguments[1:]]
        else:
            self.wrong.append(f"{command}: not a command that this test knows")
            return
        result = subprocess.run(arguments, cwd=self._folder, capture_output=True, text=True, env=environment)
        print(f"$ {command}\n{result.stdout}{result.stderr}", flush=True)
        self._output = result.stdout
        if result.returncode != STATUS[words]:
            self.wrong.append(f"{command}: status {result.returncode}")
        elif words == "fails" and result.stderr.count("\n") != 1:
            self.wrong.append(f"{command}: not exactly one line on the error output")
        elif words == "" and arguments[1] == "run":
            self._look_at_run(command)
        elif words == "" and arguments[1] == "report" and not (self._folder / result.stdout.strip()).is_file():
            self.wrong.append(f"{command}: no page")

    def _look_at_run(self, command: str) -> None:
        last = self._output.splitlines()[-1:]
        if not last or not re.fullmatch("trace_hash=[0-9a-f]{32}", last[0]):
            self.wrong.append(f"{command}: the last line is not a trace hash")
            return
        key = re.sub(r" --out \S+", "", command)
        if self._hashes.setdefault(key, last[0]) != last[0]:
            self.wrong.append(f"{command}: another trace hash than before")
        for name in re.findall(r"--out (\S+)", command):
            if not (self._folder / name / "result.json").is_file():
                self.wrong.append(f"{command}: left no result.json")


def main() -> int:
    executable, pages = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2:]
    wrong = []
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            found = Page((ROOT / page).read_text(), executable, pathlib.Path(folder)).wrong
        wrong += [f"{page}: {line}" for line in found]
    print("\n".join(wrong or ["the pages hold"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
