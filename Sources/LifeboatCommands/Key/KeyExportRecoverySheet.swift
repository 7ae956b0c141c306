// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository
import LifeboatStorage

/// `lifeboat key export-recovery-sheet`
struct KeyExportRecoverySheet: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "export-recovery-sheet",
        abstract: "Print one page with the steps from an empty host to the next backup.",
        discussion: "It holds no secret. Print it, and keep it with the identity or the passphrase. Print it again "
            + "when readers or hosts change.")

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        let config = repository.config
        let manifests = try repository.objects(RepositoryLayout.snapshotPrefix)
        let stacks = Set(manifests.compactMap { RepositoryLayout.manifestName($0.key)?.stack })
        try session.emit(
            RecoverySheet(
                repository: repository.store.properties.location, repositoryID: config.repositoryID.hex,
                created: config.created, printed: session.context.clock.now(), recipients: config.recipients,
                signers: config.signers, wrapped: try WrappedIdentity.list(repository.store).map(\.text),
                stacks: stacks.filter(RepositoryLayout.isValidStackName).sorted()))
        return .done
    }
}
