// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatRestore

/// What a restore is aimed at: the stack as the policy says, parts of its components, or another target.
struct RestoreAim {
    /// With the values of the targets.
    let assembly: StackAssembly
    let targets: [PolicyTarget]
    /// Components to restore; empty: all of the policy.
    private(set) var selected: [String] = []
    /// What of a component is restored; one that is not among them is restored whole.
    let parts: [String: [String]]
    /// What the reader of the plan should know.
    private(set) var warnings: [String] = []

    init(_ base: StackAssembly, _ selection: RestoreSelection) throws {
        targets = try selection.target.map { try PolicyTarget($0) }
        assembly = try base.aimed(at: targets)
        parts = try RestoreParts(selection, assembly.policy, written: base.policy).byComponent
        let names = assembly.policy.components.map(\.name)
        selected = selection.component + names.filter { parts[$0] != nil && !selection.component.contains($0) }
        try assembly.refuseProject(selected)
        if let elsewhere = assembly.onlyElsewhere {
            try keep(to: elsewhere, names)
        } else if !targets.isEmpty {
            warn(assembly.policy.componentsElsewhere(than: base.policy), selection)
        }
    }

    /// As the journal says of a restore that was cut off, or kept the old data.
    init(_ base: StackAssembly, _ plan: RestorePlan) throws {
        targets = (plan.targets ?? []).map { PolicyTarget(key: $0.key, value: $0.value) }
        do {
            assembly = try base.aimed(at: targets)
        } catch {
            throw LifeboatError.converting(error, "the policy does not fit restore '\(plan.id)' any more")
        }
        parts = Dictionary(
            plan.components.compactMap { component in component.parts.map { (component.name, $0) } }
        ) { first, _ in first }
    }

    /// The live stack with the stores that this restore needs.
    func stack() throws -> RestoreStack { try assembly.restoreStack(parts) }

    func includes(_ component: String) -> Bool { selected.isEmpty || selected.contains(component) }

    /// The services of the policy run on: nothing they use may be exchanged.
    private mutating func keep(to elsewhere: Set<String>, _ names: [String]) throws {
        if let stray = selected.first(where: { names.contains($0) && !elsewhere.contains($0) }) {
            throw LifeboatError(
                "component '\(stray)' has no other target, and others have",
                causes: [
                    "a restore to another target leaves the services of the policy alone, and they use '\(stray)'"
                ],
                hint: "Restore it by itself, or give it a --target too.", exitCode: .usage)
        }
        if selected.isEmpty { selected = names.filter(elsewhere.contains) }
        warnings.append(
            "the data goes to another target than the policy's: its services and health probes are left alone, and what"
                + " uses the target is not stopped")
    }

    private mutating func warn(_ elsewhere: Set<String>, _ selection: RestoreSelection) {
        guard Policy.concernsServices(targets) else { return }
        let names = assembly.policy.components.map(\.name)
        let staying = names.filter {
            includes($0) && !selection.exclude.contains($0) && !elsewhere.contains($0)
        }
        if !staying.isEmpty {
            warnings.append(
                "services are another target than the policy's, and the data of "
                    + staying.map { "'\($0)'" }.joined(separator: ", ") + " is not")
        }
        if !assembly.policy.health.isEmpty, !targets.contains(where: { $0.key.hasPrefix("health.") }) {
            warnings.append(
                "health probes ask at the addresses of the policy: --target health.0.http=URL gives another")
        }
    }
}

extension StackAssembly {
    /// The stack with other values in its policy. When only components get them, services and health probes of the policy
    /// are left alone: they are about the data that stays where it is.
    func aimed(at targets: [PolicyTarget]) throws -> StackAssembly {
        if targets.isEmpty { return self }
        let other = try policy.aimed(at: targets)
        var aimed = StackAssembly(other, session)
        let elsewhere = other.componentsElsewhere(than: policy)
        if !elsewhere.isEmpty, !Policy.concernsServices(targets) { aimed.onlyElsewhere = elsewhere }
        return aimed
    }
}
