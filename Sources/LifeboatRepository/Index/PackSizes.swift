// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Stored size of every pack of a listing, in 40 bytes each: a repository may have hundreds of thousands.
struct PackSizes {
    private var names: [Digest] = []
    private var sizes: [UInt64] = []

    /// To be called in any order; listings are ascending.
    mutating func append(_ name: Digest, _ size: UInt64) {
        names.append(name)
        sizes.append(size)
    }

    /// Ends the listing.
    mutating func finish() {
        guard zip(names, names.dropFirst()).contains(where: { $1 < $0 }) else { return }
        let order = names.indices.sorted { names[$0] < names[$1] }
        names = order.map { names[$0] }
        sizes = order.map { sizes[$0] }
    }

    /// Nil when there is no such pack.
    subscript(name: Digest) -> UInt64? {
        var low = 0
        var high = names.count
        while low < high {
            let middle = (low + high) / 2
            if names[middle] < name { low = middle + 1 } else { high = middle }
        }
        return low < names.count && names[low] == name ? sizes[low] : nil
    }
}
