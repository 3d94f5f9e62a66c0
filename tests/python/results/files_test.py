"""Files of results appear whole or not at all: a full disk, a limit of size, an unwritable folder, kills."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from unittest import mock

from sweeps import SweepCase, contents, why_not_into
from verdigris.files import make_folder

BIG = """\
import verdigris as vg
host = vg.Host(cores=2, memory="1GiB")
async def main(sim):
    sim.check("big", True, "x" * 200_000)
"""


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[pathlib.Path | None]:
    """A file system of this size; None where one may not mount."""
    with tempfile.TemporaryDirectory() as name:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name], capture_output=True).returncode != 0:
            yield None
            return
        try:
            yield pathlib.Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


class Files(SweepCase):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "big.py").write_text(BIG)

    def left(self) -> list[str]:
        """The names in the folder out. The page is there only where it was bundled."""
        return sorted(name for name in os.listdir(self.folder / "out") if name != "report.html")

    def limited(self, *arguments: str, size: int = 100_000) -> subprocess.CompletedProcess[str]:
        """The command when no file may be larger than so many bytes."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
        return subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True, text=True, timeout=60, env=self.environment, preexec_fn=limit)

    def test_limit_of_size(self) -> None:
        self.run_command("run", "big.py", "--out", "out")
        self.assert_one_line(self.limited("run", "big.py", "--out", "out"), "cannot write out/result.json: File too large")
        # Not even the earlier one, which would be taken for this run's.
        self.assertEqual(sorted(contents(self.folder / "out")), ["stats.csv"])
        self.assert_one_line(self.limited("sweep", "big.py", "--out", "sweep"), "cannot write sweep/points/seed=1/result.json: File too large")
        # The sweep's own files, too.
        sweep = ["sweep", "s.py", "--over", "delay=1..8", "--out", "sweep"]
        self.assert_one_line(self.limited(*sweep, size=3_000), "cannot write sweep/results.csv: File too large")
        self.assertFalse((self.folder / "sweep/results.csv.partial").exists())

    def test_text_that_is_none(self) -> None:
        text = f'import verdigris as vg\nhost = vg.Host()\nasync def main(sim):\n    sim.check("x", True, "{chr(92)}ud800")\n'
        (self.folder / "t.py").write_text(text)
        self.assert_one_line(self.run_command("run", "t.py", "--out", "out"), r"out/result.json cannot be written: '\ud800' is no character of UTF-8")

    def test_full_disk(self) -> None:
        with small_disk("64k") as disk:
            if disk is None:
                self.skipTest("one may not mount here")
            done = self.run_command("run", "big.py", "--out", str(disk / "out"))
            self.assert_one_line(done, f"cannot write {disk}/out/result.json: No space left on device")
            self.assertEqual(list(contents(disk / "out")), ["stats.csv"])
            (disk / "fill").write_bytes(b"")
            with contextlib.suppress(OSError), open(disk / "fill", "wb") as fill:
                while True:
                    fill.write(b"x" * 1024)
                    fill.flush()
            done = self.run_command("sweep", "s.py", "--over", "delay=1..9", "--out", str(disk / "sweep"))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
            self.assertRegex(done.stderr, f"^verdigris: .*{disk}/sweep.*: No space left on device\n$")

    def test_log_on_a_full_disk(self) -> None:
        with small_disk("4k") as disk:
            if disk is None:
                self.skipTest("one may not mount here")
            (disk / "fill").write_bytes(b"x" * 4096)
            (self.folder / "a/.sweep").mkdir(parents=True)
            (self.folder / "a/.sweep/log").symlink_to(disk)
            done = self.run_command("sweep", "s.py", "--over", "delay=99,98", "--jobs", "1", "--out", "a")
            self.assert_one_line(done, "cannot write a/.sweep/log/delay=99,seed=1.txt: No space left on device")

    def test_two_try_a_folder_at_once(self) -> None:
        close = os.close

        def other(descriptor: int) -> None:
            close(descriptor)
            (self.folder / "probe.partial").unlink()

        with mock.patch("os.close", other):
            make_folder(self.folder, "--out")

    def test_unwritable(self) -> None:
        if refusal := why_not_into("/sys"):
            self.assert_one_line(self.run_command("run", "s.py", "--out", "/sys"), f"--out: cannot write into /sys: {refusal}")
        self.assert_one_line(self.run_command("run", "s.py", "--out", "/proc/x"), "--out: cannot make the folder /proc/x: No such file or directory")
        (self.folder / "out/result.json").mkdir(parents=True)
        self.assert_one_line(self.run_command("run", "s.py", "--out", "out"), "--out: out/result.json is a folder; name another place")
        (self.folder / "locked").mkdir(mode=0o555)
        if os.getuid() != 0:
            self.assert_one_line(self.run_command("run", "s.py", "--out", "locked"), "--out: cannot write into locked: Permission denied")

    def test_an_earlier_damaged_result_is_no_obstacle(self) -> None:
        (self.folder / "out").mkdir()
        (self.folder / "out/result.json").write_text("{ half")
        (self.folder / "out/stats.csv.partial").write_text("half")
        (self.folder / "out/captures.partial").mkdir()
        (self.folder / "out/captures.partial/a.pcapng").write_text("half")
        self.assertEqual(self.run_command("run", "s.py", "--out", "out").returncode, 0)
        self.assertEqual(self.result()["ended"], "finished")
        self.assertEqual(self.left(), ["result.json", "stats.csv"])

    def test_what_a_run_of_another_scenario_left(self) -> None:
        """Also one that was killed before its result.json. A stats.csv of somebody else, and what lies beside it, is not ours."""
        web = 'import verdigris as vg\nhost = vg.Host(cores=2, memory="1GiB")\nhost.partition("web", guest=vg.Elf("guest.txt"))\nasync def main(sim): pass\n'
        self.write(web)
        self.run_command("run", "s.py", "--out", "out")
        self.run_command("sweep", "s.py", "--out", "sweep")
        (self.folder / "out/result.json").unlink()
        self.write(web.replace("web", "db"))
        self.run_command("run", "s.py", "--out", "out")
        self.run_command("sweep", "s.py", "--out", "sweep")
        self.assertEqual(self.left(), ["console-db.txt", "result.json", "stats.csv"])
        self.assertEqual(sorted(os.listdir(self.folder / "sweep/points/seed=1")), ["console-db.txt", "result.json", "stats.csv"])
        (self.folder / "theirs").mkdir()
        for name in ("stats.csv", "console-x.txt"):
            (self.folder / "theirs" / name).write_text("name,value\n")
        self.run_command("run", "s.py", "--out", "theirs")
        self.assertTrue((self.folder / "theirs/console-x.txt").exists())

    def test_killed_with_a_trace(self) -> None:
        """What grows during a run does not lie under its name before the end."""
        command = ["run", "s.py", "--set", "slow=30", "--trace", "all", "--out", "out"]
        with self.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            self.wait_for(process, (self.folder / "out/trace.txt.partial").exists)
            os.kill(process.pid, signal.SIGKILL)
        self.assertEqual(self.left(), ["trace.txt.partial"])
        self.run_command("run", "s.py", "--trace", "all", "--out", "out")
        self.assertEqual(self.left(), ["result.json", "stats.csv", "trace.txt"])
