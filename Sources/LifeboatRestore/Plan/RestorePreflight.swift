// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStores

/// Asks everything that can stand in the way of a plan, and touches nothing. The execution asks again: time passes
/// between the two.
package struct RestorePreflight: Sendable {
    package struct Findings: Sendable, Equatable {
        /// What makes the restore impossible.
        package var problems: [LifeboatError] = []
        package var warnings: [String] = []
        /// Components there is no room to stage, that may be written over in place instead.
        package var inPlace: [String] = []
    }

    private let stack: RestoreStack
    private let fallsToInPlace: Bool

    package init(stack: RestoreStack, fallsToInPlace: Bool) {
        self.stack = stack
        self.fallsToInPlace = fallsToInPlace
    }

    /// `unasked`: components whose server does not run and is started by the restore. Blocking. Throws only when it is
    /// cancelled.
    package func run(
        _ plan: RestorePlan, _ source: any RestoreSource, checksChunks: Bool, unasked: Set<String> = [],
        _ cancellation: Cancellation
    ) throws -> Findings {
        var findings = Findings()
        if checksChunks {
            try collect(&findings) { _ in
                let names = plan.components.map(\.name)
                let selections = try stack.selections(of: names, in: source)
                try source.verifyChunks(of: names, only: selections, cancellation)
                return []
            }
        }
        var rooms: [StagingRoom] = []
        var untold: [String] = []
        for component in plan.components where !unasked.contains(component.name) {
            try cancellation.check()
            try collect(&findings) { findings in
                let store = try stack.store(component.name)
                let content = try source.content(of: component.name)
                guard let inPlace = store as? any InPlaceStore else {
                    if let room = try store.stagingRoom(content) {
                        rooms.append(room)
                    } else if store.stagesOnServer {
                        untold.append(component.name)
                    }
                    return try store.preflightRestore(content)
                }
                if component.isInPlace { return try inPlace.preflightInPlace(content) }
                let room = try store.stagingRoom(content)
                if fallsToInPlace, let room, !room.suffices(with: rooms) {
                    let warnings = try inPlace.preflightInPlace(content)
                    findings.inPlace.append(component.name)
                    return warnings
                }
                if let room { rooms.append(room) }
                return try store.preflightRestore(content)
            }
        }
        if let neighbours = stack.neighbours {
            try collect(&findings) { findings in
                findings.problems += try neighbours(plan.components.map(\.name), cancellation)
                return []
            }
        }
        findings.problems += Self.shortages(rooms, besides: findings.problems)
        if !untold.isEmpty {
            let names = untold.map { "'\($0)'" }.joined(separator: ", ")
            findings.warnings.append(
                "whether there is room to stage \(names) cannot be told: this host does not see where the server keeps"
                    + " its data")
        }
        return findings
    }

    private func collect(_ findings: inout Findings, _ body: (inout Findings) throws -> [LifeboatError]) throws {
        do {
            let warnings = try body(&findings).map(RestorePlanner.text)
            findings.warnings += warnings
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted { throw told }
            // A part that the snapshot lacks is missed by the look at the chunks too.
            if !findings.problems.contains(told) { findings.problems.append(told) }
        }
    }

    /// Components that fit one by one, and not together.
    private static func shortages(_ rooms: [StagingRoom], besides problems: [LifeboatError]) -> [LifeboatError] {
        Set(rooms.map(\.device)).sorted().compactMap { device in
            let there = rooms.filter { $0.device == device }
            guard let free = there.map(\.free).min(), there.count > 1, there.allSatisfy({ $0.needed < $0.free }) else {
                return nil
            }
            let needed = there.clampedSum(\.needed)
            guard needed >= free else { return nil }
            return LifeboatError(
                "there is no room to stage \(there.count) components on one file system",
                causes: there.map { "\(ByteCount($0.needed)) beside '\($0.place)'" } + ["free are \(ByteCount(free))"],
                hint: "Free some space, restore them one at a time with --component, or let volumes be written over "
                    + "with --in-place-when-full.")
        }
    }
}
