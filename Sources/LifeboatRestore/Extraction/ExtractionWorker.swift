// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// Everything the threads of one extraction share: where chunks come from, where objects go, what was done.
final class ExtractionContext: Sendable {
    private struct State {
        var report = ExtractionReport()
        /// Work handed out and not yet done.
        var outstanding = 0
        var fatal: (any Error)?
    }

    let reader: ChunkReader
    let target: any FileTreeTarget
    let counters: RestoreCounters
    let cancellation: Cancellation
    let queue: BoundedQueue<ExtractionWork>
    /// Names a path for people.
    let place: @Sendable (_ path: [UInt8]) -> String
    private let state = Monitor(State())

    init(
        reader: ChunkReader, target: any FileTreeTarget, counters: RestoreCounters, cancellation: Cancellation,
        queueCapacity: Int, place: @escaping @Sendable (_ path: [UInt8]) -> String
    ) {
        self.reader = reader
        self.target = target
        self.counters = counters
        self.cancellation = cancellation
        self.place = place
        queue = BoundedQueue(capacity: queueCapacity)
    }

    /// Hands work to the threads; blocks while they have enough. Throws when the extraction came to an end.
    func submit(_ work: ExtractionWork) throws {
        state.withLock { $0.outstanding += 1 }
        guard queue.push(work) else { throw fatalError ?? LifeboatError.interrupted }
    }

    /// Waits until all work handed out so far is done.
    func drain() throws {
        try state.wait { state -> Void? in
            if let fatal = state.fatal { throw fatal }
            return state.outstanding == 0 ? () : nil
        }
    }

    func workDone() { state.update { $0.outstanding -= 1 } }

    var fatalError: (any Error)? { state.withLock { $0.fatal } }

    var report: ExtractionReport { state.withLock { $0.report } }

    /// Ends the extraction: the first reason counts.
    func fail(_ error: any Error) {
        state.update { state in
            if state.fatal == nil { state.fatal = error }
        }
        queue.abandon()
    }

    func record(_ body: (inout ExtractionReport) -> Void) { state.withLock { body(&$0.report) } }

    func add(_ kind: ExtractionProblem.Kind, _ path: [UInt8], _ error: LifeboatError) {
        record { $0.add(ExtractionProblem(kind, path: path, error: error)) }
    }

    /// One object could not be created or completed: told and passed over, unless the next ones would fail alike.
    func refuse(_ entry: TreeEntry, _ error: any Error) throws {
        if Self.endsEverything(error) { throw error }
        add(
            .notWritten, entry.path,
            LifeboatError.converting(error, "cannot restore '\(place(entry.path))'"))
    }

    /// A full or read-only file system and a process out of descriptors refuse every other file too.
    private static func endsEverything(_ error: any Error) -> Bool {
        if let error = error as? LifeboatError, error.exitCode == .interrupted { return true }
        guard let error = error as? SystemCallError else { return false }
        return [ENOSPC, EDQUOT, EROFS, EMFILE, ENFILE].contains(error.errorNumber)
    }

    /// The reader or a worker is done with something inside this folder.
    func release(_ folder: FolderNode?) throws {
        var current = folder
        while let folder = current, folder.release() {
            do {
                try target.finishFolder(folder.entry)
            } catch {
                try refuse(folder.entry, error)
            }
            current = folder.parent
        }
    }
}

/// What one thread does: creates objects and fills files until the queue ends.
struct ExtractionWorker {
    private let context: ExtractionContext

    init(_ context: ExtractionContext) { self.context = context }

    func run() {
        while let work = context.queue.pop() {
            do {
                try context.cancellation.check()
                switch work {
                case .entries(let entries): try restore(entries)
                case .chunks(let file, let places): try fill(file, places)
                }
            } catch {
                context.fail(error)
            }
            context.workDone()
        }
    }

    // MARK: - Small files and other objects

    private func restore(_ entries: [ExtractionEntry]) throws {
        var report = ExtractionReport()
        defer { context.record { $0.add(report) } }
        for item in entries {
            try context.cancellation.check()
            let entry = item.entry
            if entry.kind == .file, entry.hardLink == nil {
                try restoreFile(entry, &report)
            } else {
                do {
                    _ = try context.target.create(entry)
                    report.count(entry)
                } catch {
                    try context.refuse(entry, error)
                }
            }
            try context.release(item.folder)
        }
        context.counters.add(
            files: UInt64(entries.count), bytes: report.bytes,
            current: entries.last.map { context.place($0.entry.path) })
    }

    private func restoreFile(_ entry: TreeEntry, _ report: inout ExtractionReport) throws {
        guard let content = entry.content else { return }
        guard content.size > 0 else {
            do {
                try create(entry).finish()
                report.files += 1
            } catch {
                try context.refuse(entry, error)
            }
            return
        }
        var damage = FileDamage()
        var file: (any FileContentTarget)?
        var end: UInt64 = 0
        do {
            let chunks = try ChunkSequence(context.reader, content)
            while let chunk = try chunks.next() {
                let place = ChunkPlace(id: chunk.id, offset: chunk.offset, length: chunk.length)
                if context.target.canReuse {
                    do {
                        let open = try file ?? create(entry)
                        file = open
                        if try open.reuses(place) { continue }
                    } catch {
                        damage.writeFailure = error
                        break
                    }
                }
                do {
                    // The file comes into being with its first good chunk.
                    try withVerifiedChunk(chunk.id, length: chunk.length) { bytes in
                        let open = try file ?? create(entry)
                        file = open
                        try open.write(bytes, atContentOffset: chunk.offset)
                    } onFailure: {
                        damage.writeFailure = $0
                    }
                } catch {
                    damage.add(at: chunk.offset, length: UInt64(chunk.length), error)
                }
                if damage.writeFailure != nil { break }
                end = chunk.offset + UInt64(chunk.length)
            }
        } catch {
            // The list of chunks itself: everything from here on is lost.
            damage.add(at: end, length: content.size > end ? content.size - end : 0, error)
        }
        try finish(entry, file, damage, &report)
    }

    // MARK: - Large files

    private func fill(_ file: LargeFile, _ places: [ChunkPlace]) throws {
        let bytes = try write(places, of: file)
        context.counters.add(files: 0, bytes: bytes, current: context.place(file.entry.path))
        try context.release(file)
    }

    /// Gives the bytes written; what could not be read or written is noted with the file.
    private func write(_ places: [ChunkPlace], of file: LargeFile) throws -> UInt64 {
        guard let open = file.open else { return 0 }
        var bytes: UInt64 = 0
        for place in places {
            try context.cancellation.check()
            // Nothing of a file with losses stays: the rest of it need not be read.
            guard file.losses.writeFailure == nil else { break }
            do {
                if try open.reuses(place) {
                    bytes += UInt64(place.length)
                    continue
                }
            } catch {
                file.addWriteFailure(error)
                break
            }
            do {
                try withVerifiedChunk(place.id, length: place.length) { data in
                    try open.write(data, atContentOffset: place.offset)
                } onFailure: {
                    file.addWriteFailure($0)
                }
                bytes += UInt64(place.length)
            } catch {
                file.addDamage(at: place.offset, length: UInt64(place.length), error)
            }
        }
        if let failure = file.losses.writeFailure { try context.throwIfEndsEverything(failure) }
        return bytes
    }

    // MARK: - Shared

    private func create(_ entry: TreeEntry) throws -> any FileContentTarget {
        guard let file = try context.target.create(entry) else {
            throw LifeboatError("the place it goes to opened no file")
        }
        return file
    }

    /// Throws when the chunk is missing or damaged; what `body` throws goes to `onFailure`, so that a full disk is
    /// never taken for a damaged repository.
    private func withVerifiedChunk(
        _ id: Digest, length: UInt32, _ body: (UnsafeRawBufferPointer) throws -> Void,
        onFailure: (any Error) -> Void
    ) throws {
        try context.reader.withChunk(id, length: length) { bytes in
            do { try body(bytes) } catch { onFailure(error) }
        }
    }

    private func finish(
        _ entry: TreeEntry, _ file: (any FileContentTarget)?, _ damage: FileDamage, _ report: inout ExtractionReport
    ) throws {
        let outcome = try context.finish(entry, file, damage)
        report.add(outcome)
    }
}

extension ExtractionContext {
    func throwIfEndsEverything(_ error: any Error) throws {
        if Self.endsEverything(error) { throw error }
    }

    /// Completes a file, or lets it go, and so removes it, when content of it is lost: what is not whole must not look
    /// as if it were.
    func finish(_ entry: TreeEntry, _ file: (any FileContentTarget)?, _ damage: FileDamage) throws -> ExtractionReport {
        var report = ExtractionReport()
        if let failure = damage.writeFailure {
            try refuse(entry, failure)
            return report
        }
        guard let file, damage.isEmpty else {
            report.add(ExtractionProblem(.damaged, path: entry.path, error: damage.error(path: place(entry.path))))
            return report
        }
        do {
            try file.finish()
            report.files += 1
            report.bytes.addClamped(entry.content?.size ?? 0)
        } catch {
            try refuse(entry, error)
        }
        return report
    }

    /// One run of chunks of a large file is done; the last one completes the file.
    func release(_ file: LargeFile) throws {
        guard file.release() else { return }
        let outcome = try finish(file.entry, file.take(), file.losses)
        record { $0.add(outcome) }
        counters.add(files: 1, bytes: 0, current: place(file.entry.path))
        try release(file.folder)
    }
}

extension FileContentTarget {
    func reuses(_ place: ChunkPlace) throws -> Bool {
        try reuses(place.id, atContentOffset: place.offset, length: place.length)
    }
}

extension ExtractionReport {
    /// Counts a created object.
    mutating func count(_ entry: TreeEntry) {
        switch entry.kind {
        case _ where entry.hardLink != nil: links += 1
        case .file: files += 1
        case .directory: folders += 1
        case .symbolicLink: links += 1
        case .fifo, .socket, .characterDevice, .blockDevice: specials += 1
        }
    }
}
