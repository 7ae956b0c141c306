// SPDX-License-Identifier: Apache-2.0

import LifeboatTesting
import Testing

/// Every way to damage a repository that we know, and what every command has to answer.
@Suite struct DamagedRepositoryTests {
    static let cases =
        DamageCase.packs + DamageCase.indexes + DamageCase.snapshots + DamageCase.records + DamageCase.encrypted

    @Test func `there are enough of them, each with a name of its own`() {
        #expect(Self.cases.count >= 60)
        #expect(Set(Self.cases.map(\.name)).count == Self.cases.count)
    }

    @Test(arguments: cases)
    func `every command answers damage as it should`(_ damage: DamageCase) throws {
        let verdict = damage.verdict
        let repository = try DamagedRepository(SoundRepository.get(encrypted: damage.encrypted))
        defer { repository.remove() }
        let named = try damage.damage(repository)
        let before = try repository.contents()

        // Looking.
        try expect(verdict.check, repository, "check")
        let data = try expect(verdict.data, repository, "check", "--read-data")
        for name in named { #expect(data.error.contains(name), "check --read-data does not name \(name): \(data)") }
        try expect(verdict.scrub, repository, "scrub")
        try expectRestores(repository, verdict.restore, "with the damage")
        try expect(verdict.plan, repository, "repair")
        #expect(try repository.contents() == before, "what only looks changes nothing")
        try prune(repository, verdict)

        // Repairing.
        try expect(verdict.repair, repository, "repair", "--yes")
        try expectNothingLost(before, repository)
        switch verdict.after {
        case .whole(let codes):
            try expect(0, repository, "check", "--read-data")
            try expect(0, repository, "repair", "--snapshots", "--yes")
            // Of what was sound all along it is known.
            if verdict.plan != 0 { try expectRestores(repository, codes, "after the repair") }
        case .damaged(let code, let codes, let backedUp, let salvage, let salvaged, let lost):
            try expect(code, repository, "check", "--read-data")
            try expectRestores(repository, codes, "after the repair")
            try backUp(repository, backedUp)
            let run = try expect(salvage, repository, "repair", "--snapshots", "--yes")
            for name in lost { #expect(run.error.contains(name), "repair --snapshots does not name \(name): \(run)") }
            try expectNothingLost(before, repository)
            try expectRestores(repository, salvaged, "of what is left", naming: lost)
            guard salvage == 3 else { return }
            try expect(0, repository, "check", "--read-data")
            try expect(0, repository, "repair", "--snapshots", "--yes")
        }
    }

    @discardableResult
    private func expect(_ code: Int32, _ repository: DamagedRepository, _ arguments: String...) throws -> LifeboatRun {
        let run = try repository.run(arguments)
        #expect(run.exit == code, "\(arguments.joined(separator: " ")): \(run)")
        return run
    }

    /// Prune is allowed to delete what nothing needs, and nothing else.
    private func prune(_ repository: DamagedRepository, _ verdict: DamageVerdict) throws {
        let copy = try DamagedRepository(copying: repository)
        defer { copy.remove() }
        try expect(verdict.prune, copy, "prune", "--grace", "0", "--max-unused", "0")
        if verdict.prune != 0 {
            #expect(try copy.contents() == repository.contents(), "a prune that refuses changes nothing")
        } else if verdict.data == 0 {
            try expect(0, copy, "check", "--read-data")
        } else {
            try expectRestores(copy, verdict.restore, "after a prune")
        }
    }

    /// What is still on the host is stored anew.
    private func backUp(_ repository: DamagedRepository, _ code: Int32) throws {
        let copy = try DamagedRepository(copying: repository)
        defer { copy.remove() }
        let runs = try copy.backUp()
        let check = try copy.run(["check", "--read-data"])
        #expect(check.exit == code, "check after another backup: \(check)\n\(runs)")
    }

    /// What comes back is right, and all of it when the restore says so.
    private func expectRestores(
        _ repository: DamagedRepository, _ codes: RestoreCodes, _ when: String, naming lost: [String] = []
    ) throws {
        var named = ""
        for (moment, code) in [
            (SoundRepository.Moment.first, codes.first), (.third, codes.third), (.notes, codes.notes),
        ] {
            let restored = try repository.restore(moment)
            #expect(restored.exit == code, "restore of \(moment) \(when): \(restored)")
            #expect(restored.wrong == [], "restore of \(moment) \(when)")
            if restored.exit == 0 { #expect(restored.missing == [], "restore of \(moment) \(when)") }
            if restored.exit == 3 {
                for name in restored.missing {
                    #expect(
                        restored.messages.contains(name) || restored.messages.contains("unknown files"),
                        "restore of \(moment) \(when) does not name \(name): \(restored)")
                }
                named += restored.messages
            }
        }
        for name in lost { #expect(named.contains(name), "no restore \(when) names \(name): \(named)") }
    }

    /// A repair takes nothing away that it does not keep.
    private func expectNothingLost(_ before: [String: [UInt8]], _ repository: DamagedRepository) throws {
        let after = try repository.contents()
        for (name, bytes) in before where after[name] != bytes {
            #expect(after["damaged/\(name)"] == bytes, "'\(name)' is neither there nor below damaged/")
        }
    }
}
