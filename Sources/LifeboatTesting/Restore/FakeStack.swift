// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
package import LifeboatRestore
import LifeboatServices
package import LifeboatStores

/// A stack in memory with a fault at any operation: what the tests of restores exchange, kill and look at.
///
/// Each component has live data and, during a restore, staged data; both are just words. Thread-safe.
package final class FakeStack: Sendable {
    package struct Component: Sendable, Equatable {
        package var live: String?
        package var staged: String?
        package var isSwapped = false
    }

    /// Everything a crash leaves behind of the stack.
    package struct State: Sendable, Equatable {
        package var components: [String: Component]
        package var servicesRun: Bool
        /// Operations on the stack so far, in order.
        package var log: [String] = []
        /// Broken rules: an exchange under running services.
        package var violations: [String] = []
    }

    /// An operation that fails: before it has its effect, or after.
    package enum Fault: Sendable, Equatable {
        case before(Int)
        case after(Int)
    }

    package struct Injected: Error, Equatable {
        package let operation: String
    }

    private struct Guarded {
        var state: State
        var fault: Fault?
        var refused: Set<String> = []
        var count = 0
    }

    package static let old = "old"
    package static let new = "new"

    package let names: [String]
    private let hasServices: Bool
    private let guarded: Monitor<Guarded>
    /// Called at every point at which a process may be killed: before and after each operation.
    private let onInstant: (@Sendable () -> Void)?
    private let onOperation: (@Sendable (_ operation: String) -> Void)?
    /// Live data that makes the stack unhealthy.
    private let unhealthyData: Set<String>
    /// What `verify` finds once the data is live.
    private let differences: [FactDifference]

    package init(
        components: [String], hasServices: Bool = true, servicesRun: Bool = true, unhealthyData: Set<String> = [],
        differences: [FactDifference] = [], onInstant: (@Sendable () -> Void)? = nil,
        onOperation: (@Sendable (_ operation: String) -> Void)? = nil
    ) {
        names = components
        self.hasServices = hasServices
        self.unhealthyData = unhealthyData
        self.differences = differences
        self.onInstant = onInstant
        self.onOperation = onOperation
        let all = Dictionary(uniqueKeysWithValues: components.map { ($0, Component(live: Self.old)) })
        guarded = Monitor(Guarded(state: State(components: all, servicesRun: hasServices && servicesRun)))
    }

    package var state: State { guarded.withLock { $0.state } }

    /// Somebody else does.
    package func startServices() { guarded.withLock { $0.state.servicesRun = true } }

    /// The machine after a crash: the state as it was, no fault.
    package func reset(to state: State) {
        guarded.withLock { guarded in
            guarded.state = state
            guarded.fault = nil
            guarded.count = 0
        }
    }

    /// Lets one operation fail, counted from 1 from now on.
    package func inject(_ fault: Fault?) {
        guarded.withLock { guarded in
            guarded.fault = fault
            guarded.count = 0
        }
    }

    /// Lets operations of these names fail, each time and before they have any effect.
    package func refuse(_ operations: Set<String>) { guarded.withLock { $0.refused = operations } }

    /// Operations since the last `inject` or `reset`.
    package var operationCount: Int { guarded.withLock { $0.count } }

    /// One operation: counted, logged, failed when it is its turn.
    func operate(_ name: String, _ effect: (inout State) throws -> Void) throws {
        onInstant?()
        onOperation?(name)
        let fails = try guarded.withLock { guarded -> Bool in
            guarded.count += 1
            guarded.state.log.append(name)
            if guarded.fault == .before(guarded.count) || guarded.refused.contains(name) {
                throw Injected(operation: name)
            }
            try effect(&guarded.state)
            return guarded.fault == .after(guarded.count)
        }
        onInstant?()
        if fails { throw Injected(operation: name) }
    }

    /// The stack as the executor sees it.
    package var stack: RestoreStack {
        RestoreStack(
            name: "fake",
            stores: Dictionary(uniqueKeysWithValues: names.map { ($0, FakeStore(stack: self, name: $0)) }),
            services: hasServices ? FakeServices(stack: self) : nil, allServices: [FakeServices.service],
            health: FakeHealth(stack: self, unhealthyData: unhealthyData))
    }

    package var source: FakeSource { FakeSource(stack: self) }

    /// A plan that restores all components; those of `inPlace` by writing over them.
    package func plan(
        id: String = "restore-1", oldData: RestorePlan.OldData = .discard, keepSeconds: Int64? = nil,
        inPlace: [String] = []
    ) throws -> RestorePlan {
        var manifest = Manifest(
            repositoryID: Digest(bigEndianWords: 1, 2, 3, 4), stack: "fake", host: "here", sequence: 1, previous: nil,
            started: Timestamp(seconds: 1_700_000_000), lifeboat: "0")
        manifest.components = names.map {
            Manifest.Component(name: $0, store: "fake", source: "/\($0)", method: "copy")
        }
        manifest.complete = true
        var request = RestoreRequest(
            id: id, stack: "fake", snapshot: Snapshot(id: Digest(bigEndianWords: 5, 6, 7, 8), manifest: manifest),
            targets: names.map {
                RestoreRequest.Target(
                    name: $0, store: "fake", subject: "fake '\($0)'", staged: StagedState(["restore": id]),
                    canWriteInPlace: true)
            }, created: Timestamp(seconds: 1_700_000_001))
        request.services = hasServices ? "the fake services" : nil
        request.healthProbes = 1
        request.oldData = oldData
        request.keepSeconds = keepSeconds
        request.inPlace = inPlace
        return try RestorePlanner.plan(request)
    }

    fileprivate func exchange(_ name: String, to swapped: Bool, _ state: inout State) {
        if state.servicesRun { state.violations.append("\(name) was exchanged while services ran") }
        guard var component = state.components[name], component.isSwapped != swapped else { return }
        (component.live, component.staged) = (component.staged, component.live)
        component.isSwapped = swapped
        state.components[name] = component
    }

    fileprivate func differencesFound(_ name: String) -> [FactDifference] {
        state.components[name]?.live == Self.new ? differences : []
    }
}

/// One component of a `FakeStack`.
struct FakeStore: InPlaceStore {
    let stack: FakeStack
    let name: String

    var kind: String { "fake" }
    var subject: String { "fake '\(name)'" }

    func probe() throws -> StoreProbe { StoreProbe() }

    func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        throw LifeboatError("a fake store captures nothing")
    }

    func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        try stack.operate("preflight \(name)") { _ in }
        return []
    }

    func planStaging(_ restoreID: String) throws -> StagedState { StagedState(["restore": restoreID]) }

    func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        try stack.operate("begin stage \(name)") { $0.components[name]?.staged = "half" }
        try cancellation.check()
        try stack.operate("end stage \(name)") { $0.components[name]?.staged = FakeStack.new }
    }

    func swap(_ state: StagedState) throws {
        try stack.operate("swap \(name)") { stack.exchange(name, to: true, &$0) }
    }

    func swapBack(_ state: StagedState) throws {
        try stack.operate("swap back \(name)") { stack.exchange(name, to: false, &$0) }
    }

    func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        try stack.operate("verify \(name)") { _ in }
        return stack.differencesFound(name)
    }

    func discard(_ state: StagedState) throws {
        try stack.operate("discard \(name)") { state in
            state.components[name]?.staged = nil
            state.components[name]?.isSwapped = false
        }
    }

    func asideBytes(_ state: StagedState) throws -> UInt64? { 100 }

    func preflightInPlace(_ content: any RestoreContent) throws -> [LifeboatError] {
        try preflightRestore(content)
    }

    func writeInPlace(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        try stack.operate("begin writing \(name)") { state in
            if state.servicesRun { state.violations.append("\(name) was written over while services ran") }
            state.components[name]?.live = "half"
        }
        try cancellation.check()
        try stack.operate("end writing \(name)") { $0.components[name]?.live = FakeStack.new }
    }
}

struct FakeServices: ServiceManager {
    static let service = "service"
    let stack: FakeStack

    var subject: String { "the fake services" }

    func startCommands(_ services: [String]) -> [ServiceCommand] { [] }
    func all(_ cancellation: Cancellation?) throws -> [String] { [Self.service] }

    func running(_ cancellation: Cancellation?) throws -> [String] {
        try stack.operate("ask services") { _ in }
        return stack.state.servicesRun ? [Self.service] : []
    }

    func stop(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws -> [String] {
        try stack.operate("stop") { $0.servicesRun = false }
        return services
    }

    func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        try stack.operate("start") { $0.servicesRun = services.contains(Self.service) }
    }
}

struct FakeHealth: RestoreHealth {
    let stack: FakeStack
    let unhealthyData: Set<String>

    func awaitHealth(
        skipping: Set<String>, _ progress: any ProgressSink, _ cancellation: Cancellation
    ) throws {
        try stack.operate("health") { _ in }
        try cancellation.check()
        for (name, component) in stack.state.components {
            guard let live = component.live, !unhealthyData.contains(live) else {
                throw LifeboatError("'\(name)' is not healthy")
            }
        }
    }
}

/// A snapshot of a `FakeStack`.
package struct FakeSource: RestoreSource {
    let stack: FakeStack

    package func verifyChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation
    ) throws {
        try stack.operate("verify chunks") { _ in }
    }

    package func readChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation
    ) throws {
        try stack.operate("read chunks") { _ in }
    }

    package func content(of component: String) throws -> any RestoreContent { FakeContent() }
}

struct FakeContent: RestoreContent {
    var engineVersion: String? { nil }
    var facts: StoreFacts { StoreFacts(counts: ["things": 3]) }
    func openStream(_ name: String) throws -> any ByteSource { throw LifeboatError("no stream") }
    func streamSize(_ name: String) -> UInt64? { nil }
    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {}
}
