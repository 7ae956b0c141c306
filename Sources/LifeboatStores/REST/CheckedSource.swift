// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// A stream of a promised length and SHA-256: the read that would give 0 throws unless both hold.
final class CheckedSource: ByteSource {
    private let source: any ByteSource
    private let size: UInt64
    private let sha256: String?
    private let subject: String
    private let atEnd: () throws -> Void
    private var digest: SHA256?
    private var count: UInt64 = 0
    private var isDone = false

    /// `sha256` nil: only the length is checked. `atEnd` runs once, after the checks.
    init(
        _ source: any ByteSource, size: UInt64, sha256: String?, _ subject: String,
        atEnd: @escaping () throws -> Void = {}
    ) {
        self.source = source
        self.size = size
        self.sha256 = sha256
        self.subject = subject
        self.atEnd = atEnd
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if isDone || buffer.isEmpty { return 0 }
        let digest = try self.digest ?? SHA256()
        self.digest = digest
        let got = try source.read(into: buffer)
        if got > 0 {
            try digest.update(UnsafeRawBufferPointer(rebasing: buffer[..<got]))
            count += UInt64(got)
            guard count <= size else { throw LifeboatError("\(subject) is longer than its \(size) bytes") }
            return got
        }
        guard count == size else {
            throw LifeboatError("\(subject) is cut off", causes: ["\(count) of \(size) bytes came"])
        }
        let found = try digest.finish()
        if let sha256, found != sha256.lowercased() {
            throw LifeboatError(
                "\(subject) was damaged on its way", causes: ["its SHA-256 is \(found), the server's is \(sha256)"],
                hint: "Run it again; when it happens again, check the server's disk and memory.")
        }
        try atEnd()
        isDone = true
        return 0
    }

    func close() { source.close() }
}
