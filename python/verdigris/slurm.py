"""The points of a sweep as an array job of Slurm: submitting, waiting, collecting."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from .errors import UserError
from .files import json_text, read_json, write_whole
from .grid import Point
from .sweep_local import Progress, run_point
from .sweep_plan import Plan, unfinished

_JOB = {"job": str, "tasks": [[int]], "plan": {"*": object}}
_HINT = "remove it, if no job is at work"
_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.25, 10.0
# Slurm's own default of MaxArraySize, if it does not say.
_USUAL_ARRAY = 1001


class Slurm:
    """The array job of a sweep. What is known of it is in DIR/.sweep/slurm.json as long as it has not been collected."""

    def __init__(self, plan: Plan, options: Sequence[str], at_once: int) -> None:
        self._plan, self._options, self._at_once = plan, options, at_once
        self._note, self._work = plan.out / ".sweep/slurm.json", plan.out / ".sweep/tasks.json"
        # A job's name tells whose it is, should the sweep be killed before it has noted the job's number.
        self._name = f"verdigris-{hashlib.sha256(str(plan.out.resolve()).encode()).hexdigest()[:16]}"
        self.submitted = self._work.exists()  # by an earlier command
        self._submitted_now = False

    def refuse_if_active(self) -> None:
        """UserError while a job of Slurm works in the folder."""
        if self.submitted and not self._note.exists() and shutil.which("squeue") is not None:
            self._adopt()
        if self._note.exists() and self._states(self._job()):
            raise UserError(f"{self._plan.out}: job {self._job()} of Slurm is at work in this folder; add --engine slurm")
        for note in (self._note, self._work):
            note.unlink(missing_ok=True)

    def run(self, wait: bool) -> dict[Point, str] | None:
        """Submits what is to be run, or looks after the job that was submitted. None: points are under way."""
        for tool in ("sbatch", "squeue", "scontrol"):
            if shutil.which(tool) is None:
                raise UserError(f"--engine slurm: there is no {tool} here; Debian's package slurm-client has it")
        if self.submitted and not self._note.exists():
            self._adopt()
        failed: dict[Point, str] = {}
        while True:
            if not self._note.exists():
                # With a grid or a scenario that is another since, there is more to do than the job did.
                left, lines = unfinished(self._plan, [point for point in self._plan.points if point not in failed])
                if not left:
                    return failed
                (self._plan.out / "sweep.json").unlink(missing_ok=True)
                job = self._submit(left)
                for line in lines:
                    print(f"verdigris: {line}", file=sys.stderr)
                if not wait:
                    print(f"submitted as job {job} of Slurm: {len(left)} points; the same command collects them", flush=True)
                    return None
            job, theirs = self._job(), self._theirs()
            if not self._ended(job, theirs, wait):
                return None
            failed |= {point: line for point in theirs if (line := self._outcome(point, job))}
            self._forget(job)

    def _adopt(self) -> None:
        """Finds the job whose number could not be noted; without one nothing was submitted."""
        found = _call(["squeue", "--noheader", f"--name={self._name}", "--format=%F"]).split()
        if found:
            write_whole(self._note, json_text({**read_json(self._work, _JOB), "job": found[0]}))
        else:
            self._work.unlink()

    def _submit(self, to_run: Sequence[Point]) -> str:
        plan = self._plan
        order = {point: index for index, point in enumerate(plan.points)}
        count = min(len(to_run), self._largest_array())
        tasks = [[order[point] for point in to_run[first::count]] for first in range(count)]
        for point in to_run:
            plan.begin(point)
        write_whole(self._work, json_text({"job": "", "tasks": tasks, "plan": as_json(plan)}))
        command = shlex.join([plan.executable, "sweep-task", str(self._work.resolve())])
        script = plan.out / ".sweep/job.sh"
        # Some clusters give a job nothing of the environment.
        images = shlex.quote(os.environ["VERDIGRIS_IMAGES"])
        write_whole(script, f'#!/bin/bash\nexport VERDIGRIS_IMAGES={images}\nexec {command} "$SLURM_ARRAY_TASK_ID"\n')
        output = plan.out.resolve() / ".sweep/log/slurm-%A_%a.txt"
        array = f"--array=0-{count - 1}" + (f"%{self._at_once}" if self._at_once else "")
        submitted = _call(
            ["sbatch", "--parsable", array, f"--job-name={self._name}", f"--chdir={pathlib.Path.cwd()}",
             f"--output={output}", *self._options, str(script)]
        )  # fmt: skip
        job = submitted.strip().split("\n")[-1].split(";")[0]
        if not job.isdecimal():
            raise UserError(f"sbatch answered {submitted.strip()!r}, not the number of a job")
        write_whole(self._note, json_text({"job": job, "tasks": tasks, "plan": as_json(plan)}))
        self._submitted_now = True
        return job

    def _ended(self, job: str, submitted: Sequence[Point], wait: bool) -> bool:
        """Whether the job has ended; with `wait`, waits for that."""
        progress = Progress(len(self._plan.points), len(self._plan.points) - len(submitted))
        pause = _SHORTEST_POLL_S
        try:
            while True:
                states = self._states(job)
                ended = [point for point in submitted if self._plan.status(point) is not None]
                if not states:
                    return True
                running, failed = states.count("RUNNING"), sum(self._plan.status(point) not in (0, 1) for point in ended)
                if not wait:
                    print(f"job {job} of Slurm: {len(ended)} of {len(submitted)} points done, {running} tasks running")
                    return False
                done = len(self._plan.points) - len(submitted) + len(ended)
                progress.show(done, running, failed, at_once=True)
                time.sleep(pause)
                pause = min(_LONGEST_POLL_S, pause * 1.5)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"job {job} of Slurm goes on; the same command collects it") from None
        finally:
            progress.clear()

    def _forget(self, job: str) -> None:
        """Takes away what was there for the job; what its tasks printed stays, if they did."""
        for name in ("slurm.json", "tasks.json", "job.sh"):
            (self._plan.out / ".sweep" / name).unlink(missing_ok=True)
        for log in (self._plan.out / ".sweep/log").glob(f"slurm-{job}_*.txt"):
            if log.stat().st_size == 0:
                log.unlink()

    def _outcome(self, point: Point, job: str) -> str:
        """Why a point has no result; "" if it has one, or if an earlier command's job ran it as it was then."""
        try:
            if self._plan.result(point) is not None:
                return ""
        except UserError as error:
            return str(error)
        noted = self._plan.noted(point)
        if noted.get("line"):
            return str(noted["line"])
        if not self._submitted_now and (not noted or self._plan.left_by_another(point)):
            return ""
        return "its results are not those of this sweep" if "status" in noted else f"job {job} of Slurm ended without it; .sweep/log has what it printed"

    def _job(self) -> str:
        return str(read_json(self._note, _JOB, _HINT)["job"])

    def _theirs(self) -> list[Point]:
        """The points of the job that are in the grid."""
        note = read_json(self._note, _JOB, _HINT)
        try:
            theirs = from_json(note["plan"])
            names = {theirs.points[index].name for task in note["tasks"] for index in task}
        except (KeyError, TypeError, ValueError, IndexError):
            raise UserError(f"{self._note} is damaged: it holds no plan; {_HINT}") from None
        return [point for point in self._plan.points if point.name in names]

    def _states(self, job: str) -> list[str]:
        """States of the tasks that have not ended."""
        asked = subprocess.run(
            ["squeue", "--noheader", "--array", f"--jobs={job}", "--states=PENDING,RUNNING,SUSPENDED,CONFIGURING,COMPLETING,REQUEUED", "--format=%T"],
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        # A job that ended a while ago is unknown.
        if asked.returncode != 0 and "Invalid job id" not in asked.stderr:
            raise UserError(f"squeue: {' '.join(asked.stderr.split()) or f'status {asked.returncode}'}")
        return asked.stdout.split()

    @staticmethod
    def _largest_array() -> int:
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call(["scontrol", "show", "config"]), re.MULTILINE)
        return max(1, (int(match[1]) if match else _USUAL_ARRAY) - 1)


def run_task(work: str, task: str) -> int:
    """The points of one task of the array job, on the node that Slurm chose."""
    note = read_json(pathlib.Path(work), _JOB)
    plan = from_json(note["plan"])
    if not plan.current():
        raise UserError("scenario, program or guest images are not what they were when the job was submitted, or others on this node")
    for index in note["tasks"][int(task)]:
        line = run_point(plan, plan.points[index])
        if line:
            print(f"{plan.points[index].name}: {line}", flush=True)
    return 0


def as_json(plan: Plan) -> dict[str, object]:
    """A plan as JSON."""
    return {**dataclasses.asdict(plan), "out": str(plan.out)}


def from_json(value: dict) -> Plan:
    """The plan that `as_json` wrote."""
    points = tuple(Point(tuple((name, text) for name, text in point["values"]), point["seed"]) for point in value["points"])
    over = tuple((name, tuple(values)) for name, values in value["over"])
    lists = {"points": points, "over": over, "seeds": tuple(value["seeds"]), "settings": tuple(value["settings"])}
    return Plan(**{**value, **lists, "out": pathlib.Path(value["out"])})


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise UserError(f"{command[0]}: {' '.join(done.stderr.split()) or f'status {done.returncode}'}")
    return done.stdout
