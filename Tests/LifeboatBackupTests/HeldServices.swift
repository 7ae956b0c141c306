// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatStores

/// What happened in a backup, in order, from any thread.
final class EventLog: Sendable {
    private let events = Monitor<[String]>([])

    func note(_ event: String) { events.update { $0.append(event) } }

    var all: [String] { events.withLock { $0 } }

    func contains(_ event: String) -> Bool { all.contains(event) }

    /// Blocks until it was noted.
    func wait(for event: String) { _ = events.wait { $0.contains(event) ? true : nil } as Bool }
}

/// Services that are held by hooks of a test.
final class HeldServices: ServiceManager {
    let log: EventLog
    let names: [String]
    private let ignoresPause: Bool
    private let onPause: @Sendable () throws -> Void
    private let onUnpause: @Sendable () throws -> Void

    init(
        _ names: [String] = ["api", "worker", "postgres"], log: EventLog, ignoresPause: Bool = false,
        onPause: @escaping @Sendable () throws -> Void = {}, onUnpause: @escaping @Sendable () throws -> Void = {}
    ) {
        self.names = names
        self.log = log
        self.ignoresPause = ignoresPause
        self.onPause = onPause
        self.onUnpause = onUnpause
    }

    var subject: String { "services of a test" }
    func running(_ cancellation: Cancellation?) throws -> [String] { names }
    func all(_ cancellation: Cancellation?) throws -> [String] { names + ["idle"] }

    func stop(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws -> [String] {
        log.note("stop \(services.joined(separator: " "))")
        return services
    }
    func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        log.note("start \(services.joined(separator: " "))")
    }
    func pause(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws -> [String] {
        log.note("pause \(services.joined(separator: " "))")
        try onPause()
        if ignoresPause {
            while cancellation?.isCancelled == false { usleep(1000) }
            try cancellation?.check()
        }
        return services
    }
    func unpause(_ services: [String], progress: any ProgressSink) throws {
        try onUnpause()
        log.note("unpause \(services.joined(separator: " "))")
    }
    func unpauseCommands(_ services: [String]) -> [ServiceCommand] {
        services.map { ServiceCommand(["unpause", $0]) }
    }
    func startCommands(_ services: [String]) -> [ServiceCommand] { services.map { ServiceCommand(["start", $0]) } }
}

/// A store whose point does what a test says.
struct HookedStore: DataStore, NumberSource {
    let name: String
    let log: EventLog
    var value: Double = 0
    var onFix: @Sendable (Cancellation) throws -> Void = { _ in }

    var kind: String { "hooked" }
    var subject: String { "store '\(name)'" }
    func probe() throws -> StoreProbe { StoreProbe() }

    func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        log.note("begin \(name)")
        try onFix(cancellation)
        log.note("fixed \(name)")
        return Point(store: self)
    }

    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        log.note("asked \(name)")
        return value
    }

    func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] { [] }
    func planStaging(_ restoreID: String) throws -> StagedState { StagedState([:]) }
    func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {}
    func swap(_ state: StagedState) throws {}
    func swapBack(_ state: StagedState) throws {}
    func verify(_ content: any RestoreContent) throws -> [FactDifference] { [] }
    func discard(_ state: StagedState) throws {}

    private struct Point: CapturePoint {
        let store: HookedStore
        var method: String { "hook" }
        var parts: [CapturePart] {
            let store = store
            return [
                .stream(name: "data") {
                    store.log.note("read \(store.name)")
                    return Bytes(Array(store.name.utf8))
                }
            ]
        }
        func facts() throws -> StoreFacts { StoreFacts() }
        func release() { store.log.note("released \(store.name)") }
    }

    private final class Bytes: ByteSource {
        private var left: [UInt8]
        init(_ bytes: [UInt8]) { left = bytes }
        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            let count = min(buffer.count, left.count)
            buffer.copyBytes(from: left[..<count])
            left.removeFirst(count)
            return count
        }
        func close() {}
    }
}
