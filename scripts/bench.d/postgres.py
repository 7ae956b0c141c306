# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL database captured and restored: lifeboat against pg_dump and pg_restore alone, in turns.

`pg_dump` is `pg_dump -Fc -Z0 >/dev/null`, which keeps nothing. `first` is `lifeboat backup` into a new repository: cut
into chunks, hashed, compressed, decoded again, flushed. `unchanged` is the same once more, `next night` after 2 % of the
rows changed. Restores go into an empty server; pg_restore reads a dump that lies uncompressed on this disk. `user + sys`
is processor time of the clients, without the server's.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from words import Words

TARGET = 1.15
JOBS = 2


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.work = Path(arguments.work)
        self.dump = self.work / "app.dump"
        self.repository = self.work / "repository"
        self.policy = self.work / "lifeboat.yaml"
        self.policy.write_text(
            f"stack: bench\nrepository: {self.repository}\nencryption: none\ncomponents:\n  database:\n    postgres: "
            f"{{host: {os.environ['PGHOST']}, port: {os.environ['PGPORT']}, database: app, user: bench, "
            f"password: {{env: PGPASSWORD}}, jobs: {arguments.jobs}}}\n")
        self.environment = dict(os.environ, XDG_CACHE_HOME=str(self.work / "cache"), LIFEBOAT_STATE=str(self.work / "state"))

    def tool(self, name: str) -> str:
        return f"{self.arguments.binaries}/{name}"

    def run(self, *command: str) -> tuple[float, float]:
        """Runs a command; returns its wall time and the processor time of it and its children."""
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        outcome = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        wall = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if outcome.returncode != 0:
            raise SystemExit(f"error: exit status {outcome.returncode} of {' '.join(command)}\n{outcome.stderr[-2000:]}")
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def sql(self, statement: str, database: str = "postgres") -> None:
        subprocess.run([self.tool("psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement],
                       check=True, stdout=subprocess.DEVNULL)

    def lifeboat(self, *words: str) -> tuple[float, float]:
        return self.run(self.arguments.lifeboat, *words, "--policy", str(self.policy), "--quiet")

    def fill(self) -> None:
        """Rows of prose with a little structure, until the dump has the size that was asked for."""
        self.sql("create database app")
        self.sql("create table chunks (id bigint primary key, document integer not null, name text not null, "
                 "body text not null)", "app")
        words, rng = Words(41), random.Random(42)
        left, number = self.arguments.size << 20, 0
        copy = subprocess.Popen(
            [self.tool("psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", "app", "-c", "\\copy chunks from stdin"],
            stdin=subprocess.PIPE)
        assert copy.stdin is not None
        while left > 0:
            names = words.names(1000)
            text = words.text(1 << 20).replace(b"\n", b" ")
            lines, position = [], 0
            for name in names:
                length = rng.randrange(600, 1400)
                position = (position + length) % (len(text) - 1400)
                lines.append(b"%d\t%d\t%s.md\t%s\n" % (number, number // 60, name.encode(), text[position:position + length]))
                number += 1
            block = b"".join(lines)
            copy.stdin.write(block)
            left -= len(block)
        copy.stdin.close()
        if copy.wait() != 0:
            raise SystemExit("error: the rows were not taken")
        self.sql("create index on chunks (document); create index on chunks (name, id); create index on chunks (md5(body))",
                 "app")
        self.sql("vacuum analyze", "app")
        self.run(self.tool("pg_dump"), "-Fc", "-Z0", "-f", str(self.dump), "app")

    def measure(self) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}

        def add(name: str, times: tuple[float, float]) -> None:
            found.setdefault(name, []).append(times)
            say(f"{name}: {times[0]:.2f} s, processor {times[1]:.2f} s")

        for _ in range(self.arguments.runs):
            add("pg_dump", self.run(self.tool("pg_dump"), "-Fc", "-Z0", "app"))
            shutil.rmtree(self.repository, ignore_errors=True)
            self.lifeboat("repository", "init", "--encryption", "none")
            add("first", self.lifeboat("backup"))
            add("unchanged", self.lifeboat("backup"))
            self.sql("update chunks set body = reverse(left(body, 40)) || substr(body, 41) "
                     "where abs(hashint8(id)) % 50 = 7", "app")
            add("next night", self.lifeboat("backup"))
            add("pg_dump", self.run(self.tool("pg_dump"), "-Fc", "-Z0", "app"))
        for _ in range(self.arguments.runs):
            for name, options in (("pg_restore", []), (f"pg_restore -j{JOBS}", [f"-j{JOBS}"])):
                self.sql("drop database if exists app with (force)")
                self.sql("create database app")
                self.sql("checkpoint")
                add(name, self.run(self.tool("pg_restore"), "-e", "-d", "app", *options, str(self.dump)))
            self.sql("drop database app with (force)")
            self.sql("checkpoint")
            add("lifeboat restore", self.lifeboat("restore", "latest", "--yes"))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench postgres", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB", help="size of the dump (default 2048)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the table shows medians (default 3)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"'jobs' of the policy (default {JOBS})")
    for hidden in ("--work", "--binaries", "--lifeboat"):
        parser.add_argument(hidden, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    bench = Bench(arguments)
    say(f"making a database of {arguments.size} MiB")
    bench.fill()
    size = bench.dump.stat().st_size / (1 << 20)
    measured = bench.measure()
    found = {name: median(wall for wall, _ in times) for name, times in measured.items()}
    print(f"\nOne database, {size:,.0f} MiB as a dump, three indexes and a primary key; medians of {arguments.runs}, "
          f"`jobs: {arguments.jobs}`.\n")
    print("| step | s | user + sys | MiB/s | compared with | ratio | target |\n|---|--:|--:|--:|---|--:|---|")
    for name, base in (("pg_dump", None), ("first", "pg_dump"), ("unchanged", "pg_dump"), ("next night", "pg_dump"),
                       ("pg_restore", None), (f"pg_restore -j{JOBS}", "pg_restore"), ("lifeboat restore", "pg_restore")):
        processor = median(time for _, time in measured[name])
        ratio, verdict = "", ""
        if base:
            ratio = f"{found[name] / found[base]:.2f}"
            if not name.startswith("pg_restore"):
                verdict = f"{TARGET} {'PASS' if found[name] / found[base] <= TARGET else 'MISS'}"
        print(f"| {name} | {found[name]:.2f} | {processor:.2f} | {size / found[name]:.0f} | {base or ''} | {ratio} | "
              f"{verdict} |")


if __name__ == "__main__":
    main()
