// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO
import LifeboatRepository

/// What recoveries on this host took, a file for each stack: `<state folder>/rates/<stack>.json`. Losing it costs
/// forecasts their footing, nothing else.
package struct RateHistory: Sendable {
    private struct Contents: Codable {
        static let currentFormat = 1
        var format = Self.currentFormat
        var measurements: [PhaseMeasurement] = []
    }

    /// So many of each phase and component are kept.
    private static let kept = 2 * RecoveryRates.window
    private static let suffix = ".json"

    private let folder: String

    package init(stateFolder: String) { folder = "\(stateFolder)/rates" }

    /// All measurements of this host. A file that cannot be used is told and left out.
    package func measurements() -> (measurements: [PhaseMeasurement], problems: [LifeboatError]) {
        var found: [PhaseMeasurement] = []
        var problems: [LifeboatError] = []
        do {
            for name in try FileTree.names(in: folder).sorted() where name.hasSuffix(Self.suffix) {
                do {
                    found += try read("\(folder)/\(name)")
                } catch {
                    problems.append(Self.unusable("\(folder)/\(name)", error))
                }
            }
        } catch {
            problems.append(Self.unusable(folder, error))
        }
        return (found, problems)
    }

    /// Adds measurements of one stack; of each phase and component the newest are kept. Two processes that add at the
    /// same moment may lose one's.
    package func add(_ new: [PhaseMeasurement], stack: String) throws {
        guard !new.isEmpty else { return }
        try FileTree.createFolders(folder)
        let path = "\(folder)/\(stack)\(Self.suffix)"
        // What cannot be read is replaced: it says nothing any more.
        let all = ((try? read(path)) ?? []) + new
        var counts: [String: Int] = [:]
        var rest: [PhaseMeasurement] = []
        for measurement in all.reversed() {
            let key = "\(measurement.phase)\0\(measurement.component ?? "")"
            counts[key, default: 0] += 1
            if counts[key, default: 0] <= Self.kept { rest.append(measurement) }
        }
        let bytes = try CanonicalJSON.encode(Contents(measurements: rest.reversed()), pretty: true)
        _ = try bytes.withUnsafeBytes { bytes throws(SystemCallError) in try AtomicFile.write([bytes], to: path) }
    }

    private func read(_ path: String) throws -> [PhaseMeasurement] {
        guard let bytes = try SmallFile.contents(path) else { return [] }
        let contents = try CanonicalJSON.decode(Contents.self, from: bytes)
        guard contents.format == Contents.currentFormat else {
            throw LifeboatError("it was written by another version of lifeboat")
        }
        return contents.measurements
    }

    private static func unusable(_ path: String, _ error: any Error) -> LifeboatError {
        LifeboatError.converting(error, "what earlier restores took cannot be read from '\(path)'")
    }
}
