// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Walks the members of a byte range of a ustar archive as `TarMemberWriter` writes them: regular files with plain
/// names, then perhaps the end marker. Everything else is refused; nothing outside the range is ever touched.
///
/// Used where packs are read without an index: to rebuild indexes and to check.
@safe
package struct TarMemberReader {
    /// One member.
    package struct Member: Sendable, Equatable {
        /// Its name, ASCII.
        package var name: String
        /// Where its data lies in the range.
        package var data: Range<Int>

        /// The chunk id the name spells; nil when it is another name.
        package var digest: Digest? { Digest(hex: name) }
    }

    private let bytes: UnsafeRawBufferPointer
    private let count: Int
    private var position = 0
    /// The end marker was read: it was the last thing of the range.
    package private(set) var sawEndMarker = false

    /// Reads `bytes`, which must stay valid as long as the reader is used.
    package init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes = unsafe bytes
        count = bytes.count
    }

    /// The next member; nil at the end of the range, or at an end marker that ends the range.
    package mutating func next() throws(FormatError) -> Member? {
        guard position < count else { return nil }
        guard count - position >= Self.blockSize else {
            throw FormatError(
                .truncated, Self.operation, "\(count - position) bytes are left where a header begins")
        }
        let header = unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<position + Self.blockSize])
        if unsafe isZero(header) {
            try readEndMarker()
            return nil
        }
        try unsafe checkSum(of: header)
        // magic "ustar" NUL, version "00", type "0": a regular file of POSIX.1-1988.
        guard unsafe header[257..<265].elementsEqual([0x75, 0x73, 0x74, 0x61, 0x72, 0, 0x30, 0x30]) else {
            throw failure("it is not of the ustar format")
        }
        guard unsafe header[156] == 0x30, unsafe isZero(UnsafeRawBufferPointer(rebasing: header[157..<257]))
        else {
            throw FormatError(.unsupported, Self.operation, "at byte \(position): not a plain file")
        }
        // The field before the name holds the folders of a name that is too long for its own field.
        let isShort = unsafe header[345] == 0
        let folders = isShort ? "" : try unsafe text(in: header, 345..<500) + "/"
        if isShort, unsafe !isZero(UnsafeRawBufferPointer(rebasing: header[345..<500])) {
            throw failure("something follows the empty folder of its name")
        }
        let name = try unsafe folders + text(in: header, 0..<TarMemberWriter.maximumNameLength)
        let size = try unsafe octal(in: header, 124..<136)
        let start = position + Self.blockSize
        guard size <= count - start else {
            throw FormatError(
                .truncated, Self.operation, "'\(name)' has \(size) bytes, \(count - start) of them are there")
        }
        let padding = TarMemberWriter.paddingSize(dataSize: size)
        guard padding <= count - start - size else {
            throw FormatError(.truncated, Self.operation, "the padding of '\(name)' is cut short")
        }
        let end = start + size + padding
        guard unsafe isZero(UnsafeRawBufferPointer(rebasing: bytes[start + size..<end])) else {
            throw failure("the padding of '\(name)' is not zero")
        }
        position = end
        return Member(name: name, data: start..<start + size)
    }

    private static let blockSize = TarMemberWriter.blockSize
    private static let operation = "read a tar member"

    private func failure(_ text: String) -> FormatError {
        FormatError(.damaged, Self.operation, "at byte \(position): \(text)")
    }

    private mutating func readEndMarker() throws(FormatError) {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[position...])
        guard count - position >= TarMemberWriter.endMarkerSize else {
            throw FormatError(.truncated, Self.operation, "the end marker is cut short")
        }
        guard count - position == TarMemberWriter.endMarkerSize, unsafe isZero(rest) else {
            throw failure("something follows the end marker")
        }
        position = count
        sawEndMarker = true
    }

    /// The sum of all header bytes, the checksum field taken as blanks, is what that field says.
    private func checkSum(of header: UnsafeRawBufferPointer) throws(FormatError) {
        var sum = 8 * 0x20
        for index in 0..<Self.blockSize where !(148..<156).contains(index) {
            sum += unsafe Int(header[index])
        }
        guard try unsafe octal(in: header, 148..<156) == sum else { throw failure("the header's checksum is wrong") }
    }

    private func text(in header: UnsafeRawBufferPointer, _ range: Range<Int>) throws(FormatError) -> String {
        let field = unsafe header[range]
        let length = unsafe (field.firstIndex(of: 0) ?? range.upperBound) - range.lowerBound
        let bytes = unsafe field[range.lowerBound..<range.lowerBound + length]
        guard length > 0, unsafe bytes.allSatisfy({ (0x21...0x7E).contains($0) }),
            unsafe isZero(UnsafeRawBufferPointer(rebasing: field[(range.lowerBound + length)...]))
        else { throw failure("the name is empty or holds other characters than printable ASCII") }
        return unsafe String(decoding: bytes, as: UTF8.self)
    }

    /// Octal digits, then only NULs and blanks.
    private func octal(in header: UnsafeRawBufferPointer, _ range: Range<Int>) throws(FormatError) -> Int {
        // At most twelve digits: fits with room.
        var value = 0
        var digits = 0
        var ended = false
        for index in range {
            switch unsafe header[index] {
            case 0x30...0x37 where !ended:
                value = unsafe value << 3 | Int(header[index] - 0x30)
                digits += 1
            case 0, 0x20: ended = true
            default: throw failure("a number in the header is not octal")
            }
        }
        guard digits > 0 else { throw failure("a number in the header is missing") }
        return value
    }

    private func isZero(_ range: UnsafeRawBufferPointer) -> Bool { unsafe range.allSatisfy { $0 == 0 } }
}
