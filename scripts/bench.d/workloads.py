# SPDX-License-Identifier: Apache-2.0
"""The workloads: deterministic data below one folder, each with its next day.

A workload has a folder `data` (what is backed up) and a folder `next1` (what tomorrow brings); those with more days
have `next2` … too. Going to the next day and
back again is a list of renames, so unchanged files keep inode, mtime and ctime, as on a real machine.
"""

import contextlib
import json
import math
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from words import Words

HERE = Path(__file__).resolve().parent
MIB = 1 << 20

# Raise it when a generator changes: kept work folders are made anew.
VERSION = 2

# Days after the first one of the workloads that have more than two: a chain of four deltas.
LAST_DAY = 4

# 2026-01-01T00:00:00Z; every generated file is older than the run.
EPOCH = 1_767_225_600


@dataclass
class Workload:
    name: str
    about: str
    # Bytes of `data` and `next` together, on disk, about; for the check of free space.
    size_on_disk: int
    # Bytes of `data` alone.
    size: int
    # Days after the first.
    days: int = 1


WORKLOADS = {
    "small": Workload(
        "small", "40,000 files of text, JSON and source, lognormal sizes (median 5 KiB, mean 8 KiB), 400 folders; "
        "next day 3 % changed, 1 % new, 0.5 % gone", 470 * MIB, 320 * MIB),
    "weights": Workload(
        "weights", "2.7 GiB of model weights: two bf16 shards, the same shards under other names, a fine-tuned variant "
        "(6 of 160 tensors differ), an fp16 embedder, a 4-bit quantised file; next day 5 more tensors of the variant",
        3500 * MIB, 2765 * MIB),
    "dump": Workload(
        "dump", "one pg_dump file (custom format, not compressed); each day 2 % of the rows change",
        2600 * MIB, 520 * MIB, days=LAST_DAY),
    "sqlite": Workload(
        "sqlite", "one SQLite database; each day 2 % of the rows change where they are, and 0.2 % are new",
        1700 * MIB, 340 * MIB, days=LAST_DAY),
    "rdb": Workload(
        "rdb", "one dump of a Redis server (RDB); each day 2 % of the keys change, and 0.2 % are new",
        1400 * MIB, 280 * MIB, days=LAST_DAY),
    "tiny": Workload(
        "tiny", "200,000 files of 16 to 2,000 bytes (median 250), 2,000 folders; next day 1 % changed, 1 % new, "
        "0.5 % gone", 1000 * MIB, 60 * MIB),
}


def write(path: Path, content: bytes, rng: random.Random) -> None:
    with open(path, "wb") as file:
        file.write(content)
    age = rng.randrange(1, 200 * 86_400)
    moment = (EPOCH - age) * 1_000_000_000 + rng.randrange(1_000_000_000)
    os.utime(path, ns=(moment, moment))


def many_files(folder: Path, count: int, folders: int, median: float, spread: float, limits: tuple[int, int],
               changed: float, added: float, removed: float, seed: int) -> None:
    rng = random.Random(seed)
    words = Words(seed + 1)
    kinds = ((words.text, "md"), (words.text, "txt"), (words.json_lines, "jsonl"), (words.source, "py"))
    data, following = folder / "data", folder / "next1"
    operations = []
    per_folder = count // folders
    for number in range(folders):
        relative = Path(f"{number // 20:03}") / f"{words.names(1)[0]}-{number:04}"
        (data / relative).mkdir(parents=True)
        (following / relative).mkdir(parents=True)
        for index in range(per_folder):
            size = int(min(limits[1], max(limits[0], rng.lognormvariate(math.log(median), spread))))
            make, suffix = rng.choice(kinds)
            name = relative / f"{index:04}-{words.names(1)[0]}.{suffix}"
            content = make(size)
            write(data / name, content, rng)
            fate = rng.random()
            if fate < changed:
                if rng.random() < 0.5:
                    middle = len(content) // 2
                    content = content[:middle] + words.text(20) + content[middle:]
                else:
                    content = make(size)
                write(following / name, content, rng)
                operations.append(["replace", str(name)])
            elif fate < changed + removed:
                operations.append(["remove", str(name)])
            if rng.random() < added:
                name = relative / f"new-{index:04}.{suffix}"
                write(following / name, make(size), rng)
                operations.append(["add", str(name)])
    (folder / "operations.json").write_text(json.dumps(operations))


def small(folder: Path) -> None:
    many_files(folder, 40_000, 400, 5_120, 0.97, (64, 262_144), 0.03, 0.01, 0.005, seed=11)


def tiny(folder: Path) -> None:
    many_files(folder, 200_000, 2_000, 250, 0.7, (16, 2_000), 0.01, 0.01, 0.005, seed=12)


def high_byte_table(mantissa_bits_in_high_byte: int, exponent_bias: int) -> bytes:
    """Maps a uniform byte to the high byte of a bf16 or fp16 number drawn from a normal distribution with deviation
    0.02: sign and exponent are far from uniform, the rest of a weight is noise. That is why weights compress little."""
    deviation = 0.02
    shares: dict[int, float] = {}
    for exponent in range(-24, 0):
        low, high = 2.0 ** exponent, 2.0 ** (exponent + 1)
        steps = 1 << mantissa_bits_in_high_byte
        for step in range(steps):
            start = low + (high - low) * step / steps
            end = low + (high - low) * (step + 1) / steps
            share = math.erf(end / deviation / math.sqrt(2)) - math.erf(start / deviation / math.sqrt(2))
            field = exponent + exponent_bias
            if field <= 0:
                continue
            # bf16: 7 of the 8 exponent bits are in the high byte; fp16: all 5 and 2 bits of the mantissa.
            value = field >> 1 if mantissa_bits_in_high_byte == 0 else (field << 2 | step)
            for sign in (0, 0x80):
                shares[value | sign] = shares.get(value | sign, 0.0) + share / 2
    total = sum(shares.values())
    table = bytearray()
    reached = 0.0
    for value, share in sorted(shares.items()):
        reached += share / total
        table += bytes([value]) * (round(reached * 256) - len(table))
    return bytes(table)


class Tensors:
    BF16 = high_byte_table(0, 127)
    FP16 = high_byte_table(2, 15)

    @staticmethod
    def floats(seed: int, size: int, table: bytes) -> bytes:
        rng = random.Random(seed)
        content = bytearray(rng.randbytes(size))
        content[1::2] = content[1::2].translate(table)
        return bytes(content)

    @staticmethod
    def quantised(seed: int, size: int) -> bytes:
        """Blocks of 18 bytes as in GGUF's Q4_0: an fp16 scale and 16 bytes of 4-bit weights."""
        content = bytearray(random.Random(seed).randbytes(size))
        content[1::18] = content[1::18].translate(Tensors.FP16)
        return bytes(content)


TENSOR = 4 * MIB


def safetensors(path: Path, seeds: list[int], label: str, dtype: str, table: bytes) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt", "name": label}}
    for index in range(len(seeds)):
        header[f"model.layers.{index}.mlp.weight"] = {
            "dtype": dtype, "shape": [1024, 2048], "data_offsets": [index * TENSOR, (index + 1) * TENSOR]}
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for seed in seeds:
            file.write(Tensors.floats(seed, TENSOR, table))


def weights(folder: Path) -> None:
    data, following = folder / "data", folder / "next1"
    hub = data / "hub"
    base = [list(range(1_000, 1_080)), list(range(1_080, 1_160))]

    def shards(blobs: Path, layers: list[list[int]], label: str) -> list[str]:
        blobs.mkdir(parents=True, exist_ok=True)
        names = []
        for number, seeds in enumerate(layers):
            name = random.Random(f"{label}{number}").randbytes(32).hex()
            safetensors(blobs / name, seeds, label, "BF16", Tensors.BF16)
            names.append(name)
        return names

    def snapshot(model: str, names: list[str], revision: str) -> None:
        view = hub / model / "snapshots" / revision
        view.mkdir(parents=True)
        (hub / model / "refs").mkdir()
        (hub / model / "refs" / "main").write_text(revision)
        for number, name in enumerate(names, 1):
            (view / f"model-{number:05}-of-{len(names):05}.safetensors").symlink_to(f"../../blobs/{name}")
        (view / "config.json").write_text(json.dumps({"model_type": "bench", "name": model}))

    names = shards(hub / "models--acme--base" / "blobs", base, "base")
    snapshot("models--acme--base", names, "1" * 40)
    # The same files once more, where a server wants them.
    copies = data / "serving" / "base"
    copies.mkdir(parents=True)
    for number, name in enumerate(names, 1):
        content = hub / "models--acme--base" / "blobs" / name
        subprocess.run(["cp", "--reflink=never", content, copies / f"model-{number:05}.safetensors"], check=True)
    # A fine-tuned variant: a header of another length, 6 of 160 tensors differ; tomorrow 5 more.
    tuned = [list(part) for part in base]
    for position in (7, 31, 66, 93, 120, 151):
        tuned[position // 80][position % 80] += 50_000
    names = shards(hub / "models--acme--base-chat" / "blobs", tuned, "base-chat")
    snapshot("models--acme--base-chat", names, "2" * 40)
    (hub / "models--acme--embedder").mkdir()
    safetensors(hub / "models--acme--embedder" / "model.safetensors", list(range(3_000, 3_048)), "embedder", "F16",
                Tensors.FP16)
    (data / "gguf").mkdir()
    with open(data / "gguf" / "base.Q4_0.gguf", "wb") as file:
        for part in range(163):
            file.write(Tensors.quantised(4_000 + part, TENSOR))
        file.write(Tensors.quantised(4_999, 653 * MIB - 163 * TENSOR))

    for position in (12, 40, 88, 117, 140):
        tuned[position // 80][position % 80] += 60_000
    target = following / "hub" / "models--acme--base-chat" / "blobs"
    target.mkdir(parents=True)
    operations = []
    for number, name in enumerate(names):
        safetensors(target / name, tuned[number], "base-chat", "BF16", Tensors.BF16)
        operations.append(["replace", f"hub/models--acme--base-chat/blobs/{name}"])
    (folder / "operations.json").write_text(json.dumps(operations))


def dump(folder: Path) -> None:
    subprocess.run(
        [HERE / "make-dump", folder / "dumps", folder / "postgres", sys.executable, HERE / "workloads.py", "rows"],
        check=True)
    (folder / "postgres").rmdir()
    keep_days(folder, folder / "dumps", "dump", "stack.dump")


def keep_days(folder: Path, made: Path, suffix: str, name: str) -> None:
    """Puts day1.SUFFIX … of the folder `made` where they belong, as one file of that name."""
    for day in range(LAST_DAY + 1):
        place = folder / (f"next{day}" if day else "data")
        place.mkdir()
        os.rename(made / f"day{day + 1}.{suffix}", place / name)
    made.rmdir()
    (folder / "operations.json").write_text(json.dumps([["replace", name]]))


def sqlite(folder: Path, count: int = 400_000) -> None:
    words = Words(23)
    rng = random.Random(24)
    made = folder / "databases"
    made.mkdir(parents=True)
    path = made / "work.db"

    def row(number: int, revision: int) -> tuple[int, int, str, int, str, bytes]:
        a, b = words.names(2)
        return (number, number // 60, f"{a}/{b}.md", revision, f"2026-{rng.randrange(1, 13):02}-01T10:00:00Z",
                words.text(rng.randrange(500, 900)))

    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(
            "create table chunks (id integer primary key, document integer not null, name text not null, "
            "revision integer not null, changed text not null, body blob not null); "
            "create index by_document on chunks (document);")
        for day in range(LAST_DAY + 1):
            with database:
                if day == 0:
                    for first in range(0, count, 1000):
                        database.executemany("insert into chunks values (?, ?, ?, ?, ?, ?)",
                                             [row(number, 1) for number in range(first, first + 1000)])
                else:
                    database.executemany("update chunks set revision = ?, body = ? where id = ?",
                                         [(day + 1, words.text(rng.randrange(500, 900)), number)
                                          for number in rng.sample(range(count), count // 50)])
                    database.executemany("insert into chunks values (?, ?, ?, ?, ?, ?)",
                                         [row(count * day + number, 1) for number in range(count // 500)])
            shutil.copyfile(path, made / f"day{day + 1}.db")
    path.unlink()
    keep_days(folder, made, "db", "work.db")


def rdb(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([HERE / "make-rdb", folder / "dumps", folder / "redis", sys.executable, HERE / "workloads.py",
                    "keys"], check=True)
    keep_days(folder, folder / "dumps", "rdb", "dump.rdb")


def keys(day: int, count: int = 400_000) -> None:
    """Prints what happens to a Redis server on a day, 1 being the first, as commands in its protocol."""
    words = Words(33 + day)
    rng = random.Random(34 + day)
    if day == 1:
        numbers = list(range(count))
    else:
        numbers = rng.sample(range(count), count // 50) + list(range(count * day, count * day + count // 500))
    out = sys.stdout.buffer
    for number in numbers:
        a, b = words.names(2)
        if number % 4 == 0:
            command = [b"HSET", b"task:%d" % number, b"state", a.encode(), b"owner", b.encode(), b"payload",
                       words.text(rng.randrange(200, 600))]
        else:
            command = [b"SET", b"cache:%d" % number, words.text(rng.randrange(400, 1400))]
        out.write(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command))


def rows(count: int = 880_000) -> None:
    """Prints the rows of the dump's table in COPY text form."""
    words = Words(13)
    rng = random.Random(14)
    out = sys.stdout.buffer
    for first in range(0, count, 1000):
        lines = []
        for number in range(first, first + 1000):
            a, b = words.names(2)
            body = words.text(rng.randrange(300, 700)).replace(b"\n", b" ")
            lines.append(
                f"{number}\t{number // 60}\t{number % 60}\t2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02} "
                f"10:00:00+00\t{{\"source\": \"{a}/{b}.md\", \"revision\": 1, \"tokens\": {rng.randrange(40, 400)}}}\t"
                .encode() + body + b"\n")
        out.write(b"".join(lines))


GENERATORS = {"small": small, "weights": weights, "dump": dump, "sqlite": sqlite, "rdb": rdb, "tiny": tiny}


def apply(folder: Path, forward: bool, day: int = 1) -> None:
    """Goes to that day from the one before it, or back again, by renames."""
    past = folder / f"past{day}"
    for kind, name in json.loads((folder / "operations.json").read_text()):
        today, tomorrow, yesterday = folder / "data" / name, folder / f"next{day}" / name, past / name
        if forward:
            if kind != "add":
                yesterday.parent.mkdir(parents=True, exist_ok=True)
                os.rename(today, yesterday)
            if kind != "remove":
                os.rename(tomorrow, today)
        else:
            if kind != "remove":
                os.rename(today, tomorrow)
            if kind != "add":
                os.rename(yesterday, today)


def prepare(name: str, root: Path) -> Path:
    """The folder of the workload in its first day; made unless an earlier run kept it."""
    folder = root / f"{name}-{VERSION}"
    if not (folder / "complete").exists():
        subprocess.run(["rm", "-rf", folder], check=True)
        (folder / "data").mkdir(parents=True) if WORKLOADS[name].days == 1 else folder.mkdir(parents=True)
        # In a process of its own: the measuring process stays small.
        subprocess.run([sys.executable, HERE / "workloads.py", name, folder], check=True)
        (folder / "complete").touch()
    return folder


if __name__ == "__main__":
    if sys.argv[1] == "rows":
        rows()
    elif sys.argv[1] == "keys":
        keys(int(sys.argv[2]))
    else:
        GENERATORS[sys.argv[1]](Path(sys.argv[2]))
