// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO
import LifeboatStores

/// A temporary folder that removes itself, immutable files and all.
final class Scratch: Sendable {
    let path: String
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(prefix: "lifeboat-volume-")
        path = folder.path
    }

    deinit {
        // A leftover under /tmp fails no test.
        try? TreeRemoval.remove(path)
    }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
        try write(name, Array(text.utf8), mode: mode)
    }

    func write(_ name: String, _ bytes: [UInt8], mode: mode_t = 0o644) throws {
        let file = try OwnedDescriptor.open(self(name), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try bytes.withUnsafeBytes { try DescriptorIO.write(file.raw, $0, name) }
        guard fchmod(file.raw, mode) == 0 else { throw SystemCallError("chmod", name) }
    }

    func folder(_ name: String, mode: mode_t = 0o755) throws {
        guard mkdir(self(name), mode) == 0, chmod(self(name), mode) == 0 else { throw SystemCallError("mkdir", name) }
    }
}
