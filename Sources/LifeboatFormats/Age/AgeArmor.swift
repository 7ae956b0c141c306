// SPDX-License-Identifier: Apache-2.0

/// The text form of an age file: a strict PEM block.
package enum AgeArmor {
    private static let begin = Array("-----BEGIN AGE ENCRYPTED FILE-----".utf8)
    private static let end = Array("-----END AGE ENCRYPTED FILE-----".utf8)
    private static let lineWidth = 64
    /// Blanks accepted before the block, and after it.
    private static let maximumBlanks = 1024

    /// Whether `bytes` begin like armor, after blanks.
    package static func isArmored(_ bytes: [UInt8]) -> Bool {
        bytes.drop(while: isBlank).starts(with: begin)
    }

    /// The block, with a newline at its end.
    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var text = begin + newline
        let characters = Base64.encode(bytes, padded: true)
        for start in stride(from: 0, to: characters.count, by: lineWidth) {
            text += characters[start..<min(start + lineWidth, characters.count)] + newline
        }
        return text + end + newline
    }

    /// The bytes of the only block in `text`. Lines end with LF or CRLF; blanks may stand around the block, not in it.
    /// Throws `armor` for anything `encode` does not give but for that.
    package static func decode(_ text: [UInt8]) throws(AgeError) -> [UInt8] {
        let content = text.drop(while: isBlank)
        guard content.startIndex <= maximumBlanks else { throw .armor("too many blanks before the armor") }
        var lines = content.split(separator: newline[0], omittingEmptySubsequences: false)[...]
        func next() throws(AgeError) -> ArraySlice<UInt8> {
            guard let line = lines.popFirst() else { throw .armor("the armor has no last line") }
            // What follows the last newline has none itself, and so no CR that belongs to one.
            return !lines.isEmpty && line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        guard try next().elementsEqual(begin) else { throw .armor("the first line of the armor is malformed") }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(content.count / 4 * 3)
        var wasShort = false
        while true {
            let line = try next()
            if line.elementsEqual(end) { break }
            if line.starts(with: end), line.dropFirst(end.count).allSatisfy(isBlank), lines.isEmpty { break }
            guard !wasShort, !line.isEmpty, line.count <= lineWidth, let part = Base64.decode(line, padded: true) else {
                throw .armor("a line of the armor is malformed")
            }
            bytes += part
            // A line with fewer bytes than fit can only be the last, also when padding fills it up.
            wasShort = part.count < lineWidth / 4 * 3
        }
        var blanks = 0
        for line in lines {
            guard line.allSatisfy(isBlank) else { throw .armor("something follows the armor") }
            blanks += line.count + 1
        }
        guard blanks <= maximumBlanks else { throw .armor("too many blanks after the armor") }
        return bytes
    }

    private static let newline = [UInt8(ascii: "\n")]

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
