// SPDX-License-Identifier: Apache-2.0

/// Finds what somebody meant to type.
package enum NearestWord {
    /// The candidate with the fewest edits to `word` (insert, delete, replace, swap neighbours), when they are few enough
    /// for its length; letter case and `-` for `_` cost nothing. The first of equals.
    package static func nearest(to word: String, among candidates: [String]) -> String? {
        let wanted = normalized(word)
        guard !wanted.isEmpty, wanted.count <= 64 else { return nil }
        var best: (word: String, distance: Int)?
        for candidate in candidates {
            let distance = distance(wanted, normalized(candidate))
            let limit = max(1, max(wanted.count, candidate.utf8.count) / 3)
            guard distance <= limit, distance < best?.distance ?? Int.max else { continue }
            best = (candidate, distance)
        }
        return best?.word
    }

    private static func normalized(_ word: String) -> [UInt8] {
        word.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: " ") }
    }

    /// Optimal string alignment distance, bytewise.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var rows = [Array(0...right.count)]
        for i in 0..<left.count {
            var row = [i + 1]
            for j in 0..<right.count {
                var cost = min(
                    row[j] + 1, rows[i][j + 1] + 1, rows[i][j] + (left[i] == right[j] ? 0 : 1))
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    cost = min(cost, rows[i - 1][j - 1] + 1)
                }
                row.append(cost)
            }
            rows.append(row)
        }
        return rows[left.count][right.count]
    }
}
