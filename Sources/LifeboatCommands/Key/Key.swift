// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats

/// `lifeboat key`
struct KeyNoun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make keys, and say who can read and write a repository.",
        subcommands: [
            KeyGenerate.self, KeyList.self, KeyAdd.self, KeyRemove.self, KeyAdopt.self, KeyRewrap.self,
            KeyExportRecoverySheet.self,
        ])
}

/// Keys as people type them.
enum KeyText {
    static func recipient(_ text: String) throws -> AgeRecipient {
        do throws(AgeError) { return try AgeRecipient(text) } catch {
            throw error.lifeboatError.wrapped(
                "'\(EscapedName.line(text))' is not an age recipient",
                hint: "Recipients start with age1; make one with 'lifeboat key generate' or age-keygen."
            )
            .asUsageError
        }
    }

    static func signer(_ text: String) throws -> MinisignPublicKey {
        do throws(MinisignError) { return try MinisignPublicKey(text) } catch {
            throw error.lifeboatError.wrapped(
                "'\(EscapedName.line(text))' is not a minisign public key",
                hint: "The key of a host is printed by 'lifeboat key list' there; it starts with RW."
            )
            .asUsageError
        }
    }

    static func freshIdentity() throws -> AgeIdentity {
        do throws(AgeError) { return try AgeIdentity.generate() } catch { throw error.lifeboatError }
    }
}

extension LifeboatError {
    /// The same error with the exit code of a wrong command line.
    fileprivate var asUsageError: LifeboatError {
        var error = self
        error.exitCode = .usage
        return error
    }
}
