// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What one phase of one recovery took.
package struct PhaseMeasurement: Codable, Sendable, Equatable {
    package enum Origin: String, Codable, Sendable, Equatable, CaseIterable {
        case restore, drill
    }

    package var stack: String
    /// A `RestoreStep.Action` in its written form, or a word a drill has besides.
    package var phase: String
    /// Nil: the phase concerns the whole stack.
    package var component: String?
    /// Kind of the component's store; nil with `component`.
    package var store: String?
    /// Plain bytes of what the phase was about.
    package var bytes: UInt64
    package var seconds: Double
    package var time: Timestamp
    package var origin: Origin

    package init(
        stack: String, phase: String, component: String? = nil, store: String? = nil, bytes: UInt64, seconds: Double,
        time: Timestamp, origin: Origin
    ) {
        self.stack = stack
        self.phase = phase
        self.component = component
        self.store = store
        self.bytes = bytes
        self.seconds = seconds
        self.time = time
        self.origin = origin
    }
}
