// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import Testing

@Suite struct ProcessRunnerTests {
    let runner = SystemProcessRunner(grace: 0.3)

    private func shell(_ script: String, _ arguments: [String] = []) -> ProcessCommand {
        ProcessCommand("sh", ["-c", script, "sh"] + arguments)
    }

    private func text(_ result: ProcessResult) -> String { String(decoding: result.standardOutput, as: UTF8.self) }

    /// Runs on a thread of its own: tests share the cooperative pool, which must not be blocked for long.
    private func onThread<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) throws -> Success {
        try BlockingThread(name: "test", body).join()
    }

    @Test func givesExitStatusOutputAndErrors() throws {
        let result = try runner.run(shell("echo out; echo err >&2; exit 7"))
        #expect(result.termination == .exited(7))
        #expect(!result.termination.succeeded)
        #expect(text(result) == "out\n")
        #expect(result.standardError == "err\n")
    }

    @Test func tellsTheSignalThatKilledAChild() throws {
        #expect(try runner.run(shell("kill -9 $$")).termination == .signalled(SIGKILL))
        #expect(try runner.run(shell("kill -TERM $$")).termination == .signalled(SIGTERM))
    }

    @Test func argumentsAreNeverSeenByAShell() throws {
        let hostile = "$(echo pwned) `id` \"'; rm -rf \n*"
        let result = try runner.run(ProcessCommand("printf", ["%s", hostile]))
        #expect(text(result) == hostile)
    }

    @Test func passesLargeInputAndOutputBothWays() throws {
        var random = SystemRandomNumberGenerator()
        let input = (0..<(3 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let result = try runner.run(
            ProcessCommand("cat"), input: input, outputLimit: 4 << 20, deadline: 30, cancellation: nil)
        #expect(result.standardOutput == input)
        #expect(result.termination.succeeded)
    }

    @Test func aChildThatIgnoresItsInputIsNoError() throws {
        let input = [UInt8](repeating: 65, count: 4 << 20)
        let result = try runner.run(
            ProcessCommand("true"), input: input, outputLimit: 10, deadline: 30, cancellation: nil)
        #expect(result.termination.succeeded)
    }

    @Test func moreOutputThanTheLimitIsAnError() throws {
        #expect(throws: ProcessError.outputLimit(program: "yes", bytes: 1000)) {
            try runner.run(ProcessCommand("yes"), input: [], outputLimit: 1000, deadline: 30, cancellation: nil)
        }
    }

    @Test func keepsTheLast16KiBOfStandardError() throws {
        let result = try runner.run(shell("i=0; while [ $i -lt 20000 ]; do echo line$i >&2; i=$((i+1)); done"))
        #expect(result.standardError.utf8.count == 16 << 10)
        #expect(result.standardError.hasSuffix("line19998\nline19999\n"))
    }

    @Test func aMissingProgramIsNamed() throws {
        let error = #expect(throws: ProcessError.self) { try runner.run(ProcessCommand("no-such-program-zz")) }
        #expect(error?.lifeboatError.message == "cannot run 'no-such-program-zz'")
        #expect(error?.lifeboatError.causes.first?.contains("no such program in") == true)
        #expect(throws: ProcessError.notFound(program: "/nowhere/tool", searched: [])) {
            try runner.start(ProcessCommand("/nowhere/tool"), pipesInput: false, pipesOutput: true)
        }
    }

    @Test func aFileThatIsNoProgramSaysWhy() throws {
        let error = #expect(throws: ProcessError.self) { try runner.run(ProcessCommand("/etc/passwd")) }
        #expect(error?.lifeboatError.causes == ["cannot execute it: permission denied (EACCES)"])
        let folder = #expect(throws: ProcessError.self) {
            try runner.run(ProcessCommand("true", workingDirectory: "/nowhere"))
        }
        #expect(folder?.lifeboatError.causes.first?.hasPrefix("cannot enter the folder '/nowhere'") == true)
    }

    @Test func environmentIsAddedToAndTakenFrom() throws {
        let result = try runner.run(
            ProcessCommand(
                "sh", ["-c", "echo \"$LIFEBOAT_TEST_A|${HOME-unset}|$PWD\""],
                environment: ["LIFEBOAT_TEST_A": "a=b c", "HOME": nil], workingDirectory: "/usr"))
        #expect(text(result) == "a=b c|unset|/usr\n")
    }

    @Test func programsAreLookedUpInTheChildsPath() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let made = try runner.run(
            shell("printf '#!/bin/sh\\necho found\\n' > \"$1\" && chmod 755 \"$1\"", ["\(folder.path)/zz-tool"]))
        #expect(made.termination.succeeded)
        let result = try runner.run(
            ProcessCommand("zz-tool", environment: ["PATH": "\(folder.path):/usr/bin:/bin"]))
        #expect(text(result) == "found\n")
    }

    @Test(arguments: [3, 20_000])
    func `the first error line of a child is among the causes, whatever it prints after that`(lines: Int) throws {
        let result = try runner.run(
            shell("echo 'prog: warming up' >&2; echo 'prog: error: the reason' >&2; seq 1 \(lines) >&2; exit 1"))
        let causes = ProcessResult.lastLines(of: result.standardError)
        #expect(causes.contains("prog: error: the reason"), "\(causes)")
        #expect(causes.last == "\(lines)")
    }

    @Test func inheritsNoDescriptorsAndNoTerminal() throws {
        // Without FD_CLOEXEC on purpose.
        let leaked = Glibc.open("/etc/passwd", O_RDONLY)
        #expect(leaked > 2)
        defer { close(leaked) }
        let result = try runner.run(
            shell("ls /proc/self/fd | tr '\\n' ' '; ps -o pid=,pgid=,sid= -p $$; (: < /dev/tty) 2>&1 | grep -c tty"))
        let lines = text(result).split(separator: "\n")
        // 3 is the folder that ls itself reads.
        #expect(lines.first?.hasPrefix("0 1 2 3 ") == true)
        let ids = lines.first?.dropFirst("0 1 2 3 ".count).split(separator: " ") ?? []
        #expect(ids.count == 3 && ids[0] == ids[1] && ids[1] == ids[2])
        #expect(lines.last == "1")
    }

    @Test func childrenStartWithDefaultSignals() throws {
        // Library threads block all signals; a child must not inherit that.
        let result = try onThread { [runner] in
            try runner.run(ProcessCommand("grep", ["-E", "^Sig(Blk|Ign):", "/proc/self/status"]))
        }
        let masks = text(result).split(separator: "\n").compactMap { UInt64($0.suffix(16), radix: 16) }
        #expect(masks.count == 2)
        // Signals from 32 on are the C library's own.
        #expect(masks.allSatisfy { $0 & 0x7FFF_FFFF == 0 })
    }

    @Test func deadlineEndsAChildThatIgnoresSIGTERM() throws {
        let start = ContinuousClock.now
        let error = #expect(throws: ProcessError.self) {
            try runner.run(shell("trap '' TERM; echo stuck >&2; while :; do sleep 0.05; done"), deadline: 2)
        }
        #expect(error == .deadline(program: "sh", seconds: 2, standardError: "stuck\n"))
        #expect(error?.lifeboatError.message == "'sh' did not end within 2 s and was ended")
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    @Test func cancellationEndsTheWholeGroup() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let cancellation = Cancellation()
        let child = BlockingThread(name: "run") { [runner, folder] in
            try runner.run(
                ProcessCommand(
                    "sh",
                    ["-c", "sleep 1000 & echo $! > \"$1.new\"; mv \"$1.new\" \"$1\"; wait", "sh", "\(folder.path)/pid"]),
                cancellation: cancellation)
        }
        let grandchild = try waitForNumber("\(folder.path)/pid")
        #expect(kill(grandchild, 0) == 0)
        cancellation.cancel()
        #expect(throws: LifeboatError.interrupted) { try child.join() }
        #expect(isGone(grandchild))
    }

    @Test func aBackgroundProcessLeftBehindDoesNotHoldTheResult() throws {
        let start = ContinuousClock.now
        let result = try runner.run(shell("sleep 30 & echo $!"), deadline: 20)
        #expect(ContinuousClock.now - start < .seconds(15))
        let left = try #require(pid_t(text(result).split(separator: "\n").first ?? ""))
        #expect(kill(left, SIGKILL) == 0)
    }

    @Test func streamsAreReadToTheEnd() throws {
        let child = try runner.start(
            ProcessCommand("head", ["-c", "5000000", "/dev/zero"]), pipesInput: false, pipesOutput: true)
        var total = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = try child.read(into: buffer)
            if count == 0 { break }
            total += count
        }
        #expect(total == 5_000_000)
        #expect(try child.finish().termination == .exited(0))
    }

    @Test func streamsAreWritten() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let child = try runner.start(
            ProcessCommand("sh", ["-c", "wc -c > \"$1\"; echo told >&2; exit 3", "sh", "\(folder.path)/count"]),
            pipesInput: true, pipesOutput: false)
        let block = [UInt8](repeating: 1, count: 1 << 20)
        for _ in 0..<5 { try block.withUnsafeBytes { try child.write($0) } }
        try child.closeInput()
        let result = try child.finish()
        #expect(result.termination == .exited(3))
        #expect(result.standardError == "told\n")
        let count = try runner.run(ProcessCommand("cat", ["\(folder.path)/count"]))
        #expect(text(count) == "5242880\n")
    }

    @Test func writingToAClosedInputIsAnErrorNotASignal() throws {
        // On this thread SIGPIPE is not blocked: raised, it would end the test process.
        let child = try runner.start(shell("exec 0<&-; sleep 0.2"), pipesInput: true, pipesOutput: false)
        let block = [UInt8](repeating: 1, count: 1 << 20)
        #expect(throws: ProcessError.inputClosed(program: "sh")) {
            while true { try block.withUnsafeBytes { try child.write($0) } }
        }
        #expect(try child.finish().termination == .exited(0))
        var pending = sigset_t()
        sigpending(&pending)
        #expect(sigismember(&pending, SIGPIPE) == 0)
    }

    @Test func finishingWithoutReadingDoesNotHang() throws {
        let child = try runner.start(ProcessCommand("yes"), pipesInput: false, pipesOutput: true)
        #expect(try child.finish().termination == .signalled(SIGPIPE))
    }

    @Test func terminateWakesABlockedReaderAndKillsWhatIgnoresIt() throws {
        let child = try runner.start(
            shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"), pipesInput: true, pipesOutput: true)
        let ready = Monitor(false)
        let reader = BlockingThread<Int>(name: "reader") {
            var buffer = [UInt8](repeating: 0, count: 64)
            _ = try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
            ready.update { $0 = true }
            return try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
        }
        ready.wait { $0 ? () : nil }
        child.terminate(grace: 0.2)
        #expect(throws: ProcessError.terminated(program: "sh")) { try reader.join() }
        #expect(try child.finish().termination == .signalled(SIGKILL))
    }

    @Test func cancellationReachesABlockedReadAndFinish() throws {
        for reads in [true, false] {
            let cancellation = Cancellation()
            let child = try runner.start(
                ProcessCommand("sleep", ["1000"]), pipesInput: false, pipesOutput: true, cancellation: cancellation)
            let waiting = BlockingThread<Void>(name: "waiting") {
                var buffer = [UInt8](repeating: 0, count: 64)
                if reads { _ = try buffer.withUnsafeMutableBytes { try child.read(into: $0) } }
                _ = try child.finish()
            }
            cancellation.cancel()
            #expect(throws: LifeboatError.interrupted) { try waiting.join() }
            #expect(try child.finish().termination == .signalled(SIGTERM))
        }
    }

    @Test func aSecretFileIsForThisUserAloneAndGoesWithItsOwner() throws {
        var file: ProcessSecretFile? = try ProcessSecretFile("canary-7f3a\n")
        let path = try #require(file?.path)
        let read = try runner.run(ProcessCommand("sh", ["-c", "cat \"$1\"; stat -L -c '%a %F' \"$1\"", "sh", path]))
        #expect(text(read) == "canary-7f3a\n600 regular file\n")
        if geteuid() == 0 {
            let other = try runner.run(ProcessCommand("cat", [path], userID: 65534, groupID: 65534))
            #expect(!other.termination.succeeded)
            #expect(other.standardOutput.isEmpty)
        }
        file = nil
        // The number may already be another descriptor: only its name can be looked at.
        #expect(!text(try runner.run(ProcessCommand("readlink", [path]))).contains("lifeboat-secret"))
    }

    @Test func aChildKilledInMidStreamIsToldByItsTermination() throws {
        let child = try runner.start(shell("echo $$; exec sleep 1000"), pipesInput: false, pipesOutput: true)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
        let line = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
        let processID = try #require(pid_t(line.first ?? ""))
        #expect(kill(processID, SIGKILL) == 0)
        #expect(try buffer.withUnsafeMutableBytes { try child.read(into: $0) } == 0)
        #expect(try child.finish().termination == .signalled(SIGKILL))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root")) func runsAsAnotherUserWithoutItsGroups() throws {
        let result = try runner.run(ProcessCommand("id", ["-u"], userID: 65534, groupID: 65534))
        #expect(text(result) == "65534\n")
        #expect(text(try runner.run(ProcessCommand("id", ["-G"], userID: 65534, groupID: 65534))) == "65534\n")
    }

    @Test(.enabled(if: geteuid() == 0, "needs root")) func aUserSwitchThatIsNotAllowedIsAnError() throws {
        // As an unprivileged user, started through the runner itself, no switch is possible.
        let result = try runner.run(
            ProcessCommand("setpriv", ["--reuid=0", "true"], userID: 65534, groupID: 65534))
        #expect(!result.termination.succeeded)
    }

    @Test func manyChildrenAtOnce() throws {
        try runConcurrently(
            (0..<16).map { index in
                (
                    "many\(index)",
                    { [runner] in
                        for round in 0..<5 {
                            let result = try runner.run(ProcessCommand("echo", ["\(index) \(round)"]))
                            #expect(String(decoding: result.standardOutput, as: UTF8.self) == "\(index) \(round)\n")
                        }
                    }
                )
            })
    }

    private func waitForNumber(_ path: String) throws -> pid_t {
        for _ in 0..<500 {
            let result = try runner.run(ProcessCommand("cat", [path]))
            if let number = pid_t(text(result).split(separator: "\n").first ?? "") { return number }
            usleep(20_000)
        }
        throw LifeboatError("no number in \(path)")
    }

    private func isGone(_ processID: pid_t) -> Bool {
        for _ in 0..<200 {
            if kill(processID, 0) != 0 { return true }
            // An orphan nobody reaps (no init in a bare container) stays as a zombie.
            let state = try? runner.run(ProcessCommand("ps", ["-o", "stat=", "-p", "\(processID)"]))
            if let state, text(state).hasPrefix("Z") { return true }
            usleep(10_000)
        }
        return false
    }
}
