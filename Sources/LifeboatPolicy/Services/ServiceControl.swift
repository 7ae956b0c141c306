// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// How the services of a stack are stopped, paused and started.
package enum ServiceControlPolicy: Sendable, Equatable {
    case compose(ComposePolicy)
    case systemd(SystemdPolicy)
    /// Argument vectors, run in order. The services run while any of `status` ends with exit 0; without any they are
    /// taken to run. Without `pause` and `unpause` they cannot be paused.
    case commands(
        stop: [[String]], start: [[String]], status: [[String]], pause: [[String]] = [], unpause: [[String]] = [])

    package var isCompose: Bool {
        if case .compose = self { true } else { false }
    }
}

extension PolicyReader {
    /// The ways to control services; `services` has at most one of them.
    static let controlKeys = ["compose", "systemd", "commands"]

    /// Nil when none is there, or when it was reported why it cannot be used.
    mutating func control(_ fields: PolicyFields) -> ServiceControlPolicy? {
        let given = Self.controlKeys.filter { fields[$0] != nil }
        if given.count > 1 {
            report(
                "'\(fields.path)' has \(given.map { "'\($0)'" }.joined(separator: " and "))",
                at: fields.keyLocation(given[1]), hint: "Services are controlled in one way: keep one of them.")
        }
        guard let key = given.first, let node = fields[key] else { return nil }
        switch key {
        case "compose": return compose(node, fields.path(key)).map { .compose($0) }
        case "systemd": return systemd(node, fields.path(key)).map { .systemd($0) }
        default: return commands(node, at: fields.path(key))
        }
    }

    private mutating func commands(_ node: LocatedNode, at path: String) -> ServiceControlPolicy? {
        let keys = ["stop", "start", "status", "pause", "unpause"]
        guard let forms = fields(node, path, known: keys) else { return nil }
        let stop = required("stop", in: forms).flatMap { self.commands($0, forms.path("stop")) }
        let start = required("start", in: forms).flatMap { self.commands($0, forms.path("start")) }
        let status = forms["status"].map { self.commands($0, forms.path("status")) } ?? []
        let pause = forms["pause"].map { self.commands($0, forms.path("pause")) } ?? []
        let unpause = forms["unpause"].map { self.commands($0, forms.path("unpause")) } ?? []
        for (key, other) in [("pause", "unpause"), ("unpause", "pause")] where forms[key] != nil && forms[other] == nil
        {
            report(
                "'\(path)' has '\(key)' without '\(other)'", at: forms.keyLocation(key),
                hint: "Services that are held have to go on again: give both, or neither.")
        }
        guard let stop, let start, let status, let pause, let unpause else { return nil }
        return .commands(stop: stop, start: start, status: status, pause: pause, unpause: unpause)
    }
}
