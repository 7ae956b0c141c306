// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// What a scrub looked at and found.
package struct ScrubReport: Sendable, Equatable, Codable {
    package var packs: UInt64 = 0
    package var indexes: UInt64 = 0
    package var snapshots: UInt64 = 0
    package var bytesRead: UInt64 = 0
    package var problems: [CheckProblem] = []
    package var notes: [String] = []

    package init() {}

    package var isHealthy: Bool { problems.isEmpty }
}

/// Holds the stored bytes of every object against its name. Needs no key, no index and no cache: nothing is decoded or
/// parsed, so any host that can read the storage can do it, also for an encrypted repository.
///
/// It finds what rotted, not what is missing: which packs there must be stands in indexes, which it cannot read.
package struct RepositoryScrubber {
    private let store: any ObjectStore
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    private let threads: Int

    /// `threads` read objects at once, each with a buffer of 4 MiB.
    package init(
        _ store: any ObjectStore, threads: Int, progress: any ProgressSink, cancellation: Cancellation
    ) {
        self.store = store
        self.threads = max(1, threads)
        self.progress = progress
        self.cancellation = cancellation
    }

    /// What the name of an object promises of its bytes.
    private enum Promise: Sendable {
        case digest(Digest)
        case shortDigest(String)
    }

    private struct Work: Sendable {
        var object: ObjectInfo
        var promise: Promise
    }

    private struct State: Sendable {
        var next = 0
        var bytesRead: UInt64 = 0
        var problems: [CheckProblem] = []
    }

    /// Throws `noRepository` when there is neither a config.json nor anything else of a repository, and when the store
    /// cannot be read.
    package func run() throws -> ScrubReport {
        var report = ScrubReport()
        try checkConfig(&report)
        var work: [Work] = []
        for prefix in [
            RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix,
            RepositoryLayout.forgottenPrefix, RepositoryLayout.keyPrefix, RepositoryLayout.drillPrefix,
        ] {
            for object in try store.listAll(prefix: prefix) {
                try cancellation.check()
                if let promise = Self.promise(object.key, &report) {
                    work.append(Work(object: object, promise: promise))
                } else if !object.key.text.hasSuffix(".minisig"), prefix != RepositoryLayout.forgottenPrefix {
                    report.notes.append("'\(object.key)' has no name that says what its bytes must be")
                }
            }
        }
        if work.isEmpty, try store.stat(RepositoryLayout.config) == nil {
            throw RepositoryError.absent(store.properties.location)
        }
        try read(work, &report)
        report.problems.sort { $0.object < $1.object }
        return report
    }

    /// Encrypted objects have one suffix more and are named by their stored bytes all the same.
    private static func promise(_ key: ObjectKey, _ report: inout ScrubReport) -> Promise? {
        let isEncrypted = key.text.hasSuffix(".age")
        guard let plain = isEncrypted ? ObjectKey(String(key.text.dropLast(4))) : key else { return nil }
        if let name = RepositoryLayout.packName(key) ?? RepositoryLayout.packName(plain) {
            report.packs += 1
            return .digest(name)
        }
        if let name = RepositoryLayout.indexName(key) ?? RepositoryLayout.indexName(plain) {
            report.indexes += 1
            return .digest(name)
        }
        if let name = RepositoryLayout.manifestName(key) ?? RepositoryLayout.manifestName(plain) {
            report.snapshots += 1
            return .shortDigest(name.shortID)
        }
        if let name = RepositoryLayout.wrappedIdentityName(key) ?? RepositoryLayout.recoveryKeyName(key) {
            return .shortDigest(name)
        }
        if let name = RepositoryLayout.drillName(plain) { return .shortDigest(name.shortID) }
        // Named by their plain text, which is the stored one only when nothing is encrypted.
        if !isEncrypted, let name = RepositoryLayout.forgottenName(key) { return .shortDigest(name.shortID) }
        return nil
    }

    /// The `integrity` value of config.json, without understanding the rest: the digest of the text with that value
    /// replaced by zeros.
    private func checkConfig(_ report: inout ScrubReport) throws {
        let key = RepositoryLayout.config
        guard let object = try store.stat(key) else {
            report.problems.append(CheckProblem(object: key.text, reason: "it is missing"))
            return
        }
        guard object.size <= Repository.documentLimit else {
            report.problems.append(CheckProblem(object: key.text, reason: "it is larger than any config.json"))
            return
        }
        let bytes = try store.get(key, limit: Repository.documentLimit)
        let label = Array("\"integrity\" : \"".utf8)
        guard let start = bytes.firstRange(of: label)?.upperBound, start + 64 < bytes.count,
            let value = Digest(hex: String(decoding: bytes[start..<start + 64], as: UTF8.self))
        else {
            report.problems.append(CheckProblem(object: key.text, reason: "it has no integrity value"))
            return
        }
        var blank = bytes
        blank.replaceSubrange(start..<start + 64, with: Array(repeating: UInt8(ascii: "0"), count: 64))
        if BLAKE3.hash(blank) != value {
            report.problems.append(
                CheckProblem(object: key.text, reason: "its content does not match its integrity value"))
        }
    }

    private func read(_ work: [Work], _ report: inout ScrubReport) throws {
        let state = Monitor(State())
        let bytesTotal = work.reduce(0) { $0 + $1.object.size }
        let bodies: [(name: String, body: @Sendable () throws -> Void)] = (0..<threads).map { number in
            ("scrub-\(number)", { @Sendable () throws -> Void in try self.readShare(work, state, bytesTotal) })
        }
        let cancellation = cancellation
        try runConcurrently(bodies) { cancellation.cancel() }
        let done = state.withLock { $0 }
        report.bytesRead = done.bytesRead
        report.problems += done.problems
    }

    /// The body of one thread: takes the next object until none is left.
    private func readShare(_ work: [Work], _ state: Monitor<State>, _ bytesTotal: UInt64) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 64)
        defer { buffer.deallocate() }
        while true {
            try cancellation.check()
            let position = state.withLock { (state: inout State) -> Int in
                defer { state.next += 1 }
                return state.next
            }
            guard position < work.count else { return }
            let object = work[position].object
            let problem = try Self.problem(object, work[position].promise, store, buffer, cancellation)
            var counters = ProgressCounters()
            counters.bytesTotal = bytesTotal
            counters.bytesDone = state.withLock { (state: inout State) -> UInt64 in
                if let problem { state.problems.append(problem) }
                state.bytesRead += object.size
                return state.bytesRead
            }
            progress.report(.counters(counters))
        }
    }

    private static func problem(
        _ object: ObjectInfo, _ promise: Promise, _ store: any ObjectStore, _ buffer: UnsafeMutableRawBufferPointer,
        _ cancellation: Cancellation
    ) throws -> CheckProblem? {
        let digest: Digest
        do {
            digest = try Self.digest(object, store, buffer, cancellation)
        } catch let error as StorageError where error.kind == .notFound {
            // Pruned or replaced since it was listed: nothing is wrong with what is not there.
            return nil
        } catch let error as StorageError where error.kind == .rangeNotSatisfiable {
            return CheckProblem(object: object.key.text, reason: "it became shorter while it was read")
        }
        let reason = "its bytes do not have the digest in its name"
        switch promise {
        case .digest(let name):
            return digest == name ? nil : CheckProblem(object: object.key.text, reason: reason)
        case .shortDigest(let name):
            guard digest.shortHex != name else { return nil }
            var problem = CheckProblem(object: object.key.text, reason: reason)
            if object.key.text.hasPrefix(RepositoryLayout.snapshotPrefix) { problem.snapshots = [name] }
            return problem
        }
    }

    private static func digest(
        _ object: ObjectInfo, _ store: any ObjectStore, _ buffer: UnsafeMutableRawBufferPointer,
        _ cancellation: Cancellation
    ) throws -> Digest {
        var hasher = BLAKE3Hasher()
        var offset: UInt64 = 0
        while offset < object.size {
            try cancellation.check()
            let count = Int(min(UInt64(buffer.count), object.size - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            try store.read(object.key, at: offset, into: piece)
            hasher.update(UnsafeRawBufferPointer(piece))
            offset += UInt64(count)
        }
        return hasher.finalize()
    }
}
