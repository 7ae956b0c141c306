// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// Fingerprints of the policy's secrets for the manifest.
enum SecretFingerprints {
    /// Under the salt of the snapshot before, if there is one. A secret that cannot be had is told and left out: the
    /// data is complete without it.
    static func make(
        _ secrets: [BackupSecret], previous: Manifest.Secrets?
    ) throws -> (kept: Manifest.Secrets?, warnings: [LifeboatError]) {
        guard !secrets.isEmpty else { return (nil, []) }
        var kept = Manifest.Secrets(salt: try previous?.salt ?? SecretFingerprint.newSalt(), fingerprints: [])
        var warnings: [LifeboatError] = []
        for secret in secrets {
            switch secret.value {
            case .success(let value):
                kept.fingerprints.append(
                    Manifest.Secrets.Fingerprint(
                        name: secret.name,
                        fingerprint: try SecretFingerprint.make(value, name: secret.name, salt: kept.salt),
                        breaks: secret.breaks))
            case .failure(let error):
                warnings.append(error.wrapped("the snapshot keeps no fingerprint of secret '\(secret.name)'"))
            }
        }
        return (kept, warnings)
    }
}
