// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository
import LifeboatStorage

/// `lifeboat repository`
struct RepositoryNoun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repository", abstract: "Create and describe repositories.",
        subcommands: [RepositoryInit.self, RepositoryInfo.self])
}

/// `lifeboat repository init`
struct RepositoryInit: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Create a repository.",
        discussion: "The folder is made when it does not exist. How snapshots are encrypted has to be said: this "
            + "version knows '--encryption none', so keep others from reading the folder.")

    @OptionGroup var location: RepositoryOptions

    @Option(name: .long, help: ArgumentHelp("How snapshots are encrypted: none.", valueName: "method"))
    var encryption: EncryptionMethod?

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        guard encryption != nil else {
            throw LifeboatError(
                "how to encrypt was not said",
                hint: "Add '--encryption none': this version stores snapshots as they are, readable for everybody "
                    + "who can read the folder.",
                exitCode: .usage)
        }
        let path = try location.location(session.context)
        let store: LocalFolderStore
        do {
            store = try LocalFolderStore.create(at: path)
        } catch {
            throw error.lifeboatError.wrapped("cannot create the repository '\(path)'")
        }
        let config = try Repository.create(in: store, clock: session.context.clock)
        try session.emitReport(
            RepositoryInitReport(
                repository: path, repositoryID: config.repositoryID.hex, encryption: config.encryption))
        return .done
    }
}

/// The word for `--encryption`.
enum EncryptionMethod: String, ExpressibleByArgument, CaseIterable {
    case none
}

private struct RepositoryInitReport: OutputRendering {
    static let messageType = "summary"
    let repository: String
    let repositoryID: String
    let encryption: String

    private enum CodingKeys: String, CodingKey {
        case repository, encryption
        case repositoryID = "repository_id"
    }

    var text: String {
        """
        created repository \(repositoryID.prefix(12)) in '\(EscapedName.line(repository))'
        it is not encrypted: whoever can read that folder can read every snapshot
        """
    }
}
