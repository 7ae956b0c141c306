// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// The lines of a stream. Used on one thread.
final class LineReader {
    private let source: any ByteSource
    private let limit: Int
    private let subject: String
    private var buffer = [UInt8](repeating: 0, count: 256 << 10)
    private var filled = 0
    private var position = 0

    /// Lines longer than `limit` bytes are an error.
    init(_ source: any ByteSource, limit: Int, _ subject: String) {
        self.source = source
        self.limit = limit
        self.subject = subject
    }

    /// The next line without its end; nil at the end of the stream. A last line without an end is an error.
    func next() throws -> [UInt8]? {
        var line: [UInt8] = []
        while true {
            if position == filled {
                filled = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
                position = 0
                if filled == 0 {
                    guard line.isEmpty else { throw LifeboatError("\(subject) end within a line") }
                    return nil
                }
            }
            let rest = buffer[position..<filled]
            if let end = rest.firstIndex(of: 0x0A) {
                line += rest[..<end]
                position = end + 1
                return line
            }
            line += rest
            position = filled
            guard line.count <= limit else { throw LifeboatError("\(subject) have a line of more than \(limit) bytes") }
        }
    }
}
