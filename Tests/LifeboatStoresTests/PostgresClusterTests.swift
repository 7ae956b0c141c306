// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatTesting
import Testing

/// The harness itself: what the other suites rely on.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresClusterTests {
    @Test func startsStopsCrashesAndRestarts() throws {
        let cluster = try PostgresCluster.start(password: Secret("it's"))
        defer { cluster.remove() }
        #expect(try cluster.psql("SELECT 40 + 2") == "42")
        try cluster.psql("CREATE TABLE t AS SELECT 1 AS n")
        try cluster.stop()
        #expect(throws: LifeboatError.self) { try cluster.psql("SELECT 1") }
        try cluster.start()
        try cluster.kill()
        try cluster.start()
        #expect(try cluster.psql("SELECT count(*) FROM t") == "1")
    }
}
