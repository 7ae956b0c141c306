// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Damaged repositories and wrong input, as the built program answers them.
@Suite struct DamageScenarioTests {
    enum Damage: String, CaseIterable, Sendable { case missing, truncated, emptied, flipped }

    /// The snapshots of one repository: `first` of one tree, `second` after a change that added a file.
    private struct History {
        let folder: ScenarioFolder
        let first: String
        let second: String
        let firstFingerprint: String
        let secondFingerprint: String

        init() throws {
            folder = try ScenarioFolder()
            try folder.createRepository()
            try folder.growTree(seed: 3)
            first = try folder.backUp()
            firstFingerprint = try folder.fingerprint(folder.tree)
            try folder.change(seed: 4)
            second = try folder.backUp()
            secondFingerprint = try folder.fingerprint(folder.tree)
        }

        /// Objects of the repository that match, oldest first.
        func objects(_ pattern: String) throws -> [String] {
            try folder.shell("cd '\(folder.repository)' && ls -tr \(pattern)").split(separator: "\n").map(String.init)
        }

        func damage(_ object: String, _ damage: Damage) throws {
            let path = "\(folder.repository)/\(object)"
            try folder.shell("cp -a '\(path)' '\(folder.path)/whole'")
            switch damage {
            case .missing: unlink(path)
            case .truncated: try folder.shell("chmod u+w '\(path)'; truncate -s 100 '\(path)'")
            case .emptied: try folder.shell("chmod u+w '\(path)'; truncate -s 0 '\(path)'")
            case .flipped:
                try folder.shell(
                    """
                    chmod u+w '\(path)'; python3 -c 'import sys
                    with open(sys.argv[1], "r+b") as file:
                        data = file.read(); at = len(data) // 2
                        file.seek(at); file.write(bytes([data[at] ^ 16]))' '\(path)'
                    """)
            }
            // The cache keeps whole copies of indexes.
            try FileTree.remove("\(folder.path)/cache")
        }

        func mend(_ object: String) throws {
            let path = "\(folder.repository)/\(object)"
            try folder.shell("rm -f '\(path)'; mv '\(folder.path)/whole' '\(path)'")
            try FileTree.remove("\(folder.path)/cache")
        }

        func check() throws -> LifeboatRun {
            try folder.lifeboat("check", "--read-data", "--repository", folder.repository)
        }

        func restore(_ snapshot: String) throws -> LifeboatRun {
            let target = "\(folder.path)/target"
            try FileTree.remove(target)
            return try folder.lifeboat("restore", snapshot, "--repository", folder.repository, "--to", target)
        }
    }

    @Test(arguments: Damage.allCases)
    func `a damaged pack is named with what it takes along, and the rest restores`(_ damage: Damage) throws {
        let history = try History()
        defer { history.folder.remove() }
        // The newest pack holds the changed file and the listing of the second snapshot alone.
        let packs = try history.objects("packs/*/*.tar.zst")
        #expect(packs.count == 2)
        for pack in packs {
            try history.damage(pack, damage)
            let check = try history.check()
            #expect(check.exit == 13 && check.error.contains(pack), "\(check)")
            #expect(check.error.contains("it affects '\(history.folder.tree):"), "\(check)")
            let restore = try history.restore(history.second)
            #expect(restore.exit == 13 && restore.error.contains(pack), "\(restore)")
            #expect(!restore.error.contains("Fatal error"), "\(restore)")
            if pack == packs.last {
                let problem = try history.folder.problemRestoring(history.first, expecting: history.firstFingerprint)
                #expect(problem == nil, "the first snapshot does not need that pack: \(problem ?? "")")
            }
            try history.mend(pack)
        }
        let check = try history.check()
        #expect(check.exit == 0, "\(check)")
    }

    /// What the hint of `check` promises.
    @Test(arguments: [Damage.missing, .truncated, .emptied])
    func `a backup after a pack was lost stores its data anew`(_ damage: Damage) throws {
        let history = try History()
        defer { history.folder.remove() }
        for pack in try history.objects("packs/*/*.tar.zst") { try history.damage(pack, damage) }
        let snapshot = try history.folder.backUp()
        let problem = try history.folder.problemRestoring(snapshot, expecting: history.secondFingerprint)
        #expect(problem == nil, "a snapshot that says complete restores: \(problem ?? "")")
    }

    @Test(arguments: Damage.allCases)
    func `a damaged index is named and never gives wrong data`(_ damage: Damage) throws {
        let history = try History()
        defer { history.folder.remove() }
        for index in try history.objects("index/*.idx") {
            try history.damage(index, damage)
            let check = try history.check()
            #expect(check.exit == 13, "\(check)")
            #expect(damage == .missing || check.error.contains(index), "\(check)")
            let restore = try history.restore(history.second)
            if restore.exit == 0 {
                let restored = try history.folder.fingerprint("\(history.folder.path)/target\(history.folder.tree)")
                #expect(restored == history.secondFingerprint)
            } else {
                #expect(restore.exit == 13, "\(restore)")
                #expect(damage == .missing || restore.error.contains(index), "\(restore)")
            }
            try history.mend(index)
        }
    }

    @Test(arguments: Damage.allCases)
    func `a damaged manifest is named and the other snapshot restores`(_ damage: Damage) throws {
        let history = try History()
        defer { history.folder.remove() }
        let manifests = try history.objects("snapshots/files/*.json")
        #expect(manifests.count == 2)
        for (manifest, other) in [
            (manifests[0], (history.second, history.secondFingerprint)),
            (manifests[1], (history.first, history.firstFingerprint)),
        ] {
            try history.damage(manifest, damage)
            let check = try history.check()
            if damage != .missing { #expect(check.exit == 13 && check.error.contains(manifest), "\(check)") }
            let lost = try history.restore(other.0 == history.first ? history.second : history.first)
            #expect(lost.exit == (damage == .missing ? 1 : 13), "\(lost)")
            let problem = try history.folder.problemRestoring(other.0, expecting: other.1)
            #expect(problem == nil, "\(problem ?? "")")
            try history.mend(manifest)
        }
    }

    @Test func `no flipped byte goes unnoticed`() throws {
        let history = try History()
        defer { history.folder.remove() }
        let repository = history.folder.repository
        let copy = "\(history.folder.path)/copy"
        var random = SplitMix64(seed: 5)
        let names = try history.objects("packs/*/*.tar.zst index/*.idx snapshots/files/*.json config.json")
        // In process: thousands of runs of the program would take minutes.
        let runner = InProcessRunner()
        var flips = 0
        for name in names {
            let size = Int(try history.folder.shell("stat -c %s '\(repository)/\(name)'")) ?? 0
            #expect(size > 0)
            for _ in 0..<40 {
                try history.folder.shell("rm -rf '\(copy)'; cp -al '\(repository)' '\(copy)'; rm '\(copy)/\(name)'")
                try history.folder.shell("cp '\(repository)/\(name)' '\(copy)/\(name)'; chmod u+w '\(copy)/\(name)'")
                let position = Int(random.next() % UInt64(size))
                let bit = UInt8(1 << (random.next() % 8))
                let file = try OwnedDescriptor.open("\(copy)/\(name)", O_RDWR)
                var byte: UInt8 = 0
                #expect(pread(file.raw, &byte, 1, off_t(position)) == 1)
                byte ^= bit
                #expect(pwrite(file.raw, &byte, 1, off_t(position)) == 1)
                var environment = history.folder.environment
                environment["LIFEBOAT_CACHE"] = "\(copy)-cache"
                try FileTree.remove("\(copy)-cache")
                let run = try runner.run(
                    ["check", "--read-data", "--repository", copy], environment: environment, in: history.folder.path)
                #expect(run.exit != 0, "byte \(position) of \(name), bit \(bit): \(run)")
                flips += 1
            }
        }
        print("flipped \(flips) bytes")
    }

    @Test func `wrong input is told with its own exit code`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try folder.createRepository()
        try folder.growTree(seed: 6)
        try folder.backUp()
        let none = try folder.lifeboat("snapshots", "--repository", "\(folder.path)/nowhere")
        #expect(none.exit == 10 && none.error.contains("nowhere") && none.error.contains("hint: "), "\(none)")
        let notOne = try folder.lifeboat("backup", "--repository", folder.tree, folder.tree)
        #expect(notOne.exit == 10, "\(notOne)")
        let flag = try folder.lifeboat("backup", "--repositroy", folder.repository, folder.tree)
        #expect(flag.exit == 2 && flag.error.contains("--repositroy"), "\(flag)")
        let unknown = try folder.lifeboat(
            "restore", "0123abcd", "--repository", folder.repository, "--to", "\(folder.path)/target")
        #expect(unknown.exit == 1 && unknown.error.contains("0123abcd"), "\(unknown)")
        #expect(access("\(folder.path)/target", F_OK) != 0)
        let missing = try folder.lifeboat("backup", "--repository", folder.repository, "\(folder.path)/absent")
        #expect(missing.exit != 0 && missing.error.contains("absent"), "\(missing)")
    }

    @Test func `an unknown key of a policy is told with its place and the nearest one`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try AtomicFile.write(
            """
            stack: notes
            repository: ./repository
            encryption: none
            components:
              documents: {volume: {path: ./tree, exclued: ["*.tmp"]}}
            """, to: "\(folder.path)/lifeboat.yaml")
        for command in [["backup"], ["snapshots"], ["plan", "latest"]] {
            let run = try folder.lifeboat(command)
            #expect(run.exit == 2, "\(run)")
            #expect(run.error.contains("lifeboat.yaml:5:38") && run.error.contains("exclude'"), "\(run)")
        }
    }
}
