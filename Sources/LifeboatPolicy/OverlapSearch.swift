// SPDX-License-Identifier: Apache-2.0

/// Finds the pairs of components that may hold the same thing, in O(n log n + pairs): components that share neither a
/// path, one inside the other, nor a server are never compared.
package struct OverlapSearch {
    /// Positions of two components, `earlier` < `later`.
    package struct Pair: Hashable, Comparable, Sendable {
        package var later: Int
        package var earlier: Int

        package init(later: Int, earlier: Int) {
            self.later = later
            self.earlier = earlier
        }

        package static func < (left: Pair, right: Pair) -> Bool {
            (left.later, left.earlier) < (right.later, right.earlier)
        }
    }

    /// More pairs than anybody would read; the search ends there.
    package static let limit = 500

    /// Ascending, at most `limit`.
    package private(set) var pairs: [Pair] = []
    package private(set) var isCutShort = false
    /// Comparisons and look-ups so far.
    package private(set) var steps = 0
    private var found: Set<Pair> = []

    package init(_ components: [ComponentPolicy]) {
        searchPaths(components)
        searchServers(components)
        pairs = found.sorted()
    }

    private mutating func add(_ first: Int, _ second: Int) {
        steps += 1
        guard found.count < Self.limit else {
            isCutShort = true
            return
        }
        found.insert(Pair(later: max(first, second), earlier: min(first, second)))
    }

    // MARK: Paths

    private struct Place {
        let key: [UInt8]
        let index: Int
        let isVolume: Bool

        init(key: [UInt8], index: Int, store: StorePolicy) {
            self.key = key
            self.index = index
            isVolume = if case .volume = store { true } else { false }
        }
    }

    /// In the order of path components a directory stands right before all that is inside of it.
    private mutating func searchPaths(_ components: [ComponentPolicy]) {
        var steps = 0
        let paths = components.indices.compactMap { index in
            components[index].store.path.map { Place(key: Self.key($0), index: index, store: components[index].store) }
        }.sorted { left, right in
            steps += 1
            return left.key == right.key ? left.index < right.index : left.key.lexicographicallyPrecedes(right.key)
        }
        self.steps += steps
        /// Those the present path lies in, outermost first.
        var outer: [Place] = []
        for path in paths {
            while let last = outer.last, !path.key.starts(with: last.key) {
                self.steps += 1
                outer.removeLast()
            }
            for other in outer {
                steps += 1
                // A volume leaves what lies inside of it to the component it belongs to.
                if other.key != path.key, other.isVolume, !path.isVolume { continue }
                add(path.index, other.index)
                if isCutShort { return }
            }
            outer.append(path)
        }
    }

    /// A path as bytes that compare by components: `/` sorts before all else and ends every component.
    private static func key(_ path: String) -> [UInt8] {
        var key = path.utf8.map { $0 == UInt8(ascii: "/") ? 0 : $0 }
        if key.last != 0 { key.append(0) }
        return key
    }

    // MARK: Servers

    /// What a component holds of its server.
    private struct Share {
        var server: String
        /// Names of databases or collections; nil: all.
        var names: [String]?
    }

    private mutating func searchServers(_ components: [ComponentPolicy]) {
        struct Server {
            var byName: [String: [Int]] = [:]
            var wholes: [Int] = []
            var all: [Int] = []
        }
        var servers: [String: Server] = [:]
        for (index, component) in components.enumerated() {
            guard let share = Self.share(component.store) else { continue }
            steps += 1
            // Taken out and put back: changed in place.
            var server = servers.removeValue(forKey: share.server) ?? Server()
            let others =
                share.names.map { names in names.flatMap { server.byName[$0] ?? [] } + server.wholes } ?? server.all
            for other in others {
                add(index, other)
                if isCutShort { return }
            }
            if let names = share.names {
                for name in Set(names) { server.byName[name, default: []].append(index) }
            } else {
                server.wholes.append(index)
            }
            server.all.append(index)
            servers[share.server] = server
        }
    }

    private static func share(_ store: StorePolicy) -> Share? {
        switch store {
        case .postgres(let postgres):
            let server = "postgres \(postgres.host ?? "") \(postgres.port ?? 5432) \(postgres.container.debugText)"
            return Share(server: server, names: postgres.names.map(Array.init))
        case .qdrant(let qdrant):
            return Share(server: "qdrant \(qdrant.url) \(qdrant.container.debugText)", names: qdrant.collections)
        case .chroma(let chroma):
            guard chroma.path == nil, let server = chroma.server else { return nil }
            return Share(
                server: "chroma \(server.url) \(server.tenant) \(server.container.debugText)",
                names: server.database.map { [$0] })
        case .redis(let redis): return Share(server: "redis \(redis.address)", names: nil)
        case .volume, .sqlite, .models, .command: return nil
        }
    }
}

extension ContainerPolicy? {
    /// The same text for equal values; what it says does not matter.
    fileprivate var debugText: String { map { "\($0)" } ?? "" }
}
