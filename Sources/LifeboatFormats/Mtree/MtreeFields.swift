// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Scans one line of mtree text. Works on bytes: a tree has millions of lines.
struct MtreeFields {
    /// The parser's buffer, of which `index..<lineEnd` is the rest of this line.
    private let line: [UInt8]
    private var index: Int
    private let lineEnd: Int

    init(_ buffer: [UInt8], _ range: Range<Int>) {
        line = buffer
        index = range.lowerBound
        lineEnd = range.upperBound
    }

    /// The keywords and tags an entry may have, each once.
    private struct Seen: OptionSet {
        let rawValue: UInt32
        static let type = Seen(rawValue: 1 << 0)
        static let user = Seen(rawValue: 1 << 1)
        static let group = Seen(rawValue: 1 << 2)
        static let mode = Seen(rawValue: 1 << 3)
        static let time = Seen(rawValue: 1 << 4)
        static let size = Seen(rawValue: 1 << 5)
        static let contents = Seen(rawValue: 1 << 6)
        static let link = Seen(rawValue: 1 << 7)
        static let device = Seen(rawValue: 1 << 8)
        static let inode = Seen(rawValue: 1 << 9)
        static let tags = Seen(rawValue: 1 << 10)
        static let socket = Seen(rawValue: 1 << 11)
        static let depth = Seen(rawValue: 1 << 12)
        static let stored = Seen(rawValue: 1 << 13)
        static let changeTime = Seen(rawValue: 1 << 14)
        static let extents = Seen(rawValue: 1 << 15)
        static let hardLink = Seen(rawValue: 1 << 16)
        static let fileFlags = Seen(rawValue: 1 << 17)
        static let problem = Seen(rawValue: 1 << 18)
    }

    private struct Values {
        var seen: Seen = []
        var entry = TreeEntry(
            path: [], kind: .file, mode: 0, userID: 0, groupID: 0, modificationTime: Timestamp(seconds: 0))
        var contents = Digest(bigEndianWords: 0, 0, 0, 0)
        var depth: UInt8 = 0
        var stored: UInt64 = 0
        var inode: UInt64 = 0
        var changeTime = Timestamp(seconds: 0)

        mutating func mark(_ field: Seen, _ name: StaticString) throws(MtreeError.Reason) {
            guard !seen.contains(field) else { throw .duplicateKeyword("\(name)") }
            seen.insert(field)
        }
    }

    /// The whole line as an entry.
    mutating func entry() throws(MtreeError.Reason) -> TreeEntry {
        var values = Values()
        values.entry.path = try path()
        while index < lineEnd {
            guard skip(" ") else { throw .badPath }
            try keyword(&values)
        }
        return try checked(&values)
    }

    private mutating func keyword(_ values: inout Values) throws(MtreeError.Reason) {
        let start = index
        switch peek {
        case UInt8(ascii: "t"):
            if skip("type=") {
                try values.mark(.type, "type")
                try kind(&values)
                return
            }
            if skip("time=") {
                try values.mark(.time, "time")
                values.entry.modificationTime = try time("time")
                return
            }
            if skip("tags=") {
                try values.mark(.tags, "tags")
                repeat { try tag(&values) } while skip(",")
                return
            }
        case UInt8(ascii: "u"):
            if skip("uid=") {
                try values.mark(.user, "uid")
                values.entry.userID = UInt32(try decimal("uid", UInt64(UInt32.max)))
                return
            }
        case UInt8(ascii: "g"):
            if skip("gid=") {
                try values.mark(.group, "gid")
                values.entry.groupID = UInt32(try decimal("gid", UInt64(UInt32.max)))
                return
            }
        case UInt8(ascii: "m"):
            if skip("mode=") {
                try values.mark(.mode, "mode")
                values.entry.mode = try mode()
                return
            }
        case UInt8(ascii: "s"):
            if skip("size=") {
                try values.mark(.size, "size")
                values.entry.size = try decimal("size", .max)
                return
            }
        case UInt8(ascii: "c"):
            if skip("contents=") {
                try values.mark(.contents, "contents")
                values.contents = try digest()
                return
            }
        case UInt8(ascii: "l"):
            if skip("link=") {
                try values.mark(.link, "link")
                values.entry.linkTarget = try escaped()
                return
            }
        case UInt8(ascii: "d"):
            if skip("device=native,") {
                try values.mark(.device, "device")
                values.entry.deviceMajor = UInt32(try decimal("device", UInt64(UInt32.max)))
                guard skip(",") else { throw .badValue("device") }
                values.entry.deviceMinor = UInt32(try decimal("device", UInt64(UInt32.max)))
                return
            }
        case UInt8(ascii: "i"):
            if skip("inode=") {
                try values.mark(.inode, "inode")
                values.inode = try decimal("inode", .max)
                return
            }
        default: break
        }
        throw .unknownKeyword(word(from: start))
    }

    private mutating func tag(_ values: inout Values) throws(MtreeError.Reason) {
        let start = index
        switch peek {
        case UInt8(ascii: "d"):
            if skip("depth=") {
                try values.mark(.depth, "depth")
                values.depth = UInt8(try decimal("depth", UInt64(UInt8.max)))
                return
            }
        case UInt8(ascii: "c"):
            if skip("ctime=") {
                try values.mark(.changeTime, "ctime")
                values.changeTime = try time("ctime")
                return
            }
        case UInt8(ascii: "s"):
            if skip("socket") {
                try values.mark(.socket, "socket")
                return
            }
            if skip("stored=") {
                try values.mark(.stored, "stored")
                values.stored = try decimal("stored", .max)
                return
            }
        case UInt8(ascii: "e"):
            if skip("extents=") {
                try values.mark(.extents, "extents")
                values.entry.extents = try extents()
                return
            }
        case UInt8(ascii: "h"):
            if skip("hardlink=") {
                try values.mark(.hardLink, "hardlink")
                values.entry.hardLink = try path()
                return
            }
        case UInt8(ascii: "f"):
            if skip("fflags=") {
                try values.mark(.fileFlags, "fflags")
                let flags = try hexadecimal("fflags")
                guard flags > 0, flags <= UInt32.max else { throw .badValue("fflags") }
                values.entry.fileFlags = UInt32(flags)
                return
            }
        case UInt8(ascii: "x"):
            if skip("xattr.") {
                let name = try escaped(until: UInt8(ascii: "="))
                guard !name.isEmpty, skip("=") else { throw .badValue("xattr") }
                if let previous = values.entry.extendedAttributes.last {
                    guard previous.name.lexicographicallyPrecedes(name) else { throw .duplicateKeyword("xattr") }
                }
                values.entry.extendedAttributes.append(.init(name: name, value: try base64()))
                return
            }
        case UInt8(ascii: "p"):
            if skip("problem=") {
                try values.mark(.problem, "problem")
                guard let text = String(validating: try escaped(), as: UTF8.self) else { throw .badValue("problem") }
                values.entry.problem = text
                return
            }
        default: break
        }
        throw .unknownKeyword(word(from: start))
    }

    /// What belongs together is there, what does not belong to this kind is not.
    private func checked(_ values: inout Values) throws(MtreeError.Reason) -> TreeEntry {
        let seen = values.seen
        guard seen.contains(.type) else { throw .missingKeyword("type") }
        guard seen.contains(.user) else { throw .missingKeyword("uid") }
        guard seen.contains(.group) else { throw .missingKeyword("gid") }
        guard seen.contains(.mode) else { throw .missingKeyword("mode") }
        guard seen.contains(.time) else { throw .missingKeyword("time") }
        if seen.contains(.socket) {
            guard values.entry.kind == .fifo else { throw .badValue("socket") }
            values.entry.kind = .socket
        }
        let kind = values.entry.kind
        guard seen.contains(.size) == (kind == .file) else {
            throw kind == .file ? .missingKeyword("size") : .badValue("size")
        }
        guard seen.contains(.link) == (kind == .symbolicLink) else {
            throw kind == .symbolicLink ? .missingKeyword("link") : .badValue("link")
        }
        let isDevice = kind == .characterDevice || kind == .blockDevice
        guard seen.contains(.device) == isDevice else {
            throw isDevice ? .missingKeyword("device") : .badValue("device")
        }
        guard seen.contains(.inode) == seen.contains(.changeTime) else { throw .missingKeyword("ctime") }
        guard seen.contains(.contents) == seen.contains(.depth) else { throw .missingKeyword("depth") }
        guard kind == .file || seen.isDisjoint(with: [.contents, .extents]) else { throw .badValue("contents") }
        guard kind != .directory || !seen.contains(.hardLink) else { throw .badValue("hardlink") }
        if seen.contains(.inode) {
            values.entry.changeFacts = .init(inode: values.inode, changeTime: values.changeTime)
        }
        if seen.contains(.contents) {
            guard let size = seen.contains(.stored) ? values.stored : values.entry.contentSize else {
                throw .badValue("extents")
            }
            values.entry.content = ContentReference(id: values.contents, depth: values.depth, size: size)
        } else if seen.contains(.stored) {
            throw .missingKeyword("contents")
        }
        return values.entry
    }

    private mutating func kind(_ values: inout Values) throws(MtreeError.Reason) {
        if skip("file") {
            values.entry.kind = .file
        } else if skip("dir") {
            values.entry.kind = .directory
        } else if skip("link") {
            values.entry.kind = .symbolicLink
        } else if skip("fifo") {
            values.entry.kind = .fifo
        } else if skip("char") {
            values.entry.kind = .characterDevice
        } else if skip("block") {
            values.entry.kind = .blockDevice
        } else {
            throw .badValue("type")
        }
    }
}

// MARK: Scanning

extension MtreeFields {
    /// The byte at the cursor; 0, which no line holds, at the end.
    @inline(__always)
    private var peek: UInt8 { index < lineEnd ? line[index] : 0 }

    /// Moves over `text` when it is next.
    @inline(__always)
    private mutating func skip(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard lineEnd &- index >= count else { return false }
        for offset in 0..<count where unsafe line[index &+ offset] != text.utf8Start[offset] { return false }
        index &+= count
        return true
    }

    /// The word at `start`, for messages: up to 40 bytes of printable text.
    private func word(from start: Int) -> String {
        var text = ""
        var at = start
        while at < lineEnd, at < start + 40, (0x21...0x7E).contains(line[at]), line[at] != UInt8(ascii: "=") {
            text.unicodeScalars.append(Unicode.Scalar(line[at]))
            at += 1
        }
        return text
    }

    /// `.` or `./a/b`, without the `./`.
    private mutating func path() throws(MtreeError.Reason) -> [UInt8] {
        guard skip(".") else { throw .badPath }
        guard skip("/") else { return [] }
        let path = try escaped()
        var start = 0
        for end in 0...path.count {
            if end < path.count {
                if path[end] == 0 { throw .badPath }
                if path[end] != UInt8(ascii: "/") { continue }
            }
            switch end - start {
            case 0: throw .badPath
            case 1: if path[start] == UInt8(ascii: ".") { throw .badPath }
            case 2:
                if path[start] == UInt8(ascii: "."), path[start + 1] == UInt8(ascii: ".") { throw .badPath }
            default: break
            }
            start = end + 1
        }
        return path
    }

    /// Bytes up to a space, a comma or `stop`, with octal escapes undone.
    private mutating func escaped(until stop: UInt8 = 0x20) throws(MtreeError.Reason) -> [UInt8] {
        var end = index
        var escapes = 0
        while end < lineEnd {
            let byte = line[end]
            if byte == 0x20 || byte == UInt8(ascii: ",") || byte == stop { break }
            guard byte > 0x20, byte < 0x7F else { throw .badEscape }
            if byte == UInt8(ascii: "\\") { escapes &+= 1 }
            end &+= 1
        }
        var failed = false
        let count = end &- index
        guard escapes <= count / 4 else { throw .badEscape }
        let result = [UInt8](capacity: count &- 3 &* escapes) { (bytes: inout OutputSpan<UInt8>) in
            while index < end {
                let byte = line[index]
                guard byte == UInt8(ascii: "\\") else {
                    if bytes.freeCapacity == 0 { break }
                    bytes.append(byte)
                    index &+= 1
                    continue
                }
                guard end &- index >= 4, bytes.freeCapacity > 0 else { break }
                let high = line[index &+ 1] &- 48
                let middle = line[index &+ 2] &- 48
                let low = line[index &+ 3] &- 48
                guard high <= 3, middle <= 7, low <= 7 else { break }
                bytes.append(high << 6 | middle << 3 | low)
                index &+= 4
            }
            failed = index < end
        }
        if failed { throw .badEscape }
        return result
    }

    private mutating func decimal(_ name: StaticString, _ limit: UInt64) throws(MtreeError.Reason) -> UInt64 {
        var value: UInt64 = 0
        let start = index
        while index < lineEnd {
            let digit = line[index] &- 48
            guard digit <= 9 else { break }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
            if overflow || carry { throw .badValue("\(name)") }
            value = sum
            index &+= 1
        }
        guard index > start, value <= limit else { throw .badValue("\(name)") }
        return value
    }

    private mutating func hexadecimal(_ name: StaticString) throws(MtreeError.Reason) -> UInt64 {
        var value: UInt64 = 0
        let start = index
        while index < lineEnd, let nibble = nibble(line[index]) {
            guard value >> 60 == 0 else { throw .badValue("\(name)") }
            value = value << 4 | nibble
            index &+= 1
        }
        guard index > start else { throw .badValue("\(name)") }
        return value
    }

    private mutating func mode() throws(MtreeError.Reason) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            let digit = peek &- 48
            guard digit <= 7 else { throw .badValue("mode") }
            value = value << 3 | UInt16(digit)
            index &+= 1
        }
        return value
    }

    private mutating func time(_ name: StaticString) throws(MtreeError.Reason) -> Timestamp {
        let negative = skip("-")
        let magnitude = try decimal(name, negative ? 1 << 63 : UInt64(Int64.max))
        guard skip(".") else { throw .badValue("\(name)") }
        var nanoseconds: Int32 = 0
        for _ in 0..<9 {
            let digit = peek &- 48
            guard digit <= 9 else { throw .badValue("\(name)") }
            nanoseconds = nanoseconds &* 10 &+ Int32(digit)
            index &+= 1
        }
        let seconds = Int64(truncatingIfNeeded: negative ? 0 &- magnitude : magnitude)
        return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
    }

    private mutating func digest() throws(MtreeError.Reason) -> Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        words.0 = try digestWord()
        words.1 = try digestWord()
        words.2 = try digestWord()
        words.3 = try digestWord()
        return Digest(bigEndianWords: words.0, words.1, words.2, words.3)
    }

    private mutating func digestWord() throws(MtreeError.Reason) -> UInt64 {
        guard lineEnd &- index >= 16 else { throw .badValue("contents") }
        var word: UInt64 = 0
        for _ in 0..<16 {
            guard let nibble = nibble(line[index]) else { throw .badValue("contents") }
            word = word << 4 | nibble
            index &+= 1
        }
        return word
    }

    @inline(__always)
    private func nibble(_ byte: UInt8) -> UInt64? {
        if byte &- 48 <= 9 { return UInt64(byte &- 48) }
        if byte &- 97 <= 5 { return UInt64(byte &- 87) }
        return nil
    }

    /// `O+L:O+L`, ascending, disjoint, none empty.
    private mutating func extents() throws(MtreeError.Reason) -> [TreeEntry.Extent] {
        var extents: [TreeEntry.Extent] = []
        guard index < lineEnd, line[index] != 0x20, line[index] != UInt8(ascii: ",") else { return [] }
        var end: UInt64 = 0
        repeat {
            let offset = try hexadecimal("extents")
            guard skip("+") else { throw .badValue("extents") }
            let length = try hexadecimal("extents")
            let (next, overflow) = offset.addingReportingOverflow(length)
            guard length > 0, !overflow, offset >= end else { throw .badValue("extents") }
            extents.append(.init(offset: offset, length: length))
            end = next
        } while skip(":")
        return extents
    }

    private mutating func base64() throws(MtreeError.Reason) -> [UInt8] {
        var bytes: [UInt8] = []
        var group: UInt32 = 0
        var digits = 0
        var padding = 0
        while index < lineEnd, line[index] != 0x20, line[index] != UInt8(ascii: ",") {
            let byte = line[index]
            let value: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte + 4
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                value = 0
                padding += 1
            default: throw .badValue("xattr")
            }
            guard padding == 0 || byte == UInt8(ascii: "="), padding <= 2 else { throw .badValue("xattr") }
            group = group << 6 | UInt32(value)
            digits += 1
            index &+= 1
            guard digits == 4 else { continue }
            bytes.append(UInt8(truncatingIfNeeded: group >> 16))
            if padding < 2 { bytes.append(UInt8(truncatingIfNeeded: group >> 8)) }
            if padding < 1 { bytes.append(UInt8(truncatingIfNeeded: group)) }
            digits = 0
            group = 0
            if padding > 0 { break }
        }
        guard digits == 0 else { throw .badValue("xattr") }
        return bytes
    }
}
