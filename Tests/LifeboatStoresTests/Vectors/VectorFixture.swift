// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting

/// Captures everything; `during` runs after the point in time was fixed.
func capture(
    _ store: any DataStore, _ cancellation: Cancellation = Cancellation(), during: () throws -> Void = {}
) throws -> CapturedContent {
    try CapturedContent(store, cancellation, during: during)
}

/// Preflight, plan and stage.
@discardableResult
func stage(_ store: any DataStore, _ content: CapturedContent, _ restoreID: String) throws -> StagedState {
    _ = try store.preflightRestore(content)
    let state = try store.planStaging(restoreID, of: content.facts)
    try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
    return state
}

/// A whole restore without services.
func restore(_ store: any DataStore, _ content: CapturedContent, _ restoreID: String) throws -> [FactDifference] {
    let state = try stage(store, content, restoreID)
    try store.swap(state)
    let differences = try store.verify(content)
    try store.discard(state)
    return differences
}

/// What a call throws, as it would be printed; nil when it throws nothing.
func failure(_ body: () throws -> Void) -> LifeboatError? {
    do {
        try body()
        return nil
    } catch { return LifeboatError.converting(error) }
}

func files(in folder: String) throws -> [String] {
    let result = try SystemProcessRunner().run(ProcessCommand("find", [folder, "-type", "f"]))
    return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
}
