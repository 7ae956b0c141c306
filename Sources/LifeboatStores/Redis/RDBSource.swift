// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO

/// The RDB file that follows an answered PSYNC, without the frame around it: `$<length>` and so many bytes, or
/// `$EOF:<mark>`, the bytes, and the same mark of 40 characters. `close` may come from any thread.
///
/// Source: `replication.c` of Redis 6.2 to 7.4, `syncWithMaster` and `readSyncBulkPayload`.
final class ReplicationSource: ByteSource {
    private enum Frame {
        case header
        case length(UInt64)
        case mark([UInt8])
        case done
    }

    private static let markLength = 40
    /// Servers 7.0.0 to 7.0.5 go on with newlines behind the mark.
    private static let newlines = 64

    private let connection: RedisConnection
    private let subject: String
    private let closed = Cancellation()
    private var frame = Frame.header
    /// What was received and not handed out; with a mark, at least its length is held back.
    private var held: [UInt8] = []
    private var heldPosition = 0
    private var received: UInt64 = 0

    init(_ connection: RedisConnection, _ subject: String) {
        self.connection = connection
        self.subject = subject
        connection.stop = closed
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if buffer.isEmpty { return 0 }
        do {
            return try next(into: buffer)
        } catch let error as RedisError {
            if case .connection(.cancelled) = error, closed.isCancelled {
                throw LifeboatError(subject, causes: ["the transfer was ended before its time"])
            }
            let told = error.lifeboatError
            if told.exitCode == .interrupted { throw told }
            var causes = ["after \(received) bytes"]
            if case .connection(.closed) = error {
                causes.append("a fork or a write to the server's disk may have failed")
            }
            throw LifeboatError(
                subject, causes: [told.message] + told.causes + causes, hint: "Look at the log of the Redis server.")
        }
    }

    private func next(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            switch frame {
            case .header: frame = try header()
            case .done: return handOut(into: buffer, keeping: 0)
            case .length(0): frame = .done
            case .length(let left):
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(UInt64(buffer.count), left))])
                let count = try receive(into: part)
                frame = .length(left - UInt64(count))
                return count
            case .mark(let mark):
                let count = handOut(into: buffer, keeping: Self.markLength + Self.newlines)
                if count > 0 { return count }
                held.removeSubrange(..<heldPosition)
                heldPosition = 0
                let start = held.count
                held += [UInt8](repeating: 0, count: 256 << 10)
                let got = try held.withUnsafeMutableBytes {
                    try receive(into: UnsafeMutableRawBufferPointer(rebasing: $0[start...]))
                }
                held.removeSubrange((start + got)...)
                if endsWith(mark) { frame = .done }
            }
        }
    }

    /// Takes the mark off when it is what the bytes end with, newlines behind it left aside.
    private func endsWith(_ mark: [UInt8]) -> Bool {
        var end = held.count
        while end > 0, held.count - end < Self.newlines, held[end - 1] == 0x0A { end -= 1 }
        guard end >= mark.count, held[(end - mark.count)..<end].elementsEqual(mark) else { return false }
        held.removeSubrange((end - mark.count)...)
        return true
    }

    private func handOut(into buffer: UnsafeMutableRawBufferPointer, keeping: Int) -> Int {
        let count = min(buffer.count, max(0, held.count - heldPosition - keeping))
        if count > 0 { buffer.copyBytes(from: held[heldPosition..<heldPosition + count]) }
        heldPosition += count
        return count
    }

    private func receive(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try connection.read(into: buffer)
        guard count > 0 else { throw RedisError.connection(.closed(address: connection.address)) }
        received += UInt64(count)
        return count
    }

    /// Bare newlines keep the connection alive while the server prepares.
    private func header() throws -> Frame {
        var line = ""
        while line.isEmpty { line = try connection.line() }
        if line.hasPrefix("-") {
            let code = line.dropFirst().prefix { $0 != " " }
            throw RedisError.refused(
                address: connection.address, command: "PSYNC", code: String(code),
                message: String(line.dropFirst(code.count + 2)))
        }
        if line.hasPrefix("$EOF:") {
            let mark = Array(line.utf8.dropFirst(5))
            guard mark.count == Self.markLength else {
                throw connection.violation("an end mark of \(mark.count) bytes")
            }
            return .mark(mark)
        }
        guard line.hasPrefix("$"), let length = UInt64(line.dropFirst()) else {
            throw connection.violation("'\(RedisConnection.shown(line))' instead of a file")
        }
        return .length(length)
    }

    func close() { closed.cancel() }
}

/// An RDB file on its way, counted and checked: the read that would give 0 throws unless the file was whole.
final class CheckedRDBSource: ByteSource {
    private let source: any ByteSource
    private let subject: String
    /// Called once, when the file was whole.
    private let completed: (RDBScanner) throws -> Void
    private var scanner: RDBScanner
    private var isDone = false

    init(
        _ source: any ByteSource, _ subject: String, now: UInt64 = 0,
        completed: @escaping (RDBScanner) throws -> Void = { _ in }
    ) {
        self.source = source
        self.subject = subject
        self.completed = completed
        scanner = RDBScanner(now: now)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if isDone || buffer.isEmpty { return 0 }
        let count = try source.read(into: buffer)
        do {
            guard count > 0 else {
                try scanner.finish()
                isDone = true
                try completed(scanner)
                return 0
            }
            try scanner.consume(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        } catch let error as RDBError {
            close()
            throw error.lifeboatError.wrapped(subject)
        }
        return count
    }

    func close() { source.close() }
}
