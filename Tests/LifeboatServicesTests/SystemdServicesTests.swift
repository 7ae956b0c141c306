// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// A real systemd, in a container.
@Suite(.enabled(if: DockerDaemon.shouldRun, .init(rawValue: DockerDaemon.skipReason)))
struct SystemdServicesTests {
    @Test func `units of systemd keep the contract`() throws {
        let fixture = try SystemdFixture(try .shared())
        defer { fixture.remove() }
        for contract in ServiceManagerContract.all {
            do {
                try contract.check(fixture)
            } catch {
                Issue.record("\(contract): \(error)")
            }
            try fixture.reset()
        }
        // What stops with a unit, and what would start it, belongs to it: of the database alone that is everything.
        try fixture.clearLog()
        let path = "\(fixture.folder)/bin:/usr/bin:/bin"
        let database = SystemdServices(units: ["db"], runner: SystemProcessRunner(), environment: ["PATH": path])
        #expect(try database.running(nil) == fixture.services)
        let stopped = try database.stop(["db.service"], progress: SilentProgress(), cancellation: nil)
        #expect(stopped == ["db.service"])
        #expect(try fixture.observed() == ["api.socket", "clean.timer"])
        try database.start(fixture.services, progress: SilentProgress(), cancellation: nil)
        #expect(try fixture.observed() == fixture.services)
        #expect(try fixture.log() == ["stop api.service", "stop db.service", "start db.service", "start api.service"])

        // Another process, to which systemd tells nothing of what is down and not loaded.
        let all = try database.stop(fixture.services, progress: SilentProgress(), cancellation: nil)
        #expect(all == fixture.services)
        let later = SystemdServices(
            units: ["api", "db"], runner: SystemProcessRunner(), environment: ["PATH": path])
        // The timer has a name of its own: it is among them only while systemd happens to have it loaded.
        #expect(try later.all(nil).filter { $0 != "clean.timer" } == ["api.socket", "db.service", "api.service"])
        try later.start(all + ["nobody.service"], progress: SilentProgress(), cancellation: nil)
        #expect(try fixture.observed() == fixture.services)

        let unknown = SystemdServices(units: ["nobody"], runner: SystemProcessRunner(), environment: ["PATH": path])
        #expect {
            _ = try unknown.running(nil)
        } throws: { error in
            LifeboatError.converting(error).description == """
                error: there is no unit 'nobody.service'
                cause: systemd says: not-found
                hint: Correct services.systemd.units in the policy.
                """
        }
    }

    @Test func `what systemctl shows is read block by block`() {
        let units = SystemdUnit.parse(
            """
            Result=success
            Id=a.service
            After=b.service  system.slice
            TriggeredBy=a.socket
            Triggers=e.service
            RequiredBy=c.service
            BoundBy=d.service
            ConsistsOf=
            LoadState=loaded
            ActiveState=active
            FreezerState=running
            SubState=running
            CanFreeze=yes

            Id=c.service
            LoadState=not-found
            ActiveState=inactive
            Description=a=b
            """)
        #expect(units.map(\.id) == ["a.service", "c.service"])
        #expect(units[0].after == ["b.service", "system.slice"])
        #expect(units[0].triggeredBy == ["a.socket"])
        #expect(units[0].triggers == ["e.service"])
        #expect(units[0].stoppedWith == ["c.service", "d.service"])
        #expect(units[0].canFreeze && units[0].activeState == "active")
        #expect(units[1].loadState == "not-found" && !units[1].canFreeze && units[1].after.isEmpty)
        #expect(SystemdUnit.parse("\n\n").isEmpty)
    }

    @Test func `without a session units of a user are told what they need`() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-systemctl-")
        defer { try? folder.remove() }
        try AtomicFile.write(
            "#!/bin/sh\necho \"$1: no bus\" >&2\nexit 1\n", to: "\(folder.path)/systemctl", mode: 0o755)
        let services = SystemdServices(
            units: ["api"], isUser: true, runner: SystemProcessRunner(), environment: ["PATH": "\(folder.path):/bin"])
        #expect(services.subject == "unit api.service of the user")
        #expect(
            services.startCommands(["api.service"]) == [
                ServiceCommand(["systemctl", "--user", "start", "api.service"])
            ])
        let error = #expect(throws: LifeboatError.self) { _ = try services.running(nil) }
        #expect(error?.message == "cannot ask systemd about unit api.service of the user")
        #expect(error?.causes.contains("it said: --user: no bus") == true)
        #expect(error?.hint == "It needs XDG_RUNTIME_DIR and a session of the user, or lingering.")
    }
}
