// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// What a restore does to one server, kept on this host from before its first step until nothing of it is left: the
/// server itself has no place to tell a restored collection from another.
struct QdrantRestoreRecord: Codable, Sendable, Equatable {
    enum Phase: String, Codable, Sendable {
        /// Nothing was sent.
        case planned
        /// The staged collection, or a file of it, may be on the server.
        case uploading
        /// The staged collection is whole.
        case staged
        /// The live collection is being copied aside; it is untouched.
        case keeping
        /// The live collection is there twice, or there was none.
        case kept
        /// The live name is being filled: it cannot be trusted.
        case replacing
        case swapped
        /// The live name is being filled with the old data: it cannot be trusted.
        case returning
        case returned
    }

    struct Alias: Codable, Sendable, Equatable {
        var name: String
        /// What it pointed to when the restore was staged; nil: there was none.
        var before: String?
    }

    struct Item: Codable, Sendable, Equatable {
        /// The name in the snapshot.
        var name: String
        var staged: String
        /// The copy of the live collection, when that has to make room.
        var old: String
        /// The aliases that move; empty: the collection is copied into its own name.
        var moves: [Alias]
        /// Aliases that point to the copied collection afterwards: those of the snapshot.
        var aliases: [Alias]
        /// Aliases of the live collection, which go along with it when it is deleted. Noted at the swap.
        var liveAliases: [String] = []
        var hadLive: Bool?
        var size: UInt64
        var sha256: String?
        /// Points of the staged collection, once it is whole.
        var points: Int64?
        /// Points of the copy of the live one.
        var oldPoints: Int64?
        var phase = Phase.planned

        var isByName: Bool { moves.isEmpty }
    }

    var version = 1
    var url: String
    var restore: String
    var items: [Item]

    /// Nil: nothing was ever staged, or everything is cleared up.
    static func load(_ path: String) throws -> QdrantRestoreRecord? {
        if access(path, F_OK) != 0, errno == ENOENT { return nil }
        return try JSONText.decode(QdrantRestoreRecord.self, try SmallFile.read(path), "record '\(path)'")
    }

    func save(_ path: String) throws {
        try FileTree.createFolders(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        try AtomicFile.write(String(decoding: try JSONText.encode(self, pretty: true), as: UTF8.self), to: path)
    }

    static func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
    }
}
