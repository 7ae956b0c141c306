// SPDX-License-Identifier: Apache-2.0

/// A path taken apart into the folder that holds its last component and that component.
struct RootPlace {
    /// Never empty.
    let parent: String
    /// Ended by a NUL; `.` when the path has no last name of its own (`/`, `.`, `..`).
    let name: [UInt8]

    init(_ path: String) {
        var trimmed = Array(path.utf8)
        while trimmed.count > 1, trimmed.last == 0x2F { trimmed.removeLast() }
        let start = trimmed.lastIndex(of: 0x2F).map { $0 + 1 } ?? 0
        let last = trimmed[start...]
        if last.isEmpty || last.elementsEqual(".".utf8) || last.elementsEqual("..".utf8) {
            parent = trimmed.isEmpty ? "." : String(decoding: trimmed, as: UTF8.self)
            name = [0x2E, 0]
            return
        }
        switch start {
        case 0: parent = "."
        case 1: parent = "/"
        default: parent = String(decoding: trimmed[..<(start - 1)], as: UTF8.self)
        }
        name = last + [0]
    }
}
