// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// A stream as the one file of a `multipart/form-data` body (RFC 7578) of known length. Used on one thread.
final class MultipartBody {
    private let source: any ByteSource
    private let size: UInt64
    private let boundary: String
    private let head: [UInt8]
    private let tail: [UInt8]
    private var headSent = 0
    private var tailSent = 0
    private var sent: UInt64 = 0

    /// `file` holds no quote and no control character.
    init(_ source: any ByteSource, size: UInt64, name: String, file: String) {
        self.source = source
        self.size = size
        // 128 bits of chance: what is uploaded does not hold them.
        boundary =
            "lifeboat-"
            + [0, 0].map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined(separator: "-")
        head = Array(
            ("--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"; filename=\"\(file)\"\r\n"
                + "Content-Type: application/octet-stream\r\n\r\n").utf8)
        tail = Array("\r\n--\(boundary)--\r\n".utf8)
    }

    var contentType: String { "multipart/form-data; boundary=\(boundary)" }
    var length: UInt64 { size + UInt64(head.count + tail.count) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if headSent < head.count { return Self.copy(head, &headSent, buffer) }
        if sent < size {
            let wanted = Int(min(UInt64(buffer.count), size - sent))
            let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
            guard count > 0 else {
                throw LifeboatError("an upload ended after \(sent) of \(size) bytes")
            }
            sent += UInt64(count)
            // The end of the source is where its checks are.
            if sent == size { try expectEnd() }
            return count
        }
        return Self.copy(tail, &tailSent, buffer)
    }

    private func expectEnd() throws {
        var byte: UInt8 = 0
        let rest = try withUnsafeMutableBytes(of: &byte) { try source.read(into: $0) }
        guard rest == 0 else { throw LifeboatError("an upload is longer than its \(size) bytes") }
    }

    private static func copy(_ bytes: [UInt8], _ sent: inout Int, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, bytes.count - sent)
        buffer.copyBytes(from: bytes[sent..<sent + count])
        sent += count
        return count
    }
}
