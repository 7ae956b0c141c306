// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A source that is drained from the moment it is made, by a thread of its own, until its reader comes: for servers and
/// programs whose point in time is fixed now but whose bytes are wanted later.
///
/// What comes before the reader is kept in memory up to a limit, then in a file without a name (or the source waits).
/// From the first `read` on everything goes straight through. `close` may come from any thread; the source's own `close`
/// has to bear that, too.
final class SpooledSource: ByteSource, @unchecked Sendable {
    // Sendable: `source` is used by the spooling thread until it has been joined, then by the reader alone; everything
    // else is behind the monitor.
    enum Overflow {
        /// An unnamed file in this folder.
        case file(folder: String)
        /// The source waits for its reader.
        case wait
    }

    private struct State {
        var pieces: [[UInt8]] = []
        var pieceBytes = 0
        var fileBytes: UInt64 = 0
        var isAttached = false
        var isClosed = false
        var isAtEnd = false
        var failure: (any Error)?
    }

    static let memoryLimit = 8 << 20
    private static let pieceSize = 256 << 10

    private let source: any ByteSource
    private let overflow: Overflow
    private let limit: Int
    private let state = Monitor(State())
    private let spool = Monitor<UnnamedFile?>(nil)
    private let thread: Monitor<BlockingThread<Void>?>
    private var isJoined = false
    private var piece: [UInt8] = []
    private var piecePosition = 0
    private var filePosition: UInt64 = 0

    init(_ source: any ByteSource, overflow: Overflow, memoryLimit: Int = SpooledSource.memoryLimit) {
        self.source = source
        self.overflow = overflow
        limit = memoryLimit
        thread = Monitor(nil)
        // Until the thread is joined it holds this object: `close` or a reader ends it.
        let running = BlockingThread<Void>(name: "spool") { self.drain() }
        thread.withLock { $0 = running }
    }

    // MARK: The spooling thread

    private func drain() {
        do {
            var buffer = [UInt8](repeating: 0, count: Self.pieceSize)
            while waitForRoom() {
                let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
                if count == 0 {
                    state.update { $0.isAtEnd = true }
                    return
                }
                try keep(Array(buffer[..<count]))
            }
        } catch {
            state.update { $0.failure = error }
        }
    }

    /// False: the reader has come, or nobody wants the rest.
    private func waitForRoom() -> Bool {
        state.wait { state -> Bool? in
            if state.isAttached || state.isClosed { return false }
            if case .wait = overflow, state.pieceBytes >= limit { return nil }
            return true
        }
    }

    private func keep(_ bytes: [UInt8]) throws {
        let offset: UInt64? = state.withLock { state in
            // Once in the file, always in the file: the order must stay.
            if state.fileBytes == 0, state.pieceBytes + bytes.count <= limit || !spillsToFile {
                state.pieces.append(bytes)
                state.pieceBytes += bytes.count
                return nil
            }
            return state.fileBytes
        }
        guard let offset, case .file(let folder) = overflow else { return }
        try spool.withLock { file in
            let open = try file ?? UnnamedFile(in: folder)
            file = open
            try bytes.withUnsafeBytes {
                try DescriptorIO.write(open.raw, at: offset, $0, "the spool file in \(folder)")
            }
        }
        state.withLock { $0.fileBytes += UInt64(bytes.count) }
    }

    private var spillsToFile: Bool {
        if case .file = overflow { return true }
        return false
    }

    // MARK: The reader

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard !buffer.isEmpty else { return 0 }
        if !isJoined {
            state.update { $0.isAttached = true }
            try thread.withLock { $0.take() }?.join()
            isJoined = true
        }
        if piecePosition == piece.count,
            let next = state.withLock({ $0.pieces.isEmpty ? nil : $0.pieces.removeFirst() })
        {
            piece = next
            piecePosition = 0
        }
        if piecePosition < piece.count {
            let count = min(buffer.count, piece.count - piecePosition)
            buffer.copyBytes(from: piece[piecePosition..<piecePosition + count])
            piecePosition += count
            return count
        }
        let (fileBytes, failure, isAtEnd, isClosed) = state.withLock {
            ($0.fileBytes, $0.failure, $0.isAtEnd, $0.isClosed)
        }
        if isClosed { throw LifeboatError("the stream was closed before its end") }
        if filePosition < fileBytes { return try readFile(into: buffer, upTo: fileBytes) }
        if let failure { throw failure }
        return isAtEnd ? 0 : try source.read(into: buffer)
    }

    private func readFile(into buffer: UnsafeMutableRawBufferPointer, upTo end: UInt64) throws -> Int {
        let wanted = Int(min(UInt64(buffer.count), end - filePosition))
        return try spool.withLock { file in
            guard let open = file else { throw LifeboatError("the spool file is gone") }
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
            let count = try DescriptorIO.read(open.raw, at: filePosition, into: part, "the spool file")
            guard count == wanted else { throw LifeboatError("the spool file is shorter than what was written to it") }
            filePosition += UInt64(count)
            if filePosition == end { file = nil }
            return count
        }
    }

    func close() {
        let wasClosed = state.update { state -> Bool in
            defer { state.isClosed = true }
            return state.isClosed
        }
        if wasClosed { return }
        source.close()
        _ = try? thread.withLock { $0.take() }?.join()  // `drain` throws nothing
        spool.withLock { $0 = nil }
    }
}

/// A file that is gone when it is closed, however the process ends.
/// A file without a name: gone when nobody uses it any more.
final class UnnamedFile: Sendable {
    let raw: Int32

    init(in folder: String) throws(SystemCallError) {
        let path = "\(folder)/lifeboat-spool-\(getpid())-\(UInt64.random(in: .min ... .max))"
        raw = try OwnedDescriptor.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW).release()
        unlink(path)
    }

    deinit { close(raw) }
}
