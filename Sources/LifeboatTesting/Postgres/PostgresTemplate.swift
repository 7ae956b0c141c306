// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The result of `initdb`, made once per process and copied for each cluster.
enum PostgresTemplate {
    private static let made = Monitor<[String: String]>([:])

    /// The data folder to copy.
    static func folder(_ binaries: String, _ account: TestAccount) throws -> String {
        try made.withLock { made in
            if let folder = made[binaries] { return folder }
            let temporary = try TemporaryFolder(prefix: "lbpg-template-", in: "/tmp")
            atExit { try? temporary.remove() }
            try account.own(temporary.path)
            let data = "\(temporary.path)/data"
            let result = try SystemProcessRunner().run(
                account.command(
                    "\(binaries)/initdb",
                    ["-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]),
                deadline: 120)
            guard result.termination.succeeded else {
                throw LifeboatError(
                    "initdb failed: \(result.termination)", causes: ProcessResult.lastLines(of: result.standardError))
            }
            made[binaries] = data
            return data
        }
    }
}

/// The unprivileged user that test servers run as: lifeboat's own, or one made for the purpose when that is root.
struct TestAccount: Sendable {
    static let name = "lifeboat-test"
    /// Nil: the user of this process.
    private let ids: (user: UInt32, group: UInt32)?

    static func current() throws -> TestAccount {
        guard geteuid() == 0 else { return TestAccount(ids: nil) }
        if let account = lookUp() { return account }
        let result = try SystemProcessRunner().run(
            ProcessCommand("useradd", ["-r", "-M", "-d", "/nonexistent", "-s", "/usr/sbin/nologin", name]))
        // Another test process may have made it meanwhile.
        guard let account = lookUp() else {
            throw LifeboatError(
                "cannot make the user '\(name)'", causes: ProcessResult.lastLines(of: result.standardError))
        }
        return account
    }

    private static func lookUp() -> TestAccount? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 4096)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        return TestAccount(ids: (entry.pw_uid, entry.pw_gid))
    }

    func own(_ path: String) throws {
        guard let ids else { return }
        guard chown(path, ids.user, ids.group) == 0 else { throw SystemCallError("change the owner of", path) }
    }

    /// The command run as this user, in an environment that does not depend on ours.
    func command(_ executable: String, _ arguments: [String]) -> ProcessCommand {
        ProcessCommand(
            executable, arguments,
            environment: ["HOME": "/tmp", "LC_ALL": "C.UTF-8", "PGPASSWORD": nil, "PGHOST": nil, "PGSERVICE": nil],
            workingDirectory: "/", userID: ids?.user, groupID: ids?.group)
    }
}

/// A TCP port of 127.0.0.1 that nothing listens on at this moment.
func freePort() throws -> UInt16 {
    let descriptor = OwnedDescriptor(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            bind(descriptor.raw, generic, size) == 0 ? getsockname(descriptor.raw, generic, &size) : -1
        }
    }
    guard status == 0 else { throw SystemCallError("find a free port on", "127.0.0.1") }
    return UInt16(bigEndian: address.sin_port)
}

private let exitActions = Monitor<[@Sendable () -> Void]>([])

/// Runs `action` when the process exits, last registered first.
package func atExit(_ action: @escaping @Sendable () -> Void) {
    let isFirst = exitActions.withLock { actions in
        actions.append(action)
        return actions.count == 1
    }
    guard isFirst else { return }
    atexit {
        for action in exitActions.withLock({ $0 }).reversed() { action() }
    }
}
