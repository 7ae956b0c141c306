// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting

/// A stack with one component of each kind on real engines, a repository beside it, and lifeboat in this process.
struct DrillFixture {
    static var shouldRun: Bool {
        PostgresCluster.shouldRun && RedisServer.shouldRun([.redis7]) && ChromaServer.shouldRun
    }
    static let skipReason = "needs PostgreSQL, Redis and Chroma (scripts/setup)"

    let folder: TemporaryFolder
    let cluster: PostgresCluster
    let redis: RedisServer
    let chroma: ChromaServer
    /// Only where a test asks for it.
    let qdrant: QdrantStandIn?
    let database: String

    var path: String { folder.path }
    /// Where sandboxes are made: empty when no drill is at work.
    var sandboxes: String { "\(path)/sandboxes" }

    /// `withQdrant`: a component more, `embeddings`, with the collections `pages` and `images`.
    init(withQdrant: Bool = false) throws {
        folder = try TemporaryFolder(prefix: "lbdrill-", in: "/tmp")
        // Engines of a sandbox run as users that have to enter it.
        guard chmod(folder.path, 0o755) == 0 else { throw SystemCallError("open up", folder.path) }
        for name in ["home", "docs", "models", "bin", "sandboxes"] {
            try FileTree.createFolders("\(folder.path)/\(name)", mode: 0o755)
        }
        cluster = try PostgresCluster.shared()
        database = "drill_\(getpid())_\(UInt32.random(in: 0...UInt32.max))"
        try cluster.psql("CREATE DATABASE \(database)")
        redis = try RedisServer(.redis7)
        chroma = try ChromaServer()
        qdrant = withQdrant ? try QdrantStandIn() : nil
        try fill()
        try writePrograms()
        try writePolicy()
    }

    private func fill() throws {
        try cluster.psql(
            """
            CREATE TABLE notes (id int PRIMARY KEY, word text NOT NULL);
            INSERT INTO notes SELECT n, md5(n::text) FROM generate_series(1, 500) n;
            CREATE TABLE tags (id int PRIMARY KEY);
            INSERT INTO tags SELECT generate_series(1, 40);
            """, database: database)
        for number in 0..<20 { try redis.command("SET", "key-\(number)", "value") }
        try redis.command("RPUSH", "jobs", "a", "b", "c")
        _ = try chroma.create("docs")
        try chroma.fill("docs", 0..<120)
        if let qdrant {
            for (number, name) in ["pages", "images"].enumerated() {
                try qdrant.create(name, distance: "Cosine")
                try qdrant.fill(name, 0..<(80 + number), seed: 3)
            }
        }
        for number in 0..<5 {
            try AtomicFile.write("document \(number)\n", to: "\(path)/docs/file-\(number)", mode: 0o644)
        }
        try AtomicFile.write(String(repeating: "weights ", count: 4000), to: "\(path)/models/model.bin", mode: 0o644)
        try SQLiteProgram.sql("\(path)/local.db", "create table t (a int)", "insert into t values (1), (2), (3)")
    }

    /// The engines' programs under the names they go by.
    private func writePrograms() throws {
        guard let wheel = WheelServer.wheel(ChromaServer.wheel) else {
            throw LifeboatError("no Chroma", hint: ChromaServer.skipReason)
        }
        try AtomicFile.write(
            """
            #!/bin/sh
            PYTHONPATH='\(wheel)' PYTHONDONTWRITEBYTECODE=1 exec python3 -c \
            "import sys, chromadb_rust_bindings as b; b.cli(['chroma'] + sys.argv[1:])" "$@"

            """, to: "\(path)/bin/chroma", mode: 0o755)
        if qdrant != nil {
            guard let wheel = WheelServer.wheel(QdrantStandIn.wheel) else {
                throw LifeboatError("no Qdrant", hint: QdrantStandIn.skipReason)
            }
            let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
            try AtomicFile.write(
                """
                #!/bin/sh
                [ "$1" != --version ] || { echo "qdrant 1.19.0"; exit 0; }
                PYTHONPATH='\(wheel)' PYTHONDONTWRITEBYTECODE=1 exec python3 \
                '/\(root)/fixtures/qdrant-stand-in/qdrant_stand_in.py' \
                --port "$QDRANT__SERVICE__HTTP_PORT" --storage "$QDRANT__STORAGE__STORAGE_PATH"

                """, to: "\(path)/bin/qdrant", mode: 0o755)
        }
        guard symlink(try RedisServer.installed(.redis7), "\(path)/bin/redis-server") == 0 else {
            throw SystemCallError("link", "redis-server")
        }
    }

    func writePolicy(rto: String = "10h", drill: String = "") throws {
        try AtomicFile.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components:
              database: {postgres: {host: 127.0.0.1, port: \(cluster.port), database: \(database), user: postgres}}
              queue: {redis: {socket: \(redis.socket)}}
              vectors: {chroma: {url: "\(chroma.server.url)"}}
              local: {sqlite: {path: ./local.db}}
              models: {models: {path: ./models}}
              documents: {volume: {path: ./docs}}
            \(qdrant.map { "  embeddings: {qdrant: {url: \"\($0.server.url)\"}}" } ?? "")
            checks:
              - name: notes are what they were
                at_least: [{component: database, sql: "select sum(hashtext(word)::bigint) + 1e15::bigint from notes"}, 0]
            secrets: [APP_KEY]
            objectives: {rto: \(rto), rpo: 24h}
            drill:
              folder: ./sandboxes
            \(drill)

            """, to: "\(path)/lifeboat.yaml")
    }

    var environment: [String: String] {
        let path = CommandContext.processEnvironment()["PATH"] ?? "/usr/bin:/bin"
        return [
            "HOME": "\(self.path)/home", "LIFEBOAT_STATE": "\(self.path)/state", "LIFEBOAT_CACHE": "\(self.path)/cache",
            "PATH": "\(self.path)/bin:\(path)", "APP_KEY": "the right one",
        ]
    }

    func run(_ arguments: [String], _ extra: [String: String] = [:]) throws -> LifeboatRun {
        try InProcessRunner().run(
            arguments, environment: environment.merging(extra) { $1 }, in: path)
    }

    func run(_ arguments: String...) throws -> LifeboatRun { try run(arguments) }

    /// Backs up; the snapshot.
    func backUp() throws -> Snapshot {
        let run = try run("backup", "--json")
        guard run.exit == 0, let id = ScenarioFolder.field("snapshot", of: run.output) else {
            throw LifeboatError("a backup failed", causes: [run.description])
        }
        return try SnapshotCatalog(openRepository(), stack: "demo").find(id)
    }

    func openRepository() throws -> Repository {
        try Repository.open(
            try LocalFolderStore(opening: "\(path)/repository"), cacheRoot: "\(path)/cache",
            trust: HostTrust(state: "\(path)/state"))
    }

    /// A snapshot with the content of one and the claims of another: what a faulty backup would have made. Its id.
    func forge(_ content: Snapshot, claiming claims: Snapshot, _ change: (inout Manifest) -> Void = { _ in }) throws
        -> String
    {
        let repository = try openRepository()
        var manifest = content.manifest
        manifest.checks = claims.manifest.checks
        for (index, component) in manifest.components.enumerated() {
            guard let claimed = claims.manifest.component(component.name) else { continue }
            manifest.components[index].counts = claimed.counts
            manifest.components[index].texts = claimed.texts
        }
        change(&manifest)
        // A second later, so that it stands under a name of its own.
        let newest = try SnapshotCatalog(repository, stack: "demo").snapshots.map(\.manifest).max {
            $0.frozen < $1.frozen
        }
        manifest.frozen = (newest?.frozen ?? manifest.frozen).adding(seconds: 1)
        manifest.sequence = (newest?.sequence ?? 0) + 1
        return try SnapshotCatalog.commit(manifest, to: repository).id.shortHex
    }

    /// What drills left: folders, records, processes.
    func leftovers() throws -> [String] {
        let listing = try SystemProcessRunner().run(
            ProcessCommand(
                "sh",
                [
                    "-c",
                    """
                    ls "$SANDBOXES"; ls "$DRILLS" | grep -v 'lock$'
                    for p in /proc/[0-9]*; do case "$(readlink $p/cwd)" in "$SANDBOXES"/*) echo $p ;; esac; done
                    """,
                ], environment: ["SANDBOXES": sandboxes, "DRILLS": "\(path)/state/drills"]))
        return String(decoding: listing.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    func remove() {
        chroma.remove()
        qdrant?.remove()
        redis.remove()
        _ = try? cluster.psql("DROP DATABASE IF EXISTS \(database) WITH (FORCE)")
        try? folder.remove()
    }
}
