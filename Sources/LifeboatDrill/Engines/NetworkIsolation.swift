// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Runs an engine in a network namespace of its own, which holds no way out, not even a loopback: restored data names
/// live servers (foreign servers, subscriptions, dblink), and no connection of a drill is to reach one. Unix sockets in
/// the file system are not part of it. unshare(1) and setpriv(1) are of util-linux.
struct NetworkIsolation {
    private let unshare: String
    /// Nil: the kernel gives this user the namespace by itself.
    private let setpriv: String?

    /// Nil when this host gives us none: no unshare(1), or no right to it (a container without CAP_SYS_ADMIN).
    static func find(_ programs: EnginePrograms) throws -> NetworkIsolation? {
        guard let unshare = programs.find("unshare") else { return nil }
        let isRoot = geteuid() == 0
        let setpriv = isRoot ? programs.find("setpriv") : nil
        if isRoot, setpriv == nil { return nil }
        let isolation = NetworkIsolation(unshare: unshare, setpriv: setpriv)
        guard let program = programs.find("true") else { return nil }
        let result = try programs.runner.run(isolation.command(ProcessCommand(program, [])), deadline: 30)
        return result.termination.succeeded ? isolation : nil
    }

    /// The same program, for the same user, without a network. Its process is the one that is started: each program
    /// on the way replaces itself by the next.
    func command(_ command: ProcessCommand) -> ProcessCommand {
        var isolated = command
        isolated.executable = unshare
        guard let setpriv else {
            isolated.arguments =
                ["--user", "--map-current-user", "--net", "--", command.executable] + command.arguments
            return isolated
        }
        // The namespace is made by root, who then becomes the engine's user.
        var words = ["--net", "--"]
        if let user = command.userID, let group = command.groupID {
            words += [setpriv, "--reuid=\(user)", "--regid=\(group)", "--clear-groups", "--"]
        }
        isolated.arguments = words + [command.executable] + command.arguments
        isolated.userID = nil
        isolated.groupID = nil
        return isolated
    }
}
