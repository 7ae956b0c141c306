// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
package import LifeboatRepository

/// Holds the secrets of this host against the fingerprints a snapshot keeps.
package enum SecretComparison {
    /// What was found of one secret.
    package struct Difference: Sendable, Equatable {
        /// True: it is another one. False: it cannot be compared.
        package var isOther: Bool
        package var message: String
    }

    /// What differs or cannot be compared, as warnings of a plan. `secret` gives the value here, or why there is none;
    /// `breaks` what another value breaks, where the policy of this host says so. Blocking: 0.1 s a secret.
    package static func warnings(
        _ kept: Manifest.Secrets?, breaks: (_ name: String) -> String?,
        secret: (_ name: String) -> Result<Secret, LifeboatError>
    ) throws -> [String] {
        try kept.map { try differences($0, breaks: breaks, secret: secret).map(\.message) } ?? []
    }

    /// The same one by one.
    package static func differences(
        _ kept: Manifest.Secrets, breaks: (_ name: String) -> String?,
        secret: (_ name: String) -> Result<Secret, LifeboatError>
    ) throws -> [Difference] {
        try kept.fingerprints.compactMap { fingerprint in
            let name = fingerprint.name
            let loss = breaks(name) ?? fingerprint.breaks ?? "what was encrypted or signed with it cannot be used"
            switch secret(name) {
            case .success(let value):
                let found = try SecretFingerprint.make(value, name: name, salt: kept.salt)
                if found == fingerprint.fingerprint { return nil }
                return Difference(
                    isOther: true,
                    message: "secret '\(name)' is not the one the snapshot was made with: \(loss)")
            case .failure(let error):
                let why = ([error.message] + error.causes).joined(separator: ": ")
                return Difference(
                    isOther: false,
                    message: "secret '\(name)' cannot be compared with the snapshot (\(why)); if it is another one:"
                        + " \(loss)")
            }
        }
    }
}
