// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
package import LifeboatCore
import LifeboatHTTP
import LifeboatIO

/// A server from a Python wheel that `scripts/setup` fetched, on a free port of 127.0.0.1 with a folder of its own.
package final class WheelServer: Sendable {
    /// Where `scripts/setup` puts a wheel; nil: it was not run.
    package static func wheel(_ name: String) -> String? {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let caches = variable("XDG_CACHE_HOME") ?? "\(variable("HOME") ?? "/tmp")/.cache"
        let folder = "\(variable("LIFEBOAT_TEST_WHEELS") ?? "\(caches)/lifeboat-test-wheels")/\(name)"
        return access(folder, R_OK) == 0 ? folder : nil
    }

    package let port: UInt16
    /// The server's data, and only that.
    package let data: String
    package var url: String { "http://127.0.0.1:\(port)" }

    private let wheel: String
    /// What follows `python3`, with the port and the data folder put in.
    private let arguments: [String]
    private let readyPath: String
    private let headers: [HTTPHeader]
    private let temporary: TemporaryFolder
    private let child = Monitor<(any RunningProcess, pid_t)?>(nil)

    /// `arguments` may hold `{port}` and `{data}`. `data` nil: a folder of the server's own.
    package init(
        wheel name: String, _ arguments: [String], readyPath: String, key: (header: String, Secret)? = nil,
        data: String? = nil
    ) throws {
        guard let wheel = Self.wheel(name) else { throw LifeboatError("wheel '\(name)' is missing: run scripts/setup") }
        self.wheel = wheel
        temporary = try TemporaryFolder(prefix: "lbvec-", in: "/tmp")
        let data = data ?? "\(temporary.path)/data"
        try FileTree.createFolders(data)
        self.data = data
        let port = try freePort()
        self.port = port
        self.arguments = arguments.map { $0.replacing("{port}", with: "\(port)").replacing("{data}", with: data) }
        self.readyPath = readyPath
        headers = key.map { key in key.1.reveal { [HTTPHeader(key.header, $0)] } } ?? []
        do {
            try start()
        } catch {
            remove()
            throw error
        }
    }

    /// Starts it again after `kill` or `stop`, with other arguments at the end where given.
    package func start(adding extra: [String] = []) throws {
        let words = ["python3"] + arguments + extra
        // The shell tells its process id and becomes the server.
        let process = try SystemProcessRunner().start(
            ProcessCommand(
                "sh",
                ["-c", "echo $$; log=$1; shift; exec \"$@\" >>\"$log\" 2>&1", "sh", "\(temporary.path)/log"] + words,
                environment: ["PYTHONPATH": wheel, "PYTHONDONTWRITEBYTECODE": "1"], workingDirectory: temporary.path),
            pipesInput: false, pipesOutput: true)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try buffer.withUnsafeMutableBytes { try process.read(into: $0) }
        guard let id = pid_t(String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber }) else {
            throw LifeboatError("a server did not start")
        }
        child.withLock { $0 = (process, id) }
        for _ in 0..<1200 {
            if let response = try? HTTPClient().send(HTTPRequest(.get, url + readyPath)), response.isSuccess { return }
            guard Glibc.kill(id, 0) == 0, try ProcessIdentity.of(id) != nil else { break }
            usleep(50_000)
        }
        throw LifeboatError("the server at \(url) did not start", causes: [log()])
    }

    package var processID: Int32? { child.withLock { $0?.1 } }

    private func log() -> String {
        let command = ProcessCommand("tail", ["-n", "20", "\(temporary.path)/log"])
        return (try? SystemProcessRunner().run(command))?.trimmed ?? ""
    }

    /// kill -9.
    package func kill() {
        let running = child.withLock { child -> (any RunningProcess, pid_t)? in
            defer { child = nil }
            return child
        }
        guard let (process, id) = running else { return }
        Glibc.kill(id, SIGKILL)
        process.terminate(grace: 1)
    }

    /// SIGTERM.
    package func stop() {
        let running = child.withLock { child -> (any RunningProcess, pid_t)? in
            defer { child = nil }
            return child
        }
        running?.0.terminate(grace: 20)
    }

    /// Ends it and removes everything.
    package func remove() {
        kill()
        try? temporary.remove()
    }

    /// A call with a JSON body; the answer must be a success unless `failing`.
    @discardableResult
    package func call(_ method: String, _ path: String, _ body: String? = nil) throws -> JSONValue {
        guard let method = HTTPMethod(rawValue: method) else { throw LifeboatError("no method '\(method)'") }
        let request = HTTPRequest(
            method, url + path, headers: headers + [HTTPHeader("Content-Type", "application/json")],
            body: body.map { .bytes(Array($0.utf8)) } ?? .none, bodyLimit: 256 << 20)
        let response = try HTTPClient().send(request).expecting(of: request)
        if response.body.isEmpty { return .null }
        return try JSONDecoder().decode(JSONValue.self, from: Data(response.body))
    }

    /// The same as text, byte by byte.
    package func text(_ method: String, _ path: String, _ body: String? = nil) throws -> String {
        guard let method = HTTPMethod(rawValue: method) else { throw LifeboatError("no method '\(method)'") }
        let request = HTTPRequest(
            method, url + path, headers: headers + [HTTPHeader("Content-Type", "application/json")],
            body: body.map { .bytes(Array($0.utf8)) } ?? .none, bodyLimit: 256 << 20)
        return String(decoding: try HTTPClient().send(request).expecting(of: request).body, as: UTF8.self)
    }
}
