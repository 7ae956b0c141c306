// SPDX-License-Identifier: Apache-2.0

/// A container of a Compose project as its engine describes it. Its environment is not read: secrets are in there.
package struct EngineContainer: Sendable, Equatable {
    /// What a service waits for before it starts.
    package enum Condition: String, Sendable, Equatable {
        case started = "service_started"
        case healthy = "service_healthy"
        case completed = "service_completed_successfully"
    }

    package struct RestartPolicy: Sendable, Equatable, Codable {
        /// `no`, `always`, `unless-stopped`, `on-failure`; empty is `no`.
        package var name: String
        package var maximumRetries: Int

        package init(name: String, maximumRetries: Int = 0) {
            self.name = name
            self.maximumRetries = maximumRetries
        }

        package static let none = RestartPolicy(name: "no")

        /// Whether an engine that starts again starts a container that was stopped by hand. `unless-stopped` does not.
        package var revives: Bool { name == "always" || name == "on-failure" }

        /// As `docker update --restart` takes it.
        package var word: String {
            name == "on-failure" && maximumRetries > 0 ? "on-failure:\(maximumRetries)" : name.isEmpty ? "no" : name
        }
    }

    package var id: String
    package var name: String
    package var project: String
    package var service: String
    package var number: Int
    /// Made by `compose run`.
    package var isOneOff: Bool
    /// `created running paused restarting removing exited dead`
    package var status: String
    /// `starting healthy unhealthy`; nil without a health check.
    package var health: String?
    package var exitCode: Int
    package var restart: RestartPolicy
    /// Seconds between the stop signal and SIGKILL.
    package var grace: Double
    /// The service's own is SIGKILL: then that is a clean end.
    package var stopsByKill: Bool
    /// The engine's own verdict on health takes at most about so many seconds.
    package var healthSeconds: Double
    package var dependencies: [String: Condition]
    /// Absolute paths on the host.
    package var configFiles: [String]

    /// Files of the host it sees.
    package var mounts: [Mount]

    package struct Mount: Sendable, Equatable {
        /// Absolute, on the host.
        package var source: String
        package var isWritable: Bool
    }

    /// Whether it holds its data in any way; a paused one does, and one that is between two crashes will.
    package var isUp: Bool { ["running", "paused", "restarting"].contains(status) }
    package var isPaused: Bool { status == "paused" }
}

/// What of an inspected container is read; keys as the Engine API names them but for the first letter. Unknown keys are
/// ignored, missing ones have the API's defaults.
struct EngineInspection: Decodable {
    struct State: Decodable {
        struct Health: Decodable { var status: String? }
        var status: String?
        var exitCode: Int?
        var health: Health?
    }
    struct Configuration: Decodable {
        /// Nanoseconds.
        struct Check: Decodable {
            var interval: Double?
            var timeout: Double?
            var startPeriod: Double?
            var retries: Double?
        }
        var labels: [String: String]?
        var stopTimeout: Double?
        var stopSignal: String?
        var healthcheck: Check?
    }
    struct Host: Decodable {
        struct Policy: Decodable {
            var name: String?
            var maximumRetryCount: Int?
        }
        var restartPolicy: Policy?
    }
    struct Mount: Decodable {
        var source: String?
        var rW: Bool?
    }
    var id: String
    var name: String?
    var mounts: [Mount]?
    var state: State?
    var config: Configuration?
    var hostConfig: Host?

    /// Nil: not a container of Compose.
    var container: EngineContainer? {
        let labels = config?.labels ?? [:]
        guard let project = labels["com.docker.compose.project"], let service = labels["com.docker.compose.service"]
        else { return nil }
        let name = self.name.map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 } ?? id
        let health = state?.health?.status
        let signal = config?.stopSignal?.uppercased() ?? ""
        return EngineContainer(
            id: id, name: name, project: project, service: service,
            number: Int(labels["com.docker.compose.container-number"] ?? "") ?? 1,
            isOneOff: labels["com.docker.compose.oneoff"]?.lowercased() == "true",
            status: state?.status ?? "", health: health == "none" ? nil : health, exitCode: state?.exitCode ?? 0,
            restart: EngineContainer.RestartPolicy(
                name: hostConfig?.restartPolicy?.name ?? "no",
                maximumRetries: hostConfig?.restartPolicy?.maximumRetryCount ?? 0),
            grace: config?.stopTimeout.map { $0 < 0 ? 3600 : $0 } ?? 10,
            stopsByKill: ["SIGKILL", "KILL", "9"].contains(signal),
            healthSeconds: config?.healthcheck.map(Self.seconds) ?? 0,
            dependencies: Self.dependencies(labels["com.docker.compose.depends_on"] ?? ""),
            configFiles: (labels["com.docker.compose.project.config_files"] ?? "").split(separator: ",").map(
                String.init),
            mounts: (mounts ?? []).compactMap { mount in
                guard let source = mount.source, source.hasPrefix("/") else { return nil }
                return EngineContainer.Mount(source: source, isWritable: mount.rW ?? true)
            })
    }

    /// Start period and every retry, with the engine's defaults for what is 0.
    private static func seconds(_ check: Configuration.Check) -> Double {
        func value(_ nanoseconds: Double?, _ fallback: Double) -> Double {
            guard let nanoseconds, nanoseconds > 0 else { return fallback }
            return nanoseconds / 1e9
        }
        let retries = check.retries.map { $0 > 0 ? $0 : 3 } ?? 3
        return value(check.startPeriod, 0) + retries * (value(check.interval, 30) + value(check.timeout, 30))
    }

    /// `db:service_healthy:false,cache:service_started:true`; the condition may be missing.
    static func dependencies(_ label: String) -> [String: EngineContainer.Condition] {
        var found: [String: EngineContainer.Condition] = [:]
        for item in label.split(separator: ",") {
            let parts = item.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard let name = parts.first, !name.isEmpty else { continue }
            found[name] = (parts.count > 1 ? EngineContainer.Condition(rawValue: parts[1]) : nil) ?? .started
        }
        return found
    }
}
