"""`sweep`: the grid, its tables, resuming, failures, wrong use, Ctrl-C, what a terminal shows."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import pathlib
import pty
import resource
import shutil
import signal
import subprocess
import tempfile
from unittest import mock

import _verdigris
import verdigris
from sweeps import GRID, POINTS, SCENARIO, SweepCase, contents, why_not_into
from verdigris import sweep

# arguments after `sweep`, line
WRONG = [
    ([], "the following arguments are required: SCENARIO (./verdigris sweep --help explains)"),
    (["nope.py"], "cannot read the scenario nope.py: No such file or directory"),
    (["s.py", "--nope"], "unrecognized arguments: --nope (./verdigris sweep --help explains)"),
    (["s.py", "--over", "delay"], "--over delay: write it as NAME=V1,V2,... or NAME=FIRST..LAST"),
    (["s.py", "--over", "dealy=1,2"], "--set dealy: the scenario has no such parameter; it has delay, path, slow; did you mean delay?"),
    (["s.py", "--set", "x"], "--set x: write it as NAME=VALUE"),
    (["s.py", "--over", "delay=1,2", "--set", "delay=1"], "--set delay: --over gives it values already"),
    (["s.py", "--jobs", "0x"], "argument --jobs: invalid int value: '0x' (./verdigris sweep --help explains)"),
    (["s.py", "--jobs", "-1"], "--jobs -1: it is a whole number from 1 to 512"),
    (["s.py", "--out", "s.py"], "--out: cannot make the folder s.py: File exists"),
    (["s.py", "--wait"], "--wait and --sbatch go with --engine slurm"),
    (["s.py", "--engine", "slurm"], "--engine slurm: there is no sbatch here; Debian's package slurm-client has it"),
]  # fmt: skip

# What goes with SCENARIO for guests that are made of files.
GUESTS = """\
host.partition("a", memory="64MiB", guest=vg.Elf("guest.txt"))
host.partition("b", memory="64MiB", guest=vg.Linux())
"""


class Sweep(SweepCase):
    def test_the_same_bytes_whatever_jobs(self) -> None:
        for folder, jobs in (("a", "1"), ("b", "4")):
            done = self.run_command("sweep", "s.py", *GRID, "--out", folder, "--jobs", jobs)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout.split("\n")[-2], f"12 of 12 points passed, 0 with failed checks, 0 without a result; tables in {folder}")
        self.assertEqual(contents(self.folder / "a"), contents(self.folder / "b"))
        self.assertEqual(sorted(os.listdir(self.folder / "a/points")), sorted(POINTS))
        self.assertEqual(sorted(os.listdir(self.folder / "a/points" / POINTS[0])), ["result.json", "stats.csv"])
        # A point is what the same run alone gives, except for the time on the wall.
        self.run_command("run", "s.py", "--set", "delay=10", "--set", "path=vf", "--seed", "1", "--out", "alone")
        alone, point = self.result("alone"), self.result(f"a/points/{POINTS[0]}")
        self.assertIsInstance(alone.pop("wall_s"), float)
        self.assertEqual(alone, point)

    def test_tables(self) -> None:
        done = self.run_command("sweep", "s.py", *GRID, "--out", "a")
        with open(self.folder / "a/results.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), ["point", "delay", "path", "seed", "metric", "value", "unit"])
        self.assertEqual(list(dict.fromkeys(row["point"] for row in rows)), POINTS)
        results = {name: self.result(f"a/points/{name}") for name in POINTS}
        p99 = {row["point"]: int(row["value"]) for row in rows if row["metric"] == "latency./rr.p99"}
        self.assertEqual(p99, {name: result["latency"]["/rr"]["percentiles"]["99"] for name, result in results.items()})
        with open(self.folder / "a/summary.csv", newline="", encoding="utf-8") as file:
            summary = [row for row in csv.DictReader(file) if row["metric"] == "latency./rr.mean"]
        self.assertEqual([(row["delay"], row["path"], row["seeds"]) for row in summary][:2], [("10", "vf", "2"), ("10", "synthetic", "2")])
        one, two = (results[name]["latency"]["/rr"]["mean"] for name in POINTS[:2])
        # Student's quantile for two values is 12.706, the standard error half their distance.
        self.assertEqual(float(summary[0]["mean"]), (one + two) / 2)
        self.assertAlmostEqual((float(summary[0]["ci95_high"]) - float(summary[0]["ci95_low"])) / abs(one - two), 12.7062, delta=0.001)
        self.assertIn("delay=10 path=vf         latency./rr.p50", done.stdout)
        sweep = json.loads((self.folder / "a/sweep.json").read_text())
        self.assertEqual((sweep["over"], sweep["seeds"]), ({"delay": ["10", "20", "30"], "path": ["vf", "synthetic"]}, [1, 2]))
        self.assertEqual([point["trace_hash"] for point in sweep["points"]], [result["trace_hash"] for result in results.values()])

    def test_tables_that_cannot_be_written(self) -> None:
        """sweep.json is not there beside tables that are not its own."""
        self.run_command("sweep", "s.py", "--over", "delay=10,20", "--out", "a")
        (self.folder / "a/summary.csv").unlink()
        (self.folder / "a/summary.csv").mkdir()
        self.assert_one_line(self.run_command("sweep", "s.py", "--over", "delay=10", "--out", "a"), "cannot write a/summary.csv: Is a directory")
        self.assertFalse((self.folder / "a/sweep.json").exists())

    def test_without_measurements(self) -> None:
        (self.folder / "t.py").write_text("import verdigris as vg\nhost = vg.Host()\nasync def main(sim):\n    await sim.after('2us')\n")
        done = self.run_command("sweep", "t.py", "--seeds", "1-2", "--out", "a")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.split("\n")[0].split(), ["sim_time", "2", "us", "±", "0", "ps"])

    def test_nothing_is_run_twice(self) -> None:
        small = ["sweep", "s.py", "--over", "delay=10,20", "--out", "a"]
        self.run_command(*small)
        first, before = self.changed("a"), contents(self.folder / "a")
        self.assertEqual(self.run_command(*small, "--jobs", "3").returncode, 0)
        self.assertEqual((self.changed("a"), contents(self.folder / "a")), (first, before))
        # A larger grid takes what is there.
        self.run_command("sweep", "s.py", "--over", "delay=10..30+10", "--seeds", "1-2", "--out", "a")
        larger = self.changed("a")
        self.assertEqual(len(larger), 6)
        self.assertEqual({name: when for name, when in larger.items() if name in first}, first)
        self.run_command("sweep", "s.py", "--over", "delay=10..30+10", "--seeds", "1-2", "--out", "b")
        self.assertEqual(contents(self.folder / "a"), contents(self.folder / "b"))

    def test_what_changed_is_run_again(self) -> None:
        (self.folder / "other.py").write_text("x = 1\n")
        # One that lies elsewhere, too.
        shared, guest, kernel, manifest = (self.folder / name for name in ("shared.py", "guest.txt", "images/linux/vmlinuz", "images/linux/manifest.json"))
        elsewhere = tempfile.TemporaryDirectory()
        self.addCleanup(elsewhere.cleanup)
        shared.symlink_to(f"{elsewhere.name}/shared.py")
        kernel.parent.mkdir(parents=True)
        for file in (shared, guest, kernel, kernel.parent / "initramfs.cpio", manifest):
            file.write_text("")
        (self.folder / "s.py").write_text(f"import other\nimport shared\n{SCENARIO}{GUESTS}")
        command = ["sweep", "s.py", "--over", "delay=10,20", "--images", "images", "--out", "a"]
        self.run_command(*command)
        point = "delay=10,seed=1"
        result = self.folder / "a/points" / point / "result.json"
        another = "results of {} of 2 points are of another scenario, setting, program or guest image, or were changed; these points are repeated\n".format
        steps = [
            ("nothing", lambda: None, set(), ""),
            ("the scenario", lambda: (self.folder / "s.py").write_text(f"import other\nimport shared\n\n{SCENARIO}{GUESTS}"), {point, "delay=20,seed=1"}, another(2)),
            ("what it imports", lambda: (self.folder / "other.py").write_text("x = 2\n"), {point, "delay=20,seed=1"}, another(2)),
            ("what is linked beside it", lambda: shared.write_text("x = 2\n"), {point, "delay=20,seed=1"}, another(2)),
            ("a guest's file", lambda: guest.write_text("0 print changed\n"), {point, "delay=20,seed=1"}, another(2)),
            ("a kernel", lambda: kernel.write_text("0 print changed\n"), {point, "delay=20,seed=1"}, another(2)),
            ("guest images", lambda: manifest.write_text("2"), {point, "delay=20,seed=1"}, another(2)),
            ("a result is gone", result.unlink, {point}, ""),
            ("a result of another seed", lambda: result.write_text(result.read_text().replace('"seed": 1', '"seed": 2')), {point}, another(1)),
            ("an interrupted one", lambda: result.write_text(result.read_text().replace('"finished"', '"interrupted"')), {point}, another(1)),
            ("a damaged one", lambda: result.write_text(result.read_text()[:500]), {point}, "is damaged at line"),
            ("a marker is gone", lambda: (self.folder / f"a/.sweep/points/{point}.json").unlink(), {point}, ""),
        ]  # fmt: skip
        for name, step, again, line in steps:
            with self.subTest(name):
                step()
                before = self.changed("a")
                done = self.run_command(*command)
                self.assertEqual(done.returncode, 0)
                self.assertEqual({point for point, when in self.changed("a").items() if before.get(point) != when}, again)
                self.assertIn(line, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1 if line else 0)
        self.run_command(*command, "--set", "path=x")
        self.assertEqual(self.result(f"a/points/{point}")["parameters"]["path"], "x")
        self.run_command(*command)
        self.assertEqual(self.result(f"a/points/{point}")["parameters"]["path"], "vf")

    def test_files_that_guests_were_made_of(self) -> None:
        """By names that are the same on every machine, where that can be."""
        (self.folder / "images/linux").mkdir(parents=True)
        outside = tempfile.NamedTemporaryFile()
        self.addCleanup(outside.close)
        for name in ("images/linux/vmlinuz", "images/linux/initramfs.cpio", "guest.txt", "images:x"):
            (self.folder / name).write_text("")
        folder = "pathlib.Path(__file__).resolve().parent"
        script = f"host.partition('c', guest=vg.Linux(script={folder} / 'guest.txt', initramfs='{outside.name}'))\n"
        script += "host.partition('d', memory='64MiB', guest=vg.Elf('images:x'))\n"
        (self.folder / "s.py").write_text(f"import pathlib\n{SCENARIO}{GUESTS}{script}")
        self.run_command("run", "s.py", "--images", "images", "--out", "run")
        self.run_command("sweep", "s.py", "--images", str(self.folder / "images"), "--out", "sweep")
        names = ["./images:x", outside.name, "guest.txt", "images:linux/initramfs.cpio", "images:linux/vmlinuz"]
        self.assertEqual(self.result("run")["files"], dict.fromkeys(names, hashlib.sha256(b"").hexdigest()))
        self.assertEqual(self.result("run")["files"], self.result("sweep/points/seed=1")["files"])
        self.assertEqual(self.run_command("sweep", "s.py", "--images", "images", "--out", "sweep").returncode, 0)

    def test_files_that_a_scenario_makes(self) -> None:
        """They follow from the rest, even where each point makes another, or in a place of its own."""
        make = "guest = pathlib.Path(place, 'made.txt')\nguest.write_text(f'100 print {delay}')\nhost.partition('a', memory='64MiB', guest=vg.Elf(guest))\n"
        for name, place in {"shared": "place = '.'", "own": "own = tempfile.TemporaryDirectory()\nplace = own.name"}.items():
            (self.folder / "s.py").write_text(f"import pathlib, tempfile\n{SCENARIO}{place}\n{make}")
            for turn in ("first", "again"):
                with self.subTest(name, turn=turn):
                    before = self.changed(name)
                    done = self.run_command("sweep", "s.py", "--over", "delay=1..3", "--jobs", "1", "--out", name)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertTrue(before.items() <= self.changed(name).items())
            self.assertNotIn("files", self.result(f"{name}/points/delay=1,seed=1"))

    def test_program_changes_meanwhile(self) -> None:
        package = self.folder / "package/verdigris"
        shutil.copytree(pathlib.Path(verdigris.__file__).parent, package)
        environment = {**self.environment, "VERDIGRIS_PYTHON": str(package.parent)}
        change = 'if sim.seed == 2:\n        open(vg.__file__, "a").write("# changed\\n")\n    '
        (self.folder / "s.py").write_text(SCENARIO.replace("sim.record", f"{change}sim.record"))
        command = self.command("sweep", "s.py", "--seeds", "1-3", "--jobs", "1", "--out", "a")
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, env=environment)
        self.assert_one_line(done, "the scenario, the program or its guest images changed during the sweep; give the command again")
        noted = [path.name for path in (self.folder / "a/.sweep/points").iterdir() if '"status"' in path.read_text()]
        self.assertEqual(noted, ["seed=1.json"])

    def test_settings_in_any_order(self) -> None:
        self.run_command("sweep", "s.py", "--set", "delay=1", "--set", "path=x", "--out", "a")
        before = self.changed("a")
        self.assertEqual(self.run_command("sweep", "s.py", "--set", "path=x", "--set", "delay=1", "--out", "a").stderr, "")
        self.assertEqual(self.changed("a"), before)

    def test_a_scenario_like_an_option(self) -> None:
        (self.folder / "-s.py").write_text(SCENARIO)
        done = self.run_command("sweep", "--out", "a", "--", "-s.py")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_results_that_hold_no_text(self) -> None:
        command = ["sweep", "s.py", "--out", "a"]
        self.run_command(*command)
        good = contents(self.folder / "a")
        result = self.folder / "a/points/seed=1/result.json"
        another = "results of 1 of 1 points are of another scenario, setting, program or guest image, or were changed; these points are repeated"
        half = "a/points/seed=1/result.json is damaged: it is not JSON; the point is repeated"
        for name, changes, line in [
            ("a path with NUL", {"sources": {"\0.py": "0"}}, another),
            ("a path with half a character", {"sources": {"\ud800.py": "0"}}, half),
            ("half a character elsewhere", {"trace_hash": "\ud800"}, half),
        ]:
            with self.subTest(name):
                result.write_text(json.dumps({**json.loads(result.read_text()), **changes}))
                done = self.run_command(*command)
                self.assertEqual((done.returncode, done.stderr), (0, f"verdigris: {line}\n"))
                self.assertEqual(contents(self.folder / "a"), good)

    def test_failures(self) -> None:
        done = self.run_command("sweep", "s.py", "--over", "delay=10,70", "--out", "a")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertEqual(
            done.stdout.split("\n")[-3:],
            ["FAILED  delay=70,seed=1: fast enough", "1 of 2 points passed, 1 with failed checks, 0 without a result; tables in a", ""],
        )
        command = ["sweep", "s.py", "--over", "delay=10,70,99", "--out", "a"]
        done = self.run_command(*command)
        self.assertEqual((done.returncode, done.stderr), (2, ""))
        reason = "s.py:21: ValueError: a delay that nobody can bear"
        self.assertIn(f"no result  delay=99,seed=1: {reason}\n", done.stdout)
        sweep = json.loads((self.folder / "a/sweep.json").read_text())
        self.assertEqual(sweep["failed"], [{"name": "delay=99,seed=1", "reason": reason}])
        self.assertEqual([point["failed_checks"] for point in sweep["points"]], [[], ["fast enough"]])
        # It is run again, and so is a crash.
        before = self.changed("a")
        self.assertEqual(self.run_command(*command).returncode, 2)
        self.assertEqual([name for name, when in self.changed("a").items() if before.get(name) != when], ["delay=99,seed=1"])
        (self.folder / "s.py").write_text(SCENARIO.replace("raise ValueError", "import os\n        os.abort()\n        raise ValueError"))
        done = self.run_command(*command)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no result  delay=99,seed=1: ended by signal 6\n", done.stdout)

    def test_wrong_use(self) -> None:
        for arguments, line in WRONG:
            with self.subTest(arguments):
                done = subprocess.run(self.command("sweep", *arguments), cwd=self.folder, capture_output=True, text=True, timeout=60, env={**self.environment, "PATH": "/nowhere"})
                self.assert_one_line(done, line)
        if refusal := why_not_into("/sys"):
            self.assert_one_line(self.run_command("sweep", "s.py", "--out", "/sys"), f"--out: cannot write into /sys: {refusal}")
        self.run_command("run", "s.py", "--out", "run")
        self.assert_one_line(self.run_command("sweep", "s.py", "--out", "run"), "--out: run holds the results of a single run; name another folder")
        (self.folder / "b/points/seed=1/result.json").mkdir(parents=True)
        for _ in range(2):
            self.assert_one_line(self.run_command("sweep", "s.py", "--out", "b"), "--out: b/points/seed=1/result.json is a folder; name another place")
        (self.folder / "a/.sweep").mkdir(parents=True)
        with open(self.folder / "a/.sweep/lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_one_line(self.run_command("sweep", "s.py", "--out", "a"), "a: another sweep is at work in this folder")

    def test_many_processors(self) -> None:
        options = sweep.make_parser().parse_args([str(self.folder / "s.py"), "--images", "none", "--out", str(self.folder / "a")])
        with mock.patch("os.sched_getaffinity", return_value=range(600)), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(sweep.sweep(options, _verdigris.executable), 0)

    def test_many_inherited_descriptors(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= limits[1] < 2000:
            self.skipTest("so many are not allowed here")
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (2000, limits[1]))
        with contextlib.ExitStack() as files:
            many = [files.enter_context(open("/dev/null")).fileno() for _ in range(1050)]
            done = subprocess.run(self.command("sweep", "s.py", "--out", "a"), cwd=self.folder, capture_output=True, text=True, timeout=60, env=self.environment, pass_fds=many)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_help(self) -> None:
        done = self.run_command("sweep", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for part in ("--over NAME=V1,V2,...", "--seeds", "--jobs N", "--engine {local,slurm}", "--wait", "exit status:"):
            self.assertIn(part, done.stdout)

    def test_interrupted(self) -> None:
        command = ["sweep", "s.py", *GRID, "--set", "slow=0.3", "--out", "a"]
        pipe = subprocess.PIPE
        with self.start(*command, "--jobs", "2", stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
            self.wait_for(process, lambda: any('"status"' in marker.read_text() for marker in (self.folder / "a").glob(".sweep/points/*.json")))
            os.killpg(process.pid, signal.SIGINT)
            out, error = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertRegex(error, r"^verdigris: interrupted; [1-9]\d* of 12 points are done, the same command goes on\n$")
        self.assertFalse((self.folder / "a/sweep.json").exists())
        before = self.changed("a")
        done = self.run_command(*command, "--jobs", "6")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        kept = [name for name, when in self.changed("a").items() if before.get(name) == when]
        self.assertEqual(len(kept), int(error.split("; ")[1].split(" of ")[0]))

    def test_interrupted_while_another_is_at_work(self) -> None:
        (self.folder / "a/.sweep").mkdir(parents=True)
        with open(self.folder / "a/.sweep/lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.start("sweep", "s.py", "--out", "a", stderr=subprocess.PIPE, text=True) as process:
                self.wait_for(process, (self.folder / "a/.sweep/log").exists)
                process.send_signal(signal.SIGINT)
                _, error = process.communicate(timeout=30)
        self.assertEqual((process.returncode, error), (130, "verdigris: interrupted\n"))

    def test_progress_on_a_terminal(self) -> None:
        main_end, other_end = pty.openpty()
        command = ["sweep", "s.py", *GRID, "--set", "slow=0.05", "--out", "a", "--jobs", "2"]
        with self.start(*command, stdout=subprocess.DEVNULL, stderr=other_end) as process:
            os.close(other_end)
            shown = b""
            while True:
                try:
                    shown += os.read(main_end, 4096)
                except OSError:
                    break
        os.close(main_end)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(shown, rb"\r\[-{24}\] 0 of 12 points done, \d running, 0 failed\x1b\[K")
        self.assertRegex(shown, rb"\r\[#+-+\] \d+ of 12 points done, 2 running, 0 failed, \d+ s left\x1b\[K")
        self.assertTrue(shown.endswith(b"\r\x1b[K"))

    def test_ended_on_a_terminal(self) -> None:
        """SIGTERM is like Ctrl-C: the line that shows how far it is goes away."""
        main_end, other_end = pty.openpty()
        with self.start("sweep", "s.py", "--set", "slow=60", "--out", "a", stdout=subprocess.DEVNULL, stderr=other_end) as process:
            os.close(other_end)
            self.assertIn(b"0 of 1 points done, 1 running", os.read(main_end, 4096))
            process.terminate()
        shown = os.read(main_end, 4096)
        os.close(main_end)
        self.assertEqual(process.returncode, 130)
        self.assertRegex(shown, rb"\r\x1b\[Kverdigris: interrupted; 0 of 1 points are done, the same command goes on\r\n\Z")
