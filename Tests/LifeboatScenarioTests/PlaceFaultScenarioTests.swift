// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Full disks and files that may not be read, with the built program.
@Suite(.enabled(if: geteuid() == 0 || getenv("CI") != nil, "needs root, to mount and to become another user"))
struct PlaceFaultScenarioTests {
    /// Runs `body` with a file system in memory of that many KiB at `place`.
    private func withFileSystem(
        _ folder: ScenarioFolder, at place: String, kibibytes: Int, _ body: () throws -> Void
    ) throws {
        try FileTree.createFolders(place)
        try folder.shell("mount -t tmpfs -o size=\(kibibytes)k,mode=700 lifeboat-test '\(place)'")
        defer { umount2(place, Int32(MNT_DETACH)) }
        try body()
    }

    @Test func `a full repository disk fails the backup and harms no snapshot`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try withFileSystem(folder, at: folder.repository, kibibytes: 4096) {
            try folder.createRepository()
            try folder.growTree(seed: 11)
            let snapshot = try folder.backUp()
            let fingerprint = try folder.fingerprint(folder.tree)
            var random = SplitMix64(seed: 12)
            try folder.write(random.bytes(9 << 20), to: "\(folder.tree)/large")
            for _ in 0..<2 {
                let run = try folder.lifeboat("backup", "--repository", folder.repository, folder.tree)
                #expect(run.exit == 1, "\(run)")
                #expect(run.error.contains("(ENOSPC)") && run.error.contains("hint: "), "\(run)")
                let problem = try folder.problemRestoring(snapshot, expecting: fingerprint)
                #expect(problem == nil, "\(problem ?? "")")
            }
            let check = try folder.lifeboat("check", "--read-data", "--repository", folder.repository)
            #expect(check.exit == 0, "\(check)")
            unlink("\(folder.tree)/large")
            try folder.backUp()
        }
    }

    @Test func `a full disk fails restore --to`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try folder.createRepository()
        var random = SplitMix64(seed: 13)
        try folder.write(random.bytes(3 << 20), to: "\(folder.tree)/large")
        let snapshot = try folder.backUp()
        let target = "\(folder.path)/target"
        try withFileSystem(folder, at: target, kibibytes: 1024) {
            let run = try folder.lifeboat("restore", snapshot, "--repository", folder.repository, "--to", target)
            #expect(run.exit == 1 || run.exit == 3, "\(run)")
            #expect(run.error.contains("ENOSPC") || run.error.contains("space"), "\(run)")
            #expect(run.error.contains("large"), "\(run)")
        }
    }

    @Test func `a stack whose disk has no room for the staged data is not touched`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        let place = "\(folder.path)/place"
        try withFileSystem(folder, at: place, kibibytes: 4096) {
            try AtomicFile.write(
                """
                stack: full
                repository: ./repository
                encryption: none
                services:
                  commands:
                    stop: [[rm, -f, ./running]]
                    start: [[touch, ./running]]
                    status: [[test, -e, ./running]]
                components:
                  documents: {volume: {path: ./place/documents}}
                """, to: "\(folder.path)/lifeboat.yaml")
            try folder.createRepository()
            try FileTree.createFolders("\(place)/documents")
            var random = SplitMix64(seed: 14)
            try folder.write(random.bytes(2_500_000), to: "\(place)/documents/large")
            try folder.write([], to: "\(folder.path)/running")
            try folder.succeed("backup")
            try folder.write(random.bytes(2_600_000), to: "\(place)/documents/large")
            let live = try folder.fingerprint(place)
            let run = try folder.lifeboat("restore", "latest", "--yes")
            #expect(run.exit == 1 || run.exit == 14, "\(run)")
            #expect(run.error.contains("space"), "\(run)")
            let after = try folder.fingerprint(place)
            // The folder the staged data lay in has a new time.
            #expect(after.split(separator: "\n").dropFirst() == live.split(separator: "\n").dropFirst(), "\(run)")
            #expect(access("\(folder.path)/running", F_OK) == 0)
        }
    }

    @Test func `a file that may not be read makes the snapshot incomplete`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        let program = "\(folder.path)/program"
        // The build's folder may be closed to other users.
        try FileTree.createFolders(program)
        try folder.shell("cp '\(folder.binary.path)' '\(program)/lifeboat'")
        try folder.growTree(seed: 15)
        try folder.write(Array("secret".utf8), to: "\(folder.tree)/nested/closed")
        chmod("\(folder.tree)/nested/closed", 0)
        try folder.shell("chown -R -h 65534:65534 '\(folder.path)'; chmod -R u+rX,go+rX '\(program)'")
        let nobody = try BinaryRunner(path: "/usr/bin/setpriv")
        func lifeboat(_ arguments: String...) throws -> LifeboatRun {
            try nobody.run(
                ["--reuid=65534", "--regid=65534", "--clear-groups", "\(program)/lifeboat"] + arguments,
                environment: folder.environment, in: folder.path)
        }
        let created = try lifeboat("repository", "init", "--repository", folder.repository, "--encryption", "none")
        #expect(created.exit == 0, "\(created)")
        let run = try lifeboat("backup", "--repository", folder.repository, folder.tree)
        #expect(run.exit == 3, "\(run)")
        #expect(run.error.contains("nested/closed") && run.error.contains("EACCES"), "\(run)")
        let list = try lifeboat("snapshots", "--repository", folder.repository, "--json")
        #expect(list.output.contains(#""complete":false"#), "\(list)")
        guard let id = ScenarioFolder.field("id", of: list.output) else {
            Issue.record("no snapshot: \(list)")
            return
        }
        let latest = try lifeboat("restore", "latest", "--repository", folder.repository, "--to", "\(folder.path)/no")
        #expect(latest.exit != 0, "an incomplete snapshot is never the latest: \(latest)")
        let target = "\(folder.path)/target"
        let restore = try lifeboat("restore", id, "--incomplete", "--repository", folder.repository, "--to", target)
        #expect(restore.exit == 3, "\(restore)")
        unlink("\(folder.tree)/nested/closed")
        let same = try folder.shell("diff -r --no-dereference '\(folder.tree)' '\(target + folder.tree)' && echo same")
        #expect(same == "same")
    }
}
