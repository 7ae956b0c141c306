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

        /// Restores with the fault at 1, 1 + step, … until one comes through; the number of faulty runs.
        func restore(
            under kind: ScenarioFault.Kind, of calls: [String] = [], step: Int = 1,
            judge: (_ run: LifeboatRun, _ comment: Comment) -> Void
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
                judge(run, "\(kind) at '\(hit)': \(run)")
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
        }
        #expect(interrupted > 1)
        print("restore --to, signal \(signal): \(interrupted) runs interrupted")
    }

    @Test func `a killed restore leaves the repository as it was`() throws {
        let loop = try Loop()
        _ = try loop.restore(under: .kill, step: 7) { run, comment in #expect(run.exit == 128 + SIGKILL, comment) }
    }
}
