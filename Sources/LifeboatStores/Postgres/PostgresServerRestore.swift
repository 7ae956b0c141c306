// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

extension PostgresServerStore {
    /// The databases of a snapshot that a restore is about: those the policy names, when it names any.
    func restored(_ facts: StoreFacts) throws -> [String] {
        guard let captured = PostgresParts.databases(in: facts) else {
            throw LifeboatError(
                "cannot restore \(subject)", causes: ["the snapshot does not say which databases it holds"],
                hint: "It was taken of one database: name that with 'database' in the policy.")
        }
        guard case .named(let names) = selection else { return captured }
        let chosen = captured.filter { names.contains($0) }
        guard !chosen.isEmpty else {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["the snapshot holds \(captured.map { "'\($0)'" }.joined(separator: ", "))"])
        }
        return chosen
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        var warnings: [LifeboatError] = []
        let restored = try restored(content.facts)
        for database in restored {
            for warning in try store(database).preflightRestore(content) where !warnings.contains(warning) {
                warnings.append(warning)
            }
        }
        try stagingRoom(content)?.check(subject)
        let captured = PostgresParts.databases(in: content.facts) ?? []
        for name in captured where !restored.contains(name) {
            warnings.append(LifeboatError("database '\(name)' of the snapshot is not in the policy and stays as it is"))
        }
        if case .named(let names) = selection {
            for name in names where !captured.contains(name) {
                warnings.append(LifeboatError("the snapshot does not hold database '\(name)', which stays as it is"))
            }
        }
        return warnings
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        try plan(restoreID, try databases())
    }

    package func planStaging(_ restoreID: String, of facts: StoreFacts) throws -> StagedState {
        // Facts without any: the snapshot does not hold this component, and nothing of it will be staged.
        try plan(restoreID, facts.texts.isEmpty ? [] : try restored(facts))
    }

    private func plan(_ restoreID: String, _ databases: [String]) throws -> StagedState {
        var state = StagedState([
            PostgresParts.databases: databases.map { PostgresParts.encoded($0) }.joined(separator: " ")
        ])
        for database in databases {
            for (key, value) in try store(database).planStaging(restoreID).values {
                state.values[PostgresParts.fact(key, of: database)] = value
            }
        }
        return state
    }

    /// The journalled state of each database.
    private func states(_ state: StagedState) throws -> [(store: PostgresStore, state: StagedState)] {
        guard let list = state.values[PostgresParts.databases] else {
            throw LifeboatError("the restore's journal does not say which databases it is about")
        }
        return list.split(separator: " ").compactMap { PostgresParts.decoded($0) }.map { database in
            let prefix = PostgresParts.fact("", of: database)
            var own = StagedState([:])
            for (key, value) in state.values where key.hasPrefix(prefix) {
                own.values[String(key.dropFirst(prefix.count))] = value
            }
            return (store(database), own)
        }
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        for (store, state) in try states(state) {
            try store.stage(content, state, progress: progress, cancellation: cancellation)
        }
    }

    /// One database after the other; when one fails the caller swaps all back.
    package func swap(_ state: StagedState) throws {
        for (store, state) in try states(state) { try store.swap(state) }
    }

    package func swapBack(_ state: StagedState) throws {
        try forAll(state, "cannot swap back \(subject)") { try $0.swapBack($1) }
    }

    package func discard(_ state: StagedState) throws {
        try forAll(state, "cannot clean up after \(subject)") { try $0.discard($1) }
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        let sizes = try states(state).compactMap { try $0.store.asideBytes($0.state) }
        return sizes.isEmpty ? nil : sizes.reduce(0, +)
    }

    /// Goes on after a failure: the others must not stay half-way because of one.
    private func forAll(
        _ state: StagedState, _ subject: String, _ body: (PostgresStore, StagedState) throws -> Void
    ) throws {
        var failures: [LifeboatError] = []
        for (store, state) in try states(state) {
            do { try body(store, state) } catch { failures.append(LifeboatError.converting(error)) }
        }
        guard let first = failures.first else { return }
        if failures.count == 1 { throw first }
        throw LifeboatError(subject, causes: failures.flatMap { [$0.message] + $0.causes }, hint: first.hint)
    }
}
