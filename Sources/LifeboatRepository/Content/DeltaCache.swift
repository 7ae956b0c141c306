// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Plain copies of what the newest snapshot of a stack contains, on a host that cannot read the repository: the bases of
/// the deltas of its next backup. They contain no more than the live data beside them did when it was captured.
///
/// In the local cache: `bases/<stack>/<12 digits of the component's name>/<content id>`, mode 0600. Every read is
/// checked against the id of its chunk, so a copy that is absent, cut short or changed costs the delta and nothing else;
/// so does a cache that cannot be written. Thread-safe; blocking.
package final class DeltaCache: Sendable {
    private let folder: String
    private let stack: String
    private let budget: ByteBudget

    /// Copies of components that no backup captured for so long are removed.
    private static let lifetimeDays: Int64 = 30

    /// `limit`: bytes that all copies of the repository may take together; nil for a tenth of the free disk space.
    fileprivate init(_ cacheFolder: String, stack: String, limit: UInt64?) {
        folder = "\(cacheFolder)/\(Self.name)"
        self.stack = stack
        let used = Self.bytes(below: folder)
        budget = ByteBudget(limit: limit ?? (Self.freeBytes(cacheFolder) &+ used) / 10, used: used)
    }

    fileprivate static let name = "bases"

    /// The copies of one component.
    package func component(_ name: String) -> DeltaBases {
        DeltaBases(folder: path(of: name), budget)
    }

    /// Ends a backup: of the components that were captured whole only what `DeltaBases` marked stays; so do all copies
    /// of components captured lately.
    package func finish(_ components: [(name: String, bases: DeltaBases)], now: Timestamp) {
        for component in components { component.bases.removeOthers() }
        let limit = now.seconds - Self.lifetimeDays * 86_400
        for entry in Self.entries(in: "\(folder)/\(stack)") where entry.modified < limit {
            Self.removeFolder("\(folder)/\(stack)/\(entry.name)")
        }
    }

    private func path(of component: String) -> String {
        "\(folder)/\(stack)/\(BLAKE3.hash(Array(component.utf8)).shortHex)"
    }

    // MARK: files

    fileprivate struct Entry {
        var name: String
        var bytes: UInt64
        /// Seconds since 1970.
        var modified: Int64
    }

    /// What is in a folder; nothing where it cannot be read.
    fileprivate static func entries(in folder: String) -> [Entry] {
        let names: [String]
        do throws(SystemCallError) { names = try FileTree.names(in: folder) } catch { return [] }
        return names.compactMap { name in
            var status = stat()
            guard lstat("\(folder)/\(name)", &status) == 0 else { return nil }
            return Entry(
                name: name, bytes: UInt64(clamping: status.st_size), modified: Int64(status.st_mtim.tv_sec))
        }
    }

    /// Bytes of the copies of all stacks.
    private static func bytes(below folder: String) -> UInt64 {
        var total: UInt64 = 0
        for stack in entries(in: folder) {
            for component in entries(in: "\(folder)/\(stack.name)") {
                for copy in entries(in: "\(folder)/\(stack.name)/\(component.name)") { total &+= copy.bytes }
            }
        }
        return total
    }

    private static func freeBytes(_ folder: String) -> UInt64 {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return 0 }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return overflow ? .max / 2 : min(bytes, .max / 2)
    }

    /// Removes the copies in it, and the folder itself. What cannot be removed stays; it does no harm.
    fileprivate static func removeFolder(_ folder: String) {
        for entry in entries(in: folder) { unlink("\(folder)/\(entry.name)") }
        rmdir(folder)
    }
}

extension Repository {
    /// The copies that deltas of `stack` are made from, at most `limit` bytes (nil: a tenth of the free disk space). Nil
    /// on a host that can read the repository, which needs none, and for a limit of 0; copies there were are removed.
    package func deltaCache(stack: String, limit: UInt64?) -> DeltaCache? {
        guard !sealing.canRead, limit != 0 else {
            let folder = "\(cacheFolder)/\(DeltaCache.name)/\(stack)"
            for component in DeltaCache.entries(in: folder) {
                DeltaCache.removeFolder("\(folder)/\(component.name)")
            }
            rmdir(folder)
            return nil
        }
        return DeltaCache(cacheFolder, stack: stack, limit: limit)
    }
}

/// How many bytes may still be written. Thread-safe.
private final class ByteBudget: Sendable {
    private let limit: UInt64
    private let used: Monitor<UInt64>

    init(limit: UInt64, used: UInt64) {
        self.limit = limit
        self.used = Monitor(used)
    }

    /// False when there is no space left for so many.
    func take(_ count: Int) -> Bool {
        used.withLock { used in
            let (sum, overflow) = used.addingReportingOverflow(UInt64(count))
            guard !overflow, sum <= limit else { return false }
            used = sum
            return true
        }
    }

    func giveBack(_ count: UInt64) { used.withLock { $0 -= min($0, count) } }
}

/// The copies of one component: those of its last snapshot to read, those of the one being made to write. Thread-safe.
package final class DeltaBases: Sendable {
    private struct State {
        /// Contents there is a copy of.
        var present: Set<Digest> = []
        /// Those that the snapshot being made contains.
        var kept: Set<Digest> = []
        var isBroken = false
    }

    private let folder: String
    private let budget: ByteBudget
    private let state: Monitor<State>

    fileprivate init(folder: String, _ budget: ByteBudget) {
        self.folder = folder
        self.budget = budget
        var state = State()
        state.present = Set(DeltaCache.entries(in: folder).compactMap { Digest(hex: $0.name) })
        self.state = Monitor(state)
    }

    /// The copy of a content of the last snapshot; nil when there is none.
    func copy(of content: Digest) -> DeltaBaseFile? {
        guard state.withLock({ $0.present.contains(content) }) else { return nil }
        return DeltaBaseFile("\(folder)/\(content.hex)")
    }

    /// The snapshot being made contains this content, unchanged.
    package func keep(_ content: Digest) {
        state.withLock { state in
            if state.present.contains(content) { state.kept.insert(content) }
        }
    }

    /// A copy of a content on its way into the repository; nil where none can be written. With `skipsNoise` what does
    /// not compress is left out: there is no use for deltas of it.
    func newCopy(skipsNoise: Bool) -> DeltaBaseCopy? {
        guard !state.withLock({ $0.isBroken }) else { return nil }
        do throws(SystemCallError) { try FileTree.createFolders(folder) } catch {
            state.withLock { $0.isBroken = true }
            return nil
        }
        // Tells the age of the component.
        utimensat(AT_FDCWD, folder, nil, 0)
        return DeltaBaseCopy(self, folder: folder, budget: budget, skipsNoise: skipsNoise)
    }

    fileprivate func noteCopy(of content: Digest) {
        state.withLock { state in
            state.present.insert(content)
            state.kept.insert(content)
        }
    }

    /// Removes what the snapshot does not contain: of data that is no longer live nothing stays here.
    fileprivate func removeOthers() {
        let kept = state.withLock { $0.kept }
        for entry in DeltaCache.entries(in: folder) {
            if let content = Digest(hex: entry.name), kept.contains(content) { continue }
            unlink("\(folder)/\(entry.name)")
        }
    }
}

/// A copy that is read: thread-safe.
final class DeltaBaseFile: Sendable {
    private let descriptor: Int32

    /// Nil when it cannot be opened.
    fileprivate init?(_ path: String) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Fills `target` with the chunk `id` that starts at `start` of the content. False when the copy does not have it.
    func read(_ id: Digest, at start: UInt64, into target: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < target.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: target[done...])
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(clamping: start &+ UInt64(done)))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return BLAKE3.hash(UnsafeRawBufferPointer(target)) == id
    }
}

/// A copy that is written, chunk by chunk in any order; removed unless it is finished. Thread-safe.
final class DeltaBaseCopy: Sendable {
    private struct State {
        /// -1: not begun, or given up.
        var descriptor: Int32 = -1
        var isGivenUp = false
        var taken: UInt64 = 0
    }

    private let bases: DeltaBases
    private let budget: ByteBudget
    private let folder: String
    private let path: String
    private let skipsNoise: Bool
    private let state = Monitor(State())

    fileprivate init(_ bases: DeltaBases, folder: String, budget: ByteBudget, skipsNoise: Bool) {
        self.bases = bases
        self.budget = budget
        self.folder = folder
        self.skipsNoise = skipsNoise
        var generator = SystemRandomNumberGenerator()
        path = "\(folder)/new-\(String(generator.next(), radix: 16))"
    }

    deinit {
        let (descriptor, taken) = state.withLock { state in
            defer { state.descriptor = -1 }
            return (state.descriptor, state.taken)
        }
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(path)
        budget.giveBack(taken)
    }

    /// Takes the bytes of a chunk; without disk space for it the copy has a hole there.
    func write(_ bytes: UnsafeRawBufferPointer, at start: UInt64) {
        if skipsNoise, Compressibility.savesTooLittle(bytes) { return }
        guard budget.take(bytes.count) else { return }
        let descriptor = state.withLock { state -> Int32 in
            state.taken += UInt64(bytes.count)
            if state.descriptor < 0, !state.isGivenUp {
                state.descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
                state.isGivenUp = state.descriptor < 0
            }
            return state.isGivenUp ? -1 : state.descriptor
        }
        guard descriptor >= 0 else { return }
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(clamping: start &+ UInt64(done)))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return state.withLock { $0.isGivenUp = true } }
            done += count
        }
    }

    /// All chunks were handed over: from now on this is the copy of `content`.
    func finish(as content: ContentReference) {
        let taken = state.withLock { state -> UInt64? in
            guard state.descriptor >= 0 else { return nil }
            close(state.descriptor)
            state.descriptor = -1
            defer { state.taken = 0 }
            return state.taken
        }
        guard let taken else { return }
        let isUseful = content.size >= DeltaChunks.minimumContent && !state.withLock { $0.isGivenUp }
        if isUseful, rename(path, "\(folder)/\(content.id.hex)") == 0 {
            bases.noteCopy(of: content.id)
        } else {
            unlink(path)
            budget.giveBack(taken)
        }
    }
}
