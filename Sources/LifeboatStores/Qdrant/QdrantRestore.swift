// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension QdrantStore: PartialStore {
    private func contents(_ content: any RestoreContent) throws -> QdrantContents {
        let subject = "the list of collections in the snapshot"
        var contents = try JSONText.decode(
            QdrantContents.self,
            try content.openStream(QdrantContents.part).readAll(limit: QdrantContents.limit, subject), subject)
        guard contents.format == 1 else {
            throw LifeboatError("\(subject) has the unknown format \(contents.format)")
        }
        if let parts { contents.collections = try contents.chosen(parts, of: endpoint.subject) }
        for collection in contents.collections {
            guard let size = content.streamSize(collection.part) else {
                throw LifeboatError("the snapshot lacks collection \(collection.shown)", exitCode: .incomplete)
            }
            guard size == collection.snapshot.size else {
                throw LifeboatError(
                    "the snapshot of collection \(collection.shown) is not whole",
                    causes: ["it has \(size) of \(collection.snapshot.size) bytes"], exitCode: .incomplete)
            }
        }
        return contents
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let contents = try contents(content)
        let subject = "cannot restore \(subject)"
        let version = try api.version()
        guard let captured = QdrantVersion(contents.server) else {
            throw LifeboatError(subject, causes: ["the snapshot is of the unknown version '\(contents.server)'"])
        }
        guard version.canLoadSnapshot(of: captured) else {
            throw LifeboatError(
                subject, causes: ["the snapshot is of Qdrant \(captured), the server is \(version)"],
                hint: version.cannotLoadSnapshots
                    ? "Qdrant \(version) cannot load snapshots: update it to 1.16.3 or newer."
                    : "Restore into Qdrant \(captured.major).\(captured.minor) or \(captured.major).\(captured.minor + 1),"
                        + " then update it one minor version at a time.")
        }
        let peers = try api.peers()
        guard peers == 1 else {
            throw LifeboatError(
                subject, causes: ["it is one of \(peers) servers of a cluster"],
                hint: "lifeboat restores into a server by itself: let the cluster take the data from there.")
        }
        return try doubts(contents)
    }

    /// What a restore meets on the server: throws what makes it impossible.
    private func doubts(_ contents: QdrantContents) throws -> [LifeboatError] {
        let existing = Set(try api.collections())
        let aliases = try api.aliases()
        var warnings: [LifeboatError] = []
        for collection in contents.collections {
            for alias in collection.aliases where existing.contains(alias) {
                throw LifeboatError(
                    "cannot restore alias '\(alias)' on \(subject)", causes: ["a collection has that name now"],
                    hint: "Delete or rename what has it, then restore again.")
            }
            if !collection.usedByAlias, existing.contains(collection.name) {
                warnings.append(
                    LifeboatError(
                        "collection '\(collection.name)' is swapped by copying it, twice, while services are stopped",
                        hint: "Let applications use an alias, and name that in the policy: it is moved at once."))
            }
        }
        let restored = Set(contents.collections.map(\.name))
        if collections == nil, parts == nil {
            for name in existing.subtracting(restored).sorted() where !QdrantNames.isStaged(name) {
                warnings.append(LifeboatError("collection '\(name)' is not in the snapshot: it stays as it is"))
            }
        }
        let moving = Set(contents.collections.flatMap(\.aliases))
        let byAlias = Set(contents.collections.filter(\.usedByAlias).map(\.name))
        for (alias, target) in aliases.sorted(by: { $0.key < $1.key })
        where !moving.contains(alias) && byAlias.contains(target) {
            warnings.append(LifeboatError("alias '\(alias)' is not restored: it stays with what '\(target)' is now"))
        }
        return warnings
    }

    package func selection(of content: any RestoreContent) throws -> ContentSelection? {
        guard parts != nil else { return nil }
        let contents = try contents(content)
        var selection = ContentSelection()
        selection.streams = Set(contents.collections.map(\.part)).union([QdrantContents.part])
        selection.bytes = contents.collections.reduce(content.streamSize(QdrantContents.part) ?? 0) {
            $0 + $1.snapshot.size
        }
        selection.facts = try contents.facts()
        return selection
    }

    package var stagesOnServer: Bool { true }

    /// The server does not say where it keeps its data: known of the images of Qdrant alone. It keeps the file it is
    /// given beside the collection it makes of it.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        let sizes = try contents(content).collections.compactMap { content.streamSize($0.part) }
        return try endpoint.container?.room(2 * sizes.reduce(0, +), in: ["/qdrant/storage"])
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        guard QdrantNames.isFitting(restoreID) else {
            throw LifeboatError("the restore's identifier '\(restoreID)' cannot be part of a collection's name")
        }
        let chance = String(UInt32.random(in: .min ... .max), radix: 16)
        return StagedState([
            "restore": restoreID, "url": endpoint.url,
            "record": "\(stateFolder)/restore-\(restoreID)-\(chance).json",
        ])
    }

    /// With the collections that the restore will make, and those that aliases will leave, by their names in the
    /// snapshot.
    package func planStaging(_ restoreID: String, of facts: StoreFacts) throws -> StagedState {
        var state = try planStaging(restoreID)
        let prefix = QdrantContents.vectorsPrefix
        let names = facts.texts.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
            .filter { name in
                parts?.contains { $0 == name || facts.texts["\(QdrantContents.aliasPrefix)\($0)"] == name } ?? true
            }
        for (name, place) in QdrantNames.places(names, restoreID) {
            state.values["staged:\(name)"] = place.staged
            state.values["old:\(name)"] = place.old
        }
        for (alias, target) in try api.aliases() where names.contains(alias) {
            state.values["before:\(alias)"] = target
        }
        return state
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let contents = try contents(content)
        let swap = try QdrantSwap(self, state)
        var counters = ProgressCounters()
        counters.bytesTotal = contents.collections.reduce(0) { $0 + $1.snapshot.size }
        try swap.begin(contents)
        for collection in contents.collections {
            counters.current = "collection '\(collection.name)'"
            let source = try content.openStream(collection.part)
            defer { source.close() }
            let before = counters.bytesDone
            let counted = CountingSource(source) { bytes in
                try cancellation.check()
                counters.bytesDone = before + bytes
                progress.report(.counters(counters))
            }
            try swap.stage(collection, counted, cancellation)
        }
    }

    package func swap(_ state: StagedState) throws { try QdrantSwap(self, state).swap() }

    package func swapBack(_ state: StagedState) throws { try QdrantSwap(self, state).swapBack() }

    package func discard(_ state: StagedState) throws { try QdrantSwap(self, state).discard() }

    /// Points of every collection, settings of the vectors, indexed fields, aliases.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let contents = try contents(content)
        let aliases = try api.aliases()
        let existing = Set(try api.collections())
        return try contents.collections.flatMap { collection -> [FactDifference] in
            var missing: [FactDifference] = []
            for name in collection.usedNames where !existing.contains(name) && aliases[name] == nil {
                missing.append(
                    FactDifference(name: "collection:\(name)", expected: "\(collection.points)", found: nil))
            }
            if !collection.usedByAlias, aliases[collection.name] == nil {
                for alias in collection.aliases where aliases[alias] != collection.name {
                    missing.append(
                        FactDifference(name: "alias:\(alias)", expected: collection.name, found: aliases[alias]))
                }
            }
            guard missing.isEmpty, let used = collection.usedNames.first else { return missing }
            return try differences(collection, live: used)
        }
    }

    /// A collection of the server compared with what was captured.
    func differences(
        _ collection: QdrantContents.Collection, live: String, _ cancellation: Cancellation? = nil
    ) throws -> [FactDifference] {
        var differences: [FactDifference] = []
        let points = try api.count(live, cancellation)
        let possible = collection.possiblePoints
        if !possible.contains(points) {
            let expected = points < possible.lowerBound ? possible.lowerBound : possible.upperBound
            differences.append(
                FactDifference(name: "points:\(collection.factName)", expected: "\(expected)", found: "\(points)"))
        }
        let description = try api.describe(live, cancellation)
        let vectors = (try QdrantContents.vectors(collection.config), try QdrantContents.vectors(description.config))
        if vectors.0 != vectors.1 {
            differences.append(
                FactDifference(
                    name: QdrantContents.vectorsPrefix + collection.factName, expected: vectors.0, found: vectors.1))
        }
        let fields = description.fields
        for (field, kind) in collection.payloadSchema.sorted(by: { $0.key < $1.key }) where fields[field] != kind {
            differences.append(
                FactDifference(
                    name: "payload-index:\(collection.factName):\(field)", expected: kind, found: fields[field]))
        }
        return differences
    }
}
