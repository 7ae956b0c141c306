// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// A captured database in memory.
final class CapturedPostgres: RestoreContent {
    let engineVersion: String?
    let facts: StoreFacts
    let streams: [String: [UInt8]]

    init(engineVersion: String?, facts: StoreFacts, streams: [String: [UInt8]]) {
        self.engineVersion = engineVersion
        self.facts = facts
        self.streams = streams
    }

    func openStream(_ name: String) throws -> any ByteSource {
        guard let bytes = streams[name] else { throw LifeboatError("no stream '\(name)'") }
        return ArraySource(bytes)
    }

    func streamSize(_ name: String) -> UInt64? { streams[name].map { UInt64($0.count) } }

    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        throw LifeboatError("no tree '\(name)'")
    }

    func changing(
        engineVersion: String? = nil, facts change: (inout StoreFacts) -> Void = { _ in },
        streams edit: (inout [String: [UInt8]]) -> Void = { _ in }
    ) -> CapturedPostgres {
        var facts = facts
        var streams = streams
        change(&facts)
        edit(&streams)
        return CapturedPostgres(engineVersion: engineVersion ?? self.engineVersion, facts: facts, streams: streams)
    }
}

final class ArraySource: ByteSource {
    private let bytes: [UInt8]
    private var position = 0
    init(_ bytes: [UInt8]) { self.bytes = bytes }
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = min(buffer.count, bytes.count - position)
        buffer.copyBytes(from: bytes[position..<position + count])
        position += count
        return count
    }
    func close() {}
}

/// Keeps what is reported.
final class RecordedProgress: ProgressSink {
    private let recorded = Monitor<[ProgressEvent]>([])
    func report(_ event: ProgressEvent) { recorded.withLock { $0.append(event) } }
    var events: [ProgressEvent] { recorded.withLock { $0 } }
}

func readAll(_ source: any ByteSource) throws -> [UInt8] {
    defer { source.close() }
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 50_000)
    while true {
        let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
        if count == 0 { return all }
        all.append(contentsOf: buffer[..<count])
    }
}

func openPart(_ point: any CapturePoint, _ name: String) throws -> any ByteSource {
    for part in point.parts {
        if case .stream(name, let open) = part { return try open() }
    }
    throw LifeboatError("no part '\(name)'")
}

extension PostgresStore {
    /// Captures everything; `during` runs after the point in time was fixed.
    func captureAll(
        _ cancellation: Cancellation = Cancellation(), during: () throws -> Void = {}
    ) throws -> CapturedPostgres {
        let version = try probe().engineVersion
        let point = try fixPoint(cancellation)
        defer { point.release() }
        try during()
        var streams: [String: [UInt8]] = [:]
        for part in point.parts {
            if case .stream(let name, let open) = part { streams[name] = try readAll(try open()) }
        }
        return CapturedPostgres(engineVersion: version, facts: try point.facts(), streams: streams)
    }

    /// Everything up to the swap.
    func stageAll(_ content: CapturedPostgres, _ restoreID: String) throws -> StagedState {
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

    /// A database of some tables and rows.
    func makeDatabase(_ name: String, rows: Int = 1000) throws {
        try psql("CREATE DATABASE \(quoted(name))")
        try psql(
            """
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
