// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore

/// Why bytes are no JSON, or not the JSON that was expected.
struct JSONScanError: Error, LifeboatErrorConvertible, Equatable {
    var reason: String
    /// Byte of the text.
    var offset: Int

    var lifeboatError: LifeboatError { LifeboatError("invalid JSON: \(reason) at byte \(offset)") }
}

/// Walks over a JSON text (RFC 8259) in place. Values can be taken as the bytes they are written with, so that `1.0`
/// stays `1.0` and no digit of a large number is lost; arrays of a million numbers make no objects.
struct JSONScanner {
    /// Deeper values are refused: they come from outside.
    private static let maximumDepth = 128

    private let bytes: [UInt8]
    private(set) var position: Int
    private let end: Int
    private var depth = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        position = 0
        end = bytes.count
    }

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    private func failure(_ reason: String) -> JSONScanError { JSONScanError(reason: reason, offset: position) }

    /// The first byte of the next value or sign; nil at the end.
    private mutating func peek() -> UInt8? {
        while position < end, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
        return position < end ? bytes[position] : nil
    }

    private mutating func take(_ sign: Unicode.Scalar) throws(JSONScanError) {
        guard peek() == UInt8(ascii: sign) else { throw failure("'\(sign)' expected") }
        position += 1
    }

    /// Nothing but blanks may follow.
    mutating func finish() throws(JSONScanError) {
        guard peek() == nil else { throw failure("text after the value") }
    }

    /// Calls `body` for each member; it must take the value.
    mutating func object(_ body: (String, inout JSONScanner) throws -> Void) throws {
        try take("{")
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw failure("nested too deeply") }
        if peek() == UInt8(ascii: "}") {
            position += 1
            return
        }
        while true {
            let key = try string()
            try take(":")
            try body(key, &self)
            guard peek() == UInt8(ascii: ",") else { break }
            position += 1
        }
        try take("}")
    }

    /// Calls `body` for each item; it must take it.
    mutating func array(_ body: (inout JSONScanner) throws -> Void) throws {
        try take("[")
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw failure("nested too deeply") }
        if peek() == UInt8(ascii: "]") {
            position += 1
            return
        }
        while true {
            try body(&self)
            guard peek() == UInt8(ascii: ",") else { break }
            position += 1
        }
        try take("]")
    }

    /// Whether a null comes next; takes it then.
    mutating func null() throws(JSONScanError) -> Bool {
        guard peek() == UInt8(ascii: "n") else { return false }
        try word("null")
        return true
    }

    private mutating func word(_ word: StaticString) throws(JSONScanError) {
        let count = word.utf8CodeUnitCount
        guard end - position >= count,
            (0..<count).allSatisfy({ bytes[position + $0] == word.utf8Start[$0] })
        else { throw failure("no value") }
        position += count
    }

    /// Passes over one value, and says where it is.
    mutating func value() throws -> Range<Int> {
        guard let first = peek() else { throw failure("a value expected") }
        let start = position
        switch first {
        case UInt8(ascii: "{"): try object { _, scanner in _ = try scanner.value() }
        case UInt8(ascii: "["): try array { _ = try $0.value() }
        case UInt8(ascii: "\""): _ = try stringRange()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: _ = try number()
        }
        return start..<position
    }

    /// The bytes of a number, which are all of `-+.eE` and digits.
    private mutating func number() throws(JSONScanError) -> Range<Int> {
        guard let first = peek(), first == 0x2D || (0x30...0x39).contains(first) else { throw failure("no value") }
        let start = position
        while position < end {
            switch bytes[position] {
            case 0x30...0x39, 0x2B, 0x2D, 0x2E, 0x45, 0x65: position += 1
            default: return start..<position
            }
        }
        return start..<position
    }

    /// The range of a string with its quotes.
    private mutating func stringRange() throws(JSONScanError) -> Range<Int> {
        try take("\"")
        let start = position - 1
        while position < end {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return start..<position
            case UInt8(ascii: "\\"): position += 2
            case 0..<0x20: throw failure("a control character in a string")
            default: position += 1
            }
        }
        throw failure("a string does not end")
    }

    /// A string, its escapes undone.
    mutating func string() throws(JSONScanError) -> String {
        let range = try stringRange()
        var plain: [UInt8] = []
        var index = range.lowerBound + 1
        let last = range.upperBound - 1
        if !bytes[index..<last].contains(UInt8(ascii: "\\")) {
            return String(decoding: bytes[index..<last], as: UTF8.self)
        }
        func unit(_ at: Int) throws(JSONScanError) -> UInt16 {
            guard at + 4 <= last, let unit = UInt16(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
            else { throw JSONScanError(reason: "an invalid escape", offset: at) }
            return unit
        }
        while index < last {
            guard bytes[index] == UInt8(ascii: "\\") else {
                plain.append(bytes[index])
                index += 1
                continue
            }
            let sign = bytes[index + 1]
            index += 2
            switch sign {
            case UInt8(ascii: "n"): plain.append(0x0A)
            case UInt8(ascii: "t"): plain.append(0x09)
            case UInt8(ascii: "r"): plain.append(0x0D)
            case UInt8(ascii: "b"): plain.append(0x08)
            case UInt8(ascii: "f"): plain.append(0x0C)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain.append(sign)
            case UInt8(ascii: "u"):
                var units = [try unit(index)]
                index += 4
                if UTF16.isLeadSurrogate(units[0]), index + 1 < last, bytes[index] == UInt8(ascii: "\\"),
                    bytes[index + 1] == UInt8(ascii: "u")
                {
                    units.append(try unit(index + 2))
                    index += 6
                }
                plain += Array(String(decoding: units, as: UTF16.self).utf8)
            default: throw JSONScanError(reason: "an invalid escape", offset: index - 1)
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }

    /// A number as the nearest 32-bit float, which gives back exactly what a server wrote out of one.
    mutating func float() throws(JSONScanError) -> Float {
        let range = try number()
        if let value = Self.shortFloat(bytes, range) { return value }
        // strtof(3) wants a NUL behind the number; rare, so a copy is no matter.
        let text = String(decoding: bytes[range], as: UTF8.self)
        guard let value = Float(text), value.isFinite else { throw failure("a number out of range") }
        return value
    }

    /// Numbers of up to 15 digits and a small exponent are exact as quotients or products of two doubles, rounded once;
    /// the second rounding, to 32 bits, can go wrong only for a double half-way between two floats: nil then.
    private static func shortFloat(_ bytes: [UInt8], _ range: Range<Int>) -> Float? {
        var mantissa: UInt64 = 0
        var digits = 0
        var exponent = 0
        var index = range.lowerBound
        let isNegative = bytes[index] == 0x2D
        if isNegative { index += 1 }
        var isFraction = false
        while index < range.upperBound {
            let byte = bytes[index]
            index += 1
            if byte == 0x2E, !isFraction {
                isFraction = true
                continue
            }
            guard (0x30...0x39).contains(byte) else { return nil }
            mantissa = mantissa &* 10 &+ UInt64(byte &- 0x30)
            if mantissa > 0 { digits += 1 }
            if isFraction { exponent -= 1 }
            guard digits <= 15, exponent >= -22 else { return nil }
        }
        let double = Double(mantissa) / powersOfTen[-exponent]
        guard double.bitPattern & 0x1FFF_FFFF != 0x1000_0000, double == 0 || double > 1e-37 else { return nil }
        return Float(isNegative ? -double : double)
    }

    private static let powersOfTen: [Double] = (0...22).map { power in
        (0..<power).reduce(1.0) { product, _ in product * 10 }
    }

    // MARK: Writing

    /// A value with the members of its objects in the order of their names and without blanks; every scalar as it was
    /// written. Equal values of one server become equal bytes.
    static func canonical(_ bytes: [UInt8], _ range: Range<Int>) throws -> [UInt8] {
        var scanner = JSONScanner(bytes, range)
        return try scanner.canonicalValue()
    }

    private mutating func canonicalValue() throws -> [UInt8] {
        switch peek() {
        case UInt8(ascii: "{"):
            var members: [(key: [UInt8], value: [UInt8])] = []
            try object { key, scanner in members.append((Self.quoted(key), try scanner.canonicalValue())) }
            members.sort { $0.key.lexicographicallyPrecedes($1.key) }
            let pairs = members.map { $0.key + [UInt8(ascii: ":")] + $0.value }
            return [UInt8(ascii: "{")] + Array(pairs.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "}")]
        case UInt8(ascii: "["):
            var items: [[UInt8]] = []
            try array { items.append(try $0.canonicalValue()) }
            return [UInt8(ascii: "[")] + Array(items.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "]")]
        default: return Array(bytes[try value()])
        }
    }

    /// A string as JSON: quotes, backslashes and control characters escaped, nothing else.
    static func quoted(_ text: String) -> [UInt8] {
        var quoted: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): quoted += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: quoted += Array("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
            default: quoted.append(byte)
            }
        }
        quoted.append(UInt8(ascii: "\""))
        return quoted
    }
}
