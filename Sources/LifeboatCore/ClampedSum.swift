// SPDX-License-Identifier: Apache-2.0

/// Sums of numbers that somebody else wrote down: sizes, counts and totals out of manifests, trees and indexes. They
/// end at the end of the range instead of trapping; who has to be exact checks the numbers first.
extension FixedWidthInteger {
    /// The sum, or the end of the range it would pass.
    package func addingClamped(_ other: Self) -> Self {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    /// Adds in place, as `addingClamped`.
    package mutating func addClamped(_ other: Self) { self = addingClamped(other) }
}

extension Sequence {
    /// The sum of what `value` gives for each element, as `addingClamped`.
    package func clampedSum<Number: FixedWidthInteger>(_ value: (Element) -> Number) -> Number {
        reduce(into: 0) { $0.addClamped(value($1)) }
    }
}

extension FixedWidthInteger {
    /// The whole number next to `value`, or the end of the range it is beyond; 0 for what is no number. For figures out
    /// of foreign JSON.
    package init(nearest value: Double) {
        guard value.isFinite else {
            self = value.isNaN ? 0 : value < 0 ? .min : .max
            return
        }
        self = Self(exactly: value.rounded()) ?? (value < 0 ? .min : .max)
    }
}
