// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// A stack for the built program whose one writer (`fixtures/load-generator`) writes each thing to a database, a
/// collection of vectors, an SQLite file and a folder, all the time.
package struct WritingStack: Sendable {
    package let folder: ScenarioFolder
    package let cluster: PostgresCluster
    package let database: String
    package let qdrant: QdrantStandIn

    package init(_ cluster: PostgresCluster, database: String) throws {
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        folder = try ScenarioFolder(inMemory: false)
        self.cluster = cluster
        self.database = database
        try cluster.psql("CREATE DATABASE \(database)")
        try cluster.psql("CREATE TABLE chunks (id int PRIMARY KEY, text text NOT NULL)", database: database)
        qdrant = try QdrantStandIn()
        try qdrant.create("chunks", size: 4)
        try FileTree.createFolders("\(folder.path)/docs")
        try AtomicFile.write(
            """
            cd "$(dirname "$0")" || exit 1
            process=$(cat process 2>/dev/null)
            state() { sed 's/.*) //' "/proc/$process/stat" 2>/dev/null | cut -c1; }
            runs() { [ -n "$process" ] && [ -n "$(state)" ] && [ "$(state)" != Z ]; }
            case $1 in
            start)
                runs || [ -e stay-down ] || {
                    setsid python3 '/\(root)/fixtures/load-generator/generator.py' "$PWD" '\(qdrant.server.url)' \
                        '\(cluster.binaries)/psql' -XqAt -h \(cluster.host) -p \(cluster.port) -U \(cluster.user) \
                        -d \(database) </dev/null >generator.log 2>&1 &
                    echo $! >process
                } ;;
            stop)
                runs && kill -TERM "$process" && kill -CONT "$process"
                while runs; do sleep 0.02; done ;;
            status) runs ;;
            pause)
                kill -TSTP "$process"
                while runs && [ "$(state)" != T ]; do sleep 0.01; done ;;
            unpause) kill -CONT "$process" ;;
            state) state ;;
            advance)
                # Until it has done some more steps.
                step=$(cat step)
                while [ "$(cat step)" -lt $((step + 20)) ]; do sleep 0.02; done
                echo advanced ;;
            esac

            """, to: "\(folder.path)/service")
        try folder.createRepository()
    }

    /// Writes lifeboat.yaml; `checks` are lines of it.
    package func writePolicy(freeze: FreezeMethod, checks: [String] = []) throws {
        let words = ["stop", "start", "status", "pause", "unpause"].map { "\($0): [[sh, ./service, \($0)]]" }
        let server = "host: \(cluster.host), port: \(cluster.port), database: \(database), user: \(cluster.user)"
        let same = """
            {name: the same everywhere, equal: [{component: database, sql: "select count(*) from chunks"}, \
            {component: vectors, points: chunks}, {component: notes, sql: "select count(*) from notes"}, \
            {component: documents, files: "*.txt"}]}
            """
        try AtomicFile.write(
            """
            stack: writing
            repository: ./repository
            encryption: none
            services:
              commands: {\(words.joined(separator: ", "))}
              freeze: \(freeze.rawValue)
            components:
              database: {postgres: {\(server), globals: false}}
              vectors: {qdrant: {url: "\(qdrant.server.url)", collections: [chunks]}}
              notes: {sqlite: {path: ./notes.db}}
              documents: {volume: {path: ./docs, exclude: [".new"]}}
              # Has the writer go on while everything else is streamed.
              time: {command: {capture: [sh, ./service, advance], restore: [cat], keep_old: false}}
            checks:
            \(([same] + checks).map { "  - \($0)" }.joined(separator: "\n"))

            """, to: "\(folder.path)/lifeboat.yaml")
    }

    @discardableResult
    package func service(_ word: String) throws -> String { try folder.shell("sh '\(folder.path)/service' \(word)") }

    /// The writer's state as `ps` shows it: `T` when it is held.
    package func state() throws -> String { try service("state") }

    /// What each of the four places has, as one line each: numbers, in order.
    package func contents() throws -> [String] {
        let rows = try cluster.psql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM chunks", database: database)
        let points = try qdrant.ids("chunks").map(String.init).joined(separator: " ")
        let notes = try SQLiteProgram.sql(
            "\(folder.path)/notes.db", "SELECT group_concat(id, ' ') FROM (SELECT id FROM notes ORDER BY id)")
        let files = try folder.shell(
            "cd '\(folder.path)/docs' && for f in *.txt; do n=${f%.txt}; "
                + "[ \"$(cat \"$f\")\" = \"document $n\" ] && echo \"$n\"; done | sort -n | paste -sd ' '")
        return [rows, points, notes, files]
    }

    package func remove() {
        _ = try? folder.shell("touch '\(folder.path)/stay-down'; kill -KILL \"$(cat '\(folder.path)/process')\"")
        qdrant.remove()
        folder.remove()
        _ = try? cluster.psql("DROP DATABASE IF EXISTS \(database) WITH (FORCE)")
    }
}
