// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// A clock that moves only when somebody sleeps on it or sets it forward.
package final class FixedClock: Clock {
    private let state: Monitor<(wall: Timestamp, monotonic: Double)>

    package init(_ now: Timestamp = Timestamp(year: 2026, month: 11, day: 21, hour: 2)) {
        state = Monitor((now, 1000))
    }

    package func now() -> Timestamp { state.withLock { $0.wall } }
    package func monotonicSeconds() -> Double { state.withLock { $0.monotonic } }
    package func sleep(seconds: Double) { advance(seconds: seconds) }

    /// Sets both clocks forward.
    package func advance(seconds: Double) {
        guard seconds > 0 else { return }
        state.withLock { state in
            let nanoseconds = Int64(state.wall.nanoseconds) + Int64(seconds * 1e9)
            state.wall = Timestamp(
                seconds: state.wall.seconds + nanoseconds / 1_000_000_000,
                nanoseconds: Int32(nanoseconds % 1_000_000_000))
            state.monotonic += seconds
        }
    }
}
