// SPDX-License-Identifier: Apache-2.0

import LifeboatIO

/// A stream that tells how far it was read.
final class CountingSource: ByteSource {
    private let source: any ByteSource
    private let report: (UInt64) throws -> Void
    private var count: UInt64 = 0

    /// `report` gets the bytes read so far; what it throws ends the reading.
    init(_ source: any ByteSource, _ report: @escaping (UInt64) throws -> Void) {
        self.source = source
        self.report = report
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let got = try source.read(into: buffer)
        count += UInt64(got)
        try report(count)
        return got
    }

    func close() { source.close() }
}
