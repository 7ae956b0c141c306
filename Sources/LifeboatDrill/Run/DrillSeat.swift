// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// One component on its way through a drill.
final class DrillSeat {
    let name: String
    let captured: Manifest.Component
    let place: SandboxPlan.Place
    /// Another one once a server has come back under another address.
    var store: any DataStore
    let content: any RestoreContent
    /// What was drawn of it; nil: it is taken whole.
    let sampled: SampledContent?
    var staged: StagedState?
    var result: DrillResult.Component
    /// What went wrong ends its way; the others go on.
    var hasFailed = false
    /// Something could not be made because another server did not answer, which no sandbox can reach.
    var lacksNetwork = false

    init(
        _ captured: Manifest.Component, _ place: SandboxPlan.Place, _ store: any DataStore,
        _ content: any RestoreContent, _ sampled: SampledContent?
    ) {
        name = captured.name
        self.captured = captured
        self.place = place
        self.store = store
        self.content = sampled ?? content
        self.sampled = sampled
        result = DrillResult.Component(
            name: captured.name, store: captured.store, subject: store.subject,
            bytes: sampled?.bytes ?? captured.bytes, files: captured.files)
        if let sampled {
            result.sample = DrillResult.ComponentSample(
                unit: sampled.unit.rawValue, taken: sampled.taken, all: sampled.all, bytes: captured.bytes)
            if sampled.unit == .files { result.files = UInt64(sampled.taken) }
        }
        result.capturedEngine = captured.engineVersion
        result.drillEngine = place.engine?.subject
    }

    var engine: (any ThrowawayEngine)? { place.engine }

    /// Whether all its data is in the sandbox.
    var isWhole: Bool { sampled?.isWhole ?? true }

    /// What the snapshot says of data that was not restored.
    var leftOutFacts: [DrillResult.Fact] {
        guard let left = sampled?.leftOut else { return [] }
        let all = left.counts.mapValues { "\($0)" }.merging(left.texts) { first, _ in first }
        return all.sorted { $0.key < $1.key }.map {
            DrillResult.Fact(name: $0.key, expected: $0.value, found: nil, state: .leftOut)
        }
    }
}

/// Holds what the sandbox has against what the snapshot says, value by value.
enum FactComparison {
    /// Sorted by name. What the store finds besides the facts comes last.
    ///
    /// `lacksNetwork`: another server did not answer, so that views may be empty.
    static func compare(
        _ store: any DataStore, _ content: any RestoreContent, lacksNetwork: Bool, _ cancellation: Cancellation
    ) throws -> (facts: [DrillResult.Fact], absent: [String]) {
        let expected = content.facts
        let differences = try store.verify(content)
        let recounted = try (store as? any FactRecount)?.recount(cancellation) ?? [:]
        var found: [String: FactDifference] = [:]
        var absent: [String] = []
        for difference in differences {
            if difference.isPromised || isView(difference.name, store.kind) && !lacksNetwork {
                found[difference.name] = difference
            } else {
                absent.append("'\(difference.name)' is named by the snapshot and not in it: \(difference.expected)")
            }
        }
        var facts: [DrillResult.Fact] = []
        for (name, value) in expected.counts.sorted(by: { $0.key < $1.key }) {
            facts.append(fact(name, "\(value)", found[name], recounted[name], isCompared(name, store.kind)))
        }
        for (name, value) in expected.texts.sorted(by: { $0.key < $1.key }) {
            facts.append(fact(name, value, found[name], nil, isComparedText(name, store.kind)))
        }
        for difference in found.values.sorted(by: { $0.name < $1.name })
        where expected.counts[difference.name] == nil && expected.texts[difference.name] == nil {
            facts.append(
                DrillResult.Fact(
                    name: difference.name, expected: difference.expected, found: difference.found, state: .different))
        }
        return (facts, absent)
    }

    private static func fact(
        _ name: String, _ expected: String, _ difference: FactDifference?, _ recounted: Int64?, _ isCompared: Bool
    ) -> DrillResult.Fact {
        if let difference {
            return DrillResult.Fact(name: name, expected: expected, found: difference.found, state: .different)
        }
        if let recounted {
            return DrillResult.Fact(
                name: name, expected: expected, found: "\(recounted)",
                state: "\(recounted)" == expected ? .equal : .different)
        }
        return DrillResult.Fact(
            name: name, expected: expected, found: isCompared ? expected : nil, state: isCompared ? .equal : .told)
    }

    /// Whether the fact says that a materialized view is filled.
    private static func isView(_ name: String, _ kind: String) -> Bool {
        kind == "postgres" && (name.hasPrefix("matview:") || name.contains("/matview:"))
    }

    /// Counts that the stores' own `verify` compares.
    private static func isCompared(_ name: String, _ kind: String) -> Bool {
        switch kind {
        case "postgres": true
        case "sqlite": name.hasPrefix("rows:")
        case "redis": name.hasPrefix("keys:") || name == "functions"
        case "qdrant": name.hasPrefix("points:")
        default: false
        }
    }

    private static func isComparedText(_ name: String, _ kind: String) -> Bool {
        switch kind {
        case "postgres":
            // Of several databases each name begins with that of its database.
            ["extension:", "sequence:", "encoding", "membership:"].contains { word in
                name.hasPrefix(word) || name.contains("/\(word)") || name.contains(":\(word)")
            }
        case "sqlite": ["user_version", "application_id", "encoding"].contains(name)
        case "models": name.hasPrefix("model:")
        case "qdrant": name.hasPrefix("vectors:") || name.hasPrefix("alias:") || name.hasPrefix("points:")
        default: false
        }
    }
}
