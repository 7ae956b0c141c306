// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Room that staging takes on a file system of this host.
package struct StagingRoom: Sendable, Equatable {
    /// What it is beside.
    package var place: String
    /// The file system, as stat(2) numbers it.
    package var device: UInt64
    /// Bytes, as far as they are known.
    package var needed: UInt64
    package var free: UInt64

    package init(place: String, device: UInt64, needed: UInt64, free: UInt64) {
        self.place = place
        self.device = device
        self.needed = needed
        self.free = free
    }

    /// Whether it is there when `others` take theirs.
    package func suffices(with others: [StagingRoom]) -> Bool {
        var taken = needed
        for other in others where other.device == device {
            let (sum, overflow) = taken.addingReportingOverflow(other.needed)
            if overflow { return false }
            taken = sum
        }
        return taken < free
    }
}

extension StagingRoom {
    /// What so many bytes take in a server's folder; nil when this host cannot look at it.
    static func inside(_ folder: String, needed: UInt64) throws -> StagingRoom? {
        guard access(folder, F_OK) == 0 else { return nil }
        var room = try VolumePlace("\(folder)/lifeboat").room(for: needed)
        room.place = folder
        return room
    }

    /// Throws when there is none. `subject` is what is restored.
    func check(_ subject: String) throws {
        if needed < free { return }
        throw LifeboatError(
            "there is no room to restore \(subject) beside the live data",
            causes: ["it takes \(ByteCount(needed)), free are \(ByteCount(free))"],
            hint: "Free some space on the file system of '\(place)', or restore elsewhere with --to DIR.")
    }
}
