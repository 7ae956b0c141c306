// SPDX-License-Identifier: Apache-2.0

/// The text header of an age v1 file: who can open it, under a MAC.
struct AgeHeader {
    /// A recipient of the file: a type with arguments, and the wrapped file key.
    struct Stanza: Equatable {
        var type: String
        var arguments: [String]
        var body: [UInt8]
    }

    var stanzas: [Stanza]
    /// 32 bytes.
    var mac: [UInt8]
    /// The MAC covers so many bytes from the start of the file: up to and including `---`.
    var coveredCount: Int
    /// Bytes of the header; the nonce of the payload follows.
    var count: Int

    static let intro = "age-encryption.org/v1\n"
    /// The largest header read or written, in bytes: some 8,000 recipients. Bounds what a hostile file can make a
    /// reader fetch and hold.
    static let maximumCount = 1 << 20
    private static let lineWidth = 64

    /// Parses the header at the start of `bytes`. Throws `needMore` when they end before it does.
    init(parsing bytes: UnsafeRawBufferPointer) throws(AgeError) {
        let intro = Array(Self.intro.utf8)
        guard unsafe bytes.prefix(intro.count).elementsEqual(intro.prefix(bytes.count)) else {
            throw .header("it does not begin as an age v1 file does")
        }
        var lines = unsafe Lines(bytes: bytes)
        _ = try lines.next()
        stanzas = []
        while true {
            let start = lines.position
            let line = try lines.next()
            if line.starts(with: "---".utf8) {
                guard line.count == 4 + 43, line[3] == UInt8(ascii: " "),
                    let mac = Base64.decode(line[4...], padded: false)
                else { throw .header("the last line of the header is malformed") }
                guard !stanzas.isEmpty else { throw .header("the header names no recipient") }
                self.mac = mac
                coveredCount = start + 3
                count = lines.position
                return
            }
            stanzas.append(try Self.stanza(line, &lines))
        }
    }

    private static func stanza(_ line: [UInt8], _ lines: inout Lines) throws(AgeError) -> Stanza {
        guard line.starts(with: "-> ".utf8) else { throw .header("a recipient in the header is malformed") }
        let words = line[3...].split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (33...126).contains($0) } }) else {
            throw .header("a recipient in the header has malformed arguments")
        }
        var body: [UInt8] = []
        while true {
            let line = try lines.next()
            guard line.count <= lineWidth, let part = Base64.decode(line, padded: false) else {
                throw .header("the body of a recipient in the header is malformed")
            }
            body += part
            // Only a line that is not full ends a body; after a full one that is an empty line.
            if line.count < lineWidth { break }
        }
        let texts = words.map { String(decoding: $0, as: UTF8.self) }
        return Stanza(type: texts[0], arguments: Array(texts.dropFirst()), body: body)
    }

    /// The header's bytes up to and including `---`, over which the MAC is computed.
    static func covered(_ stanzas: [Stanza]) -> [UInt8] {
        var bytes = Array(intro.utf8)
        for stanza in stanzas {
            bytes += Array((["->", stanza.type] + stanza.arguments).joined(separator: " ").utf8)
            bytes.append(UInt8(ascii: "\n"))
            let body = Base64.encode(stanza.body, padded: false)
            var position = 0
            while body.count - position >= lineWidth {
                bytes += body[position..<position + lineWidth]
                bytes.append(UInt8(ascii: "\n"))
                position += lineWidth
            }
            bytes += body[position...]
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes + Array("---".utf8)
    }

    /// What follows `---`.
    static func macLine(_ mac: [UInt8]) -> [UInt8] {
        [UInt8(ascii: " ")] + Base64.encode(mac, padded: false) + [UInt8(ascii: "\n")]
    }

    /// Cuts lines off the start of a file.
    @safe
    private struct Lines {
        let bytes: UnsafeRawBufferPointer
        var position = 0

        /// The next line without its LF.
        mutating func next() throws(AgeError) -> [UInt8] {
            let limit = unsafe min(bytes.count, AgeHeader.maximumCount)
            let rest = unsafe bytes[position..<limit]
            guard let end = unsafe rest.firstIndex(of: UInt8(ascii: "\n")) else {
                if limit == AgeHeader.maximumCount { throw .header("the header is longer than 1 MiB") }
                throw .needMore
            }
            defer { position = end + 1 }
            return unsafe Array(bytes[position..<end])
        }
    }
}
