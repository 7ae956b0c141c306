// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatTesting
import Testing

/// Overlaps of many components. What each kind of overlap says is in the diagnostic cases.
@Suite struct OverlapSearchTests {
    private static func components(_ count: Int, _ store: (Int) -> StorePolicy) -> [ComponentPolicy] {
        (0..<count).map { ComponentPolicy(name: "c\($0)", store: store($0)) }
    }

    @Test func `components that share nothing are not compared`() {
        for count in [4_000, 16_000] {
            let components = Self.components(count) { number in
                switch number % 4 {
                case 0: .volume(VolumePolicy(path: "/srv/\(number % 7)/v\(number)"))
                case 1: .sqlite(SQLitePolicy(path: "/srv/\(number % 7)/v\(number / 2 * 2)/db"))
                case 2: .redis(RedisPolicy(host: "10.0.0.1", port: number))
                default: .postgres(PostgresPolicy(host: "db", databases: .one("d\(number)")))
                }
            }
            let search = OverlapSearch(components)
            #expect(search.pairs.isEmpty && !search.isCutShort)
            // n log2 n of 16,000 is 14 steps each; all pairs would be 8,000.
            #expect(search.steps < 20 * count, "\(search.steps)")
        }
    }

    @Test func `the same pairs are found as by comparing all`() {
        var random = SplitMix64(seed: 11)
        for _ in 0..<200 {
            let names = ["a", "b", "a.b", "a-b"]
            let components = Self.components(12) { _ in
                let depth = Int(random.next() % 4)
                let path = "/" + (0..<depth).map { _ in names[Int(random.next() % 4)] }.joined(separator: "/")
                return random.next() % 3 == 0 ? .sqlite(SQLitePolicy(path: path)) : .volume(VolumePolicy(path: path))
            }
            func contains(_ outer: String, _ inner: String) -> Bool {
                outer == inner || inner.hasPrefix(outer == "/" ? "/" : outer + "/")
            }
            func isVolume(_ number: Int) -> Bool {
                if case .volume = components[number].store { true } else { false }
            }
            var expected: [OverlapSearch.Pair] = []
            for later in components.indices {
                for earlier in 0..<later {
                    guard let left = components[later].store.path, let right = components[earlier].store.path else {
                        continue
                    }
                    let holds = contains(left, right) || contains(right, left)
                    let outer = contains(left, right) ? later : earlier
                    let inner = outer == later ? earlier : later
                    let isAllowed = left != right && isVolume(outer) && !isVolume(inner)
                    if holds, !isAllowed { expected.append(OverlapSearch.Pair(later: later, earlier: earlier)) }
                }
            }
            #expect(OverlapSearch(components).pairs == expected)
        }
    }

    @Test func `a search that finds more than anybody reads ends`() {
        let components = Self.components(4_000) { _ in .volume(VolumePolicy(path: "/srv")) }
        let search = OverlapSearch(components)
        #expect(search.pairs.count == OverlapSearch.limit && search.isCutShort)
        #expect(search.steps < 100_000)
    }

    @Test(arguments: ["postgres: {host: \"%\", database: a, user: u}", "redis: {host: \"%\"}"])
    func `a login in a host is refused and not shown`(_ store: String) {
        for host in ["user:hunter2@db", "postgres://db", "redis://u:hunter2@db/0"] {
            let text = """
                stack: a
                repository: /r
                encryption: none
                components: {c: {\(store.replacing("%", with: host))}}
                """
            let found = PolicyDiagnosticsTests.diagnostics(text)?.description ?? "valid"
            #expect(found.contains("host' holds a user or password") || found.contains("host' is a URL"), "\(found)")
            #expect(!found.contains("hunter2"))
        }
    }

    @Test func `variables that a policy names as secrets are known`() throws {
        let policy = try PolicyParser.parse(
            """
            stack: a
            repository: /r
            encryption: {passphrase: {env: PHRASE}}
            components: {c: {command: {capture: [x], environment: {A: {env: B}}}}, d: {redis: {password: {env: R}}}}
            secrets: [JWT, {name: KEY, from: {env: OTHER}}]
            """, source: nil, folder: "/")
        #expect(policy.secretVariables == ["PHRASE", "B", "R", "JWT", "KEY", "OTHER"])
    }
}
