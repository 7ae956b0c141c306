// SPDX-License-Identifier: Apache-2.0

/// Reads numbers of bytes: `512B`, `1KiB`, `20 MiB`, `1.5GB`. A unit is needed: 1000 may be meant as anything.
package enum SizeText {
    private static let units: [(name: String, bytes: Double)] = [
        ("KiB", 1024), ("MiB", 1_048_576), ("GiB", 1_073_741_824), ("TiB", 1_099_511_627_776), ("KB", 1e3), ("MB", 1e6),
        ("GB", 1e9), ("TB", 1e12), ("B", 1),
    ]

    /// Nil: no size, or none below 2^53 bytes.
    package static func bytes(_ text: String) -> UInt64? {
        for (name, factor) in units where text.hasSuffix(name) {
            var number = text.dropLast(name.count)
            while number.last == " " { number.removeLast() }
            let isPlain = number.utf8.allSatisfy { (48...57).contains($0) || $0 == 46 }
            guard isPlain, let first = number.utf8.first, first != 46, let value = Double(number) else { return nil }
            let bytes = (value * factor).rounded(.up)
            return bytes < 9_007_199_254_740_992 ? UInt64(bytes) : nil
        }
        return nil
    }
}

extension PolicyReader {
    mutating func size(_ key: String, in fields: PolicyFields) -> UInt64? {
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        guard let text = text(node, path, "a size such as 1KiB or 20MiB") else { return nil }
        guard let bytes = SizeText.bytes(text) else {
            report(
                "'\(path)' must be a size, not '\(Self.shortened(text))'", at: node.location,
                hint: "Write it with a unit: 512B, 1KiB, 20MiB, 1.5GB.")
            return nil
        }
        return bytes
    }
}
