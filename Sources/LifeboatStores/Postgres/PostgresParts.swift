// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Names of the parts and facts of a captured component.
///
/// A component of one database (`database: app`) has the parts `settings`, `globals`, `dump`; one of several has
/// `globals` once, and for each database `<name>.settings`, `<name>.dump` and facts that start with `<name>/`. The fact
/// `databases` lists the names either way.
package enum PostgresParts {
    static let settings = "settings"
    static let globals = "globals"
    static let dump = "dump"
    /// Key of `StoreFacts.texts`: names as `encoded` gives them, separated by spaces.
    static let databases = "databases"

    static func settings(of database: String) -> String { "\(encoded(database)).\(settings)" }
    static func dump(of database: String) -> String { "\(encoded(database)).\(dump)" }
    static func fact(_ name: String, of database: String) -> String { "\(encoded(database))/\(name)" }

    /// A database name with everything but letters, digits, `_`, `-` and `.` as `%XX`: safe in file names and lists.
    package static func encoded(_ database: String) -> String {
        var text = ""
        for byte in database.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2D, 0x2E: text.append(Character(UnicodeScalar(byte)))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                text += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return text
    }

    /// Nil when it is none of `encoded`.
    package static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(Substring(rest.prefix(2)), radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The databases a snapshot holds; nil for one taken before they were listed.
    static func databases(in facts: StoreFacts) -> [String]? {
        facts.texts[databases].map { $0.split(separator: " ").compactMap { decoded($0) } }
    }
}

/// What of a component's content belongs to one database, under the names a component of one database has.
struct PostgresContent: RestoreContent {
    private let content: any RestoreContent
    private let database: String
    /// The component was captured as one of several databases.
    private let isOneOfSeveral: Bool

    init(_ content: any RestoreContent, _ database: String) {
        self.content = content
        self.database = database
        isOneOfSeveral =
            content.streamSize(PostgresParts.dump) == nil
            && content.streamSize(PostgresParts.dump(of: database)) != nil
    }

    var engineVersion: String? { content.engineVersion }
    var isPartial: Bool { content.isPartial }

    var facts: StoreFacts {
        guard isOneOfSeveral else { return content.facts }
        let prefix = PostgresParts.fact("", of: database)
        var own = StoreFacts()
        for (name, value) in content.facts.counts where name.hasPrefix(prefix) {
            own.counts[String(name.dropFirst(prefix.count))] = value
        }
        for (name, value) in content.facts.texts where name.hasPrefix(prefix) {
            own.texts[String(name.dropFirst(prefix.count))] = value
        }
        return own
    }

    /// What a stream of one database is called here.
    func name(_ stream: String) -> String {
        guard isOneOfSeveral else { return stream }
        return switch stream {
        case PostgresParts.settings: PostgresParts.settings(of: database)
        case PostgresParts.dump: PostgresParts.dump(of: database)
        default: stream
        }
    }

    func openStream(_ name: String) throws -> any ByteSource { try content.openStream(self.name(name)) }
    func streamSize(_ name: String) -> UInt64? { content.streamSize(self.name(name)) }

    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        try content.extractTree(name, into: target, cancellation: cancellation)
    }
}
