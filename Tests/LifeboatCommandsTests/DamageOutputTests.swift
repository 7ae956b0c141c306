// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatStorage
import LifeboatTesting
import Testing

/// What damage looks like on the terminal, and what is done about it.
struct DamageOutputTests {
    @Test func damageIsToldAsWrittenDown() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.inRepository("backup", "docs").code == .done)
        let pack = try #require(try packs(fixture).first)
        // The frame of all files and the listing: its beginning, and the pack's end.
        var bytes = try TextFile.read("\(fixture.repository)/\(pack)")
        bytes[0] ^= 1
        _ = try bytes.withUnsafeBytes {
            try AtomicFile.write([$0], to: "\(fixture.repository)/\(pack)", durable: false)
        }
        try compare("damage-check", fixture, .damagedRepository, "check", "--read-data")
        try compare("damage-scrub", fixture, .damagedRepository, "scrub")
        try compare("damage-repair", fixture, .damagedRepository, "repair")
        try compare("damage-repair-yes", fixture, .damagedRepository, "repair", "--yes")
        try compare("damage-repair-snapshots", fixture, .incomplete, "repair", "--snapshots", "--yes")
        try compare("damage-check-after", fixture, .done, "check", "--read-data")
    }

    private func packs(_ fixture: CommandFixture) throws -> [String] {
        try LocalFolderStore(opening: fixture.repository).listAll(prefix: "packs/").map(\.key.text)
    }

    private func compare(
        _ name: String, _ fixture: CommandFixture, _ code: ExitCode, _ arguments: String...
    ) throws {
        let run = try fixture.run(arguments + ["-r", fixture.repository])
        #expect(run.code == code, "\(run)")
        let text = fixture.normalized(run.output + run.error)
            .replacing(#/packs\/[0-9a-f]{2}\//#, with: "packs/…/")
            .replacing(#/\d+(\.\d)? (B|KiB)/#, with: "N")
        let difference = try GoldenFile("commands/\(name).txt").difference(from: text)
        #expect(difference == nil, "\(difference ?? "")")
    }
}
