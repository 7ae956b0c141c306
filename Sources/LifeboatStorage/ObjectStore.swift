// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The name of an object inside a store: `packs/ab/ab34….tar.zst`.
///
/// One or more components of ASCII letters, digits, `.`, `_`, `-`, `+`, `@`, `=` and `,`, separated by `/`; no
/// component is empty, `.` or `..`, at most 1024 bytes in all. Such a name is valid in a folder and in S3 alike.
package struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let text: String

    /// Nil when `text` breaks the rules above.
    package init?(_ text: String) {
        guard (1...1024).contains(text.utf8.count) else { return nil }
        // Listings make one for every object: one pass over the bytes.
        var length = 0
        var dots = 0
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "/"):
                guard length > 0, length != dots || length > 2 else { return nil }
                length = 0
                dots = 0
            case UInt8(ascii: "."):
                length += 1
                dots += 1
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "+"),
                UInt8(ascii: "@"), UInt8(ascii: "="), UInt8(ascii: ","):
                length += 1
            default: return nil
            }
        }
        // No component is empty, `.` or `..`.
        guard length > 0, length != dots || length > 2 else { return nil }
        self.text = text
    }

    /// Bytewise, which is the order of every listing.
    package static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    package var description: String { text }
}

/// What an `ObjectStore` can be relied on for; published so that the layers above need no knowledge of the backend.
package struct ObjectStoreProperties: Sendable, Equatable {
    /// `/var/backups/semantik` or `s3://bucket/prefix`, for messages. Holds no credentials.
    package var location: String
    /// `putIfAbsent` never replaces an existing object, also when two writers race.
    package var atomicPutIfAbsent: Bool
    /// An object written is seen by every later get, stat and list.
    package var consistentListing: Bool
    /// Once a put returned, the object survives a power loss.
    package var durableOnReturn: Bool
    /// Largest object in bytes, if the store has a limit.
    package var maximumObjectSize: UInt64?
    /// How many requests at once are useful.
    package var usefulConcurrency: Int

    package init(
        location: String, atomicPutIfAbsent: Bool, consistentListing: Bool, durableOnReturn: Bool,
        maximumObjectSize: UInt64?, usefulConcurrency: Int
    ) {
        self.location = location
        self.atomicPutIfAbsent = atomicPutIfAbsent
        self.consistentListing = consistentListing
        self.durableOnReturn = durableOnReturn
        self.maximumObjectSize = maximumObjectSize
        self.usefulConcurrency = usefulConcurrency
    }
}

package struct ObjectInfo: Sendable, Equatable {
    package var key: ObjectKey
    package var size: UInt64
    package init(key: ObjectKey, size: UInt64) {
        self.key = key
        self.size = size
    }
}

/// One page of a listing, in ascending key order.
package struct ObjectPage: Sendable, Equatable {
    package var objects: [ObjectInfo]
    /// Give it to the next `list` call; nil on the last page.
    package var next: ObjectPageToken?
    package init(objects: [ObjectInfo], next: ObjectPageToken?) {
        self.objects = objects
        self.next = next
    }
}

/// Where a listing goes on; opaque to everyone but the store that made it.
package struct ObjectPageToken: Sendable, Equatable {
    package let value: String
    package init(_ value: String) { self.value = value }
}

/// The closed set of ways a store fails.
package struct StorageError: Error, LifeboatErrorConvertible, Equatable {
    package enum Kind: Sendable, Equatable {
        /// No object of that name.
        case notFound
        /// The requested range is not inside the object.
        case rangeNotSatisfiable
        /// Not allowed: permissions, credentials, a read-only place.
        case denied
        /// No space, quota, size limit.
        case full
        /// May succeed when tried again: time-out, EIO, 5xx.
        case transient
        /// Everything else.
        case other
    }

    package var kind: Kind
    /// `put`, `get`, `stat`, `list`, `delete`; `open` and `create` for the store itself.
    package var operation: String
    /// The object or prefix, or the place of the store.
    package var subject: String
    /// The system's or server's words: errno, HTTP status and S3 code are never lost.
    package var cause: LifeboatError?

    package init(_ kind: Kind, _ operation: String, _ subject: String, cause: LifeboatError? = nil) {
        self.kind = kind
        self.operation = operation
        self.subject = subject
        self.cause = cause
    }

    package var lifeboatError: LifeboatError {
        let headline =
            switch operation {
            case "open", "create": "cannot \(operation) the repository's folder '\(subject)'"
            case "list": "cannot list the objects under '\(subject)'"
            default: "cannot \(operation) object '\(subject)'"
            }
        guard let cause else {
            let reason = kind == .notFound ? "there is no such object" : "\(kind)"
            return LifeboatError(headline, causes: [reason])
        }
        return cause.wrapped(headline)
    }
}

/// A dumb store of immutable objects: the contract a local folder and S3 share. No rename, no append.
///
/// All calls block and are thread-safe; call them from dedicated threads. Objects are written once and never changed;
/// writing the same name twice stores the same bytes, except for the few objects whose name is not their digest
/// (`config.json`, `README.txt`, leases), which use `put`.
package protocol ObjectStore: Sendable {
    var properties: ObjectStoreProperties { get }

    /// Stores the pieces, in order, as one object unless one of that name exists. True when it was stored, false when
    /// it was there already (its content is not compared). When it returns the object is durable and complete; when
    /// it throws there is no object of that name, or the one from before.
    func putIfAbsent(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) -> Bool

    /// Stores the pieces, in order, as one object, replacing an existing one atomically.
    func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError)

    /// Reads `destination.count` bytes from `offset`. Throws `rangeNotSatisfiable` when the object is shorter.
    func read(
        _ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer) throws(StorageError)

    /// The whole object; `limit` guards against a huge one (throws `full` beyond it).
    func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8]

    /// Nil when there is no object of that name: only when the store said so, never on an error.
    func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo?

    /// A page of the objects whose key starts with `prefix` (a string, not a folder; empty for all), ascending.
    /// An error is never an empty page. Unfinished puts never show.
    func list(prefix: String, after token: ObjectPageToken?, limit: Int) throws(StorageError) -> ObjectPage

    /// Removes the object. False when there was none.
    func delete(_ key: ObjectKey) throws(StorageError) -> Bool
}

extension ObjectStore {
    /// Every object whose key starts with `prefix`, page by page, ascending.
    package func listAll(prefix: String) throws(StorageError) -> [ObjectInfo] {
        var objects: [ObjectInfo] = []
        try listPages(prefix: prefix) { objects += $0 }
        return objects
    }

    /// The same, for what there may be hundreds of thousands of: only a page is in memory at once.
    package func listPages(prefix: String, _ body: ([ObjectInfo]) -> Void) throws(StorageError) {
        var token: ObjectPageToken?
        repeat {
            // A folder is read again for every page that begins in it; a store may give shorter pages.
            let page = try list(prefix: prefix, after: token, limit: 10_000)
            body(page.objects)
            token = page.next
        } while token != nil
    }
}
