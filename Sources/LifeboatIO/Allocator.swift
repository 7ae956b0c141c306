// SPDX-License-Identifier: Apache-2.0

import CLinux

/// The allocator of the process.
package enum Allocator {
    /// Limits the arenas of malloc to two. By default there are eight a core, each of which keeps what threads freed in
    /// it, so that the peak grows with the number of cores: `check --read-data` took a third more on two. Called before
    /// other threads are started.
    package static func limitArenas() {
        // Refused by no glibc; elsewhere the peak is higher and nothing else changes.
        _ = lifeboat_limit_arenas(2)
    }
}
