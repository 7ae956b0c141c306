// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// One bad object stops nothing that can do without it.
@Suite struct BadObjectTests {
    @Test(arguments: [false, true])
    func `a damaged or lost index stops neither restore nor backup`(isLost: Bool) throws {
        let fixture = try Tampering.repository(snapshots: 1)
        defer { try? fixture.folder.remove() }
        let index = try #require(try Tampering.names("./index/*", fixture).first)
        if isLost {
            #expect(unlink(index) == 0)
        } else {
            var bytes = try TextFile.read(index)
            bytes[100] ^= 1
            try bytes.withUnsafeBytes { bytes -> Void in try AtomicFile.write([bytes], to: index) }
        }
        // No copy of the index is left on this host.
        try FileTree.remove("\(fixture.path)/cache")
        for arguments in [["ls", "latest"], ["restore", "latest", "--to", "out"], ["cat", "latest", "a.txt"]] {
            let run = try fixture.run(arguments + ["-q", "-r", fixture.repository])
            #expect(run.code == .done, "\(run)")
            #expect(run.error.contains("index"), "\(run)")
        }
        #expect(try fixture.text("out\(fixture.path)/docs/a.txt") == "text 0")
        let backup = try fixture.inRepository("backup", "docs", "-q")
        #expect(backup.code == (isLost ? .done : .incomplete), "\(backup)")
        if !isLost { #expect(backup.error.contains("repair --yes"), "\(backup)") }
        if !isLost { #expect(try fixture.inRepository("check", "-q").code == .damagedRepository) }
        #expect(try fixture.inRepository("repair", "--yes", "-q").code == .done)
        #expect(try fixture.inRepository("check", "--read-data", "-q").code == .done)
        #expect(try fixture.inRepository("restore", "latest", "--to", "again", "-q").error.isEmpty)
    }

    @Test func `an object that is too large below snapshots stops nothing`() throws {
        let fixture = try Tampering.repository(snapshots: 1)
        defer { try? fixture.folder.remove() }
        let large = "\(fixture.repository)/snapshots/files/20260101T000000Z-abcdefabcdef.json"
        let file = try OwnedDescriptor.open(large, O_WRONLY | O_CREAT, mode: 0o644)
        #expect(ftruncate(file.raw, (64 << 20) + 1) == 0)
        for (arguments, code) in [
            (["snapshots"], ExitCode.damagedRepository), (["restore", "latest", "--to", "out"], .incomplete),
            (["ls", "latest"], .incomplete), (["backup", "docs"], .incomplete), (["check"], .damagedRepository),
            (["repair", "--yes"], .damagedRepository), (["repair", "--snapshots", "--yes"], .incomplete),
            (["check"], .done), (["prune"], .done),
        ] {
            let run = try fixture.run(arguments + ["-q", "-r", fixture.repository])
            #expect(run.code == code, "\(arguments): \(run)")
        }
    }
}
