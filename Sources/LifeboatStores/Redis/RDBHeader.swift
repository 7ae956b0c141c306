// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Why a stream is not a whole RDB file.
package enum RDBError: Error, LifeboatErrorConvertible, Equatable {
    /// It begins with neither `REDIS` nor `VALKEY` and a version.
    case notAnRDB
    case truncated(bytes: UInt64)
    case damaged(String)
    case checksum
    /// Something follows the end: in an append-only file's base the server would take it for commands.
    case trailing

    package var lifeboatError: LifeboatError {
        switch self {
        case .notAnRDB: LifeboatError("the stream is not an RDB file")
        case .truncated(let bytes): LifeboatError("the RDB file is truncated", causes: ["it ends after \(bytes) bytes"])
        case .damaged(let what): LifeboatError("the RDB file is damaged", causes: [what])
        case .checksum: LifeboatError("the RDB file is damaged", causes: ["its CRC-64 is not that of its bytes"])
        case .trailing: LifeboatError("the RDB file is damaged", causes: ["there are bytes after its end"])
        }
    }
}

/// The first nine bytes: `REDIS0010`, `VALKEY080`.
package struct RDBHeader: Sendable, Equatable, CustomStringConvertible {
    package static let size = 9
    package var isValkey: Bool
    package var version: Int

    package init(isValkey: Bool, version: Int) {
        self.isValkey = isValkey
        self.version = version
    }

    package init?(_ text: some StringProtocol) {
        guard text.utf8.count == Self.size else { return nil }
        let isValkey = text.hasPrefix("VALKEY")
        guard isValkey || text.hasPrefix("REDIS") else { return nil }
        let digits = text.dropFirst(isValkey ? 6 : 5)
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let version = Int(digits) else { return nil }
        self.init(isValkey: isValkey, version: version)
    }

    package var description: String {
        let digits = "\(version)"
        let width = isValkey ? 3 : 4
        return (isValkey ? "VALKEY" : "REDIS") + String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
