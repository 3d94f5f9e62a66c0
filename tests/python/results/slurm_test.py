"""`sweep --engine slurm` on a cluster of one node that the test starts."""

from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import slurm_cluster
import verdigris
from sweeps import GRID, POINTS, SCENARIO, SweepCase, contents

ABSENT = slurm_cluster.missing()
if ABSENT:
    print(f"left out: sweeps on a cluster; Debian's slurm-wlm is not installed: there is no {', '.join(ABSENT)}")


@unittest.skipIf(ABSENT, f"Debian's slurm-wlm is not installed: there is no {', '.join(ABSENT)}")
class OnSlurm(SweepCase):
    cluster: slurm_cluster.Cluster

    @classmethod
    def setUpClass(cls) -> None:
        # A socket's path must be short.
        temporary = tempfile.TemporaryDirectory(prefix="vg", dir="/tmp", ignore_cleanup_errors=True)
        cls.addClassCleanup(temporary.cleanup)
        cls.cluster = slurm_cluster.Cluster(pathlib.Path(temporary.name))
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def sweep(self, *options: str, engine: str = "slurm") -> subprocess.CompletedProcess[str]:
        """`sweep` on the cluster."""
        command = self.command("sweep", "s.py", *options, "--engine", engine)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, env={**self.environment, **self.cluster.environment})

    def test_waits_and_gives_the_same_bytes(self) -> None:
        # Twelve points and arrays of ten at most: two tasks have two points each.
        done = self.sweep(*GRID, "--out", "a", "--wait", "--sbatch=--time=10")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.run_command("sweep", "s.py", *GRID, "--out", "b")
        self.assertEqual(contents(self.folder / "a"), contents(self.folder / "b"))
        self.assertEqual(sorted(path.name for path in (self.folder / "a/points").iterdir()), sorted(POINTS))
        # Nothing is left to do: nothing is submitted.
        before = self.changed("a")
        self.assertEqual(self.sweep(*GRID, "--out", "a").returncode, 0)
        self.assertEqual(self.changed("a"), before)

    def test_collects_later(self) -> None:
        options = ["--over", "delay=10,70,99", "--out", "a", "--set", "slow=1.0"]
        done = self.sweep(*options)
        self.assertRegex(done.stdout, r"^submitted as job \d+ of Slurm: 3 points; the same command collects them\n$")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = self.sweep(*options)
        self.assertRegex(done.stdout, r"^job \d+ of Slurm: 0 of 3 points done, \d tasks running\n$")
        self.assertEqual((done.returncode, done.stderr), (3, ""))
        done = self.sweep(*options[:4], engine="local")
        self.assertRegex(done.stderr, r"^verdigris: a: job \d+ of Slurm is at work in this folder; add --engine slurm\n$")
        until = time.monotonic() + 60
        while (done := self.sweep(*options)).returncode == 3 and time.monotonic() < until:
            time.sleep(0.3)
        self.assertEqual((done.returncode, done.stderr), (2, ""))
        self.assertIn("FAILED  delay=70,seed=1: fast enough\n", done.stdout)
        self.assertIn("no result  delay=99,seed=1: s.py:21: ValueError: a delay that nobody can bear\n", done.stdout)
        # With the scenario mended, all are submitted again.
        (self.folder / "s.py").write_text(SCENARIO.replace("== 99", "== 98"))
        self.assertEqual(self.sweep(*options, "--wait").returncode, 1)
        self.assertEqual(len(self.changed("a")), 3)

    def test_cancelled(self) -> None:
        options = ["--over", "delay=10,20", "--out", "a"]
        submitted = self.sweep(*options, "--set", "slow=60")
        job = submitted.stdout.split()[3]
        subprocess.run(["scancel", job], env=self.cluster.environment, check=True, timeout=20)
        until = time.monotonic() + 60
        while (done := self.sweep(*options, "--set", "slow=60")).returncode == 3 and time.monotonic() < until:
            time.sleep(0.3)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn(f"no result  delay=10,seed=1: job {job} of Slurm ended without it; .sweep/log has what it printed\n", done.stdout)

    def test_a_job_whose_number_was_lost(self) -> None:
        """As when the sweep is killed right after it has submitted."""
        options = ["--over", "delay=10,20", "--out", "a", "--set", "slow=2.0"]
        job = self.sweep(*options).stdout.split()[3]
        note = self.folder / "a/.sweep/slurm.json"
        for engine in ("local", "slurm"):
            note.unlink()
            done = self.sweep(*options, engine=engine)
            self.assertIn(f"job {job} of Slurm", done.stdout + done.stderr)
        done = self.sweep(*options, "--wait")
        self.assertEqual((done.returncode, done.stderr, len(self.changed("a"))), (0, "", 2))

    def test_a_grid_that_has_grown(self) -> None:
        self.sweep("--over", "delay=10", "--out", "a", "--jobs", "1")
        done = self.sweep("--over", "delay=10..30+10", "--out", "a", "--jobs", "1", "--wait")
        self.assertEqual((done.returncode, done.stderr, len(self.changed("a"))), (0, "", 3))

    def test_what_slurm_refuses(self) -> None:
        done = self.sweep("--over", "delay=10,20", "--out", "a", "--sbatch=--partition=nope")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        self.assertRegex(done.stderr, "^verdigris: sbatch: .*invalid partition specified: nope")


class WithoutCluster(SweepCase):
    @unittest.skipIf(ABSENT, "Debian's slurm-wlm is not installed")
    def test_no_controller(self) -> None:
        (self.folder / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nAuthType=auth/none\n")
        environment = {"PATH": slurm_cluster.PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}
        command = self.command("sweep", "s.py", "--engine", "slurm", "--out", "a")
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, env=environment)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertRegex(done.stderr, "^verdigris: (sbatch|scontrol): ")


# A Slurm that runs a job's tasks at once. It tells that one is at work where there is a file `busy`; where there is a file
# `change`, the scenario changes before its tasks run.
STUBS = {
    "scontrol": "echo MaxArraySize = 1001\n",
    "squeue": "touch asked; [ ! -e busy ] || echo RUNNING\n",
    "sbatch": '[ ! -e change ] || echo "# changed" >> s.py; for task in 0 1; do SLURM_ARRAY_TASK_ID=$task env -u VERDIGRIS_IMAGES bash "${@: -1}"; done > /dev/null 2> /dev/null\necho 77\n',
}


class OnStubs(SweepCase):
    """What happens between submitting and collecting; it needs no cluster."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "bin").mkdir()
        (self.folder / "images/linux").mkdir(parents=True)
        (self.folder / "images/linux/manifest.json").write_text("1")
        for name, lines in STUBS.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/bash\n{lines}")
            (self.folder / "bin" / name).chmod(0o755)
        self.sweep("submitted as job 77 of Slurm: 2 points; the same command collects them\n")

    @property
    def environment(self) -> dict[str, str]:
        environment = super().environment
        return {**environment, "PATH": f"{self.folder}/bin:{environment['PATH']}", "VERDIGRIS_IMAGES": str(self.folder / "images")}

    def sweep(self, out: str, status: int = 0, error: str = "") -> None:
        """Two points; what the command prints ends like this."""
        done = self.run_command("sweep", "s.py", "--over", "delay=10,20", "--engine", "slurm", "--out", "a")
        self.assertEqual((done.returncode, done.stderr, done.stdout[-len(out) :]), (status, error, out))

    def test_another_scenario_meanwhile(self) -> None:
        (self.folder / "s.py").write_text(f"{SCENARIO}# changed\n")
        (self.folder / "busy").touch()
        self.sweep("job 77 of Slurm: 0 of 2 points done, 1 tasks running\n", 3)
        (self.folder / "busy").unlink()
        before = self.changed("a")
        line = "results of 2 of 2 points are of another scenario, setting, program or guest image, or were changed; these points are repeated"
        self.sweep("submitted as job 77 of Slurm: 2 points; the same command collects them\n", 3, f"verdigris: {line}\n")
        self.assertFalse(before.items() & self.changed("a").items())
        self.sweep("2 of 2 points passed, 0 with failed checks, 0 without a result; tables in a\n")

    def test_another_scenario_before_the_job_runs(self) -> None:
        shutil.rmtree(self.folder / "a")
        (self.folder / "change").touch()
        self.sweep("submitted as job 77 of Slurm: 2 points; the same command collects them\n")
        (self.folder / "change").unlink()
        self.sweep("submitted as job 77 of Slurm: 2 points; the same command collects them\n", 3)
        self.sweep("2 of 2 points passed, 0 with failed checks, 0 without a result; tables in a\n")

    def test_another_program_on_the_node(self) -> None:
        """It runs nothing, and says why."""
        stub = self.folder / "bin/sbatch"
        stub.write_text(stub.read_text().replace(" bash ", " VERDIGRIS_PYTHON=$PWD/package bash ").replace("> /dev/null 2> /dev/null", "> said 2>&1"))
        shutil.copytree(pathlib.Path(verdigris.__file__).parent, self.folder / "package/verdigris")
        (self.folder / "package/verdigris/changed.py").touch()
        shutil.rmtree(self.folder / "a")
        self.sweep("submitted as job 77 of Slurm: 2 points; the same command collects them\n")
        self.assertEqual(self.changed("a"), {})
        line = "verdigris: scenario, program or guest images are not what they were when the job was submitted, or others on this node\n"
        self.assertEqual((self.folder / "said").read_text(), line * 2)

    def test_interrupted(self) -> None:
        (self.folder / "busy").touch()
        with self.start("sweep", "s.py", "--over", "delay=10,20", "--engine", "slurm", "--wait", "--out", "a", stderr=subprocess.PIPE, text=True) as process:
            self.wait_for(process, (self.folder / "asked").exists)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=30)
        self.assertEqual((process.returncode, error), (130, "verdigris: job 77 of Slurm goes on; the same command collects it\n"))

    def test_a_damaged_result(self) -> None:
        (self.folder / "a/points/delay=10,seed=1/result.json").write_text("{")
        damaged = "a/points/delay=10,seed=1/result.json is damaged at line 1 (Expecting property name enclosed in double quotes)"
        self.sweep(
            f"no result  delay=10,seed=1: {damaged}; repeat the run\n"
            "1 of 2 points passed, 0 with failed checks, 1 without a result; tables in a\n", 1,
        )  # fmt: skip
        self.sweep("submitted as job 77 of Slurm: 1 points; the same command collects them\n", error=f"verdigris: {damaged}; the point is repeated\n")
        self.sweep("2 of 2 points passed, 0 with failed checks, 0 without a result; tables in a\n")

    def test_a_damaged_note(self) -> None:
        (self.folder / "a/.sweep/slurm.json").write_text('{"job": "77", "tasks": [[0]], "plan": {}}')
        self.sweep("", 2, "verdigris: a/.sweep/slurm.json is damaged: it holds no plan; remove it, if no job is at work\n")
