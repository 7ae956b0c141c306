import LifeboatTesting
import LifeboatIO
import Testing

@Suite struct RecordTmp {
    @Test(arguments: DamagedRepositoryTests.cases)
    func record(_ damage: DamageCase) throws {
        let repository = try DamagedRepository(SoundRepository.get())
        defer { repository.remove() }
        let named = try damage.damage(repository)
        let before = try repository.contents()
        let check = try repository.run(["check"])
        let data = try repository.run(["check", "--read-data"])
        let scrub = try repository.run(["scrub"])
        func restores(_ r: DamagedRepository) throws -> String {
            let codes = try [SoundRepository.Moment.first, .third, .notes].map { m in
                let x = try r.restore(m)
                return "\(x.run.exit)\(x.wrong.isEmpty ? "" : "WRONG\(x.wrong)")\(x.run.exit == 0 && !x.missing.isEmpty ? "MISSING\(x.missing)" : "")"
            }
            return "(\(codes.joined(separator: ", ")))"
        }
        let r0 = try restores(repository)
        let plan = try repository.run(["repair"])
        let copy = try DamagedRepository(copying: repository)
        defer { copy.remove() }
        let prune = try copy.run(["prune", "--grace", "0", "--max-unused", "0"])
        let rp = try restores(copy)
        let repair = try repository.run(["repair", "--yes"])
        let repaired = try repository.run(["check", "--read-data"])
        let r1 = try restores(repository)
        let copy2 = try DamagedRepository(copying: repository)
        defer { copy2.remove() }
        let runs = try copy2.backUp()
        let backed = try copy2.run(["check", "--read-data"])
        let salvage = try repository.run(["repair", "--snapshots", "--yes"])
        let salvagedCheck = try repository.run(["check", "--read-data"])
        let r2 = try restores(repository)
        let again = try repository.run(["repair", "--snapshots", "--yes"])
        let missingNames = named.filter { !data.error.contains($0) }
        print("""
        @@\(damage.name)@@check: \(check.exit), data: \(data.exit), scrub: \(scrub.exit), prune: \(prune.exit), restore: \(r0), plan: \(plan.exit), repair: \(repair.exit), repaired: \(repaired.exit), restoreRepaired: \(r1), backedUp: \(backed.exit), salvage: \(salvage.exit), restoreSalvaged: \(r2)@@
        ## \(damage.name): after prune \(rp) salvagedCheck \(salvagedCheck.exit) again \(again.exit) unnamed \(missingNames)
        data: \(data.error)\(data.output)
        scrub: \(scrub.error)
        prune: \(prune)
        plan: \(plan)
        repair: \(repair)
        repaired: \(repaired)
        backups: \(runs)
        backed: \(backed)
        salvage: \(salvage)
        salvaged check: \(salvagedCheck)
        ###
        """)
        _ = before
    }
}
