// SPDX-License-Identifier: Apache-2.0

/// File names as people see them: any byte may be in a name, but none may move the cursor, colour the terminal or
/// reorder the line.
package enum EscapedName {
    /// Printable UTF-8 as it is; backslash as `\\`; control characters, invalid UTF-8, line separators and characters
    /// that change the direction of text as `\ooo` per byte. Reversible.
    package static func text(_ name: some Sequence<UInt8>) -> String {
        let bytes = Array(name)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\\") {
                result += [byte, byte]
                position += 1
            } else if (0x20..<0x7F).contains(byte) {
                result.append(byte)
                position += 1
            } else {
                let length = scalarLength(bytes[position...])
                if let length, !isDisruptive(bytes[position..<position + length]) {
                    result += bytes[position..<position + length]
                } else {
                    for unsafeByte in bytes[position..<position + (length ?? 1)] { appendOctal(unsafeByte, &result) }
                }
                position += length ?? 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The bytes that `text` made this of; nil when it is no such form.
    package static func bytes(_ text: String) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            if rest.first == byte {
                result.append(byte)
                rest.removeFirst()
                continue
            }
            guard rest.count >= 3 else { return nil }
            var value = 0
            for digit in rest.prefix(3) {
                guard (48...55).contains(digit) else { return nil }
                value = value * 8 + Int(digit - 48)
            }
            guard value <= 255 else { return nil }
            result.append(UInt8(value))
            rest = rest.dropFirst(3)
        }
        return result
    }

    /// Text for one line of a terminal: control characters in it are escaped, backslashes are left alone. For messages,
    /// which hold names but are not names.
    package static func line(_ message: String) -> String {
        var isPlain = true
        for byte in message.utf8 where byte < 0x20 || byte >= 0x7F {
            isPlain = false
            break
        }
        if isPlain { return message }
        var result = ""
        for scalar in message.unicodeScalars {
            if scalar.value < 0x20 || scalar.value == 0x7F || isDisruptive(scalar) {
                var octal: [UInt8] = []
                for byte in UTF8.encode(scalar) ?? .init() { appendOctal(byte, &octal) }
                result += String(decoding: octal, as: UTF8.self)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func appendOctal(_ byte: UInt8, _ result: inout [UInt8]) {
        result += [UInt8(ascii: "\\"), 48 + byte >> 6, 48 + byte >> 3 & 7, 48 + byte & 7]
    }

    /// Bytes of the well-formed UTF-8 sequence of two or more at the start; nil when there is none.
    private static func scalarLength(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard let first = bytes.first else { return nil }
        let length: Int
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF: length = 3
        case 0xF0...0xF4: length = 4
        default: return nil
        }
        guard bytes.count >= length, String(validating: bytes.prefix(length), as: UTF8.self) != nil else { return nil }
        return length
    }

    private static func isDisruptive(_ sequence: ArraySlice<UInt8>) -> Bool {
        String(decoding: sequence, as: UTF8.self).unicodeScalars.contains(where: isDisruptive)
    }

    /// C1 controls, line and paragraph separators, marks and overrides of direction (Unicode TR 36).
    private static func isDisruptive(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x80...0x9F, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: true
        default: false
        }
    }
}

extension Unicode.Scalar {
    /// Columns a terminal gives this character: 0 for combining marks, 2 for wide East Asian forms and emoji.
    package var columnWidth: Int {
        if value < 0x300 { return 1 }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
            0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }
}

extension String {
    /// Columns of a terminal this text fills.
    package var columnWidth: Int { unicodeScalars.reduce(0) { $0 + $1.columnWidth } }

    /// The text cut to at most `columns` columns, with `…` in the place of what was left out at its front.
    package func keepingEnd(columns: Int) -> String {
        guard columnWidth > columns else { return self }
        guard columns > 1 else { return columns == 1 ? "…" : "" }
        var kept: [Unicode.Scalar] = []
        var width = 1
        for scalar in unicodeScalars.reversed() {
            width += scalar.columnWidth
            if width > columns { break }
            kept.append(scalar)
        }
        var result = "…"
        result.unicodeScalars.append(contentsOf: kept.reversed())
        return result
    }

    /// The text cut to at most `columns` columns, with `…` at its end when something was left out.
    package func keepingStart(columns: Int) -> String {
        guard columnWidth > columns else { return self }
        guard columns > 1 else { return columns == 1 ? "…" : "" }
        var result = ""
        var width = 1
        for scalar in unicodeScalars {
            width += scalar.columnWidth
            if width > columns { break }
            result.unicodeScalars.append(scalar)
        }
        return result + "…"
    }
}
