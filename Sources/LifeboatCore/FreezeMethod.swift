// SPDX-License-Identifier: Apache-2.0

/// How writers are held while every store fixes its point in time.
package enum FreezeMethod: String, Sendable, Codable, CaseIterable {
    /// Not at all: each store has a point in time of its own.
    case none
    /// They stand still and keep their memory and connections.
    case pause
    /// They are stopped and started again.
    case stop
}
