// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository
import LifeboatStores

/// Notices a component that lost most of what it had since the last complete snapshot of it: an unmounted share, a
/// database without tables, a server without its keys or collections. Such a state is captured like any other, but it
/// counts as incomplete until somebody confirms it, so that it displaces no real snapshot. Pure.
package struct ShrinkGuard: Sendable, Equatable {
    /// Percent of the earlier counts that have to be left.
    package var least: Double
    /// Components that may shrink.
    package var except: Set<String>
    /// What shrank is as it should be.
    package var isAccepted: Bool

    package init(least: Double, except: Set<String> = [], isAccepted: Bool = false) {
        self.least = least
        self.except = except
        self.isAccepted = isAccepted
    }

    /// Below these a component counts as shrunk only when nothing is left of it.
    static let fewItems: Int64 = 10
    static let fewBytes: Int64 = 1 << 20

    /// What is counted of a component: a total, or how many things there are.
    private struct Measure {
        var name: String
        var value: Int64
        var isBytes = false

        var text: String { isBytes ? "\(ByteCount(UInt64(clamping: value)))" : "\(value) \(name)" }
    }

    /// The loss in `now` compared with `before`, the same component earlier, as a clause of a message; nil without loss.
    func finding(_ now: Manifest.Component, since before: Manifest.Component) -> String? {
        guard now.store == before.store, !except.contains(now.name) else { return nil }
        let measures = Self.measures(now)
        for old in Self.measures(before) where old.value > 0 {
            let new = measures.first { $0.name == old.name } ?? Measure(name: old.name, value: 0, isBytes: old.isBytes)
            let isFew = old.value < (old.isBytes ? Self.fewBytes : Self.fewItems)
            guard new.value == 0 || !isFew && Double(new.value) < Double(old.value) * least / 100 else { continue }
            return "\(new.text) instead of \(old.text)"
        }
        if let old = before.texts[StoreFacts.fileSystem], now.source == before.source,
            now.texts[StoreFacts.fileSystem] != old
        {
            return "it lies on \(now.texts[StoreFacts.fileSystem] ?? "the root file system") instead of \(old)"
        }
        return nil
    }

    private static func measures(_ component: Manifest.Component) -> [Measure] {
        var measures: [Measure] = []
        for (word, things) in [
            ("rows", "tables"), ("keys", "databases"), ("points", "collections"), ("records", "collections"),
        ] {
            let counts = component.counts.filter { name, _ in
                name.hasPrefix("\(word):") || name.contains("/\(word):")
            }
            guard !counts.isEmpty else { continue }
            let total = counts.values.reduce(Int64(0)) { $0.addingReportingOverflow($1).partialValue }
            // An emptied database has rows to lose; how many tables it has counts on its own.
            measures.append(Measure(name: word, value: total))
            measures.append(Measure(name: things, value: Int64(counts.count)))
        }
        for name in ["models", "files"] {
            if let count = component.counts[name] { measures.append(Measure(name: name, value: count)) }
        }
        if let bytes = component.counts["bytes"] {
            measures.append(Measure(name: "bytes", value: bytes, isBytes: true))
        } else if measures.isEmpty {
            measures.append(Measure(name: "bytes", value: Int64(clamping: component.bytes), isBytes: true))
        }
        return measures
    }

    /// What the guard says of a component, with the snapshot it is compared with.
    func error(_ finding: String, _ name: String, since snapshot: Snapshot) -> LifeboatError {
        LifeboatError(
            isAccepted
                ? "component '\(name)' lost most of what it had, which was accepted"
                : "component '\(name)' lost most of what it had",
            causes: [
                "\(finding), compared with snapshot \(snapshot.id.shortHex) of \(snapshot.manifest.frozen.rfc3339)"
            ],
            hint: isAccepted
                ? nil
                : "Look whether its source is there (mounts, the right server and database). If this is its state, run "
                    + "'lifeboat backup --accept-shrink' once. Until then its snapshots count as incomplete.",
            exitCode: .incomplete)
    }

    /// The last snapshot of this stack and host that holds this component complete and captured in the same way: a list of
    /// models is no loss of the models themselves.
    static func baseline(
        _ component: Manifest.Component, _ snapshots: [Snapshot], stack: String, host: String
    ) -> Snapshot? {
        snapshots.filter { snapshot in
            let manifest = snapshot.manifest
            guard manifest.stack == stack, manifest.host == host, let before = manifest.component(component.name)
            else { return false }
            return before.isComplete && before.store == component.store && before.method == component.method
        }.max { $0.manifest.sequence < $1.manifest.sequence }
    }
}

extension ComponentCapture {
    /// Compares a captured component with its last complete state.
    mutating func compare(_ shrinkGuard: ShrinkGuard, _ snapshots: [Snapshot], stack: String, host: String) {
        guard !hasFailed, let baseline = ShrinkGuard.baseline(component, snapshots, stack: stack, host: host),
            let before = baseline.manifest.component(name), let finding = shrinkGuard.finding(component, since: before)
        else { return }
        let error = shrinkGuard.error(finding, name, since: baseline)
        if shrinkGuard.isAccepted {
            warnings.append(error)
            component.warnings.append(([error.message] + error.causes).joined(separator: ": "))
        } else {
            lack(error)
        }
    }
}
