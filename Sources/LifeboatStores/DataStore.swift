// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatIO

/// Values a store reports about its content at the point in time of the capture: rows per table, extensions, sizes.
/// Kept in the manifest and compared by restores and drills, value by value.
package struct StoreFacts: Sendable, Equatable, Codable {
    /// `rows:public.documents` → 120000. Compared exactly.
    package var counts: [String: Int64]
    /// `extension:pgcrypto` → `1.3`, `encoding` → `UTF8`. Told to the reader; the store decides what must match.
    package var texts: [String: String]

    /// Names the text that tells which file system a folder lies on, where it is not the root's: another one at the next
    /// backup is a share that is not mounted, or another disk.
    package static let fileSystem = "file_system"

    package init(counts: [String: Int64] = [:], texts: [String: String] = [:]) {
        self.counts = counts
        self.texts = texts
    }
}

/// One fact that is not what the snapshot says.
package struct FactDifference: Sendable, Equatable, Codable {
    package var name: String
    package var expected: String
    /// Nil when the fact is missing from the live store.
    package var found: String?
    /// Whether the restore lost something, and is rolled back. False for what the snapshot never promised to bring back:
    /// it is told, and the restore is called incomplete.
    package var isLoss: Bool
    /// Whether the snapshot holds it all the same: a drill, which starts from an empty server, fails on it. A restore into
    /// a server that others use as well (its roles) is incomplete.
    package var isPromised: Bool

    /// `isPromised`: nil is the value of `isLoss`.
    package init(name: String, expected: String, found: String?, isLoss: Bool = true, isPromised: Bool? = nil) {
        self.name = name
        self.expected = expected
        self.found = found
        self.isLoss = isLoss
        self.isPromised = isPromised ?? isLoss
    }

    /// Whether a number is larger than the snapshot says: no loss where services run again and add to it.
    package static func hasGrown(_ expected: String, to found: String?) -> Bool {
        guard let expected = Int64(expected), let found = found.flatMap({ Int64($0) }) else { return false }
        return found > expected
    }
}

/// What `probe` learned.
package struct StoreProbe: Sendable, Equatable {
    /// Version of the engine (`15.18`); nil for stores without one.
    package var engineVersion: String?
    /// Estimated bytes of a capture; nil when unknown.
    package var estimatedBytes: UInt64?
    package var warnings: [LifeboatError]
    package init(engineVersion: String? = nil, estimatedBytes: UInt64? = nil, warnings: [LifeboatError] = []) {
        self.engineVersion = engineVersion
        self.estimatedBytes = estimatedBytes
        self.warnings = warnings
    }
}

/// One part of a captured component: a byte stream or a file tree, named uniquely inside the component.
package enum CapturePart: Sendable {
    /// `dump`, `globals`. `open` is called once, on the thread that reads.
    case stream(name: String, open: @Sendable () throws -> any ByteSource)
    case tree(name: String, source: any FileTreeSource)

    package var name: String {
        switch self {
        case .stream(let name, _), .tree(let name, _): name
        }
    }
}

/// A fixed point in time of one store, held open until `release`.
package protocol CapturePoint: Sendable {
    /// How it is captured (`pg_dump custom format`), for the manifest.
    var method: String { get }
    var parts: [CapturePart] { get }
    /// Facts as of this point. Blocking.
    func facts() throws -> StoreFacts
    /// What the capture of the parts found that does not end it; asked after they were read. None unless a store says
    /// otherwise.
    var warnings: [LifeboatError] { get }
    /// What is missing from the parts although they were read to their ends (a model that lacks a file): the component
    /// is kept, and incomplete. Read after `facts`. None unless a store says otherwise.
    var problems: [LifeboatError] { get }
    /// Lets the point go (ends the exporting transaction …). Idempotent, never throws, called on every path.
    func release()
}

extension CapturePoint {
    package var warnings: [LifeboatError] { [] }
    package var problems: [LifeboatError] { [] }
}

/// What of a component a snapshot holds, given back to its store for a restore. Implemented by the engine over the
/// repository.
package protocol RestoreContent: Sendable {
    /// Engine version at capture.
    var engineVersion: String? { get }
    var facts: StoreFacts { get }
    /// Whether it is a share of what was captured: streams may be shorter than `streamSize` says.
    var isPartial: Bool { get }
    /// Opens a captured stream; every byte it yields was verified against its digest. Throws when the snapshot holds
    /// no stream of that name.
    func openStream(_ name: String) throws -> any ByteSource
    /// Size of a captured stream in bytes; nil when the snapshot holds none of that name.
    func streamSize(_ name: String) -> UInt64?
    /// The entries of the captured tree of that name in `treeOrder`, without reading file data.
    func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws
    /// Writes the captured tree of that name below `target`.
    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws
    /// The same of what is chosen, and of the folders it is in.
    func extractTree(
        _ name: String, _ selection: PathSelection, into target: any FileTreeTarget, cancellation: Cancellation) throws
}

extension RestoreContent {
    package var isPartial: Bool { false }

    package func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws {
        throw LifeboatError("the tree '\(name)' cannot be listed by itself")
    }

    package func extractTree(
        _ name: String, _ selection: PathSelection, into target: any FileTreeTarget, cancellation: Cancellation
    ) throws {
        guard selection.isEverything else {
            throw LifeboatError("the tree '\(name)' can be restored as a whole only")
        }
        try extractTree(name, into: target, cancellation: cancellation)
    }
}

/// Where staged data is, in the store's own words (database names, folder paths): what the journal keeps, so that a
/// later process can finish, undo or clean up. Never holds a secret.
package struct StagedState: Sendable, Equatable, Codable {
    package var values: [String: String]
    package init(_ values: [String: String]) { self.values = values }
}

/// A store of a component: PostgreSQL, a volume … Instances are configured for one component of one policy.
///
/// All calls block and may be made from any one thread at a time. Messages name the component's thing (database,
/// folder), and never a secret.
package protocol DataStore: Sendable {
    /// The word the policy uses: `postgres`, `volume`.
    var kind: String { get }
    /// What it protects, for people: `database 'semantik' on 127.0.0.1:5432`.
    var subject: String { get }

    /// Reaches the store and checks that a capture can work (server up, password, versions, rights).
    func probe() throws -> StoreProbe
    /// Whether what is captured is what the live store holds while it is read (a folder), so that its point in time is
    /// that of the reading. During a freeze its trees are read inside the window: once before it, and then what changed.
    var isReadLive: Bool { get }
    /// Whether a server has to run while data is exchanged, since it does that itself (renames a database). False: what
    /// uses the data is stopped for it.
    var swapsWithServer: Bool { get }
    /// Fixes the point in time. The caller releases it.
    func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint

    /// Checks, before anything is touched, that this content can be restored here (versions, extensions, space).
    /// Returns warnings; throws what makes it impossible.
    func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError]
    /// Whether what is staged takes room where a server keeps its data: that `stagingRoom` cannot tell is then said aloud.
    var stagesOnServer: Bool { get }
    /// What `stage` takes of the file system it works on; nil when that cannot be told, or nothing is staged.
    func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom?
    /// Names, before any work, where `stage` will put its data: journalled first, so that a crash leaves nothing
    /// unknown behind.
    func planStaging(_ restoreID: String) throws -> StagedState
    /// The same for a store whose places depend on what the snapshot holds (one for each captured database). Restores
    /// call this one; by default it is the other.
    func planStaging(_ restoreID: String, of facts: StoreFacts) throws -> StagedState
    /// Puts the content beside the live data, which stays untouched and in use.
    func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws
    /// Exchanges staged and live data; services that use it are stopped. Calling it again after it succeeded does
    /// nothing. When there is no live data the staged data becomes live.
    func swap(_ state: StagedState) throws
    /// Exchanges them back. Works after a `swap` that failed half-way or never ran; calling it again does nothing.
    func swapBack(_ state: StagedState) throws
    /// Compares the live store with the facts of the snapshot.
    func verify(_ content: any RestoreContent) throws -> [FactDifference]
    /// Drops what the swap put aside; for `swapBack`-ed or never swapped restores drops the staged data. Idempotent.
    func discard(_ state: StagedState) throws
    /// Bytes that `discard` would free, of what the swap put aside; nil when that cannot be told.
    func asideBytes(_ state: StagedState) throws -> UInt64?
}

/// A store that can write over its live data when there is no room beside it. There is no way back from that.
package protocol InPlaceStore: DataStore {
    /// As `preflightRestore`, for a restore in place.
    func preflightInPlace(_ content: any RestoreContent) throws -> [LifeboatError]
    /// Makes the live data what the content says, writing only what differs; services that use it are stopped. What
    /// makes the data usable is taken away first and written last. Cut off anywhere, it is called again and goes on.
    func writeInPlace(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws
}

extension DataStore {
    package func asideBytes(_ state: StagedState) throws -> UInt64? { nil }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? { nil }

    package var isReadLive: Bool { false }
    package var swapsWithServer: Bool { false }
    package var stagesOnServer: Bool { false }

    package func planStaging(_ restoreID: String, of facts: StoreFacts) throws -> StagedState {
        try planStaging(restoreID)
    }
}
