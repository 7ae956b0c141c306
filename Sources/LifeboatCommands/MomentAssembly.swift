// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatServices

/// Policy words of the one moment as live things: freeze, checks, secrets.
extension StackAssembly {
    /// Nil: no writer is held.
    func freezePlan() throws -> FreezePlan? {
        let freeze = policy.services.freeze
        guard freeze.method != .none, let services = try serviceManager() else { return nil }
        return FreezePlan(
            method: freeze.method, services: services, writers: freeze.writers,
            servers: Set(policy.components.compactMap(\.store.service)), limit: freeze.limit,
            journal: ServiceJournal(
                stateFolder: try PendingWork.stateFolder(session.context), clock: session.context.clock),
            policy: policy.source)
    }

    /// Checks that ask nothing but these components; `selected` empty: all.
    func checks(_ selected: [String]) -> [StackCheck] {
        policy.checks.filter { check in
            selected.isEmpty || Set(check.values.compactMap(\.component)).isSubset(of: selected)
        }
    }

    /// The policy's secrets, as far as they can be had.
    func backupSecrets() -> [BackupSecret] {
        policy.secrets.map { BackupSecret(name: $0.name, value: value(of: $0), breaks: $0.breaks) }
    }

    /// The secret of that name on this host, as the policy says; one it does not name is looked for as a variable.
    func secret(_ name: String) -> Result<Secret, LifeboatError> {
        value(of: policy.secrets.first { $0.name == name } ?? SecretPolicy(name: name))
    }

    private func value(of secret: SecretPolicy) -> Result<Secret, LifeboatError> {
        do throws(LifeboatError) {
            switch secret.source {
            case .reference(let reference):
                return .success(
                    try secrets.resolve(
                        reference, for: "value of '\(secret.name)'", cancellation: session.context.cancellation))
            case .environmentFile(let path):
                guard let value = try EnvironmentFile.value(of: secret.name, in: path) else {
                    throw LifeboatError("'\(path)' has no variable '\(secret.name)'")
                }
                return .success(value)
            case .variable:
                if let value = session.context.variable(secret.name) { return .success(Secret(value)) }
                let files = Self.environmentFiles(policy)
                for path in files {
                    if let value = try EnvironmentFile.value(of: secret.name, in: path) { return .success(value) }
                }
                throw LifeboatError(
                    "'\(secret.name)' is neither in the environment of lifeboat nor in "
                        + files.map { "'\($0)'" }.joined(separator: " or "),
                    hint: "Say where it is: {name: \(secret.name), from: {file: PATH}} in the policy.")
            }
        } catch {
            return .failure(error)
        }
    }

    /// Where variables of the stack may be besides the environment: the files Compose reads, or `.env` beside the policy.
    static func environmentFiles(_ policy: Policy) -> [String] {
        let beside = "\(policy.folder == "/" ? "" : policy.folder)/.env"
        guard case .compose(let compose)? = policy.services.control else { return [beside] }
        if !compose.environmentFiles.isEmpty { return compose.environmentFiles.reversed() }
        let folder =
            compose.projectDirectory
            ?? compose.files.first.map { $0[..<($0.lastIndex(of: "/") ?? $0.startIndex)] }
            .map(String.init)
        return folder.map { ["\($0)/.env"] } ?? [beside]
    }
}
