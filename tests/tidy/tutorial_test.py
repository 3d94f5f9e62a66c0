#!/usr/bin/python3
"""Executes docs/tutorial.md: writes its files, runs its commands in order, in an empty folder.

    tutorial_test.py EXECUTABLE

A fence ```python NAME is a file; ```sh is commands that must succeed; ```sh fails, commands that must end with status 2 and
one line. Runs of the same scenario with the same options must give the same trace hash.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(python|sh) *(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


def run_tutorial(text: str, executable: str, folder: pathlib.Path) -> list[str]:
    """What went wrong, one line each; empty if all went as the page says."""
    wrong: list[str] = []
    hashes: dict[str, str] = {}
    commands = 0
    for language, words, body in FENCE.findall(text):
        if language == "python":
            (folder / words).write_text(body)
            continue
        for command in body.splitlines():
            arguments = shlex.split(command)
            if arguments[:2] == ["./verdigris", "report"]:
                done = subprocess.run([executable, *arguments[1:]], cwd=folder, capture_output=True, text=True)
                print(f"$ {command}\n{done.stdout}{done.stderr}", flush=True)
                if done.returncode != 0 or not (folder / done.stdout.strip()).is_file():
                    wrong.append(f"{command}: status {done.returncode}, no page")
                continue
            if arguments[:2] != ["./verdigris", "run"]:
                wrong.append(f"{command}: not a command that this test knows")
                continue
            commands += 1
            result = subprocess.run([executable, *arguments[1:]], cwd=folder, capture_output=True, text=True)
            print(f"$ {command}\n{result.stdout}{result.stderr}", flush=True)
            if result.returncode != (2 if words == "fails" else 0):
                wrong.append(f"{command}: status {result.returncode}")
            elif words == "fails":
                if result.stderr.count("\n") != 1:
                    wrong.append(f"{command}: not exactly one line on the error output")
            else:
                last = result.stdout.splitlines()[-1:]
                if not last or not re.fullmatch("trace_hash=[0-9a-f]{32}", last[0]):
                    wrong.append(f"{command}: the last line is not a trace hash")
                    continue
                key = re.sub(r" --out \S+", "", command)
                if hashes.setdefault(key, last[0]) != last[0]:
                    wrong.append(f"{command}: another trace hash than before")
                for name in re.findall(r"--out (\S+)", command):
                    if not (folder / name / "result.json").is_file():
                        wrong.append(f"{command}: left no result.json")
    if commands == 0:
        wrong.append("the tutorial has no command")
    return wrong


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        wrong = run_tutorial((ROOT / "docs/tutorial.md").read_text(), sys.argv[1], pathlib.Path(folder))
    print("\n".join(wrong or ["the tutorial holds"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
