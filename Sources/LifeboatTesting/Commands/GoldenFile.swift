// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatIO

/// Texts that are compared with files under `fixtures/`. With LIFEBOAT_UPDATE_GOLDEN=1 in the environment they are
/// written instead: look at the difference before it is committed.
package struct GoldenFile: Sendable {
    private let path: String

    /// `name` below `fixtures/`; `testFile` is where the caller's source lies (`#filePath`): `Tests/<Target>/….swift`.
    package init(_ name: String, testFile: String = #filePath) {
        let components = testFile.split(separator: "/", omittingEmptySubsequences: false)
        let root = components.lastIndex(of: "Tests").map { components[..<$0].joined(separator: "/") } ?? "."
        path = "\(root)/fixtures/\(name)"
    }

    /// What the file says: for goldens that hold their own input.
    package func text() throws -> String { String(decoding: try TextFile.read(path), as: UTF8.self) }

    /// What is wrong with `text`; nil when it is as the file says.
    package func difference(from text: String) throws -> String? {
        if CommandContext.processEnvironment()["LIFEBOAT_UPDATE_GOLDEN"] == "1" {
            if let slash = path.lastIndex(of: "/") {
                try FileTree.createFolders(String(path[..<slash]), mode: 0o755)
            }
            try AtomicFile.write(text, to: path, mode: 0o644)
            return nil
        }
        guard access(path, R_OK) == 0 else { return "\(path) is missing; it should be:\n\(text)" }
        let expected = String(decoding: try TextFile.read(path), as: UTF8.self)
        return expected == text ? nil : "\(path) says:\n\(expected)\nbut it is:\n\(text)"
    }
}

/// Whole small files.
package enum TextFile {
    package static func read(_ path: String) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }
}
