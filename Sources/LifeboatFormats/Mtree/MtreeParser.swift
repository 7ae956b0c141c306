// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
package import LifeboatIO

/// Reads the text `MtreeEncoder` writes, pushed in pieces of any size: `feed` bytes, take entries with `next` until it
/// gives nil, feed more, `finish` at the end. Not thread-safe.
///
/// Foreign text is refused with the line at fault, never trusted: no path leaves the root, entries are strictly
/// ascending in `treeOrder`, hard links point backwards. Whether an entry's parent is a folder is for the extraction to
/// check.
package struct MtreeParser {
    /// Bytes of a line at most: room for 100,000 extents or some hundred of the largest extended attributes.
    package static let longestLine = 16 << 20

    private var buffer: [UInt8] = []
    /// Start of the first line not parsed yet, and how far a newline was looked for.
    private var position = 0
    private var searched = 0
    private var line = 0
    private var previousPath: [UInt8]?
    private var failure: MtreeError?

    package init() {}

    /// Takes the next bytes of the text.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        dropParsed()
        unsafe buffer.append(contentsOf: bytes)
    }

    package mutating func feed(_ bytes: [UInt8]) {
        dropParsed()
        buffer.append(contentsOf: bytes)
    }

    private mutating func dropParsed() {
        guard position > 0 else { return }
        buffer.removeSubrange(..<position)
        searched -= position
        position = 0
    }

    /// The next entry; nil when the bytes fed so far hold no whole line any more. After an error every call throws it.
    package mutating func next() throws(MtreeError) -> TreeEntry? {
        if let failure { throw failure }
        do throws(MtreeError) {
            while let range = try nextLine() {
                line += 1
                if line == 1 {
                    guard buffer[range].elementsEqual(MtreeEncoder.header.dropLast()) else {
                        throw MtreeError(.notMtree, line: line)
                    }
                    continue
                }
                if !range.isEmpty, buffer[range.lowerBound] == UInt8(ascii: "#") { continue }
                let entry: TreeEntry
                do throws(MtreeError.Reason) {
                    var fields = MtreeFields(buffer, range)
                    entry = try fields.entry()
                    try checkOrder(entry)
                } catch {
                    throw MtreeError(error, line: line)
                }
                previousPath = entry.path
                return entry
            }
            return nil
        } catch {
            failure = error
            throw error
        }
    }

    /// Call at the end of the text, when `next` gives nil.
    package func finish() throws(MtreeError) {
        if let failure { throw failure }
        guard position == buffer.count, previousPath != nil else { throw MtreeError(.truncated, line: line + 1) }
    }

    /// The bytes of the next line without its newline.
    private mutating func nextLine() throws(MtreeError) -> Range<Int>? {
        let index = newline(from: searched)
        searched = index
        guard index - position <= Self.longestLine else { throw MtreeError(.lineTooLong, line: line + 1) }
        guard index < buffer.count else { return nil }
        let range = position..<index
        searched = index + 1
        position = searched
        return range
    }

    /// Where the next newline is, or the end of the bytes.
    private func newline(from start: Int) -> Int {
        unsafe buffer.withUnsafeBytes { bytes in
            guard start < bytes.count, let base = bytes.baseAddress,
                let found = unsafe memchr(base + start, 0x0A, bytes.count - start)
            else { return bytes.count }
            return unsafe UnsafeRawPointer(found) - base
        }
    }

    private func checkOrder(_ entry: TreeEntry) throws(MtreeError.Reason) {
        if let previousPath {
            guard treeOrder(previousPath, entry.path) else { throw .outOfOrder }
        } else {
            guard entry.path.isEmpty else { throw .missingRoot }
        }
        if let hardLink = entry.hardLink {
            guard !hardLink.isEmpty, treeOrder(hardLink, entry.path) else { throw .badHardLink }
        }
    }
}

extension MtreeError.Reason: Error {}

/// Pulls the entries of a tree out of a byte stream. Used on one thread.
package final class MtreeReader {
    private let source: any ByteSource
    private var parser = MtreeParser()
    private var buffer: [UInt8]
    private var atEnd = false

    /// `readSize`: bytes asked of the source at once.
    package init(_ source: any ByteSource, readSize: Int = 256 << 10) {
        self.source = source
        buffer = [UInt8](repeating: 0, count: max(1, readSize))
    }

    /// The next entry in `treeOrder`; nil at the end of a whole tree. Throws `MtreeError` and what the source throws.
    package func next() throws -> TreeEntry? {
        while true {
            if let entry = try parser.next() { return entry }
            if atEnd { return nil }
            let count = unsafe try buffer.withUnsafeMutableBytes { bytes in try unsafe source.read(into: bytes) }
            if count == 0 {
                try parser.finish()
                atEnd = true
                return nil
            }
            unsafe buffer.withUnsafeBytes { bytes in
                unsafe parser.feed(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            }
        }
    }

    /// Closes the source.
    package func close() { source.close() }
}
