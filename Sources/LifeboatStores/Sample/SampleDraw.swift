// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Draws a share of named things by lot: the same of the same seed, others of another. Pure.
package struct SampleDraw: Sendable {
    /// Of 1; more than 0 and at most 1.
    package let share: Double
    private let seed: [UInt8]

    /// `seed`: what the lots depend on besides the names, such as the snapshot and the component.
    package init(share: Double, seed: String) {
        self.share = min(max(share, 0), 1)
        self.seed = Array(seed.utf8) + [0]
    }

    /// Spread evenly over all numbers.
    func lot(_ name: [UInt8]) -> UInt64 {
        BLAKE3.hash(seed + name).prefix
    }

    /// Lots up to this one are the share.
    var limit: UInt64 { share >= 1 ? .max : UInt64(share * 0x1p64) }

    /// The share of these, rounded up: at least one of any.
    func chosen(of names: [String]) -> Set<String> {
        let count = Int((share * Double(names.count)).rounded(.up))
        let lots = names.map { (lot: lot(Array($0.utf8)), name: $0) }.sorted { ($0.lot, $0.name) < ($1.lot, $1.name) }
        return Set(lots.prefix(count).map(\.name))
    }
}
