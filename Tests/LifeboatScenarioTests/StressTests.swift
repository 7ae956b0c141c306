// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
import LifeboatTesting
import Testing

@Suite struct StressTests {
    /// The short form of scripts/stress: backups, restores and prunes on one repository, killed and stopped at random.
    @Test func eightProcessesOnOneRepositoryLoseNothing() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let run = try SystemProcessRunner().run(
            ProcessCommand(
                "python3",
                ["/\(root)/scripts/stress.d/stress.py", "--binary", try BinaryRunner().path, "--seconds", "10"]),
            deadline: 150)
        #expect(
            run.termination.succeeded, "\(String(decoding: run.standardOutput, as: UTF8.self)) \(run.standardError)")
    }
}
