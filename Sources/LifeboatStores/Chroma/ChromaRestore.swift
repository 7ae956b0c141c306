// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension ChromaStore: PartialStore {
    /// Of the text of one call that adds records; a server takes 40 MiB unless it is told otherwise.
    private static let batchBytes = 4 << 20
    private static let batchRecords = 1000
    /// A record is added by one call, so it cannot be longer.
    static let lineLimit = 64 << 20

    /// What a capture holds; `withRecords` false: of a folder, whose records are in its files.
    func contents(_ content: any RestoreContent, withRecords: Bool = true) throws -> ChromaContents {
        let subject = "the list of collections in the snapshot"
        var contents = try JSONText.decode(
            ChromaContents.self,
            try content.openStream(ChromaContents.part).readAll(limit: ChromaContents.limit, subject), subject)
        guard contents.format == 1 else {
            throw LifeboatError("\(subject) has the unknown format \(contents.format)")
        }
        if let parts {
            let chosen = try ChromaContents.places(
                parts, among: contents.collections.map(\.place), of: endpoint.subject)
            contents.collections.removeAll { !chosen.contains($0.place) }
            contents.databases.removeAll { name in !contents.collections.contains { $0.database == name } }
        }
        for collection in contents.collections where withRecords && content.streamSize(collection.part) == nil {
            throw LifeboatError("the snapshot lacks collection '\(collection.place)'", exitCode: .incomplete)
        }
        return contents
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let contents = try contents(content)
        _ = try api.limits()
        let version = try api.version()
        var warnings: [LifeboatError] = []
        let hasTenant = try api.hasTenant()
        if !hasTenant {
            warnings.append(
                LifeboatError("\(endpoint.subject) has no tenant '\(tenant)': the restore makes it, and it stays"))
        }
        let existing = hasTenant ? try api.databases() : []
        // Servers of the 1.x line tell the version of the interface, 1.0.0, whatever they are.
        let lines = [contents.server, version].map { $0.prefix { $0 != "." } }
        if lines[0] != lines[1] {
            guard lines[0] < lines[1] else {
                throw LifeboatError(
                    "cannot restore \(subject)",
                    causes: ["the snapshot is of Chroma \(contents.server), the server is \(version)"],
                    hint: "Restore into a server that is not older.")
            }
            warnings.append(LifeboatError("the snapshot is of Chroma \(contents.server), the server is \(version)"))
        }
        for database in contents.databases where parts == nil && existing.contains(database) {
            let restored = Set(contents.collections.filter { $0.database == database }.map(\.name))
            for collection in try api.collections(database)
            where !restored.contains(collection.name) && !ChromaNames.isStaged(collection.name) {
                warnings.append(
                    LifeboatError("collection '\(database)/\(collection.name)' is not in the snapshot: it stays"))
            }
        }
        return warnings
    }

    package func selection(of content: any RestoreContent) throws -> ContentSelection? {
        guard parts != nil else { return nil }
        let contents = try contents(content)
        var selection = ContentSelection()
        selection.streams = Set(contents.collections.map(\.part)).union([ChromaContents.part])
        selection.bytes = selection.streams.reduce(0) { $0 + (content.streamSize($1) ?? 0) }
        selection.facts = contents.facts
        return selection
    }

    package var stagesOnServer: Bool { true }

    /// The server does not say where it keeps its data: known of the images of Chroma alone.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        let sizes = try contents(content).collections.compactMap { content.streamSize($0.part) }
        return try endpoint.container?.room(sizes.reduce(0, +), in: ["/data", "/chroma/chroma"])
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        guard ChromaNames.isFitting(restoreID) else {
            throw LifeboatError("the restore's identifier '\(restoreID)' cannot be part of a collection's name")
        }
        let chance = String(UInt32.random(in: .min ... .max), radix: 16)
        return StagedState([
            "restore": restoreID, "url": endpoint.url, "tenant": tenant,
            "record": "\(stateFolder)/restore-\(restoreID)-\(chance).json",
        ])
    }

    /// With the collections that the restore will make, by their places in the snapshot.
    package func planStaging(_ restoreID: String, of facts: StoreFacts) throws -> StagedState {
        var state = try planStaging(restoreID)
        let prefix = ChromaContents.recordsPrefix
        var names = facts.counts.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        if let parts {
            names = try ChromaContents.places(parts, among: names, of: endpoint.subject).sorted()
        }
        for (name, place) in ChromaNames.places(names, restoreID) {
            state.values["staged:\(name)"] = place.staged
            state.values["old:\(name)"] = place.old
        }
        return state
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let contents = try contents(content)
        let swap = try ChromaSwap(self, state)
        try swap.begin(contents)
        let limits = try api.limits()
        var counters = ProgressCounters()
        counters.bytesTotal = contents.collections.reduce(0) { $0 + (content.streamSize($1.part) ?? 0) }
        for (number, collection) in contents.collections.enumerated() {
            counters.current = "collection '\(collection.place)'"
            let (id, hasSchema) = try swap.createStaged(number, collection)
            if !hasSchema {
                progress.report(
                    .warning(
                        LifeboatError(
                            "collection '\(collection.place)' was made without its schema",
                            causes: ["the server does not take the one of the snapshot"],
                            hint: "Which keys of metadata are indexed is what the server chooses.")))
            }
            let source = try content.openStream(collection.part)
            defer { source.close() }
            let before = counters.bytesDone
            let counted = CountingSource(source) { bytes in
                try cancellation.check()
                counters.bytesDone = before + bytes
                progress.report(.counters(counters))
            }
            try load(counted, collection, id, limits, cancellation)
            let mended = try ChromaComparison(api, collection, id, cancellation).run {
                try content.openStream(collection.part)
            }
            if mended > 0 {
                progress.report(
                    .note(
                        "collection '\(collection.place)': the server gave \(mended) records metadata of deleted ones,"
                            + " which was removed"))
            }
            try check(collection, id)
            try swap.isStaged(number)
        }
    }

    /// Adds the records in their order, so that the next capture reads them in the same.
    private func load(
        _ source: any ByteSource, _ collection: ChromaContents.Collection, _ id: String, _ limits: ChromaAPI.Limits,
        _ cancellation: Cancellation
    ) throws {
        let lines = LineReader(source, limit: Self.lineLimit, "the records of collection '\(collection.place)'")
        let most = max(1, min(Self.batchRecords, limits.maximumBatch))
        let base64 = limits.takesBase64 ?? false
        var batch: [ChromaRecord] = []
        var size = 0
        func send() throws {
            if batch.isEmpty { return }
            try api.add(
                collection.database, id, try ChromaRecord.columns(batch, base64: base64), cancellation)
            batch = []
            size = 0
        }
        while let line = try lines.next() {
            if batch.count == most || size + line.count > Self.batchBytes { try send() }
            do {
                batch.append(try ChromaRecord(line))
            } catch {
                throw LifeboatError.converting(error, "a record of collection '\(collection.place)' is damaged")
            }
            size += line.count
        }
        try send()
    }

    private func check(_ collection: ChromaContents.Collection, _ id: String) throws {
        let differences = try differences(collection, id)
        guard differences.isEmpty else {
            throw LifeboatError(
                "collection '\(collection.place)' was not restored as the snapshot holds it",
                causes: differences.map {
                    "\($0.name): \($0.expected) in the snapshot, \($0.found ?? "nothing") restored"
                }, hint: "The live collection was not touched.")
        }
    }

    /// A collection of the server compared with what was captured: the number of records, settings, and that the index
    /// finds what is in it.
    func differences(_ collection: ChromaContents.Collection, _ id: String) throws -> [FactDifference] {
        var differences: [FactDifference] = []
        let records = try api.count(collection.database, id)
        if records != collection.records {
            differences.append(
                FactDifference(
                    name: ChromaContents.recordsPrefix + collection.place, expected: "\(collection.records)",
                    found: "\(records)"))
        }
        if records > 0, collection.records > 0, let missing = try recordNotFound(collection.database, id, records) {
            differences.append(FactDifference(name: "query:\(collection.place)", expected: missing, found: nil))
        }
        return differences
    }

    /// Queries for the first and the last record by their own vectors; the id of one that is not found.
    private func recordNotFound(_ database: String, _ id: String, _ records: Int64) throws -> String? {
        for place in Set([0, records - 1]).sorted() {
            let answer = try api.get(
                database, id, offset: place, limit: 1, include: ["embeddings"], bodyLimit: 64 << 20)
            let page = try ChromaPage(answer)
            guard let line = page.lines.first, let wanted = page.ids.first else { continue }
            let found = try api.nearest(database, id, to: try ChromaRecord(line).numbers(), count: 10)
            // Others may have the very same vector, and the server gives ten of them.
            let isThere =
                found.ids.contains(wanted)
                || found.ids.count == 10
                    && found.distances.allSatisfy { ($0 ?? 0).magnitude < 1e-5 }
            if !isThere { return wanted }
        }
        return nil
    }

    package func swap(_ state: StagedState) throws { try ChromaSwap(self, state).swap() }

    package func swapBack(_ state: StagedState) throws { try ChromaSwap(self, state).swapBack() }

    package func discard(_ state: StagedState) throws { try ChromaSwap(self, state).discard() }

    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        try differences(try contents(content))
    }

    /// The live server compared with what was captured.
    func differences(_ contents: ChromaContents) throws -> [FactDifference] {
        try contents.collections.flatMap { collection -> [FactDifference] in
            guard let live = try api.collection(collection.database, named: collection.name) else {
                return [
                    FactDifference(
                        name: ChromaContents.recordsPrefix + collection.place, expected: "\(collection.records)",
                        found: nil)
                ]
            }
            var differences = try differences(collection, live.id)
            let metadata = live.metadata.map { String(decoding: $0, as: UTF8.self) }
            if metadata != collection.metadata {
                differences.append(
                    FactDifference(
                        name: "metadata:\(collection.place)", expected: collection.metadata ?? "none", found: metadata))
            }
            return differences
        }
    }
}
