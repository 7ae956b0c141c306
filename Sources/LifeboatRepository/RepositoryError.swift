// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The ways a repository itself fails; each leads to one documented exit code.
package enum RepositoryError {
    /// Nothing that looks like a repository is there.
    package static func absent(_ location: String) -> LifeboatError {
        LifeboatError(
            "there is no repository at '\(location)'",
            hint: "Create one with 'lifeboat repository init --repository \(location)', or correct the path.",
            exitCode: .noRepository)
    }

    /// An object is not what its name or digest says, or is missing.
    package static func damaged(_ object: String, _ reason: String) -> LifeboatError {
        LifeboatError(
            "object '\(object)' of the repository is damaged", causes: [reason],
            hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
    }

    package static func missing(_ object: String, _ reason: String) -> LifeboatError {
        LifeboatError(
            "object '\(object)' is missing from the repository", causes: [reason],
            hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
    }
}
