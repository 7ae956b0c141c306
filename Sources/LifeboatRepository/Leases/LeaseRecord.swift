// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatIO

/// What names a lease: 32 random hexadecimal digits.
package struct LeaseID: Hashable, Comparable, Sendable, Codable {
    package let text: String

    /// Nil when it is not 32 lower-case hexadecimal digits.
    package init?(_ text: String) {
        guard text.utf8.count == 32,
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { return nil }
        self.text = text
    }

    private init(words: (UInt64, UInt64)) {
        let digits = [words.0, words.1].map { word in
            let hex = String(word, radix: 16)
            return String(repeating: "0", count: 16 - hex.count) + hex
        }
        text = digits.joined()
    }

    package static func random() -> LeaseID {
        var generator = SystemRandomNumberGenerator()
        return LeaseID(words: (generator.next(), generator.next()))
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = LeaseID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not the id of a lease")
        }
        self = id
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    package static func < (left: LeaseID, right: LeaseID) -> Bool { left.text < right.text }
}

/// The objects a lease consists of. Each is written once but `beat`: only names that never change are sure to show in
/// a listing that runs beside a rename.
package enum LeasePart: String, Sendable, CaseIterable {
    /// The lease itself, a `LeaseRecord`. While it is there, the lease is held or its holder died.
    case record = "json"
    /// Changes as long as the holder lives. Read by name, never found by listing.
    case beat
    /// The manifest a backup is about to commit: it counts as a reference.
    case pending
    /// Empty. Somebody counted the lease as dead: its holder, if it lives after all, must not commit.
    case broken
}

package enum LeaseKind: String, Sendable, Codable {
    /// Refers to chunks that are there: no pack that was condemned since may go before it has ended.
    case backup
    /// Reads chunks: no pack may go meanwhile.
    case read
    /// Condemns and deletes. Two at once are safe, and waste each other's work.
    case prune
    /// Replaces what is damaged. Refuses to start beside a prune or another repair, and they beside it.
    case repair
}

/// Who holds a lease.
package struct LeaseRecord: Sendable, Equatable, Codable {
    package var id: LeaseID
    package var kind: LeaseKind
    /// For people.
    package var host: String
    /// Lets another process of the same host see at once that the holder is gone; nil where /proc tells nothing.
    package var process: ProcessIdentity?
    /// The pid namespace the process id is one of: `pid:[4026531836]`.
    package var processNamespace: String?

    private enum CodingKeys: String, CodingKey {
        case id, kind, host, process
        case processNamespace = "process_namespace"
    }

    package init(id: LeaseID, kind: LeaseKind, host: String) {
        self.id = id
        self.kind = kind
        self.host = host
        // Both are a help and no more: without them a lease dies by not being renewed.
        process = try? ProcessIdentity.current()
        processNamespace = Self.currentNamespace()
    }

    /// Whether the holder is certainly gone: it ran under this very kernel, where its process is no more. False says
    /// nothing.
    package var holderIsGone: Bool {
        guard let process, let processNamespace, processNamespace == Self.currentNamespace(),
            let here = try? ProcessIdentity.current(), here.bootID == process.bootID
        else { return false }
        guard let isAlive = try? process.isAlive() else { return false }
        return !isAlive
    }

    private static func currentNamespace() -> String? {
        var buffer = [CChar](repeating: 0, count: 128)
        let count = readlink("/proc/self/ns/pid", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
