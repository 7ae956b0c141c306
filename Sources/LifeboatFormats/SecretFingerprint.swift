// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What a snapshot keeps of a secret, so that a restore can tell that the one it finds is another: 16 bits of scrypt over
/// the secret, under a random salt.
///
/// So little, because manifests of an unencrypted repository are readable by whoever owns the storage: a guess that
/// fits is right once, and wrong as often as one of 65,536 other guesses fits, so a weak password cannot be found by
/// trying; scrypt makes each try cost a tenth of a second and 32 MiB. Snapshots in a row share the salt, for a new one
/// would tell another 16 bits. A restore takes another secret for the same one once in 65,536 times.
package enum SecretFingerprint {
    /// N = 2^15, r = 8, p = 1.
    private static let workFactor = 15
    private static let bytes = 2
    private static let saltBytes = 16
    private static let label = Array("lifeboat secret fingerprint\0".utf8)

    /// 16 random bytes in hex.
    package static func newSalt() throws -> String { hex(try LibCrypto.random(saltBytes)) }

    /// 4 hexadecimal digits. The name goes in: two secrets that are equal do not look it. Blocking, about 0.1 s.
    package static func make(_ secret: Secret, name: String, salt: String) throws -> String {
        let key = try LibCrypto.scrypt(
            secret, salt: label + Array(name.utf8) + [0] + Array(salt.utf8), workFactor: workFactor)
        return unsafe key.withBytes { unsafe hex(Array($0.prefix(bytes))) }
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { $0 < 16 ? "0\(String($0, radix: 16))" : String($0, radix: 16) }.joined()
    }
}
