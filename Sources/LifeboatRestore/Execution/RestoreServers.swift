// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatServices
import LifeboatStores

/// Servers of components that are services of the stack themselves. Some make the exchange and have to run for it
/// (`DataStore.swapsWithServer`), the others are stopped like all that uses the data; and none can be asked before it
/// runs.
package struct RestoreServers: Sendable {
    private let stack: RestoreStack
    private let clock: any Clock
    private let progress: any ProgressSink

    /// Seconds a server that was just started may take to answer.
    private static let patience = 120.0
    private static let interval = 0.3

    package init(_ stack: RestoreStack, clock: any Clock, progress: any ProgressSink) {
        self.stack = stack
        self.clock = clock
        self.progress = progress
    }

    /// Starts what does not run of the servers of these components, and returns it when they answer: without them no
    /// restore can be planned. A stack that was lost is brought back in this way. Blocking.
    package func startMissing(_ components: [String], _ cancellation: Cancellation) throws -> Set<String> {
        guard let services = stack.services else { return [] }
        let needed = Set(components.compactMap { stack.servers[$0] })
        guard !needed.isEmpty else { return [] }
        let missing = needed.subtracting(try services.running(cancellation))
        guard !missing.isEmpty else { return [] }
        let names = missing.sorted()
        progress.report(.note("starting \(names.joined(separator: ", ")), which the restore needs"))
        try services.start(names, progress: progress, cancellation: cancellation)
        for component in components where stack.servers[component].map(missing.contains) ?? false {
            try awaitAnswer(try stack.store(component), cancellation)
        }
        return missing
    }

    /// The services of `services` that are stopped for a restore of these components.
    func stopped(_ services: [String], of components: [String]) throws -> [String] {
        var kept: Set<String> = []
        for component in components {
            if let service = stack.servers[component], try stack.store(component).swapsWithServer {
                kept.insert(service)
            }
        }
        return services.filter { !kept.contains($0) }
    }

    /// Returns when the server that exchanges the component's data answers. It may have gone meanwhile: an engine that
    /// is started again does not start everything, and not at once.
    func ensure(_ component: String?, _ cancellation: Cancellation) throws {
        guard let component, let service = stack.servers[component], let services = stack.services else { return }
        let store = try stack.store(component)
        guard store.swapsWithServer, !answers(store) else { return }
        progress.report(.note("waiting for \(store.subject)"))
        try services.start([service], progress: progress, cancellation: cancellation)
        try awaitAnswer(store, cancellation)
    }

    private func answers(_ store: any DataStore) -> Bool {
        do {
            _ = try store.probe()
            return true
        } catch {
            // Why not comes out below, when it stays so.
            return false
        }
    }

    private func awaitAnswer(_ store: any DataStore, _ cancellation: Cancellation) throws {
        let end = clock.monotonicSeconds() + Self.patience
        while true {
            do {
                _ = try store.probe()
                return
            } catch {
                try cancellation.check()
                guard clock.monotonicSeconds() < end else { throw error }
            }
            clock.sleep(seconds: Self.interval)
        }
    }
}
