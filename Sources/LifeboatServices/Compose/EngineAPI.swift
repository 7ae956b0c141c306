// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
package import LifeboatCore
package import LifeboatHTTP
import LifeboatIO

/// The Docker Engine API over its unix socket, or over plain TCP. Thread-safe.
///
/// Source: the API reference of the Docker Engine, 1.24 to 1.52; only what all of these have is used.
package final class EngineAPI: ContainerEngine {
    package enum Address: Sendable, Equatable {
        case socket(String)
        /// `host:port`, without TLS.
        case tcp(String)
    }

    /// The newest version this client was written for. An engine that asks for more gets its minimum.
    static let newestVersion = EngineVersion(major: 1, minor: 44)
    private static let oldestVersion = EngineVersion(major: 1, minor: 24)
    /// Seconds for an answer, beside what the call itself waits for.
    private static let answerTime = 60.0

    private let address: Address
    private let client: HTTPClient
    private let clock: any Clock
    private let version = Monitor<EngineVersion?>(nil)

    package init(_ address: Address, client: HTTPClient = HTTPClient(), clock: any Clock = SystemClock()) {
        self.address = address
        self.client = client
        self.clock = clock
    }

    /// Where `docker` without options looks.
    package static let defaultSocket = "/var/run/docker.sock"

    package var commandWords: [String] {
        switch address {
        case .socket(Self.defaultSocket): ["docker"]
        case .socket(let path): ["docker", "-H", "unix://\(path)"]
        case .tcp(let host): ["docker", "-H", "tcp://\(host)"]
        }
    }

    // MARK: Calls

    package func containers(
        of project: String?, patience: Double, _ cancellation: Cancellation?
    ) throws -> [EngineContainer] {
        struct Item: Decodable { var id: String }
        let label = "com.docker.compose.project" + (project.map { "=\($0)" } ?? "")
        let filters = String(decoding: try JSONEncoder().encode(["label": [label]]), as: UTF8.self)
        let answer = try call(
            .get, "/containers/json?all=1&filters=\(Self.escaped(filters))", patience: patience, cancellation)
        let items: [Item] = try Self.decode(answer.body, "the list of containers")
        return try items.compactMap { item in
            // One may have gone since the list was made.
            guard let found = try container(item.id, patience: patience, cancellation) else { return nil }
            return project == nil || found.project == project ? found : nil
        }
    }

    package func container(
        _ id: String, patience: Double, _ cancellation: Cancellation?
    ) throws -> EngineContainer? {
        let answer = try call(
            .get, "/containers/\(Self.escaped(id))/json", also: [404], patience: patience, cancellation)
        guard answer.status != 404 else { return nil }
        let inspection: EngineInspection = try Self.decode(answer.body, "container '\(id.prefix(12))'")
        return inspection.container
    }

    package func stop(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        // Without `t` the engine takes the container's own grace period.
        try act("stop", container, time: container.grace, patience: patience, cancellation)
    }

    package func start(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act("start", container, patience: patience, cancellation)
    }

    package func pause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act("pause", container, already: \.isPaused, patience: patience, cancellation)
    }

    package func unpause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act("unpause", container, already: { !$0.isPaused }, patience: patience, cancellation)
    }

    package func setRestartPolicy(
        _ policy: EngineContainer.RestartPolicy, of container: EngineContainer, patience: Double,
        _ cancellation: Cancellation?
    ) throws {
        struct Update: Encodable {
            struct Policy: Encodable {
                var name: String
                var maximumRetryCount: Int
            }
            var restartPolicy: Policy
        }
        let name = policy.name.isEmpty ? "no" : policy.name
        // A count is refused for other policies.
        let count = name == "on-failure" ? policy.maximumRetries : 0
        let body = try EngineJSON.encode(
            Update(restartPolicy: Update.Policy(name: name, maximumRetryCount: count)))
        _ = try call(
            .post, "/containers/\(Self.escaped(container.id))/update", body: body, patience: patience,
            cancellation)
    }

    private func act(
        _ verb: String, _ container: EngineContainer, time: Double = 0,
        already: ((EngineContainer) -> Bool)? = nil, patience: Double, _ cancellation: Cancellation?
    ) throws {
        do {
            _ = try call(
                .post, "/containers/\(Self.escaped(container.id))/\(verb)", also: [304], time: time,
                patience: patience, cancellation)
        } catch {
            // 409 and 500 mean many things: what the container is now decides.
            if let already, let now = try self.container(container.id, patience: patience, cancellation), already(now) {
                return
            }
            let converted = LifeboatError.converting(error)
            if converted.exitCode == .interrupted { throw converted }
            throw converted.wrapped("cannot \(verb) container '\(container.name)'")
        }
    }

    // MARK: Transport

    /// The answer, of status 2xx or one of `also`.
    private func call(
        _ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, also: Set<Int> = [], time: Double = 0,
        patience: Double, _ cancellation: Cancellation?
    ) throws -> HTTPResponse {
        let version = try negotiated(patience: patience, cancellation)
        return try send(
            method, "/v\(version)\(path)", body: body, also: also, time: time, patience: patience, cancellation)
    }

    private func send(
        _ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, also: Set<Int> = [], time: Double = 0,
        patience: Double, _ cancellation: Cancellation?
    ) throws -> HTTPResponse {
        let host: String
        var socket: String?
        switch address {
        case .socket(let path):
            host = "localhost"
            socket = path
        case .tcp(let name): host = name
        }
        let headers = body == nil ? [] : [HTTPHeader("Content-Type", "application/json")]
        let request = HTTPRequest(
            method, "http://\(host)\(path)", headers: headers,
            body: body.map { .bytes($0) } ?? (method == .post ? .bytes([]) : .none), unixSocket: socket,
            timeouts: HTTPTimeouts(connect: 10, total: time + Self.answerTime, stall: nil), bodyLimit: 64 << 20)
        let end = clock.monotonicSeconds() + patience
        while true {
            do {
                let answer = try client.send(request, cancellation: cancellation)
                if answer.isSuccess || also.contains(answer.status) { return answer }
                throw Self.refusal(answer, request)
            } catch let error as HTTPError where Self.isAway(error) {
                guard clock.monotonicSeconds() < end else { throw unreachable(error) }
                try cancellation?.check()
                clock.sleep(seconds: 0.2)
            }
        }
    }

    /// The connection could not be made, or was cut: libcurl's codes 7, 52, 55, 56. A time-out is not among them: the
    /// engine is there then, and at work.
    private static func isAway(_ error: HTTPError) -> Bool { [7, 52, 55, 56].contains(error.curlCode) }

    private func unreachable(_ error: HTTPError) -> LifeboatError {
        let place =
            switch address {
            case .socket(let path): path
            case .tcp(let host): host
            }
        return LifeboatError(
            "cannot reach the container engine at '\(place)'", causes: error.lifeboatError.causes,
            hint: "Check that it runs, and that this user may use it; DOCKER_HOST names another one.")
    }

    /// With what the engine says: its errors name containers and states, never an environment.
    private static func refusal(_ answer: HTTPResponse, _ request: HTTPRequest) -> LifeboatError {
        struct Message: Decodable { var message: String }
        let said = (try? JSONDecoder().decode(Message.self, from: Data(answer.body)))?.message
        return LifeboatError(
            "the container engine refused", causes: ["status \(answer.status)\(said.map { ": \($0)" } ?? "")"])
    }

    // MARK: Version

    private func negotiated(patience: Double, _ cancellation: Cancellation?) throws -> EngineVersion {
        if let known = version.withLock({ (known: inout EngineVersion?) in known }) { return known }
        struct Answer: Decodable {
            var apiVersion: String
            var minAPIVersion: String?
        }
        let answer = try send(.get, "/version", patience: patience, cancellation)
        let told: Answer = try Self.decode(answer.body, "its version")
        guard let newest = EngineVersion(told.apiVersion) else {
            throw LifeboatError("the container engine speaks version '\(told.apiVersion)', which is no version")
        }
        guard newest >= Self.oldestVersion else {
            throw LifeboatError(
                "the container engine is too old: it speaks version \(newest) of the API",
                hint: "Update it; version \(Self.oldestVersion) is the oldest lifeboat can use.")
        }
        let oldest = told.minAPIVersion.flatMap { EngineVersion($0) } ?? Self.oldestVersion
        let chosen = EngineVersion.negotiated(ours: Self.newestVersion, oldest: oldest, newest: newest)
        version.withLock { (known: inout EngineVersion?) in known = chosen }
        return chosen
    }

    private static func decode<Value: Decodable>(_ bytes: [UInt8], _ what: String) throws -> Value {
        do {
            return try EngineJSON.decode(Value.self, bytes)
        } catch {
            throw LifeboatError("the container engine gives \(what) in a form that cannot be read")
        }
    }

    /// For paths and queries: all but letters, digits, `-`, `_`, `.`, `~` as `%XX`.
    static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 65...90, 97...122, 48...57, 45, 95, 46, 126: bytes.append(byte)
            default: bytes += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The engine's JSON: names begin with a capital letter there.
enum EngineJSON {
    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(_ text: String) { stringValue = text }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .custom { path in
            let name = path.last?.stringValue ?? ""
            return Key(name.prefix(1).lowercased() + name.dropFirst())
        }
        return try decoder.decode(type, from: Data(bytes))
    }

    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .custom { path in
            let name = path.last?.stringValue ?? ""
            return Key(name.prefix(1).uppercased() + name.dropFirst())
        }
        return Array(try encoder.encode(value))
    }
}

/// `1.44`
struct EngineVersion: Sendable, Equatable, Comparable, CustomStringConvertible {
    var major: Int
    var minor: Int

    init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Int(parts[0]), let minor = Int(parts[1]), major >= 0, minor >= 0 else {
            return nil
        }
        self.init(major: major, minor: minor)
    }

    /// Ours where the engine knows it, else the nearest one it does know.
    static func negotiated(ours: EngineVersion, oldest: EngineVersion, newest: EngineVersion) -> EngineVersion {
        min(max(ours, oldest), newest)
    }

    static func < (left: EngineVersion, right: EngineVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    var description: String { "\(major).\(minor)" }
}
