// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// The digest of a file's content as some name says it should be, computed while it is read.
struct ContentDigest {
    private let expected: ContentName
    private let running: RunningDigest
    private(set) var count: UInt64 = 0

    /// `size`: of the whole content; part of what git hashes.
    init(_ expected: ContentName, size: UInt64) throws {
        self.expected = expected
        switch expected.kind {
        case .sha256: running = try RunningDigest(.sha256)
        case .gitBlob:
            running = try RunningDigest(.sha1)
            try running.update(Array("blob \(size)".utf8) + [0])
        }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) throws {
        try running.update(bytes)
        count += UInt64(bytes.count)
    }

    /// Nil when the content is what its name says, else what it is.
    mutating func mismatch() throws -> String? {
        let found = try running.finish()
        return found == expected.hex ? nil : "\(expected.kind.rawValue):\(found)"
    }

    /// Reads a whole file. Throws `ModelFileError` when its content is not what it should be.
    static func verify(_ path: String, _ expected: ContentName, _ cancellation: Cancellation) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        var digest = try ContentDigest(expected, size: try size(file.raw, path))
        try read(file.raw, path, cancellation) { try digest.update($0) }
        if let found = try digest.mismatch() { throw damaged(found, expected) }
    }

    /// SHA-256 of a whole file.
    static func sha256(_ path: String, _ cancellation: Cancellation) throws -> String {
        let file = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        let digest = try RunningDigest(.sha256)
        try read(file.raw, path, cancellation) { try digest.update($0) }
        return try digest.finish()
    }

    static func damaged(_ found: String, _ expected: ContentName) -> ModelFileError {
        ModelFileError("its content is \(found) instead of \(expected.text)")
    }

    private static func size(_ descriptor: Int32, _ path: String) throws -> UInt64 {
        do throws(Errno) {
            return try FileStatus.of(descriptor).size
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }

    private static func read(
        _ descriptor: Int32, _ path: String, _ cancellation: Cancellation,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        // Advice: a failure changes nothing.
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            try cancellation.check()
            let count = try DescriptorIO.read(descriptor, into: buffer, path)
            if count == 0 { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }
}
