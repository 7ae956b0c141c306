// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Keeps what is reported.
final class RecordedProgress: ProgressSink {
    private let recorded = Monitor<[ProgressEvent]>([])
    func report(_ event: ProgressEvent) { recorded.withLock { $0.append(event) } }
    var events: [ProgressEvent] { recorded.withLock { $0 } }
}

func openPart(_ point: any CapturePoint, _ name: String) throws -> any ByteSource {
    for part in point.parts {
        if case .stream(name, let open) = part { return try open() }
    }
    throw LifeboatError("no part '\(name)'")
}

extension PostgresStore {
    /// Captures everything; `during` runs after the point in time was fixed.
    func captureAll(during: () throws -> Void = {}) throws -> CapturedContent {
        try CapturedContent(self, during: during)
    }

    /// Everything up to the swap.
    func stageAll(_ content: CapturedContent, _ restoreID: String) throws -> StagedState {
        let state = try planStaging(restoreID)
        try stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        return state
    }
}

extension PostgresCluster {
    func store(
        _ database: String, binaries: String? = nil, globals: Bool = true, password: Secret? = nil,
        user: String? = nil
    ) -> PostgresStore {
        PostgresStore(
            endpoint: PostgresEndpoint(
                host: host, port: port, user: user ?? self.user, password: password ?? self.password),
            database: database, binaries: binaries ?? self.binaries, globals: globals,
            runner: SystemProcessRunner(grace: 1))
    }

    /// A database of some tables and rows; with `owner` all of it belongs to that role, which is made: LOGIN, CREATEDB.
    func makeDatabase(_ name: String, rows: Int = 1000, owner: String? = nil) throws {
        if let owner { try psql("CREATE ROLE \(quoted(owner)) LOGIN CREATEDB") }
        try psql("CREATE DATABASE \(quoted(name))\(owner.map { " OWNER \(quoted($0))" } ?? "")")
        try psql(
            """
            \(owner.map { "SET ROLE \(quoted($0));" } ?? "")
            CREATE TABLE documents (id bigserial PRIMARY KEY, title text NOT NULL, body text);
            INSERT INTO documents (title, body)
            SELECT 'document ' || i, repeat(md5(i::text), 8) FROM generate_series(1, \(rows)) i;
            """, database: name)
    }

    func databases(like pattern: String) throws -> [String] {
        try psql("SELECT datname FROM pg_database WHERE datname LIKE '\(pattern)' ORDER BY 1")
            .split(separator: "\n").map(String.init)
    }

    func quoted(_ name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }
}

/// A script that stands in for a program, in a folder with links to the real others.
func fakeTools(_ cluster: PostgresCluster, _ name: String, _ script: String) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for tool in ["pg_dump", "pg_dumpall", "pg_restore"] where tool != name {
        guard symlink("\(cluster.binaries)/\(tool)", "\(folder.path)/\(tool)") == 0 else {
            throw SystemCallError("link", tool)
        }
    }
    let path = "\(folder.path)/\(name)"
    let descriptor = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT, mode: 0o755)
    let text = Array("#!/bin/sh\nreal='\(cluster.binaries)/\(name)'\n\(script)\n".utf8)
    try text.withUnsafeBytes { try DescriptorIO.write(descriptor.raw, $0, path) }
    return folder
}
