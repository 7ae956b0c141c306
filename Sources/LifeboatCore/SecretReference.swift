// SPDX-License-Identifier: Apache-2.0

/// Where a secret comes from. A policy holds only references; the value is fetched when it is needed.
package enum SecretReference: Sendable, Equatable {
    case environment(String)
    /// A file's whole content, without its last newline.
    case file(String)
    /// Standard output of a program, without its last newline.
    case command([String])
    /// A systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`.
    case credential(String)
}
