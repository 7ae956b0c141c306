// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

extension Repository {
    /// Remembers a snapshot this host wrote or verified, so that its later absence is noticed.
    func remember(_ snapshot: Snapshot) throws {
        try remember([snapshot])
    }

    /// As `remember`, of several; their pins are remembered too. Writes only what is new.
    func remember(_ snapshots: [Snapshot]) throws {
        guard let trust, let known = try trust.pin(config.repositoryID) else { return }
        var pin = known
        for snapshot in snapshots {
            let manifest = snapshot.manifest
            let chain = "\(manifest.stack)/\(manifest.host)"
            guard manifest.sequence > pin.newest[chain]?.sequence ?? 0 else { continue }
            pin.newest[chain] = HostTrust.Pin.Seen(sequence: manifest.sequence, snapshot: snapshot.id)
            if let pinned = manifest.pinned { pin.add(pinned, stack: manifest.stack) }
        }
        guard pin != known else { return }
        try trust.remember(pin, of: config.repositoryID)
    }

    /// Remembers a pin, so that its later absence is noticed.
    func remember(_ reference: PinReference, stack: String) throws {
        guard let trust, let known = try trust.pin(config.repositoryID) else { return }
        var pin = known
        pin.add([reference], stack: stack)
        guard pin != known else { return }
        try trust.remember(pin, of: config.repositoryID)
    }

    /// The snapshot is pinned no longer.
    func forgetPins(of snapshot: Digest, stack: String) throws {
        guard let trust, let known = try trust.pin(config.repositoryID) else { return }
        var pin = known
        pin.pins?[stack]?.removeAll { $0.snapshot == snapshot }
        guard pin != known else { return }
        try trust.remember(pin, of: config.repositoryID)
    }

    /// The newest snapshot of that stack and host this host remembers.
    package func newestRemembered(stack: String, host: String) throws -> HostTrust.Pin.Seen? {
        try trust?.pin(config.repositoryID)?.newest["\(stack)/\(host)"]
    }

    /// Removes local copies that no backup used for long.
    package func removeStaleCopies(now: Timestamp) { local.removeStale(now: now) }
}
