// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStorage

extension DamageCase {
    /// Packs that rotted, were cut, went away or lie.
    package static let packs: [DamageCase] = [
        DamageCase(
            "a byte at the start of a pack is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0)))
        ) {
            try $0.flip($0.pack(.first), at: 8)
            return [$0.pack(.first)]
        },
        DamageCase(
            "a byte of a big file is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0), lost: ["big.bin"]))
        ) {
            try $0.flipChunk(.first, $0.firstChunk($0.content("big.bin", in: .first)))
            return [$0.pack(.first), "big.bin"]
        },
        DamageCase(
            "a byte of a small file is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0), lost: ["small-3"]))
        ) {
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            return [$0.pack(.first), "small-3"]
        },
        DamageCase(
            "a byte of a file that only an old snapshot has is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 0), backedUp: 13, salvage: 3, salvaged: (3, 0, 0), lost: ["old.txt"]))
        ) {
            try $0.flipChunk(.first, $0.firstChunk($0.content("old.txt", in: .first)))
            return [$0.pack(.first), "old.txt"]
        },
        DamageCase(
            "the frame with the list of a big file's chunks is spoilt",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0), lost: ["big.bin"]))
        ) {
            try $0.spoilFrame(.first, holding: $0.content("big.bin", in: .first).id)
            return [$0.pack(.first), "big.bin"]
        },
        DamageCase(
            "the frame of a chunk that deltas rest on is spoilt",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0), lost: ["table.sql"]))
        ) {
            try $0.spoilFrame(.first, holding: $0.delta(.second).bases[0])
            return [$0.pack(.first), "table.sql"]
        },
        DamageCase(
            "the frame of a delta in the middle of a chain is spoilt",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 13, salvage: 3, salvaged: (0, 3, 0), lost: ["table.sql"]))
        ) {
            try $0.spoilFrame(.second, holding: $0.linkOfChain())
            return [$0.pack(.second), "table.sql"]
        },
        DamageCase(
            "the frame of a delta at the end of a chain is spoilt",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 0, salvage: 3, salvaged: (0, 3, 0), lost: ["table.sql"]))
        ) {
            try $0.spoilFrame(.third, holding: $0.delta(.third).id)
            return [$0.pack(.third), "table.sql"]
        },
        DamageCase(
            "the frame of the first listing is spoilt",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 0), backedUp: 13, salvage: 3, salvaged: (3, 0, 0)))
        ) {
            try $0.spoilFrame(.first, holding: $0.content(nil, in: .first).id)
            return [$0.pack(.first)]
        },
        DamageCase(
            "the frame of the newest listing is spoilt",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 0, salvage: 3, salvaged: (0, 3, 0)))
        ) {
            try $0.spoilFrame(.third, holding: $0.content(nil, in: .third).id)
            return [$0.pack(.third)]
        },
        DamageCase(
            "the frame of the only listing of a stack is spoilt",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.spoilFrame(.notes, holding: $0.content(nil, in: .notes).id)
            return [$0.pack(.notes)]
        },
        DamageCase(
            "a byte of a pack's end frame is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.flip($0.pack(.first), at: -3)
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack lost its last byte",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.truncate($0.pack(.first), to: -1)
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack lost its end frame",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let frames = try $0.packContents(.notes).frames
            try $0.truncate($0.pack(.notes), to: frames.map { Int($0.offset + $0.length) }.max() ?? 0)
            return [$0.pack(.notes)]
        },
        DamageCase(
            "a pack is cut to half",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0)))
        ) {
            try $0.truncate($0.pack(.first), to: $0.bytes($0.pack(.first)).count / 2)
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack with deltas is cut to half",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 13, salvage: 3, salvaged: (0, 3, 0), lost: ["table.sql"]))
        ) {
            try $0.truncate($0.pack(.second), to: $0.bytes($0.pack(.second)).count / 2)
            return [$0.pack(.second)]
        },
        DamageCase(
            "a pack is empty",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 0, salvage: 3, salvaged: (0, 3, 0)))
        ) {
            try $0.write([], $0.pack(.third))
            return [$0.pack(.third)]
        },
        DamageCase(
            "a pack grew by one byte",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.change($0.pack(.first)) { $0.append(0) }
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack grew by a page of zeros",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.change($0.pack(.second)) { $0 += [UInt8](repeating: 0, count: 4096) }
            return [$0.pack(.second)]
        },
        DamageCase(
            "a page in the middle of a pack is zeros",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0)))
        ) {
            try $0.change($0.pack(.first)) { bytes in
                let start = bytes.count / 2 & ~4095
                bytes.replaceSubrange(start..<start + 4096, with: [UInt8](repeating: 0, count: 4096))
            }
            return [$0.pack(.first)]
        },
        DamageCase(
            "every page of a pack is zeros",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.change($0.pack(.notes)) { $0 = [UInt8](repeating: 0, count: $0.count) }
            return [$0.pack(.notes)]
        },
        DamageCase(
            "the first pack is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0)))
        ) {
            try $0.remove($0.pack(.first))
            return [$0.pack(.first)]
        },
        DamageCase(
            "the pack of the snapshot in the middle is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 13, salvage: 3, salvaged: (0, 3, 0), lost: ["table.sql"]))
        ) {
            try $0.remove($0.pack(.second))
            return [$0.pack(.second)]
        },
        DamageCase(
            "the newest pack is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 0, salvage: 3, salvaged: (0, 3, 0)))
        ) {
            try $0.remove($0.pack(.third))
            return [$0.pack(.third)]
        },
        DamageCase(
            "the only pack of a stack is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3), lost: ["unknown files"]))
        ) {
            try $0.remove($0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase(
            "all packs are missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (13, 13, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 13), backedUp: 13, salvage: 3, salvaged: (3, 3, 3)))
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.pack(moment)) }
            return SoundRepository.Moment.allCases.map($0.pack)
        },
        DamageCase(
            "two packs changed places",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.swap($0.pack(.first), $0.pack(.second))
            return [$0.pack(.first), $0.pack(.second)]
        },
        DamageCase(
            "a pack holds the bytes of another one",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.write($0.bytes($0.pack(.third)), $0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase(
            "a pack lies in the wrong folder",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.rename($0.pack(.notes), to: "packs/zz/\($0.pack(.notes).dropFirst(9))")
            return [$0.pack(.notes)]
        },
        DamageCase(
            "one pack is flipped and another one missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 13), backedUp: 0, salvage: 3, salvaged: (3, 3, 3),
                    lost: ["small-3", "unknown files"]))
        ) {
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            try $0.remove($0.pack(.notes))
            return [$0.pack(.first), $0.pack(.notes)]
        },
        DamageCase(
            "a pack is missing, and another one has all it held",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.duplicatePack(.first)
            try $0.remove($0.pack(.first))
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack is flipped, and another one has all it held",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            // The copy that a prune prefers: it does not read what it keeps.
            try $0.duplicatePack(.first, namedBefore: true)
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            return [$0.pack(.first)]
        },
        DamageCase(
            "a pack with the right digest holds a wrong chunk",
            DamageVerdict(
                check: 0, data: 13, scrub: 0, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0), lost: ["big.bin"]))
        ) {
            let contents = try $0.packContents(.first)
            try $0.flipChunk(.first, $0.firstChunk($0.content("big.bin", in: .first)))
            try $0.resealPack(.first, contents)
            return ["big.bin"]
        },
        DamageCase(
            "a pack that no backup made lies in the repository",
            DamageVerdict(
                check: 0, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let bytes = Array("no frames at all\n".utf8)
            let name = RepositoryLayout.pack(BLAKE3.hash(bytes)).text
            try $0.write(bytes, name)
            return [name]
        },
        DamageCase(
            "a damaged pack is in no index",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let bytes = Array("other bytes\n".utf8)
            let name = RepositoryLayout.pack(BLAKE3.hash(Array("others".utf8))).text
            try $0.write(bytes, name)
            return [name]
        },
        DamageCase("an interrupted backup left a pack", .harmless) {
            let index = try Set($0.contents().keys)
            try $0.duplicatePack(.notes)
            for name in try $0.contents().keys where name.hasPrefix("index/") && !index.contains(name) {
                try $0.remove(name)
            }
            return []
        },
    ]
}
