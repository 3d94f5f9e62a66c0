"""What a sweep is to do, and which of its points are done: the folder of a sweep.

    DIR/points/NAME/        what `run` leaves, one folder for each point
    DIR/results.csv, summary.csv, sweep.json     the tables, sweep.json last
    DIR/.sweep/             the sweep's own records: markers and logs; no results

Nothing in it depends on when, in what order or how fast the points ran.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import EMBEDDED, UserError
from .files import PARTIAL, json_text, make_folder, read_json, write_whole
from .grid import Point
from .result_file import FROM_IMAGES, read_result

# A point with such an end is done; others are run again.
COMPLETE = ("finished", "timeout")
_LOCK_PATIENCE_S = 5.0
MARKER = {"key": str, "status?": int, "line?": str}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep: the scenario, its grid, what is the same for all points, and where the results go."""

    scenario: str
    over: tuple[tuple[str, tuple[str, ...]], ...]
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    settings: tuple[str, ...]  # NAME=VALUE for every point
    until: str
    images: str
    executable: str
    out: pathlib.Path
    digest: str = ""  # of scenario and program, see `digest_of`

    def folder(self, point: Point) -> pathlib.Path:
        """Where a point's results are."""
        return self.out / "points" / point.name

    def marker(self, point: Point) -> pathlib.Path:
        """What the sweep notes about a point."""
        return self.out / ".sweep/points" / f"{point.name}.json"

    def log(self, point: Point) -> pathlib.Path:
        """What a point's run printed."""
        return self.out / ".sweep/log" / f"{point.name}.txt"

    def command(self, point: Point) -> list[str]:
        """The command of a point, for the process that starts it."""
        settings = [*self.settings, *(f"{name}={value}" for name, value in point.values)]
        options = [part for setting in settings for part in ("--set", setting)]
        options += ["--until", self.until] if self.until else []
        options += ["--images", self.images] if self.images else []
        scenario = f"./{self.scenario}" if self.scenario.startswith("-") else self.scenario
        run = [self.executable, "run", scenario, "--seed", str(point.seed), *options]
        return [*run, "--out", str(self.folder(point)), "--point", str(os.getpid())]

    def key(self, point: Point) -> str:
        """What a point's results depend on, in one word."""
        depends = [self.digest, self.scenario, sorted(self.settings), self.until, self.images, point.values, point.seed]
        return hashlib.sha256(json.dumps(depends).encode()).hexdigest()

    def prepare(self) -> None:
        """Makes the folders. UserError if that cannot be, or if the folder is another's."""
        make_folder(self.out, "--out")
        if (self.out / "result.json").exists():
            raise UserError(f"--out: {self.out} holds the results of a single run; name another folder")
        for folder in ("points", ".sweep/points", ".sweep/log"):
            make_folder(self.out / folder, "--out")

    def tidy(self) -> None:
        """Takes away what a killed sweep left half-written. For who holds the lock, and while no job is at work."""
        for folder in (self.out, self.out / ".sweep", self.out / ".sweep/points"):
            for partial in folder.glob(f"*{PARTIAL}"):
                partial.unlink(missing_ok=True)

    def result(self, point: Point) -> dict[str, Any] | None:
        """The result of a point that is done; None if it is not. UserError if its result.json is damaged.

        A point whose end was not noted may have been killed after its results and before it said so in its log.
        """
        return self.left_by(point) if self.status(point) in (0, 1) else None

    def left_by(self, point: Point) -> dict[str, Any] | None:
        """The result that the run of a point left, if it is whole and of this sweep. UserError if it is damaged."""
        if not self.noted(point) or not (self.folder(point) / "result.json").is_file():
            return None
        result = read_result(self.folder(point))
        if result["ended"] not in COMPLETE or result["seed"] != point.seed:
            return None
        beside, images = pathlib.Path(self.scenario).parent, _images(self.images)
        for name, digest in [*result.get("sources", {}).items(), *result.get("files", {}).items()]:
            place = images / name.removeprefix(FROM_IMAGES) if name.startswith(FROM_IMAGES) else beside / name
            if sha256_of(place) != digest:
                return None
        return result

    def begin(self, point: Point) -> None:
        """Notes that a point begins. What an earlier run of it left is no result from here on."""
        # A folder of that name is refused by the run.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            (self.folder(point) / "result.json").unlink()
        write_whole(self.marker(point), json_text({"key": self.key(point)}))

    def end(self, point: Point, status: int, line: str) -> None:
        """Notes how a point's run ended. UserError if it ran with another scenario or program than the sweep began with."""
        if not self.current():
            raise UserError("the scenario, the program or its guest images changed during the sweep; give the command again")
        write_whole(self.marker(point), json_text({"key": self.key(point), "status": status, "line": line}))

    def current(self) -> bool:
        """Whether scenario and program are those that the sweep began with."""
        return digest_of(self.scenario, self.executable, self.images) == self.digest

    def noted(self, point: Point) -> dict[str, Any]:
        """What was noted about a point as it is now; nothing if it was another scenario's or another program's."""
        marker = self._read_marker(point)
        return marker if marker.get("key") == self.key(point) else {}

    def left_by_another(self, point: Point) -> bool:
        """For a point that is not done: whether a run of something else that came to its end left results."""
        return self._read_marker(point).get("status") in (0, 1) and (self.folder(point) / "result.json").is_file()

    def _read_marker(self, point: Point) -> dict[str, Any]:
        try:
            return read_json(self.marker(point), MARKER)
        except UserError:
            return {}

    def status(self, point: Point) -> int | None:
        """The exit status of a point's run; None if it has not ended."""
        status = self.noted(point).get("status")
        return None if status is None else int(status)

    def complaint(self, point: Point, status: int) -> str:
        """Why a run left no result, in one line, from its log."""
        if status in (0, 1):
            return "its results are gone, or what it read changed meanwhile"
        ended = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        try:
            lines = self.log(point).read_text(encoding="utf-8", errors="replace").strip().split("\n")
            if not lines[-1]:
                # A run says why it failed. If that could not be written, this cannot be either.
                self.log(point).write_text(f"{ended}\n")
        except OSError as error:
            return f"cannot write {self.log(point)}: {error.strerror}"
        if status < 0:
            return ended
        said = [line.removeprefix("verdigris: ") for line in lines if line.startswith("verdigris: ")]
        return said[-1] if said else f"{ended}: {lines[-1]}".rstrip(": ")


def digest_of(scenario: str, executable: str, images: str) -> str:
    """Of scenario, executable, this package and what guest images there are: with others, points are run again.

    UserError if the scenario cannot be read.
    """
    path = pathlib.Path(scenario)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the scenario {scenario}: {error.strerror}") from None
    parts = [hashlib.sha256(content).hexdigest(), sha256_of(pathlib.Path(executable))]
    parts += [sha256_of(module) for module in sorted(pathlib.Path(__file__).parent.glob("*.py"))]
    parts += [sha256_of(manifest) for manifest in sorted(_images(images).glob("*/manifest.json"))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _images(folder: str) -> pathlib.Path:
    """The folder of guest images, as the points see it."""
    return pathlib.Path(folder or os.environ["VERDIGRIS_IMAGES"])


def sha256_of(path: pathlib.Path) -> str:
    """Of a file; "" if it cannot be read. All points ask for the same files: each is read once, and again if it changed."""
    try:
        status = path.stat()
        return _sha256_of(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except (OSError, ValueError):  # also where the path is none
        return ""


@functools.cache
def _sha256_of(path: pathlib.Path, *_status: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version() -> str:
    """Of the program; "" outside of it."""
    if not EMBEDDED:
        return ""
    import _verdigris

    return str(_verdigris.version)


@contextlib.contextmanager
def locked(out: pathlib.Path) -> Iterator[int]:
    """Keeps a second sweep out of the folder; gives the lock's descriptor, which running points inherit.

    So a sweep that is killed frees it when the last of its points has gone too.
    """
    try:
        descriptor = os.open(out / ".sweep/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"cannot write {out / '.sweep/lock'}: {error.strerror}") from None
    try:
        patience = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= patience:
                    raise UserError(f"{out}: another sweep is at work in this folder") from None
                time.sleep(0.02)
        yield descriptor
    finally:
        os.close(descriptor)


def unfinished(plan: Plan, points: Sequence[Point]) -> tuple[list[Point], list[str]]:
    """The points that are to be run, and why, a line each, where there are results that cannot be taken."""
    to_run, lines, others = [], [], 0
    for point in points:
        try:
            if plan.result(point) is None:
                to_run.append(point)
                others += plan.left_by_another(point)
        except UserError as error:
            to_run.append(point)
            lines.append(str(error).replace("repeat the run", "the point is repeated"))
    if others:
        what = f"results of {others} of {len(plan.points)} points are of another scenario, setting, program or guest image, or were changed"
        lines.append(f"{what}; these points are repeated")
    return to_run, lines
