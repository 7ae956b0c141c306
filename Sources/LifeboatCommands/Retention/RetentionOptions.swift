// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatStorage

/// Which snapshots of which stack are kept.
struct RetentionOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The stack; else the policy's, else the only one of the repository.", valueName: "name"))
    var stack: String?

    @Option(name: .long, help: ArgumentHelp("Keep the newest snapshots.", valueName: "count"))
    var keepLast: Int?

    @Option(
        name: .long, help: ArgumentHelp("Keep the newest snapshot of each of so many hours.", valueName: "count"))
    var keepHourly: Int?

    @Option(name: .long, help: ArgumentHelp("The same for days.", valueName: "count"))
    var keepDaily: Int?

    @Option(name: .long, help: ArgumentHelp("The same for weeks (Monday to Sunday).", valueName: "count"))
    var keepWeekly: Int?

    @Option(name: .long, help: ArgumentHelp("The same for months.", valueName: "count"))
    var keepMonthly: Int?

    @Option(name: .long, help: ArgumentHelp("The same for years.", valueName: "count"))
    var keepYearly: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep all that are at most so much older than the newest complete one: 48h, 7d.", valueName: "time"))
    var keepWithin: DurationArgument?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Whose days and hours count, such as Europe/Berlin; else the policy's, else this host's.",
            valueName: "zone"))
    var timezone: String?

    /// What a command line comes to.
    struct Choice {
        let stack: String
        let rules: RetentionRules
        let calendar: RetentionCalendar
    }

    /// Rules of the command line replace those of the policy, all of them.
    func choice(
        _ location: RepositoryOptions, _ repository: Repository, _ session: CommandSession
    ) throws -> Choice {
        let policy = try policyOfRepository(location, session.context)
        let stack = try stack ?? policy?.stack ?? onlyStack(repository)
        guard RepositoryLayout.isValidStackName(stack) else {
            throw LifeboatError(
                "'\(stack)' cannot be the name of a stack",
                hint: "Use a-z, 0-9, '.', '_' and '-', starting with a letter or digit.", exitCode: .usage)
        }
        // The rules of one stack are not those of another.
        let retention = policy?.stack == stack ? policy?.retention : nil
        guard let rules = flagRules ?? retention.map(RetentionRules.init) else {
            throw LifeboatError(
                "no rule says what to keep of stack '\(stack)'",
                hint: "Give --keep-last, --keep-daily …, or put 'retention' into the policy.", exitCode: .usage)
        }
        try rules.validate()
        let zone = try Self.zone(timezone ?? retention?.timezone, session.context)
        return Choice(stack: stack, rules: rules, calendar: RetentionCalendar(zone: zone))
    }

    /// The zone of that name, or the one this host's clocks show.
    static func zone(_ name: String?, _ context: CommandContext) throws -> TimeZoneRules {
        guard let name else { return try TimeZoneDatabase.local(environment: context.environment) }
        return try TimeZoneDatabase.zone(name, environment: context.environment)
    }

    /// Nil when no rule was given.
    private var flagRules: RetentionRules? {
        let counts = [keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly]
        guard counts.contains(where: { $0 != nil }) || keepWithin != nil else { return nil }
        return RetentionRules(
            last: keepLast ?? 0, hourly: keepHourly ?? 0, daily: keepDaily ?? 0, weekly: keepWeekly ?? 0,
            monthly: keepMonthly ?? 0, yearly: keepYearly ?? 0, within: keepWithin?.seconds)
    }

    /// The policy, unless the repository was named apart from it.
    private func policyOfRepository(_ location: RepositoryOptions, _ context: CommandContext) throws -> Policy? {
        guard try location.defaultStack(context) != nil else { return nil }
        return try PolicyFile.find(location.policy, context)
    }

    private func onlyStack(_ repository: Repository) throws -> String {
        let objects = try repository.objects(RepositoryLayout.snapshotPrefix)
        let stacks = Set(objects.compactMap { RepositoryLayout.manifestName($0.key)?.stack })
        guard let stack = stacks.first else {
            throw LifeboatError("there are no snapshots")
        }
        guard stacks.count == 1 else {
            throw LifeboatError(
                "the repository holds snapshots of \(stacks.count) stacks",
                causes: [stacks.sorted().joined(separator: ", ")], hint: "Say which one with --stack NAME.",
                exitCode: .usage)
        }
        return stack
    }
}

/// A length of time on the command line, as in a policy.
struct DurationArgument: ExpressibleByArgument, CustomStringConvertible {
    let seconds: Double

    init(seconds: Double) { self.seconds = seconds }

    var description: String { DurationText.short(seconds) }

    init?(argument: String) {
        guard let seconds = PolicyDuration.seconds(argument) else { return nil }
        self.seconds = seconds
    }
}

extension RetentionRules {
    /// The rules of a policy.
    init(_ policy: RetentionPolicy) {
        self.init(
            last: policy.last ?? 0, hourly: policy.hourly ?? 0, daily: policy.daily ?? 0, weekly: policy.weekly ?? 0,
            monthly: policy.monthly ?? 0, yearly: policy.yearly ?? 0, within: policy.within)
    }
}
