// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
package import LifeboatStorage

/// Decorates a store: records every call and lets chosen ones fail, lie or damage what they read. Thread-safe.
///
/// For "fail call n for n = 1, 2, … until the run succeeds": `inject(.failBefore(.transient), at: n)`, run, and stop
/// when `firedFaults` stays 0.
package final class FaultInjectingStore: ObjectStore {
    package enum Operation: String, Sendable, CaseIterable {
        case put, putIfAbsent, read, get, stat, list, delete

        /// Changes the store.
        package var mutates: Bool { self == .put || self == .putIfAbsent || self == .delete }
    }

    /// One call, as it came in.
    package struct Call: Sendable, Equatable {
        /// From 1, over all operations.
        package let number: Int
        package let operation: Operation
        /// The key or prefix.
        package let subject: String
    }

    package enum Fault: Sendable {
        /// Throws, and nothing was done.
        case failBefore(StorageError.Kind)
        /// Throws, although it was done: the answer got lost.
        case failAfter(StorageError.Kind)
        /// `read` and `get`: flips a bit of byte `byte` (counted round) of what is returned.
        case flipBit(byte: Int, bit: Int)
        /// `get`: returns that many bytes less; `read`: throws `rangeNotSatisfiable`.
        case truncate(by: Int)
    }

    private struct Rule {
        var operations: Set<Operation>
        var prefix: String
        /// Matching calls until it fires.
        var countdown: Int
        var repeats: Bool
        var fault: Fault
    }

    private struct State {
        var calls: [Call] = []
        var rules: [Rule] = []
        var hidden: [String] = []
        var fired = 0
    }

    private let base: any ObjectStore
    private let state = Monitor(State())

    package init(_ base: any ObjectStore) { self.base = base }

    package var properties: ObjectStoreProperties { base.properties }

    /// Every call so far, in the order of arrival.
    package var log: [Call] { state.withLock { (state: inout State) in state.calls } }

    /// How often a fault struck.
    package var firedFaults: Int { state.withLock { (state: inout State) in state.fired } }

    /// Lets the `n`th call from now on (1 is the next) among those of `operations` on keys or prefixes that start with
    /// `prefix` suffer `fault`; and all matching ones behind it if `repeating`.
    package func inject(
        _ fault: Fault, at n: Int, of operations: Set<Operation> = Set(Operation.allCases), prefix: String = "",
        repeating: Bool = false
    ) {
        state.withLock { (state: inout State) in
            state.rules.append(
                Rule(operations: operations, prefix: prefix, countdown: n, repeats: repeating, fault: fault))
        }
    }

    /// Objects whose key starts with `prefix` are no longer there for any reading call.
    package func hide(_ prefix: String) { state.withLock { (state: inout State) in state.hidden.append(prefix) } }

    /// Back to an honest store; keeps the log.
    package func clearFaults() {
        state.withLock { (state: inout State) in
            state.rules = []
            state.hidden = []
        }
    }

    /// Records the call and finds its fault.
    private func enter(_ operation: Operation, _ subject: String) throws(StorageError) -> Fault? {
        let (fault, number) = state.withLock { (state: inout State) -> (Fault?, Int) in
            let number = state.calls.count + 1
            state.calls.append(Call(number: number, operation: operation, subject: subject))
            var result: Fault?
            for index in state.rules.indices {
                let rule = state.rules[index]
                guard rule.operations.contains(operation), subject.hasPrefix(rule.prefix) else { continue }
                if rule.countdown > 0 { state.rules[index].countdown -= 1 }
                guard rule.countdown == 1 || (rule.countdown == 0 && rule.repeats), result == nil else { continue }
                result = rule.fault
                state.fired += 1
            }
            return (result, number)
        }
        if case .failBefore(let kind) = fault { throw error(kind, operation, subject, number) }
        return fault
    }

    private func error(_ kind: StorageError.Kind, _ operation: Operation, _ subject: String, _ number: Int?)
        -> StorageError
    {
        let reason = number.map { "injected fault at call \($0)" } ?? "injected fault after the effect"
        return StorageError(kind, operation.rawValue, subject, cause: LifeboatError(reason))
    }

    private func leave(_ operation: Operation, _ subject: String, _ fault: Fault?) throws(StorageError) {
        if case .failAfter(let kind) = fault { throw error(kind, operation, subject, nil) }
    }

    private func isHidden(_ key: ObjectKey) -> Bool {
        state.withLock { (state: inout State) in state.hidden.contains { key.text.hasPrefix($0) } }
    }

    package func putIfAbsent(
        _ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]
    ) throws(StorageError) -> Bool {
        let fault = try enter(.putIfAbsent, key.text)
        let stored = try base.putIfAbsent(key, pieces)
        try leave(.putIfAbsent, key.text, fault)
        return stored
    }

    package func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) {
        let fault = try enter(.put, key.text)
        try base.put(key, pieces)
        try leave(.put, key.text, fault)
    }

    package func read(
        _ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer
    ) throws(StorageError) {
        let fault = try enter(.read, key.text)
        if isHidden(key) { throw StorageError(.notFound, "get", key.text) }
        try base.read(key, at: offset, into: destination)
        switch fault {
        case .flipBit(let byte, let bit) where !destination.isEmpty:
            destination[byte % destination.count] ^= 1 << UInt8(bit & 7)
        case .truncate: throw error(.rangeNotSatisfiable, .read, key.text, nil)
        default: try leave(.read, key.text, fault)
        }
    }

    package func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8] {
        let fault = try enter(.get, key.text)
        if isHidden(key) { throw StorageError(.notFound, "get", key.text) }
        var bytes = try base.get(key, limit: limit)
        switch fault {
        case .flipBit(let byte, let bit) where !bytes.isEmpty: bytes[byte % bytes.count] ^= 1 << UInt8(bit & 7)
        case .truncate(let count): bytes.removeLast(min(count, bytes.count))
        default: try leave(.get, key.text, fault)
        }
        return bytes
    }

    package func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo? {
        let fault = try enter(.stat, key.text)
        let info = isHidden(key) ? nil : try base.stat(key)
        try leave(.stat, key.text, fault)
        return info
    }

    package func list(
        prefix: String, after token: ObjectPageToken?, limit: Int
    ) throws(StorageError) -> ObjectPage {
        let fault = try enter(.list, prefix)
        var page = try base.list(prefix: prefix, after: token, limit: limit)
        page.objects.removeAll { isHidden($0.key) }
        try leave(.list, prefix, fault)
        return page
    }

    package func delete(_ key: ObjectKey) throws(StorageError) -> Bool {
        let fault = try enter(.delete, key.text)
        let removed = isHidden(key) ? false : try base.delete(key)
        try leave(.delete, key.text, fault)
        return removed
    }
}
