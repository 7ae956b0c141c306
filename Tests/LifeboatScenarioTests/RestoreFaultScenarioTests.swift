// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// `restore --to` by the built program under faults: it never says done when it is not.
@Suite struct RestoreFaultScenarioTests {
    /// One repository with one snapshot for all faults of a test: restores only read it.
    private final class Loop {
        let folder: ScenarioFolder
        private let snapshot: String
        private let fingerprint: String
        private let listing: String

        init() throws {
            folder = try ScenarioFolder()
            try folder.createRepository()
            try folder.growTree(seed: 7)
            snapshot = try folder.backUp()
            fingerprint = try folder.fingerprint(folder.tree)
            listing = try folder.repositoryFingerprint()
        }

        deinit { folder.remove() }

        var target: String { "\(folder.path)/target" }

        /// A restore to the target, as an earlier one has left it.
        func restoreOnce(_ fault: ScenarioFault?) throws -> LifeboatRun {
            let arguments = ["restore", snapshot, "--repository", folder.repository, "--to", target]
            guard let fault else { return try folder.lifeboat(arguments) }
            return try folder.lifeboat(arguments, fault: fault).run
        }

        /// The same command again: it ends well, all is there, and nothing else.
        func resume(_ comment: Comment) throws {
            let again = try restoreOnce(nil)
            #expect(again.exit == 0, "\(comment): \(again)")
            let restored = try folder.fingerprint(target + folder.tree)
            #expect(restored == fingerprint, comment)
            let left = try folder.shell("find '\(target)' -name '.lifeboat-*'")
            #expect(left.isEmpty, "\(comment): \(left)")
        }

        /// Every file that has a name of the tree has its content.
        func requireWholeFiles(_ comment: Comment) throws {
            let wrong = try folder.shell(
                """
                cd '\(target + folder.tree)' 2> /dev/null || exit 0
                find . -type f ! -name '.lifeboat-*' | while read -r file; do
                    cmp -s "$file" '\(folder.tree)'/"$file" || echo "$file"; done
                """)
            #expect(wrong.isEmpty, "\(comment): \(wrong)")
        }

        /// Another snapshot, of a tree that changed since.
        func laterSnapshot() throws -> String {
            _ = try folder.shell("echo more > '\(folder.tree)/more'")
            let later = try folder.backUp()
            _ = try folder.shell("rm '\(folder.tree)/more'")
            return later
        }

        /// Restores with the fault at 1, 1 + step, … until one comes through; the number of faulty runs.
        func restore(
            under kind: ScenarioFault.Kind, of calls: [String] = [], step: Int = 1,
            judge: (_ run: LifeboatRun, _ comment: Comment) throws -> Void
        ) throws -> Int {
            var runs = 0
            while true {
                let target = "\(folder.path)/target"
                try FileTree.remove(target)
                let (run, hit) = try folder.lifeboat(
                    ["restore", snapshot, "--repository", folder.repository, "--to", target],
                    fault: ScenarioFault(kind, at: 1 + runs * step, of: calls))
                if run.exit == 0 {
                    let restored = try folder.fingerprint(target + folder.tree)
                    #expect(restored == fingerprint, "done, but not the same: \(kind) at '\(hit)': \(run)")
                }
                if hit.isEmpty {
                    #expect(run.exit == 0, "\(run)")
                    break
                }
                try judge(run, "\(kind) at '\(hit)': \(run)")
                runs += 1
            }
            let problem = try folder.problemRestoring(snapshot, expecting: fingerprint)
            #expect(problem == nil, "\(problem ?? "")")
            let after = try folder.repositoryFingerprint()
            #expect(after == listing, "a restore changed the repository")
            return runs
        }
    }

    @Test(arguments: [(ENOSPC, "(ENOSPC)"), (EIO, "(EIO)")])
    func `a restore that cannot write never says done`(_ errorNumber: Int32, _ cause: String) throws {
        let loop = try Loop()
        var failures = 0
        let runs = try loop.restore(under: .error(errorNumber)) { run, comment in
            if run.exit == 0 { return }
            failures += 1
            #expect(run.exit == 1 || run.exit == 3, comment)
            #expect(run.error.contains("error: ") && run.error.contains(cause), comment)
        }
        #expect(failures > 10)
        print("restore --to, \(cause): \(runs) calls hit, \(failures) runs failed")
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal ends a restore with 130`(_ signal: Int32) throws {
        let loop = try Loop()
        var interrupted = 0
        _ = try loop.restore(under: .signal(signal), step: 5) { run, comment in
            if run.exit == 0 { return }
            interrupted += 1
            #expect(run.exit == 130, comment)
            #expect(run.error.contains("interrupted"), comment)
            #expect(!run.error.contains("Fatal error"), comment)
            try loop.resume(comment)
        }
        #expect(interrupted > 1)
        print("restore --to, signal \(signal): \(interrupted) runs interrupted")
    }

    @Test(arguments: [ScenarioFault.Kind.kill, .killAfter])
    func `a killed restore leaves whole files only, and the same command continues it`(
        _ kind: ScenarioFault.Kind
    ) throws {
        let loop = try Loop()
        _ = try loop.restore(under: kind, step: 9) { run, comment in
            #expect(run.exit == 128 + SIGKILL, comment)
            try loop.requireWholeFiles(comment)
            try loop.resume(comment)
        }
    }

    @Test func `a killed restore is continued by the same restore only, and mends what the disk lost`() throws {
        let loop = try Loop()
        let later = try loop.laterSnapshot()
        let killed = try loop.restoreOnce(ScenarioFault(.kill, at: 5, of: ["rename"], path: "file-"))
        #expect(killed.exit == 128 + SIGKILL, "\(killed)")
        let other = try loop.folder.lifeboat(
            "restore", later, "--repository", loop.folder.repository, "--to", loop.target)
        #expect(other.exit == 1 && other.error.contains("has an unfinished restore of something else"), "\(other)")
        // As after a power failure: names and sizes are there, data is not.
        _ = try loop.folder.shell(
            """
            cd '\(loop.target)'
            find . -type f -size +0 ! -name .lifeboat-restore | head -3 | while read -r file; do
                size=$(stat -c %s "$file"); truncate -s 0 "$file"; truncate -s "$size" "$file"; done
            """)
        try loop.resume("after lost data")
        let done = try loop.restoreOnce(nil)
        #expect(done.exit == 1 && done.error.contains("exists already"), "\(done)")
    }
}
