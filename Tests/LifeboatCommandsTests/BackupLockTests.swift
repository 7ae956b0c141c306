// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The lock of a stack while a backup runs.
struct BackupLockTests {
    /// The program of the component finds the lock free when the backup does not hold it, and fails then. In an optimized
    /// build a lock without a use after the work ended before it.
    @Test(arguments: CommandFixture.Kind.allCases)
    func `a backup holds the lock of its stack while components are captured`(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        let look = """
            set -- $(find '\(fixture.path)' -name demo.lock); test $# = 1 || exit 7
            if flock --nonblock "$1" true; then exit 8; fi; echo held
            """
        try fixture.write(look, to: "look")
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components: {state: {command: {capture: [sh, look], restore: ["true"]}}}

            """, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        let run = try fixture.run("backup")
        #expect(run.code == .done, "\(run)")
        // It is free afterwards.
        let again = try fixture.run("backup")
        #expect(again.code == .done, "\(again)")
    }
}
