// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Drills with the built program, killed.
@Suite(.enabled(if: PostgresCluster.shouldRun, "\(PostgresCluster.skipReason)"))
struct DrillScenarioTests {
    /// What a drill has made below its sandbox when it is killed.
    private static let moments = [
        "", "e0/data/PG_VERSION", "e0/data/postmaster.pid", "e0/data/base/1638?/PG_VERSION", "root/*/*/tree/note-1",
    ]

    @Test func `a drill that is killed leaves nothing that the next does not remove, and touches nothing live`() throws
    {
        let cluster = try PostgresCluster.shared()
        let stack = try ScenarioStack(cluster, database: "drill_killed_\(getpid())")
        defer { stack.remove() }
        let folder = stack.folder
        let place = try TemporaryFolder(prefix: "lbdrills-", in: "/tmp")
        defer { try? place.remove() }
        guard chmod(place.path, 0o755) == 0 else { throw SystemCallError("open up", place.path) }
        try folder.succeed("backup")
        let files = try folder.fingerprint(folder.tree)
        for moment in Self.moments {
            let drill = try folder.binary.start(
                ["drill", "--folder", place.path], environment: folder.environment, in: folder.path)
            for _ in 0..<6000 {
                let sandbox = "\(place.path)/lifeboat-drill-*\(moment.isEmpty ? "" : "/\(moment)")"
                if try !folder.shell("ls -d \(sandbox) 2>/dev/null | head -n 1").isEmpty { break }
                usleep(10_000)
            }
            #expect(drill.send(SIGKILL), "it ended before '\(moment)' was there")
            _ = try drill.wait()
            #expect(try folder.shell("ls '\(folder.state)/drills'").contains(".json"), "killed at '\(moment)'")
            let next = try folder.lifeboat("drill", "--folder", place.path, "--component", "documents")
            #expect(next.exit == 0 && next.error.contains("cleared up after drill"), "\(moment): \(next)")
            #expect(try leftovers(folder, place.path).isEmpty, "killed at '\(moment)'")
        }
        #expect(try stack.liveWord() == "old" && stack.servicesRun && stack.leftovers().isEmpty)
        #expect(try folder.fingerprint(folder.tree) == files)
        let kept = try folder.lifeboat("drill", "--folder", place.path, "--keep")
        #expect(kept.exit == 0, "\(kept)")
        #expect(try leftovers(folder, place.path).count >= 2)
        // One that was asked to stay is nobody's to remove but who asks for it.
        try folder.succeed("drill", "--folder", place.path, "--component", "documents")
        #expect(try leftovers(folder, place.path).count >= 2)
        try folder.succeed("drill", "clean")
        #expect(try leftovers(folder, place.path).isEmpty)
    }

    /// Files, records and processes of sandboxes.
    private func leftovers(_ folder: ScenarioFolder, _ place: String) throws -> [String] {
        try folder.shell(
            """
            ls '\(place)'; ls '\(folder.state)/drills' | grep -v 'lock$'
            for p in /proc/[0-9]*; do case "$(readlink $p/cwd)" in '\(place)'/*) echo $p ;; esac; done; :
            """
        ).split(separator: "\n").map(String.init)
    }
}
