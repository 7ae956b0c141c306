// SPDX-License-Identifier: Apache-2.0

/// A unit as `systemctl show` describes it.
package struct SystemdUnit: Sendable, Equatable {
    package var id: String
    package var loadState: String
    package var activeState: String
    package var subState: String
    /// `success`, `timeout`, `exit-code`, `signal` …
    package var result: String
    package var after: [String]
    /// Sockets, timers and paths that start it; only those systemd has loaded.
    package var triggeredBy: [String]
    /// What it starts.
    package var triggers: [String]
    /// Units that are stopped with it: RequiredBy, BoundBy, ConsistsOf.
    package var stoppedWith: [String]
    package var canFreeze: Bool
    package var freezerState: String

    /// What is asked for; the stable interface of systemctl(1).
    static let properties = [
        "Id", "LoadState", "ActiveState", "SubState", "Result", "After", "TriggeredBy", "Triggers", "RequiredBy",
        "BoundBy", "ConsistsOf", "CanFreeze", "FreezerState",
    ]

    var isUp: Bool { !["inactive", "failed", ""].contains(activeState) }
    var isFrozen: Bool { ["frozen", "freezing"].contains(freezerState) }
    /// Starts others.
    var isTrigger: Bool { Self.triggerSuffixes.contains { id.hasSuffix($0) } }

    /// Starts others by itself, sooner or later; a socket waits to be asked.
    var isLateTrigger: Bool { isTrigger && !id.hasSuffix(".socket") }

    /// What would start that service if it were called as usual.
    static func usualTriggers(of id: String) -> [String] {
        guard id.hasSuffix(".service") else { return [] }
        return triggerSuffixes.map { id.dropLast(".service".count) + $0 }
    }

    private static let triggerSuffixes = [".socket", ".timer", ".path"]

    /// Whether stopping another unit may take it along and it can be started again as it was: targets cannot, they pull
    /// in whatever they want.
    static func isFollowed(_ id: String) -> Bool { ([".service"] + triggerSuffixes).contains { id.hasSuffix($0) } }

    /// Blocks of `KEY=value` lines, parted by empty ones.
    package static func parse(_ text: String) -> [SystemdUnit] {
        var units: [SystemdUnit] = []
        var values: [Substring: Substring] = [:]
        let lines: [Substring] = text.split(separator: "\n", omittingEmptySubsequences: false) + [""]
        for line in lines {
            if line.isEmpty {
                if let id = values["Id"] { units.append(SystemdUnit(id: String(id), values)) }
                values = [:]
            } else if let equals = line.firstIndex(of: "=") {
                values[line[..<equals]] = line[line.index(after: equals)...]
            }
        }
        return units
    }

    private init(id: String, _ values: [Substring: Substring]) {
        func text(_ key: Substring) -> String { String(values[key] ?? "") }
        func names(_ key: Substring) -> [String] { (values[key] ?? "").split(separator: " ").map(String.init) }
        self.id = id
        loadState = text("LoadState")
        activeState = text("ActiveState")
        subState = text("SubState")
        result = text("Result")
        after = names("After")
        triggeredBy = names("TriggeredBy")
        triggers = names("Triggers")
        stoppedWith = names("RequiredBy") + names("BoundBy") + names("ConsistsOf")
        canFreeze = text("CanFreeze") == "yes"
        freezerState = text("FreezerState")
    }
}
