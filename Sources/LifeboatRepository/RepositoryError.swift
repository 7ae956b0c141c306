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

    /// Without config.json nothing of a repository can be used, and nothing else tells all that stands in it.
    static func damagedConfig(_ reason: String, cacheRoot: String) -> LifeboatError {
        LifeboatError(
            "config.json of the repository is damaged", causes: [reason],
            hint: "Put a whole one back: from a copy of the repository, or from a host that has used it, which keeps "
                + "one in its cache ('\(cacheRoot)/…/config.json', in the folder that is named by the repository_id of "
                + "any manifest). Nothing was changed.", exitCode: .damagedRepository)
    }

    package static func missing(_ object: String, _ reason: String) -> LifeboatError {
        LifeboatError(
            "object '\(object)' is missing from the repository", causes: [reason],
            hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
    }
}
