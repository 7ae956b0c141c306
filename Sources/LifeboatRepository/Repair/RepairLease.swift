// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatStorage

/// The lease of a repair, and what it knows of others' leases.
///
/// A repair takes its lease and looks at the others after that, as a prune does: of a repair and a prune, or of two
/// repairs, that begin at once at least one sees the other, and stops. A prune without a lease (there is none on a
/// full disk) does no harm either: what a repair found uncondemned is not deleted while its lease is there, chunks in
/// condemned packs count as not kept, and a manifest is announced before it is committed and committed before the one
/// it stands for goes.
package struct RepairLease {
    package let lease: Lease
    private let repository: Repository
    private let watch: LeaseWatch
    private let clock: any Clock
    private let boot: String

    /// Throws `busy` beside a prune or another repair.
    package static func take(
        _ repository: Repository, host: String, clock: any Clock, settings: LeaseSettings = LeaseSettings()
    ) throws -> RepairLease {
        let lease = try Lease.take(.repair, repository, host: host, settings: settings)
        do {
            let taken = RepairLease(
                lease: lease, repository: repository,
                watch: LeaseWatch(repository: repository, settings: settings, own: lease.record.id), clock: clock,
                boot: try ProcessIdentity.current().bootID)
            if let other = try taken.others().first(where: \.excludesPrune) { throw other.busy(settings) }
            return taken
        } catch {
            lease.release()
            throw error
        }
    }

    /// Leases whose holders may be at work. What was seen of them is kept for the next prune or repair.
    func others() throws -> [ObservedLease] {
        var memory = PruneMemory.load(repository)
        var sightings = memory.leaseSightings
        let leases = try watch.observe(
            &sightings, now: MeasuredMoment(boot: boot, monotonic: clock.monotonicSeconds())
        ).leases
        memory.leaseSightings = sightings
        try memory.save(repository)
        return try leases.filter { lease in
            switch lease.condition {
            case .live: true
            case .gone: false
            case .dead: try !watch.breakLease(lease.id)
            }
        }
    }
}
