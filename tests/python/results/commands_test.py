"""What every command does with closed or full outputs, with bytes that are no text, and with Ctrl-C in its first moments."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from sweeps import SweepCase, contents

COMMANDS = {
    "run": ["run", "s.py", "--out", "run"],
    "parameters": ["run", "s.py", "--parameters"],
    "bench": ["bench", "hello"],
    "validate": ["validate", "pcie"],
    "sweep": ["sweep", "s.py", "--out", "sweep"],
    "compare": ["compare", "sweep", "sweep"],
    "report": ["report", "run"],
    "help": ["run", "--help"],
    "help of sweep": ["sweep", "--help"],
}
TRIES = 12


class Commands(SweepCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("run", "sweep"):
            self.assertEqual(self.run_command(*COMMANDS[name]).returncode, 0)

    def redirected(self, how: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        """The command as a shell starts it."""
        shell = ["sh", "-c", f'exec "$@" {how}', "sh", *self.command(*command)]
        return subprocess.run(shell, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60)

    def each(self) -> list[tuple[str, list[str]]]:
        """The commands that come to their end: without its bundled script there is no page."""
        page = (self.folder / "run/report.html").exists()
        return [(name, command) for name, command in COMMANDS.items() if name != "report" or page]

    def test_closed(self) -> None:
        before = contents(self.folder / "sweep")
        for name, command in self.each():
            with self.subTest(name):
                done = self.redirected("<&- >&-", command)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.redirected("<&- >&- 2>&-", ["sweep", "s.py", "--out", "fresh"])
        self.assertEqual(contents(self.folder / "fresh"), before)
        self.assertEqual(self.redirected("2>&-", ["run", "nope.py"]).returncode, 2)

    def test_full(self) -> None:
        for name, command in self.each():
            with self.subTest(name):
                done = self.redirected("> /dev/full", command)
                self.assertRegex(done.stderr, r"\Averdigris: (cannot write to file: )?No space left on device\n\Z")
                self.assertEqual(done.returncode, 2)
        for command in (["run", "nope.py"], ["sweep", "nope.py"], ["bench", "nope"], ["validate", "nope"]):
            self.assertEqual(self.redirected("> /dev/full 2> /dev/full", command).returncode, 2)

    def test_no_text(self) -> None:
        for name, command in COMMANDS.items():
            with self.subTest(name):
                done = subprocess.run(self.command(*command, "x\udcff=ä"), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60)
                self.assert_one_line(done, r"x\xff=\xc3\xa4 is not UTF-8")

    def test_interrupted_early(self) -> None:
        began = time.monotonic()
        self.run_command(*COMMANDS["compare"])
        to_start_s = time.monotonic() - began
        # The sweep last: interrupted while it writes its tables it is none to compare with.
        for name in ("run", "compare", "validate", "sweep"):
            silent = {signal.SIGINT: 0, signal.SIGTERM: 0}
            for turn in range(TRIES):
                pipe = subprocess.PIPE
                with self.start(*COMMANDS[name], stdout=subprocess.DEVNULL, stderr=pipe, text=True, start_new_session=True) as process:
                    time.sleep(to_start_s * turn / TRIES)
                    number = list(silent)[turn % 2]
                    os.killpg(process.pid, number)
                    error = process.communicate(timeout=30)[1]
                with self.subTest(name, status=process.returncode, error=error):
                    if process.returncode == 130:
                        self.assertRegex(error, r"\Averdigris: interrupted[^\n]*\n\Z")
                    else:
                        # Before anything of ours has begun, or after all of it.
                        self.assertEqual((process.returncode in (-number, 0), error), (True, ""))
                        silent[number] += process.returncode == -number
            # Those moments are short.
            self.assertLessEqual(max(silent.values()), TRIES // 4, name)
