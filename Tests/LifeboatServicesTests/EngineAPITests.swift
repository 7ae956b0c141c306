// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// What no engine at hand does: other versions, refusals, cut connections.
@Suite struct EngineAPITests {
    /// Answers like an engine whose versions are given, and writes down what it was asked. The first `cuts` connections
    /// are closed without an answer.
    private final class Engine: Sendable {
        let folder: TemporaryFolder
        let address: String
        private let process: any RunningProcess

        init(newest: String, oldest: String?, cuts: Int = 0) throws {
            folder = try TemporaryFolder(prefix: "lifeboat-engine-")
            let versions =
                #"{"ApiVersion":"\#(newest)""# + (oldest.map { #","MinAPIVersion":"\#($0)""# } ?? "") + "}"
            let script = """
                import sys
                from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
                left = [\(cuts)]
                class H(BaseHTTPRequestHandler):
                    def answer(self):
                        self.rfile.read(int(self.headers.get('Content-Length') or 0))
                        if left[0] > 0:
                            left[0] -= 1
                            self.connection.close()
                            return
                        open('asked', 'a').write(self.command + ' ' + self.path + '\\n')
                        code, body = 200, b'[]'
                        if self.path == '/version': body = b'\(versions)'
                        elif '/nobody/' in self.path: code, body = 404, b'{"message":"No such container"}'
                        elif '/containers/json' not in self.path: code, body = 500, b'{"message":"it burns"}'
                        self.send_response(code)
                        self.send_header('Content-Length', str(len(body)))
                        self.end_headers()
                        self.wfile.write(body)
                    do_GET = answer
                    do_POST = answer
                    def log_message(self, *words): pass
                s = ThreadingHTTPServer(('127.0.0.1', 0), H)
                print(s.server_address[1], flush=True)
                s.serve_forever()
                """
            let child = try SystemProcessRunner().start(
                ProcessCommand("python3", ["-c", script], workingDirectory: folder.path), pipesInput: false,
                pipesOutput: true)
            process = child
            var buffer = [UInt8](repeating: 0, count: 16)
            let count = try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
            address = "127.0.0.1:" + String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber }
        }

        func asked() throws -> [String] {
            let bytes = try SmallFile.contents("\(folder.path)/asked") ?? []
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        }

        deinit {
            process.terminate(grace: 0)
            try? folder.remove()
        }
    }

    @Test(arguments: [
        ("1.41", "1.12" as String?, "1.41"), ("1.52", "1.44", "1.44"), ("1.60", "1.50", "1.50"), ("1.24", nil, "1.24"),
    ]) func `the version of the API is one both sides speak`(
        _ newest: String, _ oldest: String?, _ spoken: String
    ) throws {
        let engine = try Engine(newest: newest, oldest: oldest)
        let api = EngineAPI(.tcp(engine.address))
        #expect(try api.containers(of: "a b", patience: 0, nil).isEmpty)
        #expect(try api.container("nobody", patience: 0, nil) == nil)
        let filter = "%7B%22label%22%3A%5B%22com.docker.compose.project%3Da%20b%22%5D%7D"
        #expect(
            try engine.asked() == [
                "GET /version", "GET /v\(spoken)/containers/json?all=1&filters=\(filter)",
                "GET /v\(spoken)/containers/nobody/json",
            ])
        #expect(api.commandWords == ["docker", "-H", "tcp://\(engine.address)"])
    }

    @Test func `an engine that is too old, refuses or is away is told`() throws {
        let old = try Engine(newest: "1.20", oldest: nil)
        let tooOld = #expect(throws: LifeboatError.self) {
            _ = try EngineAPI(.tcp(old.address)).containers(of: "a", patience: 0, nil)
        }
        #expect(tooOld?.message == "the container engine is too old: it speaks version 1.20 of the API")

        let burning = try Engine(newest: "1.44", oldest: nil)
        let refused = #expect(throws: LifeboatError.self) {
            _ = try EngineAPI(.tcp(burning.address)).container("some", patience: 0, nil)
        }
        #expect(refused?.message == "the container engine refused")
        #expect(refused?.causes == ["status 500: it burns"])

        let away = #expect(throws: LifeboatError.self) {
            _ = try EngineAPI(.socket("/nowhere/docker.sock")).containers(of: nil, patience: 0.3, nil)
        }
        #expect(away?.message == "cannot reach the container engine at '/nowhere/docker.sock'")
        #expect(
            away?.hint
                == "Check that it runs, and that this user may use it; DOCKER_HOST names another one.")
    }

    @Test func `an engine that hangs up is asked again`() throws {
        let engine = try Engine(newest: "1.44", oldest: nil, cuts: 3)
        #expect(try EngineAPI(.tcp(engine.address)).containers(of: "a", patience: 60, nil).isEmpty)
        #expect(try engine.asked().count == 2)
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect {
            _ = try EngineAPI(.socket("/nowhere/docker.sock")).containers(of: nil, patience: 60, cancellation)
        } throws: { LifeboatError.converting($0).exitCode == .interrupted }
    }

    @Test func `the engine is the one docker would talk to`() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-docker-")
        defer { try? folder.remove() }
        try AtomicFile.write("{\"currentContext\":\"far\",\"auths\":{}}", to: "\(folder.path)/config.json")
        // A docker that knows one context.
        try AtomicFile.write(
            """
            #!/bin/sh
            [ "$3" = far ] || { echo "no context $3" >&2; exit 1; }
            echo ssh://far.example

            """, to: "\(folder.path)/docker", mode: 0o755)
        func words(_ environment: [String: String]) throws -> [String] {
            let path = ["PATH": "\(folder.path):/usr/bin:/bin", "HOME": "/nowhere"]
            return try EngineEndpoint.engine(
                environment: path.merging(environment) { $1 }, runner: SystemProcessRunner()
            ).commandWords
        }
        #expect(try words([:]) == ["docker"])
        #expect(try words(["DOCKER_HOST": "unix:///run/my.sock"]) == ["docker", "-H", "unix:///run/my.sock"])
        #expect(try words(["DOCKER_HOST": "tcp://10.0.0.1:2375"]) == ["docker", "-H", "tcp://10.0.0.1:2375"])
        #expect(try words(["DOCKER_HOST": "ssh://me@far"]) == ["docker", "-H", "ssh://me@far"])
        #expect(
            try words(["DOCKER_HOST": "tcp://10.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"])
                == ["docker", "-H", "tcp://10.0.0.1:2376"])
        #expect(try words(["DOCKER_CONFIG": folder.path]) == ["docker", "--context", "far"])
        #expect(try words(["DOCKER_CONFIG": folder.path, "DOCKER_CONTEXT": "default"]) == ["docker"])
        let unknown = #expect(throws: LifeboatError.self) { _ = try words(["DOCKER_CONTEXT": "near"]) }
        #expect(unknown?.message == "cannot find the container engine of context 'near'")
        #expect(unknown?.causes.contains("it said: no context near") == true)
    }
}
