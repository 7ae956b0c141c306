// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStorage

extension DamageCase {
    /// Indexes that rotted, went away or lie.
    package static let indexes: [DamageCase] = [
        DamageCase(
            "the first index is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.remove($0.index(.first))
            return ["small-3"]
        },
        DamageCase(
            "the newest index is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.remove($0.index(.third))
            return []
        },
        DamageCase(
            "all indexes are missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.index(moment)) }
            return []
        },
        DamageCase(
            "a byte of an index is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.flip($0.index(.first))
            return [$0.index(.first)]
        },
        DamageCase(
            "a byte of every index is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.flip($0.index(moment)) }
            return SoundRepository.Moment.allCases.map($0.index)
        },
        DamageCase(
            "an index is cut",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.truncate($0.index(.second), to: 100)
            return [$0.index(.second)]
        },
        DamageCase(
            "an index is empty",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.write([], $0.index(.notes))
            return [$0.index(.notes)]
        },
        DamageCase(
            "an index grew",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.change($0.index(.notes)) { $0.append(0) }
            return [$0.index(.notes)]
        },
        DamageCase(
            "two indexes changed places",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.swap($0.index(.first), $0.index(.notes))
            return [$0.index(.first), $0.index(.notes)]
        },
        DamageCase(
            "an index lies under another digest as well",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let name = RepositoryLayout.index(BLAKE3.hash(Array("others".utf8))).text
            try $0.write($0.bytes($0.index(.notes)), name)
            return [name]
        },
        DamageCase(
            "an index is of an unknown kind",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.change($0.index(.notes)) { $0[7] = UInt8(ascii: "9") }
            try $0.resealIndex(.notes)
            return []
        },
        DamageCase(
            "an index counts more chunks than it has",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.change($0.index(.notes)) { $0[16] += 1 }
            try $0.resealIndex(.notes)
            return []
        },
        DamageCase(
            "the chunks of an index are out of order",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let chunks = try $0.packContents(.notes).chunks.count
            try $0.change($0.index(.notes)) { bytes in
                let start = bytes.count - chunks * 48
                let record = Array(bytes[start..<start + 48])
                bytes.removeSubrange(start..<start + 48)
                bytes += record
            }
            try $0.resealIndex(.notes)
            return []
        },
        DamageCase(
            "an index puts a chunk beyond its frame",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.notes)
            contents.chunks[0].offset = 0xFFFF_0000
            try $0.replaceIndex(.notes, by: [contents])
            return []
        },
        DamageCase(
            "an index puts a frame beyond its pack",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.notes)
            contents.frames[0].offset = 0x7FFF_0000
            try $0.replaceIndex(.notes, by: [contents])
            return []
        },
        DamageCase(
            "an index puts a chunk at a wrong place of its frame",
            DamageVerdict(
                check: 0, data: 13, scrub: 0, prune: 0, restore: (13, 13, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.first)
            let id = try $0.content("small-3", in: .first).id
            for number in contents.chunks.indices where contents.chunks[number].id == id {
                contents.chunks[number].offset -= 16
            }
            try $0.replaceIndex(.first, by: [contents])
            return ["small-3"]
        },
        DamageCase(
            "an index gives a pack another size",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.notes)
            contents.storedSize += 1
            try $0.replaceIndex(.notes, by: [contents])
            return [$0.pack(.notes)]
        },
        DamageCase(
            "an index lacks a chunk of its pack",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (13, 13, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.first)
            let id = try $0.content("small-3", in: .first).id
            contents.chunks.removeAll { $0.id == id }
            try $0.replaceIndex(.first, by: [contents])
            return ["small-3"]
        },
        DamageCase(
            "an index names a chunk that its pack does not have",
            DamageVerdict(
                check: 0, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.first)
            var chunk = contents.chunks[0]
            chunk.id = BLAKE3.hash(Array("no such chunk".utf8))
            contents.chunks.append(chunk)
            try $0.replaceIndex(.first, by: [contents])
            return []
        },
        DamageCase(
            "an index gives a chunk a wrong base",
            DamageVerdict(
                check: 0, data: 13, scrub: 0, prune: 0, restore: (0, 13, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var contents = try $0.packContents(.third)
            let id = try $0.delta(.third).id
            for number in contents.chunks.indices where contents.chunks[number].id == id {
                contents.chunks[number].bases = [try $0.content("small-3", in: .first).id]
            }
            try $0.replaceIndex(.third, by: [contents])
            return ["table.sql"]
        },
        DamageCase(
            "an index also names a pack that is not there",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            var absent = try $0.packContents(.notes)
            absent.name = BLAKE3.hash(Array("no such pack".utf8))
            try $0.replaceIndex(.notes, by: [$0.packContents(.notes), absent])
            return [RepositoryLayout.pack(absent.name).text]
        },
        DamageCase("two indexes say the same", .harmless) {
            _ = try $0.open().storeIndex([$0.packContents(.first)])
            return []
        },
        DamageCase(
            "an index is missing and its pack flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0), lost: ["small-3"]))
        ) {
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            try $0.remove($0.index(.first))
            return [$0.pack(.first)]
        },
        DamageCase(
            "an index is flipped and its pack cut to half",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.truncate($0.pack(.notes), to: $0.bytes($0.pack(.notes)).count / 2)
            try $0.flip($0.index(.notes))
            return [$0.pack(.notes), $0.index(.notes)]
        },
    ]
}
