// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

@Suite struct HealthScheduleTests {
    @Test func `a pass at once is healthy`() {
        var schedule = HealthSchedule(now: 100, within: 60, interval: 2, consecutive: 1)
        #expect(schedule.handle(.ready, now: 100) == .ask(timeout: 10))
        #expect(schedule.handle(.passed, now: 100.5) == .healthy)
        #expect(schedule.attempts == 1)
    }

    @Test func `flapping sets the streak back`() {
        var schedule = HealthSchedule(now: 0, within: 60, interval: 1, consecutive: 3)
        var now = 0.0
        for (index, event) in [
            HealthSchedule.Event.passed, .passed, .failed("down"), .passed, .passed,
        ].enumerated() {
            #expect(schedule.handle(.ready, now: now) == .ask(timeout: 10))
            #expect(schedule.handle(event, now: now + 0.25) == .wait(until: Double(index) + 1))
            now += 1
        }
        #expect(schedule.passes == 2)
        _ = schedule.handle(.ready, now: now)
        #expect(schedule.handle(.passed, now: now) == .healthy)
        #expect((schedule.passes, schedule.attempts) == (3, 6))
        #expect(schedule.lastFailure == "down")
    }

    @Test func `the time ends it, and the last try is short`() {
        var schedule = HealthSchedule(now: 0, within: 5, interval: 2, consecutive: 1)
        for time in [0.0, 2, 4] {
            #expect(schedule.handle(.ready, now: time) == .ask(timeout: 5 - time))
            let next: HealthSchedule.Action = time == 4 ? .unhealthy : .wait(until: time + 2)
            #expect(schedule.handle(.failed("no"), now: time + 0.1) == next)
        }
        #expect(schedule.attempts == 3)
    }

    @Test func `a slow answer is followed at once by the next try`() {
        var schedule = HealthSchedule(now: 0, within: 50, interval: 2, consecutive: 2)
        _ = schedule.handle(.ready, now: 0)
        #expect(schedule.handle(.passed, now: 7) == .wait(until: 7))
        #expect(schedule.handle(.ready, now: 7) == .ask(timeout: 10))
        _ = schedule.handle(.failed("x"), now: 17)
        #expect(schedule.handle(.ready, now: 60) == .unhealthy)
    }

    @Test(arguments: 1...20) func `any sequence ends, and only a full streak is healthy`(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let consecutive = Int.random(in: 1...4, using: &random)
        var schedule = HealthSchedule(now: 0, within: 20, interval: 0.5, consecutive: consecutive)
        var now = 0.0
        var event = HealthSchedule.Event.ready
        var streak = 0
        for _ in 0..<1000 {
            switch schedule.handle(event, now: now) {
            case .ask(let timeout):
                #expect(timeout > 0)
                let passes = Bool.random(using: &random)
                streak = passes ? streak + 1 : 0
                event = passes ? .passed : .failed("no")
                now += Double.random(in: 0...1, using: &random)
            case .wait(let time):
                #expect(time >= now && time < 20)
                now = time
                event = .ready
            case .healthy:
                #expect(streak == consecutive, "seed \(seed)")
                return
            case .unhealthy:
                #expect(streak < consecutive && now >= 19, "seed \(seed)")
                return
            }
        }
        Issue.record("no end, seed \(seed)")
    }
}

/// Time that moves only when somebody sleeps.
private final class FakeClock: Clock, Sendable {
    private let time = Monitor(0.0)
    func now() -> Timestamp { Timestamp(seconds: Int64(monotonicSeconds())) }
    func monotonicSeconds() -> Double { time.withLock { (time: inout Double) in time } }
    func sleep(seconds: Double) { time.withLock { (time: inout Double) in time += seconds } }
}

@Suite struct HealthWaiterTests {
    @Test func `each check is asked until it is well or its time is over`() throws {
        let asked = Monitor(0)
        let recovering = ClosureHealthProbe(subject: "api") { _, _ in
            let count = asked.withLock { (count: inout Int) -> Int in
                count += 1
                return count
            }
            if count <= 3 { throw LifeboatError("status 503") }
        }
        let notes = Notes()
        let results = try HealthWaiter(clock: FakeClock()).wait(
            for: [HealthCheck(probe: recovering, within: 60, interval: 2, consecutive: 2)], progress: notes,
            cancellation: Cancellation())
        #expect(results.count == 1)
        #expect(results[0].healthy && results[0].passes == 2 && results[0].attempts == 5)
        #expect(abs(results[0].seconds - 8) < 0.01)
        #expect(results[0].error == nil)
        #expect(notes.all == ["waiting for 'api': status 503", "'api' is healthy after 5 tries, 8.0 s"])

        let broken = ClosureHealthProbe(subject: "db") { _, _ in
            throw LifeboatError("cannot connect", causes: ["connection refused (ECONNREFUSED)"])
        }
        let failed = try HealthWaiter(clock: FakeClock()).wait(
            for: [HealthCheck(name: "database", probe: broken, within: 3, interval: 1)], progress: notes,
            cancellation: Cancellation())
        #expect(
            failed[0].error?.description == """
                error: 'database' is not healthy after 2.0 s
                cause: after 3 tries: cannot connect: connection refused (ECONNREFUSED)
                hint: Look at the log of the service; raise 'within' in the policy if it only needs more time.
                """)
    }

    @Test func `waiting can be cancelled`() throws {
        let cancellation = Cancellation()
        let never = ClosureHealthProbe(subject: "x") { _, _ in throw LifeboatError("no") }
        let thread = BlockingThread<Void>(name: "cancel") {
            SystemClock().sleep(seconds: 0.2)
            cancellation.cancel()
        }
        #expect(throws: LifeboatError.interrupted) {
            _ = try HealthWaiter().wait(
                for: [HealthCheck(probe: never, within: 600, interval: 300), HealthCheck(probe: never, within: 600)],
                progress: SilentProgress(), cancellation: cancellation)
        }
        try thread.join()
        #expect(try HealthWaiter().wait(for: [], progress: SilentProgress(), cancellation: Cancellation()).isEmpty)
    }
}

@Suite struct HealthProbeTests {
    /// A real HTTP server of the machine's python, whose files are the answers.
    private final class WebServer: Sendable {
        let folder: TemporaryFolder
        let port: Int
        private let process: any RunningProcess

        init(_ files: [String: String]) throws {
            folder = try TemporaryFolder(prefix: "lifeboat-web-")
            for (name, text) in files { try AtomicFile.write(text, to: "\(folder.path)/\(name)") }
            let script = """
                from functools import partial
                from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
                s=ThreadingHTTPServer(('127.0.0.1',0),partial(SimpleHTTPRequestHandler,directory='.'))
                print(s.server_address[1],flush=True)
                s.serve_forever()
                """
            let child = try SystemProcessRunner().start(
                ProcessCommand("python3", ["-c", script], workingDirectory: folder.path), pipesInput: false,
                pipesOutput: true)
            process = child
            var buffer = [UInt8](repeating: 0, count: 16)
            let count = try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
            port = try #require(Int(String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber }))
        }

        deinit {
            process.terminate(grace: 0)
            try? folder.remove()
        }
    }

    private static func failure(_ probe: any HealthProbe, timeout: Double = 5) -> String? {
        do {
            try probe.ask(timeout: timeout, cancellation: nil)
            return nil
        } catch {
            let error = LifeboatError.converting(error)
            return ([error.message] + error.causes).joined(separator: ": ")
        }
    }

    @Test func `an HTTP answer is judged by status and field`() throws {
        let server = try WebServer([
            "health": #"{"status":"ok","checks":[{"ok":true},{"n":3,"x":null,"deep":{"a":[1.5]}}]}"#,
            "text": "hello", "deep": String(repeating: "[", count: 200) + String(repeating: "]", count: 200),
        ])
        let client = HTTPClient()
        let base = "http://127.0.0.1:\(server.port)"
        func ask(_ path: String, status: Int = 200, _ field: String? = nil, _ equals: String? = nil) -> String? {
            Self.failure(
                HTTPHealthProbe(client: client, url: base + path, status: status, field: field, equals: equals))
        }
        #expect(ask("/health") == nil)
        #expect(ask("/none", status: 404) == nil)
        #expect(ask("/none") == "status 404, not 200")
        for (field, value) in [
            ("status", "ok"), ("checks[0].ok", "true"), ("checks.0.ok", "true"), ("checks[1].n", "3"),
            ("checks[1].n", "3.0"), ("checks[1].x", "null"), ("checks[1].deep.a[0]", "1.5"),
        ] {
            #expect(ask("/health", field, value) == nil)
        }
        #expect(ask("/health", "status", "OK") == "field 'status' is 'ok', not 'OK'")
        #expect(ask("/health", "checks", "x") == "field 'checks' is a list or an object, not 'x'")
        #expect(ask("/health", "checks[2].ok", "x") == "the answer has no field 'checks[2].ok'")
        #expect(ask("/text", "a", "b") == "the answer is not JSON, so it has no field 'a'")
        #expect(ask("/deep", "a", "b") == "the answer is not JSON, so it has no field 'a'")

        #expect(Self.failure(TCPHealthProbe(host: "127.0.0.1", port: server.port)) == nil)
        #expect(Self.failure(TCPHealthProbe(host: "localhost", port: server.port)) == nil)
    }

    @Test func `a closed port and an unknown host are told`() throws {
        // A port that was free a moment ago.
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(descriptor, $0, length) == 0)
                #expect(getsockname(descriptor, $0, &length) == 0)
            }
        }
        defer { close(descriptor) }
        let port = Int(UInt16(bigEndian: address.sin_port))
        #expect(
            Self.failure(TCPHealthProbe(host: "127.0.0.1", port: port))
                == "cannot connect: connection refused (ECONNREFUSED)")
        #expect(
            Self.failure(TCPHealthProbe(host: "no-such-host.invalid", port: 1))?
                .hasPrefix("cannot find the address of 'no-such-host.invalid'") == true)
        #expect(TCPHealthProbe(host: "::1", port: 80).subject == "[::1]:80")
    }

    @Test func `a command is well when it ends with 0 in time`() {
        let runner = SystemProcessRunner(grace: 0.1)
        #expect(Self.failure(CommandHealthProbe(words: ["true"], folder: nil, runner: runner)) == nil)
        #expect(
            Self.failure(CommandHealthProbe(words: ["sh", "-c", "echo no >&2; exit 4"], folder: "/", runner: runner))
                == "'sh -c \"echo no >&2; exit 4\"' failed: exit status 4: it said: no")
        let slow = Self.failure(CommandHealthProbe(words: ["sleep", "30"], folder: nil, runner: runner), timeout: 0.2)
        #expect(slow?.contains("did not end within 0.2 s") == true)
    }
}
