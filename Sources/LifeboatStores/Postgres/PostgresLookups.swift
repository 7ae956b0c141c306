// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// What was found out about a server and its client programs, so that the probe before a backup spares the time inside
/// the freeze. Shared by copies of a store.
final class PostgresLookups: Sendable {
    private struct Found {
        var tools: [String: PostgresTools] = [:]
        var endpoint: PostgresEndpoint?
    }

    private let found = Monitor(Found())

    func tools(_ key: String, _ find: () throws -> PostgresTools) throws -> PostgresTools {
        if let tools = found.withLock({ $0.tools[key] }) { return tools }
        let tools = try find()
        found.withLock { $0.tools[key] = tools }
        return tools
    }

    /// Opens a session. Where the server was last is tried first: a container that was started again may be elsewhere.
    func connect(
        _ endpoint: PostgresEndpoint, _ database: String, _ runner: any ProcessRunner, _ cancellation: Cancellation?
    ) throws -> PostgresConnection {
        if let last = found.withLock({ $0.endpoint }) {
            do {
                return try PostgresConnection(last, database: database, cancellation: cancellation)
            } catch PostgresError.unreachable where endpoint.host.isEmpty {
                found.withLock { $0 = Found() }
            }
        }
        let reachable = try endpoint.reachable(runner)
        let connection = try PostgresConnection(reachable, database: database, cancellation: cancellation)
        found.withLock { $0.endpoint = reachable }
        return connection
    }
}
