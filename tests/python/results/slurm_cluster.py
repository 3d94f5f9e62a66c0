"""A cluster of one node for a test: munged, slurmctld and slurmd of Debian's slurm-wlm, on loopback, in a folder.

Nothing of the machine's own configuration is read or changed, and no service manager is needed.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
PATIENCE_S = 30
# Debian keeps daemons where an ordinary user's PATH does not lead.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

CONFIGURATION = """\
ClusterName=verdigris
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
MaxArraySize=11
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""


def missing() -> list[str]:
    """Programs of slurm-wlm that are not here."""
    return [name for name in NEEDED if shutil.which(name, path=PATH) is None]


class Cluster:
    """The cluster, from `start` to `stop`. `environment` is for commands that shall find it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {"PATH": PATH, "HOME": str(folder), "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Starts the daemons and waits until the node is there. AssertionError with their logs if it does not come."""
        folder = self._folder
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir(mode=0o711)
        key = folder / "munge/key"
        key.write_bytes(bytes(range(64)))
        key.chmod(0o400)
        configuration = CONFIGURATION.format(
            folder=folder, host=socket.gethostname().split(".")[0], user=pwd.getpwuid(os.getuid()).pw_name,
            controller_port=free_port(), node_port=free_port(),
        )  # fmt: skip
        (folder / "slurm.conf").write_text(configuration)
        if self._version() >= (23, 2):
            (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        munge = [f"--{name}={folder}/munge/{file}" for name, file in (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("seed-file", "seed"))]
        self._daemon("munged", "--foreground", "--force", *munge)
        self._wait(lambda: (folder / "munge/socket").exists())
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-c")
        self._wait(lambda: self._ask("sinfo", "--noheader", "--format=%T") == "idle")

    def stop(self) -> None:
        """Ends the daemons and what they run."""
        with contextlib.suppress(Exception):
            for job in set(self._ask("squeue", "--noheader", "--format=%A").split()):
                self._ask("scancel", "--signal=KILL", job)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _version(self) -> tuple[int, int]:
        major, minor = self._ask("sbatch", "--version").split()[-1].split(".")[:2]
        return int(major), int(minor)

    def _daemon(self, *command: str) -> None:
        with open(self._folder / f"{command[0]}.log", "wb") as log:
            self._daemons.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=self._folder)
            )

    def _ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=20).stdout.strip()

    def _wait(self, there: object) -> None:
        until = time.monotonic() + PATIENCE_S
        while not there():  # type: ignore[operator]
            if time.monotonic() > until or any(daemon.poll() is not None for daemon in self._daemons):
                logs = "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(self._folder.glob("*.log")))
                raise AssertionError(f"the cluster does not come up\n{logs}")
            time.sleep(0.05)


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
