// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Backups by the built program that are killed or fail at their n-th change on disk, for n = 1, 2, … until a run comes
/// through untouched. After each: the repository is clean, what was there restores, the next run works.
@Suite struct BackupFaultScenarioTests {
    /// A repository that survives one faulty backup after the other.
    private final class Loop {
        let folder: ScenarioFolder
        private var snapshot: String
        private var fingerprint: String
        private var seed: UInt64 = 0

        init() throws {
            folder = try ScenarioFolder()
            try folder.createRepository()
            try folder.growTree(seed: 20_261_121)
            snapshot = try folder.backUp()
            fingerprint = try folder.fingerprint(folder.tree)
        }

        deinit { folder.remove() }

        /// Backups with the fault at 1, 1 + step, … until a run comes through; the number of faulty runs.
        func backUp(
            under kind: ScenarioFault.Kind, of calls: [String] = [], step: Int = 1,
            judge: (_ run: LifeboatRun, _ comment: Comment) -> Void
        ) throws -> Int {
            var runs = 0
            while try backUp(ScenarioFault(kind, at: 1 + runs * step, of: calls), judge) { runs += 1 }
            return runs
        }

        /// A backup of new data with the fault; false when the fault was not reached.
        private func backUp(
            _ fault: ScenarioFault, _ judge: (_ run: LifeboatRun, _ comment: Comment) -> Void
        ) throws -> Bool {
            seed += 1
            try folder.change(seed: seed)
            let (run, hit) = try folder.lifeboat(
                ["backup", "--repository", folder.repository, folder.tree], fault: fault)
            if hit.isEmpty {
                #expect(run.exit == 0, "\(run)")
                return false
            }
            let comment: Comment = "\(fault.kind) at '\(hit)': \(run)"
            judge(run, comment)
            try expectWhole(comment)
            return true
        }

        /// Earlier snapshots are whole and the next run needs no repair.
        private func expectWhole(_ comment: Comment) throws {
            let check = try folder.lifeboat("check", "--read-data", "--repository", folder.repository)
            #expect(check.exit == 0, "after \(comment)\n\(check)")
            let problem = try folder.problemRestoring(snapshot, expecting: fingerprint)
            #expect(problem == nil, "after \(comment)\n\(problem ?? "")")
            snapshot = try folder.backUp()
            fingerprint = try folder.fingerprint(folder.tree)
        }

        /// At the end: the last snapshot restores, and nothing is left but objects and files a later run may remove.
        func finish() throws {
            try expectWhole("the whole loop")
            let problem = try folder.problemRestoring(snapshot, expecting: fingerprint)
            #expect(problem == nil, "\(problem ?? "")")
            let known =
                "packs/??/*.tar.zst:index/*.idx:snapshots/files/*.json:snapshots/files/*.json.minisig:"
                + "README.txt:config.json:keys/config-*.minisig:leases/*"
            let names = try folder.shell("cd '\(folder.repository)' && find . -type f -printf '%P\\n'")
            for name in names.split(separator: "\n").map(String.init) where !name.hasSuffix(".lifeboat-tmp") {
                let isKnown = known.split(separator: ":").contains { fnmatch(String($0), name, FNM_PATHNAME) == 0 }
                #expect(isKnown, "\(name)")
            }
        }
    }

    @Test(arguments: [ScenarioFault.Kind.kill, .killAfter])
    func `a backup killed at any change leaves every snapshot whole`(_ kind: ScenarioFault.Kind) throws {
        let loop = try Loop()
        let runs = try loop.backUp(under: kind) { run, comment in
            #expect(run.exit == 128 + SIGKILL, comment)
        }
        #expect(runs > 20)
        print("backup, \(kind): \(runs) calls hit")
        try loop.finish()
    }

    @Test(arguments: [
        (ScenarioFault.Kind.error(ENOSPC), "no space left on device (ENOSPC)"),
        (.errorFromThere(ENOSPC), "no space left on device (ENOSPC)"),
        (.error(EIO), "(EIO)"),
    ])
    func `a backup that cannot write says so and leaves every snapshot whole`(
        _ kind: ScenarioFault.Kind, _ cause: String
    ) throws {
        let loop = try Loop()
        var failures = 0
        let runs = try loop.backUp(under: kind) { run, comment in
            // What may fail without harm: to remove a temporary file, which a later run does again.
            if run.exit == 0 { return }
            failures += 1
            #expect(run.exit == 1, comment)
            // A cache that cannot be written is a warning before it, and ends nothing.
            let lines = run.error.split(separator: "\n").drop { !$0.hasPrefix("error: ") }
            #expect(lines.contains { $0.hasPrefix("cause: ") && $0.contains(cause) }, comment)
            #expect(lines.contains { $0.hasPrefix("hint: ") }, comment)
            #expect(run.standardOutput.isEmpty, comment)
        }
        #expect(failures > 15)
        print("backup, \(kind): \(runs) calls hit, \(failures) runs failed")
        try loop.finish()
    }

    @Test func `interrupted and short writes are finished`() throws {
        let loop = try Loop()
        let runs = try loop.backUp(under: .error(EINTR), of: ["write"]) { run, comment in
            #expect(run.exit == 0, comment)
        }
        #expect(runs > 3)
        // From the first on, then from the eleventh on, …
        _ = try loop.backUp(under: .shortWrites, step: 10) { run, comment in #expect(run.exit == 0, comment) }
        try loop.finish()
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal ends a backup with 130 and leaves every snapshot whole`(_ signal: Int32) throws {
        let loop = try Loop()
        var interrupted = 0
        _ = try loop.backUp(under: .signal(signal), step: 3) { run, comment in
            // The signal may come too late to stop what is done already.
            if run.exit == 0 { return }
            interrupted += 1
            #expect(run.exit == 130, comment)
            #expect(run.error.contains("interrupted"), comment)
            #expect(!run.error.contains("Fatal error"), comment)
        }
        #expect(interrupted > 0)
        print("backup, signal \(signal): \(interrupted) runs interrupted")
        try loop.finish()
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal ends a long backup in the middle`(_ signal: Int32) throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try folder.createRepository()
        try folder.growTree(seed: 9)
        let snapshot = try folder.backUp()
        let fingerprint = try folder.fingerprint(folder.tree)
        // Several packs that do not compress; the first one being made durable is the middle.
        try folder.shell("head -c 140000000 /dev/urandom >'\(folder.tree)/large'")
        let (run, hit) = try folder.lifeboat(
            ["backup", "--repository", folder.repository, folder.tree],
            fault: ScenarioFault(.signal(signal), at: 1, of: ["link"]))
        #expect(run.exit == 130, "at '\(hit)': \(run)")
        #expect(run.error.contains("interrupted") && !run.error.contains("Fatal error"), "\(run)")
        unlink("\(folder.tree)/large")
        let problem = try folder.problemRestoring(snapshot, expecting: fingerprint)
        #expect(problem == nil, "\(problem ?? "")")
        try folder.backUp()
        let check = try folder.lifeboat("check", "--read-data", "--repository", folder.repository)
        #expect(check.exit == 0, "\(check)")
    }
}
