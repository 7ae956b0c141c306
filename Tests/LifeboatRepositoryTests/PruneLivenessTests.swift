// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatTesting
import Testing

/// Space comes back: after random histories, and enough prunes with nobody else at work, a repository takes what its
/// snapshots take in a new one, and 10 %, and 5 % of unused data.
@Suite struct PruneLivenessTests {
    /// The first seed and how many follow; `scripts/stress histories` sets them.
    private static var seeds: Range<UInt64> {
        func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
        let first = number("LIFEBOAT_HISTORY_SEED") ?? 1
        return first..<first + (number("LIFEBOAT_HISTORIES") ?? 24)
    }

    @Test func spaceComesBackAfterRandomHistories() throws {
        var failed = 0
        for seed in Self.seeds {
            let history = try PruneHistory(seed: seed)
            defer { history.remove() }
            do {
                let problems = try history.run()
                #expect(problems == [])
                if !problems.isEmpty { failed += 1 }
            } catch {
                failed += 1
                Issue.record("seed \(seed): \(error)")
            }
        }
        if getenv("LIFEBOAT_HISTORIES") != nil {
            print("\(Self.seeds.count) histories from seed \(Self.seeds.lowerBound), \(failed) of them failed")
        }
    }
}
