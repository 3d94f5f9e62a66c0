#!/usr/bin/python3
"""Builds the Linux guest's root disk: an ext4 file system with busybox and further programs, by the distribution's own mke2fs.

The same packages give the same bytes: identifiers and times are set, not drawn and not read from a clock.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SIZE = "96M"
LABEL = "verdigris"
UUID = "76657264-6967-4269-8373-726f6f740001"
EPOCH = 1767225600  # 2026-01-01 00:00:00 UTC
DIRECTORIES = ["bin", "dev", "etc", "home", "lib", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/lib", "vg"]
TIMES = ("atime", "ctime", "mtime", "crtime")


def fill(root: pathlib.Path, busybox: pathlib.Path, files: dict[str, pathlib.Path], tree: pathlib.Path | None) -> None:
    """The tree: busybox under the names of all its applets, the guest's own scripts, and what is in `tree`."""
    for path in DIRECTORIES:
        (root / path).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    applets = subprocess.run([busybox, "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "bin/busybox" and os.path.dirname(applet) in DIRECTORIES:
            (root / applet).symlink_to("/bin/busybox")
    for name, source in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o755 if source.suffix in (".sh", ".pl") else 0o644)
    if tree is not None:
        shutil.copytree(tree, root, dirs_exist_ok=True)
        for path in [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()]:
            path.chmod(0o755)


def build(busybox: pathlib.Path, out: pathlib.Path, files: dict[str, pathlib.Path], tree: pathlib.Path | None = None) -> None:
    """Writes the disk's image (raw, sparse)."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "root"
        root.mkdir(mode=0o755)
        fill(root, busybox, files, tree)
        out.unlink(missing_ok=True)
        configuration = pathlib.Path(folder) / "mke2fs.conf"
        configuration.write_text("[fs_types]\n\text4 = {\n\t}\n\tsmall = {\n\t\tinode_size = 256\n\t}\n")
        environment = {**os.environ, "E2FSPROGS_FAKE_TIME": str(EPOCH), "MKE2FS_CONFIG": str(configuration), "LC_ALL": "C"}
        features = "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,metadata_csum"
        subprocess.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-O", f"none,{features}", "-L", LABEL, "-U", UUID]
            + ["-E", f"hash_seed={UUID},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", "-d", str(root), str(out), SIZE],
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        # mke2fs takes the times of the files it copies, and when they were last changed cannot be set from outside.
        paths = ["/", *("/" + path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))), "/lost+found"]
        commands = "".join(f"sif {path} {field} @{EPOCH}\nsif {path} {field}_extra 0\n" for path in paths for field in TIMES)
        subprocess.run(["debugfs", "-w", "-f", "-", str(out)], input=commands, check=True, env=environment, capture_output=True, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busybox", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--tree", type=pathlib.Path, help="a folder whose content goes to the root")
    parser.add_argument("--file", action="append", default=[], help="GUEST_PATH=FILE")
    arguments = parser.parse_args()
    files = {name: pathlib.Path(path) for name, path in (item.split("=", 1) for item in arguments.file)}
    try:
        build(arguments.busybox, arguments.out, files, arguments.tree)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"root disk: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
