// SPDX-License-Identifier: Apache-2.0

/// What a phase of a recovery costs: a fixed time, and one for each byte.
package struct PhaseCost: Codable, Sendable, Equatable {
    package var fixedSeconds: Double
    package var secondsPerByte: Double

    private enum CodingKeys: String, CodingKey {
        case fixedSeconds = "fixed_seconds"
        case secondsPerByte = "seconds_per_byte"
    }

    package init(fixedSeconds: Double, secondsPerByte: Double = 0) {
        self.fixedSeconds = fixedSeconds
        self.secondsPerByte = secondsPerByte
    }

    package init(fixedSeconds: Double, bytesPerSecond: Double) {
        self.init(fixedSeconds: fixedSeconds, secondsPerByte: 1 / bytesPerSecond)
    }

    package func seconds(for bytes: UInt64) -> Double { fixedSeconds + secondsPerByte * Double(bytes) }
}

extension PhaseCost {
    /// What is assumed of a phase nobody has measured on this host, for the kinds of stores.
    ///
    /// Staging is what `docs/performance.md` measured on two cores, halved: a forecast that is too long costs less than
    /// one that is too short. Services are given the ten seconds of `docker stop`'s default, and as much to start.
    package static func assumed(_ phase: String, store: String?) -> PhaseCost {
        let mega = 1e6
        switch (phase, store) {
        case ("stage", "postgres"): return PhaseCost(fixedSeconds: 2, bytesPerSecond: 14 * mega)
        case ("stage", "qdrant"), ("stage", "chroma"): return PhaseCost(fixedSeconds: 2, bytesPerSecond: 20 * mega)
        case ("stage", "volume"), ("stage", "models"), ("stage", "sqlite"):
            return PhaseCost(fixedSeconds: 1, bytesPerSecond: 90 * mega)
        case ("stage", _): return PhaseCost(fixedSeconds: 1, bytesPerSecond: 50 * mega)
        case ("write-in-place", _): return PhaseCost(fixedSeconds: 1, bytesPerSecond: 90 * mega)
        case ("verify-chunks", _): return PhaseCost(fixedSeconds: 1, bytesPerSecond: 2000 * mega)
        case ("verify-data", _): return PhaseCost(fixedSeconds: 1, bytesPerSecond: 200 * mega)
        case ("stop-services", _), ("start-services", _): return PhaseCost(fixedSeconds: 10)
        // By name these copy what they exchange.
        case ("swap", "qdrant"), ("swap", "command"):
            return PhaseCost(fixedSeconds: 2, bytesPerSecond: 50 * mega)
        case ("await-health", _): return PhaseCost(fixedSeconds: 15)
        case ("verify-facts", "postgres"), ("verify-facts", "models"):
            return PhaseCost(fixedSeconds: 1, bytesPerSecond: 250 * mega)
        case ("discard-old", _): return PhaseCost(fixedSeconds: 0.5, bytesPerSecond: 2000 * mega)
        default: return PhaseCost(fixedSeconds: 1)
        }
    }
}

/// How long something is expected to take, and where that comes from.
package struct PhaseEstimate: Codable, Sendable, Equatable {
    package enum Basis: String, Codable, Sendable, Equatable, CaseIterable {
        /// Earlier recoveries of the same component of the same stack on this host.
        case component
        /// Earlier recoveries of other components of the same kind on this host.
        case store
        /// Nothing was measured: `PhaseCost.assumed`.
        case assumed
    }

    package var seconds: Double
    package var basis: Basis
    /// How many measurements it rests on.
    package var measurements: Int

    package init(seconds: Double, basis: Basis, measurements: Int) {
        self.seconds = seconds
        self.basis = basis
        self.measurements = measurements
    }
}
