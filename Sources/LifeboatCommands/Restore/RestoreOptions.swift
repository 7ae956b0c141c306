// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository

/// What a restore or its plan is about, and how it is done: both say the same for the same options.
struct RestoreSelection: ParsableArguments {
    @Option(
        name: .long,
        help: TimeArgument.help("The newest complete snapshot not after this time"))
    var at: TimeArgument?

    @Option(
        name: [.short, .long], parsing: .singleValue,
        help: ArgumentHelp("Only this component (repeatable).", valueName: "name"))
    var component: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("All but this component (repeatable).", valueName: "name"))
    var exclude: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Only this file or folder of a volume (repeatable); COMPONENT may be left out when there is but one.",
            valueName: "[component:]path"))
    var path: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Only this collection of Qdrant or Chroma (repeatable).", valueName: "[component:]name"))
    var collection: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Only this table of a PostgreSQL database (repeatable).", valueName: "[component:]schema.table"))
    var table: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Another value than the policy's for this restore (repeatable): database.host=10.0.0.5.",
            valueName: "component.key=value"))
    var target: [String] = []

    @Flag(name: .long, help: "Also from an incomplete snapshot, what it holds.")
    var incomplete = false

    @Flag(name: .long, help: "Read and verify all data before anything is touched.")
    var verifyFirst = false

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Write over this volume in place, only what differs (repeatable). There is no way back from it.",
            valueName: "name"))
    var inPlace: [String] = []

    @Flag(name: .long, help: "Write over volumes in place when there is no room to stage them beside the live data.")
    var inPlaceWhenFull = false

    @Option(
        name: .long, defaultAsFlag: DurationArgument(seconds: 7 * 86_400),
        help: ArgumentHelp(
            "Keep the data that is live now for so long (7 days), for a later --rollback.", valueName: "period"))
    var keepOld: DurationArgument?

    @Flag(name: .long, help: "Start only the services that ran; else all that the project declares are started.")
    var onlyRunning = false

    /// Options that no restore into a folder has.
    var hasStackOptions: Bool {
        onlyRunning || keepOld != nil || !inPlace.isEmpty || inPlaceWhenFull || verifyFirst || !exclude.isEmpty
            || !collection.isEmpty || !table.isEmpty || !target.isEmpty
    }

    /// The snapshot: an id or `latest`, or what `--at` says.
    func snapshot(
        _ text: String?, _ repository: Repository, _ options: SnapshotOptions, _ location: RepositoryOptions,
        _ session: CommandSession
    ) throws -> Snapshot {
        if text != nil, text != "latest", at != nil {
            throw LifeboatError(
                "both a snapshot and --at were given", hint: "Give one of them.", exitCode: .usage)
        }
        guard text != nil || at != nil else {
            throw LifeboatError(
                "no snapshot was named", hint: "Give its id, 'latest', or a time with --at TIME.", exitCode: .usage)
        }
        return try options.find(
            text ?? "latest", at: at?.timestamp(session.context), holding: try selected(location, session), repository,
            location, session)
    }

    /// The components that are restored, which `latest` has to hold; nil: all of the policy, or nobody knows them.
    private func selected(_ location: RepositoryOptions, _ session: CommandSession) throws -> Set<String>? {
        guard let policy = try location.defaultPolicy(session.context) else { return nil }
        let all = policy.capturedComponents
        var named = Set(component)
        for part in path + collection + table {
            // Without a component's name in front, the component is known once the snapshot is.
            guard let colon = part.firstIndex(of: ":"), all.contains(String(part[..<colon])) else { return nil }
            named.insert(String(part[..<colon]))
        }
        let chosen = (named.isEmpty ? all : named.intersection(all)).subtracting(exclude)
        return chosen.isEmpty ? nil : chosen
    }
}
