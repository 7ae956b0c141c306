// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// Units of systemd, the system's or the user's.
///
/// Beside the units named, two kinds belong to them: sockets, timers and paths that would start one again while it is
/// stopped, and units that systemd stops together with one (RequiredBy, BoundBy, ConsistsOf) and does not start again.
/// Thread-safe; one operation at a time.
package struct SystemdServices: ServiceManager {
    /// Seconds. Units have time-outs of their own, TimeoutStopSec and TimeoutStartSec, which are shorter by default.
    package struct Deadlines: Sendable, Equatable {
        package var stop: Double
        package var start: Double
        package var answer: Double

        package init(stop: Double = 600, start: Double = 600, answer: Double = 60) {
            self.stop = stop
            self.start = start
            self.answer = answer
        }
    }

    private let units: [String]
    private let isUser: Bool
    private let runner: any ProcessRunner
    private let environment: [String: String]
    private let deadlines: Deadlines
    /// The names that were given out.
    private let known: Monitor<Set<String>>

    /// `units` are names as systemctl takes them; without a suffix they are services. `environment` is what `systemctl`
    /// is looked up and run with.
    package init(
        units: [String], isUser: Bool = false, runner: any ProcessRunner, environment: [String: String] = [:],
        deadlines: Deadlines = Deadlines()
    ) {
        let names = units.map { Self.fullName($0) }
        self.units = names
        known = Monitor(Set(names))
        self.isUser = isUser
        self.runner = runner
        self.environment = InheritedEnvironment.systemd.filtered(environment)
        self.deadlines = deadlines
    }

    /// `api` → `api.service`, as systemctl does.
    static func fullName(_ name: String) -> String {
        let suffixes = [
            ".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".swap", ".slice", ".scope",
            ".device",
        ]
        return suffixes.contains { name.hasSuffix($0) } ? name : "\(name).service"
    }

    package var subject: String {
        "\(units.count == 1 ? "unit" : "units") \(units.joined(separator: ", "))\(isUser ? " of the user" : "")"
    }

    private var systemctl: [String] { isUser ? ["systemctl", "--user"] : ["systemctl"] }

    // MARK: Units

    /// The units and what belongs to them, in start order: sockets before what they start, timers and paths last. Also
    /// `others`, as far as systemd knows them.
    ///
    /// What is down may not be loaded, and of what is not loaded no other unit tells. So `others` are what ran before;
    /// and triggers that are called as what they start are asked for by name.
    private func look(others: [String] = [], _ cancellation: Cancellation?) throws -> [SystemdUnit] {
        var found: [String: SystemdUnit] = [:]
        var names = units
        // Under an alias a unit has another name than it was asked by.
        var asked: Set<String> = []
        while !names.isEmpty {
            let extra = asked.isEmpty ? others.map(Self.fullName) : []
            asked.formUnion(names)
            let guesses = names.flatMap(SystemdUnit.usualTriggers) + extra
            for unit in try show(names + guesses, cancellation) where found[unit.id] == nil {
                let belongs = asked.contains(unit.id) || extra.contains(unit.id)
                let starts = unit.triggers.contains(where: asked.contains)
                if !guesses.contains(unit.id) || (unit.loadState == "loaded" && (belongs || starts)) {
                    found[unit.id] = unit
                }
            }
            let next = found.values.flatMap { unit in
                unit.triggeredBy + unit.stoppedWith.filter(SystemdUnit.isFollowed)
            }
            names = Set(next).subtracting(asked).subtracting(found.keys).sorted()
        }
        let needs = found.mapValues { unit -> Set<String> in
            guard !unit.isLateTrigger else {
                // After all that is no trigger: nothing may be started before its turn.
                return Set(found.values.filter { !$0.isTrigger }.map(\.id))
            }
            // systemd itself has timers and paths before what they start, which is about boot.
            var before = Set(unit.after.filter { found[$0]?.isLateTrigger != true })
            if !unit.isTrigger {
                before.formUnion(found.values.filter { $0.triggers.contains(unit.id) && !$0.isLateTrigger }.map(\.id))
            }
            return before
        }
        known.withLock { (known: inout Set<String>) in known.formUnion(found.keys) }
        return ServiceGraph(needs).order.compactMap { found[$0] }
    }

    private func show(_ names: [String], _ cancellation: Cancellation?) throws -> [SystemdUnit] {
        let words = ["show", "--property=\(SystemdUnit.properties.joined(separator: ","))", "--"] + names
        let result = try ServiceCommandRun.result(
            ServiceCommand(systemctl + words), runner, environment: environment, inherits: .systemd,
            deadline: deadlines.answer, cancellation)
        guard result.termination.succeeded else {
            throw ServiceCommandRun.failure(systemctl + words, result).wrapped(
                "cannot ask systemd about \(subject)",
                hint: isUser ? "It needs XDG_RUNTIME_DIR and a session of the user, or lingering." : nil)
        }
        let shown = SystemdUnit.parse(String(decoding: result.standardOutput, as: UTF8.self))
        if let unknown = shown.first(where: { units.contains($0.id) && $0.loadState != "loaded" }) {
            throw LifeboatError(
                "there is no unit '\(unknown.id)'", causes: ["systemd says: \(unknown.loadState)"],
                hint: "Correct services.systemd.units in the policy.")
        }
        guard shown.count == names.count else {
            throw LifeboatError("systemd told of \(shown.count) units when it was asked about \(names.count)")
        }
        return shown
    }

    // MARK: ServiceManager

    package func running(_ cancellation: Cancellation?) throws -> [String] {
        try look(cancellation).filter(\.isUp).map(\.id)
    }

    /// The units of the policy with the triggers they have, in start order.
    package func all(_ cancellation: Cancellation?) throws -> [String] {
        try look(cancellation).filter { units.contains($0.id) || $0.isTrigger }.map(\.id)
    }

    /// A unit that a timer, socket or path starts may be idle as long as that trigger is active.
    package func idle(_ cancellation: Cancellation?) throws -> [String] {
        let known = try look(cancellation)
        let up = Set(known.filter(\.isUp).map(\.id))
        return known.filter { unit in
            units.contains(unit.id) && !unit.isUp && up.isDisjoint(with: unit.triggeredBy)
        }.map(\.id)
    }

    package func stop(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        try cancellation?.check()
        let before = try look(cancellation).filter { services.contains($0.id) && $0.isUp }
        guard !before.isEmpty else { return [] }
        // Triggers first, or one of them starts again what was just stopped.
        let triggers = before.filter(\.isTrigger).map(\.id)
        if !triggers.isEmpty { try run(["stop"] + triggers, "stop", deadlines.stop, cancellation) }
        // One call: systemd itself keeps the reverse order, and stops the rest side by side.
        let others = before.filter { !$0.isTrigger }.map(\.id)
        for unit in before where unit.isFrozen { try run(["thaw", unit.id], "thaw", deadlines.answer, cancellation) }
        if !others.isEmpty { try run(["stop"] + others.reversed(), "stop", deadlines.stop, cancellation) }
        let after = try look(cancellation).filter { services.contains($0.id) }
        if let up = after.first(where: \.isUp) {
            throw LifeboatError(
                "unit '\(up.id)' still runs after it was stopped",
                causes: ["systemd says: \(up.activeState) (\(up.subState))"],
                hint: "Something starts it again: find out what, and stop that first.")
        }
        let stopped = Set(others)
        if let killed = after.first(where: { stopped.contains($0.id) && ["timeout", "watchdog"].contains($0.result) }) {
            throw LifeboatError(
                "unit '\(killed.id)' did not stop by itself within its time",
                causes: ["systemd killed it: result '\(killed.result)'"],
                hint: "Raise its TimeoutStopSec, or find out why it does not end.")
        }
        let names = before.map(\.id)
        progress.report(.note("stopped \(names.joined(separator: ", "))"))
        return names
    }

    package func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        try cancellation?.check()
        let known = try look(others: services, cancellation)
        let names = known.map(\.id).filter(services.contains)
        guard !names.isEmpty else { return }
        for unit in known where names.contains(unit.id) && unit.isFrozen {
            try run(["thaw", unit.id], "thaw", deadlines.answer, cancellation)
        }
        for command in Self.starts(names) { try run(command, "start", deadlines.start, cancellation) }
        progress.report(.note("started \(names.joined(separator: ", "))"))
    }

    /// systemd orders what is started in one call; timers and paths wait until the rest runs. A failed unit is started
    /// all the same: what it failed of before is over.
    private static func starts(_ names: [String]) -> [[String]] {
        let late = names.filter { $0.hasSuffix(".timer") || $0.hasSuffix(".path") }
        let early = names.filter { !late.contains($0) }
        // A socket whose service is up already refuses to start.
        let sockets = early.filter { $0.hasSuffix(".socket") }
        return [sockets, early.filter { !sockets.contains($0) }, late].filter { !$0.isEmpty }.map { ["start"] + $0 }
    }

    package func pause(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        // Sockets and timers have no processes to hold.
        let wanted = try look(cancellation).filter {
            services.contains($0.id) && $0.isUp && !$0.isTrigger && !$0.isFrozen
        }
        if let unable = wanted.first(where: { !$0.canFreeze }) {
            throw LifeboatError(
                "unit '\(unable.id)' cannot be paused",
                causes: ["systemd cannot freeze it: that needs systemd 246 and cgroup v2"],
                hint: "Write 'freeze: stop' in the policy.")
        }
        for unit in wanted.reversed() {
            try cancellation?.check()
            try run(
                ["freeze", unit.id], "freeze", deadlines.answer, cancellation,
                hint: "Write 'freeze: stop' in the policy.")
        }
        let names = wanted.map(\.id)
        if !names.isEmpty { progress.report(.note("paused \(names.joined(separator: ", "))")) }
        return names
    }

    package func unpause(_ services: [String], progress: any ProgressSink) throws {
        guard !services.isEmpty else { return }
        var failure: LifeboatError?
        let frozen = try look(nil).filter { services.contains($0.id) && $0.isFrozen }.map(\.id)
        for name in frozen {
            do {
                try run(["thaw", name], "thaw", deadlines.answer, nil)
            } catch {
                failure = failure ?? LifeboatError.converting(error)
            }
        }
        if let failure { throw failure }
        if !frozen.isEmpty { progress.report(.note("unpaused \(frozen.joined(separator: ", "))")) }
    }

    package func startCommands(_ services: [String]) -> [ServiceCommand] {
        Self.starts(services.filter(isOurs)).map { ServiceCommand(systemctl + $0) }
    }

    package func unpauseCommands(_ services: [String]) -> [ServiceCommand] {
        // Thawing a unit that is down is an error to systemctl, and none here.
        let script = """
            unit=$1; shift; state=$("$@" show --property=FreezerState --value -- "$unit") || exit 1; \
            case $state in frozen|freezing) exec "$@" thaw "$unit";; esac
            """
        return services.filter(isOurs).map { ServiceCommand(["sh", "-c", script, "sh", $0] + systemctl) }
    }

    private func isOurs(_ name: String) -> Bool {
        known.withLock { (known: inout Set<String>) in known.contains(name) }
    }

    private func run(
        _ words: [String], _ verb: String, _ deadline: Double, _ cancellation: Cancellation?, hint: String? = nil
    ) throws {
        let command = systemctl + words
        let result = try ServiceCommandRun.result(
            ServiceCommand(command), runner, environment: environment, inherits: .systemd, deadline: deadline,
            cancellation)
        guard result.termination.succeeded else {
            throw ServiceCommandRun.failure(command, result).wrapped("cannot \(verb) \(subject)", hint: hint)
        }
    }
}
