# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how each makes a repository, backs up and restores, with its own defaults."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path


class Tool:
    name = ""
    # What the table's note says about the settings.
    settings = ""
    # Can it tell unchanged data from changed?
    incremental = True
    # Counts as a deduplicating peer of lifeboat?
    peer = True

    def __init__(self, work: Path):
        # Repository, caches and state of one run; removed and made anew for each.
        self.place = work / "run" / self.name
        self.repository = self.place / "repository"

    def environment(self) -> dict[str, str]:
        """Caches and configuration stay inside the run's folder."""
        home = self.place / "home"
        return {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"),
                "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state"),
                "LIFEBOAT_STATE": str(home / "state" / "lifeboat"), "LC_ALL": "C.UTF-8"}

    def version(self) -> str:
        raise NotImplementedError

    def create(self) -> list[list[str]]:
        """Commands that make an empty repository; not measured."""
        return []

    def backup(self, number: int, data: Path) -> list[str]:
        raise NotImplementedError

    def restore(self, number: int, target: Path) -> list[str]:
        """Restores backup `number`, which is the latest."""
        raise NotImplementedError

    def restored(self, target: Path, data: Path) -> Path:
        """Where the restored copy of `data` lies."""
        return target / str(data).lstrip("/")

    def check(self, read_data: bool) -> list[str]:
        """Verifies the repository; with `read_data` every byte of it."""
        raise NotImplementedError

    def listing(self) -> list[str]:
        """Lists every entry of the latest backup."""
        raise NotImplementedError

    def forget(self, keep: int) -> list[list[str]]:
        """Removes all backups but the last `keep`, and the data only they need."""
        raise NotImplementedError


def first_line(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[0]


class Lifeboat(Tool):
    name = "lifeboat"
    settings = "repository format 1, `--encryption none`, otherwise defaults"
    peer = False

    def __init__(self, work: Path, program: str):
        super().__init__(work)
        self.program = program

    def version(self) -> str:
        return first_line([self.program, "--version"])

    def create(self) -> list[list[str]]:
        return [[self.program, "repository", "init", "--repository", str(self.repository), "--encryption", "none"]]

    def backup(self, number: int, data: Path) -> list[str]:
        return [self.program, "backup", "--repository", str(self.repository), str(data)]

    def restore(self, number: int, target: Path) -> list[str]:
        return [self.program, "restore", "latest", "--repository", str(self.repository), "--to", str(target)]

    def check(self, read_data: bool) -> list[str]:
        return [self.program, "check", *(["--read-data"] if read_data else []), "--repository", str(self.repository)]

    def listing(self) -> list[str]:
        return [self.program, "ls", "-R", "latest", "--repository", str(self.repository)]

    def forget(self, keep: int) -> list[list[str]]:
        return [[self.program, "forget", "--yes", "--force", "--keep-last", str(keep),
                 "--repository", str(self.repository)],
                [self.program, "prune", "--grace", "0s", "--repository", str(self.repository)]]


class EncryptedLifeboat(Lifeboat):
    name = "lifeboat-age"
    settings = "repository format 1, one age recipient, otherwise defaults"

    @property
    def identity(self) -> Path:
        return self.place / "home" / "identity.txt"

    @staticmethod
    def is_supported(program: str) -> bool:
        help_text = subprocess.run([program, "repository", "init", "--help"], capture_output=True, text=True).stdout
        return "--recipient" in help_text

    def create(self) -> list[list[str]]:
        identity, program, repository = (shlex.quote(str(path)) for path in
                                         (self.identity, self.program, self.repository))
        return [["age-keygen", "-o", str(self.identity)],
                ["sh", "-c", f"{program} repository init --repository {repository} "
                 f"--recipient \"$(age-keygen -y {identity})\""]]

    def backup(self, number: int, data: Path) -> list[str]:
        return [*super().backup(number, data), "--identity", str(self.identity)]

    def restore(self, number: int, target: Path) -> list[str]:
        return [*super().restore(number, target), "--identity", str(self.identity)]

    def check(self, read_data: bool) -> list[str]:
        return [*super().check(read_data), "--identity", str(self.identity)]

    def listing(self) -> list[str]:
        return [*super().listing(), "--identity", str(self.identity)]

    def forget(self, keep: int) -> list[list[str]]:
        return [[*command, "--identity", str(self.identity)] for command in super().forget(keep)]


class WriteOnlyLifeboat(EncryptedLifeboat):
    name = "lifeboat-write"
    settings = "as lifeboat-age, backups without the identity: deltas from copies in the cache"

    def backup(self, number: int, data: Path) -> list[str]:
        return Lifeboat.backup(self, number, data)


class Restic(Tool):
    name = "restic"
    settings = "repository version 2, default compression (auto); it always encrypts"

    def environment(self) -> dict[str, str]:
        # Made with the repository, so that the password is never an argument.
        return {**super().environment(), "RESTIC_PASSWORD_FILE": str(self.place / "password"),
                "RESTIC_REPOSITORY": str(self.repository), "RESTIC_CACHE_DIR": str(self.place / "cache")}

    def version(self) -> str:
        return " ".join(first_line(["restic", "version"]).split()[:2])

    def create(self) -> list[list[str]]:
        return [["sh", "-c", 'umask 077; echo bench >"$RESTIC_PASSWORD_FILE"'], ["restic", "init"]]

    def backup(self, number: int, data: Path) -> list[str]:
        return ["restic", "backup", str(data)]

    def restore(self, number: int, target: Path) -> list[str]:
        return ["restic", "restore", "latest", "--target", str(target)]

    def check(self, read_data: bool) -> list[str]:
        return ["restic", "check", *(["--read-data"] if read_data else [])]

    def listing(self) -> list[str]:
        return ["restic", "ls", "latest"]

    def forget(self, keep: int) -> list[list[str]]:
        return [["restic", "forget", "--keep-last", str(keep)], ["restic", "prune"]]


class Borg(Tool):
    name = "borg"
    settings = "`--encryption none`, default compression (lz4)"
    compression: list[str] = []

    def __init__(self, work: Path):
        super().__init__(work)
        self.program = str(work / "borg" / "bin" / "borg")

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "BORG_BASE_DIR": str(self.place / "home"),
                "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def version(self) -> str:
        return first_line([self.program, "--version"])

    def create(self) -> list[list[str]]:
        return [[self.program, "init", "--encryption", "none", str(self.repository)]]

    def backup(self, number: int, data: Path) -> list[str]:
        return [self.program, "create", *self.compression, f"{self.repository}::{number}", str(data)]

    def restore(self, number: int, target: Path) -> list[str]:
        # It extracts into the current folder.
        return ["env", "-C", str(target), self.program, "extract", f"{self.repository}::{number}"]

    def check(self, read_data: bool) -> list[str]:
        return [self.program, "check", *(["--verify-data"] if read_data else []), str(self.repository)]

    def listing(self) -> list[str]:
        return ["sh", "-c", f"{shlex.quote(self.program)} list --short --last 1 {shlex.quote(str(self.repository))} | "
                f"xargs -I@ {shlex.quote(self.program)} list {shlex.quote(str(self.repository))}::@"]

    def forget(self, keep: int) -> list[list[str]]:
        return [[self.program, "prune", "--keep-last", str(keep), str(self.repository)],
                [self.program, "compact", str(self.repository)]]


class BorgZstd(Borg):
    name = "borg-zstd"
    settings = "`--encryption none`, `--compression zstd,3`"
    compression = ["--compression", "zstd,3"]


class TarZstd(Tool):
    name = "tar-zstd"
    settings = "`tar | zstd -3 -T0`, `zstd -d | tar -x`; first backup and restore only, it does not flush to disk"
    incremental = False
    peer = False

    def version(self) -> str:
        zstd = first_line(["zstd", "--version"]).split()
        return first_line(["tar", "--version"]) + ", zstd " + next(word for word in zstd if word.startswith("v")).strip("v,")

    def create(self) -> list[list[str]]:
        return [["mkdir", str(self.repository)]]

    def backup(self, number: int, data: Path) -> list[str]:
        archive = shlex.quote(str(self.repository / "backup.tar.zst"))
        return ["bash", "-c", "set -o pipefail; tar -C / -cf - "
                f"{shlex.quote(str(data).lstrip('/'))} | zstd -3 -T0 -q -o {archive}"]

    def restore(self, number: int, target: Path) -> list[str]:
        archive = shlex.quote(str(self.repository / "backup.tar.zst"))
        return ["bash", "-c",
                f"set -o pipefail; zstd -dc -q {archive} | tar -C {shlex.quote(str(target))} -xpf -"]


NAMES = ("lifeboat", "lifeboat-age", "lifeboat-write", "restic", "borg", "borg-zstd", "tar-zstd")
DEFAULT_NAMES = ("lifeboat", "lifeboat-age", "restic", "borg", "tar-zstd")


def install_borg(work: Path) -> None:
    """borg from PyPI, built in the work folder."""
    if (work / "borg" / "bin" / "borg").exists():
        return
    print("installing borgbackup from PyPI into the work folder", file=sys.stderr, flush=True)
    # Debian's python3 has the header files beside it; another python on PATH may not.
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    subprocess.run([python, "-m", "venv", str(work / "borg")], check=True)
    subprocess.run([str(work / "borg" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check",
                    "borgbackup"], check=True, stdout=sys.stderr)


def make(names: list[str], work: Path, program: str) -> list[Tool]:
    tools: list[Tool] = []
    for name in names:
        if name == "lifeboat":
            tools.append(Lifeboat(work, program))
        elif name in ("lifeboat-age", "lifeboat-write"):
            if not EncryptedLifeboat.is_supported(program):
                raise SystemExit("error: this lifeboat has no 'repository init --recipient'")
            kind = EncryptedLifeboat if name == "lifeboat-age" else WriteOnlyLifeboat
            tools.append(kind(work, program))
        elif name == "restic":
            if shutil.which("restic") is None:
                raise SystemExit("error: restic is not installed")
            tools.append(Restic(work))
        elif name in ("borg", "borg-zstd"):
            install_borg(work)
            tools.append(Borg(work) if name == "borg" else BorgZstd(work))
        else:
            tools.append(TarZstd(work))
    return tools
