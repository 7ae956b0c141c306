# SPDX-License-Identifier: Apache-2.0
"""Rows about repositories rather than data: opening a large one, pruning a long history, checking."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tools import Tool

MIB = 1 << 20
# Millions of files of the rows about file counts.
MILLIONS = {"files1": 1, "files2": 2, "files5": 5}
FILE_STEPS = ("first", "unchanged", "check", "ls", "restore")
# No command of lifeboat takes more memory than this, at any number of files.
MEMORY_TARGET = 120 * MIB
ROWS = ("open", "prune", "history", "check", "nights", *MILLIONS)
ABOUT = {
    "open": "10,000,000 chunks in 2,000 indexes and 312,500 packs (synthetic: packs are holes of the right size), one "
            "real snapshot of two small files; index copies in the local cache",
    "prune": "10,000 snapshots, one an hour, of 1,000,000 chunks in 1,000 indexes (synthetic, real data of 1 KiB "
             "chunks); forget keeps 30 days, 52 weeks and 12 months, prune deletes the rest at once",
    "history": "100 backups of 400 files of 100 KiB noise, 8 of them new each time; all but the last 10 are forgotten "
               "and pruned",
    "check": "after a first backup: the structure, and all data",
    "nights": "365 nights of one file of 64 MiB, of which eight places of 100,000 bytes change each night: a backup, "
              "forget keeps the last 3, prune deletes the rest at once",
    **{row: f"{millions},000,000 files of 16 to 2,000 bytes (median 250), 100 a folder; `check` of the structure, `ls` of "
            "every entry, restore into an empty folder of the same file system" for row, millions in MILLIONS.items()},
}

# Run a command and give what it cost.
Measure = Callable[[dict[str, str], list[str]], dict[str, Any]]


def total(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Commands one after the other."""
    result = {field: sum(step[field] for step in steps) for field in ("wall", "user", "system")}
    return {**result, "peak": max(step["peak"] for step in steps)}


def synthesize(name: str, work: Path) -> Path:
    """The folder of a synthetic repository and its cache; made unless an earlier run kept it."""
    folder = work / "synthetic" / name
    if not (folder / "complete").exists():
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        root = Path(__file__).resolve().parent.parent.parent
        # It is made by the code that is measured, in a test: nothing of it is in the program that is shipped.
        subprocess.run(
            ["swift", "test", "--package-path", str(root), "-c", "release", "--skip-build", "--disable-xctest",
             "--filter", "SyntheticRepositoryTests"], check=True, stdout=2,
            env={**os.environ, "LIFEBOAT_SYNTHETIC": str(folder.parent), "LIFEBOAT_SYNTHETIC_ONLY": name})
        (folder / "complete").touch()
    return folder


def own_environment(folder: Path) -> dict[str, str]:
    """The cache and the state that the repository was made with."""
    return {**os.environ, "LIFEBOAT_CACHE": str(folder / "cache"),
            "LIFEBOAT_STATE": str(folder / "state" / "lifeboat")}


def open_row(own: Tool, work: Path, runs: int, measure: Measure) -> dict[str, Any]:
    folder = synthesize("open", work)
    repository = ["--repository", str(folder / "repository")]
    environment = own_environment(folder)
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "hello").write_text("hello\n")
    (source / "numbers").write_text("".join(f"{number}\n" for number in range(1000)))
    commands = {
        "version": ["--version"],
        "snapshots": ["snapshots", *repository],
        "ls": ["ls", "latest", *repository],
        "cat": ["cat", "latest", "hello", *repository],
        "backup": ["backup", *repository, str(source)],
    }
    program = own.program  # type: ignore[attr-defined]
    # The first one merges the indexes, once for all.
    found: dict[str, Any] = {"first": [measure(environment, [program, *commands["backup"]])]}
    for name, command in commands.items():
        found[name] = [measure(environment, [program, *command]) for _ in range(max(5, runs))]
    return found


def prune_row(own: Tool, work: Path, measure: Measure) -> dict[str, Any]:
    origin = synthesize("prune", work)
    folder = work / "pruned"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(origin), str(folder)], check=True)
    environment = own_environment(folder)
    repository = ["--repository", str(folder / "repository")]
    program = own.program  # type: ignore[attr-defined]
    found = {
        "forget": measure(environment, [
            program, "forget", "--yes", "--force", "--keep-daily", "30", "--keep-weekly", "52", "--keep-monthly", "12",
            *repository]),
        "prune": measure(environment, [program, "prune", "--force", "--grace", "0s", *repository]),
        "check": measure(environment, [program, "check", *repository]),
    }
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    return found


def history_row(tools: list[Tool], work: Path, measure: Measure) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tool in (tool for tool in tools if tool.incremental):
        subprocess.run(["rm", "-rf", str(tool.place), str(work / "history")], check=True)
        (tool.place / "home").mkdir(parents=True)
        environment = tool.environment()
        for command in tool.create():
            measure(environment, command)
        data = work / "history"
        data.mkdir()
        noise = random.Random(3)
        for number in range(400):
            (data / f"{number:03}").write_bytes(noise.randbytes(100 << 10))
        backups = []
        for number in range(1, 101):
            backups.append(measure(environment, tool.backup(number, data)))
            for index in noise.sample(range(400), 8):
                (data / f"{index:03}").write_bytes(noise.randbytes(100 << 10))
        found[tool.name] = {"backups": total(backups),
                            "forget": total([measure(environment, command) for command in tool.forget(10)])}
        subprocess.run(["rm", "-rf", str(tool.place), str(data)], check=True)
    return found


def check_row(tools: list[Tool], folders: dict[str, Path], runs: int, measure: Measure) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, folder in folders.items():
        for tool in (tool for tool in tools if tool.incremental):
            subprocess.run(["rm", "-rf", str(tool.place)], check=True)
            (tool.place / "home").mkdir(parents=True)
            environment = tool.environment()
            for command in tool.create():
                measure(environment, command)
            measure(environment, tool.backup(1, folder / "data"))
            found.setdefault(name, {})[tool.name] = {
                step: [measure(environment, tool.check(step == "data")) for _ in range(runs)]
                for step in ("structure", "data")}
            subprocess.run(["rm", "-rf", str(tool.place)], check=True)
    return found


NIGHTS = 365
# The file of the row `nights`, and what changes in it each night; bytes.
NIGHT_FILE, NIGHT_PLACES, NIGHT_EDIT = 64 * MIB, 8, 100_000


def stored(folder: Path) -> int:
    """Bytes of all files, not the space they take."""
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, files in os.walk(folder) for name in files)


def nights_row(own: Tool, work: Path, measure: Measure) -> list[dict[str, Any]]:
    subprocess.run(["rm", "-rf", str(own.place), str(work / "nights")], check=True)
    (own.place / "home").mkdir(parents=True)
    environment = own.environment()
    for command in own.create():
        measure(environment, command)
    data = work / "nights"
    data.mkdir()
    noise = random.Random(7)
    content = bytearray(noise.randbytes(NIGHT_FILE))
    forget, prune = own.forget(3)
    found = []
    for number in range(1, NIGHTS + 1):
        (data / "image.bin").write_bytes(content)
        night = {"backup": measure(environment, own.backup(number, data)),
                 "forget": measure(environment, forget), "prune": measure(environment, prune)}
        found.append({**night, "stored": stored(own.repository)})
        for _ in range(NIGHT_PLACES):
            place = noise.randrange(NIGHT_FILE - NIGHT_EDIT)
            content[place:place + NIGHT_EDIT] = noise.randbytes(NIGHT_EDIT)
    measure(environment, own.check(True))
    subprocess.run(["rm", "-rf", str(own.place), str(data)], check=True)
    return found


def make_files(folder: Path, first: int, count: int) -> None:
    """Distinct small files, 100 a folder and 20 folders a folder, numbered from `first`."""
    rng = random.Random(first)
    pool = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz      \n,.", k=MIB))
    for start in range(first, first + count, 100):
        path = folder / f"{start // 2000:05}" / f"{start // 100:06}"
        path.mkdir(parents=True)
        descriptor = os.open(path, os.O_RDONLY)
        for number in range(start, start + 100):
            size = int(min(2000, max(16, rng.lognormvariate(5.5, 0.7))))
            offset = rng.randrange(len(pool) - 2000)
            file = os.open(f"{number % 100:03}-note.txt", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor)
            os.write(file, b"%d\n" % number + pool[offset:offset + size])
            os.close(file)
        os.close(descriptor)


def files_row(millions: int, tools: list[Tool], work: Path, measure: Measure) -> dict[str, Any]:
    """One run: at 5,000,000 files each takes an hour. The files of a smaller row are part of those of a larger one."""
    data = work / "workloads" / "files" / "data"
    data.mkdir(parents=True, exist_ok=True)
    made = 2000 * len(list(data.iterdir()))
    make_files(data, made, millions * 1_000_000 - made)
    found: dict[str, Any] = {}
    for tool in (tool for tool in tools if tool.incremental):
        target = work / "files-restored"
        subprocess.run(["rm", "-rf", str(tool.place), str(target)], check=True)
        (tool.place / "home").mkdir(parents=True)
        target.mkdir()
        environment = tool.environment()
        for command in tool.create():
            measure(environment, command)
        commands = {"first": tool.backup(1, data), "unchanged": tool.backup(2, data), "check": tool.check(False),
                    "ls": tool.listing(), "restore": tool.restore(2, target)}
        found[tool.name] = {step: measure(environment, commands[step]) for step in FILE_STEPS}
        subprocess.run(["rm", "-rf", str(tool.place), str(target)], check=True)
    return found


# MARK: the tables

def cells(steps: list[dict[str, Any]]) -> str:
    wall, user, system = (median(step[field] for step in steps) for field in ("wall", "user", "system"))
    return f"{wall:.2f} | {user:.2f} + {system:.2f} | {max(step['peak'] for step in steps) / MIB:,.0f}"


def render(rows: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    heading = "| s | user + sys | peak MiB |"
    for name, found in rows.items():
        lines += ["", f"### {name}", "", f"{ABOUT[name]}.", ""]
        if name in ("open", "prune"):
            lines += [f"| command {heading}", "|---|--:|--:|--:|"]
            lines += [f"| {step} | {cells(cost if isinstance(cost, list) else [cost])} |" for step, cost in found.items()]
        elif name == "nights":
            lines += ["| nights | stored MiB, least | most | backup s | prune s | user + sys | prune peak MiB |",
                      "|---|--:|--:|--:|--:|--:|--:|"]
            for first, last in ((4, 30), (31, 90), (91, 180), (181, 270), (271, NIGHTS)):
                part = found[first - 1:last]
                if not part:
                    continue
                sizes = [night["stored"] / MIB for night in part]
                backup = median(night["backup"]["wall"] for night in part)
                lines.append(f"| {first} to {last} | {min(sizes):.1f} | {max(sizes):.1f} | {backup:.2f} | "
                             f"{cells([night['prune'] for night in part])} |")
        elif name in MILLIONS:
            lines += ["| tool | " + " | ".join(f"{step} s | MiB" for step in FILE_STEPS) + " |",
                      "|---" + "|--:" * 2 * len(FILE_STEPS) + "|"]
            lines += [f"| {tool} | " + " | ".join(
                f"{cost[step]['wall']:.1f} | {cost[step]['peak'] / MIB:,.0f}" for step in FILE_STEPS) + " |"
                for tool, cost in found.items()]
        elif name == "history":
            lines += ["| tool | 100 backups s | forget and prune s | user + sys | peak MiB |", "|---|--:|--:|--:|--:|"]
            lines += [f"| {tool} | {cost['backups']['wall']:.1f} | {cells([cost['forget']])} |"
                      for tool, cost in found.items()]
        else:
            lines += ["| data | tool | structure s | user + sys | peak MiB | all data s | user + sys | peak MiB |",
                      "|---|---|--:|--:|--:|--:|--:|--:|"]
            lines += [f"| {workload} | {tool} | {cells(cost['structure'])} | {cells(cost['data'])} |"
                      for workload, tools in found.items() for tool, cost in tools.items()]
    return lines


def verdicts(rows: dict[str, Any]) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    opened = rows.get("open", {})
    for name in ("ls", "cat"):
        if name in opened:
            wall = median(step["wall"] for step in opened[name])
            peak = max(step["peak"] for step in opened[name])
            found.append((f"10,000,000 chunks, {name}: {wall * 1000:.0f} ms, {peak / MIB:.0f} MiB (target 100 ms, 64 MiB)",
                          wall < 0.1 and peak < 64 * MIB))
    if "backup" in opened:
        peak = max(step["peak"] for step in opened["backup"])
        found.append((f"10,000,000 chunks, backup: {peak / MIB:.0f} MiB (target 64 MiB)", peak < 64 * MIB))
    if "nights" in rows:
        most = max(night["stored"] for night in rows["nights"][3:])
        early, late = (median(night["prune"]["wall"] for night in part)
                       for part in (rows["nights"][3:63], rows["nights"][-60:]))
        found.append((f"nights, stored at most: {most / NIGHT_FILE:.2f} of the file (target 1.25)",
                      most <= 1.25 * NIGHT_FILE))
        found.append((f"nights, prune of the last 60: {late / early:.2f} of the first 60's time (target 1.25)",
                      late <= 1.25 * early))
    for row in (row for row in MILLIONS if "lifeboat" in rows.get(row, {})):
        peak = max(cost["peak"] for cost in rows[row]["lifeboat"].values())
        found.append((f"{MILLIONS[row]},000,000 files: {peak / MIB:.0f} MiB at most "
                      f"(target {MEMORY_TARGET / MIB:.0f} MiB)", peak < MEMORY_TARGET))
    for workload, tools in rows.get("check", {}).items():
        for step in ("structure", "data"):
            walls = {tool: median(cost["wall"] for cost in steps[step]) for tool, steps in tools.items()}
            peers = [(wall, tool) for tool, wall in walls.items() if not tool.startswith("lifeboat")]
            if "lifeboat" in walls and peers:
                wall, peer = min(peers)
                found.append((f"check of {workload}, {step}: {wall / walls['lifeboat']:.2f}x as fast as {peer} (target 1x)",
                              walls["lifeboat"] <= wall))
    return found
