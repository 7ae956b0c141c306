# SPDX-License-Identifier: Apache-2.0
"""data.py generate DOCUMENTS | data.py change DOCUMENTS: writes (or changes) the quickstart's documents and prints the
SQL, with its COPY data, that keeps the database in step with them. The same every time."""

import hashlib
import os
import random
import sys

DOCUMENTS = 4_000
# Chunks a document is cut into, as a retrieval system does.
CHUNKS = 75
SYLLABLES = "ka lo mi ne ru sa te vo da pe in or al en st".split()


def words(rng: random.Random, count: int) -> list[str]:
    vocabulary = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(200)]
    return rng.choices(vocabulary, k=count)


def path(number: int) -> str:
    return f"topic-{number % 40:02}/document-{number:05}.md"


def document(number: int, revision: int) -> list[str]:
    """The chunks of one document."""
    rng = random.Random(f"{number}.{revision}")
    text = words(rng, CHUNKS * 12)
    return [" ".join(text[index * 12:(index + 1) * 12]) + ".\n" for index in range(CHUNKS)]


def write(folder: str, number: int, revision: int) -> tuple[str, list[str]]:
    chunks = document(number, revision)
    content = "".join(chunks).encode()
    name = os.path.join(folder, path(number))
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest(), chunks


def copy(folder: str, numbers: range, revision: int) -> None:
    """Writes these documents and prints their rows."""
    digests, rows = [], []
    for number in numbers:
        digest, chunks = write(folder, number, revision)
        digests.append(f"{number}\t{path(number)}\t{digest}\t{revision}\n")
        rows += [f"{number * CHUNKS + index}\t{number}\t{index}\t{chunk[:-1]}\n"
                 for index, chunk in enumerate(chunks)]
    out = sys.stdout
    out.write("copy documents (id, path, sha256, revision) from stdin;\n" + "".join(digests) + "\\.\n")
    out.write("copy chunks (id, document_id, position, body) from stdin;\n" + "".join(rows) + "\\.\n")


def generate(folder: str) -> None:
    print("""begin;
create table documents (id integer primary key, path text not null unique, sha256 text not null,
    revision integer not null);
create table chunks (id bigint primary key, document_id integer not null references documents on delete cascade,
    position integer not null, body text not null);""")
    copy(folder, range(DOCUMENTS), 1)
    print("""create index on chunks (document_id, position);
commit;
analyze;""")


def change(folder: str) -> None:
    """A working day: 80 documents rewritten (2 %), 40 new, 20 gone."""
    rng = random.Random(2)
    touched = rng.sample(range(DOCUMENTS), 100)
    print("begin;")
    gone = sorted(touched[80:])
    for number in touched:
        os.unlink(os.path.join(folder, path(number)))
    print(f"delete from documents where id in ({', '.join(map(str, touched))});")
    for number in sorted(touched[:80]):
        copy(folder, range(number, number + 1), 2)
    copy(folder, range(DOCUMENTS, DOCUMENTS + 40), 1)
    print("commit;")
    print(f"80 documents rewritten, 40 added, {len(gone)} removed", file=sys.stderr)


if __name__ == "__main__":
    {"generate": generate, "change": change}[sys.argv[1]](sys.argv[2])
