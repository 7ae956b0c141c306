// SPDX-License-Identifier: Apache-2.0

import LifeboatTesting
import Testing

/// Every way to damage a repository that we know, and what every command has to answer.
@Suite struct DamagedRepositoryTests {
    static let cases = DamageCase.packs + DamageCase.indexes + DamageCase.snapshots + DamageCase.records

    @Test func `there are enough of them, each with a name of its own`() {
        #expect(Self.cases.count >= 60)
        #expect(Set(Self.cases.map(\.name)).count == Self.cases.count)
    }

    @Test(arguments: cases)
    func `every command answers damage as it should`(_ damage: DamageCase) throws {
        let verdict = damage.verdict
        let repository = try DamagedRepository(SoundRepository.get())
        defer { repository.remove() }
        let named = try damage.damage(repository)
        let before = try repository.contents()

        // Looking.
        let check = try repository.run(["check"])
        #expect(check.exit == verdict.check, "check: \(check)")
        let data = try repository.run(["check", "--read-data"])
        #expect(data.exit == verdict.data, "check --read-data: \(data)")
        for name in named { #expect(data.error.contains(name), "check --read-data does not name \(name): \(data)") }
        let scrub = try repository.run(["scrub"])
        #expect(scrub.exit == verdict.scrub, "scrub: \(scrub)")
        try expectRestores(repository, verdict.restore, "with the damage")
        let plan = try repository.run(["repair"])
        #expect(plan.exit == verdict.plan, "repair without --yes: \(plan)")
        #expect(try repository.contents() == before, "what only looks changes nothing")

        try prune(repository, verdict)

        // Repair.
        let repair = try repository.run(["repair", "--yes"])
        #expect(repair.exit == verdict.repair, "repair --yes: \(repair)")
        try expectNothingLost(before, repository)
        let repaired = try repository.run(["check", "--read-data"])
        #expect(repaired.exit == verdict.repaired, "check after repair: \(repaired)")
        try expectRestores(repository, verdict.restoreRepaired, "after the repair")

        // A backup stores anew what is still there.
        if verdict.repaired == 0 {
            #expect(verdict.backedUp == 0)
            #expect(verdict.salvage == 0)
        } else {
            try backUp(repository, verdict)
        }
        try salvage(repository, before, verdict)
    }

    /// Prune is allowed to delete what nothing needs, and nothing else.
    private func prune(_ repository: DamagedRepository, _ verdict: DamageVerdict) throws {
        let copy = try DamagedRepository(copying: repository)
        defer { copy.remove() }
        let run = try copy.run(["prune", "--grace", "0", "--max-unused", "0"])
        #expect(run.exit == verdict.prune, "prune: \(run)")
        if run.exit != 0 {
            let (left, all) = (try copy.contents(), try repository.contents())
            #expect(left == all, "a prune that refuses changes nothing")
        } else {
            try expectRestores(copy, verdict.restore, "after a prune")
        }
    }

    private func backUp(_ repository: DamagedRepository, _ verdict: DamageVerdict) throws {
        let copy = try DamagedRepository(copying: repository)
        defer { copy.remove() }
        let runs = try copy.backUp()
        let check = try copy.run(["check", "--read-data"])
        #expect(check.exit == verdict.backedUp, "check after another backup: \(check)\n\(runs)")
    }

    private func salvage(
        _ repository: DamagedRepository, _ before: [String: [UInt8]], _ verdict: DamageVerdict
    ) throws {
        let run = try repository.run(["repair", "--snapshots", "--yes"])
        #expect(run.exit == verdict.salvage, "repair --snapshots: \(run)")
        for name in verdict.lost { #expect(run.error.contains(name), "repair --snapshots does not name \(name): \(run)") }
        try expectNothingLost(before, repository)
        guard verdict.repaired != 0 else { return }
        try expectRestores(repository, verdict.restoreSalvaged, "of what is left", naming: verdict.lost)
        if verdict.salvage == 3 {
            let check = try repository.run(["check", "--read-data"])
            #expect(check.exit == 0, "check after repair --snapshots: \(check)")
            let again = try repository.run(["repair", "--snapshots", "--yes"])
            #expect(again.exit == 0, "nothing is left to repair: \(again)")
        }
    }

    /// What comes back is right, all of it when the restore says so.
    private func expectRestores(
        _ repository: DamagedRepository, _ codes: RestoreCodes, _ when: String, naming lost: [String] = []
    ) throws {
        var named = ""
        for (moment, code) in [
            (SoundRepository.Moment.first, codes.first), (.third, codes.third), (.notes, codes.notes),
        ] {
            let restored = try repository.restore(moment)
            #expect(restored.run.exit == code, "restore of \(moment) \(when): \(restored.run)")
            #expect(restored.wrong == [], "restore of \(moment) \(when)")
            if restored.run.exit == 0 {
                #expect(restored.missing == [], "restore of \(moment) \(when)")
            }
            named += restored.run.error
        }
        for name in lost { #expect(named.contains(name), "a restore \(when) does not name \(name): \(named)") }
    }

    /// A repair takes nothing away that it does not keep.
    private func expectNothingLost(_ before: [String: [UInt8]], _ repository: DamagedRepository) throws {
        let after = try repository.contents()
        for (name, bytes) in before {
            #expect(
                after[name] == bytes || after["damaged/\(name)"] == bytes, "'\(name)' is neither there nor below damaged/")
        }
    }
}
