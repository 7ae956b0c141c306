// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What `find` looks for: a glob over names or paths, bytewise.
package struct NamePattern: Sendable {
    private let pattern: String
    private let matchesPath: Bool
    private let ignoresCase: Bool

    /// A pattern with a slash is matched against the whole path (`*` stops at a slash), one without against the last
    /// component. `*`, `?`, `[…]` as in fnmatch(3).
    package init(_ pattern: String, ignoresCase: Bool = false) {
        self.pattern = pattern
        self.ignoresCase = ignoresCase
        matchesPath = pattern.contains("/")
    }

    /// `path` is the one people see: the folder that was backed up and the path below it.
    package func matches(path: [UInt8]) -> Bool {
        var subject = matchesPath ? path[...] : path[(path.lastIndex(of: 0x2F).map { $0 + 1 } ?? 0)...]
        subject.append(0)
        var flags = matchesPath ? FNM_PATHNAME : 0
        // FNM_CASEFOLD, a GNU extension that the Glibc module does not show.
        if ignoresCase { flags |= 1 << 4 }
        return subject.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { name in
                // The base address of a buffer with at least the zero byte.
                name.baseAddress.map { fnmatch(pattern, $0, flags) == 0 } ?? false
            }
        }
    }
}
