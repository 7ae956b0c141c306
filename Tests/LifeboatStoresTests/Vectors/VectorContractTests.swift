// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct VectorContractTests {
    static let cases = DataStoreContract.all.enumerated().map { ($0, $1) }

    @Test(
        .enabled(if: QdrantStandIn.shouldRun, .init(rawValue: QdrantStandIn.skipReason)), arguments: cases)
    func qdrantByName(number: Int, contract: DataStoreContract) throws {
        let fixture = try QdrantFixture("named\(number)", byAlias: false)
        defer { fixture.remove() }
        try contract.check(fixture)
    }

    @Test(
        .enabled(if: QdrantStandIn.shouldRun, .init(rawValue: QdrantStandIn.skipReason)), arguments: cases)
    func qdrantByAlias(number: Int, contract: DataStoreContract) throws {
        let fixture = try QdrantFixture("alias\(number)", byAlias: true)
        defer { fixture.remove() }
        try contract.check(fixture)
    }

    @Test(
        .enabled(if: ChromaServer.shouldRun, .init(rawValue: ChromaServer.skipReason)), arguments: cases)
    func chroma(number: Int, contract: DataStoreContract) throws {
        let fixture = try ChromaFixture("contract\(number)")
        defer { fixture.remove() }
        try contract.check(fixture)
    }

    @Test(
        .enabled(if: ChromaServer.shouldRun, .init(rawValue: ChromaServer.skipReason)),
        arguments: DataStoreContract.all)
    func chromaFolder(contract: DataStoreContract) throws {
        let fixture = try ChromaFolderFixture()
        defer { fixture.remove() }
        try contract.check(fixture)
    }
}

/// Servers that several tests use, each with collections of its own; they end with the process.
private enum SharedServers {
    static let key = Secret("canary-contract-key")
    static let qdrant = Monitor<QdrantStandIn?>(nil)
    static let chroma = Monitor<ChromaServer?>(nil)

    static func sharedQdrant() throws -> QdrantStandIn {
        try qdrant.withLock { slot in
            if let slot { return slot }
            let server = try QdrantStandIn(key: key)
            atExit { server.remove() }
            slot = server
            return server
        }
    }

    static func sharedChroma() throws -> ChromaServer {
        try chroma.withLock { slot in
            if let slot { return slot }
            let server = try ChromaServer()
            atExit { server.remove() }
            slot = server
            return server
        }
    }
}

private final class QdrantFixture: DataStoreFixture {
    let qdrant: QdrantStandIn
    /// What applications call it.
    let name: String
    let byAlias: Bool
    let state: TemporaryFolder
    private let points = Monitor(30)

    init(_ name: String, byAlias: Bool) throws {
        qdrant = try SharedServers.sharedQdrant()
        self.name = name
        self.byAlias = byAlias
        state = try TemporaryFolder()
        let collection = byAlias ? "\(name)v1" : name
        try qdrant.create(collection, size: 2)
        try qdrant.fill(collection, 0..<30, size: 2)
        if byAlias { try qdrant.alias(name, to: collection) }
    }

    func remove() {
        for collection in (try? qdrant.collections()) ?? [] where isOurs(collection) {
            _ = try? qdrant.server.call("DELETE", "/collections/\(collection)")
        }
        try? state.remove()
    }

    private func isOurs(_ collection: String) -> Bool {
        collection == name || collection == "\(name)v1" || collection.hasPrefix("\(name)_")
    }

    var store: any DataStore {
        QdrantStore(url: qdrant.server.url, key: qdrant.key, collections: [name], stateFolder: state.path)
    }
    var secrets: [String] { ["canary"] }

    private func live() throws -> String? {
        if byAlias { return try qdrant.aliases()[name] }
        return try qdrant.collections().contains(name) ? name : nil
    }

    func contents() throws -> String? { try live().map { try qdrant.everything($0) } }

    func change() throws {
        let number = points.withLock { points in
            points += 1
            return points
        }
        try qdrant.fill(name, number..<number + 1, size: 2)
    }

    func destroy() throws {
        if let live = try live() { try qdrant.server.call("DELETE", "/collections/\(live)") }
    }

    /// Collections, and files in their snapshots folders, which count as parts of them.
    func leftovers() throws -> [String] {
        let live = try live()
        let ours = try qdrant.collections().filter { isOurs($0) && $0 != live }
        let folders = try qdrant.leftovers().compactMap { path -> String? in
            let words = path.dropFirst(qdrant.server.data.count).split(separator: "/")
            guard words.count == 3, words[0] == "snapshots" else { return nil }
            return isOurs(String(words[1])) ? String(words[1]) : nil
        }
        return Set(ours + folders).sorted()
    }
}

private final class ChromaFixture: DataStoreFixture {
    let chroma: ChromaServer
    let database: String
    let state: TemporaryFolder
    private let records = Monitor(30)

    init(_ database: String) throws {
        chroma = try SharedServers.sharedChroma()
        self.database = database
        state = try TemporaryFolder()
        try chroma.createDatabase(database)
        _ = try chroma.create("docs", database: database)
        try chroma.fill("docs", 0..<30, database: database)
    }

    func remove() { try? state.remove() }

    var store: any DataStore { ChromaStore(url: chroma.server.url, database: database, stateFolder: state.path) }

    func contents() throws -> String? {
        guard try chroma.collections(database).contains("docs") else { return nil }
        return try chroma.everything("docs", database: database).joined(separator: "\n")
    }

    func change() throws {
        let number = records.withLock { records in
            records += 1
            return records
        }
        try chroma.fill("docs", number..<number + 1, database: database)
    }

    func destroy() throws { try chroma.server.call("DELETE", "\(ChromaServer.collections(database))/docs") }
    func leftovers() throws -> [String] { try chroma.collections(database).filter { $0 != "docs" } }
}

private final class ChromaFolderFixture: DataStoreFixture {
    /// Made by a real server, once.
    private static let template = Monitor<TemporaryFolder?>(nil)
    let scratch: TemporaryFolder
    private let changes = Monitor(0)
    private var path: String { "\(scratch.path)/chroma" }

    init() throws {
        let template = try Self.template.withLock { slot in
            if let slot { return slot.path }
            let folder = try TemporaryFolder()
            atExit { try? folder.remove() }
            let chroma = try ChromaServer(data: "\(folder.path)/chroma")
            defer { chroma.remove() }
            _ = try chroma.create("docs", syncThreshold: 100)
            try chroma.fill("docs", 0..<200)
            chroma.server.stop()
            slot = folder
            return folder.path
        }
        scratch = try TemporaryFolder()
        _ = try SystemProcessRunner().run(ProcessCommand("cp", ["-a", "\(template)/chroma", path]))
    }

    func remove() { try? scratch.remove() }

    var store: any DataStore { ChromaFolderStore(path: path, runner: SystemProcessRunner()) }

    func contents() throws -> String? {
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "sh",
                ["-c", "cd \"$1\" 2>/dev/null && find . -type f -print0 | sort -z | xargs -0 sha256sum", "sh", path]))
        return result.standardOutput.isEmpty ? nil : String(decoding: result.standardOutput, as: UTF8.self)
    }

    func change() throws {
        let number = changes.withLock { changes in
            changes += 1
            return changes
        }
        try AtomicFile.write("\(number)", to: "\(path)/change-\(number)")
    }

    func destroy() throws { try FileTree.remove(path) }

    func leftovers() throws -> [String] {
        let result = try SystemProcessRunner().run(
            ProcessCommand("find", [scratch.path, "-mindepth", "1", "-maxdepth", "1", "!", "-name", "chroma"]))
        return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map {
            $0.hasSuffix(".staged") ? String($0.dropLast(7)) : String($0)
        }
    }
}
