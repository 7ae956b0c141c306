// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatBackup
import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatStores

extension StackAssembly {
    /// Throws where the project's files are among components that are to be put in place.
    func refuseProject(_ selected: [String]) throws {
        guard selected.contains(Policy.projectComponent), policy.capturesProject,
            !policy.components.contains(where: { $0.name == Policy.projectComponent })
        else { return }
        throw ProjectStore.isNotPutInPlace
    }

    /// The files that say what the stack is, as a component of its backups; nil when the policy captures none, or has a
    /// component of that name.
    func projectComponent() -> BackupComponent? {
        guard policy.capturesProject, !policy.components.contains(where: { $0.name == Policy.projectComponent }) else {
            return nil
        }
        let files = ProjectFiles(policy, environmentFiles: Self.environmentFiles(policy), session.context)
        guard !files.captured.isEmpty else { return nil }
        let store = ProjectStore(files: files.captured, leftOut: files.leftOut, remarks: files.remarks)
        return BackupComponent(name: Policy.projectComponent, store: store, source: Policy.projectComponent)
    }
}

/// Collects the policy, the Compose files with all they refer to, and env files.
private struct ProjectFiles {
    /// Absolute paths in the order they were found, without repetitions.
    private(set) var captured: [String] = []
    /// Files with secrets that an unencrypted repository does not get.
    private(set) var leftOut: [String] = []
    /// What belongs to the project and cannot be captured.
    private(set) var remarks: [LifeboatError] = []
    private let takesSecrets: Bool

    init(_ policy: Policy, environmentFiles: [String], _ context: CommandContext) {
        takesSecrets = policy.encryption != .none
        if let source = policy.source { add(context.absolutePath(source), isRequired: true) }
        if case .compose(let compose)? = policy.services.control {
            let folder = compose.projectDirectory ?? compose.files.first.map(Self.folder)
            let files =
                compose.files.isEmpty
                ? folder.map { folder in ComposeFileNames.usual(in: folder).map { "\(folder)/\($0)" } } ?? []
                : compose.files
            for file in files { addCompose(file, relativeTo: folder ?? Self.folder(file)) }
        }
        for file in environmentFiles { addSecret(file, isRequired: false) }
    }

    private static func folder(_ path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    /// Whether the file is new and there.
    @discardableResult
    private mutating func add(_ written: String, isRequired: Bool) -> Bool {
        let path = Self.absolute(written, "/")
        guard !captured.contains(path) else { return false }
        var status = stat()
        let reason: String
        if stat(path, &status) != 0 || access(path, R_OK) != 0 {
            if errno == ENOENT, !isRequired { return false }
            reason = SystemCallError("read", path).lifeboatError.message
        } else if status.st_mode & S_IFMT != S_IFREG {
            reason = "it is no regular file"
        } else {
            captured.append(path)
            return true
        }
        remarks.append(LifeboatError("'\(path)' belongs to the project and is not captured", causes: [reason]))
        return false
    }

    private mutating func addSecret(_ path: String, isRequired: Bool) {
        if takesSecrets {
            add(path, isRequired: isRequired)
        } else if access(path, F_OK) == 0, !leftOut.contains(path) {
            leftOut.append(path)
        }
    }

    private mutating func addCompose(_ path: String, relativeTo folder: String) {
        guard add(path, isRequired: true) else { return }
        guard let bytes = try? SmallFile.contents(path), let text = String(validating: bytes, as: UTF8.self),
            let references = ComposeReferences(text)
        else {
            remarks.append(
                LifeboatError(
                    "'\(path)' cannot be read as a Compose file", causes: ["what it refers to is not captured"]))
            return
        }
        for file in references.files {
            guard !file.path.contains("$") else {
                remarks.append(
                    LifeboatError(
                        "'\(file.path)' in '\(path)' depends on variables: it is not captured",
                        hint: "Add its folder as a component if the stack needs it."))
                continue
            }
            let absolute = Self.absolute(file.path, folder)
            switch file.kind {
            case .compose: addCompose(absolute, relativeTo: Self.folder(absolute))
            case .configuration: add(absolute, isRequired: file.isRequired)
            case .secret: addSecret(absolute, isRequired: file.isRequired)
            }
        }
    }

    /// Without `.` and `..`, so that one file has one path.
    private static func absolute(_ path: String, _ folder: String) -> String {
        var names: [Substring] = []
        for name in (path.hasPrefix("/") ? path : "\(folder)/\(path)").split(separator: "/") where name != "." {
            if name == ".." { _ = names.popLast() } else { names.append(name) }
        }
        return "/" + names.joined(separator: "/")
    }
}

/// The files that Compose looks for when none is named.
enum ComposeFileNames {
    private static let first = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"]
    private static let overrides = [
        "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
    ]

    /// Names of those in the folder: the project's file, and the one that is merged over it.
    static func usual(in folder: String) -> [String] {
        [first, overrides].compactMap { names in names.first { access("\(folder)/\($0)", F_OK) == 0 } }
    }
}
