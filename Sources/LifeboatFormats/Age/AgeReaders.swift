// SPDX-License-Identifier: Apache-2.0

/// Says in an age header for whom the file was written: a stanza of a type of our own, beside those of the recipients.
/// It wraps no key; every age program ignores stanzas of types it does not know. The header's MAC covers it.
package enum AgeReaders {
    static let type = "lifeboat-readers"

    static func stanza(_ tag: String) -> AgeHeader.Stanza {
        AgeHeader.Stanza(type: type, arguments: [tag], body: [])
    }

    /// The tag in the header at the start of `bytes`, unverified; nil when it has none. Throws `needMore` when they end
    /// before the header does.
    package static func tag(in bytes: UnsafeRawBufferPointer) throws(AgeError) -> String? {
        let header = try unsafe AgeHeader(parsing: bytes)
        return header.stanzas.first { $0.type == type && $0.arguments.count == 1 }?.arguments.first
    }
}
