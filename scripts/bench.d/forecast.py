# SPDX-License-Identifier: Apache-2.0
"""A forecast held against what came true: a stack of a folder, an SQLite file and a PostgreSQL database grows to 2, 4 and
8 times its size; it is drilled at the first three sizes, `lifeboat drill report` foretells the fourth from those drills
alone, and then the fourth is drilled.

`foretold` is the forecast for the newest snapshot, made before it was drilled; `taken` the median of its drills. The
target is for the whole stack.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from words import Words

TARGET = 0.25
FACTORS = (1, 2, 4, 8)
# Of the bytes.
SHARES = {"documents": 0.5, "cache": 0.15, "database": 0.35}
MIB = 1 << 20


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Stack:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.work = Path(arguments.work)
        self.words, self.random = Words(51), random.Random(52)
        self.files = self.rows = self.entries = 0
        for name in ("documents", "sandboxes"):
            (self.work / name).mkdir(mode=0o755)
        self.policy = self.work / "lifeboat.yaml"
        self.policy.write_text(
            f"stack: bench\nrepository: {self.work}/repository\nencryption: none\ncomponents:\n"
            f"  database: {{postgres: {{host: {os.environ['PGHOST']}, port: {os.environ['PGPORT']}, database: app, "
            f"user: bench, password: {{env: PGPASSWORD}}}}}}\n"
            f"  cache: {{sqlite: {{path: {self.work}/cache.db}}}}\n"
            f"  documents: {{volume: {{path: {self.work}/documents}}}}\n"
            f"drill: {{folder: {self.work}/sandboxes}}\nobjectives: {{rto: 1h}}\n")
        self.environment = dict(
            os.environ, XDG_CACHE_HOME=str(self.work / "cache"), LIFEBOAT_STATE=str(self.work / "state"))
        self.sql("create database app", "postgres")
        self.sql("create table chunks (id bigint primary key, document integer not null, body text not null);"
                 "create index on chunks (document); create index on chunks (md5(body))")
        with sqlite3.connect(self.work / "cache.db") as database:
            database.execute("create table entries (key text primary key, body text not null)")
            database.execute("create index by_body on entries (substr(body, 1, 40))")

    def sql(self, statement: str, database: str = "app") -> None:
        subprocess.run([f"{self.arguments.binaries}/psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", database, "-c",
                        statement], check=True, stdout=subprocess.DEVNULL)

    def lifeboat(self, *words: str) -> str:
        command = [self.arguments.lifeboat, *words, "--policy", str(self.policy)]
        outcome = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if outcome.returncode != 0:
            raise SystemExit(f"error: exit status {outcome.returncode} of {' '.join(command)}\n"
                             f"{outcome.stdout[-2000:]}{outcome.stderr[-2000:]}")
        return outcome.stdout

    def grow(self, size: int) -> None:
        """So many bytes more, in the shares of the components."""
        self.grow_documents(int(size * SHARES["documents"]))
        self.grow_cache(int(size * SHARES["cache"]))
        self.grow_database(int(size * SHARES["database"]))

    def grow_documents(self, left: int) -> None:
        while left > 0:
            folder = self.work / "documents" / f"{self.files // 200:03}"
            folder.mkdir(exist_ok=True)
            length = min(left, self.random.choice((2_000, 8_000, 20_000, 60_000, 400_000)))
            (folder / f"{self.files:06}.md").write_bytes(self.words.text(length))
            self.files += 1
            left -= length

    def bodies(self, left: int):
        """Texts of about 1 KiB."""
        while left > 0:
            text = self.words.text(MIB).decode().replace("\n", " ").replace("\t", " ")
            position = 0
            while position < len(text) and left > 0:
                length = self.random.randrange(600, 1400)
                yield text[position:position + length]
                position += length
                left -= length

    def grow_cache(self, size: int) -> None:
        with sqlite3.connect(self.work / "cache.db") as database:
            for body in self.bodies(size):
                database.execute("insert into entries values (?, ?)", (f"entry-{self.entries}", body))
                self.entries += 1

    def grow_database(self, size: int) -> None:
        copy = subprocess.Popen(
            [f"{self.arguments.binaries}/psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", "app", "-c",
             "\\copy chunks from stdin"], stdin=subprocess.PIPE, text=True)
        assert copy.stdin is not None
        for body in self.bodies(size):
            copy.stdin.write(f"{self.rows}\t{self.rows // 60}\t{body}\n")
            self.rows += 1
        copy.stdin.close()
        if copy.wait() != 0:
            raise SystemExit("error: the rows were not taken")
        self.sql("vacuum analyze")
        self.sql("checkpoint")

    def drill(self, factor: int) -> dict[str, Any]:
        os.sync()
        result = json.loads(self.lifeboat("drill", "--json").splitlines()[-1])
        say(f"drill at {factor}x: {result['objectives']['rta']:.2f} s")
        return result

    def forecast(self) -> dict[str, dict[str, Any]]:
        report = json.loads(self.lifeboat("drill", "report", "--format", "json").splitlines()[-1])
        return {line.get("component", "whole stack"): line for line in report["forecast"]["lines"]}


def times(result: dict[str, Any]) -> dict[str, float]:
    """What a drill took, in the recovery, for each component and for all of it."""
    found = {"whole stack": result["objectives"]["rta"]}
    for phase in result["phases"]:
        if phase["recovery"] and "of" not in phase and "component" in phase:
            found[phase["component"]] = found.get(phase["component"], 0) + phase["seconds"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench forecast", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, metavar="MIB", help="of the stack at first (default 64)")
    parser.add_argument("--runs", type=int, default=3, help="drills at each size (default 3)")
    for hidden in ("--work", "--binaries", "--lifeboat"):
        parser.add_argument(hidden, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    begin = time.monotonic()
    stack = Stack(arguments)
    stack.lifeboat("repository", "init", "--encryption", "none")
    done, smaller, foretold, taken = 0, [], {}, []
    for factor in FACTORS:
        stack.grow((factor - done) * arguments.size * MIB)
        done = factor
        stack.lifeboat("backup", "--quiet")
        if factor < FACTORS[-1]:
            smaller.append(median(stack.drill(factor)["objectives"]["rta"] for _ in range(arguments.runs)))
        else:
            foretold = stack.forecast()
            taken = [times(stack.drill(factor)) for _ in range(arguments.runs)]
    sizes = ", ".join(f"{factor}x {seconds:.1f} s" for factor, seconds in zip(FACTORS, smaller))
    print(f"\nForetold from {arguments.runs} drills at each of 1x, 2x and 4x of {arguments.size} MiB ({sizes}), then drilled "
          f"at 8x, median of {arguments.runs}.\n")
    print("| | MB | foretold s | range s | taken s | foretold / taken | target |\n|---|--:|--:|--:|--:|--:|---|")
    hit = True
    for name, line in foretold.items():
        today, time_taken = line["today"], median(found.get(name, 0) for found in taken)
        ratio = today["seconds"] / time_taken if time_taken else 0
        verdict = ""
        if name == "whole stack":
            hit = abs(ratio - 1) <= TARGET
            verdict = f"{1 - TARGET:.2f} to {1 + TARGET:.2f} {'PASS' if hit else 'MISS'}"
        print(f"| {name} | {line['bytes'] / 1e6:,.0f} | {today['seconds']:.2f} | {today['least']:.1f} to "
              f"{today['most']:.1f} | {time_taken:.2f} | {ratio:.2f} | {verdict} |")
    say(f"\n{time.monotonic() - begin:.0f} s")
    sys.exit(0 if hit else 1)


if __name__ == "__main__":
    main()
