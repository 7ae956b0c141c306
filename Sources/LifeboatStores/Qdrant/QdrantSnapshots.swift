// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The snapshots that one run makes on a server, written down on this host before each is asked for, so that none is
/// left behind: neither by a failure, nor by the death of the process, which the next run clears up after.
///
/// The server chooses a snapshot's name and tells it only when the snapshot is whole. What was asked for and never
/// answered is recognised by what was there before and by the time in its name. Thread-safe.
final class QdrantSnapshots: Sendable {
    /// What the record of a run holds. Never a secret.
    private struct Record: Codable, Sendable {
        struct Entry: Codable, Sendable {
            var collection: String
            /// Snapshots that were there when this one was asked for.
            var before: [String]
            /// Seconds since 1970 by the server's clock, when it was asked for.
            var asked: Int64
            /// Nil until the server has told it.
            var name: String?
        }
        var version = 1
        var url: String
        var owner: ProcessIdentity
        var entries: [Entry]
    }

    /// A snapshot begun within so many seconds of being asked for is the one that was asked for.
    private static let window: Int64 = 120
    /// A snapshot that did not come into being within a day never will.
    private static let patience: Int64 = 86_400
    private static let prefix = "qdrant-snapshots-"

    private let api: QdrantAPI
    private let path: String
    private let record: Monitor<Record>

    /// `folder` holds the records of this host.
    init(_ api: QdrantAPI, folder: String) throws {
        self.api = api
        let chance = String(UInt64.random(in: .min ... .max), radix: 16)
        path = "\(folder)/\(Self.prefix)\(chance).json"
        record = Monitor(Record(url: api.client.endpoint.url, owner: try .current(), entries: []))
    }

    private init(_ api: QdrantAPI, path: String, _ record: Record) {
        self.api = api
        self.path = path
        self.record = Monitor(record)
    }

    /// Makes one. When this throws, nothing of it is left on a server that still answers.
    func create(_ collection: String, _ cancellation: Cancellation?) throws -> QdrantAPI.Snapshot {
        let (list, serverTime) = try api.snapshots(collection)
        let asked = serverTime ?? Int64(time(nil))
        try change { record in
            record.entries.append(
                Record.Entry(collection: collection, before: list.map(\.name), asked: asked, name: nil))
        }
        do {
            let snapshot = try api.createSnapshot(collection, cancellation)
            try change { record in
                guard let index = record.entries.lastIndex(where: { $0.collection == collection && $0.name == nil })
                else { return }
                record.entries[index].name = snapshot.name
            }
            return snapshot
        } catch {
            // A refusal leaves nothing. After anything else the server may still be at it: wait for what it makes.
            let isAnswered = (error as? RESTError)?.status.map { $0 >= 400 } ?? false
            _ = try? settle(isAnswered ? 0 : 30, isOver: isAnswered)
            throw error
        }
    }

    /// Deletes it on the server, and from the record.
    func delete(_ collection: String, _ name: String) throws {
        try api.deleteSnapshot(collection, name)
        try change { record in
            record.entries.removeAll { $0.collection == collection && $0.name == name }
        }
    }

    /// Deletes all that there is. False when something may be left: the record stays then, for the next run.
    @discardableResult
    func deleteAll() -> Bool { (try? settle(0)) ?? false }

    private func change(_ body: (inout Record) -> Void) throws {
        try record.withLock { record in
            body(&record)
            try Self.write(record, to: path)
        }
    }

    private static func write(_ record: Record, to path: String) throws {
        if record.entries.isEmpty {
            guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
            return
        }
        try FileTree.createFolders(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        try AtomicFile.write(String(decoding: try JSONText.encode(record), as: UTF8.self), to: path)
    }

    /// Deletes what has a name, and what was asked for and is found within `seconds`. True when nothing is left.
    /// `isOver`: the server is at nothing any more, so what is not found will not come.
    private func settle(_ seconds: Double, isOver: Bool = false) throws -> Bool {
        let entries = record.withLock { $0.entries }
        let existing = try api.collections()
        var left: [Record.Entry] = []
        for entry in entries {
            // Without its collection no snapshot can be reached, nor does a backup care.
            guard existing.contains(entry.collection) else { continue }
            if let name = entry.name {
                try api.deleteSnapshot(entry.collection, name)
            } else if try !deleteUnnamed(entry, seconds), !isOver {
                left.append(entry)
            }
        }
        let rest = left
        try change { $0.entries = rest }
        return rest.isEmpty
    }

    /// False: it is not there, and may still come.
    private func deleteUnnamed(_ entry: Record.Entry, _ seconds: Double) throws -> Bool {
        var waited = 0.0
        while true {
            let (list, serverTime) = try api.snapshots(entry.collection)
            let candidates = list.map(\.name).filter { name in
                guard !entry.before.contains(name),
                    let moment = QdrantTime.moment(ofSnapshot: name, of: entry.collection)
                else { return false }
                return (entry.asked - 2...entry.asked + Self.window).contains(moment)
            }
            // Of two one is somebody else's: better a file too many than one too few.
            if candidates.count == 1, let name = candidates.first {
                try api.deleteSnapshot(entry.collection, name)
                return true
            }
            if candidates.count > 1 { return true }
            if waited >= seconds { return (serverTime ?? Int64(time(nil))) > entry.asked + Self.patience }
            usleep(500_000)
            waited += 0.5
        }
    }

    /// Deletes what runs that have died left on this server. What cannot be cleared up is a warning, and tried again by
    /// the next run.
    static func clearUp(_ api: QdrantAPI, folder: String) -> [LifeboatError] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var warnings: [LifeboatError] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix(prefix), name.hasSuffix(".json") else { continue }
            let path = "\(folder)/\(name)"
            do {
                let record = try JSONText.decode(Record.self, try SmallFile.read(path), "record '\(path)'")
                guard record.url == api.client.endpoint.url, try !record.owner.isAlive() else { continue }
                _ = try QdrantSnapshots(api, path: path, record).settle(0)
            } catch {
                warnings.append(
                    LifeboatError.converting(
                        error, "snapshots that a killed run left on \(api.client.endpoint.subject) are not deleted yet")
                )
            }
        }
        return warnings
    }
}
