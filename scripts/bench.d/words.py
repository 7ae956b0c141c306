# SPDX-License-Identifier: Apache-2.0
"""Deterministic text with the compressibility of real text: invented words in a Zipf distribution."""

import random
from array import array

SYLLABLES = "ba be bi bo bu ca ce co cu da de di do du fa fe fi fo ga ge go ha he hi ho in ka ke ki la le li lo lu " \
    "ma me mi mo mu na ne ni no nu or pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu un va ve vi vo wa we " \
    "ar en er es is it al an as at on ul st th ch tr pr".split()


class Words:
    """A vocabulary of 12,000 words; `text` draws from it at about 100 MB/s."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        rng = random.Random(20260101)
        vocabulary: list[str] = []
        seen: set[str] = set()
        while len(vocabulary) < 12_000:
            word = "".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 3, 3, 4))))
            if word not in seen:
                seen.add(word)
                vocabulary.append(word)
        self.vocabulary = vocabulary
        # 65,536 slots, the share of rank r proportional to 1 / (r + 3): two random bytes pick a word.
        weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
        drawn = rng.choices(vocabulary, weights=weights, k=65_536)
        endings = rng.choices((" ", " ", " ", " ", " ", " ", ", ", ". ", ".\n"), k=65_536)
        self.spaced = [(word + ending).encode() for word, ending in zip(drawn, endings)]
        self.plain = drawn

    def text(self, size: int) -> bytes:
        """Prose of exactly `size` bytes."""
        parts = []
        total = 0
        while total < size:
            part = b"".join(map(self.spaced.__getitem__, array("H", self.random.randbytes(2 * ((size - total) // 6 + 32)))))
            parts.append(part)
            total += len(part)
        return b"".join(parts)[:size]

    def names(self, count: int) -> list[str]:
        return list(map(self.plain.__getitem__, array("H", self.random.randbytes(2 * count))))

    def json_lines(self, size: int) -> bytes:
        """Records of one JSON object a line, about 300 bytes each."""
        rng = self.random
        lines = []
        total = 0
        while total < size:
            a, b, c, d = self.names(4)
            text = self.text(140).decode().replace("\n", " ")
            line = (
                f'{{"id": "{rng.getrandbits(64):016x}", "document": "{a}/{b}-{rng.randrange(5000)}.md", '
                f'"created_at": "2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T{rng.randrange(24):02}:'
                f'{rng.randrange(60):02}:00Z", "score": {rng.random():.6f}, "tags": ["{c}", "{d}"], '
                f'"text": "{text}"}}\n'
            ).encode()
            lines.append(line)
            total += len(line)
        return b"".join(lines)[:size]

    def source(self, size: int) -> bytes:
        """Lines that look like a program."""
        rng = self.random
        lines = []
        total = 0
        while total < size:
            a, b, c, d, e, f = self.names(6)
            block = (
                f"def {a}_{b}({c}, {d}=None):\n"
                f'    """Return the {e} of {c}, or {f}."""\n'
                f"    if {c} is None:\n"
                f'        raise ValueError("{c} of {a} is missing")\n'
                f"    {e} = {b}.{f}({c}, limit={rng.randrange(1000)})\n"
                f"    for {d}_item in {e}:\n"
                f"        self.{a}[{d}_item.{b}] = {f}_{e}({d}_item)\n"
                f"    return {e}\n\n\n"
            ).encode()
            lines.append(block)
            total += len(block)
        return b"".join(lines)[:size]
