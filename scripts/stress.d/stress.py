#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Backups, restores, forgetting and prunes on one repository at once, with kill -9 and SIGSTOP at random.

What must hold: a restore that succeeds gives exactly what was backed up; a snapshot that nobody removed can be
restored; in the end the repository passes a full check.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BACKUPS, RESTORES, PRUNES = 4, 2, 2
# A lease counts as dead after so many seconds here, so that stopped processes often are.
DEAD_AFTER = 3
# In an encrypted repository these can write and not read.
KEYLESS = {"backup0", "backup1"}


class World:
    def __init__(self, binary, folder, seed):
        self.binary = binary
        self.folder = pathlib.Path(folder)
        self.repository = self.folder / "repository"
        self.seed = seed
        self.encrypted = random.Random(f"{seed} encrypted").random() < 0.5
        self.lock = threading.Lock()
        self.snapshots = {}  # id -> (stack, {path: digest}); those that nobody removed
        self.forgets = collections.Counter()  # stack -> how often snapshots of it were removed
        self.failures = []
        self.counts = collections.Counter()
        self.stopping = threading.Event()

    def fail(self, text):
        with self.lock:
            self.failures.append(text)
        print(f"stress: FAILED: {text}", flush=True)
        self.stopping.set()

    def run(self, worker, arguments, rng=None):
        """Runs lifeboat; with `rng` it may be killed or stopped. Gives exit, output, errors, what was done to it."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LIFEBOAT_STATE": str(self.folder / "state" / worker),
            "LIFEBOAT_CACHE": str(self.folder / "cache" / worker),
        }
        if self.encrypted and worker not in KEYLESS:
            environment["LIFEBOAT_IDENTITY"] = str(self.folder / "identity")
        process = subprocess.Popen(
            [self.binary, *arguments, *([] if arguments[:2] == ["key", "generate"] else ["-r", str(self.repository)])],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=self.folder, text=True)
        done = "let run"
        chance = rng.random() if rng else 1
        begin = time.monotonic()
        if chance < 0.5:
            try:
                process.wait(timeout=rng.random() ** 2 * 0.6)
            except subprocess.TimeoutExpired:
                if chance < 0.2:
                    done = "killed"
                    process.kill()
                else:
                    done = "stopped"
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(rng.choice([0.05, 0.3, 1, DEAD_AFTER * 1.5, DEAD_AFTER * 3]))
                    process.send_signal(signal.SIGCONT)
        output, errors = process.communicate()
        if time.monotonic() - begin > DEAD_AFTER / 2:
            done = "stopped" if done == "let run" else done
        self.counts[f"{arguments[0]} {done} exit {process.returncode}"] += 1
        return process.returncode, output, errors, done


def digests(folder):
    result = {}
    for path, _, names in os.walk(folder):
        for name in names:
            file = pathlib.Path(path, name)
            result[str(file.relative_to(folder))] = hashlib.blake2b(file.read_bytes()).hexdigest()
    return result


def content(number):
    """File contents come from a small pool: what one stack removes another has, or has again later."""
    rng = random.Random(number)
    kind = number % 3
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 3000))
    if kind == 1:
        return rng.randbytes(rng.randrange(100_000, 1_500_000))
    return (f"line {number}\n" * rng.randrange(1, 20_000)).encode()


def mutate(source, rng):
    for _ in range(rng.randrange(1, 12)):
        target = source / f"{rng.randrange(30)}"
        if rng.random() < 0.3:
            target.unlink(missing_ok=True)
        else:
            temporary = source.parent / f"{source.name}.new"
            temporary.write_bytes(content(rng.randrange(60)))
            temporary.rename(target)


def backups(world, number):
    rng = random.Random(f"{world.seed} backup {number}")
    stack = f"stack{number}"
    source = world.folder / stack
    source.mkdir()
    while not world.stopping.is_set():
        mutate(source, rng)
        expected = digests(source)
        code, output, errors, done = world.run(
            f"backup{number}", ["backup", "--json", "--stack", stack, str(source)], rng)
        if code == 0:
            summary = json.loads(output.strip().splitlines()[-1])
            with world.lock:
                world.snapshots[summary["snapshot"]] = (stack, expected)
        elif done == "let run" or (done == "stopped" and code != 11):
            world.fail(f"backup of {stack} ({done}) ended with {code}: {errors or output}")
        forget(world, stack, rng)


def forget(world, stack, rng):
    """Leaves two snapshots. A restore of one that goes meanwhile may fail."""
    with world.lock:
        mine = {key: value for key, value in world.snapshots.items() if value[0] == stack}
        if len(mine) < 3:
            return
        world.forgets[stack] += 1
        for key in mine:
            del world.snapshots[key]
    code, output, errors, _ = world.run(
        "setup", ["forget", "--keep-last", "2", "--yes", "--force", "--json", "--stack", stack])
    if code != 0:
        world.fail(f"forget in {stack} ended with {code}: {errors or output}")
        return
    rows = [json.loads(line) for line in output.splitlines()]
    kept = {row["id"] for row in rows if row.get("action") == "keep"}
    with world.lock:
        world.snapshots.update({key: value for key, value in mine.items() if key in kept})


def restores(world, number):
    rng = random.Random(f"{world.seed} restore {number}")
    while not world.stopping.is_set():
        with world.lock:
            key = rng.choice(sorted(world.snapshots)) if world.snapshots else None
            known = world.snapshots.get(key)
            forgets = world.forgets[known[0]] if known else 0
        if not key:
            time.sleep(0.1)
            continue
        restore(world, f"restore{number}", key, known, forgets, rng)


def restore(world, worker, key, known, forgets, rng=None):
    stack, expected = known
    target = world.folder / f"out-{worker}"
    code, output, errors, done = world.run(worker, ["restore", key, "--to", str(target)], rng)
    if code == 0:
        found = digests(f"{target}{world.folder}/{stack}")
        if found != expected:
            world.fail(f"snapshot {key} of {stack} restored wrongly")
    elif done == "let run" and world.forgets[stack] == forgets:
        world.fail(f"restore of {key} ended with {code}: {errors or output}")
    shutil.rmtree(target, ignore_errors=True)


def prunes(world, number):
    rng = random.Random(f"{world.seed} prune {number}")
    while not world.stopping.is_set():
        with world.lock:
            some = bool(world.snapshots)
        if not some:
            time.sleep(0.1)
            continue
        code, output, errors, done = world.run(
            f"prune{number}",
            ["prune", "--grace", "0", "--max-unused", str(rng.choice([0, 5, 50])), "--wait",
             rng.choice(["0", "0", "2s"]), "--dead-after", f"{DEAD_AFTER}s", "--force"], rng)
        if code not in (0, 11) and done != "killed":
            world.fail(f"prune ({done}) ended with {code}: {errors or output}")
        time.sleep(rng.random() * 0.3)


def memory_folder():
    """/dev/shm where it is large enough (a container's often has 64 MiB), else None: the usual temporary folder."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if status.f_bavail * status.f_frsize > 2 << 30 else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default=str(random.randrange(10**9)))
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lifeboat-stress-", dir=memory_folder())
    world = World(options.binary, folder, options.seed)
    kind = "encrypted" if world.encrypted else "plain"
    print(f"stress: {options.seconds:.0f} s, seed {options.seed}, {kind}", flush=True)
    try:
        set_up(world)
        threads = []
        for work, count in [(backups, BACKUPS), (restores, RESTORES), (prunes, PRUNES)]:
            threads += [threading.Thread(target=guarded, args=(work, world, number)) for number in range(count)]
        for thread in threads:
            thread.start()
        world.stopping.wait(options.seconds)
        world.stopping.set()
        for thread in threads:
            thread.join()
        if not world.failures:
            finish(world)
    finally:
        if world.failures:
            print(f"stress: kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for name, count in sorted(world.counts.items()):
        print(f"stress: {count:6} {name}")
    print(f"stress: {'FAILED' if world.failures else 'passed'}")
    return 1 if world.failures else 0


def set_up(world):
    """A repository that trusts every host of this world; each has state and cache of its own."""

    def must(worker, arguments):
        code, output, errors, _ = world.run(worker, arguments)
        if code != 0:
            world.fail(f"{' '.join(arguments)}: {errors or output}")
        return output

    if world.encrypted:
        recipient = must("setup", ["key", "generate", str(world.folder / "identity")]).split()[0]
        must("setup", ["repository", "init", "--recipient", recipient])
    else:
        must("setup", ["repository", "init", "--encryption", "none"])
    for number in range(BACKUPS):
        listed = must(f"backup{number}", ["key", "list", "--json"])
        key = next(row["key"] for row in map(json.loads, listed.splitlines()) if row.get("this_host"))
        must("setup", ["key", "add", "--signer", key, "--host", f"backup{number}"])


def guarded(work, world, number):
    try:
        work(world, number)
    except Exception as error:  # a bug of this script must not look like a pass
        world.fail(f"{work.__name__} {number}: {error!r}")


def finish(world):
    """Undisturbed: everything unused goes, everything else is sound and comes back."""
    for _ in range(2):
        code, output, errors, _ = world.run(
            "prune0", ["prune", "--grace", "0", "--wait", "20s", "--dead-after", f"{DEAD_AFTER}s", "--force"])
        if code != 0:
            world.fail(f"the last prune ended with {code}: {errors or output}")
    print("stress: " + output.strip().replace("\n", "\nstress: "))
    code, output, errors, _ = world.run("check", ["check", "--read-data"])
    if code != 0:
        world.fail(f"the last check ended with {code}: {errors or output}")
    for key in sorted(world.snapshots):
        known = world.snapshots[key]
        restore(world, "last", key, known, world.forgets[known[0]])
    left = len(list((world.repository / "condemned").glob("*"))) if (world.repository / "condemned").is_dir() else 0
    print(f"stress: {len(world.snapshots)} snapshots restored, {left} condemned packs left")


if __name__ == "__main__":
    sys.exit(main())
