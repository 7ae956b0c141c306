// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// How contents are cut: fixed when a repository is created and kept in its configuration, since other parameters give
/// other chunks and so nothing in common with what is stored.
package struct ChunkerParameters: Codable, Sendable, Equatable {
    /// No chunk but the last of a content is shorter; bytes. At least 64, the window of the hash.
    package var minimum: Int
    /// About the mean length of the chunks of data that does not repeat; bytes, a power of two.
    package var average: Int
    /// No chunk is longer; bytes. At most 64 MiB.
    package var maximum: Int
    /// How strongly lengths are drawn to the average, 0 to 3: a cut is 2^level times less likely before the switch
    /// point (see `Chunker`) than its mean calls for and 2^level times more likely after it.
    package var normalization: Int
    /// What the gear table is derived from. Another seed cuts at other places, so lengths tell nothing to those who do
    /// not know it.
    package var gearSeed: Digest

    /// 256 KiB, 1 MiB and 4 MiB, level 2, the seed of 32 zero bytes.
    package init(
        minimum: Int = 256 << 10, average: Int = 1 << 20, maximum: Int = 4 << 20, normalization: Int = 2,
        gearSeed: Digest = Digest(bigEndianWords: 0, 0, 0, 0)
    ) {
        self.minimum = minimum
        self.average = average
        self.maximum = maximum
        self.normalization = normalization
        self.gearSeed = gearSeed
    }

    /// Why parameters cannot be used.
    package enum Invalid: LifeboatErrorConvertible, Equatable {
        case minimumTooSmall(Int)
        case maximumTooLarge(Int)
        case notAscending(minimum: Int, average: Int, maximum: Int)
        case averageNotPowerOfTwo(Int)
        case normalizationOutOfRange(Int)

        package var lifeboatError: LifeboatError {
            let cause =
                switch self {
                case .minimumTooSmall(let value):
                    "the minimum of \(value) bytes is below \(ChunkerParameters.smallestMinimum)"
                case .maximumTooLarge(let value):
                    "the maximum of \(value) bytes is above \(ChunkerParameters.largestMaximum)"
                case .notAscending(let minimum, let average, let maximum):
                    "minimum \(minimum), average \(average) and maximum \(maximum) do not ascend"
                case .averageNotPowerOfTwo(let value): "the average of \(value) bytes is not a power of two"
                case .normalizationOutOfRange(let value): "the normalization level \(value) is not between 0 and 3"
                }
            return LifeboatError("the chunker parameters are not usable", causes: [cause])
        }
    }

    static let smallestMinimum = 64
    static let largestMaximum = 64 << 20

    /// Throws unless a `Chunker` can be made of these: to be called on parameters from outside, before that.
    package func validate() throws(Invalid) {
        guard minimum >= Self.smallestMinimum else { throw .minimumTooSmall(minimum) }
        guard maximum <= Self.largestMaximum else { throw .maximumTooLarge(maximum) }
        guard minimum < average, average < maximum else {
            throw .notAscending(minimum: minimum, average: average, maximum: maximum)
        }
        guard average & (average - 1) == 0 else { throw .averageNotPowerOfTwo(average) }
        guard (0...3).contains(normalization) else { throw .normalizationOutOfRange(normalization) }
    }
}
