# SPDX-License-Identifier: Apache-2.0
"""The table and the verdicts, from the medians of the runs."""

from statistics import median
from typing import Any

import scale
from workloads import WORKLOADS

STEPS = ("first", "unchanged", "restore", "next day", "last restore")
MIB = 1 << 20
MEMORY_LIMIT = 120 * MIB
START_UP_LIMIT = 0.030

# Workload, step, how many times faster than the fastest deduplicating peer.
FASTER = (
    [("small", "first", 2.0), ("weights", "first", 3.0), ("tiny", "unchanged", 5.0)]
    + [(name, "restore", 2.0) for name in ("small", "weights", "dump", "tiny")]
)

Results = dict[str, Any]


def seconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def step_median(runs: list[Results], step: str, field: str) -> float | None:
    values = [run[step][field] for run in runs if step in run]
    return median(values) if values else None


def table(results: Results) -> str:
    lines = []
    for workload, tools in results["workloads"].items():
        entry = results["inputs"][workload]
        lines += ["", f"### {workload}", "", f"{WORKLOADS[workload].about}. {entry['files']:,} files, "
                  f"{entry['bytes'] / MIB:,.0f} MiB.", "",
                  "| tool | first s | user + sys | unchanged s | next day s | restore s | user + sys | stored MiB | "
                  "next day + MiB | peak MiB | runs |",
                  "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for tool, runs in tools.items():
            def cell(step: str, field: str) -> str:
                value = step_median(runs, step, field)
                return "–" if value is None else seconds(value)

            def work(step: str) -> str:
                user, system = step_median(runs, step, "user"), step_median(runs, step, "system")
                return "–" if user is None or system is None else f"{user:.1f} + {system:.1f}"

            stored = step_median(runs, "first", "stored") or 0
            after = step_median(runs, "next day", "stored")
            growth = "–" if after is None else f"{(after - stored) / MIB:,.1f}"
            peak = max(step["peak"] for run in runs for step in run.values())
            lines.append(
                f"| {tool} | {cell('first', 'wall')} | {work('first')} | {cell('unchanged', 'wall')} | "
                f"{cell('next day', 'wall')} | {cell('restore', 'wall')} | {work('restore')} | "
                f"{stored / MIB:,.1f} | {growth} | {peak / MIB:,.0f} | {len(runs)} |")
        lines += days(tools, WORKLOADS[workload].days)
    return "\n".join(lines)


def days(tools: dict[str, list[Results]], count: int) -> list[str]:
    """The table of a workload with more than one further day."""
    shown = {tool: runs for tool, runs in tools.items() if "last restore" in runs[0]}
    if count == 1 or not shown:
        return []
    steps = ["next day", *(f"day {day}" for day in range(3, count + 2))]
    lines = ["", f"| tool | day 2 s | day {count + 1} s | day 2 + MiB | "
             f"days 2 to {count + 1} + MiB | restore day 1 s | restore day {count + 1} s |",
             "|---|--:|--:|--:|--:|--:|--:|"]
    for tool, runs in shown.items():
        def cell(step: str, field: str) -> str:
            return seconds(step_median(runs, step, field) or 0)

        first, second, last = (step_median(runs, step, "stored") or 0 for step in ("first", "next day", steps[-1]))
        lines.append(f"| {tool} | {cell('next day', 'wall')} | {cell(steps[-1], 'wall')} | "
                     f"{(second - first) / MIB:,.1f} | {(last - first) / MIB:,.1f} | {cell('restore', 'wall')} | "
                     f"{cell('last restore', 'wall')} |")
    return lines


def delta_verdicts(workload: str, tools: dict[str, list[Results]]) -> list[tuple[str, bool]]:
    own, peer = tools.get("lifeboat", []), tools.get("restic", [])
    if WORKLOADS[workload].days == 1 or not own:
        return []

    def value(runs: list[Results], step: str, field: str) -> float:
        return step_median(runs, step, field) or 0

    found = []
    growth = value(own, "next day", "stored") - value(own, "first", "stored")
    if peer:
        theirs = value(peer, "next day", "stored") - value(peer, "first", "stored")
        found.append((f"{workload}, added the next day: 1/{theirs / growth:.1f} of what restic adds (target 1/15)",
                      growth * 15 <= theirs))
    first, second = value(own, "first", "wall"), value(own, "next day", "wall")
    found.append((f"{workload}, next day: {second / first:.2f} of the first backup's time (target 1)", second <= first))
    full, last = value(own, "restore", "wall"), value(own, "last restore", "wall")
    found.append((f"{workload}, restore through {WORKLOADS[workload].days} deltas: {last / full:.2f} of a full one's "
                  "time (target 1.3)", last <= 1.3 * full))
    return found


def verdicts(results: Results) -> list[tuple[str, bool]]:
    """What the project promises, each with the measured figure; nothing is said about what was not measured."""
    found: list[tuple[str, bool]] = []
    for workload, step, factor in FASTER:
        tools = results["workloads"].get(workload, {})
        own = step_median(tools.get("lifeboat", []), step, "wall")
        peers = [(wall, name) for name in tools if name in ("restic", "borg", "borg-zstd")
                 if (wall := step_median(tools[name], step, "wall")) is not None]
        if own and peers:
            wall, name = min(peers)
            found.append((f"{workload}, {step}: {wall / own:.2f}x as fast as {name} (target {factor:g}x)",
                          wall / own >= factor))
    for workload, tools in results["workloads"].items():
        found += delta_verdicts(workload, tools)
    small = results["workloads"].get("small", {})
    own = step_median(small.get("lifeboat", []), "first", "wall")
    tar = step_median(small.get("tar-zstd", []), "first", "wall")
    if own and tar:
        found.append((f"small, first: {tar / own:.2f}x as fast as tar | zstd (target 1x)", own <= tar))
    for workload, tools in results["workloads"].items():
        for step in ("first", "next day"):
            own = step_median(tools.get("lifeboat", []), step, "stored")
            peer = step_median(tools.get("restic", []), step, "stored")
            if own and peer:
                found.append((f"{workload}, stored after {step}: {own / peer:.3f} of restic's size (target 1)",
                              own <= peer))
        peaks = [step["peak"] for run in tools.get("lifeboat", []) for step in run.values()]
        if peaks:
            found.append((f"{workload}, peak memory {max(peaks) / MIB:.0f} MiB (target 120 MiB)",
                          max(peaks) < MEMORY_LIMIT))
    for workload, tools in results["workloads"].items():
        for step in ("first", "restore"):
            plain = step_median(tools.get("lifeboat", []), step, "wall")
            sealed = step_median(tools.get("lifeboat-age", []), step, "wall")
            if plain and sealed:
                found.append((f"{workload}, {step}: encrypted takes {sealed / plain:.2f} of plain (target 1.25)",
                              sealed <= 1.25 * plain))
    found += scale.verdicts(results.get("rows", {}))
    memory = results.get("memory")
    if memory:
        one, ten = memory["1"], memory["10"]
        for step in ("backup", "restore"):
            ratio = ten[step]["peak"] / one[step]["peak"]
            found.append((f"peak memory of {step} {one[step]['peak'] / MIB:.0f} MiB at 1 GiB, "
                          f"{ten[step]['peak'] / MIB:.0f} MiB at 10 GiB (target 120 MiB and within 15 %)",
                          ten[step]["peak"] < MEMORY_LIMIT and ratio < 1.15))
    if "start_up" in results:
        found.append((f"start-up {results['start_up'] * 1000:.1f} ms (target {START_UP_LIMIT * 1000:.0f} ms)",
                      results["start_up"] < START_UP_LIMIT))
    return found


def render(results: Results) -> str:
    machine = results["machine"]
    lines = ["## Benchmark", "",
             f"{machine['cpu']}, {machine['cores']} cores, {machine['memory'] / (1 << 30):.0f} GiB of memory, "
             f"{machine['file_system']}, kernel {machine['kernel']}; load before the run {machine['load']:.1f}. "
             "Whole-process medians, page cache warm, repository and caches on the same disk and new for each run."]
    lines += ["", *(f"- {name}: {text}" for name, text in results["tools"].items())]
    lines.append(table(results))
    lines += scale.render(results.get("rows", {}))
    judged = verdicts(results)
    if judged:
        lines += ["", "### Targets", ""] + [f"- {'PASS' if passed else 'MISS'}: {text}" for text, passed in judged]
    return "\n".join(lines)
