// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The repository's file system has not one byte left.
struct FullDiskTests {
    @Test(
        "a backup fails and leaves nothing; forget and prune make room again",
        .enabled(if: geteuid() == 0, "mounts a file system"))
    func roomAgain() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        let disk = "\(fixture.path)/disk"
        try FileTree.createFolders(disk)
        try #require(mount("lifeboat-test", disk, "tmpfs", 0, "size=24m") == 0)
        defer { umount2(disk, Int32(MNT_DETACH)) }
        func run(_ arguments: String...) throws -> LifeboatRun {
            try fixture.run(arguments + ["--repository", "\(disk)/repository"])
        }
        func free() throws -> UInt64 {
            var status = statvfs()
            try #require(statvfs(disk, &status) == 0)
            return UInt64(status.f_bavail) * UInt64(status.f_bsize)
        }
        var random = SplitMix64(seed: 24)
        #expect(try run("repository", "init", "--encryption", "none").code == .done)
        try FileTree.createFolders("\(fixture.path)/docs")
        var count = 0
        while true {
            _ = try random.bytes(3_000_000).withUnsafeBytes {
                try AtomicFile.write([$0], to: "\(fixture.path)/docs/data", durable: false)
            }
            let before = try free()
            let run = try run("backup", "docs")
            if run.code != .done {
                #expect(run.code == .failed && run.error.contains("no space left"), "\(run)")
                // What was written for it is gone; a new name may have made a folder larger.
                #expect(try before - min(before, free()) < 64 << 10)
                break
            }
            count += 1
        }
        #expect((5...8).contains(count))
        // Down to the last page, which is how a disk is found at 02:00.
        _ = try ShellProof.run("head -c 100M /dev/zero >\(disk)/filler; true")
        #expect(try free() == 0)
        let forgotten = try run("forget", "--keep-last", "2", "--force", "--yes")
        #expect(forgotten.code == .done, "\(forgotten)")
        let pruned = try run("prune", "--grace", "0s")
        #expect(pruned.code == .done, "\(pruned)")
        #expect(try free() > UInt64(count - 2) * 2_900_000)
        let checked = try run("check", "--read-data")
        #expect(checked.code == .done && checked.output.contains("checked 2 snapshots"), "\(checked)")
        #expect(try run("backup", "docs").code == .done)
    }
}
