// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStorage

extension DamageCase {
    /// Packs that rotted, were cut, went away or lie.
    package static let packs: [DamageCase] = [
        DamageCase("a byte at the start of a pack is flipped", .unknown) {
            try $0.flip($0.pack(.first), at: 8)
            return [$0.pack(.first)]
        },
        DamageCase("a byte of a big file is flipped", .unknown) {
            try $0.flipChunk(.first, $0.firstChunk($0.content("big.bin", in: .first)))
            return [$0.pack(.first), "big.bin"]
        },
        DamageCase("a byte of a small file is flipped", .unknown) {
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            return [$0.pack(.first), "small-3"]
        },
        DamageCase("a byte of a file that only an old snapshot has is flipped", .unknown) {
            try $0.flipChunk(.first, $0.firstChunk($0.content("old.txt", in: .first)))
            return [$0.pack(.first), "old.txt"]
        },
        DamageCase("the frame with the list of a big file's chunks is spoilt", .unknown) {
            try $0.spoilFrame(.first, holding: $0.content("big.bin", in: .first).id)
            return [$0.pack(.first), "big.bin"]
        },
        DamageCase("the frame of a chunk that deltas rest on is spoilt", .unknown) {
            try $0.spoilFrame(.first, holding: $0.delta(.second).bases[0])
            return [$0.pack(.first), "table.sql"]
        },
        DamageCase("the frame of a delta in the middle of a chain is spoilt", .unknown) {
            try $0.spoilFrame(.second, holding: $0.linkOfChain())
            return [$0.pack(.second), "table.sql"]
        },
        DamageCase("the frame of a delta at the end of a chain is spoilt", .unknown) {
            try $0.spoilFrame(.third, holding: $0.delta(.third).id)
            return [$0.pack(.third), "table.sql"]
        },
        DamageCase("the frame of the first listing is spoilt", .unknown) {
            try $0.spoilFrame(.first, holding: $0.content(nil, in: .first).id)
            return [$0.pack(.first)]
        },
        DamageCase("the frame of the newest listing is spoilt", .unknown) {
            try $0.spoilFrame(.third, holding: $0.content(nil, in: .third).id)
            return [$0.pack(.third)]
        },
        DamageCase("the frame of the only listing of a stack is spoilt", .unknown) {
            try $0.spoilFrame(.notes, holding: $0.content(nil, in: .notes).id)
            return [$0.pack(.notes)]
        },
        DamageCase("a byte of a pack's end frame is flipped", .unknown) {
            try $0.flip($0.pack(.first), at: -3)
            return [$0.pack(.first)]
        },
        DamageCase("a pack lost its last byte", .unknown) {
            try $0.truncate($0.pack(.first), to: -1)
            return [$0.pack(.first)]
        },
        DamageCase("a pack lost its end frame", .unknown) {
            let frames = try $0.packContents(.notes).frames
            try $0.truncate($0.pack(.notes), to: frames.map { Int($0.offset + $0.length) }.max() ?? 0)
            return [$0.pack(.notes)]
        },
        DamageCase("a pack is cut to half", .unknown) {
            try $0.truncate($0.pack(.first), to: $0.bytes($0.pack(.first)).count / 2)
            return [$0.pack(.first)]
        },
        DamageCase("a pack with deltas is cut to half", .unknown) {
            try $0.truncate($0.pack(.second), to: $0.bytes($0.pack(.second)).count / 2)
            return [$0.pack(.second)]
        },
        DamageCase("a pack is empty", .unknown) {
            try $0.write([], $0.pack(.third))
            return [$0.pack(.third)]
        },
        DamageCase("a pack grew by one byte", .unknown) {
            try $0.change($0.pack(.first)) { $0.append(0) }
            return [$0.pack(.first)]
        },
        DamageCase("a pack grew by a page of zeros", .unknown) {
            try $0.change($0.pack(.second)) { $0 += [UInt8](repeating: 0, count: 4096) }
            return [$0.pack(.second)]
        },
        DamageCase("a page in the middle of a pack is zeros", .unknown) {
            try $0.change($0.pack(.first)) { bytes in
                let start = bytes.count / 2 & ~4095
                bytes.replaceSubrange(start..<start + 4096, with: [UInt8](repeating: 0, count: 4096))
            }
            return [$0.pack(.first)]
        },
        DamageCase("every page of a pack is zeros", .unknown) {
            try $0.change($0.pack(.notes)) { $0 = [UInt8](repeating: 0, count: $0.count) }
            return [$0.pack(.notes)]
        },
        DamageCase("the first pack is missing", .unknown) {
            try $0.remove($0.pack(.first))
            return [$0.pack(.first)]
        },
        DamageCase("the pack of the snapshot in the middle is missing", .unknown) {
            try $0.remove($0.pack(.second))
            return [$0.pack(.second)]
        },
        DamageCase("the newest pack is missing", .unknown) {
            try $0.remove($0.pack(.third))
            return [$0.pack(.third)]
        },
        DamageCase("the only pack of a stack is missing", .unknown) {
            try $0.remove($0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase("all packs are missing", .unknown) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.pack(moment)) }
            return SoundRepository.Moment.allCases.map($0.pack)
        },
        DamageCase("two packs changed places", .unknown) {
            try $0.swap($0.pack(.first), $0.pack(.second))
            return [$0.pack(.first), $0.pack(.second)]
        },
        DamageCase("a pack holds the bytes of another one", .unknown) {
            try $0.write($0.bytes($0.pack(.third)), $0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase("a pack lies in the wrong folder", .unknown) {
            try $0.rename($0.pack(.notes), to: "packs/zz/\($0.pack(.notes).dropFirst(9))")
            return [$0.pack(.notes)]
        },
        DamageCase("one pack is flipped and another one missing", .unknown) {
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            try $0.remove($0.pack(.notes))
            return [$0.pack(.first), $0.pack(.notes)]
        },
        DamageCase("a pack is missing, and another one has all it held", .unknown) {
            try $0.duplicatePack(.first)
            try $0.remove($0.pack(.first))
            return [$0.pack(.first)]
        },
        DamageCase("a pack is flipped, and another one has all it held", .unknown) {
            // The copy that a prune prefers: it does not read what it keeps.
            try $0.duplicatePack(.first, namedBefore: true)
            try $0.flipChunk(.first, $0.content("small-3", in: .first).id)
            return [$0.pack(.first)]
        },
        DamageCase("a pack is flipped, and a condemned one has all it held", .unknown) {
            let before = Set(try $0.contents().keys)
            try $0.duplicatePack(.notes)
            for name in try $0.contents().keys where name.hasPrefix("packs/") && !before.contains(name) {
                try $0.write([], "condemned/\(name.dropFirst(9).prefix(64))")
            }
            try $0.flip($0.pack(.notes), at: 8)
            return [$0.pack(.notes)]
        },
        DamageCase("a pack with the right digest holds a wrong chunk", .unknown) {
            let contents = try $0.packContents(.first)
            try $0.flipChunk(.first, $0.firstChunk($0.content("big.bin", in: .first)))
            try $0.resealPack(.first, contents)
            return ["big.bin"]
        },
        DamageCase("a pack that no backup made lies in the repository", .unknown) {
            let bytes = Array("no frames at all\n".utf8)
            let name = RepositoryLayout.pack(BLAKE3.hash(bytes)).text
            try $0.write(bytes, name)
            return [name]
        },
        DamageCase("a damaged pack is in no index", .unknown) {
            let bytes = Array("other bytes\n".utf8)
            let name = RepositoryLayout.pack(BLAKE3.hash(Array("others".utf8))).text
            try $0.write(bytes, name)
            return [name]
        },
        DamageCase("an interrupted backup left a pack", .unknown) {
            let index = try Set($0.contents().keys)
            try $0.duplicatePack(.notes)
            for name in try $0.contents().keys where name.hasPrefix("index/") && !index.contains(name) {
                try $0.remove(name)
            }
            return []
        },
    ]
}
