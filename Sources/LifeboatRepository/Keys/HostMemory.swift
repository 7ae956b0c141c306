// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What this host remembers of a repository. It is noted after what it is about was done in the repository: a state
/// directory that cannot be written undoes nothing, and is `stateProblem`.
extension Repository {
    /// Remembers a snapshot this host wrote or verified, so that its later absence is noticed.
    func remember(_ snapshot: Snapshot) { remember([snapshot]) }

    /// As `remember`, of several; their pins are remembered too. Writes only what is new.
    func remember(_ snapshots: [Snapshot]) {
        changeMemory { pin in
            for snapshot in snapshots {
                let manifest = snapshot.manifest
                let chain = "\(manifest.stack)/\(manifest.host)"
                guard manifest.sequence > pin.newest[chain]?.sequence ?? 0 else { continue }
                pin.newest[chain] = HostTrust.Pin.Seen(sequence: manifest.sequence, snapshot: snapshot.id)
                if let pinned = manifest.pinned { pin.add(pinned, stack: manifest.stack) }
            }
        }
    }

    /// Remembers the newest snapshot of every stack and host, so that a host that is new to the repository, and has the
    /// name of one that is lost, goes on with its numbers. Needs a key that reads the manifests.
    package func rememberNewest() throws { remember(try SnapshotCatalog(self, skippingSealed: true).snapshots) }

    /// Remembers a pin, so that its later absence is noticed.
    func remember(_ reference: PinReference, stack: String) {
        changeMemory { $0.add([reference], stack: stack) }
    }

    /// The snapshot is pinned no longer.
    func forgetPins(of snapshot: Digest, stack: String) {
        changeMemory { $0.pins?[stack]?.removeAll { $0.snapshot == snapshot } }
    }

    private func changeMemory(_ change: (inout HostTrust.Pin) -> Void) {
        guard let trust else { return }
        trust.noting {
            guard let known = try trust.pin(config.repositoryID) else { return }
            var pin = known
            change(&pin)
            guard pin != known else { return }
            try trust.remember(pin, of: config.repositoryID)
        }
    }

    /// Why this host could not remember what it saw of the repository so far; nil when it could.
    package var stateProblem: LifeboatError? { trust?.problem }

    /// Why the local cache could not be used so far; nil when it could. Everything works without it, only slower.
    package var cacheProblem: LifeboatError? { local.health.problem }

    /// The newest snapshot of that stack and host this host remembers.
    package func newestRemembered(stack: String, host: String) throws -> HostTrust.Pin.Seen? {
        try trust?.pin(config.repositoryID)?.newest["\(stack)/\(host)"]
    }

    /// Removes local copies that no backup used for long.
    package func removeStaleCopies(now: Timestamp) { local.removeStale(now: now) }
}
