// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
package import LifeboatServices

/// How the writers of a stack are held, by its policy.
package struct FreezePlan: Sendable {
    /// `pause` or `stop`.
    package var method: FreezeMethod
    package var services: any ServiceManager
    /// Names of the services that write; nil: all that run but `servers`.
    package var writers: [String]?
    /// Services that are the server of a component: they are needed inside the window.
    package var servers: Set<String>
    /// Seconds after which writers go on, whatever was done by then.
    package var limit: Double
    /// Where it is noted that writers are held, for the lifeboat that comes after one that died.
    package var journal: ServiceJournal
    /// The policy file, for that note.
    package var policy: String?

    package init(
        method: FreezeMethod, services: any ServiceManager, writers: [String]?, servers: Set<String>,
        limit: Double, journal: ServiceJournal, policy: String?
    ) {
        self.method = method
        self.services = services
        self.writers = writers
        self.servers = servers
        self.limit = limit
        self.journal = journal
        self.policy = policy
    }
}

/// Writers of a stack that are held, and go on whatever happens: `release` is called on every path of this process, and
/// what is noted in the journal lets the next lifeboat do it if this one dies.
///
/// Thread-safe; calls block.
final class WriterHold: Sendable {
    private struct State {
        /// Nil: nothing is held. Otherwise it is in the journal.
        var held: [String]?
        var wereHeld: [String] = []
    }

    private let plan: FreezePlan
    private let stack: String
    private let operation: String
    private let clock: any Clock
    private let progress: any ProgressSink
    private let state = Monitor(State())

    /// Tries of a release, and seconds between them.
    private static let attempts = 3
    private static let pause = 0.5

    init(_ plan: FreezePlan, stack: String, clock: any Clock, progress: any ProgressSink) {
        self.plan = plan
        self.stack = stack
        self.clock = clock
        self.progress = progress
        operation = "backup-\(clock.now().compact.lowercased())-\(String(UInt32.random(in: .min ... .max), radix: 16))"
    }

    var method: FreezeMethod { plan.method }
    var limit: Double { plan.limit }
    /// What was held, also after it was released.
    var heldServices: [String] { state.withLock { $0.wereHeld } }

    /// Holds the writers that run; returns what is odd about them. When it throws, none is held.
    func hold(_ cancellation: Cancellation) throws -> [LifeboatError] {
        let running = try plan.services.running(cancellation)
        let writers = running.filter { name in
            plan.writers.map { $0.contains(name) } ?? !plan.servers.contains(name)
        }
        let absent = (plan.writers ?? []).filter { !running.contains($0) }
        if !absent.isEmpty {
            let known = try plan.services.all(cancellation)
            if let unknown = absent.first(where: { !known.contains($0) }) {
                throw LifeboatError(
                    "'\(unknown)' is none of \(plan.services.subject)",
                    hint: "Correct 'services.writers' in the policy: it has \(known.joined(separator: ", ")).")
            }
        }
        let warnings = absent.map { LifeboatError("writer '\($0)' does not run: there was nothing to hold") }
        guard !writers.isEmpty else { return warnings }
        let pauses = plan.method == .pause
        try plan.journal.begin(
            operation: operation, kind: "backup", stack: stack, policy: plan.policy,
            services: pauses ? [] : writers, startCommands: pauses ? [] : plan.services.startCommands(writers),
            paused: pauses ? writers : [], unpauseCommands: pauses ? plan.services.unpauseCommands(writers) : [])
        state.withLock { $0 = State(held: writers, wereHeld: writers) }
        do {
            switch plan.method {
            case .pause: _ = try plan.services.pause(writers, progress: progress, cancellation: cancellation)
            case .stop: _ = try plan.services.stop(writers, progress: progress, cancellation: cancellation)
            case .none: break
            }
        } catch {
            _ = release()
            state.withLock { $0.wereHeld = [] }
            throw error
        }
        return warnings
    }

    /// Lets the writers go on. Not cancelled by anything. Idempotent: what could not be released is tried again by the
    /// next call, and by the next lifeboat. Returns why it failed.
    func release() -> LifeboatError? {
        guard let held = state.withLock({ $0.held }) else { return nil }
        for attempt in 1... {
            do {
                switch plan.method {
                case .pause: try plan.services.unpause(held, progress: progress)
                case .stop: try plan.services.start(held, progress: progress, cancellation: nil)
                case .none: break
                }
                break
            } catch {
                if attempt < Self.attempts {
                    clock.sleep(seconds: Self.pause)
                    continue
                }
                return LifeboatError.converting(
                    error, "the writers of stack '\(stack)' could not be released: \(held.joined(separator: ", "))",
                    hint: "Let them go on yourself; the next lifeboat on this host tries it again too.")
            }
        }
        state.withLock { $0.held = nil }
        do {
            try plan.journal.end(operation: operation)
        } catch {
            return LifeboatError.converting(
                error, "the writers of stack '\(stack)' go on, but the journal still says that they are held",
                hint: "The next lifeboat on this host releases them once more, which does no harm.")
        }
        return nil
    }

    /// For the one who wonders why the stack stood still for so long.
    func limitReached(_ seconds: Double) -> LifeboatError {
        LifeboatError(
            "the writers were released before all stores had fixed their point in time",
            causes: ["freeze_limit is \(CheckRule.shown(plan.limit)) s"],
            hint: "Raise 'services.freeze_limit', or look at what 'backup --json' says about the phases.")
    }
}
