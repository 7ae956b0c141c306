// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Pins and other records that somebody removed or changed, and what every command says of it.
@Suite struct PinTamperingTests {
    @Test(arguments: [true, false])
    func `a pin that vanished is reported and its snapshot kept`(isNamedByManifest: Bool) throws {
        let fixture = try Tampering.repository(snapshots: 1)
        defer { try? fixture.folder.remove() }
        let id = try Tampering.pinned(fixture)
        if isNamedByManifest { try Tampering.backUp("after the pin", fixture) }
        try Tampering.removePin(fixture)
        let forget = ["forget", "--keep-last", "1", "--yes", "--force", "-q", "-r", fixture.repository]
        if isNamedByManifest {
            // Manifests name the pin: every host notices.
            let other = try Tampering.elsewhere(["check", "-q", "-r", fixture.repository], fixture)
            #expect(other.code == .damagedRepository && other.error.contains("pins/files/\(id)"), "\(other)")
        } else {
            try Tampering.backUp("after the loss", fixture)
        }
        for _ in 0..<2 {
            let run = try fixture.run(forget)
            #expect(run.code == .damagedRepository, "\(run)")
            #expect(run.error.contains("the pin of snapshot '\(id.prefix(12))'"), "\(run)")
            #expect(try fixture.inRepository("snapshots", "--json", "-q").output.contains(id))
            // The manifest that named the pin is forgotten: the next one names it again.
            try Tampering.backUp("later", fixture)
        }
        #expect(try fixture.inRepository("check", "-q").code == .damagedRepository)
        #expect(try fixture.inRepository("repair", "--yes", "-q").code == .done)
        #expect(try fixture.inRepository("check", "-q").code == .done)
        #expect(try fixture.run(forget).code == .done)
        #expect(try fixture.inRepository("snapshots", "--json").output.contains(id))
        #expect(try fixture.inRepository("unpin", id, "-q").code == .done)
        #expect(try fixture.run(forget).code == .done)
        #expect(try !fixture.inRepository("snapshots", "--json").output.contains("\"id\":\"\(id)"))
        for run in [
            try fixture.inRepository("check", "-q"),
            try Tampering.elsewhere(["check", "-q", "-r", fixture.repository], fixture),
        ] {
            #expect(run.code == .done, "\(run)")
        }
    }

    @Test func `unpin accepts that a pin is gone, and an old record does not excuse a new pin`() throws {
        let fixture = try Tampering.repository(snapshots: 0)
        defer { try? fixture.folder.remove() }
        let id = try Tampering.pinned(fixture)
        try Tampering.backUp("after the pin", fixture)
        try Tampering.removePin(fixture)
        #expect(try fixture.inRepository("check", "-q").code == .damagedRepository)
        #expect(try fixture.inRepository("unpin", id, "-q").code == .done)
        #expect(try fixture.inRepository("check", "-q").code == .done)
        fixture.clock.advance(seconds: 60)
        #expect(try fixture.inRepository("pin", id, "-q").code == .done)
        try Tampering.removePin(fixture)
        #expect(try fixture.inRepository("check", "-q").code == .damagedRepository)
    }

    @Test func `flipped signatures of pins, records and lists are found`() throws {
        let fixture = try Tampering.repository(snapshots: 3)
        defer { try? fixture.folder.remove() }
        let first = try Tampering.pinned(fixture)
        #expect(try fixture.inRepository("unpin", first, "-q").code == .done)
        _ = try Tampering.pinned(fixture)
        try Tampering.backUp("last", fixture)
        #expect(try fixture.inRepository("forget", "--keep-last", "2", "--yes", "--force", "-q").code == .done)
        #expect(try fixture.inRepository("check", "-q").code == .done)
        for pattern in ["./pins/*.minisig", "./unpinned/*.minisig", "./forgotten/*.minisig", "./pins/*.json"] {
            let file = try #require(try Tampering.names(pattern, fixture).first)
            let sound = try TextFile.read(file)
            var flipped = sound
            flipped[(flipped.firstIndex(of: 0x0A) ?? 0) + 20] ^= 4
            try AtomicFile.write(String(decoding: flipped, as: UTF8.self), to: file)
            let run = try fixture.inRepository("check", "-q")
            #expect(run.code == .damagedRepository, "\(pattern): \(run)")
            try AtomicFile.write(String(decoding: sound, as: UTF8.self), to: file)
        }
        #expect(try fixture.inRepository("check", "-q").code == .done)
    }
}
