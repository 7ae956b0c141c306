// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// `lifeboat show`
struct Show: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Tell everything about one snapshot.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot: String

    @Flag(name: .long, help: "Print only the text of the policy that the snapshot holds.")
    var policyText = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session, for: .reading)
        let found = try selection.find(snapshot, repository, location, session)
        guard policyText else {
            try session.emit(SnapshotReport(id: found.id.hex, manifest: found.manifest))
            return .done
        }
        guard let policy = found.manifest.policy else {
            throw LifeboatError(
                "snapshot '\(found.id.shortHex)' holds no policy", causes: ["it is an ad hoc backup of paths"],
                hint: "Restore it with 'lifeboat restore \(found.id.shortHex) --to DIR'.")
        }
        try session.emit(PolicyTextReport(snapshot: found.id.hex, policy: policy))
        return .done
    }
}

/// The policy of a snapshot, as it was written.
struct PolicyTextReport: OutputRendering {
    static let messageType = "summary"
    let snapshot: String
    let policy: String

    var text: String { policy.hasSuffix("\n") ? String(policy.dropLast()) : policy }
}

/// A snapshot in full: the manifest and its id.
struct SnapshotReport: OutputRendering {
    static let messageType = "summary"
    let id: String
    let manifest: Manifest

    var text: String {
        var fields: [(name: String, value: String)] = [
            ("snapshot", id),
            ("stack", EscapedName.line(manifest.stack)),
            ("host", EscapedName.line(manifest.host)),
            ("number", "\(manifest.sequence)"),
            ("previous", manifest.previous?.shortHex ?? "none"),
            ("started", "\(manifest.started.tableText) UTC"),
            ("frozen", "\(manifest.frozen.tableText) UTC"),
            ("ended", "\(manifest.ended.tableText) UTC"),
            ("complete", manifest.complete ? "yes" : "NO"),
            ("freeze", manifest.freeze.map { String(FreezeText.line($0).dropFirst("freeze: ".count)) } ?? ""),
            ("read", "\(ByteCount(manifest.bytesRead))"),
            ("new", "\(ByteCount(manifest.bytesNew))"),
            ("stored", "\(ByteCount(manifest.bytesStored))"),
            ("policy", manifest.policy == nil ? "none (ad hoc)" : "kept in the snapshot (see --policy-text)"),
            ("lifeboat", EscapedName.line(manifest.lifeboat)),
        ]
        var sections: [String] = []
        if let checks = manifest.checks { sections.append(checks.map(Self.line).joined(separator: "\n")) }
        if let secrets = manifest.secrets, !secrets.fingerprints.isEmpty {
            let names = secrets.fingerprints.map { EscapedName.line($0.name) }
            sections.append("fingerprints of secrets: \(names.joined(separator: ", "))")
        }
        for component in manifest.components { sections.append(Self.section(component)) }
        if let origins = manifest.repairedFrom {
            fields.append(("repaired from", origins.map(\.shortHex).joined(separator: ", ")))
        }
        if let earlier = manifest.rewrappedFrom {
            fields.append(("id before", earlier.map(\.shortHex).joined(separator: ", ")))
        }
        fields.removeAll { $0.value.isEmpty }
        return ([TextTable.fields(fields)] + sections).joined(separator: "\n\n")
    }

    private static func line(_ check: CheckResult) -> String {
        "check '\(EscapedName.line(check.name))' \(check.holds ? "holds" : "DOES NOT HOLD"): "
            + EscapedName.line(check.explanation)
    }

    private static func section(_ component: Manifest.Component) -> String {
        let engine = component.engineVersion.map { " \(EscapedName.line($0))" } ?? ""
        var lines = [
            "component \(EscapedName.line(component.name)) (\(EscapedName.line(component.store))\(engine)): "
                + EscapedName.line(component.source)
        ]
        lines.append("  \(counted(component.files, "file")), \(ByteCount(component.bytes))")
        if !component.method.isEmpty { lines.append("  method: \(EscapedName.line(component.method))") }
        for part in component.parts {
            lines.append(
                "  \(part.kind.rawValue) \(EscapedName.line(part.name)): \(part.content.id.shortHex), "
                    + "\(ByteCount(part.content.size))")
        }
        for (name, value) in component.counts.sorted(by: { $0.key < $1.key }) {
            lines.append("  \(EscapedName.line(name)) = \(grouped(value))")
        }
        for (name, value) in component.texts.sorted(by: { $0.key < $1.key }) {
            lines.append("  \(EscapedName.line(name)) = \(EscapedName.line(value))")
        }
        lines += component.warnings.map { "  warning: \(EscapedName.line($0))" }
        lines += component.problems.map { "  INCOMPLETE: \(EscapedName.line($0))" }
        return lines.joined(separator: "\n")
    }
}
