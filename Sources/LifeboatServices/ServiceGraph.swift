// SPDX-License-Identifier: Apache-2.0

/// Which service needs which others to run before it. Pure.
package struct ServiceGraph: Sendable, Equatable {
    /// Services in waves: each needs only services of earlier waves. Within a wave sorted by name; what is left of a
    /// circle is the last wave.
    package let waves: [[String]]

    /// What each service needs. Names that are no key themselves are no services and are ignored.
    package init(_ needs: [String: Set<String>]) {
        var left = needs.mapValues { $0.intersection(needs.keys) }
        for name in needs.keys { left[name]?.remove(name) }
        var waves: [[String]] = []
        while !left.isEmpty {
            let free = left.filter { $0.value.isEmpty }.keys.sorted()
            let wave = free.isEmpty ? left.keys.sorted() : free
            waves.append(wave)
            for name in wave { left[name] = nil }
            left = left.mapValues { $0.subtracting(wave) }
        }
        self.waves = waves
    }

    /// All services, each after what it needs.
    package var order: [String] { waves.flatMap(\.self) }

    /// The waves of these services alone.
    package func waves(of services: Set<String>) -> [[String]] {
        waves.map { $0.filter(services.contains) }.filter { !$0.isEmpty }
    }
}
