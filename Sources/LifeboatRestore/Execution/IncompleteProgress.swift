// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// Passes on what a store reports, and keeps what it reports as missing.
package final class IncompleteProgress: ProgressSink {
    package struct Missing: Sendable {
        package var error: LifeboatError
        /// Another server did not answer, which no sandbox can reach.
        package var needsNetwork: Bool
    }

    private let sink: any ProgressSink
    private let missing = Monitor<[Missing]>([])

    package init(sink: any ProgressSink) { self.sink = sink }

    /// In the order it was reported. Any thread.
    package var found: [Missing] { missing.withLock { $0 } }

    package func report(_ event: ProgressEvent) {
        if case .incomplete(let error, let needsNetwork) = event {
            missing.withLock { $0.append(Missing(error: error, needsNetwork: needsNetwork)) }
        }
        sink.report(event)
    }
}
