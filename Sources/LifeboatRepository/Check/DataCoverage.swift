// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// How much of the data a check reads.
package enum DataCoverage: Sendable, Equatable {
    case none
    case all
    /// So many percent of the stored bytes, more than 0 and less than 100; each run goes on where the last one ended.
    case sample(percent: Double)
}

/// Which packs a sample takes, so that successive runs read everything.
///
/// Packs are taken in the order of their names, a circle, from the one after the last that was read, until the share is
/// reached: with N percent every pack that is there all the time is read within 100/N runs, rounded up. Where the last
/// run ended is kept in the host's folder for the repository (`check-position`); without it a run begins at a random
/// place.
package struct SampleRotation: Sendable {
    private let path: String

    /// `folder`: `Repository.localFolder`.
    package init(folder: String) { path = "\(folder)/check-position" }

    /// The packs to read now, in order, by name and size. Never empty unless there are no packs.
    package func selection(_ packs: [Digest: UInt64], percent: Double) -> [Digest] {
        let names = packs.keys.sorted()
        let wanted = Double(packs.values.reduce(0, +)) * percent / 100
        let last = position()
        let first = names.firstIndex { last < $0 } ?? 0
        var selected: [Digest] = []
        var bytes = 0.0
        for name in names[first...] + names[..<first] {
            if !selected.isEmpty, bytes >= wanted { break }
            selected.append(name)
            bytes += Double(packs[name] ?? 0)
        }
        return selected
    }

    /// The run read everything up to this pack.
    package func remember(_ last: Digest) throws {
        do {
            try AtomicFile.write(last.hex + "\n", to: path)
        } catch {
            throw error.lifeboatError.wrapped("cannot remember which data was read")
        }
    }

    /// Anything but a digest in the file is as good as no file: the place is only a matter of taking turns.
    private func position() -> Digest {
        var bytes = [UInt8](repeating: 0, count: 64)
        if let file = try? OwnedDescriptor.open(path, O_RDONLY),
            bytes.withUnsafeMutableBytes({ pread(file.raw, $0.baseAddress, 64, 0) }) == 64,
            let digest = Digest(hex: String(decoding: bytes, as: UTF8.self))
        {
            return digest
        }
        var random = SystemRandomNumberGenerator()
        return Digest(bigEndianWords: random.next(), random.next(), random.next(), random.next())
    }
}
