// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Where lifeboat keeps what it must remember on this host.
package enum StateFolder {
    /// `$LIFEBOAT_STATE`; for root `/var/lib/lifeboat`; else `$XDG_STATE_HOME/lifeboat` or `~/.local/state/lifeboat`.
    package static func path(environment: [String: String], userID: UInt32) throws(LifeboatError) -> String {
        if let given = environment["LIFEBOAT_STATE"], !given.isEmpty {
            guard given.hasPrefix("/") else {
                throw LifeboatError(
                    "LIFEBOAT_STATE must be an absolute path, not '\(given)'", exitCode: .usage)
            }
            return given
        }
        if userID == 0 { return "/var/lib/lifeboat" }
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") { return "\(state)/lifeboat" }
        guard let home = environment["HOME"], home.hasPrefix("/") else {
            throw LifeboatError(
                "there is no place for lifeboat's state: HOME is not set",
                hint: "Set LIFEBOAT_STATE to a folder that survives a reboot.")
        }
        return "\(home)/.local/state/lifeboat"
    }
}
