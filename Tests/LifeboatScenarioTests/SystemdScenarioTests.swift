// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The built program over units of a real systemd: a restore stops and starts them, one that is killed is put right.
@Suite(.enabled(if: DockerDaemon.shouldRun, .init(rawValue: DockerDaemon.skipReason)))
struct SystemdScenarioTests {
    @Test func `a restore over units of systemd, and one that is killed`() throws {
        let systemd = try SystemdFixture(try .shared())
        defer { systemd.remove() }
        let folder = try ScenarioFolder(inMemory: false)
        defer { folder.remove() }
        try folder.createRepository()
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        let environment = ["PATH": "\(systemd.folder)/bin:\(path)"]
        try AtomicFile.write(
            """
            stack: units
            repository: ./repository
            encryption: none
            services: {systemd: {units: [db, api.service]}}
            components: {documents: {volume: {path: ./tree}}}
            health: [{command: [systemctl, is-active, api.service], within: 2m}]

            """, to: "\(folder.path)/lifeboat.yaml")
        func setWord(_ word: String) throws { try folder.write(Array(word.utf8), to: "\(folder.tree)/note") }
        func word() throws -> String { try folder.shell("cat '\(folder.tree)/note'") }
        let restore = ["restore", "latest", "--yes"]

        try setWord("kept")
        let backup = try folder.lifeboat(["backup"], environment: environment)
        #expect(backup.exit == 0, "\(backup)")
        try setWord("live")
        try systemd.clearLog()
        let report = "\(folder.path)/fault-report"
        func fault(_ kind: ScenarioFault.Kind, at position: Int) throws -> [String: String] {
            unlink(report)
            let fault = ScenarioFault(kind, at: position, of: ["rename"], path: "/restores/")
            return environment.merging(try fault.environment(report: report)) { $1 }
        }
        let whole = try folder.lifeboat(restore, environment: try fault(.kill, at: 0))
        #expect(whole.exit == 0, "\(whole)")
        #expect(try word() == "kept")
        #expect(try systemd.observed() == systemd.services)
        #expect(
            try systemd.log() == ["stop api.service", "stop db.service", "start db.service", "start api.service"])
        let entries = try #require(Int(try folder.shell("sed -n 's/counted //p' '\(report)'")))

        // Stopped and nothing exchanged; exchanged and not started.
        for position in [5, 7] {
            try setWord("live")
            let killed = try folder.lifeboat(
                restore, environment: try fault(.killAfter, at: entries * position / 10))
            #expect(killed.exit == 128 + SIGKILL, "\(killed)")
            let resumed = try folder.lifeboat(["restore", "--resume"], environment: environment)
            #expect(resumed.exit == 0, "\(resumed)")
            #expect(try systemd.observed() == systemd.services, "\(resumed)")
            #expect(["kept", "live"].contains(try word()), "\(resumed)")
        }
    }
}
