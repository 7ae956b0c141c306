// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// Measures the phases of a drill and tells them to the progress channel. Used on the drill's thread.
package final class DrillTimeline {
    private let clock: any Clock
    private let progress: any ProgressSink
    private let begin: Double
    package private(set) var phases: [DrillResult.Phase] = []

    package init(_ clock: any Clock, _ progress: any ProgressSink) {
        self.clock = clock
        self.progress = progress
        begin = clock.monotonicSeconds()
    }

    /// Seconds since the drill began.
    package var elapsed: Double { clock.monotonicSeconds() - begin }

    /// Runs `body` as a phase; measured also when it throws.
    package func measure<Result>(
        _ name: String, _ component: String? = nil, bytes: UInt64? = nil, isRecovery: Bool = true,
        _ body: () throws -> Result
    ) throws -> Result {
        let start = elapsed
        progress.report(.phaseStarted(name: name, detail: component))
        defer {
            let seconds = elapsed - start
            phases.append(
                DrillResult.Phase(
                    name: name, component: component, start: start, seconds: seconds, bytes: bytes,
                    isRecovery: isRecovery))
            progress.report(.phaseEnded(name: name, seconds: seconds))
        }
        return try body()
    }

    /// Says what the phase that ended last moved, where that is known only now.
    func moved(_ bytes: UInt64) {
        guard !phases.isEmpty else { return }
        phases[phases.count - 1].bytes = bytes
    }

    /// Adds a part of the phase `of`, which was measured by others.
    func add(_ part: DrillResult.Phase) { phases.append(part) }
}
