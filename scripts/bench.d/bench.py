# SPDX-License-Identifier: Apache-2.0
"""lifeboat against restic, borg and tar | zstd: same data, same machine, same run. See scripts/bench --help."""

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import report
import scale
import tools as tool_module
from tools import Tool
from workloads import MIB, WORKLOADS, apply, prepare

HERE = Path(__file__).resolve().parent


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def names(allowed: tuple[str, ...]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        unknown = [name for name in chosen if name not in allowed]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"choose from {', '.join(allowed)}")
        return chosen
    return parse


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__,
        epilog="A ROW is a workload, or one of " + ", ".join(scale.ROWS) + ". Workloads: " + " ".join(f"{w.name}: {w.about}." for w in WORKLOADS.values()))
    rows = (*WORKLOADS, *scale.ROWS)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to measure (default: all but " + ", ".join(scale.MILLIONS) + "): " + " ".join(rows))
    parser.add_argument("--only", type=names(rows), metavar="NAME,…", help="the same as a list")
    parser.add_argument("--tools", type=names(tool_module.NAMES), default=None,
                        metavar="NAME,…", help="programs: " + ",".join(tool_module.NAMES)
                        + " (all but borg-zstd by default, "
                        "lifeboat-age as soon as there is 'repository init --recipient')")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the table shows medians (default 3)")
    parser.add_argument("--json", metavar="FILE", help="also keep every single measurement there")
    parser.add_argument("--merge", metavar="FILE", action="append", default=[],
                        help="take what another run measured (its --json) into the table; repeatable")
    parser.add_argument("--work", metavar="DIR", help="work folder (default: a new one below $TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="keep the workloads (and borg) in --work for the next run")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory at 1 and at 10 GiB")
    parser.add_argument("--lifeboat", metavar="PROGRAM", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs takes a number from 1")
    for row in arguments.rows:
        if row not in rows:
            parser.error(f"there is no row '{row}': choose from {', '.join(rows)}")
    usual = tuple(row for row in rows if row not in scale.MILLIONS)
    chosen = arguments.rows or arguments.only or usual
    arguments.only = [row for row in chosen if row in WORKLOADS]
    arguments.scale = [row for row in chosen if row in scale.ROWS]
    if arguments.tools is None:
        arguments.tools = list(tool_module.DEFAULT_NAMES)
        if arguments.lifeboat and tool_module.EncryptedLifeboat.is_supported(arguments.lifeboat):
            arguments.tools.insert(1, "lifeboat-age")
    if arguments.keep and not arguments.work:
        parser.error("--keep needs --work")
    return arguments


def require_space(work: Path, needed: int) -> None:
    free = shutil.disk_usage(work).free
    if free < needed:
        raise SystemExit(
            f"error: {work} has {free / (1 << 30):.1f} GiB free, the chosen workloads need "
            f"{needed / (1 << 30):.1f} GiB\nhint: Name another folder with --work, or choose fewer with --only.")


def remove(path: Path) -> None:
    # Not shutil: 200,000 files in a third of the time.
    subprocess.run(["rm", "-rf", str(path)], check=True)


@contextlib.contextmanager
def fresh_volume(work: Path, size: int, files: int) -> Iterator[Path]:
    """A new, empty file system for one restore, the same for every tool: ext4 in an image, mounted by loop.

    Restoring beside what was just removed measures the removal: ext4 without a journal avoids inodes that were freed
    in the last minutes and walks past each one, so that 40,000 files created after 40,000 were removed cost the kernel
    6 s instead of 0.7 s. Without root it is a plain folder."""
    folder = work / "restored"
    folder.mkdir()
    image = work / "restored.img"
    mounted = False
    try:
        if os.geteuid() == 0:
            with open(image, "wb") as file:
                file.truncate(2 * size + files * 4096 + (1 << 30))
            subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(2 * files + 10_000),
                            "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
            mounted = True
        target = folder / "out"
        target.mkdir()
        yield target
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        image.unlink(missing_ok=True)
        remove(folder)


def stored(folder: Path) -> int:
    """Bytes of all files, not the space they take: the same on every file system."""
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, files in os.walk(folder) for name in files)


def warm(folder: Path) -> tuple[int, int]:
    """Reads everything once; returns the number of files and bytes."""
    files = size = 0
    for parent, _, entries in os.walk(folder):
        for name in entries:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                continue
            with open(path, "rb", buffering=0) as file:
                while block := file.read(MIB):
                    size += len(block)
            files += 1
    return files, size


def measure(work: Path, environment: dict[str, str], command: list[str]) -> dict[str, Any]:
    result, log = work / "result.json", work / "log"
    # What earlier steps wrote must not be flushed on this one's time.
    os.sync()
    subprocess.run([sys.executable, "-I", "-S", str(HERE / "measure.py"), str(result), str(log), *command],
                   check=True, env=environment)
    measured = json.loads(result.read_text())
    if measured["exit"] != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"error: exit status {measured['exit']} of {' '.join(command)}\n{tail}")
    return measured


def same(one: Path, other: Path) -> None:
    outcome = subprocess.run(["diff", "-rq", "--no-dereference", str(one), str(other)], capture_output=True, text=True)
    if outcome.returncode != 0:
        raise SystemExit(f"error: what was restored differs from what was backed up\n{outcome.stdout[:2000]}")


def one_run(tool: Tool, folder: Path, work: Path, days: int, verify: bool) -> dict[str, Any]:
    """First backup, unchanged backup, restore, next day's backup, further days and a restore; a new repository."""
    data = folder / "data"
    remove(tool.place)
    (tool.place / "home").mkdir(parents=True)
    environment = tool.environment()
    for command in tool.create():
        measure(work, environment, command)
    files, size = warm(data)
    run: dict[str, Any] = {}
    number = 1
    run["first"] = measure(work, environment, tool.backup(number, data))
    run["first"]["stored"] = stored(tool.repository)
    if tool.incremental:
        number += 1
        run["unchanged"] = measure(work, environment, tool.backup(number, data))
        run["unchanged"]["stored"] = stored(tool.repository)
    with fresh_volume(work, size, files) as target:
        run["restore"] = measure(work, environment, tool.restore(number, target))
        if verify:
            same(data, tool.restored(target, data))
    if tool.incremental:
        day = 0
        try:
            for day in range(1, days + 1):
                apply(folder, forward=True, day=day)
                warm(data)
                number += 1
                step = "next day" if day == 1 else f"day {day + 1}"
                run[step] = measure(work, environment, tool.backup(number, data))
                run[step]["stored"] = stored(tool.repository)
            if days > 1:
                with fresh_volume(work, size, files) as target:
                    run["last restore"] = measure(work, environment, tool.restore(number, target))
                    if verify:
                        same(data, tool.restored(target, data))
        finally:
            for passed in range(day, 0, -1):
                apply(folder, forward=False, day=passed)
    remove(tool.place)
    return run


def start_up(program: str) -> float:
    """Median of 30 starts; posix_spawn, so that nothing of this process counts."""
    sink = os.open(os.devnull, os.O_WRONLY)
    walls = []
    for _ in range(30):
        begin = time.monotonic()
        child = os.posix_spawn(program, [program, "--version"], os.environ,
                               file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)])
        _, status = os.waitpid(child, 0)
        walls.append(time.monotonic() - begin)
        if status != 0:
            raise SystemExit(f"error: {program} --version failed")
    os.close(sink)
    return median(walls)


def memory(tool: Tool, work: Path) -> dict[str, Any]:
    """Peak memory with one file of 1 GiB and of 10 GiB of noise: no two chunks are alike, none compresses."""
    found: dict[str, Any] = {}
    folder = work / "memory"
    for size in (1, 10):
        remove(folder)
        folder.mkdir()
        rng = random.Random(size)
        with open(folder / "noise", "wb") as file:
            for _ in range(size * 64):
                file.write(rng.randbytes(16 * MIB))
        remove(tool.place)
        (tool.place / "home").mkdir(parents=True)
        environment = tool.environment()
        for command in tool.create():
            measure(work, environment, command)
        backup = measure(work, environment, tool.backup(1, folder))
        target = work / "restored"
        target.mkdir()
        try:
            restore = measure(work, environment, tool.restore(1, target))
        finally:
            remove(target)
        found[str(size)] = {"backup": backup, "restore": restore}
        say(f"memory at {size} GiB: backup {backup['peak'] / MIB:.0f} MiB, restore {restore['peak'] / MIB:.0f} MiB")
    remove(folder)
    remove(tool.place)
    return found


def machine(work: Path) -> dict[str, Any]:
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    file_system = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", str(work)], check=True, capture_output=True,
                                 text=True)
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "file_system": file_system.stdout.strip(), "load": os.getloadavg()[0]}


def scale_rows(arguments: argparse.Namespace, work: Path, chosen: list[Tool], own: Tool | None,
               results: dict[str, Any]) -> None:
    found = results.setdefault("rows", {})

    def cost(environment: dict[str, str], command: list[str]) -> dict[str, Any]:
        return measure(work, environment, command)

    for row in arguments.scale:
        say(f"{row}: measuring")
        if row == "check":
            folders = {name: prepare(name, work / "workloads") for name in ("small", "dump")}
            for folder in folders.values():
                warm(folder / "data")
            found[row] = scale.check_row(chosen, folders, arguments.runs, cost)
        elif row == "history":
            found[row] = scale.history_row(chosen, work, cost)
        elif row in scale.MILLIONS:
            found[row] = scale.files_row(scale.MILLIONS[row], chosen, work, cost)
        elif own is None:
            say(f"{row}: left out, since lifeboat is not among the tools")
        elif row == "open":
            found[row] = scale.open_row(own, work, arguments.runs, cost)
        elif row == "nights":
            found[row] = scale.nights_row(own, work, cost)
        else:
            found[row] = scale.prune_row(own, work, cost)


def run(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    needed = max((WORKLOADS[name].size_on_disk * (len(arguments.only) if arguments.keep else 1)
                  + 4 * WORKLOADS[name].size for name in arguments.only), default=0)
    # The image of the file system restores go to.
    needed += sum(WORKLOADS[name].size_on_disk * arguments.runs * len(arguments.tools)
                  for name in arguments.only if name in ("small", "tiny"))
    if arguments.scale:
        needed += 8 << 30
    # Each file takes a block where it is and where it is restored, and two inodes.
    needed += max((scale.MILLIONS[row] * 10 << 30 for row in arguments.scale if row in scale.MILLIONS), default=0)
    if arguments.memory:
        needed = max(needed, 31 << 30)
    require_space(work, needed + (1 << 30))
    chosen = tool_module.make(arguments.tools, work, arguments.lifeboat)
    results: dict[str, Any] = {"machine": machine(work), "tools": {}, "inputs": {}, "workloads": {}}
    for file in arguments.merge:
        earlier = json.loads(Path(file).read_text())
        results["tools"].update(earlier["tools"])
        results["inputs"].update(earlier["inputs"])
        for name, found in earlier["workloads"].items():
            results["workloads"].setdefault(name, {}).update(found)
        results.setdefault("rows", {}).update(earlier.get("rows", {}))
        for key in ("memory", "start_up"):
            if key in earlier:
                results[key] = earlier[key]
    for tool in chosen:
        results["tools"][tool.name] = f"{tool.version()}; {tool.settings}"
    for name in arguments.only:
        say(f"{name}: preparing the data")
        folder = prepare(name, work / "workloads")
        files, size = warm(folder / "data")
        results["inputs"][name] = {"files": files, "bytes": size}
        found = results["workloads"].setdefault(name, {})
        for tool in chosen:
            found[tool.name] = []
        # Tools take turns, so that a busy minute of the machine does not hit one alone.
        for number in range(1, arguments.runs + 1):
            for tool in chosen:
                outcome = one_run(tool, folder, work, WORKLOADS[name].days, verify=number == 1)
                found[tool.name].append(outcome)
                say(f"{name}: {tool.name} {number}/{arguments.runs}: "
                    + ", ".join(f"{step} {outcome[step]['wall']:.2f} s" for step in report.STEPS if step in outcome))
        if not arguments.keep:
            remove(folder)
    own = next((tool for tool in chosen if tool.name == "lifeboat"), None)
    scale_rows(arguments, work, chosen, own, results)
    if own is not None:
        results["start_up"] = start_up(arguments.lifeboat)
        if arguments.memory:
            results["memory"] = memory(own, work)
    return results


def main() -> int:
    arguments = options()

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    if arguments.work:
        work = Path(arguments.work).resolve()
        existed = work.exists()
        work.mkdir(parents=True, exist_ok=True)
    else:
        work = Path(tempfile.mkdtemp(prefix="lifeboat-bench."))
        existed = False
    # The dump's database runs as another user.
    work.chmod(work.stat().st_mode | 0o011)
    try:
        results = run(arguments, work)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")
        print(report.render(results), flush=True)
        say("removing what was made")
    finally:
        for name in ("run", "restored", "files-restored", "memory", "history", "nights", "pruned", "result.json", "log"):
            remove(work / name)
        if not arguments.keep:
            remove(work / "workloads")
            remove(work / "synthetic")
            remove(work / "borg")
            if not existed:
                remove(work)
    # A missed target is a finding for people to read, not a failure of the benchmark.
    return 0


if __name__ == "__main__":
    sys.exit(main())
