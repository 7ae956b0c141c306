// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRepository

/// The freeze window: the one moment all stores of a snapshot are of.
///
/// Writers are held; every store fixes its point in time and the policy's checks are asked, all at once, each on a
/// thread of its own; as soon as the slowest one is done the writers go on, and everything else happens after that.
/// They go on no later than after `limit` seconds, and on every path: an error, Ctrl-C; `WriterHold` covers the death
/// of this process.
struct FreezeWindow {
    /// What has to happen inside: it calls `Pass.leave` when the writers may go on for all it cares, and may work on.
    struct Task: Sendable {
        var name: String
        var body: @Sendable (Pass) throws -> Void
    }

    struct Outcome {
        /// Nil: no writer was to be held.
        var freeze: Manifest.Freeze?
        /// When everything was fixed.
        var frozen: Timestamp
        /// Why writers may stand still now.
        var releaseProblem: LifeboatError?
        var warnings: [LifeboatError] = []
    }

    /// Nil: no writer is held; the tasks run all the same.
    let hold: WriterHold?
    let clock: any Clock
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// Microseconds between two looks at the tasks: what the window is longer than it has to be.
    private static let step: UInt32 = 2000

    /// Returns when all tasks have ended, the writers long since released; throws what a task threw, or `interrupted`.
    func run(_ tasks: [Task]) throws -> Outcome {
        let state = Monitor(State(inside: Set(tasks.indices)))
        let asking = Cancellation()
        let begin = clock.monotonicSeconds()
        var problems: [String] = []
        var warnings: [LifeboatError] = []
        if let hold {
            do {
                warnings += try holdWriters(hold, until: begin + hold.limit)
            } catch {
                try cancellation.check()
                // A snapshot of several moments is better than none. It says what it is.
                let told = LifeboatError.converting(error, "the writers could not be held")
                warnings.append(told)
                problems.append(([told.message] + told.causes).joined(separator: ": "))
            }
        }
        // Does nothing after the one below.
        defer { _ = hold?.release() }
        let threads = tasks.enumerated().map { index, task in
            BlockingThread<Void>(name: task.name) {
                let pass = Pass(state, index, asking)
                defer { pass.leave() }
                try task.body(pass)
            }
        }
        let isOver = waitUntilAllLeft(state, until: hold.map { begin + $0.limit }) || cancellation.isCancelled
        let frozen = clock.now()
        state.withLock { $0.isOpen = false }
        if isOver { asking.cancel() }
        let releaseProblem = hold?.release()
        let seconds = clock.monotonicSeconds() - begin
        if let hold, isOver, !cancellation.isCancelled {
            warnings.append(hold.limitReached(seconds))
        }
        var failure: (any Error)?
        for thread in threads {
            do { try thread.join() } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
        try cancellation.check()
        problems += state.withLock { $0.late }.sorted().map {
            "component '\($0)' had no point in time when the writers were released"
        }
        let freeze = hold.map {
            Manifest.Freeze(
                method: $0.method.rawValue, services: $0.heldServices, seconds: seconds,
                problem: problems.isEmpty ? nil : problems.joined(separator: "; "))
        }
        return Outcome(freeze: freeze, frozen: frozen, releaseProblem: releaseProblem, warnings: warnings)
    }

    /// Holding counts too: services that do not stand still in time go on.
    private func holdWriters(_ hold: WriterHold, until deadline: Double) throws -> [LifeboatError] {
        let giveUp = Cancellation()
        let isDone = Monitor(false)
        let thread = BlockingThread(name: "hold") {
            defer { isDone.withLock { $0 = true } }
            return try hold.hold(giveUp)
        }
        var isLate = false
        while !isDone.withLock({ $0 }) {
            isLate = clock.monotonicSeconds() >= deadline
            if isLate || cancellation.isCancelled { giveUp.cancel() }
            usleep(Self.step)
        }
        do {
            return try thread.join()
        } catch let error as LifeboatError where error.exitCode == .interrupted && isLate {
            throw LifeboatError("they did not stand still within \(CheckRule.shown(hold.limit)) s (freeze_limit)")
        }
    }

    /// True when the deadline passed first. With one, it returns early when cancelled: writers do not wait for tasks
    /// that take their time to notice.
    private func waitUntilAllLeft(_ state: Monitor<State>, until deadline: Double?) -> Bool {
        guard let deadline else {
            _ = state.wait { $0.inside.isEmpty ? true : nil } as Bool
            return false
        }
        while !state.withLock({ $0.inside.isEmpty }), !cancellation.isCancelled {
            if clock.monotonicSeconds() >= deadline { return true }
            usleep(Self.step)
        }
        return false
    }

    fileprivate struct State {
        var isOpen = true
        var inside: Set<Int>
        /// Components that were fixed after the window closed.
        var late: Set<String> = []
    }

    /// A task's way to tell the window how far it is.
    struct Pass: Sendable {
        private let state: Monitor<State>
        private let index: Int
        /// For questions that make no sense after the window.
        let asking: Cancellation

        fileprivate init(_ state: Monitor<State>, _ index: Int, _ asking: Cancellation) {
            self.state = state
            self.index = index
            self.asking = asking
        }

        /// This component has its point in time now, or failed.
        func fixed(_ component: String) {
            state.withLock { state in
                if !state.isOpen { state.late.insert(component) }
            }
        }

        /// The writers may go on. Idempotent.
        func leave() {
            state.update { _ = $0.inside.remove(index) }
        }
    }
}
