// SPDX-License-Identifier: Apache-2.0

/// Globs that leave files and folders out of a walk.
///
/// A pattern without a slash is compared with the name, at any depth; one with a slash, also at its start, with the
/// path below the root (a slash at its end says nothing). `*` and `?` stop at slashes, `**` does not, `**/` is any number
/// of whole folders, `[a-z]` and `[!a-z]` are classes of bytes, a backslash takes the next byte literally. An excluded
/// folder excludes what is below it.
package struct ExcludePatterns: Sendable {
    private var names: [Glob] = []
    private var paths: [Glob] = []

    package init(_ patterns: [String]) {
        for pattern in patterns {
            var bytes = Array(pattern.utf8)
            let isPath = bytes.dropLast().contains(0x2F)
            if bytes.first == 0x2F { bytes.removeFirst() }
            if bytes.last == 0x2F { bytes.removeLast() }
            if bytes.isEmpty { continue }
            if isPath { paths.append(Glob(bytes)) } else { names.append(Glob(bytes)) }
        }
    }

    package var isEmpty: Bool { names.isEmpty && paths.isEmpty }

    /// Whether the object of this name in this folder (path below the root, empty for the root) is left out.
    package func matches(name: ArraySlice<UInt8>, in folder: [UInt8]) -> Bool {
        if names.contains(where: { $0.matches(name) }) { return true }
        if paths.isEmpty { return false }
        let path = folder.isEmpty ? Array(name) : folder + [0x2F] + name
        return paths.contains { $0.matches(path[...]) }
    }
}

/// One compiled glob over bytes.
struct Glob: Sendable {
    private enum Token {
        case byte(UInt8)
        case anyByte
        /// One bit per byte value.
        case oneOf(Set<UInt8>)
        case star
        case doubleStar
        case folders
    }

    private let tokens: [Token]

    init(_ pattern: [UInt8]) {
        var tokens: [Token] = []
        var index = 0
        while index < pattern.count {
            let byte = pattern[index]
            index += 1
            switch byte {
            case UInt8(ascii: "*"):
                guard index < pattern.count, pattern[index] == byte else {
                    tokens.append(.star)
                    continue
                }
                let startsComponent = index == 1 || pattern[index - 2] == 0x2F
                while index < pattern.count, pattern[index] == byte { index += 1 }
                if startsComponent, index < pattern.count, pattern[index] == 0x2F {
                    index += 1
                    tokens.append(.folders)
                } else {
                    tokens.append(.doubleStar)
                }
            case UInt8(ascii: "?"): tokens.append(.anyByte)
            case UInt8(ascii: "["):
                if let (members, end) = Self.byteClass(pattern, index) {
                    tokens.append(.oneOf(members))
                    index = end
                } else {
                    tokens.append(.byte(byte))
                }
            case UInt8(ascii: "\\") where index < pattern.count:
                tokens.append(.byte(pattern[index]))
                index += 1
            default: tokens.append(.byte(byte))
            }
        }
        self.tokens = tokens
    }

    /// The class that begins after a `[` and where the pattern goes on; nil when it is never closed.
    private static func byteClass(_ pattern: [UInt8], _ start: Int) -> (Set<UInt8>, Int)? {
        var index = start
        var negated = false
        if index < pattern.count, pattern[index] == UInt8(ascii: "!") || pattern[index] == UInt8(ascii: "^") {
            negated = true
            index += 1
        }
        var members: Set<UInt8> = []
        var isFirst = true
        while index < pattern.count {
            // A bracket directly at the start is a member.
            if pattern[index] == UInt8(ascii: "]"), !isFirst {
                if negated { members = Set(UInt8.min...UInt8.max).subtracting(members) }
                members.remove(0x2F)
                return (members, index + 1)
            }
            isFirst = false
            let low = pattern[index]
            if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-"),
                pattern[index + 2] != UInt8(ascii: "]")
            {
                let high = pattern[index + 2]
                if low <= high { members.formUnion(low...high) }
                index += 3
            } else {
                members.insert(low)
                index += 1
            }
        }
        return nil
    }

    /// Whether the whole text matches. Goes back to the last `*`, and when that is used up to the last `**`: at most
    /// pattern times text times text steps.
    func matches(_ text: ArraySlice<UInt8>) -> Bool {
        var token = 0
        var at = text.startIndex
        var star: (token: Int, at: Int)?
        var wide: (token: Int, at: Int, folders: Bool)?
        while true {
            if token < tokens.count {
                switch tokens[token] {
                case .star:
                    star = (token + 1, at)
                    token += 1
                    continue
                case .doubleStar, .folders:
                    if case .folders = tokens[token] {
                        wide = (token + 1, at, true)
                    } else {
                        wide = (token + 1, at, false)
                    }
                    star = nil
                    token += 1
                    continue
                case .byte(let byte):
                    if at < text.endIndex, text[at] == byte {
                        token += 1
                        at += 1
                        continue
                    }
                case .anyByte:
                    if at < text.endIndex, text[at] != 0x2F {
                        token += 1
                        at += 1
                        continue
                    }
                case .oneOf(let members):
                    if at < text.endIndex, members.contains(text[at]) {
                        token += 1
                        at += 1
                        continue
                    }
                }
            } else if at == text.endIndex {
                return true
            }
            if let point = star, point.at < text.endIndex, text[point.at] != 0x2F {
                star = (point.token, point.at + 1)
                token = point.token
                at = point.at + 1
                continue
            }
            star = nil
            guard let point = wide, point.at < text.endIndex else { return false }
            var next = point.at + 1
            if point.folders {
                guard let slash = text[point.at...].firstIndex(of: 0x2F) else { return false }
                next = slash + 1
            }
            wide = (point.token, next, point.folders)
            token = point.token
            at = next
        }
    }
}
