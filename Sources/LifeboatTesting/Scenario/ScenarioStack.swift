// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A stack for the built program: a database, a folder, and services that are a file named `running`. Database and
/// folder hold the same word, so that a look tells whose data is live.
package struct ScenarioStack: Sendable {
    package let folder: ScenarioFolder
    package let cluster: PostgresCluster
    package let database: String

    /// Creates the data with the word `old`. The policy's database lies on `cluster`; the clients in `binaries`, else
    /// those on PATH. `health` is a line of the policy below `health:`.
    package init(
        _ cluster: PostgresCluster, database: String, binaries: String? = nil, health: String? = nil
    ) throws {
        folder = try ScenarioFolder(inMemory: false)
        self.cluster = cluster
        self.database = database
        try cluster.psql("CREATE DATABASE \(database)")
        try cluster.psql(
            """
            CREATE TABLE notes (id int PRIMARY KEY, word text NOT NULL, filler text NOT NULL);
            INSERT INTO notes SELECT n, 'old', repeat(md5(n::text), 8) FROM generate_series(1, 2000) n;
            """, database: database)
        try AtomicFile.write(
            """
            case $1 in
            stop) rm -f running ;;
            start) : >running ;;
            status) test -e running ;;
            esac
            """, to: "\(folder.path)/service")
        try folder.write([], to: "\(folder.path)/running")
        try cluster.password?.reveal { try AtomicFile.write("\($0)\n", to: "\(folder.path)/password") }
        try writePolicy(health: health, binaries: binaries)
        try folder.createRepository()
        try setWord("old")
    }

    /// Writes lifeboat.yaml again; `port` other than the cluster's is for a server that is down.
    package func writePolicy(
        health: String? = nil, binaries: String? = nil, port: UInt16? = nil, password: String = "password"
    ) throws {
        var server = "host: 127.0.0.1, port: \(port ?? cluster.port), database: \(database), user: \(cluster.user)"
        if cluster.password != nil { server += ", password: {file: ./\(password)}" }
        if let binaries { server += ", binaries: \(binaries)" }
        let probe = health ?? "{name: service, command: [sh, ./service, status], within: 20s, interval: 100ms}"
        try AtomicFile.write(
            """
            stack: faults
            repository: ./repository
            encryption: none
            services:
              commands:
                stop: [[sh, ./service, stop]]
                start: [[sh, ./service, start]]
                status: [[sh, ./service, status]]
            components:
              database: {postgres: {\(server)}}
              documents: {volume: {path: ./tree}}
            health:
              - \(probe)

            """, to: "\(folder.path)/lifeboat.yaml")
    }

    package func remove() {
        folder.remove()
        _ = try? cluster.psql("DROP DATABASE IF EXISTS \(database) WITH (FORCE)")
    }

    /// Makes all live data say this.
    package func setWord(_ word: String) throws {
        try cluster.psql("UPDATE notes SET word = '\(word)'", database: database)
        for number in 0..<20 {
            try folder.write(Array("\(word) \(number)\n".utf8), to: "\(folder.tree)/note-\(number)")
        }
    }

    /// The word that all live data says, and all that is wrong with it.
    package func liveWord() throws -> String {
        let rows = try cluster.psql(
            "SELECT word, count(*) FROM notes GROUP BY word ORDER BY word", database: database)
        let files = try folder.shell(
            "cd '\(folder.tree)' && cut -d' ' -f1 * | sort | uniq -c | awk '{print $2 \"|\" $1}'")
        let words = [rows, files].map { $0.split(separator: "|") }
        guard words[0].count == 2, words[1].count == 2, words[0][0] == words[1][0], words[0][1] == "2000",
            words[1][1] == "20"
        else { return "mixed: rows \(rows), files \(files)" }
        return String(words[0][0])
    }

    package var servicesRun: Bool { access("\(folder.path)/running", F_OK) == 0 }

    /// What a restore leaves about that is not live data: staged and old copies.
    package func leftovers() throws -> [String] {
        let databases = try cluster.psql(
            "SELECT datname FROM pg_database WHERE datname LIKE '\(database)%' AND datname <> '\(database)'"
                + " OR datname LIKE 'lifeboat%'")
        let folders = try folder.shell(
            "cd '\(folder.path)' && find . -mindepth 1 -maxdepth 1 -name '*tree*' ! -name tree")
        return (databases + "\n" + folders).split(separator: "\n").map(String.init)
    }
}
