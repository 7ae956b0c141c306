// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatFormats
import LifeboatIO

/// The text of a tree in a file that has no name: written once, then read once. Used on one thread at a time.
final class TreeSpool {
    private let file: OwnedDescriptor
    private let folder: String
    private var count: UInt64 = 0

    init(in folder: String) throws {
        self.folder = folder
        file = try OwnedDescriptor.unnamed(in: folder)
    }

    func append(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try DescriptorIO.write(file.raw, at: count, $0, "a file in \(folder)") }
        count += UInt64(bytes.count)
    }

    /// The tree that was written. The spool must outlive it.
    func reader() -> MtreeReader { MtreeReader(SpoolSource(self)) }

    private final class SpoolSource: ByteSource {
        private let spool: TreeSpool
        private var position: UInt64 = 0

        init(_ spool: TreeSpool) { self.spool = spool }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            let read = try DescriptorIO.read(
                spool.file.raw, at: position, into: buffer, "a file in \(spool.folder)")
            position += UInt64(read)
            return read
        }

        func close() {}
    }
}
