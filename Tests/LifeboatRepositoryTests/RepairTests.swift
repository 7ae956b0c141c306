// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// Repairs beside others, cut off, and with what they find changed. `DamagedRepositoryTests` has what they mend.
@Suite struct RepairTests {
    private func withDamage(
        _ damage: (DamagedRepository) throws -> Void, _ body: (DamagedRepository) throws -> Void
    ) throws {
        let repository = try DamagedRepository(SoundRepository.get())
        defer { repository.remove() }
        try damage(repository)
        try body(repository)
    }

    private func plan(_ repository: Repository, trustsData: Bool = false) throws -> RepairPlan {
        try RepairPlanner(repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation())
            .plan(rewritesSnapshots: false, trustsData: trustsData)
    }

    private func execute(_ plan: RepairPlan, _ repository: Repository, _ lease: RepairLease) throws -> RepairOutcome {
        try RepairExecutor(repository, lease, clock: SystemClock(), cancellation: Cancellation()).execute(plan)
    }

    private func take(_ repository: Repository) throws -> RepairLease {
        try RepairLease.take(repository, host: "testhost", clock: SystemClock())
    }

    private func expect(_ code: Int32, _ repository: DamagedRepository, _ arguments: String...) throws {
        let run = try repository.run(arguments)
        #expect(run.exit == code, "\(arguments.joined(separator: " ")): \(run)")
    }

    @Test(arguments: [LeaseKind.backup, .read])
    func `a damaged pack stays in place while somebody may read from it`(_ kind: LeaseKind) throws {
        try withDamage {
            try $0.flip($0.pack(.first), at: -3)
        } _: { damaged in
            let lease = try Lease.take(kind, damaged.open(), host: "elsewhere")
            defer { lease.release() }
            let run = try damaged.run(["repair", "--yes"])
            #expect(run.exit == 0 && run.output.contains("\(kind.rawValue) on host 'elsewhere'"), "\(run)")
            #expect(try damaged.contents()[damaged.pack(.first)] != nil)
            // What was opened before the repair still reads what it did; who comes later does not know the pack.
            try expect(0, damaged, "check")
            #expect(try damaged.restore(.first).exit == 0)
            lease.release()
            try expect(0, damaged, "repair", "--yes")
            #expect(try damaged.contents()["damaged/\(damaged.pack(.first))"] != nil)
            #expect(try damaged.contents()[damaged.pack(.first)] == nil)
            try expect(0, damaged, "check", "--read-data")
        }
    }

    @Test func `repairs and prunes keep out of each other's way`() throws {
        try withDamage {
            try $0.flip($0.pack(.first), at: -3)
        } _: { damaged in
            let before = try damaged.contents()
            for kind in [LeaseKind.prune, .repair] {
                let lease = try Lease.take(kind, damaged.open(), host: "elsewhere")
                try expect(11, damaged, "repair", "--yes")
                try expect(11, damaged, "prune", "--grace", "0")
                try expect(13, damaged, "repair")
                lease.release()
            }
            #expect(try damaged.contents() == before)
            try expect(0, damaged, "repair", "--yes")
        }
    }

    @Test func `a repair that others counted as dead takes nothing away`() throws {
        try withDamage {
            try $0.flip($0.pack(.first), at: -3)
        } _: { damaged in
            let before = try damaged.contents()
            let repository = try damaged.open()
            let lease = try take(repository)
            defer { lease.lease.release() }
            let plan = try plan(repository)
            try damaged.write([], "leases/\(lease.lease.record.id.text).broken")
            let error = #expect(throws: LifeboatError.self) { try execute(plan, repository, lease) }
            #expect(error?.exitCode == .busy)
            let after = try damaged.contents()
            for (name, bytes) in before { #expect(after[name] == bytes, "\(name)") }
        }
    }

    @Test func `a chunk of which only a condemned pack has another copy is copied`() throws {
        try withDamage { damaged in
            let before = Set(try damaged.contents().keys)
            try damaged.duplicatePack(.notes)
            for name in try damaged.contents().keys where name.hasPrefix("packs/") && !before.contains(name) {
                try damaged.write([], "condemned/\(name.dropFirst(9).prefix(64))")
            }
            try damaged.flip(damaged.pack(.notes), at: -3)
        } _: { damaged in
            try expect(13, damaged, "repair")
            try expect(0, damaged, "repair", "--yes")
            try expect(0, damaged, "prune", "--grace", "0")
            #expect(try !damaged.contents().keys.contains { $0.hasPrefix("condemned/") })
            try expect(0, damaged, "check", "--read-data")
            #expect(try damaged.restore(.notes).exit == 0)
        }
    }

    @Test func `without reading data only packs are read that no sound index describes`() throws {
        try withDamage {
            try $0.remove($0.index(.first))
            try $0.flip($0.index(.notes))
            try $0.remove($0.pack(.third))
        } _: { damaged in
            let repository = try damaged.open()
            let plan = try plan(repository, trustsData: true)
            #expect(plan.packsRead == 2)
            #expect(plan.staleIndexes.count == 2 && plan.packsToIndex.count == 2 && plan.damagedPacks.count == 1)
            let lease = try take(repository)
            let outcome = try execute(plan, repository, lease)
            lease.lease.release()
            // One of the two packs, whole; of the lost one nothing is left to name.
            #expect(outcome.indexesWritten == 1 && outcome.setAside.count == 2)
            #expect(try damaged.restore(.first).exit == 0)
            #expect(try damaged.restore(.notes).exit == 0)
        }
    }

    @Test func `a pack that somebody brought back whole stays`() throws {
        try withDamage {
            try $0.flip($0.pack(.notes), at: -3)
        } _: { damaged in
            let repository = try damaged.open()
            let lease = try take(repository)
            defer { lease.lease.release() }
            let plan = try plan(repository)
            let whole = try #require(damaged.sound.objects[damaged.sound[.notes].pack])
            try damaged.write(whole, damaged.pack(.notes))
            let outcome = try execute(plan, repository, lease)
            #expect(outcome.sound == [damaged.pack(.notes)])
            #expect(try damaged.bytes(damaged.pack(.notes)) == whole)
            try expect(0, damaged, "check", "--read-data")
        }
    }

    @Test func `the way out of a lost config json is the copy in a cache`() throws {
        try withDamage { _ in
        } _: { damaged in
            #expect(try damaged.run(["snapshots"], cache: "host").exit == 0)
            try damaged.remove("config.json")
            let run = try damaged.run(["repair", "--yes"], cache: "host")
            #expect(run.exit == 13 && run.error.contains("/host/…/config.json"), "\(run)")
            let id = try damaged.sound.repositoryID().hex.prefix(32)
            let copy = try TextFile.read("\(damaged.path)/host/\(id)/config.json")
            try damaged.write(copy, "config.json")
            try expect(0, damaged, "check", "--read-data")
        }
    }

    /// Cuts the repair off at every call that changes the store: nothing is lost by that, and the next one finishes.
    @Test func `a repair that is cut off loses nothing and can be run again`() throws {
        let original = try DamagedRepository(SoundRepository.get())
        defer { original.remove() }
        try original.flipChunk(.first, original.content("small-3", in: .first).id)
        try original.flip(original.index(.notes))
        try original.write([], "README.txt")
        let before = try original.contents()
        var call = 1
        while true {
            let damaged = try DamagedRepository(copying: original)
            defer { damaged.remove() }
            let store = try FaultInjectingStore(LocalFolderStore(opening: damaged.root))
            let repository = try Repository.open(
                store, cacheRoot: "\(damaged.path)/cut-cache", trust: HostTrust(state: "\(damaged.path)/state"))
            let lease = try take(repository)
            let plan = try RepairPlanner(
                repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
            ).plan(rewritesSnapshots: true)
            store.inject(
                .failBefore(.other), at: call, of: [.put, .putIfAbsent, .delete], repeating: true)
            let wasCutOff: Bool
            do {
                _ = try execute(plan, repository, lease)
                wasCutOff = false
            } catch {
                wasCutOff = true
            }
            store.clearFaults()
            lease.lease.release()
            let after = try damaged.contents()
            for (name, bytes) in before where after[name] != bytes {
                #expect(after["damaged/\(name)"] == bytes, "call \(call): '\(name)' is gone")
            }
            let run = try damaged.run(["repair", "--snapshots", "--yes"])
            #expect(run.exit == (wasCutOff ? run.exit : 0), "call \(call): \(run)")
            #expect([0, 3].contains(run.exit), "call \(call): \(run)")
            try expect(0, damaged, "check", "--read-data")
            guard wasCutOff else {
                #expect(try damaged.restore(.notes).exit == 0)
                #expect(try damaged.restore(.third).missing == ["small-3"])
                break
            }
            call += 1
        }
        #expect(call > 15)
    }

    @Test func `samples read every pack within so many runs as their share calls for`() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-sample-")
        defer { try? folder.remove() }
        var random = SplitMix64(seed: 3)
        var packs: [Digest: UInt64] = [:]
        for _ in 0..<50 { packs[BLAKE3.hash(random.bytes(8))] = 1000 + random.next() % 1000 }
        let rotation = SampleRotation(folder: folder.path)
        var read: Set<Digest> = []
        for _ in 0..<10 {
            let selected = rotation.selection(packs, percent: 10)
            #expect(!selected.isEmpty && selected.count < 10)
            read.formUnion(selected)
            try rotation.remember(try #require(selected.last))
        }
        #expect(read == Set(packs.keys))
        #expect(rotation.selection([:], percent: 10) == [])
        #expect(rotation.selection(packs, percent: 0.001).count == 1)
    }
}
