// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// The output of pg_dump, checked as it streams by: the read that would give 0 throws unless pg_dump ended with 0 and
/// the archive was whole.
final class PostgresDumpSource: ByteSource {
    private let running: PostgresClient.Running
    private var process: any RunningProcess { running.process }
    private let subject: String
    private var scanner = CustomArchiveScanner()
    private var isDone = false
    private var isClosed = false

    init(_ client: PostgresClient, database: String, snapshot: String, cancellation: Cancellation) throws {
        subject = "cannot dump database '\(database)' on \(client.endpoint.address)"
        // Without a limit the dump would wait for ever behind a forgotten ALTER TABLE.
        running = try client.start(
            "pg_dump",
            ["--format=custom", "--compress=0", "--lock-wait-timeout=60000", "--snapshot=\(snapshot)"]
                + TablePlaces.patterns.map { "--exclude-schema=\($0)" },
            database: database, readsInput: false, cancellation)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if isDone || buffer.isEmpty { return 0 }
        if isClosed { throw LifeboatError(subject, causes: ["the dump was closed before its end"]) }
        let count = try process.read(into: buffer)
        if count > 0 {
            do {
                try scanner.consume(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            } catch {
                close()
                throw error.lifeboatError.wrapped(subject)
            }
            return count
        }
        let result = try process.finish()
        isClosed = true
        guard result.termination.succeeded else {
            throw LifeboatError(
                subject,
                causes: ["pg_dump: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError))
        }
        do {
            try scanner.finish()
        } catch {
            throw error.lifeboatError.wrapped(
                subject, hint: "pg_dump ended with status 0 all the same: check that it is the real program.")
        }
        isDone = true
        return 0
    }

    func close() {
        if isClosed { return }
        isClosed = true
        process.terminate(grace: 2)
    }

    deinit { close() }
}

/// Bytes already in memory as a source.
final class MemorySource: ByteSource {
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

extension ByteSource {
    /// All of a small stream; more than `limit` is an error.
    func readAll(limit: Int, _ subject: String) throws -> [UInt8] {
        defer { close() }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try read(into: $0) }
            if count == 0 { return all }
            guard all.count + count <= limit else { throw LifeboatError("\(subject) is larger than \(limit) bytes") }
            all.append(contentsOf: buffer[..<count])
        }
    }
}
