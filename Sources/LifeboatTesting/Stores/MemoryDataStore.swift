// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
package import LifeboatStores

/// A server in memory: a table of named word lists, of which one is the live data of a `MemoryDataStore`.
package final class MemoryServer: Sendable {
    private let lists = Monitor<[String: [String]]>([:])

    package init() {}

    package subscript(name: String) -> [String]? {
        get { lists.withLock { lists -> [String]? in lists[name] } }
        set { lists.withLock { lists in lists[name] = newValue } }
    }

    package var names: [String] { lists.withLock { $0.keys.sorted() } }

    /// Both renames or none.
    func exchange(_ live: String, staged: String, aside: String) {
        lists.withLock { lists in
            lists[aside] = lists[live]
            lists[live] = lists[staged]
            lists[staged] = nil
        }
    }
}

/// A store over one list of a `MemoryServer`; the contract's own example, with defects to order.
package struct MemoryDataStore: DataStore {
    /// Ways to break the contract, each of which a check must notice.
    package enum Defect: String, Sendable, CaseIterable {
        case sharedPartName, unfixedPoint, releaseLeavesCopy, deafToCancellation, stagesInPlace, unplannedPlace
        case swapToggles, swapBackOnce, discardForgets, discardDropsLive, blindVerify, refusesSecondStage, fixedPlace
        case restoreLosesLast, journalsSecret
    }

    package static let secret = "canary-memory"
    let server: MemoryServer
    let name: String
    let defect: Defect?

    package init(server: MemoryServer, name: String, defect: Defect? = nil) {
        self.server = server
        self.name = name
        self.defect = defect
    }

    package var kind: String { "memory" }
    package var subject: String { "list '\(name)'" }

    private func live() throws -> [String] {
        guard let words = server[name] else { throw LifeboatError("there is no list '\(name)'") }
        return words
    }

    package func probe() throws -> StoreProbe {
        StoreProbe(engineVersion: "1.0", estimatedBytes: UInt64(try live().count))
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        if defect != .deafToCancellation { try cancellation.check() }
        let words = try live()
        let (server, name) = (server, name)
        if defect == .releaseLeavesCopy { server["\(name)-point"] = words }
        let isFixed = defect != .unfixedPoint
        return Point(
            read: { isFixed ? words : server[name] ?? [] },
            partNames: defect == .sharedPartName ? ["words", "words"] : ["words", "note"])
    }

    private struct Point: CapturePoint {
        let read: @Sendable () -> [String]
        let partNames: [String]
        var method: String { "copy" }
        var parts: [CapturePart] {
            let read = read
            return [
                .stream(name: partNames[0]) { ArraySource(Array(read().joined(separator: "\n").utf8)) },
                .stream(name: partNames[1]) { ArraySource(Array("memory".utf8)) },
            ]
        }
        func facts() -> StoreFacts { StoreFacts(counts: ["words": Int64(read().count)]) }
        func release() {}
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        guard content.streamSize("words") != nil else { throw LifeboatError("the snapshot holds no words") }
        return []
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        let id = defect == .fixedPlace ? "fixed" : restoreID
        var values = ["staged": "\(name)-staged-\(id)", "aside": "\(name)-aside-\(id)", "done": "\(name)-done-\(id)"]
        if defect == .journalsSecret { values["password"] = Self.secret }
        return StagedState(values)
    }

    private func place(_ state: StagedState, _ key: String) throws -> String {
        guard let place = state.values[key] else { throw LifeboatError("the journal holds no '\(key)'") }
        return place
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let staged = try place(state, "staged")
        if defect == .refusesSecondStage, server[staged] != nil { throw LifeboatError("'\(staged)' exists") }
        server[staged] = []
        if defect == .unplannedPlace { server["\(name)-scratch"] = [] }
        let source = try content.openStream("words")
        defer { source.close() }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16)
        while true {
            if defect != .deafToCancellation { try cancellation.check() }
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { break }
            bytes += buffer[..<count]
            if defect == .stagesInPlace { server[name] = [] }
        }
        var words = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        if defect == .restoreLosesLast { _ = words.popLast() }
        server[staged] = words
    }

    /// Whether the live list is the restored one; the mark is there from the swap until it is undone or kept.
    private func isSwapped(_ state: StagedState) throws -> Bool { server[try place(state, "done")] != nil }

    package func swap(_ state: StagedState) throws {
        if try isSwapped(state) {
            if defect == .swapToggles { try swapBack(state) }
            return
        }
        let staged = try place(state, "staged")
        guard server[staged] != nil else { throw LifeboatError("nothing was staged in '\(staged)'") }
        server.exchange(name, staged: staged, aside: try place(state, "aside"))
        server[try place(state, "done")] = []
    }

    package func swapBack(_ state: StagedState) throws {
        guard try isSwapped(state) else {
            if defect == .swapBackOnce { throw LifeboatError("nothing was swapped") }
            return
        }
        server.exchange(name, staged: try place(state, "aside"), aside: try place(state, "staged"))
        server[try place(state, "done")] = nil
    }

    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let found = Int64(server[name]?.count ?? 0)
        let expected = content.facts.counts["words"] ?? 0
        if found == expected || defect == .blindVerify { return [] }
        return [FactDifference(name: "words", expected: "\(expected)", found: "\(found)")]
    }

    package func discard(_ state: StagedState) throws {
        if defect == .discardForgets { return }
        if defect == .discardDropsLive, try !isSwapped(state) { server[name] = nil }
        for key in ["staged", "aside", "done"] { server[try place(state, key)] = nil }
    }
}
