// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Chosen files and folders of a volume, restored into the live one: extracted into a folder beside it, then each
/// exchanged with its live counterpart. All else in the volume stays as it is.
package struct PartialVolumeStore: PartialStore {
    package let kind: String
    let volume: VolumeStore
    /// Below the root; none inside another, in tree order.
    let paths: [String]

    /// `paths` without a slash at either end and without `.` and `..`; of one inside another the outer one counts.
    init(_ volume: VolumeStore, kind: String, _ paths: [String]) {
        self.volume = volume
        self.kind = kind
        let all = Set(paths)
        self.paths = all.filter { path in !all.contains { path.hasPrefix("\($0)/") } }
            .sorted { treeOrder(Array($0.utf8), Array($1.utf8)) }
    }

    package var subject: String { "\(PartNames.text(paths, "path")) in \(volume.subject)" }

    private var selection: PathSelection { PathSelection(paths.map { Array($0.utf8) }) }

    package func probe() throws -> StoreProbe { try volume.probe() }

    /// Of the whole volume: there is no capture of parts.
    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        try volume.fixPoint(cancellation)
    }

    // MARK: - Before anything is touched

    package func selection(of content: any RestoreContent) throws -> ContentSelection? {
        if let layout = content.facts.texts["layout"], layout != ModelLayout.files.rawValue {
            throw LifeboatError(
                "\(subject) cannot be restored by themselves",
                causes: ["models of layout '\(layout)' are files in several places that belong together"],
                hint: "Restore the component as a whole, or extract paths of it with --to DIR.", exitCode: .usage)
        }
        let selection = selection
        var counts = VolumeCounts()
        var missing = Set(paths.map { Array($0.utf8) })
        try content.listTree(VolumeStore.partName) { entry in
            guard selection.chooses(entry.path) else { return }
            missing.remove(entry.path)
            counts.add(entry)
        }
        for path in missing.sorted(by: treeOrder) { throw try notInSnapshot(path, content) }
        var chosen = ContentSelection()
        chosen.trees = [VolumeStore.partName: selection]
        chosen.bytes = UInt64(clamping: counts.bytes)
        chosen.files = UInt64(clamping: counts.files)
        chosen.facts = StoreFacts(counts: counts.facts)
        return chosen
    }

    /// What there is instead, in the folder where the way ends.
    private func notInSnapshot(_ path: [UInt8], _ content: any RestoreContent) throws -> LifeboatError {
        var deepest: [UInt8] = []
        try content.listTree(VolumeStore.partName) { entry in
            if PathSelection.isBelow(path, entry.path), entry.path.count > deepest.count { deepest = entry.path }
        }
        var there: [String] = []
        try content.listTree(VolumeStore.partName) { entry in
            guard PathSelection.isBelow(entry.path, deepest), there.count < 1000 else { return }
            let name = deepest.isEmpty ? entry.path[...] : entry.path.dropFirst(deepest.count + 1)
            if !name.contains(0x2F) { there.append(String(decoding: entry.path, as: UTF8.self)) }
        }
        return PartNames.missing(
            String(decoding: path, as: UTF8.self), "path", of: volume.subject, among: there)
    }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        guard let bytes = try selection(of: content)?.bytes, bytes > 0 else { return nil }
        return try VolumePlace(VolumePartsSwap.place(of: try VolumePlace(volume.path), "x")).room(for: bytes)
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let room = try stagingRoom(content)
        try VolumePartsSwap.plan(try VolumePlace(volume.path), "x", paths, volume.others).checkPlaces()
        guard let room, room.needed >= room.free else { return [] }
        throw LifeboatError(
            "there is no room to restore \(subject) beside the live data",
            causes: ["it takes \(ByteCount(room.needed)), free are \(ByteCount(room.free))"],
            hint: "Free some space on that file system, or restore elsewhere with --to DIR.")
    }

    // MARK: - Staging and exchange

    package func planStaging(_ restoreID: String) throws -> StagedState {
        try VolumePartsSwap.plan(try VolumePlace(volume.path), restoreID, paths, volume.others).state
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        try VolumeStore.blocks(try VolumePartsSwap(state).staged)
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let swap = try VolumePartsSwap(state)
        try swap.prepareStaging()
        try VolumeStore.extract(
            content, selection, to: swap.staged, like: swap.live, subject, progress: progress,
            cancellation: cancellation)
        for warning in swap.allowExchange() { progress.report(.warning(warning)) }
        try swap.makeRoomForGuests()
        try swap.markStaged()
    }

    package func swap(_ state: StagedState) throws { try VolumePartsSwap(state).swap() }

    package func swapBack(_ state: StagedState) throws { try VolumePartsSwap(state).swapBack() }

    package func discard(_ state: StagedState) throws { try VolumePartsSwap(state).discard() }

    // MARK: - Afterwards

    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let root: String
        do throws(SystemCallError) {
            root = try VolumePlace.resolved(volume.path)
        } catch {
            guard error.errorNumber == ENOENT else { throw error }
            return paths.map { FactDifference(name: "path:\($0)", expected: "there", found: nil) }
        }
        return try paths.flatMap { try PartComparison(root, $0).differences(content) }
    }
}
