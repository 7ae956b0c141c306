// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// When a backup takes a component that shrank for a mistake (an unmounted share, an emptied database).
package struct GuardPolicy: Sendable, Equatable {
    /// Percent of what the last complete snapshot counted that a component must still have.
    package var least: Double
    /// Components that may shrink as they like: queues, caches.
    package var except: Set<String>

    package static let defaultLeast = 20.0

    package init(least: Double = GuardPolicy.defaultLeast, except: Set<String> = []) {
        self.least = least
        self.except = except
    }
}

extension PolicyReader {
    private static let guardHint =
        "Write 'guard: 20%', 'guard: {least: 20%, except: [queue]}' or 'guard: off'."

    /// Nil when it is off, or something was reported. `components`: names as they are written.
    mutating func shrinkGuard(_ node: LocatedNode, components: [String]) -> GuardPolicy? {
        switch node.content {
        case .scalar("off", _): return nil
        case .scalar: return share(node, "guard").map { GuardPolicy(least: $0) }
        case .mapping:
            guard let fields = fields(node, "guard", known: ["least", "except"]) else { return nil }
            let least = fields["least"].flatMap { share($0, fields.path("least")) }
            let except = (fields["except"].flatMap { list($0, fields.path("except")) } ?? []).compactMap {
                exception($0, fields.path("except"), components)
            }
            return GuardPolicy(least: least ?? GuardPolicy.defaultLeast, except: Set(except))
        default:
            reportType(node, "guard", "a share, 'off' or a mapping", hint: Self.guardHint)
            return nil
        }
    }

    private mutating func share(_ node: LocatedNode, _ path: String) -> Double? {
        guard let text = text(node, path, "a share such as 20%") else { return nil }
        guard text.hasSuffix("%"), let percent = DrillPolicy.percent(text) else {
            report(
                "'\(path)' must be a share of more than 0% and at most 100%, not '\(Self.shortened(text))'",
                at: node.location, hint: Self.guardHint)
            return nil
        }
        return percent
    }

    private mutating func exception(_ node: LocatedNode, _ path: String, _ components: [String]) -> String? {
        guard let name = text(node, path, "the name of a component") else { return nil }
        guard components.contains(name) else {
            let nearest = NearestWord.nearest(to: name, among: components)
            report(
                "'\(path)' names no component: '\(Self.shortened(name))'", at: node.location,
                hint: nearest.map { "Did you mean '\($0)'?" } ?? "Name one of 'components'.")
            return nil
        }
        return name
    }
}
