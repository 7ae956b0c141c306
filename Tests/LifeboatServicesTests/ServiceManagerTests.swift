// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// Services behind scripts: the service "runs" while a file exists.
struct ScriptServices: ServiceFixture {
    let folder: TemporaryFolder
    let commands: CommandServices

    init(deadlines: CommandServices.Deadlines = .init(settle: 0.3), stop: [[String]]? = nil) throws {
        folder = try TemporaryFolder(prefix: "lifeboat-services-")
        commands = CommandServices(
            stop: stop ?? [["sh", "-c", "test -e stubborn || rm -f running paused; echo stop >> log"]],
            start: [["sh", "-c", "echo start >> log"], ["\(folder.path)/touch it", "running"]],
            status: [["test", "-e", "running"]], pause: [["sh", "-c", ": > paused"]],
            unpause: [["rm", "-f", "paused"]],
            folder: folder.path, runner: SystemProcessRunner(), deadlines: deadlines)
        try AtomicFile.write("", to: "\(folder.path)/running")
        try AtomicFile.write("#!/bin/sh\nexec touch \"$1\"\n", to: "\(folder.path)/touch it", mode: 0o700)
    }

    var manager: any ServiceManager { commands }
    var services: [String] { [CommandServices.service] }

    func observed() throws -> [String] { access("\(folder.path)/running", F_OK) == 0 ? services : [] }

    func observedPaused() throws -> [String] { access("\(folder.path)/paused", F_OK) == 0 ? services : [] }

    func setOutside(_ service: String, running: Bool) throws {
        if running {
            try AtomicFile.write("", to: "\(folder.path)/running")
        } else {
            unlink("\(folder.path)/running")
        }
    }

    func makeStubborn(_ service: String) throws { try AtomicFile.write("", to: "\(folder.path)/stubborn") }

    func run(_ command: ServiceCommand) throws {
        let result = try SystemProcessRunner().run(
            ProcessCommand(command.words[0], Array(command.words.dropFirst()), workingDirectory: command.folder))
        #expect(result.termination.succeeded)
    }
}

private struct MemoryFixture: ServiceFixture {
    let memory = MemoryServices(["database", "cache", "api"])
    var manager: any ServiceManager { memory }
    var services: [String] { ["database", "cache", "api"] }
    func observed() throws -> [String] { try memory.running(nil) }
    func observedPaused() throws -> [String] { memory.paused }
    func setOutside(_ service: String, running: Bool) throws { memory.set(service, running: running) }
    func makeStubborn(_ service: String) throws { memory.makeStubborn(service) }
    func run(_ command: ServiceCommand) throws {
        let name = command.words[1]
        if command.words[0] == "start" { return memory.set(name, running: true) }
        try memory.unpause([name], progress: SilentProgress())
    }
}

@Suite struct ServiceManagerTests {
    @Test(arguments: ServiceManagerContract.all) func `services behind commands keep the contract`(
        _ contract: ServiceManagerContract
    ) throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        try contract.check(fixture)
    }

    @Test(arguments: ServiceManagerContract.all) func `services in memory keep the contract`(
        _ contract: ServiceManagerContract
    ) throws {
        try contract.check(MemoryFixture())
    }

    @Test func `services stop in reverse order and start in order`() throws {
        let memory = MemoryServices(["database", "cache", "api"])
        let stopped = try memory.stop(
            ["api", "database", "cache"], progress: SilentProgress(), cancellation: nil)
        try memory.start(stopped, progress: SilentProgress(), cancellation: nil)
        #expect(
            memory.log == ["stop api", "stop cache", "stop database", "start database", "start cache", "start api"])
    }

    @Test func `a stack without services has nothing to stop`() throws {
        let none = NoServices()
        #expect(try none.running(nil).isEmpty)
        #expect(try none.stop(["a"], progress: SilentProgress(), cancellation: nil).isEmpty)
    }

    @Test func `services without commands for it cannot be paused`() throws {
        let services = CommandServices(stop: [], start: [], folder: nil, runner: SystemProcessRunner())
        #expect {
            _ = try services.pause([CommandServices.service], progress: SilentProgress(), cancellation: nil)
        } throws: { error in
            LifeboatError.converting(error).description == """
                error: the services cannot be paused
                cause: the policy names no commands for it
                hint: Add 'pause' and 'unpause' to services.commands in the policy, or write 'freeze: stop'.
                """
        }
        #expect(services.unpauseCommands([CommandServices.service]).isEmpty)
    }

    @Test func `a command that fails is shown with what it said`() throws {
        let fixture = try ScriptServices(stop: [["sh", "-c", "echo out; echo 'no such unit' >&2; exit 5"]])
        defer { try? fixture.folder.remove() }
        #expect {
            _ = try fixture.manager.stop(fixture.services, progress: SilentProgress(), cancellation: nil)
        } throws: { error in
            LifeboatError.converting(error).description == """
                error: cannot stop the services
                cause: 'sh -c "echo out; echo 'no such unit' >&2; exit 5"' failed: exit status 5
                cause: it said: no such unit
                cause: it said: out
                """
        }
    }

    @Test func `a command that hangs is ended at its deadline`() throws {
        let fixture = try ScriptServices(deadlines: .init(stop: 0.2), stop: [["sleep", "60"]])
        defer { try? fixture.folder.remove() }
        let start = SystemClock().monotonicSeconds()
        #expect(throws: LifeboatError.self) {
            _ = try fixture.manager.stop(fixture.services, progress: SilentProgress(), cancellation: nil)
        }
        #expect(SystemClock().monotonicSeconds() - start < 20)
    }

    @Test func `a missing program is told by name, and cancelling ends a command`() throws {
        let missing = CommandServices(
            stop: [], start: [["no-such-program-here"]], folder: nil, runner: SystemProcessRunner())
        #expect {
            try missing.start([CommandServices.service], progress: SilentProgress(), cancellation: nil)
        } throws: { LifeboatError.converting($0).description.contains("no-such-program-here") }
        let cancellation = Cancellation()
        let thread = BlockingThread<Void>(name: "cancel") {
            SystemClock().sleep(seconds: 0.2)
            cancellation.cancel()
        }
        let slow = CommandServices(stop: [], start: [["sleep", "60"]], folder: nil, runner: SystemProcessRunner())
        #expect(throws: LifeboatError.interrupted) {
            try slow.start([CommandServices.service], progress: SilentProgress(), cancellation: cancellation)
        }
        try thread.join()
    }

    @Test func `a start command may leave a process in the background`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let services = CommandServices(
            stop: [], start: [["sh", "-c", "sleep 30 & echo started"]], folder: fixture.folder.path,
            runner: SystemProcessRunner())
        let start = SystemClock().monotonicSeconds()
        try services.start([CommandServices.service], progress: SilentProgress(), cancellation: nil)
        #expect(SystemClock().monotonicSeconds() - start < 25)
    }
}
