// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Where a private copy may be made: the first folder with room for it.
struct TemporaryPlace {
    /// In order of preference.
    let folders: [String]

    /// Room that is left free beyond the copy.
    private static let reserve: UInt64 = 1 << 20

    /// A new folder of mode 0700 on a file system with room for `bytes`.
    func folder(for bytes: UInt64) throws -> TemporaryFolder {
        var causes: [String] = []
        for folder in folders {
            var status = statvfs()
            guard statvfs(folder, &status) == 0 else {
                causes.append("'\(folder)': \(SystemCallError.describe(errno))")
                continue
            }
            let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
            if !overflow, free < bytes + Self.reserve {
                causes.append("'\(folder)' has \(ByteCount(free)) free")
                continue
            }
            do throws(SystemCallError) {
                return try TemporaryFolder(prefix: ".lifeboat-copy-", in: folder)
            } catch {
                causes.append("'\(folder)': \(SystemCallError.describe(error.errorNumber))")
            }
        }
        throw LifeboatError(
            "there is no room for a copy of \(ByteCount(bytes))", causes: causes,
            hint: "Free some space there, or set TMPDIR to a folder on a larger file system.")
    }
}
