// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO

/// The chunks of a content, front to back, with their place in it. Used on one thread.
package final class ChunkSequence {
    private let reader: ChunkReader
    private let reference: ContentReference
    private let list: ContentSource?
    private var started = false
    private var offset: UInt64 = 0
    private let depthLimit: UInt8 = 8

    package init(_ reader: ChunkReader, _ reference: ContentReference) throws {
        guard reference.depth <= depthLimit else {
            throw LifeboatError(
                "content '\(reference.id.shortHex)' has a depth of \(reference.depth)",
                causes: ["no content is that deep"], exitCode: .damagedRepository)
        }
        self.reader = reader
        self.reference = reference
        list =
            reference.depth == 0 || reference.size == 0
            ? nil
            : try ContentSource(
                reader,
                ContentReference(id: reference.id, depth: reference.depth - 1, size: ContentSource.unknownSize))
    }

    /// The next chunk: its id, where it starts in the content, its length. Nil at the end, when the lengths add up to
    /// the size of the content; anything else throws.
    package func next() throws -> (id: Digest, offset: UInt64, length: UInt32)? {
        if let list {
            var record = [UInt8](repeating: 0, count: ChunkList.recordSize)
            let count = try record.withUnsafeMutableBytes { try list.readFully(into: $0) }
            guard count > 0 else {
                try checkSize()
                return nil
            }
            guard count == ChunkList.recordSize else { throw damaged("its list of chunks ends inside a record") }
            let (id, length) = record.withUnsafeBytes { ChunkList.decode($0) }
            let start = offset
            let (end, overflow) = offset.addingReportingOverflow(UInt64(length))
            guard !overflow, end <= reference.size else {
                throw damaged("its chunks have more than the \(reference.size) bytes it is said to have")
            }
            offset = end
            return (id, start, length)
        }
        guard !started, reference.size > 0 else {
            if started { try checkSize() }
            return nil
        }
        started = true
        // The one chunk of depth 0: its length is the size, unless that is not known.
        let length =
            reference.size == ContentSource.unknownSize
            ? try reader.withChunk(reference.id) { UInt32($0.count) } : UInt32(clamping: reference.size)
        offset = UInt64(length)
        return (reference.id, 0, length)
    }

    private func checkSize() throws {
        guard reference.size == ContentSource.unknownSize || reference.size == offset else {
            throw damaged("its chunks have \(offset) bytes, not the \(reference.size) it is said to have")
        }
    }

    private func damaged(_ reason: String) -> LifeboatError {
        LifeboatError(
            "content '\(reference.id.shortHex)' is damaged", causes: [reason],
            hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
    }
}

/// The bytes of a content as a stream; every byte was verified against the digest of its chunk.
package final class ContentSource: ByteSource {
    /// For lists, whose size nobody wrote down.
    static let unknownSize = UInt64.max

    private let reader: ChunkReader
    private let chunks: ChunkSequence
    private var current: [UInt8] = []
    private var position = 0

    package init(_ reader: ChunkReader, _ reference: ContentReference) throws {
        self.reader = reader
        chunks = try ChunkSequence(reader, reference)
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard buffer.count > 0 else { return 0 }
        while position == current.count {
            guard let chunk = try chunks.next() else { return 0 }
            try reader.withChunk(chunk.id) { bytes in
                guard bytes.count == Int(chunk.length) else {
                    throw LifeboatError(
                        "chunk '\(chunk.id.shortHex)' has \(bytes.count) bytes where \(chunk.length) were expected",
                        exitCode: .damagedRepository)
                }
                current.removeAll(keepingCapacity: true)
                current.append(contentsOf: bytes)
            }
            position = 0
        }
        let count = min(buffer.count, current.count - position)
        current.withUnsafeBytes { bytes in
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position..<position + count]))
        }
        position += count
        return count
    }

    package func close() {}

    /// Reads until `buffer` is full or the content ends; returns the bytes read.
    package func readFully(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < buffer.count {
            let count = try read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
            if count == 0 { break }
            done += count
        }
        return done
    }
}
