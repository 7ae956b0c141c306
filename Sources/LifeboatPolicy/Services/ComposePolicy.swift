// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A Docker Compose project whose services lifeboat stops, pauses and starts.
package struct ComposePolicy: Sendable, Equatable {
    /// Absolute, merged in order. Empty: Compose looks for its usual names in `projectDirectory`, or nothing but the
    /// containers of `project` is known.
    package var files: [String]
    /// Nil: Compose's own rules decide, then the labels of containers made from these files.
    package var project: String?
    package var projectDirectory: String?
    package var environmentFiles: [String]
    package var profiles: [String]
    /// The only services lifeboat may touch; nil: all of the project.
    package var services: [String]?
    /// Services that are allowed to be killed at the end of their grace period.
    package var mayKill: [String]

    package init(
        files: [String] = [], project: String? = nil, projectDirectory: String? = nil,
        environmentFiles: [String] = [], profiles: [String] = [], services: [String]? = nil, mayKill: [String] = []
    ) {
        self.files = files
        self.project = project
        self.projectDirectory = projectDirectory
        self.environmentFiles = environmentFiles
        self.profiles = profiles
        self.services = services
        self.mayKill = mayKill
    }
}

extension PolicyReader {
    private static let composeKeys = [
        "file", "files", "project", "project_directory", "env_files", "profiles", "services", "may_kill",
    ]

    mutating func compose(_ node: LocatedNode, _ path: String) -> ComposePolicy? {
        guard let fields = fields(node, path, known: Self.composeKeys) else { return nil }
        let before = diagnostics.count
        if fields["file"] != nil, fields["files"] != nil {
            report(
                "'\(path)' has 'file' and 'files'", at: fields.keyLocation("files"),
                hint: "Put all of them in 'files', in the order in which they are merged.")
        }
        let file = self.path("file", in: fields)
        let files = fields["files"].flatMap { self.paths($0, fields.path("files")) }
        let policy = ComposePolicy(
            files: files ?? file.map { [$0] } ?? [], project: project(fields),
            projectDirectory: self.path("project_directory", in: fields),
            environmentFiles: fields["env_files"].flatMap { self.paths($0, fields.path("env_files")) } ?? [],
            profiles: words("profiles", in: fields, "the name of a profile", isProfile) ?? [],
            services: words("services", in: fields, "the name of a service", Self.isService),
            mayKill: words("may_kill", in: fields, "the name of a service", Self.isService) ?? [])
        if diagnostics.count == before, policy.files.isEmpty, policy.project == nil, policy.projectDirectory == nil {
            report(
                "'\(path)' names no project", at: node.location,
                hint: "Write 'file: docker-compose.yml', or 'project: NAME' for one whose file is not at hand.")
        }
        for (index, name) in policy.mayKill.enumerated() {
            if let services = policy.services, !services.contains(name) {
                let items = fields["may_kill"].flatMap { list($0, path) } ?? []
                report(
                    "'\(fields.path("may_kill"))' names '\(name)', which is not among 'services'",
                    at: items.indices.contains(index) ? items[index].location : fields.keyLocation("may_kill"))
            }
        }
        return diagnostics.count == before ? policy : nil
    }

    private mutating func project(_ fields: PolicyFields) -> String? {
        guard let node = fields["project"], let name = text(node, fields.path("project"), "a name") else { return nil }
        let isFirst = name.utf8.first.map { (97...122).contains($0) || (48...57).contains($0) } ?? false
        let allowed = name.utf8.allSatisfy {
            (97...122).contains($0) || (48...57).contains($0) || $0 == 95 || $0 == 45
        }
        guard isFirst, allowed else {
            report(
                "'\(fields.path("project"))' is no name of a project: '\(Self.shortened(name))'", at: node.location,
                hint: "Use a-z, 0-9, '_' and '-', beginning with a letter or digit.")
            return nil
        }
        return name
    }

    private mutating func paths(_ node: LocatedNode, _ path: String) -> [String]? {
        guard let items = list(node, path) else { return nil }
        guard !items.isEmpty else {
            report("'\(path)' is empty", at: node.location, hint: "Name a file, or remove the key.")
            return nil
        }
        let paths = items.compactMap { self.path($0, path) }
        return paths.count == items.count ? paths : nil
    }

    /// A list of names without repetitions.
    mutating func words(
        _ key: String, in fields: PolicyFields, _ wanted: String, _ isName: (String) -> Bool
    ) -> [String]? {
        guard let node = fields[key], let items = list(node, fields.path(key)) else { return nil }
        guard !items.isEmpty else {
            report(
                "'\(fields.path(key))' is empty", at: node.location, hint: "Name at least one, or remove the key.")
            return nil
        }
        var names: [String] = []
        for item in items {
            guard let name = text(item, fields.path(key), wanted) else { return nil }
            guard isName(name) else {
                report("'\(fields.path(key))': '\(Self.shortened(name))' is not \(wanted)", at: item.location)
                return nil
            }
            guard !names.contains(name) else {
                report("'\(fields.path(key))' names '\(Self.shortened(name))' twice", at: item.location)
                return nil
            }
            names.append(name)
        }
        return names
    }

    /// As Compose has them: `[a-zA-Z0-9._-]+`; a leading dash would be read as an option.
    static func isService(_ name: String) -> Bool {
        !name.hasPrefix("-")
            && name.utf8.allSatisfy { byte in
                (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                    || [46, 95, 45].contains(byte)
            }
    }

    /// `*` stands for all profiles.
    private func isProfile(_ name: String) -> Bool { name == "*" || Self.isService(name) }
}
