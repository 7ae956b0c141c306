// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct DataStoreContractTests {
    @Test(arguments: DataStoreContract.all) func memory(contract: DataStoreContract) throws {
        try contract.check(MemoryFixture())
    }

    @Test(arguments: DataStoreContract.all) func volume(contract: DataStoreContract) throws {
        try contract.check(try VolumeFixture())
    }

    @Test(
        .enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)),
        arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func postgres(number: Int, contract: DataStoreContract) throws {
        try contract.check(try PostgresFixture("contract_\(number)"))
    }

    /// As the documentation recommends: LOGIN, CREATEDB and owner of the database, no superuser.
    @Test(
        .enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)),
        arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func postgresByItsOwner(number: Int, contract: DataStoreContract) throws {
        try contract.check(try PostgresFixture("contract_owned_\(number)", owner: "contract_owner_\(number)"))
    }

    @Test(
        .enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)),
        arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func postgresTablesByTheirOwner(number: Int, contract: DataStoreContract) throws {
        try contract.check(
            try PostgresTableFixture("contract_owned_table_\(number)", owner: "contract_table_owner_\(number)"))
    }

    @Test(
        .enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)),
        arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func postgresTables(number: Int, contract: DataStoreContract) throws {
        try contract.check(try PostgresTableFixture("contract_table_\(number)"))
    }

    /// The suite can fail: each known way to break the contract is noticed by one of its checks.
    @Test(arguments: MemoryDataStore.Defect.allCases) func everyDefectIsNoticed(defect: MemoryDataStore.Defect) {
        let noticed = DataStoreContract.all.filter { contract in
            do {
                try contract.check(MemoryFixture(defect: defect))
                return false
            } catch { return true }
        }
        #expect(!noticed.isEmpty)
    }
}

private struct MemoryFixture: DataStoreFixture {
    let server = MemoryServer()
    var defect: MemoryDataStore.Defect?

    init(defect: MemoryDataStore.Defect? = nil) {
        self.defect = defect
        server["live"] = (1...20).map { "word \($0)" }
    }

    var store: any DataStore { MemoryDataStore(server: server, name: "live", defect: defect) }
    var secrets: [String] { [MemoryDataStore.secret] }
    func contents() -> String? { server["live"].map { $0.joined(separator: ",") } }
    func change() { server["live"]?.append("more") }
    func destroy() { server["live"] = nil }
    func leftovers() -> [String] { server.names.filter { $0 != "live" } }
}

private struct VolumeFixture: DataStoreFixture {
    let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        try scratch.folder("data")
        try scratch.folder("data/sub")
        try scratch.write("data/sub/file", "as it was")
        try scratch.write("data/other", "other")
    }

    var store: any DataStore { VolumeStore(path: scratch("data")) }
    /// A walk sees what is written while it goes on: that is what a freeze is for.
    var fixesPoint: Bool { false }

    func contents() throws -> String? {
        guard access(scratch("data"), F_OK) == 0 else { return nil }
        let tree = try TreeCopy(of: scratch("data"))
        return tree.portable.map { "\($0)" }.joined() + "\(tree.contents.sorted { "\($0.key)" < "\($1.key)" })"
    }

    func change() throws { try scratch.write("data/\(try TreeCopy(of: scratch("data")).entries.count)", "new") }
    func destroy() throws { try TreeRemoval.remove(scratch("data")) }

    /// The mark of a whole staging lies beside it, and counts as a part of it.
    func leftovers() throws -> [String] {
        try TreeCopy(of: scratch.path).paths.filter { !$0.isEmpty && !$0.contains("/") && $0 != "data" }
            .map { scratch($0.hasSuffix(".staged") ? String($0.dropLast(7)) : $0) }
    }
}

private struct PostgresFixture: DataStoreFixture {
    let cluster: PostgresCluster
    let name: String
    let owner: String?

    init(_ name: String, owner: String? = nil) throws {
        cluster = try PostgresCluster.shared()
        self.name = name
        self.owner = owner
        try cluster.makeDatabase(name, rows: 400, owner: owner)
    }

    var store: any DataStore { cluster.store(name, globals: false, user: owner) }

    func contents() throws -> String? {
        guard try cluster.databases(like: name) == [name] else { return nil }
        return try cluster.psql(
            "SELECT count(*), md5(string_agg(d::text, '|' ORDER BY id)) FROM documents d", database: name)
    }

    func change() throws { try cluster.psql("INSERT INTO documents (title) VALUES ('late')", database: name) }
    func destroy() throws { try cluster.psql("DROP DATABASE \(name) WITH (FORCE)") }
    func leftovers() throws -> [String] { try cluster.databases(like: "\(name)\\_%") }
}

/// One table of a database.
private struct PostgresTableFixture: DataStoreFixture {
    let cluster: PostgresCluster
    let name: String
    let owner: String?

    init(_ name: String, owner: String? = nil) throws {
        cluster = try PostgresCluster.shared()
        self.name = name
        self.owner = owner
        // More than is read at once: the contract disturbs the second read.
        try cluster.makeDatabase(name, rows: 3000, owner: owner)
    }

    var store: any DataStore {
        PostgresTableStore(cluster.store(name, globals: false, user: owner), tables: ["documents"])
    }

    func contents() throws -> String? {
        guard try cluster.psql("SELECT to_regclass('documents') IS NOT NULL", database: name) == "t" else { return nil }
        return try cluster.psql(
            "SELECT count(*), md5(string_agg(d::text, '|' ORDER BY id)) FROM documents d", database: name)
    }

    func change() throws { try cluster.psql("INSERT INTO documents (title) VALUES ('late')", database: name) }
    func destroy() throws { try cluster.psql("DROP TABLE documents", database: name) }

    func leftovers() throws -> [String] {
        try cluster.psql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lifeboat%'", database: name)
            .split(separator: "\n").map(String.init)
    }
}
