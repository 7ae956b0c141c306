// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStorage

extension DamageCase {
    /// config.json, README.txt, leases, marks, pins, lists of forgotten snapshots, results of drills, and what does not
    /// belong there.
    package static let records: [DamageCase] = [
        DamageCase(
            "config.json is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 13), backedUp: 13, salvage: 13, salvaged: (13, 13, 13)))
        ) {
            try $0.remove("config.json")
            return ["config.json"]
        },
        DamageCase(
            "a byte of config.json is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 13), backedUp: 13, salvage: 13, salvaged: (13, 13, 13)))
        ) {
            try $0.flip("config.json")
            return ["config.json"]
        },
        DamageCase(
            "config.json is empty",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 13), backedUp: 13, salvage: 13, salvaged: (13, 13, 13)))
        ) {
            try $0.write([], "config.json")
            return ["config.json"]
        },
        DamageCase(
            "config.json is of a newer format",
            DamageVerdict(
                check: 1, data: 1, scrub: 13, prune: 1, restore: (1, 1, 1), plan: 1, repair: 1,
                after: .damaged(
                    1, restore: (1, 1, 1), backedUp: 1, salvage: 1, salvaged: (1, 1, 1)))
        ) {
            let text = String(decoding: try $0.bytes("config.json"), as: UTF8.self)
            try $0.write(Array(text.replacing("\"format\" : 1", with: "\"format\" : 2").utf8), "config.json")
            return ["format 2"]
        },
        DamageCase(
            "only config.json is left",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (1, 1, 1), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (1, 1, 1), backedUp: 13, salvage: 3, salvaged: (1, 1, 1)))
        ) {
            for name in try $0.contents().keys where name != "config.json" { try $0.remove(name) }
            return ["README.txt"]
        },
        DamageCase(
            "README.txt is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.remove("README.txt")
            return ["README.txt"]
        },
        DamageCase(
            "README.txt has another text",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.write(Array("hands off\n".utf8), "README.txt")
            return ["README.txt"]
        },
        DamageCase("a killed writer left a temporary file", .harmless) {
            try $0.write([1, 2, 3], "\($0.pack(.first)).1-0123456789abcdef.lifeboat-tmp")
            return []
        },
        DamageCase("foreign files lie about", .harmless) {
            try $0.write([1, 2, 3], "lost+found/file")
            try $0.write([1, 2, 3], "packs/ab/.directory")
            try $0.write([1, 2, 3], "index/copy.idx.bak")
            return []
        },
        DamageCase("a pack that is not there is condemned", .harmless) {
            try $0.write([], "condemned/\(BLAKE3.hash(Array("no such pack".utf8)).hex)")
            return []
        },
        DamageCase("a pack that snapshots need is condemned", .harmless) {
            try $0.write([], "condemned/\($0.pack(.first).dropFirst(9).prefix(64))")
            return []
        },
        DamageCase(
            "a pack that snapshots need is condemned and missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3)))
        ) {
            try $0.write([], "condemned/\($0.pack(.notes).dropFirst(9).prefix(64))")
            try $0.remove($0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase("a prune died between a pack and its index", .harmless) {
            var absent = try $0.packContents(.notes)
            absent.name = BLAKE3.hash(Array("a pruned pack".utf8))
            absent.chunks = absent.chunks.map { chunk in
                var chunk = chunk
                chunk.id = BLAKE3.hash(chunk.id.bytes)
                return chunk
            }
            try $0.write([], "condemned/\(absent.name.hex)")
            try $0.replaceIndex(.notes, by: [$0.packContents(.notes), absent])
            return []
        },
        DamageCase("a mark of condemnation has no name of a pack", .harmless) {
            try $0.write([], "condemned/everything")
            return []
        },
        DamageCase("a lease cannot be read", .harmless) {
            try $0.write([0xFF], "leases/0123456789abcdef0123456789abcdef.json")
            return []
        },
        DamageCase("a beat has no lease", .harmless) {
            try $0.write([0x31], "leases/0123456789abcdef0123456789abcdef.beat")
            return []
        },
        DamageCase(
            "a pin cannot be read",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let name = "pins/files/\($0.sound[.first].id.hex).json"
            try $0.write(Array("{".utf8), name)
            return [name]
        },
        DamageCase(
            "a pin has no name of a snapshot",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.write(Array("{}".utf8), "pins/files/latest.json")
            return ["pins/files/latest.json"]
        },
        DamageCase(
            "a list of forgotten snapshots is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (1, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (1, 0, 0), backedUp: 13, salvage: 3, salvaged: (1, 0, 0)))
        ) {
            let run = try $0.run(["forget", "--stack", "files", "--keep-last", "2", "--yes"])
            let lists = try $0.contents().keys.filter { $0.hasPrefix("forgotten/") && $0.hasSuffix(".json") }
            guard run.exit == 0, let name = lists.first else {
                throw LifeboatError("nothing was forgotten", causes: [run.description])
            }
            try $0.flip(name)
            return [name]
        },
        DamageCase(
            "the result of a drill is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 0, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let result = Array("{\"snapshot\":\"\($0.sound[.first].id.hex)\",\"verified\":true}".utf8)
            let repository = try $0.open()
            let id = try DrillRecords.store(result, stack: "files", time: Timestamp(seconds: 0), to: repository)
            let name = RepositoryLayout.drill(stack: "files", time: Timestamp(seconds: 0), id: id).text
            try $0.flip(name)
            return [name]
        },
        DamageCase("an earlier repair kept something", .harmless) {
            try $0.write([1, 2, 3], "damaged/packs/ab/something")
            return []
        },
    ]
}
