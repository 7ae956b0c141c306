// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatIO
import LifeboatRepository

/// The records of restores on this host, a file each: `<state folder>/restores/<restore id>.json`. Written atomically
/// and durably; a record is there from before the first step until nothing is left to do.
package struct RestoreJournal: Sendable {
    /// How a file comes into being; replaced in tests that make it fail.
    package typealias Writer = @Sendable (_ text: [UInt8], _ path: String) throws -> Void

    package let folder: String
    private let writer: Writer
    private static let suffix = ".json"
    /// Largest record that is read, in bytes.
    private static let recordLimit = 16 << 20

    package init(stateFolder: String, writer: @escaping Writer = Self.writeAtomically) {
        folder = "\(stateFolder)/restores"
        self.writer = writer
    }

    package static let writeAtomically: Writer = { text, path in
        _ = try text.withUnsafeBytes { bytes throws(SystemCallError) in try AtomicFile.write([bytes], to: path) }
    }

    package func path(of id: String) -> String { "\(folder)/\(id)\(Self.suffix)" }

    /// Takes the lock of a stack: one backup, restore, or recovery of a restore at a time. Throws `busy` when another
    /// process has it. The kernel releases it when the process ends, however it ends.
    package func lock(stack: String) throws -> FileLock {
        try FileTree.createFolders(folder)
        guard let lock = try FileLock.tryLock("\(folder)/\(stack).lock") else {
            throw LifeboatError(
                "another lifeboat is backing up or restoring stack '\(stack)' on this host",
                hint: "Wait until it is done, or end it and run this command again.", exitCode: .busy)
        }
        return lock
    }

    package func write(_ record: RestoreRecord) throws {
        do {
            try FileTree.createFolders(folder)
            try writer(try CanonicalJSON.encode(record, pretty: true), path(of: record.plan.id))
        } catch {
            throw LifeboatError.converting(error, "cannot write the journal of the restore")
        }
    }

    /// Nothing is left to do for this restore. A record that is not there is fine.
    package func remove(_ id: String) throws {
        let path = path(of: id)
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
        do {
            try AtomicFile.synchronizeFolder(of: path)
        } catch {
            // Without the folder there is no record either.
            guard error.errorNumber == ENOENT else { throw error }
        }
    }

    /// Notes with every earlier restore that kept old data of a component of `later` that it cannot be rolled back any
    /// more: what it restored is not what is live now.
    package func supersede(before later: RestoreRecord) throws {
        for var record in try records().records where record.course == .kept && record.supersededBy == nil {
            guard record.plan.stack == later.plan.stack, record.plan.id != later.plan.id,
                record.plan.created <= later.plan.created, record.plan.targets == later.plan.targets,
                record.plan.components.contains(where: { later.plan.components.contains(where: $0.overlaps) })
            else { continue }
            record.supersededBy = later.plan.id
            try write(record)
        }
    }

    /// Ends the restores in place that `later`, which succeeded, put right: what they staged beside is of no use any more
    /// and may go.
    func endReplaced(by later: RestoreRecord, _ now: Timestamp) throws {
        for var record in try records().records where record.isReplaced(by: later) {
            if record.plan.components.allSatisfy(\.isInPlace) {
                try remove(record.plan.id)
            } else {
                record.leave(to: later, now)
                try write(record)
            }
        }
    }

    /// Every record, ascending by id; what cannot be read is told, never passed over.
    package func records() throws -> (records: [RestoreRecord], unreadable: [LifeboatError]) {
        var records: [RestoreRecord] = []
        var unreadable: [LifeboatError] = []
        for name in try FileTree.names(in: folder).sorted() where name.hasSuffix(Self.suffix) {
            do {
                if let record = try read("\(folder)/\(name)") { records.append(record) }
            } catch {
                unreadable.append(
                    LifeboatError.converting(
                        error, "cannot read the journal '\(folder)/\(name)' of a restore that was cut off",
                        hint: "Look at it by hand: it names the data that was staged and exchanged."))
            }
        }
        return (records, unreadable)
    }

    /// Nil when the file vanished meanwhile: its restore ended.
    private func read(_ path: String) throws -> RestoreRecord? {
        let bytes: [UInt8]
        do {
            let file = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW)
            bytes = try Self.read(file, path)
        } catch let error as SystemCallError where error.errorNumber == ENOENT {
            return nil
        }
        let record = try CanonicalJSON.decode(RestoreRecord.self, from: bytes)
        guard record.format == RestoreRecord.currentFormat, record.states.count == record.plan.steps.count else {
            throw LifeboatError("it was written by another version of lifeboat")
        }
        return record
    }

    private static func read(_ file: borrowing OwnedDescriptor, _ path: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let raw = file.raw
            let count = try buffer.withUnsafeMutableBytes { part throws(SystemCallError) in
                try DescriptorIO.read(raw, into: part, path)
            }
            bytes += buffer[..<count]
            if count < buffer.count { return bytes }
            guard bytes.count <= recordLimit else { throw LifeboatError("it is larger than any record") }
        }
    }
}
